"""Block weights as users write them: every form, every refusal, and the same as diffusers."""

from __future__ import annotations

import json
import math
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.models.unet_blocks import TABLES
from kit.unet import parse_blocks, unet_layers
from pack.ip_models.errors import BadInput
from pack.ip_models.layer import Layer
from pack.ip_models.unet.address import LayerAddress, checkpoint_order
from pack.ip_models.weights.gains import Gain, Weights

FAMILIES = list(TABLES)
WITH_ATTENTION = {
    "SD1.5": {"down": (0, 1, 2), "up": (1, 2, 3)},
    "SDXL": {"down": (1, 2), "up": (0, 1)},
}
CONFIGS: dict[str, dict[str, Any]] = {
    "SD1.5": dict(
        block_out_channels=(32, 64, 128, 128),
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        cross_attention_dim=16,
        attention_head_dim=4,
    ),
    "SDXL": dict(
        block_out_channels=(32, 64, 128),
        down_block_types=("DownBlock2D",) + ("CrossAttnDownBlock2D",) * 2,
        up_block_types=("CrossAttnUpBlock2D",) * 2 + ("UpBlock2D",),
        transformer_layers_per_block=[1, 2, 10],
        cross_attention_dim=16,
        attention_head_dim=[1, 2, 4],
        use_linear_projection=True,
    ),
}


def layers_of(family: str) -> list[Layer]:
    return unet_layers(
        LayerAddress(block, number, layer)
        for block, number, count in TABLES[family]
        for layer in range(count)
    )


def factors(text: str, family: str, reference: int = 0, references: int = 1) -> list[list[float]]:
    """Factors of the layers of each transformer, in the order in which these run."""
    layers = layers_of(family)
    gains = parse_blocks(text).gains(layers, reference, references)
    assert not any(gain.swapped for gain in gains)
    of = {layer.slot: gain for layer, gain in zip(layers, gains, strict=True)}
    return [
        [of[LayerAddress(block, number, layer)].factor for layer in range(count)]
        for block, number, count in TABLES[family]
    ]


def only(family: str, factors: dict[int, float]) -> list[list[float]]:
    """Factors where whole transformers are named and all others are nought."""
    return [[factors.get(t, 0.0)] * count for t, (_, _, count) in enumerate(TABLES[family])]


def refusal(text: str) -> str:
    with pytest.raises(BadInput) as refused:
        parse_blocks(text)
    return str(refused.value)


def late_refusal(text: str, family: str, references: int = 1) -> str:
    """What is said of a text that only the model or the references make wrong."""
    rule = parse_blocks(text)
    with pytest.raises(BadInput) as refused:
        rule.gains(layers_of(family), 0, references)
    return str(refused.value)


def test_the_layers_are_those_of_the_specification() -> None:
    assert [len(layers_of(family)) for family in FAMILIES] == [16, 70]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    "text",
    [
        "0:1.0, 3:0.5",
        "0:1.0\n3:0.5",
        " 3 : .5 ,, \r\n 0 :1.,\n",
        "3:+5e-1,0:1",
        "03:0.5,00:1",
    ],
)
def test_numbers_of_transformers(family: str, text: str) -> None:
    assert factors(text, family) == only(family, {0: 1.0, 3: 0.5})


def test_a_number_beyond_one_and_below_zero() -> None:
    assert factors("6:-1.5, 10:2", "SDXL") == only("SDXL", {6: -1.5, 10: 2.0})


@pytest.mark.parametrize("text", ["6:0.25, 6.3:0.5, 6.9:0", "6.9:0\n6.3:0.5\n6:0.25"])
def test_a_single_layer_has_the_last_word(text: str) -> None:
    wanted = only("SDXL", {6: 0.25})
    wanted[6][3], wanted[6][9] = 0.5, 0.0
    assert factors(text, "SDXL") == wanted


