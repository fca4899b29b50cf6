"""A fixed set of hostile prompts through the real host, in a process of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import HAS_HOST

RUN = Path(__file__).parent / "run.py"
SEED, COUNT = 18, 150


@pytest.mark.skipif(not HAS_HOST, reason="there is no ComfyUI")
def test_a_fixed_set_of_prompts(tmp_path: Path) -> None:
    options = ("--seed", str(SEED), "--count", str(COUNT), "--into", str(tmp_path / "found"))
    done = subprocess.run(
        [sys.executable, RUN, *options], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert f"'fine': {COUNT}" in done.stdout
