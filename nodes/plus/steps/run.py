"""What an old apply node does: references, weights and settings onto a copy of the MODEL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor

from ....ip_models.attention.call import BatchMode
from ....ip_models.attention.keyvalue import KvScaling
from ....ip_models.inputs import chosen, require
from ....ip_models.references.features import Features
from ....ip_models.weights.gains import Weights
from ...host.model.adapter import LoadedAdapter
from ...host.model.apply import Settings, apply
from ...host.protocols import Model, require_model
from .faces import read_faces
from .profile import Profile
from .references import Looks, encode_rows, mixed
from .weight_types import Knobs, Level, WithoutMiddle, first_or_all, levels


@dataclass(frozen=True)
class Wanted:
    """What an old node was asked for, besides its pictures.

    Attributes:
        weight: one number, or a list of which nodes with `per_picture` take all.
        weight_type: which layers have how much of it.
        layer_weights: text that stands in for the type, empty for none.
        composition, boost: see `Knobs`.
        start, end: part of the run, 0..1; nothing is heard where the start is after the end, and
            only a step of that very place where both are the same.
        mask: part of the picture.
        scaling: "V only" and so on.
        per_picture: reference i is for picture i of the batch, and the last one for all further.
        structure: for FaceID plus v2, how much the face's looks count; None for twice the weight.
        text_scale: for Kolors, see `Settings`.
    """

    weight: Any = 1.0
    weight_type: str = "linear"
    layer_weights: str | None = None
    composition: float = 1.0
    boost: float | None = None
    start: float = 0.0
    end: float = 1.0
    mask: Tensor | None = None
    scaling: str = KvScaling.V_ONLY.value
    per_picture: bool = False
    structure: float | None = None
    text_scale: float = 1.0


class Tools(NamedTuple):
    """What pictures and faces are read with.

    Attributes:
        clip_vision, insightface: None where the node has none.
    """

    adapter: LoadedAdapter
    clip_vision: Any = None
    insightface: Any = None


class Heard(NamedTuple):
    """References of one picture or one batch of pictures.

    Attributes:
        features: for all layers.
        composition: for the layers of the composition, None for the same.
        crops: faces that were cut out, None without any.
    """

    features: Features
    composition: Features | None = None
    crops: Tensor | None = None


def read(
    tools: Tools,
    image: Any,
    looks: Looks,
    wanted: Wanted,
    profile: Profile,
    composition: Any = None,
) -> Heard:
    """References of pictures, as the kind of adapter needs them.

    Raises:
        BadInput: a picture cannot be used.
        MissingModel: an encoder or face models are missing.
        NoFace: a picture shows no face.
    """
    require("image", image, Tensor, "an IMAGE")
    require("image_negative", looks.negative, Tensor | None, "an IMAGE")
    spec = tools.adapter.spec
    if spec.needs_face:
        faces = read_faces(tools.insightface, image, spec, tools.clip_vision, looks, profile)
        return Heard(mixed(faces.features, looks.combine, wanted.per_picture), None, faces.crops)
    rows = encode_rows(tools.clip_vision, image, profile, looks)
    other = None
    if composition is not None:
        require("image_composition", composition, Tensor, "an IMAGE")
        other = encode_rows(tools.clip_vision, composition, profile, looks)
        other = mixed(other, looks.combine, wanted.per_picture)
    return Heard(mixed(rows, looks.combine, wanted.per_picture), other)


def applied(
    model: Model,
    tools: Tools,
    image: Any,
    looks: Looks,
    wanted: Wanted,
    profile: Profile,
    composition: Any = None,
) -> tuple[Model, Tensor | None]:
    """A copy of the MODEL that hears pictures, and the faces that were cut out of them.

    Raises:
        IPAdapterError: see `read` and `put_on`.
    """
    heard = read(tools, image, looks, wanted, profile, composition)
    return put_on(model, tools.adapter, heard, wanted, profile), heard.crops


def put_on(
    model: Model, adapter: LoadedAdapter, heard: Heard, wanted: Wanted, profile: Profile
) -> Model:
    """A copy of the MODEL that hears the references.

    Raises:
        BadInput, WrongBase, WrongEncoder: see `apply`.
    """
    require_model("model", model)
    weight = first_or_all(wanted.weight, wanted.per_picture)
    knobs = Knobs(weight, wanted.composition, wanted.boost)
    structure = _structure(wanted.structure, weight)
    if wanted.start > wanted.end:
        return model.clone()
    patched = model
    for level in levels(wanted.weight_type, knobs, wanted.layer_weights):
        features = heard.features
        if level.composition and heard.composition is not None:
            features = heard.composition
        settings = _settings(level, structure, wanted, profile)
        patched = apply(patched, adapter, features, settings)
    return patched


def _settings(level: Level, structure: float, wanted: Wanted, profile: Profile) -> Settings:
    blocks = (level.rule,) if profile.middle else (level.rule, WithoutMiddle())
    return Settings(
        scale=level.weight,
        start_percent=wanted.start,
        end_percent=wanted.end,
        mask=wanted.mask,
        weights=Weights(blocks=blocks),
        batch=BatchMode.REPEAT_LAST if wanted.per_picture else BatchMode.ALL,
        scaling=chosen("embeds_scaling", wanted.scaling, KvScaling),
        mask_rule=profile.mask_rule,
        face_structure=structure,
        face_lora=0.0,  # a LoRA comes by a loader of LoRAs
        text_scale=wanted.text_scale,
    )


def _structure(structure: float | None, weight: float | Sequence[float]) -> float:
    if structure is not None:
        return structure
    return 2 * (weight[0] if isinstance(weight, Sequence) else weight)