def test_a_single_layer_alone_leaves_the_rest_at_nought() -> None:
    wanted = only("SDXL", {})
    wanted[6][3] = 0.5
    assert factors("6.3:0.5", "SDXL") == wanted
    assert factors("6.0:0.5", "SD1.5") == only("SD1.5", {6: 0.5})


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=30, deadline=None, database=None)
@given(data=st.data())
def test_entries_say_the_same_in_any_order(family: str, data: st.DataObject) -> None:
    counts = [count for _, _, count in TABLES[family]]
    places = [(t, None) for t in range(len(counts))]
    places += [(t, i) for t, count in enumerate(counts) for i in range(count)]
    number = st.floats(-100, 100)
    named = data.draw(st.dictionaries(st.sampled_from(places), number, min_size=1, max_size=12))
    entries = [
        f"{t}:{factor!r}" if i is None else f"{t}.{i}:{factor!r}"
        for (t, i), factor in named.items()
    ]
    text = ",".join(data.draw(st.permutations(entries)))
    wanted: list[list[float]] = []
    for t, count in enumerate(counts):
        whole = named.get((t, None), 0.0)
        wanted.append([named.get((t, i), whole) for i in range(count)])
    assert factors(text, family) == wanted


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("text", ["0.5", " 5e-1\n", "[0.5]"])
def test_one_number_is_for_all_layers(family: str, text: str) -> None:
    wanted = [[0.5] * count for _, _, count in TABLES[family]]
    assert factors(text, family) == wanted
    assert factors(text, family, 1, 2) == wanted


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("text", ["[0.7, 0.3]", "[[0.7, 0.3]]"])
def test_a_list_is_for_the_masked_references(family: str, text: str) -> None:
    for reference, factor in enumerate((0.7, 0.3)):
        wanted = [[factor] * count for _, _, count in TABLES[family]]
        assert factors(text, family, reference, 2) == wanted


def test_a_list_of_one_inside_another_is_for_one_reference() -> None:
    assert factors("[[0.5]]", "SD1.5") == only("SD1.5", dict.fromkeys(range(16), 0.5))
    assert "is 2" in late_refusal("[[0.5]]", "SD1.5", 2)


def test_names_of_blocks() -> None:
    text = '{"down": {"block_2": [0, 0.5]}, "mid": [0.25], "up": {"block_0": [0.1, 1, 0]}}'
    assert factors(text, "SDXL") == only("SDXL", {3: 0.5, 4: 0.25, 5: 0.1, 6: 1.0})
    assert factors('{"up": 0.5}', "SD1.5") == only("SD1.5", dict.fromkeys(range(7, 16), 0.5))
    assert factors('{"down": [0.5, 1]}', "SDXL") == only("SDXL", {0: 0.5, 1: 1, 2: 0.5, 3: 1})
    assert factors('{"mid": 1}', "SD1.5") == only("SD1.5", {6: 1.0})


def test_a_block_is_named_by_its_whole_number() -> None:
    layers = unet_layers(LayerAddress("output", number, 0) for number in (3, 30))
    assert [g.factor for g in parse_blocks('{"up": {"block_1": 1}}').gains(layers, 0, 1)] == [1, 0]


@pytest.mark.parametrize("text", ["{}", '{"down": {}}', '{"up": {}, "down": {}}'])
def test_nothing_named_is_nought_as_in_diffusers(text: str) -> None:
    assert factors(text, "SDXL") == only("SDXL", {})


def test_one_text_serves_both_families() -> None:
    rule = parse_blocks('{"down": {"block_2": [0, 1]}, "mid": 0.5}')
    for family, count in (("SD1.5", 1), ("SDXL", 10)):
        layers = layers_of(family)
        factors = [gain.factor for gain in rule.gains(layers, 0, 1)]
        assert factors.count(1.0) == factors.count(0.5) == count
        for layer, factor in zip(layers, factors, strict=True):
            assert (factor == 1.0) == (layer.slot[:2] == ("input", 8))  # pyright: ignore
            assert (factor == 0.5) == (layer.stage == "middle")


@pytest.mark.parametrize("text", ["3:0.5,6.1:1", '{"up": [0.1, 0.2, 0.3]}', "0.5"])
def test_gains_follow_the_order_of_the_layers_asked_for(text: str) -> None:
    layers = layers_of("SDXL")
    in_order = dict(zip(layers, parse_blocks(text).gains(layers, 0, 1), strict=True))
    mixed = random.Random(3).sample(layers, len(layers))
    assert list(parse_blocks(text).gains(mixed, 0, 1)) == [in_order[layer] for layer in mixed]


