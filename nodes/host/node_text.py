"""What a node says of itself after a run, and what whoever points at the text is told besides."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import ui


def node_text(text: str, details: str = "") -> dict[str, Any]:
    """For `ui` of a node's output.

    Args:
        text: lines for whoever wires.
        details: for whoever looks closer, such as widths; shown as tooltip, "" for none.
    """
    shown = ui.PreviewText(text).as_dict()
    return {**shown, "ipadapter_details": [details]} if details else shown
