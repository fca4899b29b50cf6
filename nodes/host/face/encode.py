"""Photos of people in, `FaceFeatures` and the cut out faces out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

import numpy
import torch
from torch import Tensor

from ....ip_models.errors import BadInput, NoFace, NoSuchFace
from ....ip_models.faces.align import norm_crop, square_crop
from ....ip_models.faces.detect import Face, FaceChoice, choose, find_faces, tried
from ....ip_models.inputs import require
from ....ip_models.pictures.fit import Fit, Picture, require_images
from ....ip_models.references.features import FaceFeatures, ImageFeatures
from ..encoder.encode import Reference, encode
from ..encoder.view import MOST_SHOWN, view
from ..progress import Progress
from .engine import FaceEngine
from .insightface import InsightfaceEngine
from .packs import Recogniser, warn_of

_CROP, _KOLORS_CROP = 224, 336


class OnNoFace(str, Enum):
    """What becomes of photos without a face."""

    ERROR = "error"
    SKIP = "skip"
    PASS = "pass"


@dataclass(frozen=True)
class Photos:
    """Photos to read faces from and how.

    Attributes:
        images: (n, height, width, channels) in 0..1.
        choice: which face of several.
        index: for left to right, from 0.
        on_no_face: `SKIP` and `PASS` leave photos without a face out; where none is left, `SKIP`
            is an error and `PASS` gives empty features, which leave a MODEL as it is.
    """

    images: Tensor
    choice: FaceChoice = FaceChoice.LARGEST
    index: int = 0
    on_no_face: OnNoFace = OnNoFace.ERROR


class EncodedFaces(NamedTuple):
    """Faces that were read.

    Attributes:
        crops: as an encoder sees them, (n, size, size, 3) in 0..1; one black one without a face.
        upright: as the recogniser sees them, the same at its size; none without a face.
    """

    features: FaceFeatures
    crops: Tensor
    upright: Tensor


def engine_of(face_models: Any) -> FaceEngine:
    """This pack's own engine, or one around the object of another pack."""
    own = all(hasattr(face_models, name) for name in ("embed", "crop_size", "fixed_size"))
    return face_models if own else InsightfaceEngine.from_object(face_models)


def encode_faces(
    face_models: Any, photos: Photos, clip_vision: Any = None, skips: bool = True
) -> EncodedFaces:
    """Identity of each photo's face and, with an encoder, what it looks like.

    Args:
        skips: whether whoever asks may have photos without a face left out.

    Raises:
        BadInput: the images or the encoder cannot be used.
        NoFace: a photo shows none, unless it may be left out.
        NoSuchFace: a photo shows some, but not the one that is asked for.
    """
    require("image", photos.images, Tensor, "an IMAGE")
    require_images(photos.images, "image")
    engine = engine_of(face_models)
    pictures = [as_picture(image) for image in photos.images]
    progress = Progress(2 * len(pictures) + 1)
    found: list[tuple[Picture, Face]] = []
    missing: list[NoFace] = []
    for i, picture in enumerate(pictures):
        progress.step()
        face = chosen_face(picture, engine, photos, i)
        if face is not None:
            found.append((picture, face))
            continue
        missing.append(no_face(picture, engine, photos, i, skips))
        if photos.on_no_face is OnNoFace.ERROR:
            raise missing[0]
    if not found and photos.on_no_face is OnNoFace.SKIP:
        raise missing[0]
    return _encode(engine, found, clip_vision, progress)


def chosen_face(picture: Picture, engine: FaceEngine, photos: Photos, number: int) -> Face | None:
    """The face that is asked for, None where a photo shows none.

    Raises:
        NoSuchFace: the photo shows some, but not that one.
    """
    faces = find_faces(picture, engine)
    face = choose(faces, photos.choice, photos.index)
    if face is None and faces:
        raise NoSuchFace(number, len(photos.images), len(faces), photos.index)
    return face


def no_face(
    picture: Picture, engine: FaceEngine, photos: Photos, number: int, skips: bool = True
) -> NoFace:
    """What to say of a photo without a face.

    Args:
        skips: whether such photos may be left out.
    """
    height, width = picture.shape[:2]
    skipped = photos.on_no_face is OnNoFace.SKIP if skips else None
    return NoFace(number, len(photos.images), (width, height), tried(engine), skipped)


def _encode(
    engine: FaceEngine, found: list[tuple[Picture, Face]], clip_vision: Any, progress: Progress
) -> EncodedFaces:
    source = engine.describe().splitlines()[0]
    if not found:
        empty = FaceFeatures(torch.zeros(0, 512), None, source)
        size = engine.crop_size
        return EncodedFaces(empty, torch.zeros(1, _CROP, _CROP, 3), torch.zeros(0, size, size, 3))
    upright = [norm_crop(picture, face.key_points, engine.crop_size) for picture, face in found]
    identity = engine.embed(upright)
    progress.step()
    crops = as_images([_seen(picture, face, clip_vision) for picture, face in found])
    pack = getattr(engine, "pack", None)  # the models of other packs are their own business
    warnings = {one.value: warn_of(pack, one) for one in Recogniser} if pack else {}
    features = FaceFeatures(identity, _looks(clip_vision, crops), source, warnings)
    return EncodedFaces(features, crops, as_images(upright))


def _seen(picture: Picture, face: Face, clip_vision: Any) -> Picture:
    """What an encoder sees of a face; Kolors was trained on the square around its box."""
    if getattr(clip_vision, "image_size", None) == _KOLORS_CROP:
        return square_crop(picture, face.box, _KOLORS_CROP)
    return norm_crop(picture, face.key_points, _CROP)


def _looks(clip_vision: Any, crops: Tensor) -> ImageFeatures | None:
    return None if clip_vision is None else encode(clip_vision, _reference(crops))


def _reference(crops: Tensor) -> Reference:
    return Reference(images=crops, fit=Fit.SQUASH)


def views(faces: EncodedFaces, clip_vision: Any = None) -> list[Tensor]:
    """What reached the networks, the first of them: recogniser, then encoder if there is one."""
    if not len(faces.upright):
        return []
    seen = [faces.upright[:MOST_SHOWN]]
    return (
        seen if clip_vision is None else [*seen, view(clip_vision, _reference(faces.crops)).images]
    )


def as_picture(image: Tensor) -> Picture:
    """(height, width, 3) of 8 bits, as every image loader gives them."""
    if image.shape[-1] == 1:
        image = image.expand(*image.shape[:2], 3)
    if image.shape[-1] not in (3, 4):
        raise BadInput(
            f"image has {image.shape[-1]} channels",
            "1, 3 or 4 are needed to look for a face",
            "Connect a photo",
        )
    pixels = image[..., :3].detach().cpu().float().clamp(0, 1) * 255
    return pixels.round().to(torch.uint8).numpy()


def as_images(pictures: list[Picture]) -> Tensor:
    return torch.from_numpy(numpy.stack(pictures)).float() / 255
