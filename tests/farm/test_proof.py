"""What `python dev.py farm-bench` proves, with few rows: none lost, none other, none slow."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import HAS_HOST, ROOT

from tests.farm import kills, real

LIMIT = 240
# Half of what all but sampling may take.
HEAD_MILLISECONDS = 7.5


def test_the_head_keeps_up_with_many_workers() -> None:
    options = ["--rows", "400", "--workers", "40", "--processes", "2", "--factor", "0.1"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.farm.simulation", *options, "--references", "7"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["whole"] and found["made"] == 400 and found["encoded"] == 7
    # Of processor time, which other work on the machine does not lengthen.
    assert found["head"] <= HEAD_MILLISECONDS


@pytest.mark.skipif(not HAS_HOST, reason="there is no ComfyUI")
def test_a_killed_comfyui_is_replaced_and_its_rows_are_as_one_alone_makes_them(
    tmp_path: Path,
) -> None:
    table = real.sampled(60)[::10]
    job = real.job(tmp_path / "job", table, real.toy_workflow())
    with (
        kills.running(real.command(job, workers=1), tmp_path / "farm.log") as head,
        ThreadPoolExecutor() as pool,
    ):
        killed = pool.submit(kill_after, head, job, 2)
        pictures = real.pictures_alone(tmp_path / "alone", job, table[::2])
        killed.result()
        code = head.process.wait(LIMIT)
    said = (tmp_path / "farm.log").read_text()
    assert code == 0, said
    assert "3 references encoded" in said
    assert len({line["worker"] for line in kills.lines(job / "out")}) == 2
    assert real.problems(job / "out", len(table)) == []
    assert real.other_pixels(job / "out", pictures) == []
    assert len({real.pixels(path) for path in pictures.values()}) == len(pictures) == 3


def kill_after(head: kills.Head, job: Path, rows: int) -> None:
    """Kill the only ComfyUI of a farm when so many rows are there."""
    end = time.monotonic() + LIMIT
    while len(kills.lines(job / "out")) < rows:
        assert head.process.poll() is None and time.monotonic() < end
        time.sleep(0.1)
    (comfyui,) = head.workers(str(kills.COMFYUI / "main.py"))
    comfyui.kill()