def test_rules_are_values_and_multiply() -> None:
    for text in ("3:0.5", '{"mid": 1}', "[0.5, 1]"):
        assert parse_blocks(text) == parse_blocks(text)
        assert hash(parse_blocks(text)) == hash(parse_blocks(text))
    product = Weights((parse_blocks("3:0.5"), parse_blocks("0.5"))).gains(layers_of("SD1.5"))
    assert set(product) == {Gain(0.0), Gain(0.25)}


@pytest.mark.parametrize("text", ["", "  \n\t", ",", " ,\n, "])
def test_empty_texts_are_refused(text: str) -> None:
    assert "empty" in refusal(text)


@pytest.mark.parametrize(
    ("text", "culprit"),
    [
        ("0:1.0; 3:0.5", "0:1.0; 3:0.5"),
        ("0:1.0 3:0.5", "0:1.0 3:0.5"),
        ("0:1, 3:", '"3:"'),
        ("0:1, :3", '":3"'),
        ("0:1, 3", '"3"'),
        ("-1:0.5", '"-1:0.5"'),
        ("1.2.3:0.5", '"1.2.3:0.5"'),
        ("x:0.5", '"x:0.5"'),
        ("3:half", '"3:half"'),
        ("3:nan", '"3:nan"'),
        ("3:inf", '"3:inf"'),
        ("3:1_0", '"3:1_0"'),
        ("3:true", '"3:true"'),
        ("3:0.5:1", '"3:0.5:1"'),
        ('"down": 1', "down"),
        ("style", '"style"'),
        ("{down: 1}", "wrong character at line 1, column 2"),
        ('{"down": 1', "line 1, column 11"),
        ("[0.5, }", "wrong character at line 1, column 7"),
        ("0.5 1.0", "wrong character at line 1, column 5"),
        ('{"down": {"1": 0.5}}', '"1" in down'),
        ('{"up": {"block_x": 0.5}}', '"block_x" in up'),
        ('{"up": {"block_01": 0.5}}', '"block_01" in up'),
        ('{"up": {"block_1 ": 0.5}}', '"block_1 " in up'),
        ("[]", "all blocks is an empty list"),
        ("[[]]", "all blocks is an empty list"),
        ('{"down": []}', "down is an empty list"),
        ('{"up": {"block_1": [[]]}}', "up.block_1 is an empty list"),
        pytest.param("style " * 50, '"style style', id="words"),
        pytest.param("[" * 100_000, "nested too deeply", id="brackets"),
    ],
)
def test_what_cannot_be_read_is_refused_with_an_example_of_each_form(
    text: str, culprit: str
) -> None:
    said = refusal(text)
    assert culprit in said
    assert "0:1.0, 3:0.5" in said
    assert '{"up": {"block_0": [0, 1, 0]}}' in said
    assert len(said) < 300


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("true", "all blocks", "true"),
        ("null", "all blocks", "null"),
        ('"0.5"', "all blocks", '"0.5"'),
        ("[0.5, false]", "all blocks", "false"),
        ("[[[0.5]]]", "all blocks", "[0.5]"),
        ('{"down": true}', "down", "true"),
        ('{"mid": {"block_0": 1}}', "mid", "block_0"),
        ('{"mid": null}', "mid", "null"),
        ('{"up": {"block_1": "1"}}', "up.block_1", '"1"'),
        ('{"up": {"block_1": {"0": 1}}}', "up.block_1", '"0"'),
        ('{"up": {"block_1": [1, true, 1]}}', "up.block_1", "true"),
        ('{"up": {"block_1": [[1, [2]]]}}', "up.block_1", "[2.0]"),
        ('{"up": [{"block_1": 1}]}', "up", "block_1"),
    ],
)
def test_what_is_no_number_is_refused(text: str, where: str, what: str) -> None:
    said = refusal(text)
    assert where in said
    assert what in said
    assert "a number is needed" in said


@pytest.mark.parametrize(
    "number",
    ["NaN", "Infinity", "-Infinity", "1e999", "-1000001", pytest.param("9" * 5000, id="digits")],
)
@pytest.mark.parametrize(
    "form", ["{}", "[1, {}]", '{{"mid": {}}}', '{{"up": {{"block_1": [[{}]]}}}}']
)
def test_numbers_that_make_no_factor_are_refused(number: str, form: str) -> None:
    assert "a factor is a finite number" in refusal(form.format(number))


