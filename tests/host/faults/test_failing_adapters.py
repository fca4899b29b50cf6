"""Each allocation, file operation and stop of loading, applying and sampling fails once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kit.faults import beds, run
from kit.faults.trial import Bed
from kit.models import transformer_cases, transformers

_BEDS: dict[str, Callable[[Path], Bed]] = {
    "SD1.5": lambda root: beds.unet_bed(root, "sd1", "plus"),
    "SDXL": lambda root: beds.unet_bed(root, "sdxl", "standard"),
    "FaceID": lambda root: beds.unet_bed(root, "sd1", "FaceID plus"),
    "Flux, XLabs": lambda root: beds.transformer_bed(
        root, transformers.tiny_flux, transformer_cases.XLABS
    ),
    "Flux, InstantX": lambda root: beds.transformer_bed(
        root, transformers.tiny_flux, transformer_cases.INSTANTX
    ),
    "SD3.5": lambda root: beds.transformer_bed(root, transformers.tiny_sd3, transformer_cases.SD3),
}
_SORTS = {
    "load": run.READING,
    "apply": run.PROJECTING,
    "sample": run.SAMPLING,
    "call": run.SAMPLING,
}
_FAULTS = [(operation, sort) for operation, sorts in _SORTS.items() for sort in sorts]


@pytest.fixture(scope="module", params=_BEDS)
def bed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    with run.models(tmp_path_factory.mktemp("models")) as root:
        yield _BEDS[request.param](root)


@pytest.mark.parametrize(("operation", "sort"), _FAULTS)
def test_whatever_fails_leaves_everything_as_it_was(bed: Bed, operation: str, sort: str) -> None:
    run.require_unharmed(bed, operation, sort)
