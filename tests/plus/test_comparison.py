"""Each old apply node gives the original's picture, up to rounding.

Recorded by `python -m plus.record_apply`, run in tests/. Where the originals are, whole outputs are
compared as well.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest
import torch
from kit.models import tiny
from pack.nodes.plus.register import NODES
from plus.comparison import fingerprint, original
from plus.comparison.cases import cases
from plus.comparison.data import Case
from plus.comparison.fingerprint import RECORDED
from plus.comparison.run import Result, called, called_otherwise, ended, plain, run
from plus.contract import RECORDED as CONTRACT
from plus.pixel_cases import sample
from torch import Tensor

TOLERANCE, EFFECT = 5e-6, 0.01
# Of numbers that another machine recorded: processors add in orders of their own, which took some
# cases to 5.1e-6 where a wrong number in the arithmetic takes them to a thousand times that.
RECORDED_TOLERANCE = 5e-5
KNOWN: dict[str, Any] = json.loads(RECORDED.read_text("utf-8"))
CASES = cases()


@cache
def without(family: str, ending: str, batch: int, size: tuple[int, int]) -> Tensor:
    return plain(Case("", family=family, ending=ending, batch=batch, size=size), NODES)


def check_effect(case: Case, output: Tensor) -> None:
    nothing = without(case.family, case.ending, case.batch, case.latent)
    effect = tiny.relative(output, nothing)
    assert effect == 0 if case.silent else effect > EFFECT


def test_all_cases_are_recorded() -> None:
    assert list(KNOWN) == [str(case) for case in CASES]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_picture_is_the_recorded_one(case: Case) -> None:
    known, found = KNOWN[str(case)], run(case, NODES)
    assert fingerprint.distance(found.output, known) <= RECORDED_TOLERANCE
    assert found.length == known["length"]
    for one, kept in zip(found.others, known["others"], strict=True):
        made = one if one is None else sample(one)
        assert (made and made["shape"]) == (kept and kept["shape"])
        if made is not None:
            assert made["mean"] == pytest.approx(kept["mean"], abs=1e-5)
            assert made["values"] == pytest.approx(kept["values"], abs=1 / 255 + 1e-5)
    check_effect(case, found.output)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_picture_is_the_original_s(case: Case) -> None:
    theirs = original.classes()
    with original.single_precision():
        expected: Result = run(case, theirs)
    found = run(case, NODES)
    assert tiny.relative(found.output, expected.output) <= TOLERANCE
    assert found.length == expected.length
    for one, other in zip(found.others, expected.others, strict=True):
        assert one is other is None or torch.equal(one, other)  # pyright: ignore[reportArgumentType]


APPLY = [
    name
    for name, facts in json.loads(CONTRACT.read_text("utf-8")).items()
    if facts["info"]["output"][:1] == ["MODEL"] and "Loader" not in name
]


@pytest.mark.parametrize("name", APPLY)
def test_each_widget_is_moved_and_each_socket_linked(name: str) -> None:
    mine = [case for case in CASES if case.id == name]
    for group, inputs in NODES[name].INPUT_TYPES().items():
        for key, (kind, *rest) in inputs.items():
            default = rest[0].get("default") if rest else None
            if isinstance(kind, list) and default is None:
                default = kind[0]
            values = [given[key] for one in mine if key in (given := {**one.settings, **one.links})]
            if default is not None:
                assert any(value != default for value in values), key
            elif group == "optional" and kind in ("CLIP_VISION", "INSIGHTFACE"):
                assert any(not one.pipeline for one in mine), key
            elif group == "optional":
                assert any(value is not None for value in values), key


@pytest.mark.parametrize("name", APPLY)
def test_it_can_be_called_by_position_and_with_arguments_that_it_does_not_know(name: str) -> None:
    case = next(case for case in CASES if case.id == name and case.ending == "unet")
    expected = called(case, NODES)
    before = ended(case, expected[0], NODES)
    for given in called_otherwise(case, NODES):
        assert len(given) == len(expected) == KNOWN[str(case)]["length"]
        assert torch.equal(ended(case, given[0], NODES), before)