@pytest.mark.parametrize(
    "number", ["1e999", "1000001", "-2e6", pytest.param("9" * 500, id="digits")]
)
def test_entries_with_absurd_factors_are_refused(number: str) -> None:
    assert "a factor is a finite number" in refusal(f"0:1, 3:{number}")


def test_a_million_is_not_absurd() -> None:
    assert factors("3:-1e6", "SD1.5") == only("SD1.5", {3: -1e6})
    assert math.isclose(factors("1000000", "SD1.5")[0][0], 1e6)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("3:0.5, 3:0.5", "3"),
        ("3:0.5\n03:1", "03"),
        ("6.2:0.5, 6:1, 6.02:1", "6.02"),
        ('{"mid": 1, "mid": 1}', '"mid"'),
        ('{"up": {"block_1": 1, "block_1": 0}}', '"block_1"'),
    ],
)
def test_what_is_named_twice_is_refused(text: str, name: str) -> None:
    assert f"name {name} twice" in refusal(text)


@pytest.mark.parametrize("key", ["middle", "down.block_1", "block_1", "Down", ""])
def test_other_keys_are_answered_with_those_there_are(key: str) -> None:
    said = refusal(json.dumps({"mid": 1, key: 0.5}))
    assert f'"{key}"' in said
    assert "the keys are down, mid, up" in said


@pytest.mark.parametrize(
    "text",
    [
        '[{"down": {"block_2": [0, 1]}}, {"up": {"block_0": [0, 1, 0]}}]',
        '[0.5, {"down": 1}]',
        "[[0.7, 0.3], [0.5, 0.5]]",
    ],
)
def test_a_list_with_an_entry_for_each_adapter_is_refused(text: str) -> None:
    assert "one Apply node per adapter" in refusal(text)


@pytest.mark.parametrize("text", ['{"mid": [0.7, 0.3]}', '{"mid": [[1, 0], [0, 1], 1]}'])
def test_the_middle_has_one_entry(text: str) -> None:
    said = refusal(text)
    assert f"{len(json.loads(text)['mid'])} entries for mid" in said
    assert "one transformer" in said


@pytest.mark.parametrize(
    ("text", "family", "parts"),
    [
        ("16:1", "SD1.5", ["transformer 16", "16 transformers", "0 to 15"]),
        ("0:1, 11:0", "SDXL", ["transformer 11", "11 transformers", "0 to 10"]),
        ("40.1:1", "SDXL", ["transformer 40", "11 transformers", "0 to 10"]),
        ("6.10:1", "SDXL", ["layer 10 of transformer 6", "10 layers", "0 to 9"]),
        ("0.2:1", "SDXL", ["layer 2 of transformer 0", "2 layers", "0 to 1"]),
        ("6.1:1", "SD1.5", ["layer 1 of transformer 6", "1 layer, number 0"]),
    ],
)
def test_numbers_the_model_does_not_have(text: str, family: str, parts: list[str]) -> None:
    said = late_refusal(text, family)
    assert all(part in said for part in parts)


@pytest.mark.parametrize(
    ("key", "family"),
    [
        ("down.block_0", "SDXL"),
        ("up.block_2", "SDXL"),
        ("up.block_9", "SDXL"),
        ("down.block_3", "SD1.5"),
        ("up.block_0", "SD1.5"),
    ],
)
@pytest.mark.parametrize("factor", [0, 1, [0.5]])
def test_a_block_without_attention(key: str, family: str, factor: Any) -> None:
    stage, block = key.split(".")
    said = late_refusal(json.dumps({stage: {block: factor}}), family)
    legal = {
        "SD1.5": "down.block_0, down.block_1, down.block_2, mid, "
        "up.block_1, up.block_2, up.block_3",
        "SDXL": "down.block_1, down.block_2, mid, up.block_0, up.block_1",
    }
    assert f"name {key}, which has no" in said
    assert f"model {legal[family]} have" in said


