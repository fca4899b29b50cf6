"""Weights for frames, prompts for them and lists of references: as the original has them.

Recorded by `python -m plus.record_frames`, run in tests/.
"""

from __future__ import annotations

import json
import math
import random
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from kit.plus_original import original_nodes
from pack.ip_models.errors import BadInput
from pack.nodes.plus.register import NODES
from torch import Tensor

RECORDED = json.loads(
    (Path(__file__).parent / "recorded" / "frames.json").read_text(encoding="utf-8")
)
TIMINGS = ("custom", "linear", "ease_in_out", "ease_in", "ease_out")
METHODS = ("full batch", "shift batches", "alternate batches")


def pictures(count: int) -> Tensor | None:
    """Each of one value, so that an IMAGE is a list of numbers."""
    return None if count == 0 else torch.arange(1.0, count + 1)[:, None, None, None] / 8


def cases() -> list[dict[str, Any]]:
    """Arguments, with the number of pictures."""
    texts = ("1.0, 0.0", "0.2,\n0.9, 0.4,", "")
    plain = [
        {"weights": text, "timing": timing, "frames": frames}
        for text, timing, frames in product(texts, TIMINGS, (0, 5))
    ]
    spans = [
        {"weights": "1, 0.25", "timing": timing, "frames": 6, "start_frame": 2, "end_frame": end}
        for timing, end in product(("linear", "ease_in"), (5, 9999, 2))
    ]
    faded = [
        {
            "weights": "1, 0.25",
            "timing": "linear",
            "frames": 3,
            "method": method,
            "images": images,
            "add_starting_frames": before,
            "add_ending_frames": after,
        }
        for method, images, (before, after) in product(METHODS, (2, 3, 4), ((0, 0), (2, 1)))
    ]
    return [*plain, *spans, *faded, {"weights": "1, 0", "add_starting_frames": 3}]


def made(nodes: Any, case: dict[str, Any]) -> dict[str, Any]:
    """What the chain of four nodes gives, as JSON."""
    settings = {key: value for key, value in case.items() if key != "images"}
    image = pictures(case.get("images", 0))
    results = nodes["IPAdapterWeights"]().weights(**settings, image=image)
    again = nodes["IPAdapterWeightsFromStrategy"]().weights(
        weights_strategy=results[5], image=image
    )
    lines = "a cat\n\na dog\na bird"
    (text,) = nodes["IPAdapterPromptScheduleFromWeightsStrategy"]().prompt_schedule(
        results[5], lines
    )
    weights, count = nodes["IPAdapterCombineWeights"]().combine(results[0], 0.5)
    assert again[:3] == results[:3]
    images = [None if one is None else one.flatten().tolist() for one in results[3:5]]
    values = [list(results[0]), list(results[1]), results[2], *images, results[5]]
    return {"values": values, "text": text, "combined": [weights, count]}


def close(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(close(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(close, one, other))
    return math.isclose(one, other, abs_tol=1e-9) if isinstance(one, float) else one == other


@pytest.mark.parametrize("case", cases(), ids=json.dumps)
def test_as_recorded(case: dict[str, Any]) -> None:
    assert close(made(NODES, case), RECORDED[json.dumps(case)])


@pytest.mark.parametrize("case", cases(), ids=json.dumps)
def test_as_the_original(case: dict[str, Any]) -> None:
    assert close(made(NODES, case), made(original_nodes(), case))


def test_random_has_numbers_of_its_own() -> None:
    random.seed(1)
    before = random.getstate()
    weights = NODES["IPAdapterWeights"]().weights("0.2, 0.4", "random", frames=50)[0]
    assert random.getstate() == before
    assert all(0.2 <= weight <= 0.4 for weight in weights) and len(set(weights)) > 40


def test_one_frame_has_the_first_weight() -> None:
    node = NODES["IPAdapterWeights"]()
    assert node.weights("0.7, 0.1", "linear", 4, 1, 2)[0] == [0.7, 0.7, 0.1, 0.1]


def test_the_timing_of_april_2024_is_still_read() -> None:
    weights = NODES["IPAdapterWeights"]().weights("0, 1", "reverse_in_out", 3)[0]
    assert weights == [0.0, pytest.approx(1 - math.sin(math.pi / 4)), 1.0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weights": "1, x"}, "weights"),
        ({"timing": "sideways"}, "timing"),
        ({"method": "all", "images": 2}, "method"),
        ({"method": "shift batches", "images": 1}, "1 picture"),
        ({"method": "alternate batches", "images": 1}, "1 picture"),
    ],
)
def test_what_cannot_be_done_is_said(settings: dict[str, Any], message: str) -> None:
    image = pictures(settings.pop("images", 0))
    with pytest.raises(BadInput, match=message):
        NODES["IPAdapterWeights"]().weights(**settings, image=image)


def regional(nodes: Any, **links: Any) -> Any:
    image = pictures(1)
    return nodes["IPAdapterRegionalConditioning"]().conditioning(
        image, 0.7, 0.6, "ease in", 0.1, 0.9, **links
    )


@pytest.mark.parametrize("mask", [None, torch.ones(1, 4, 4)], ids=["", "mask"])
@pytest.mark.parametrize("linked", [(), ("positive",), ("positive", "negative")], ids=str)
def test_regions_as_the_original(mask: Tensor | None, linked: tuple[str, ...]) -> None:
    prompt = [[torch.ones(1, 2, 3), {"pooled_output": None}]]
    links = dict.fromkeys(linked, prompt)
    ours, theirs = (regional(nodes, mask=mask, **links) for nodes in (NODES, original_nodes()))
    assert str(ours) == str(theirs)
    assert "mask" not in prompt[0][1]


def test_regions_set_the_mask_on_prompts_and_list_what_they_are_for() -> None:
    prompt, mask = [[torch.ones(1, 2, 3), {}]], torch.ones(1, 4, 4)
    params, positive, negative = regional(NODES, mask=mask, positive=prompt)
    assert positive[0][1] == {"mask": mask, "set_area_to_bounds": False, "mask_strength": 0.6}
    assert negative is None and prompt[0][1] == {}
    (both,) = NODES["IPAdapterCombineParams"]().combine(params, params, params_5=params)
    assert {name: len(values) for name, values in both.items()} == dict.fromkeys(params, 3)
    assert len(params["weight"]) == 1
    with pytest.raises(BadInput, match="lists of one length"):
        NODES["IPAdapterCombineParams"]().combine(params, {"image": []})
