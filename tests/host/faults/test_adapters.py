"""Each allocation, each file operation and each stop, once: loading, applying and sampling."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import folder_paths
import pytest
from kit.faults import beds, disk, memory, progress
from kit.faults.trial import Bed, Sort, try_all
from kit.models import transformer_cases, transformers

MOST = None if os.environ.get("IPADAPTER_FAULTS") == "all" else int(os.environ.get("FAULTS", 6))
_BEDS: dict[str, Callable[[Path], Bed]] = {
    "SD1.5": lambda root: beds.unet_bed(root, "sd1", "plus"),
    "SDXL": lambda root: beds.unet_bed(root, "sdxl", "standard"),
    "FaceID": lambda root: beds.unet_bed(root, "sd1", "FaceID plus"),
    "Flux": lambda root: beds.transformer_bed(
        root, transformers.tiny_flux, transformer_cases.XLABS
    ),
    "Flux, InstantX": lambda root: beds.transformer_bed(
        root, transformers.tiny_flux, transformer_cases.INSTANTX
    ),
    "SD3.5": lambda root: beds.transformer_bed(
        root, transformers.tiny_sd3, transformer_cases.SD3
    ),
}


@pytest.fixture(scope="module", params=_BEDS)
def bed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    root = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folder_paths, "folder_names_and_paths", beds.registered(root))
        patch.setattr(folder_paths, "filename_list_cache", {})
        yield _BEDS[request.param](root)


def sorts(root: Path) -> dict[str, Sort]:
    return {
        "device memory": Sort(memory.allocations, memory.of_device),
        "main memory": Sort(memory.allocations, memory.of_main_memory),
        "files": Sort(disk.below(root), disk.trouble, own=False),
        "stops": Sort(progress.progress_calls, progress.stopped),
    }


@pytest.mark.parametrize("operation", ["load", "apply", "sample", "call"])
@pytest.mark.parametrize("sort", ["device memory", "main memory", "files", "stops"])
def test_whatever_fails_leaves_everything_as_it_was(bed: Bed, operation: str, sort: str) -> None:
    report = try_all(bed, operation, sorts(bed.root)[sort], MOST)
    print(operation, sort, report.count, report.tried, report.survived)
    assert report.failures == []
