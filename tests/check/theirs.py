"""diffusers' side, whichever family: the model, the adapter's tensors, the features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from check import theirs_encoder, theirs_transformer, theirs_unet
from check.base import diffusion_tensors, read_tensors
from check.ours import Nodes, face_models
from check.painting import Painting, Predict
from check.problem import CheckError, NotCompared
from check.stored import Precision, quantised
from check.theirs_unet import Heard, Place
from kit.models import checkpoints
from pack.ip_models.adapter.spec import Family
from pack.ip_models.errors import IPAdapterError
from pack.ip_models.references.features import FaceFeatures, Features
from pack.nodes.faces import EncodeFace
from pack.nodes.host.face.engine import EngineChoice
from torch import Tensor

_TRANSFORMERS = {Family.FLUX: "flux", Family.SD3: "sd3"}


@dataclass(frozen=True)
class Reference:
    """A family's model in diffusers."""

    family: Family

    def load(self, tensors: Mapping[str, Tensor], config: Mapping[str, Any], place: Place) -> Any:
        """The model, without a network.

        Raises:
            NotCompared: diffusers has none for this family, or cannot read the file.
        """
        if quantised(diffusion_tensors(tensors)):
            raise NotCompared(
                "the base model: its weights are numbers that scales in the file belong to "
                "(scaled fp8 or the like), which diffusers does not read; give the checkpoint in "
                "fp16, bf16 or plain fp8"
            )
        if self.family in _TRANSFORMERS:
            name = _TRANSFORMERS[self.family]
            return theirs_transformer.load(name, tensors, config, place)
        if self.family is Family.KOLORS:
            raise NotCompared(
                "the run: diffusers reads Kolors from its own folders only, not from a single file"
            )
        return theirs_unet.load(tensors, config, place)

    def kept(self, place: Place) -> torch.dtype:
        """In which precision the weights lie."""
        return place.computed if self.family in _TRANSFORMERS else place.kept

    def plain(self, module: Any, painting: Painting, place: Place) -> Predict:
        """Without an adapter."""
        made = theirs_transformer if self.family in _TRANSFORMERS else theirs_unet
        return made.plain(module, painting, place)

    def hearing(self, module: Any, heard: Heard, painting: Painting, place: Place) -> Predict:
        """With the adapter."""
        made = theirs_transformer if self.family in _TRANSFORMERS else theirs_unet
        return made.hearing(module, heard, painting, place)


def adapter_tensors(path: Path) -> dict[str, Tensor]:
    """The adapter's file, read without our code, under the flat published keys."""
    contents, _ = read_tensors(path)
    flat: dict[str, Tensor] = {}
    for key, value in contents.items():
        if isinstance(value, Mapping):
            flat |= {f"{key}.{inner}": tensor for inner, tensor in value.items()}
        else:
            flat[key] = value
    return checkpoints.flat_keys(flat)


@dataclass
class Said:
    """What transformers and insightface say of the reference.

    Attributes:
        far: how far each feature is from that of our nodes.
        left_out: what could not be compared, and why.
        precision: of the image encoder, None where ours was taken or there is none.
    """

    embeds: Features
    far: dict[str, float]
    left_out: list[str]
    precision: Precision | None = None


def features(nodes: Nodes, pack: Path | None) -> Said:
    """The features of the reference, without our code where that can be."""
    far: dict[str, float] = {}
    left_out: list[str] = []
    embeds, photo = nodes.embeds, nodes.photo[0]
    if isinstance(embeds, FaceFeatures):
        embeds, photo = _faces(nodes, pack, far, left_out)
    looks = embeds.crops if isinstance(embeds, FaceFeatures) else embeds
    if looks is None or nodes.encoder_path is None:
        return Said(embeds, far, left_out)
    rounded = nodes.precision.weights if nodes.precision else torch.float16
    try:
        encoder = theirs_encoder.load(nodes.encoder_path, rounded)
    except NotCompared as reason:
        return Said(embeds, far, [*left_out, str(reason)])
    made = encoder.features(photo, looks)
    for name in ("pooled", "penultimate"):
        one, other = getattr(looks, name), getattr(made, name)
        if one is not None:
            far[f"encoder, {name}"] = relative(one, other)
    heard = replace(embeds, crops=made) if isinstance(embeds, FaceFeatures) else made
    return Said(heard, far, left_out, encoder.precision)


def _faces(
    nodes: Nodes, pack: Path | None, far: dict[str, float], left_out: list[str]
) -> tuple[FaceFeatures, Tensor]:
    """Whose face insightface's package sees, and the crop it is looked at in."""
    own = nodes.embeds
    try:
        models = face_models(pack, EngineChoice.INSIGHTFACE)
        embeds, crops, _ = EncodeFace.execute(models, nodes.photo, nodes.encoder).args
    except (IPAdapterError, CheckError, ImportError) as reason:
        left_out.append(
            f"the face networks: insightface's package cannot run here ({reason}); both sides got "
            "the face of our nodes"
        )
        _, crops, _ = EncodeFace.execute(nodes.face_models, nodes.photo, nodes.encoder).args
        return own, crops[0]
    far["face"] = relative(own.identity, embeds.identity)
    return embeds, crops[0]


def relative(one: Tensor, other: Tensor) -> float:
    """Relative L2 distance, in double precision."""
    difference = (one.double() - other.double()).norm()
    return float(difference / other.double().norm())