def test_a_model_without_a_middle() -> None:
    layers = [layer for layer in layers_of("SDXL") if layer.stage != "middle"]
    with pytest.raises(BadInput, match="name mid, which has no"):
        parse_blocks('{"mid": 1}').gains(layers, 0, 1)
    assert len(parse_blocks('{"down": 1}').gains(layers, 0, 1)) == 60


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("text", "block", "found", "needed"),
    [
        ('{"down": {"block_2": [0, 1, 0]}}', "down.block_2", 3, 2),
        ('{"up": {"block_1": [0, 1]}}', "up.block_1", 2, 3),
        ('{"up": {"block_1": [[0, 1], 1, 1, 1]}}', "up.block_1", 4, 3),
        ('{"down": [1, 1, 1]}', "down.block", 3, 2),
    ],
)
def test_lists_of_another_length(
    family: str, text: str, block: str, found: int, needed: int
) -> None:
    said = late_refusal(text, family)
    assert f"list {found} entries for {block}" in said
    assert f"{needed} transformers" in said


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("[0.7, 0.3]", "all blocks"),
        ("[[0.7, 0.3]]", "all blocks"),
        ('{"mid": [[0.7, 0.3]]}', "mid"),
        ('{"up": {"block_1": [1, 1, [0.7, 0.3]]}}', "up.block_1"),
        ('{"down": [[0.7, 0.3]]}', "down.block_"),
    ],
)
@pytest.mark.parametrize("references", [1, 3])
def test_lists_for_another_number_of_references(
    family: str, text: str, where: str, references: int
) -> None:
    said = late_refusal(text, family, references)
    assert f"for {where}" in said
    assert "a list of 2" in said
    assert f"connected is {references}" in said
    assert "Connect 2 masked references with Regions" in said


@settings(max_examples=150, deadline=None, database=None)
@given(
    text=st.one_of(
        st.text(max_size=30),
        st.text(alphabet='0123456789.:,-+e[]{}"\n blockdwnmiup_', max_size=30),
        st.recursive(
            st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
            lambda inner: st.one_of(
                st.lists(inner, max_size=4),
                st.dictionaries(
                    st.sampled_from(["down", "mid", "up", "block_0", "block_1", "x"]),
                    inner,
                    max_size=3,
                ),
            ),
            max_leaves=8,
        ).map(json.dumps),
    ),
    family=st.sampled_from(FAMILIES),
)
def test_any_text_gives_finite_factors_or_a_sentence(text: str, family: str) -> None:
    layers = layers_of(family)
    try:
        gains = parse_blocks(text).gains(layers, 0, 1)
    except BadInput as refused:
        assert str(refused).endswith(".")
    else:
        assert len(gains) == len(layers)
        assert all(abs(gain.factor) <= 1e6 for gain in gains)


class Reference:
    """diffusers' own scale setter on a tiny UNet, read back for each of our layers."""

    def __init__(self, family: str) -> None:
        diffusers = pytest.importorskip("diffusers")
        from diffusers.loaders.ip_adapter import IPAdapterMixin
        from diffusers.models.attention_processor import IPAdapterAttnProcessor2_0

        unet = diffusers.UNet2DConditionModel(sample_size=16, layers_per_block=2, **CONFIGS[family])
        unet.set_attn_processor(
            {
                name: IPAdapterAttnProcessor2_0(4, 4, num_tokens=(1,), scale=[math.nan])
                if "attn2" in name
                else processor
                for name, processor in unet.attn_processors.items()
            }
        )
        self.pipeline: Any = IPAdapterMixin()
        self.pipeline.unet_name, self.pipeline.unet = "unet", unet
        self.layers = checkpoint_order(
            LayerAddress(block, number, layer)
            for block, number, count in TABLES[family]
            for layer in range(count)
        )

    def scales(self, scale: Any, reference: int) -> list[float]:
        """In the order of our layers, for one of several masked references."""
        self.pipeline.set_ip_adapter_scale(scale)
        processors = self.pipeline.unet.attn_processors
        found = [processors[self.name(layer)].scale[0] for layer in self.layers]
        # The order of adapter files is that of diffusers' processors.
        assert [self.name(layer) for layer in self.layers] == [n for n in processors if "2.p" in n]
        return [value[reference] if isinstance(value, list) else value for value in found]

    @staticmethod
    def name(layer: LayerAddress) -> str:
        n = layer.number
        where = {
            "input": f"down_blocks.{(n - 1) // 3}.attentions.{(n - 1) % 3}",
            "output": f"up_blocks.{n // 3}.attentions.{n % 3}",
            "middle": "mid_block.attentions.0",
        }[layer.block]
        return f"{where}.transformer_blocks.{layer.layer}.attn2.processor"


@pytest.fixture(scope="module", params=FAMILIES)
def reference(request: pytest.FixtureRequest) -> tuple[str, Reference]:
    return request.param, Reference(request.param)


