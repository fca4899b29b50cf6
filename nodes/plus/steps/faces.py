"""Faces for old nodes: read through the object that the INSIGHTFACE socket carries."""

from __future__ import annotations

import logging
import sys
from typing import Any, NamedTuple

import numpy
import torch
from torch import Tensor

from ....ip_models.adapter.spec import AdapterSpec
from ....ip_models.errors import NoFace
from ....ip_models.faces.align import norm_crop
from ....ip_models.inputs import no_link
from ....ip_models.pictures.fit import Picture, require_images
from ....ip_models.references.features import FaceFeatures
from ...host.progress import Progress
from .profile import Profile
from .references import Looks, encode_rows

log = logging.getLogger("ipadapter")


class OldFaces(NamedTuple):
    """Faces as features, and cut out, (n, size, size, 3) in 0..1."""

    features: FaceFeatures
    crops: Tensor


def read_faces(
    insightface: Any,
    images: Tensor,
    spec: AdapterSpec,
    clip_vision: Any,
    looks: Looks,
    profile: Profile,
) -> OldFaces:
    """The face with the best score of each picture.

    Args:
        insightface: has `det_model.input_size` and `get(BGR picture)`.

    Raises:
        MissingModel: there is no encoder for an adapter that needs one.
        NoFace: a picture shows none.
    """
    if not (hasattr(insightface, "get") and hasattr(insightface, "det_model")):
        raise no_link("insightface", insightface, "IPAdapter InsightFace Loader")
    require_images(images, "image")
    progress = Progress(len(images))
    side = profile.crop_side(spec.family)
    identities: list[Tensor] = []
    crops: list[Picture] = []
    for i, picture in enumerate(_bytes(images)):
        face = _found(insightface, picture, profile, i, len(images))
        progress.step()
        vector = face.embedding if profile.reads_raw(spec) else face.normed_embedding
        identities.append(
            torch.as_tensor(numpy.asarray(vector), dtype=torch.float32).reshape(1, -1)
        )
        crops.append(_cut(picture, face.kps, side))
    cut = torch.from_numpy(numpy.stack(crops)).float() / 255
    seen = encode_rows(clip_vision, cut, profile, looks) if spec.needs_encoder else None
    features = FaceFeatures(torch.cat(identities), seen, "the face models", prepared=True)
    return OldFaces(features, cut)


def _bytes(images: Tensor) -> list[Picture]:
    """RGB of 8 bits; fractions of a level are cut off."""
    pixels = images[..., :3].expand(*images.shape[:3], 3).detach().cpu().float()
    return list(pixels.mul(255).clamp(0, 255).to(torch.uint8).numpy())


def _found(insightface: Any, picture: Picture, profile: Profile, index: int, count: int) -> Any:
    bgr = numpy.ascontiguousarray(picture[..., ::-1])
    for size in profile.sizes:
        insightface.det_model.input_size = (size, size)
        faces = insightface.get(bgr)
        if faces:
            if size != profile.sizes[0]:
                log.info("face found with a detector input of %d x %d", size, size)
            return faces[0]
    height, width = picture.shape[:2]
    tried = f"sizes {profile.sizes[0]} to {profile.sizes[-1]}"
    raise NoFace(index, count, (width, height), tried, skipped=None)


def _cut(picture: Picture, key_points: Any, side: int) -> Picture:
    """The aligned face; with insightface's own arithmetic where it is what found the face."""
    points = numpy.asarray(key_points, numpy.float32)
    align: Any = sys.modules.get("insightface.utils.face_align")
    if align is not None:
        return align.norm_crop(picture, landmark=points, image_size=side)
    return norm_crop(picture, points, side)
