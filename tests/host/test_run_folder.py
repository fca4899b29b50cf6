"""A run of the tests leaves nothing behind, also when it is stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from conftest import HOST, ROOT

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows ends processes without a signal")

# What a test does: files of pytest's and the host's, and a process that ends when it is made to.
SMALL_RUN = """
import subprocess, sys, tempfile, time
from pathlib import Path
import folder_paths
import pytest
SLEEP = "import time; print(1, flush=True); time.sleep(100)"

def test_small(tmp_path):
    (tmp_path / "file").write_text("1")
    Path(tempfile.mkdtemp(), "file").write_text("1")
    output = Path(folder_paths.get_output_directory())
    output.mkdir(parents=True)
    assert Path(PLACE) in output.parents and Path(PLACE) in tmp_path.parents
    process = subprocess.Popen([sys.executable, "-c", SLEEP], stdout=subprocess.PIPE)
    process.stdout.read(1)
    Path(STARTED).write_text(str(process.pid))
    if not ENDS:
        time.sleep(100)
"""


def obey_ctrl_c() -> None:
    """Shells start what runs in the background deaf to it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def started(folder: Path, *options: str, ends: bool = False) -> tuple[subprocess.Popen[str], int]:
    """A run of that test in folder/tmp, and the process that the test has started."""
    place, note = folder / "tmp", folder / "started"
    place.mkdir(exist_ok=True)
    names = f"PLACE, STARTED, ENDS = {str(place)!r}, {str(note)!r}, {ends}\n"
    (folder / "test_small.py").write_text(names + SMALL_RUN)
    variables = {name: text for name, text in os.environ.items() if "PYTEST" not in name}
    variables |= {"TMPDIR": str(place), "COMFYUI_PATH": str(HOST)}
    variables |= {"PYTHONPATH": str(ROOT / "tests")}
    command = [sys.executable, "-m", "pytest", "-p", "conftest", *options, "test_small.py"]
    run = subprocess.Popen(
        command,
        cwd=folder,
        env=variables,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=obey_ctrl_c,
    )
    end = time.monotonic() + 120
    while not (note.is_file() and note.read_text()):
        assert run.poll() is None and time.monotonic() < end, run.communicate()
        time.sleep(0.05)
    return run, int(note.read_text())


def test_a_run_that_ends_leaves_nothing(tmp_path: Path) -> None:
    run, process = started(tmp_path, "-n", "1", ends=True)
    said, _ = run.communicate(timeout=60)
    assert run.returncode == 0 and "1 passed" in said, said
    assert list((tmp_path / "tmp").iterdir()) == [] and not psutil.pid_exists(process)


@pytest.mark.parametrize("workers", ["0", "1"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_leaves_nothing(number: signal.Signals, workers: str, tmp_path: Path) -> None:
    run, process = started(tmp_path, "-n", workers)
    assert list((tmp_path / "tmp").iterdir()) != []
    if number == signal.SIGINT:  # a terminal sends it to the whole group
        os.killpg(run.pid, number)
    else:
        run.send_signal(number)
    said, _ = run.communicate(timeout=60)
    assert "KeyboardInterrupt" in said, said
    assert list((tmp_path / "tmp").iterdir()) == [] and not psutil.pid_exists(process)


def test_a_killed_worker_leaves_nothing(tmp_path: Path) -> None:
    run, process = started(tmp_path, "-n", "1", "--max-worker-restart", "0")
    psutil.Process(process).parent().kill()
    said, _ = run.communicate(timeout=60)
    assert "crashed" in said, said
    assert list((tmp_path / "tmp").iterdir()) == [] and not psutil.pid_exists(process)


def test_the_next_run_sweeps_after_one_that_was_killed(tmp_path: Path) -> None:
    run, process = started(tmp_path, "-p", "no:xdist")
    run.kill()
    run.communicate(timeout=60)
    assert list((tmp_path / "tmp").iterdir()) != [] and psutil.pid_exists(process)
    (tmp_path / "started").unlink()
    run, _ = started(tmp_path, "-p", "no:xdist", ends=True)
    run.communicate(timeout=60)
    assert list((tmp_path / "tmp").iterdir()) == [] and not psutil.pid_exists(process)
