"""What the host follows without having checked it ends its worker; not through nodes of this pack.

Most of these prompts leave a server without the handler with a queue on which nothing runs again.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from kit.server import live
from kit.server.live import Client, Prompt
from kit.server.live_graph import changed, graph, node, region_with_mask, regional

NUMBERS = itertools.count()
NO_SUCH_INPUT = 'has no input called "extra"'


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    base, models = live.base_with_adapter(tmp_path_factory)
    with live.running(base, models) as running, pytest.MonkeyPatch.context() as patch:
        patch.setattr(live, "LIMIT", 60)  # a dead worker answers nobody
        yield running


def anew(**inputs: Any) -> Prompt:
    """The graph; a host of early 2026 lists nothing for a prompt that it has run already."""
    return changed(save={"filename_prefix": f"test {next(NUMBERS)}"}, **inputs)


def deep(times: int = 450) -> Any:
    """A value as deep as JSON may be, and deeper than Python's copies go."""
    value: Any = []
    for _ in range(times):
        value = {"a": [value]}
    return value


def old(**inputs: Any) -> Prompt:
    """A node of ComfyUI_IPAdapter_plus between a picture and its preview."""
    values = {"interpolation": "LANCZOS", "crop_position": "center", "sharpening": 0.0}
    made = node("PrepImageForClipVision", image=["photo", 0], **values, **inputs)
    return with_nodes(old=made, look=node("PreviewImage", images=["old", 0]))


def with_nodes(**nodes: Any) -> Prompt:
    return graph() | nodes


def row_of_nodes(count: int) -> Prompt:
    """Nodes in a row that lead to nothing; the last one comes first, as the host walks."""
    made = {"row 0": node("IPARemove", model=["checkpoint", 0])}
    for number in range(1, count):
        made[f"row {number}"] = node("IPARemove", model=[f"row {number - 1}", 0])
    return dict(reversed(list(made.items()))) | graph()


UNCHECKED: dict[str, tuple[Prompt, str]] = {
    "a node that is not there": (changed(apply={"extra": ["gone", 0]}), NO_SUCH_INPUT),
    "an output that is not there": (changed(apply={"extra": ["encode", 99]}), NO_SUCH_INPUT),
    "an output between two": (changed(apply={"extra": ["encode", 0.5]}), NO_SUCH_INPUT),
    "no number of an output": (changed(apply={"extra": ["encode", float("nan")]}), NO_SUCH_INPUT),
    "an input that is the node's own": (changed(apply={"cls": ["encode", 0]}), ""),
    "a loader": (changed(adapter={"extra": ["gone", 0]}), ""),
    "an Autogrow": (regional() | {"regions": region_with_mask(["gone", 0], "masks")}, "mask0"),
    "one of an Autogrow": (
        regional() | {"regions": region_with_mask(["gone", 0], "masks.mask100")},
        'has no input called "masks.mask100"',
    ),
    "a link in a value": (changed(apply={"attn_mask": {"__value__": ["gone", 0]}}), "'gone'"),
    "a deep value": (changed(apply={"attn_mask": deep()}), "more than 32 deep"),
    "a deep value that nobody reads": (changed(apply={"extra": deep()}), ""),
    "a deep note": (with_nodes(remove=node("IPARemove") | {"_meta": deep()}), ""),
    "a very long row of nodes": (row_of_nodes(1100), ""),
    "no inputs": (with_nodes(remove={"class_type": "IPARemove"}), ""),
    "inputs that are none": (with_nodes(remove={"class_type": "IPARemove", "inputs": [1]}), ""),
    "an old node, which takes anything": (old(extra=["gone", 0]), ""),
    "an old loader": (
        with_nodes(old=node("IPAdapterModelLoader", extra=["gone", 0], ipadapter_file="")),
        "",
    ),
    "a node of Flux": (
        with_nodes(flux=node("ApplyFluxIPAdapter", extra=["gone", 0]) | {"inputs": None}),
        "",
    ),
}


@pytest.mark.parametrize("case", UNCHECKED)
def test_the_queue_goes_on(client: Client, case: str) -> None:
    before = client.picture(anew())
    prompt, words = UNCHECKED[case]
    status, answer = client.post("/prompt", {"prompt": prompt})
    if status == 200:
        entry = client.wait(answer["prompt_id"])
        said = "" if entry["status"]["status_str"] == "success" else live.failure(entry)
        assert not said or "BadInput" in said
    else:
        said = str(answer)
    assert words in said
    assert bool(words) == bool(said)
    assert client.picture(anew(sampler={"seed": 2})) != client.picture(anew()) == before
