"""The faults are real ones, and what they harm is seen."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import comfy.model_management
import pytest
import torch
from kit.faults import disk, memory, progress
from kit.faults.trial import Bed, Operation, Sort, try_all
from kit.faults.trips import spread
from pack.ip_models.errors import BadInput
from pack.nodes.host.progress import Progress

OUT_OF_MEMORY = Sort(memory.allocations, memory.of_device)
STOPS = Sort(progress.progress_calls, progress.stopped)


def failures(
    root: Path, sort: Sort, run: Callable[[Any], Any], picture: Callable[[], Any] = lambda: 0
) -> list[str]:
    """What is said of an operation that does `run`."""
    operation = Operation(lambda: None, run, lambda made: made)
    return try_all(Bed(root, (), picture, {"it": operation}), "it", sort, None).failures


def files(root: Path) -> Sort:
    return Sort(disk.below(root), disk.trouble, own=False)


def test_every_allocation_fails_once(tmp_path: Path) -> None:
    def run(_: Any) -> torch.Tensor:
        one = torch.zeros(3) + 1  # two
        one.add_(1).view(3, 1)  # none
        return torch.cat((one, one)).double()  # two

    bed = Bed(tmp_path, (), lambda: 0, {"it": Operation(lambda: None, run, lambda made: made)})
    report = try_all(bed, "it", OUT_OF_MEMORY, None)
    assert (report.count, report.tried, report.survived) == (4, 4, 0)
    assert report.failures == []


def test_a_memory_error_that_becomes_another_is_seen(tmp_path: Path) -> None:
    def run(_: Any) -> torch.Tensor:
        try:
            return torch.zeros(3)
        except RuntimeError as error:
            raise BadInput("a", "b", "c") from error

    (said,) = failures(tmp_path, OUT_OF_MEMORY, run)
    assert "became BadInput" in said


def test_half_of_what_was_made_that_is_used_again_is_seen(tmp_path: Path) -> None:
    held: list[torch.Tensor] = []

    def run(_: Any) -> list[torch.Tensor]:
        if not held:
            held.append(torch.zeros(3))
            held.append(torch.ones(3))
        made = list(held)
        if len(held) == 2:
            held.clear()
        return made

    said = failures(tmp_path, OUT_OF_MEMORY, run)
    assert any("another result when it was done again" in one for one in said)


def test_a_switch_that_stays_is_seen(tmp_path: Path) -> None:
    def run(_: Any) -> int:
        torch.set_autocast_cache_enabled(False)
        Progress(1).step()
        torch.set_autocast_cache_enabled(True)
        return 0

    assert any("autocast" in one for one in failures(tmp_path, STOPS, run))


def test_another_picture_afterwards_is_seen(tmp_path: Path) -> None:
    failed: list[int] = []

    def run(_: Any) -> int:
        try:
            Progress(1).step()
        except comfy.model_management.InterruptProcessingException:
            failed.append(1)
            raise
        return 0

    said = failures(tmp_path, STOPS, run, lambda: len(failed))
    assert len(said) == 2 and all("another control picture" in one for one in said)


@pytest.mark.parametrize("text", [False, True])
def test_raw_errors_of_the_disk_are_seen(tmp_path: Path, text: bool) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"some text")

    def run(_: Any) -> Any:
        with open(path, "r" if text else "rb") as file:
            return file.read()

    said = failures(tmp_path, files(tmp_path), run)
    assert any("raw: OSError" in one and "open:/a.txt" in one for one in said)
    assert any("read:/a.txt" in one for one in said)


def test_a_file_that_stays_open_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"some bytes")

    def run(_: Any) -> bytes:
        handle = os.open(path, os.O_RDONLY)
        try:
            data = os.read(handle, 4)
        except OSError as error:
            raise BadInput("it cannot be read", "a file is needed", "Look") from error
        os.close(handle)
        return data

    assert any("handles changed" in one for one in failures(tmp_path, files(tmp_path), run))


def test_half_a_file_is_seen(tmp_path: Path) -> None:
    def run(_: Any) -> int:
        try:
            with open(tmp_path / "made.bin", "wb", buffering=0) as file:
                file.write(b"one half ")
                file.write(b"and the other")
        except OSError as error:
            raise BadInput("it cannot be written", "room is needed", "Make room") from error
        return 0

    def clear() -> None:
        (tmp_path / "made.bin").unlink(missing_ok=True)

    bed = Bed(tmp_path, (), lambda: 0, {"it": Operation(clear, run, lambda made: made)})
    said = try_all(bed, "it", files(tmp_path), None).failures
    assert any("files changed" in one and "made.bin" in one for one in said)


def test_the_operations_that_fail_are_spread_evenly() -> None:
    assert spread(3, None) == spread(3, 5) == [0, 1, 2]
    assert spread(101, 5) == [0, 25, 50, 75, 100]
    assert spread(0, 5) == []
