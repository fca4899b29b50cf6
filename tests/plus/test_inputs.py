"""What comes to old nodes from other packs and programs: numbers, texts and other things."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from kit.models import tiny
from pack.ip_models.errors import BadInput
from pack.nodes.host.model.backbones.layers import attention_layers
from pack.nodes.plus.register import NODES
from pack.nodes.plus.steps.weight_types import Knobs, levels

STRATEGY = {"weights": "1", "timing": "linear"}
ROWS = torch.ones(1, 17, 1280)


def gains(text: str, weight_type: str = "linear") -> dict[int, tuple[float, bool]]:
    """What each transformer of SD1.5 hears that hears anything."""
    layers = attention_layers(tiny.twins("sd1").model)
    (level,) = levels(weight_type, Knobs(), text)
    found = zip(layers, level.rule.gains(layers, 0, 1), strict=True)
    return {layer.place[0]: (g.factor, g.swapped) for layer, g in found if g.factor}


@pytest.mark.parametrize(
    ("text", "factors"),
    [
        ("3:1, 5:0.25", {3: 1.0, 5: 0.25}),
        ("3:1,3:2", {3: 2.0}),
        ("-1:1,4:1", {4: 1.0}),
        ("+3:1,\n99:1,", {3: 1.0}),
    ],
)
def test_layer_weights_as_that_pack_reads_them(text: str, factors: dict[int, float]) -> None:
    assert gains(text) == {number: (factor, False) for number, factor in factors.items()}


def test_layers_that_a_precise_type_swaps_stay_swapped() -> None:
    assert gains("4:1,9:0.5", "style transfer precise") == {4: (1.0, True), 9: (0.5, False)}


@pytest.mark.parametrize("text", ["3", "a:b", "3:inf", "3:nan", "3.5:1", "3:1;4:1", "{}"])
def test_other_layer_weights_are_refused_by_their_own_name(text: str) -> None:
    with pytest.raises(BadInput, match="layer_weights hold"):
        levels("linear", Knobs(), text)


@pytest.mark.parametrize("name", ["original", "channel penalty", "a new one", "linear"])
def test_types_that_other_packs_still_send_are_linear(name: str) -> None:
    layers = attention_layers(tiny.twins("sd1").model)
    (level,) = levels(name, Knobs(0.7))
    assert level.weight == 0.7
    assert {(g.factor, g.swapped) for g in level.rule.gains(layers, 0, 1)} == {(1.0, False)}


def advanced(**values: Any) -> Any:
    links = {"model": None, "ipadapter": {}, "image": ROWS}
    return NODES["IPAdapterAdvanced"]().apply_ipadapter(**{**links, **values})


CALLS: dict[str, tuple[Callable[[], Any], str]] = {
    "nan": (lambda: advanced(weight=math.nan), "weight is nan; a finite number"),
    "words": (lambda: advanced(weight="much"), 'weight is "much"; a finite number'),
    "in a list": (lambda: advanced(weight=[0.5, None]), "weight is nothing; a finite number"),
    "no start": (lambda: advanced(start_at=None), "start_at is nothing.*Enter 0.0"),
    "by position": (
        lambda: NODES["IPAdapter"]().apply_ipadapter(None, {}, ROWS, "a", 0, 1, "standard"),
        'weight is "a"',
    ),
    "tiles": (
        lambda: NODES["IPAdapterClipVisionEnhancer"]().apply_ipadapter(
            None, {}, enhance_tiles="two"
        ),
        'enhance_tiles is "two"',
    ),
    "a text": (lambda: NODES["IPAdapterWeights"]().weights(None), "weights is nothing"),
    "half a strategy": (
        lambda: NODES["IPAdapterWeightsFromStrategy"]().weights(weights_strategy=STRATEGY),
        "a link from IPAdapter Weights",
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_what_is_no_number_is_named_by_its_widget(name: str) -> None:
    call, words = CALLS[name]
    with pytest.raises(BadInput, match=words):
        call()


def test_numbers_beyond_a_widget_are_taken_as_programs_send_them() -> None:
    weights = NODES["IPAdapterCombineWeights"]().combine([0.5, 7], 9)[0]
    assert weights == [0.5, 7.0, 9.0]


def test_a_weight_type_that_is_no_text_is_refused() -> None:
    """By a link anything may come; nodes with a list of their own are checked by it."""
    from pack.nodes.plus.apply import IPAdapter

    given = {"clipvision": None, "insightface": None}
    pipeline, image = {"ipadapter": {"model": {}}, **given}, torch.zeros(1, 8, 8, 3)
    with pytest.raises(BadInput) as refused:
        IPAdapter().apply_ipadapter(None, pipeline, image, 1, 0, 1, -5)
    assert "weight_type is" in str(refused.value)
