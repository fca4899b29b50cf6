"""The script that trains the toy models: every part runs, goes on after a stop, and learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import toy_nodes
from pack.nodes.host.model.adapter import read_file_spec
from safetensors.torch import load_file
from toy_nodes import models
from train import adapters, base, encoder, judge, loop, parts
from train.drawings import WORDS, draw
from train.loop import Job
from train.studio import references

FEW = 120


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer drawings and smaller batches; the rest of the training is the real one."""
    monkeypatch.setattr(base, "COUNT", FEW)
    monkeypatch.setattr(base, "PENCIL", FEW)
    monkeypatch.setattr(adapters, "COUNT", FEW)
    for module in (base, adapters, encoder):
        monkeypatch.setattr(module, "BATCH", 2)


def job(folder: Path, steps: int) -> Job:
    for name in ("state", "weights"):
        (folder / name).mkdir(exist_ok=True)
    return Job(folder / "state", folder / "weights", torch.device("cpu"), steps)


def test_the_nodes_count_words_as_the_training_does() -> None:
    assert toy_nodes.WORDS == WORDS


@pytest.mark.usefixtures("few")
def test_every_part_trains_and_loads(tmp_path: Path) -> None:
    with torch.enable_grad():
        for part in parts.STEPS:
            parts.train_part(part, job(tmp_path, 4 if part == "captions" else 2))
    weights = tmp_path / "weights"
    models.load_base(weights / "base.safetensors")
    models.load_vae(weights / "vae.safetensors")
    models.load_encoder(weights / "encoder.safetensors")
    judge.load_judge(weights / "judge.safetensors")
    kinds = {
        kind: read_file_spec(str(weights / f"adapter_{kind}.safetensors"))
        for kind in ("standard", "plus")
    }
    assert {kind: spec.tokens for kind, spec in kinds.items()} == {
        "standard": 4,
        "plus": adapters.PLUS_TOKENS,
    }
    assert all(spec.supported and len(spec.layer_widths) == 16 for spec in kinds.values())


def test_a_stopped_training_goes_on_and_ends_where_it_would_have(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    straight, stopped = tmp_path / "straight", tmp_path / "stopped"
    for folder in (straight, stopped):
        folder.mkdir()
    calls = iter(range(100))

    def draw_until_ctrl_c(*arguments: Any) -> torch.Tensor:
        if next(calls) == 3:
            raise KeyboardInterrupt
        return draw(*arguments)

    with torch.enable_grad():
        judge.train_judge(job(straight, 6))
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(loop, "_SAVE_EVERY", 0.0)
            patch.setattr(judge, "draw", draw_until_ctrl_c)
            judge.train_judge(job(stopped, 6))
        judge.train_judge(job(stopped, 6))
    assert "goes on at step 3" in capsys.readouterr().out
    one, other = (load_file(f / "weights" / "judge.safetensors") for f in (straight, stopped))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_the_judge_learns(tmp_path: Path) -> None:
    with torch.enable_grad():
        judge.train_judge(job(tmp_path, 60))
    trained = judge.load_judge(tmp_path / "weights" / "judge.safetensors")
    seen, _ = references(60, 9, word=WORDS.index("moon"))
    assert judge.word_agreement(trained, seen, WORDS.index("moon")) > 0.4  # by chance 0.08
