"""Pictures onto a MODEL, by what was found for it; encoders and Apply do the work."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from torch import Tensor

from ....ip_models.pictures.fit import Fit
from ....ip_models.references.features import Features
from ..encoder.encode import Reference, encode, remarks
from ..face.encode import Photos, encode_faces
from ..face.packs import FOLDER
from ..files import folders
from ..model.apply import recogniser_of
from .find import Found

BLACK = "The mask is all black: nothing of this is heard."


class Encoded(NamedTuple):
    """Pictures that were encoded, and what is to be said of them."""

    features: Features
    remarks: tuple[str, ...]


def encode_for(found: Found, image: Tensor) -> Encoded:
    """Pictures as the adapter reads them: the faces in them, or all of them.

    Raises:
        BadInput: the pictures cannot be used.
        NoFace: a face is needed and a picture shows none.
    """
    if found.faces is not None:
        faces = encode_faces(found.faces, Photos(image), found.pair.encoder, skips=False)
        read = faces.features
        warning = read.warnings.get(recogniser_of(found.pair.adapter.spec.family).value)
        return Encoded(read, (warning,) if warning else ())
    reference = Reference(images=image, fit=Fit.CROP_CENTRE)
    features = encode(found.pair.encoder, reference)
    return Encoded(features, tuple(remarks(found.pair.encoder, reference)))


def describe(found: Found, *encoded: Encoded, mask: Tensor | None = None) -> str:
    """What was taken and from where, and what is out of the ordinary, in lines for people."""
    said = dict.fromkeys(remark for one in encoded for remark in one.remarks)
    black = mask is not None and not bool(mask.any())
    return "\n".join([*_files(found), *said, *([BLACK] if black else [])])


def _files(found: Found) -> Iterator[str]:
    adapter, name, _, encoder = found.pair
    spec = adapter.spec
    yield f"adapter: {name} in models/{folders.ADAPTERS} ({spec.family.value}, {spec.kind.value})"
    if encoder is not None:
        yield f"encoder: {encoder} in models/{folders.ENCODERS} ({spec.encoder})"
    if found.pack is not None:
        yield f"face models: {found.pack.name} in models/{FOLDER}"
