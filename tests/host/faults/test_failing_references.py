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
_SAVE = ("save beside", "save in its place", "save ipadpt")
_Sorts = dict[str, tuple[str, ...]]
_ENCODER: _Sorts = dict.fromkeys(_ENCODE, run.COMPUTING)
_LOADED: _Sorts = {"load": run.READING, "encode": run.COMPUTING}
_EMBEDS: _Sorts = dict.fromkeys((*_SAVE, "load", "load ipadpt"), run.SAVING)
_BEDS: dict[str, tuple[Callable[[Path], Bed], _Sorts]] = {
    "CLIP": (lambda root: reference_beds.encoder_bed(root, encoders.make_pair), _ENCODER),
    "SigLIP": (lambda root: reference_beds.encoder_bed(root, encoders.make_siglip), _ENCODER),
    "folder": (reference_beds.folder_bed, _LOADED),
    "face": (reference_beds.face_bed, _LOADED),
    "embeds": (reference_beds.embeds_bed, _EMBEDS),
}
_FAULTS = [
    (bed, operation, sort)
    for bed, (_, operations) in _BEDS.items()
    for operation, sorts in operations.items()
    for sort in sorts
]


@pytest.fixture(scope="module")
def bed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    with run.models(tmp_path_factory.mktemp("models")) as root:
        yield _BEDS[request.param][0](root)


@pytest.mark.parametrize(("bed", "operation", "sort"), _FAULTS, indirect=["bed"], scope="module")
def test_whatever_fails_leaves_everything_as_it_was(bed: Bed, operation: str, sort: str) -> None:
    run.require_unharmed(bed, operation, sort)
