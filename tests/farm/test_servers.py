"""`python -m farm` with ComfyUIs that run, end, or never start: what is said, and what is made."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import HAS_HOST

from tests.farm import kills, real

LIMIT = 400
DEAD = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    job = real.farm_demo.prepare(tmp_path_factory.mktemp("server") / "job", [])
    with real.server(job.parent / "alone", job) as running:
        yield running


@pytest.mark.skipif(not HAS_HOST, reason="there is no ComfyUI")
def test_a_server_that_dies_leaves_its_rows_to_the_other(address: str, tmp_path: Path) -> None:
    table = real.sampled(60)[::4]
    job = real.job(tmp_path / "job", table, real.toy_workflow())
    with real.comfyui(tmp_path / "second", job) as second:
        command = real.servers_command(job, address, second.address, DEAD)
        with kills.running(command, tmp_path / "farm.log") as head:
            end = time.monotonic() + LIMIT
            while made_by(job)[second.address] < 2:
                assert head.process.poll() is None and time.monotonic() < end
                time.sleep(0.05)
            second.process.kill()
            code = head.process.wait(LIMIT)
    said = (tmp_path / "farm.log").read_text()
    assert code == 0, said
    assert real.problems(job / "out", len(table)) == []
    made = made_by(job)
    assert 2 <= made[second.address] < len(table) and made.total() == len(table)
    assert made[address] == len(table) - made[second.address]
    assert "3 references encoded." in said
    # Whoever is missing is named when it is found, and again in the end.
    assert said.count(f"Worker 3 waits: {DEAD} does not answer (Connection refused).") == 1
    assert f"Worker 2 waits: {second.address} does not answer" in said
    missing = [line for line in said.splitlines() if "missing in the end" in line]
    assert [DEAD in line for line in missing] == [False, True]
    assert [second.address in line for line in missing] == [True, False]


@pytest.mark.skipif(not HAS_HOST, reason="there is no ComfyUI")
def test_a_workflow_that_saves_nothing_ends_before_anything_is_encoded(
    address: str, tmp_path: Path
) -> None:
    graph = real.toy_workflow()
    graph["save"] = {"class_type": "PreviewImage", "inputs": {"images": ["decode", 0]}}
    job = real.job(tmp_path / "job", real.sampled(2), graph)
    code, last = told(real.servers_command(job, address))
    assert code == 2
    assert last.startswith(
        "farm: the workflow ends in PreviewImage and saves no pictures, and each"
    )
    assert kills.lines(job / "out") == [] and not [*(job / "out" / "embeds").iterdir()]


def test_a_comfyui_that_does_not_start_leaves_its_log(tmp_path: Path) -> None:
    job = real.job(tmp_path / "job", real.unsampled(1), real.empty_workflow())
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "main.py").write_text("import no_such_module")
    command = [sys.executable, "-m", "farm", str(job / "jobs.csv"), "--comfyui"]
    options = ["--workflow", str(job / "workflow.json"), "--out", str(job / "out"), "--cpu"]
    code, last = told([*command, str(tmp_path / "broken"), *options])
    assert code == 2 and last.startswith(f"farm: the ComfyUI in {tmp_path / 'broken'} on ")
    assert """It said "ModuleNotFoundError: No module named 'no_such_module'".""" in last
    log = job / "out" / "comfyui-1.log"
    assert last.endswith(f" (its log: {log}).")
    assert "Traceback (most recent call last)" in log.read_text()


def made_by(job: Path) -> Counter[str]:
    """How many rows each server has made."""
    return Counter(f"http://{line['worker']}" for line in kills.lines(job / "out"))


def told(command: list[str]) -> tuple[int, str]:
    """The exit code of a farm and its last line."""
    done = subprocess.run(
        command, cwd=real.ROOT, capture_output=True, text=True, timeout=LIMIT, check=False
    )
    return done.returncode, done.stderr.splitlines()[-1]
