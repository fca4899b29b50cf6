"""Weights, presets and the editor serve a kind of model that they have never heard of."""

from __future__ import annotations

import pytest
from kit import unet
from pack.ip_models.errors import BadInput
from pack.ip_models.layer import Layer, stacks
from pack.ip_models.unet.vocabulary import UNET
from pack.ip_models.weights import presets
from pack.ip_models.weights.block_weights import parse_blocks
from pack.ip_models.weights.editor_data import block_rule, drawn_weights
from pack.ip_models.weights.gains import Gain, Weights
from pack.ip_models.weights.outline import layer_grids
from pack.ip_models.weights.vocabulary import Group, Layout, Outline, Stage, Vocabulary, blocks_of

# Three blocks with two streams, then four with one; nothing is halved, only cut into patches.
LAYERS = tuple(
    Layer(f"{stage} {number}", 96, 64, (first + number, 0), stage, stage, depth=1)
    for stage, first, count in (("double", 0, 3), ("single", 3, 4))
    for number in range(count)
)
RIVER = Vocabulary(
    stages=(Stage("double"), Stage("single")),
    scale='{"double": [0, 1, 0]}',
    block='{"double": 1.0}',
    by_stage={"quiet double": {"double": 0.2, "single": 1.0}},
    by_number={
        "style transfer": {
            Layout("River", blocks_of(LAYERS)): (Group((1,)), Group((6,), "boost", swapped=True))
        }
    },
    outlines=(Outline("River", 1024, LAYERS),),
)
BOTH = UNET.joined(RIVER)
SD1 = unet.OUTLINES["SD1.5"].layers


def factors(text: str, vocabulary: Vocabulary = RIVER) -> list[float]:
    return [gain.factor for gain in parse_blocks(text, vocabulary).gains(LAYERS, 0, 1)]


def refusal(text: str, vocabulary: Vocabulary = RIVER) -> str:
    with pytest.raises(BadInput) as caught:
        parse_blocks(text, vocabulary).gains(LAYERS, 0, 1)
    return str(caught.value)


@pytest.mark.parametrize("vocabulary", [RIVER, BOTH])
def test_its_blocks_are_written_by_number_and_by_name(vocabulary: Vocabulary) -> None:
    assert factors("0:1, 6:0.5", vocabulary) == [1, 0, 0, 0, 0, 0, 0.5]
    assert factors('{"double": [0.1, 0.2, 0.3], "single": 0.5}', vocabulary) == [
        *(0.1, 0.2, 0.3),
        *[0.5] * 4,
    ]
    assert factors("0.5", vocabulary) == [0.5] * 7


def test_what_is_wrong_is_said_in_its_words() -> None:
    assert "this model has 7 transformers, numbers 0 to 6" in refusal("7:1")
    assert "list 2 entries for double; this block has 3 transformers" in refusal(
        '{"double": [1, 1]}'
    )
    said = refusal('{"down": 1}')
    assert 'the key "down"; the keys are double, single' in said and '{"double": 1.0}' in said
    assert '{"double": [0, 1, 0]}' in refusal("1.1.1:1")
    assert "keys are down, mid, up, double, single" in refusal('{"x": 1}', BOTH)
    assert "name down, which has no image attention; in this model double, single" in refusal(
        '{"down": 1}', BOTH
    )


def test_one_preset_serves_both_kinds() -> None:
    rule = presets.preset("style transfer", BOTH, boost=0.5)
    found = dict(zip((layer.slot for layer in LAYERS), rule.gains(LAYERS, 0, 1), strict=True))
    assert found.pop("double 1") == Gain(1.0) and found.pop("single 3") == Gain(0.5, True)
    assert set(found.values()) == {Gain(0.0)}
    assert rule.gains(SD1, 0, 1) == unet.preset("style transfer", boost=0.5).gains(SD1, 0, 1)
    assert hash(rule) == hash(presets.preset("style transfer", BOTH, boost=0.5))
    assert presets.names(BOTH) == (*unet.PRESETS, "quiet double")
    along = presets.preset("ease in", BOTH).gains(LAYERS, 0, 1)
    assert [gain.factor for gain in along] == pytest.approx(
        [0.05 + 0.95 * (1 - number / 7) for number in range(7)]
    )


@pytest.mark.parametrize(
    ("name", "layers", "said"),
    [
        (
            "composition",
            LAYERS,
            "7 transformers; the preset is for models that have 16 (SD1.5 and SD2)",
        ),
        (
            "weak input",
            LAYERS,
            "blocks double, single; the preset is for models that have the blocks i",
        ),
        (
            "quiet double",
            SD1,
            "input, middle, output; the preset is for models that have the blocks d",
        ),
    ],
)
def test_a_preset_of_the_other_kind_is_refused(
    name: str, layers: tuple[Layer, ...], said: str
) -> None:
    with pytest.raises(BadInput) as caught:
        Weights((presets.preset(name, BOTH),)).gains(layers)
    assert said in str(caught.value)


def test_a_family_of_as_many_transformers_is_not_taken_for_another() -> None:
    same = [
        Layer(number, 96, 64, (number, 0), "single", "single") for number in range(len(stacks(SD1)))
    ]
    with pytest.raises(BadInput, match="style transfer"):
        presets.preset("style transfer", BOTH).gains(same, 0, 1)


def test_the_editor_draws_it_beside_the_others() -> None:
    question = {"preset": "style transfer", "weights": "", "composition": 1, "boost": 1}
    answer = drawn_weights(question, BOTH)
    assert list(answer) == ["SD1.5", "SDXL", "River"]
    river = answer.pop("River")
    assert answer == unet.drawn_weights(question)
    assert river["parts"] == [
        {"block": layer.stage, "name": layer.block, "layers": 1, "pixels": 16} for layer in LAYERS
    ]
    assert river["factors"] == [[0], [1], [0], [0], [0], [0], [1]]
    assert river["flipped"] == [False] * 6 + [True]
    assert (river["side"], river["wrong"]) == (1024, "")
    custom = {**question, "preset": "custom", "weights": '{"single": 1}'}
    assert drawn_weights(custom, BOTH)["River"]["wrong"] == ""
    assert "single" in drawn_weights(custom, BOTH)["SDXL"]["wrong"]


def test_masks_have_one_grid_and_weights_multiply() -> None:
    grids = layer_grids((128, 97), (layer.depth for layer in LAYERS))
    assert grids == [(64, 49, 7)]
    rules = (block_rule("custom", "0.5", 1, 1, BOTH), presets.preset("quiet double", BOTH))
    gains = Weights(rules).gains(LAYERS)
    assert [gain.factor for gain in gains] == pytest.approx([0.1] * 3 + [0.5] * 4)
