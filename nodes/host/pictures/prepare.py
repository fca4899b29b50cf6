"""IMAGE in, IMAGE as the encoder is to see it out; faces are looked for here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ....ip_models.adapter.encoders import encoder_widths
from ....ip_models.errors import Action, BadInput, Mend
from ....ip_models.faces.detect import FaceChoice, choose, find_faces, tried
from ....ip_models.inputs import require, whole
from ....ip_models.pictures.fit import (
    blend_with,
    hidden_line,
    require_images,
    resize_mask,
    to_bytes,
)
from ....ip_models.pictures.noise import Recipe, noisy
from ....ip_models.pictures.prepare import (
    CLIP_MEAN,
    Framing,
    Ground,
    Preparation,
    parse_colour,
    prepare,
    prepare_mask,
    require_room,
)
from ..encoder.siglip import SQUASHED, is_siglip
from ..face.encode import engine_of
from ..face.engine import FaceEngine
from ..progress import Progress
from ..protocols import require_encoder

MOST_SIZE, MOST_NOISE = 1024, 2048
_SIZE = 224


@dataclass(frozen=True)
class PrepareOptions:
    """What the widgets say.

    Attributes:
        size: in pixels, 0 for the encoder's.
    """

    framing: Framing
    ground: Ground
    colour: str
    sharpening: float
    size: int


@dataclass(frozen=True)
class Prepared:
    """Pictures as the encoder is to see them.

    Attributes:
        images: (batch, height, width, 3) on the 8-bit grid.
        masks: (batch, height, width), cut and resized the same way.
        text: what was done, for people.
    """

    images: Tensor
    masks: Tensor
    text: str


def prepare_images(
    images: Any,
    options: PrepareOptions,
    clip_vision: Any = None,
    mask: Any = None,
    face_models: Any = None,
) -> Prepared:
    """Mask, cut, pad, resize and sharpen.

    Raises:
        BadInput: an input cannot be used, or a face is wanted and a picture shows none.
    """
    require("image", images, Tensor, "an IMAGE")
    require_images(images, "image")
    wanted = _preparation(options, clip_vision)
    height, width = images.shape[1:3]
    require_room(height, width, wanted)
    engine = _engine(wanted, face_models)
    seen, covers, hidden = images, None, ""
    if mask is not None:
        require("mask", mask, Tensor, "a MASK")
        seen = blend_with(images, mask, wanted.colour)
        hidden = hidden_line(mask, len(images))
        planes = resize_mask(mask, images)
        covers = to_bytes(planes[..., None])[..., 0].expand(len(images), -1, -1)
    pictures = to_bytes(seen)
    progress = Progress(len(pictures))
    squares: list[Tensor] = []
    masks: list[Tensor] = []
    for i, picture in enumerate(pictures):
        progress.step()
        centre = None if engine is None else _face(engine, picture, i, len(pictures))
        squares.append(prepare(picture, wanted, centre))
        if covers is not None:
            masks.append(prepare_mask(covers[i].contiguous(), wanted, centre))
    made = torch.stack(squares).float() / 255
    cut = torch.stack(masks).float() / 255 if masks else torch.ones(made.shape[:3])
    lines = [_describe(images, made, wanted, clip_vision)]
    if height != width and wanted.framing is not options.framing:
        lines.append(SQUASHED)
    if hidden:
        lines.append(hidden)
    return Prepared(made, cut, "\n".join(lines))


def make_noise(images: Any, size: int, recipe: Recipe) -> Tensor:
    """(batch, height, width, 3) on the 8-bit grid; from one black square if there is no image.

    Raises:
        BadInput: the image cannot be used.
    """
    if images is None:
        whole("size", size, 1, MOST_NOISE)
        images = torch.zeros(1, size, size, 3)
    require("image", images, Tensor, "an IMAGE")
    require_images(images, "image")
    progress = Progress(len(images))
    made: list[Tensor] = []
    for picture in noisy(images, recipe):
        progress.step()
        made.append(picture)
    return torch.stack(made).float() / 255


def _preparation(options: PrepareOptions, clip_vision: Any) -> Preparation:
    whole("size", options.size, 0, MOST_SIZE)
    mean, size = CLIP_MEAN, _SIZE
    if clip_vision is not None:
        require_encoder(clip_vision)
        mean, size = tuple(clip_vision.image_mean), int(clip_vision.image_size)
    plain = options.ground is Ground.COLOUR
    colour = parse_colour(options.colour, "pad_colour") if plain else mean
    size = options.size or size
    framing = options.framing
    if framing.crops and framing is not Framing.CROP_FACE and is_siglip(clip_vision):
        framing = Framing.SQUASH
    return Preparation(framing, size, options.ground, colour, options.sharpening)


def _engine(wanted: Preparation, face_models: Any) -> FaceEngine | None:
    if wanted.framing is not Framing.CROP_FACE:
        return None
    if face_models is None:
        raise BadInput(
            "fit is crop face and face_models is not connected",
            "face models are needed to find a face",
            Action(
                "Connect Load Face Models, or choose another fit",
                Mend("face_models", source="IPALoadFaceModels"),
            ),
        )
    return engine_of(face_models)


def _face(engine: FaceEngine, picture: Tensor, index: int, count: int) -> tuple[float, float]:
    """Centre of the largest face, x and y in pixels."""
    face = choose(find_faces(picture.numpy(), engine), FaceChoice.LARGEST)
    if face is None:
        height, width = picture.shape[:2]
        raise BadInput(
            f"no face was found in image {index + 1} of {count}, {width} x {height} pixels "
            f"(tried {tried(engine)})",
            "a face with both eyes, nose and mouth in view is needed for crop face",
            "Use another photo, or choose another fit",
        )
    left, top, right, bottom = (float(one) for one in face.box)
    return (left + right) / 2, (top + bottom) / 2


def _describe(images: Tensor, made: Tensor, wanted: Preparation, clip_vision: Any) -> str:
    count = f"{len(images)} picture" + ("" if len(images) == 1 else "s")
    before, after = (f"{one.shape[2]} x {one.shape[1]}" for one in (images, made))
    how = wanted.framing.value
    if wanted.framing is Framing.PAD:
        how += f" with {wanted.ground.value}"
    if wanted.sharpening:
        how += f", sharpened {wanted.sharpening:g}"
    if clip_vision is None:
        return f"{count} of {before} -> {after}, {how}"
    name, own = _name(clip_vision), int(clip_vision.image_size)
    text = f"{count} of {before} -> {after}, {how}, for {name}"
    if wanted.framing is Framing.LONG_SIDE or wanted.size == own:
        return text
    return f"{text}\n{name} takes {own} x {own} unless Encode Image has encoder_size or tiles"


def _name(clip_vision: Any) -> str:
    """Common name of an encoder, by the shapes of its weights."""
    model = getattr(clip_vision, "model", None)
    tensors = dict(model.named_parameters()) if isinstance(model, torch.nn.Module) else {}
    widths = encoder_widths(tensors)
    return "this encoder" if widths is None else widths.name
