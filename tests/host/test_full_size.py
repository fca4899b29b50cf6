"""Once per run the real thing in size: core loaders, published layouts, random weights.

The pictures are small, because what is to be seen of them is only that the adapter is heard.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from kit.models import fullsize
from kit.server import live
from kit.server.live import Client, Prompt
from pack.dev import cache
from test_server import node, sampling

SIZE = 128


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    models = fullsize.make(cache())
    with live.running(tmp_path_factory.mktemp("full size"), models) as running:
        yield running
    if os.environ.get("CI"):  # where nobody makes use of them again, and the disk may be small
        shutil.rmtree(models)


def graph(kind: str) -> Prompt:
    """SD1.5 and ViT-H at full size, two steps."""
    return {
        "checkpoint": node("CheckpointLoaderSimple", ckpt_name="random_sd15.safetensors"),
        **sampling(["apply", 0], steps=2, size=SIZE),
        "load": node("IPALoadForModel", model=["checkpoint", 0], kind=kind),
        "photo": node("LoadImage", image="reference.jpg"),
        "encode": node("IPAEncodeImage", clip_vision=["load", 1], image=["photo", 0]),
        "apply": node(
            "IPAApply",
            model=["checkpoint", 0],
            adapter=["load", 0],
            embeds=["encode", 0],
            scale=1.0,
            start_percent=0.0,
            end_percent=1.0,
        ),
    }


def test_published_layouts_make_pictures_with_core_nodes_alone(client: Client) -> None:
    # A dead patch would make both the picture of no adapter at all.
    standard, plus = (client.picture(graph(kind)) for kind in ("standard", "plus"))
    assert standard != plus
    assert len(standard) == len(plus) == SIZE * SIZE * 3
