"""Presets against the formulas of the specification, section 4.1, and diffusers' InstantStyle."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.models.unet_blocks import TABLES
from kit.unet import PRESETS, parse_blocks, preset, unet_layers
from pack.ip_models.errors import BadInput
from pack.ip_models.layer import Layer
from pack.ip_models.unet.address import LayerAddress
from pack.ip_models.weights.gains import EVERYWHERE, Gain, Weights

FAMILIES = list(TABLES)

EXPECTED_NAMES = """linear|ease in|ease out|ease in-out|reverse in-out|weak input|weak output
|weak middle|strong middle|style transfer|composition|strong style transfer|style and composition
|strong style and composition|style transfer precise|composition precise|InstantStyle style
|InstantStyle layout|InstantStyle style and layout""".replace("\n", "").split("|")
FORMULAE = [name for name in EXPECTED_NAMES if not name.startswith("InstantStyle")]


def layers_of(family: str) -> list[Layer]:
    return unet_layers(
        LayerAddress(block, number, layer)
        for block, number, count in TABLES[family]
        for layer in range(count)
    )


def by_transformer(family: str, gains: list[Gain]) -> list[Gain]:
    """The one gain that all layers of each transformer have."""
    of = {layer.slot: gain for layer, gain in zip(layers_of(family), gains, strict=True)}
    found: list[Gain] = []
    for block, number, count in TABLES[family]:
        same = {of[LayerAddress(block, number, layer)] for layer in range(count)}
        assert len(same) == 1
        found.append(same.pop())
    return found


def gains_of(family: str, name: str, composition: float = 1.0, boost: float = 1.0) -> list[Gain]:
    layers = layers_of(family)
    return by_transformer(family, list(preset(name, composition, boost).gains(layers, 0, 1)))


def curve(name: str, t: int, L: int, kind: str) -> float:
    """First part of section 4.1, w = 1."""
    if name == "ease in":
        return 0.05 + 0.95 * (1 - t / L)
    if name == "ease out":
        return 0.05 + 0.95 * t / L
    if name == "ease in-out":
        return 0.05 + 0.95 * (1 - abs(t - L / 2) / (L / 2))
    if name == "reverse in-out":
        return 0.05 + 0.95 * abs(t - L / 2) / (L / 2)
    if name in ("weak input", "weak middle", "weak output"):
        return 0.2 if kind == name.split()[1] else 1.0
    if name == "strong middle":
        return 1.0 if kind == "middle" else 0.2
    assert name == "linear"
    return 1.0


def listed_sdxl(name: str, t: int, wc: float, boost: float) -> tuple[float, bool]:
    """Column SDXL of the table in section 4.1, w = 1."""
    if name == "style transfer":
        return (1.0 if t == 6 else 0.0), False
    if name == "composition":
        return (1.0 if t == 3 else 0.0), False
    if name == "strong style transfer":
        return (0.0 if t == 3 else 1.0), False
    if name == "style and composition":
        return (wc if t == 3 else 1.0 if t == 6 else 0.0), False
    if name == "strong style and composition":
        return (wc if t == 3 else 1.0), False
    if name == "style transfer precise":
        return (boost if t == 3 else 1.0 if t == 6 else 0.0), t == 3
    assert name == "composition precise"
    return (1.0 if t == 3 else boost if t == 6 else 0.1 * boost), t != 3


def listed_sd1(name: str, t: int, wc: float, boost: float) -> tuple[float, bool]:
    """Column SD1.5 of the table in section 4.1, w = 1."""
    style = 1.0 if t <= 3 or t >= 9 else 0.0
    if name == "style transfer":
        return style, False
    if name == "composition":
        return (0.25 if t == 4 else 1.0 if t == 5 else 0.0), False
    if name == "strong style transfer":
        return (0.0 if t in (4, 5) else 1.0), False
    if name == "style and composition":
        return (0.25 * wc if t == 4 else wc if t == 5 else style), False
    if name == "strong style and composition":
        return (wc if t in (4, 5) else 1.0), False
    if name == "style transfer precise":
        return (0.25 * boost if t == 4 else boost if t == 5 else style), t in (4, 5)
    assert name == "composition precise"
    if t in (4, 5):
        return (0.25 if t == 4 else 1.0), False
    return (0.1 * boost if t in (6, 7, 8) else boost), True


def expected(family: str, name: str, wc: float, boost: float) -> list[tuple[float, bool]]:
    kinds = [block for block, _, _ in TABLES[family]]
    if FORMULAE.index(name) < FORMULAE.index("style transfer"):
        return [(curve(name, t, len(kinds), kind), False) for t, kind in enumerate(kinds)]
    listed = listed_sd1 if family == "SD1.5" else listed_sdxl
    return [listed(name, t, wc, boost) for t in range(len(kinds))]


def assert_gains(found: list[Gain], wanted: list[tuple[float, bool]]) -> None:
    assert [gain.factor for gain in found] == pytest.approx([f for f, _ in wanted], abs=1e-12)
    # Whether a factor of nought is swapped makes no difference.
    assert [g.swapped for g in found if g.factor] == [flip for f, flip in wanted if f]


def test_the_names_and_their_order() -> None:
    assert list(PRESETS) == EXPECTED_NAMES
    assert len(set(PRESETS)) == 19


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", FORMULAE)
@pytest.mark.parametrize(("wc", "boost"), [(1.0, 1.0), (0.35, 1.7)])
def test_every_weight_type_follows_its_formula(
    family: str, name: str, wc: float, boost: float
) -> None:
    assert_gains(gains_of(family, name, wc, boost), expected(family, name, wc, boost))


@settings(max_examples=30, deadline=None, database=None)
@given(
    family=st.sampled_from(FAMILIES),
    name=st.sampled_from(FORMULAE),
    wc=st.floats(-5, 5),
    boost=st.floats(-5, 5),
)
def test_formulae_hold_for_every_composition_and_boost(
    family: str, name: str, wc: float, boost: float
) -> None:
    assert_gains(gains_of(family, name, wc, boost), expected(family, name, wc, boost))


def test_values_worked_out_by_hand() -> None:
    assert gains_of("SD1.5", "ease out")[15].factor == pytest.approx(0.940625)
    assert gains_of("SDXL", "ease out")[10].factor == pytest.approx(0.9136363636)
    assert gains_of("SD1.5", "ease in")[0] == (1.0, False)
    assert gains_of("SD1.5", "ease in-out")[8].factor == pytest.approx(1.0)
    assert gains_of("SD1.5", "reverse in-out")[8].factor == pytest.approx(0.05)
    assert gains_of("SDXL", "composition precise", boost=2.0)[6] == (2.0, True)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(
    ("name", "quiet"),
    [
        ("weak input", {"input"}),
        ("weak output", {"output"}),
        ("weak middle", {"middle"}),
        ("strong middle", {"input", "output"}),
    ],
)
def test_kinds_of_blocks_are_those_of_the_host(family: str, name: str, quiet: set[str]) -> None:
    layers = layers_of(family)
    gains = preset(name).gains(layers, 0, 1)
    for layer, gain in zip(layers, gains, strict=True):
        assert gain == Gain(0.2 if layer.stage in quiet else 1.0)


@pytest.mark.parametrize(
    ("family", "name", "scale"),
    [
        ("SDXL", "style", {"up": {"block_0": [0, 1, 0]}}),
        ("SDXL", "layout", {"down": {"block_2": [0, 1]}}),
        ("SDXL", "style and layout", {"down": {"block_2": [0, 1]}, "up": {"block_0": [0, 1, 0]}}),
        ("SD1.5", "style", {"up": {"block_1": 1}}),
        ("SD1.5", "layout", {"down": {"block_2": 1}, "mid": 1}),
        (
            "SD1.5",
            "style and layout",
            {"down": {"block_2": 1}, "mid": 1, "up": {"block_1": 1}},
        ),
    ],
)
def test_instant_style_is_the_scale_of_diffusers(family: str, name: str, scale: object) -> None:
    layers = layers_of(family)
    found = preset(f"InstantStyle {name}", composition=0.3, boost=0.2).gains(layers, 0, 1)
    assert list(found) == list(parse_blocks(json.dumps(scale)).gains(layers, 0, 1))


@pytest.mark.parametrize("name", PRESETS)
def test_gains_follow_the_order_of_the_layers_asked_for(name: str) -> None:
    layers = layers_of("SDXL")
    one_way = preset(name).gains(layers, 0, 1)
    other_way = preset(name).gains(layers[::-1], 0, 1)
    assert list(one_way) == list(other_way)[::-1]


@pytest.mark.parametrize("name", PRESETS)
def test_every_masked_reference_has_the_same_gains(name: str) -> None:
    layers = layers_of("SD1.5")
    assert preset(name).gains(layers, 0, 1) == preset(name).gains(layers, 2, 3)


def test_gains_come_as_plain_numbers_in_a_product() -> None:
    layers = layers_of("SDXL")
    product = Weights((preset("style transfer precise", boost=0.5), preset("weak input"))).gains(
        layers
    )
    assert by_transformer("SDXL", product)[3] == (0.1, True)
    assert by_transformer("SDXL", product)[6] == (1.0, False)
    assert Weights((preset("linear"),)).gains(layers) == EVERYWHERE.gains(layers)


def test_presets_with_equal_settings_are_equal() -> None:
    assert preset("linear") == preset("linear")
    assert hash(preset("composition", 0.5)) == hash(preset("composition", 0.5))
    assert preset("composition", 0.5) != preset("composition", 0.6)


@pytest.mark.parametrize("name", PRESETS)
def test_another_number_of_transformers(name: str) -> None:
    layers = layers_of("SD1.5")[:12]
    if name in PRESETS[:9]:
        assert len(preset(name).gains(layers, 0, 1)) == 12
        return
    with pytest.raises(BadInput) as refused:
        preset(name).gains(layers, 0, 1)
    for part in (name, "12", "SD1.5", "16", "SDXL", "11"):
        assert part in str(refused.value)


def test_curves_stretch_over_another_number_of_transformers() -> None:
    layers = unet_layers(LayerAddress("input", number, 0) for number in (1, 2, 4, 5))
    factors = [gain.factor for gain in preset("ease in").gains(layers, 0, 1)]
    assert factors == pytest.approx([0.05 + 0.95 * (1 - t / 4) for t in range(4)])


@pytest.mark.parametrize("name", ["", "custom", "Linear", "style"])
def test_an_unknown_name_is_answered_with_those_that_are_known(name: str) -> None:
    with pytest.raises(BadInput) as refused:
        preset(name)
    assert f'"{name}"' in str(refused.value)
    assert all(known in str(refused.value) for known in PRESETS)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 1e7])
@pytest.mark.parametrize("knob", ["composition", "boost"])
def test_factors_that_are_not_finite_are_refused(knob: str, number: float) -> None:
    with pytest.raises(BadInput, match=f"{knob} is"):
        preset("style transfer precise", **{knob: number})
