"""Each allocation, file operation and stop of reading, encoding and saving fails once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kit.faults import reference_beds, run
from kit.faults.trial import Bed
from kit.models import encoders

pytest.importorskip("onnx")
_ENCODE = ("encode", "encode in tiles", "encode at another size")
_SAVE = ("save beside", "save in its place", "save ipadpt", "load", "load ipadpt")
_BEDS: dict[str, tuple[Callable[[Path], Bed], tuple[str, ...]]] = {
    "CLIP": (lambda root: reference_beds.encoder_bed(root, encoders.make_pair), _ENCODE),
    "SigLIP": (lambda root: reference_beds.encoder_bed(root, encoders.make_siglip), _ENCODE),
    "folder": (reference_beds.folder_bed, ("load", "encode")),
    "face": (reference_beds.face_bed, ("load", "encode")),
    "embeds": (reference_beds.embeds_bed, _SAVE),
}
_OPERATIONS = [(bed, operation) for bed, (_, names) in _BEDS.items() for operation in names]


@pytest.fixture(scope="module")
def bed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    with run.models(tmp_path_factory.mktemp("models")) as root:
        yield _BEDS[request.param][0](root)


@pytest.mark.parametrize(("bed", "operation"), _OPERATIONS, indirect=["bed"], scope="module")
@pytest.mark.parametrize("sort", run.SORTS)
def test_whatever_fails_leaves_everything_as_it_was(bed: Bed, operation: str, sort: str) -> None:
    run.require_unharmed(bed, operation, sort)
