"""Example workflows with the toy models: their references are not only heard, they are followed.

Left out: FaceID and ControlNet, for which there are no toys, LCM, whose LoRA fits Stable Diffusion
only, and the composition adapter, which leaves colours alone on purpose.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy
import pytest
import torch
from conftest import ROOT
from kit.models.stand_ins import toy_models
from kit.pages.example_graphs import CAT, HOUSE, PERSON_B, ROOM, STEMS, WAVES
from kit.server import live
from kit.server.live import Client
from pack.demo.prompts import to_prompt
from PIL import Image
from stand_ins import fitted
from torch import Tensor
from toys import put_files
from train.distance import colour_distance
from train.studio import references

EXAMPLES = ROOT / "example_workflows"
FOLLOWS = {
    "first_picture": CAT,
    "image_to_image": WAVES,
    "inpainting": CAT,
    "save_embeds": CAT,
    "load_embeds": CAT,
    "several_images": CAT,
    "single_nodes": CAT,
    "style_only": WAVES,
    "plus_face": PERSON_B,
}
SEED = 900
SAVED = "my_reference.safetensors"
FRAME = 16  # pixels around the hole of the room


def workflow(name: str) -> dict[str, Any]:
    return json.loads((EXAMPLES / f"{STEMS[name]}.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def drawings() -> dict[str, Tensor]:
    """Drawings (1, 128, 128, 3) by the names of the inputs that the examples bring."""
    names = (CAT, HOUSE, WAVES, ROOM, PERSON_B)
    seen, _ = references(len(names), SEED)
    return {name: seen[number : number + 1] for number, name in enumerate(names)}


@pytest.fixture(scope="module")
def server(
    drawings: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Client]:
    base = tmp_path_factory.mktemp("toy_examples")
    put_files(base / "models", base / "input")
    for name, drawn in drawings.items():
        picture = Image.fromarray((drawn[0] * 255).round().byte().numpy())
        if name == ROOM:
            picture.putalpha(with_a_hole(picture.size))
        picture.save(base / "input" / name, quality=95)
    with live.running(base, base / "models") as client:
        yield client


def with_a_hole(size: tuple[int, int]) -> Image.Image:
    alpha = Image.new("L", size, 255)
    alpha.paste(0, (FRAME, FRAME, size[0] - FRAME, size[1] - FRAME))
    return alpha


def picture_of(server: Client, prompt: dict[str, Any]) -> Tensor:
    ((path,),) = server.saved(prompt).values()
    with Image.open(path) as image:
        return torch.from_numpy(numpy.asarray(image.convert("RGB"), numpy.float32) / 255)[None]


def test_kept_embeds_make_the_identical_picture(server: Client) -> None:
    """Through the nodes that save and load them."""
    known = server.get("/object_info")
    pictures = [
        picture_of(server, chosen(to_prompt(fitted(workflow(name), toy_models()), known)))
        for name in ("save_embeds", "load_embeds")
    ]
    assert torch.equal(*pictures)


def chosen(prompt: dict[str, Any]) -> dict[str, Any]:
    """The file that was saved, and not the empty one that comes with the pack."""
    for node in prompt.values():
        if node["class_type"] == "IPALoadEmbeds":
            node["inputs"]["embeds_file"] = SAVED
    return prompt


@pytest.mark.parametrize("name", FOLLOWS)
def test_the_colours_of_an_example_come_from_its_reference(
    name: str, server: Client, drawings: dict[str, Tensor]
) -> None:
    prompt = chosen(to_prompt(fitted(workflow(name), toy_models()), server.get("/object_info")))
    heard = picture_of(server, prompt)
    for node in prompt.values():
        if node["class_type"] in ("IPAApply", "IPASimple"):
            node["inputs"]["scale"] = 0.0
    plain = picture_of(server, prompt)
    hole = slice(FRAME, -FRAME) if name == "inpainting" else slice(None)
    near, far = (
        float(colour_distance(some[:, hole, hole], drawings[FOLLOWS[name]][:, hole, hole]))
        for some in (heard, plain)
    )
    assert near < 0.7 * far
