"""What `dev.py bench --cards` measures, keeps and says, and what a GPU would wait for in a step."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import comfy.ldm.modules.attention as host_attention
import pytest
import torch
from bench import counts
from bench.cards import deep, goals, plan, section
from bench.cards.measure import Found
from bench.contenders import Ours
from bench.uploads import uploads
from kit.models import tiny
from pack.ip_models.attention.call import BatchMode
from pack.ip_models.weights.gains import Weights
from pack.ip_models.weights.schedule import Ramp
from pack.nodes.host.model.apply import Settings, apply
from pack.nodes.host.model.backbones import kernel, unet_patch

FOUND = Found(2, 0, 0, "70/70", 1.015, 1.01, 1.02, 1.0, 0.1, 0, 0, 2**20)
THEIRS = replace(FOUND, step=1.2, weights=2**30)
GOAL = plan.on_card()[0]


@pytest.fixture(autouse=True, scope="module")
def _counted_attention() -> Iterator[None]:
    """PyTorch's attention, which is one kernel."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (host_attention, unet_patch, kernel):
            patch.setattr(module, "optimized_attention", host_attention.attention_pytorch)
        yield


def test_every_use_is_planned_and_the_goal_comes_first() -> None:
    rows = plan.on_card()
    assert GOAL.name == "sdxl float16, batch 2, refs 1"
    assert len({row.name for row in rows}) == len(rows) == 2 * 2 * 3 * 2 * 2
    plain = [row for row in rows if row.unusual < 2]
    assert rows[: len(plain)] == plain


@pytest.mark.parametrize(
    ("measured", "words"),
    [
        (None, ["not measured"] * 3),
        ({"ours": FOUND}, ["met", "not measured", "met"]),
        ({"ours": FOUND, "incumbent": THEIRS}, ["met", "met", "met"]),
        ({"ours": replace(FOUND, step=1.05), "incumbent": THEIRS}, ["missed", "missed", "met"]),
        ({"ours": THEIRS, "incumbent": THEIRS}, ["missed", "missed", "missed"]),
        ({"ours": FOUND, "incumbent": replace(FOUND, step=0.99)}, ["met", "not measured", "met"]),
    ],
)
def test_goals_are_met_missed_or_not_measured(
    measured: dict[str, Found] | None, words: list[str]
) -> None:
    rows = {} if measured is None else {GOAL.name: measured}
    lines = goals.verdicts([GOAL], rows)
    assert [line[:13].strip() for line in lines] == words


def test_what_was_found_is_kept_when_a_row_fails_or_time_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cards.json"
    seen: list[str] = []

    def ends() -> dict[str, Found]:
        seen.extend(json.loads(path.read_text())["rows"])
        raise KeyboardInterrupt

    def breaks() -> dict[str, Found]:
        raise RuntimeError("CUDA out of memory")

    pieces = [
        section.Piece("first", "a", lambda: {"ours": replace(FOUND, syncs=1)}),
        section.Piece("second", "b", breaks),
        section.Piece("third", "c", ends),
    ]
    monkeypatch.setattr(section, "pieces", lambda *_: pieces)
    monkeypatch.setattr(section, "FAMILIES", ())
    record = section.Record(path, {"machine": "none"})
    with pytest.raises(KeyboardInterrupt):
        section.run([], tmp_path, 5, record)
    kept = json.loads(path.read_text())
    assert seen == list(kept["rows"]) == ["first"]
    assert kept["left out"] == {"second": "RuntimeError: CUDA out of memory"}
    checks = section.run([], tmp_path, 0, replace(record, path=None))
    assert checks == []
    assert "0 minutes are over" in capsys.readouterr().out


def test_a_deep_transformer_is_measured_as_on_a_card(tmp_path: Path) -> None:
    case = replace(deep.CASES[0], sizes=replace(deep.CASES[0].sizes, doubles=3, singles=2)).narrow()
    found = deep.found(case, torch.float32, 16, tmp_path)
    assert found.layers == "3/5"
    broken = [str(check) for check in found.checks(case.name, case.most) if not check.passed]
    assert broken == []
    assert found.kernels > 0


@pytest.mark.parametrize(
    ("references", "settings", "first"),
    [
        (1, Settings(), 1),
        (3, Settings(batch=BatchMode.LOOP), 1),
        (1, Settings(mask=torch.linspace(0, 1, 40).expand(1, 30, 40)), 5),  # keys, four grids
        (2, Settings(weights=Weights(frames=(Ramp(0.2, 0.9),))), 2),
    ],
    ids=["one", "loop", "mask", "frames"],
)
def test_nothing_is_uploaded_after_the_first_call_of_a_run(
    tmp_path: Path, references: int, settings: Settings, first: int
) -> None:
    adapter = Ours().load(counts.adapter_file("sd1", "standard", tmp_path))
    plain = tiny.twins("sd1").model
    with torch.inference_mode():
        model = apply(plain, adapter, tiny.random_features(references), settings)
    assert uploads(model, "sd1", 2, calls=3) == [first, 0, 0]
