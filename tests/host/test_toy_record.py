"""What the toys' script writes can be told from what another script would have written."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from toys import NODES, stored
from train import loop, parts, ship, source
from train.loop import Job

WEIGHTS = NODES / "weights"
NOTES = Path(source.__file__).with_name("NOTES.md")
CODE = '''
"""What it does."""
def half(x: int) -> int:
    return x // 2
'''


def test_the_digest_hears_code_and_not_remarks() -> None:
    assert source.digest_of([CODE]) == source.digest_of([CODE.replace("What", "All")])
    assert source.digest_of([CODE]) == source.digest_of([CODE + "\n# and no more\n"])
    assert source.digest_of([CODE]) != source.digest_of([CODE.replace("2", "3")])


def test_a_training_that_other_code_began_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Job(tmp_path, tmp_path, torch.device("cpu"), 4, until=1)
    with torch.enable_grad(), pytest.raises(loop.Stopped):
        parts.train_part("vae", job)
    monkeypatch.setattr(source, "digest", lambda: "other")
    with pytest.raises(SystemExit, match=r"trained by other code .* Remove it to begin again"):
        parts.train_part("vae", job)


def test_what_is_not_trained_to_its_end_is_not_shipped(tmp_path: Path) -> None:
    ship.mark_done(tmp_path, "base")
    with pytest.raises(SystemExit, match="by the code there is: captions, vae"):
        ship.ship(tmp_path, ["base", "captions", "vae"], tmp_path)


@pytest.mark.parametrize("name", ship.FILES)
def test_what_is_shipped_was_made_by_the_code_there_is(name: str) -> None:
    with safe_open(WEIGHTS / f"{name}.safetensors", "pt") as file:
        assert file.metadata() == {"code": source.digest()}


def test_the_log_of_their_training_is_kept() -> None:
    lines = NOTES.read_text("utf-8").splitlines()
    (begun,) = [line for line in lines if line.startswith("code ")]
    assert begun.startswith(f"code {source.digest()}, torch ")
    ended = {
        line.split()[0]: line.split()[1:4] for line in lines if re.search(r" weights \w+$", line)
    }
    trained = {part: [str(steps), "of", str(steps)] for part, steps in parts.STEPS.items()}
    assert ended == trained
    for name in (*ship.FILES, ship.JUDGE):
        assert ship.line_of(WEIGHTS / f"{name}.safetensors") in lines


def test_stored_weights_are_near_and_read_as_published_ones(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    made = {
        "matrix": torch.randn(40, 768, generator=generator),
        "conv": torch.randn(8, 4, 3, 3, generator=generator)
        * torch.logspace(-3, 2, 8)[:, None, None, None],
        "bias": torch.randn(40, generator=generator),
        "nothing": torch.zeros(3, 5),
    }
    plain, few, again = (tmp_path / f"{name}.safetensors" for name in ("plain", "few", "again"))
    save_file({key: tensor.half() for key, tensor in made.items()}, plain)
    stored().write(made, few, {"code": "this"})
    stored().expand(few, again)
    assert few.stat().st_size < 0.6 * plain.stat().st_size
    found = stored().read(again)
    assert found.keys() == made.keys()
    for key, tensor in made.items():
        whole, rounded = tensor.reshape(len(tensor), -1), found[key].reshape(len(tensor), -1)
        step = whole.abs().amax(1, keepdim=True) / stored().LEVELS
        assert ((whole - rounded).abs() <= 0.51 * step).all(), key
        assert torch.equal(found[key], stored().read(few)[key])
