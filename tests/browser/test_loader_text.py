"""What Load IP-Adapter says about its file, and that it says it anew when files have changed."""

from __future__ import annotations

from comfy_page import ComfyPage
from kit.server.live import Client
from kit.server.tiny_nodes.adapter import write_tiny_adapter

ABOUT = '[data-ipadapter="about"]'


def test_r_asks_again_what_the_file_is(comfy: ComfyPage, editor_server: Client) -> None:
    file = editor_server.base / "models" / "ipadapter" / "later.safetensors"
    file.unlink(missing_ok=True)
    comfy.add("IPALoadAdapter", adapter_file="later.safetensors")
    comfy.shown(ABOUT).filter(has_text="is not in").wait_for()
    write_tiny_adapter(file)
    comfy.page.evaluate("() => window.app.refreshComboInNodes()")
    comfy.shown(ABOUT).filter(has_text="4 tokens").wait_for()
    file.unlink()
