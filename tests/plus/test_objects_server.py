"""Old loaders and EMBEDS through the real server: same picture as the pack's own nodes."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from kit.models import checkpoints
from kit.server import live
from kit.server.live import Client, Prompt
from kit.server.live_graph import graph, node
from kit.server.tiny_nodes.adapter import write_tiny_adapter

WIDTHS = [32, 32, 64, 64, *[128] * 5, *[64] * 3, *[32] * 3, 128]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    base = tmp_path_factory.mktemp("comfy base")
    models = base / "shared models"
    (models / "ipadapter" / "sub").mkdir(parents=True)
    write_tiny_adapter(models / "ipadapter" / "tiny.safetensors")
    write_tiny_adapter(models / "ipadapter" / "sub" / "ip-adapter_sd15.safetensors")
    plus = checkpoints.tiny_adapter("plus", WIDTHS, 768, 1280, 16, dim=128, heads=2)
    checkpoints.write(models / "ipadapter" / "plus.safetensors", plus, "flat")
    with live.running(base, models) as running:
        yield running


def native(**encode: Any) -> Prompt:
    prompt = copy.deepcopy(graph())
    prompt["encode"]["inputs"] |= {"fit": "crop centre (ComfyUI)"} | encode
    return prompt


def old(client: Client, adapter: str = "tiny.safetensors", **encode: Any) -> Prompt:
    """The old loader and encoder, and ours behind them."""
    prompt = native()
    del prompt["encode"]
    prompt["old adapter"] = node("IPAdapterModelLoader", ipadapter_file=adapter)
    prompt["adapter"] = node("IPAConvertAdapter", adapter=["old adapter", 0])
    prompt["old embeds"] = node(
        "IPAdapterEncoder",
        ipadapter=["old adapter", 0],
        image=["photo", 0],
        clip_vision=["encoder", 0],
        **{"weight": 1.0} | encode,
    )
    prompt["embeds"] = node(
        "IPAConvertEmbeds", embeds=["old embeds", 0], neg_embed=["old embeds", 1]
    )
    prompt["apply"]["inputs"] |= {"embeds": ["embeds", 0]}
    return prompt


def test_old_loader_and_encoder_give_the_same_picture(client: Client) -> None:
    expected = client.picture(native())
    assert client.picture(old(client)) == expected
    assert client.picture(old(client, "sub/ip-adapter_sd15.safetensors")) == expected
    assert client.picture(old(client, r"sub\ip-adapter_sd15.safetensors")) == expected, "of Windows"
    assert client.picture(old(client, weight=0.2)) != expected


def test_rows_of_a_plus_adapter_cross_too(client: Client) -> None:
    prompt = native(unconditional="black image")
    prompt["adapter"]["inputs"]["adapter_file"] = "plus.safetensors"
    assert client.picture(old(client, "plus.safetensors")) == client.picture(prompt)


def test_saved_rows_are_loaded_again(client: Client) -> None:
    prompt = old(client)
    for name, output in (("positive rows", 0), ("negative rows", 1)):
        prompt[name] = node(
            "IPAdapterSaveEmbeds", embeds=["old embeds", output], filename_prefix=f"rows/{name}"
        )
    expected = client.picture(prompt)
    for name in ("positive rows", "negative rows"):
        saved = client.base / "output" / "rows" / f"{name}_00001.ipadpt"
        assert torch.load(saved, weights_only=True).shape[-1] == 1024
        target = client.base / "input" / "rows" / saved.name
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(saved.read_bytes())
    listed = client.get("/object_info/IPAdapterLoadEmbeds")["IPAdapterLoadEmbeds"]["input"]
    names = ["rows/negative rows_00001.ipadpt", "rows/positive rows_00001.ipadpt"]
    assert listed["required"]["embeds"][0] == [str(Path(name)) for name in names]
    prompt = old(client)
    del prompt["old embeds"]
    prompt["from file"] = node("IPAdapterLoadEmbeds", embeds=names[1])
    prompt["nothing"] = node("IPAdapterLoadEmbeds", embeds=names[0].replace("/", "\\"))
    prompt["mixed"] = node("IPAdapterCombineEmbeds", embed1=["from file", 0], method="average")
    prompt["embeds"]["inputs"] = {"embeds": ["mixed", 0], "neg_embed": ["nothing", 0]}
    assert client.picture(prompt) == expected


def test_a_name_out_of_the_folder_is_refused_before_the_run(client: Client) -> None:
    prompt = old(client)
    prompt["from file"] = node("IPAdapterLoadEmbeds", embeds="../secret.ipadpt")
    prompt["embeds"]["inputs"] = {"embeds": ["from file", 0]}
    status, answer = client.post("/prompt", {"prompt": prompt})
    assert status == 400 and "leads out of" in str(answer)
    status, answer = client.post("/prompt", {"prompt": old(client, "gone.safetensors")})
    assert status == 400 and 'gone.safetensors" is not in' in str(answer)


def test_the_encoder_of_version_1(client: Client) -> None:
    prompt = old(client)
    prompt["old embeds"] = node(
        "IPAdapterEncoderV1",
        clip_vision=["encoder", 0],
        image_1=["photo", 0],
        ipadapter_plus=False,
        noise=0.0,
        weight_1=1.0,
    )
    prompt["pairs"] = node(
        "IPAdapterBatchEmbeds", embed1=["old embeds", 0], embed2=["old embeds", 0]
    )
    prompt["embeds"]["inputs"] = {"embeds": ["old embeds", 0]}
    assert client.picture(prompt) == client.picture(native())
    prompt["embeds"]["inputs"] = {"embeds": ["pairs", 0]}
    assert client.picture(prompt)


def test_a_preset_that_finds_nothing_says_so(client: Client) -> None:
    prompt = native()
    prompt["old"] = node(
        "IPAdapterUnifiedLoader", model=["checkpoint", 0], preset="PLUS FACE (portraits)"
    )
    prompt["adapter"] = node("IPAConvertAdapter", adapter=["old", 1])
    entry = client.run(prompt)
    assert entry["status"]["status_str"] == "error"
    assert "a plus face adapter for SD1.5" in live.failure(entry)