SCALES: list[Any] = [
    0.5,
    [[0.7, 0.3]],
    {},
    {"down": 1.0},
    {"mid": 0.5},
    {"mid": [0.5]},
    {"mid": [[0.7, 0.3]]},
    {"up": [0.1, 0.2, 0.3]},
    {"down": [0.25], "up": {"block_1": 2}},
    {"down": [[0.7, 0.3]]},
    {"down": {"block_2": [0.0, 1.0]}},
    {"down": {"block_1": 0.5, "block_2": [0.1, -0.2]}, "mid": 1, "up": {"block_1": [0, 1, 0]}},
    {"down": {"block_2": [[0.7, 0.3]]}, "up": {"block_1": [0.5]}},
    {"up": {"block_1": [[0.7, 0.3], 0.5, [0, 1]]}, "down": [[1, 0], 0.25], "mid": 0.1},
]


@pytest.mark.parametrize("scale", SCALES, ids=json.dumps)
def test_scales_expand_as_in_diffusers(reference: tuple[str, Reference], scale: Any) -> None:
    family, diffusers = reference
    layers = layers_of(family)
    for number in (0, 1):
        gains = parse_blocks(json.dumps(scale)).gains(layers, number, 2)
        assert [gain.factor for gain in gains] == diffusers.scales(scale, number)


@settings(max_examples=20, deadline=None, database=None)
@given(data=st.data())
def test_any_scale_expands_as_in_diffusers(
    reference: tuple[str, Reference], data: st.DataObject
) -> None:
    family, diffusers = reference
    number = st.floats(-2, 2)
    level = number | st.lists(number, min_size=2, max_size=2)
    optional: dict[str, Any] = {"mid": number | st.lists(level, min_size=1, max_size=1)}
    for stage, count in (("down", 2), ("up", 3)):
        levels = number | st.lists(level, min_size=1, max_size=1)
        levels |= st.lists(level, min_size=count, max_size=count)
        names = [f"block_{i}" for i in WITH_ATTENTION[family][stage]]
        inside = st.fixed_dictionaries({}, optional=dict.fromkeys(names, levels))
        optional[stage] = levels | inside
    scale = data.draw(st.fixed_dictionaries({}, optional=optional))
    rule = parse_blocks(json.dumps(scale))
    for place in (0, 1):
        gains = rule.gains(layers_of(family), place, 2)
        assert [gain.factor for gain in gains] == diffusers.scales(scale, place)


@pytest.mark.parametrize(
    "scale",
    [
        {"middle": 1},
        {"mid": [0.7, 0.3]},
        {"down": [1, 1, 1]},
        {"up": {"block_1": [1, 1]}},
    ],
    ids=json.dumps,
)
def test_what_diffusers_refuses_is_refused(reference: tuple[str, Reference], scale: Any) -> None:
    family, diffusers = reference
    with pytest.raises(ValueError):
        diffusers.scales(scale, 0)
    with pytest.raises(BadInput):
        parse_blocks(json.dumps(scale)).gains(layers_of(family), 0, 1)


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("{'down': {'block_2': [0, 1]}, 'mid': 0.5}", '{"down": {"block_2": [0, 1]}, "mid": 0.5}'),
        ('[{"mid": 1}]', '{"mid": 1}'),
        ("[0.5,]", "[0.5]"),
        ("{'mid': 1,}", '{"mid": 1}'),
    ],
)
def test_what_programs_send_is_read_as_what_they_mean(text: str, same: str) -> None:
    """A host turns an object into Python's text, and diffusers takes a list of one adapter."""
    assert parse_blocks(text) == parse_blocks(same)


@pytest.mark.parametrize("text", ["{'mid': True}", "{'mid': __import__('os')}", "{'mid': 1}()"])
def test_nothing_but_plain_values_is_read(text: str) -> None:
    with pytest.raises(BadInput):
        parse_blocks(text)


@pytest.mark.parametrize(
    "text", ["{3, 6}", "[{1}]", "1+1j", "[1j]", "b'x'", "[...]", '{"up": {"block_0": [1j]}}']
)
def test_what_only_python_can_write_is_a_sentence(text: str) -> None:
    with pytest.raises(BadInput, match="block weights"):
        parse_blocks(text)
