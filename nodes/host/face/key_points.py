"""Where the faces of photos are, drawn for InstantID's ControlNet."""

from __future__ import annotations

from typing import Any

import numpy
from torch import Tensor

from ....ip_models.faces.align import Points
from ....ip_models.faces.key_points import draw_key_points
from ....ip_models.pictures.fit import Picture
from ..progress import Progress
from .encode import OnNoFace, Photos, as_images, as_picture, chosen_face, engine_of, no_face


def key_point_pictures(face_models: Any, photos: Photos, width: int, height: int) -> Tensor:
    """The five points of each photo's face on black, (n, height, width, 3) in 0..1.

    Args:
        photos: with `PASS`, a photo without a face gives a black picture.
        width, height: of what is drawn; 0 for the photo's own.

    Raises:
        BadInput: the photos cannot be used.
        NoFace: a photo shows none.
        NoSuchFace: a photo shows some, but not the one that is asked for.
    """
    engine = engine_of(face_models)
    progress = Progress(len(photos.images))
    drawn: list[Picture] = []
    for number, image in enumerate(photos.images):
        progress.step()
        picture = as_picture(image)
        face = chosen_face(picture, engine, photos, number)
        size = (width or picture.shape[1], height or picture.shape[0])
        if face is not None:
            drawn.append(draw_key_points(_placed(face.key_points, picture, *size), *size))
        elif photos.on_no_face is OnNoFace.PASS:
            drawn.append(numpy.zeros((size[1], size[0], 3), numpy.uint8))
        else:
            raise no_face(picture, engine, photos, number, skips=False)
    return as_images(drawn)


def _placed(points: Points, picture: Picture, width: int, height: int) -> Points:
    """Points where the host's ControlNet has them: the photo's middle, as large as possible."""
    own = picture.shape[1], picture.shape[0]
    scale = max(width / own[0], height / own[1])
    # The host cuts off whole pixels on both sides.
    cut = [round((own[axis] - (width, height)[axis] / scale) / 2) for axis in (0, 1)]
    scales = [(width, height)[axis] / (own[axis] - 2 * cut[axis]) for axis in (0, 1)]
    placed = (points - numpy.array(cut)) * numpy.array(scales)
    return placed.astype(numpy.float32)
