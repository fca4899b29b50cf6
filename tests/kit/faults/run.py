"""Sorts of faults, how many are tried, and the folders in which they are."""

from __future__ import annotations

import logging
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import folder_paths
import pytest
import torch
from kit.faults import beds, disk, memory, progress
from kit.faults.trial import Bed, Sort, try_all

log = logging.getLogger("faults")

# With "all" every operation fails once; otherwise as many of each sort, evenly.
_WANTED = os.environ.get("IPADAPTER_FAULTS", "3")
MOST = None if _WANTED == "all" else int(_WANTED)
_MEMORY, _FILES, _STOPS = "device memory", "files", "stops"
# What may fail in which sort of operation; an error of the main memory has no class of its own.
READING = (_MEMORY, "main memory", _FILES, _STOPS)
PROJECTING, COMPUTING = (_MEMORY, _FILES, _STOPS), (_MEMORY, "main memory", _STOPS)
SAVING, SAMPLING = (_MEMORY, _FILES), (_MEMORY, _STOPS)


@contextmanager
def models(root: Path) -> Generator[Path]:
    """Folders of models of one's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folder_paths, "models_dir", str(root))
        patch.setattr(folder_paths, "folder_names_and_paths", beds.registered(root))
        patch.setattr(folder_paths, "filename_list_cache", {})
        yield root


def require_unharmed(bed: Bed, operation: str, sort: str) -> None:
    """Let the parts of an operation fail, and say what was harmed by it."""
    with torch.no_grad():
        report = try_all(bed, operation, _sorts(bed.root)[sort], MOST)
    log.info("%s, %s: %d of %d failed once", operation, sort, report.tried, report.count)
    assert not report.failures, "\n".join(report.failures)


def _sorts(root: Path) -> dict[str, Sort]:
    return {
        _MEMORY: Sort(memory.allocations, memory.of_device),
        "main memory": Sort(memory.allocations, memory.of_main_memory),
        _FILES: Sort(disk.below(root), disk.trouble, own=False),
        _STOPS: Sort(progress.progress_calls, progress.stopped),
    }
