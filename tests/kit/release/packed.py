"""The files that `comfy node pack` puts into the registry's archive."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def packed() -> list[str]:
    """What git tracks without what .comfyignore names."""
    listed = ["git", "-C", str(ROOT), "ls-files"]
    ignored = [*listed, "-ci", "--exclude-from=.comfyignore"]
    every, left_out = (
        set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines())
        for command in (listed, ignored)
    )
    return sorted(every - left_out)


def unpack(folder: Path) -> None:
    """Put them where the archive would be unpacked."""
    for name in packed():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
