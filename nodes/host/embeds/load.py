"""Embeds from the folder, made whole: checked against their encoder, with what they lack."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ....ip_models.adapter.spec import Feature
from ....ip_models.errors import BadInput, BrokenFile, WrongEncoder
from ....ip_models.pictures.fit import Fit
from ....ip_models.references import embeds_file, ipadpt
from ....ip_models.references.features import FaceFeatures, Features, ImageFeatures, Regions
from ....ip_models.references.report import describe
from ..encoder.encode import Reference, encode
from ..encoder.identity import fingerprint
from ..files import checkpoint, folders, header

_NEEDED = "embeds saved by Save Embeds, diffusers or ComfyUI_IPAdapter_plus are needed"
_WIDTHS = {
    Feature.POOLED: "visual_projection.weight",
    Feature.PENULTIMATE: "vision_model.post_layernorm.weight",
}


class Wanted(NamedTuple):
    """What to read.

    Attributes:
        file: name as the folder lists it.
        entry: which adapter of an .ipadpt made for several.
        negative: name of a file with what stands for "no reference", or None.
        clip_vision: the encoder the file has to come from, or None.
    """

    file: str
    entry: int = 0
    negative: str | None = None
    clip_vision: Any = None


class Loaded(NamedTuple):
    """Embeds and lines about them for people."""

    embeds: Features | Regions
    text: str


def load(wanted: Wanted) -> Loaded:
    """Read embeds; without `clip_vision` no encoder runs.

    Raises:
        BadInput: there is no such entry, or the negative file is for something else.
        BrokenFile: a file does not hold embeds.
        MissingModel: there is no such file.
        WrongEncoder: the file comes from another encoder, or lacks a negative.
    """
    embeds, lines = _read(wanted.file, wanted.entry)
    whole = _Whole(wanted)
    if isinstance(embeds, Regions):
        regions = [replace(one, features=whole.features(one.features)) for one in embeds.regions]
        embeds = Regions(tuple(regions))
    else:
        embeds = whole.features(embeds)
    return Loaded(embeds, "\n".join([wanted.file, describe(embeds), *lines]))


def describe_file(file: str) -> str:
    """What a file holds, in one line; nothing is filled in and no encoder runs.

    Raises:
        BrokenFile: the file does not hold embeds.
        MissingModel: there is no such file.
    """
    embeds, lines = _read(file, 0)
    return ", ".join([*describe(embeds).splitlines(), *(lines if len(lines) > 1 else ())])


def _read(file: str, entry: int) -> tuple[Features | Regions, list[str]]:
    path = folders.resolve(folders.EMBEDS, file)
    name = os.path.basename(path)
    try:
        if header.holds_safetensors(path):
            _require_entry(entry, 1, name)
            return _own(path, name), []
        content = checkpoint.read_list(path)
    except BrokenFile as error:
        if error.needed != header.NEEDED:
            raise
        action = error.action
        if action.startswith(header.AGAIN):  # it may never have been downloaded
            action = "Save them again, or choose another file"
        raise BrokenFile(error.found, _NEEDED, action) from error
    except OSError as error:
        what = f"{name} cannot be read ({error.strerror or type(error).__name__})"
        raise BrokenFile(what, _NEEDED, "Check the file and its permissions") from error
    entries = ipadpt.read(content, name, os.path.getsize(path))
    _require_entry(entry, len(entries), name)
    marks = ["entry" if i != entry else "this is entry" for i in range(len(entries))]
    lines = [f"{marks[i]} {i}: {one.describe()}" for i, one in enumerate(entries)]
    return entries[entry].features(name), lines


def _own(path: str, name: str) -> Features | Regions:
    tensors, text = checkpoint.read_labelled(path, embeds_file.KEY)
    return embeds_file.unpack(tensors, text, name)


def _require_entry(entry: int, count: int, name: str) -> None:
    if not 0 <= entry < count:
        holds = "entry 0 alone" if count == 1 else f"entries 0 to {count - 1}"
        raise BadInput(f"entry is {entry}", f"{name} holds {holds}", "Set entry to 0")


class _Whole:
    """Fills in what a file lacks, from where the user says."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted

    def features(self, features: Features) -> Features:
        if isinstance(features, ImageFeatures):
            return self._image(features)
        if self._wanted.negative is not None:
            raise BadInput(
                f"{self._wanted.file} holds a face and negative_file is set",
                "adapters hear nobody as the negative face",
                "Set negative_file to none",
            )
        if features.crops is None:
            return features
        return replace(features, crops=self._image(features.crops))

    def _image(self, features: ImageFeatures) -> ImageFeatures:
        if self._wanted.clip_vision is not None:
            _require_encoder(features, self._wanted)
        if self._wanted.negative is not None:
            features = _with_negative(features, self._wanted)
        if features.pooled is not None and features.negative_pooled is None:
            features = replace(features, negative_pooled=torch.zeros_like(features.pooled[:1]))
        if features.penultimate is not None and features.negative_penultimate is None:
            empty = self._empty(features.penultimate)
            features = replace(features, negative_penultimate=empty)
        return features

    def _empty(self, positive: Tensor) -> Tensor:
        wanted = self._wanted
        if wanted.clip_vision is None:
            raise WrongEncoder(
                f"{wanted.file} holds positive hidden states alone",
                "the negative ones are needed too",
                "Choose the file of the negative embeds as negative_file, or connect clip_vision, "
                "the encoder it was made with",
            )
        # What is looked at does not matter, only what the encoder says about no picture.
        nothing = Reference(torch.zeros(1, 8, 8, 3), Fit.SQUASH)
        empty = encode(wanted.clip_vision, nothing).negative_penultimate
        if empty is None or empty.shape[1:] != positive.shape[1:]:
            gives = "no" if empty is None else _size(empty)
            raise WrongEncoder(
                f"{wanted.file} holds {_size(positive)} hidden states",
                f"the connected clip_vision gives {gives}",
                "Connect the encoder the file was made with, or choose a negative_file",
            )
        return empty


def _with_negative(features: ImageFeatures, wanted: Wanted) -> ImageFeatures:
    """The positive rows of another file as the negative ones of this."""
    assert wanted.negative is not None
    other, _ = _read(wanted.negative, 0)
    if not isinstance(other, ImageFeatures):
        kind = "faces" if isinstance(other, FaceFeatures) else "regions"
        raise BadInput(
            f"{wanted.negative} holds {kind}",
            "embeds of a picture are needed as negative_file",
            "Choose another file, or none",
        )
    pooled = _fitting(other, features, wanted, lambda one: one.pooled)
    hidden = _fitting(other, features, wanted, lambda one: one.penultimate)
    if pooled is None and hidden is None:
        raise _unlike(wanted, describe(other), describe(features))
    return replace(
        features,
        negative_pooled=features.negative_pooled if pooled is None else pooled,
        negative_penultimate=features.negative_penultimate if hidden is None else hidden,
    )


def _fitting(
    other: ImageFeatures,
    features: ImageFeatures,
    wanted: Wanted,
    rows_of: Callable[[ImageFeatures], Tensor | None],
) -> Tensor | None:
    rows, positive = rows_of(other), rows_of(features)
    if rows is None or positive is None:
        return None
    if rows.shape[1:] != positive.shape[1:] or len(rows) not in (1, len(positive)):
        raise _unlike(
            wanted, f"{len(rows)} of {_size(rows)}", f"{len(positive)} of {_size(positive)}"
        )
    return rows


def _unlike(wanted: Wanted, has: str, needs: str) -> BadInput:
    return BadInput(
        f"negative_file {wanted.negative} holds {' '.join(has.splitlines())}",
        f"{wanted.file} holds {' '.join(needs.splitlines())} and needs one negative, or one for "
        "each reference",
        "Choose the file that was saved with it, or none",
    )


def _require_encoder(features: ImageFeatures, wanted: Wanted) -> None:
    """Refuse an encoder that the file does not come from, without running it.

    Raises:
        WrongEncoder: its features are of another width, or its weights are others.
    """
    mark = fingerprint(wanted.clip_vision)
    if mark and mark == features.encoder:
        return
    action = "Connect the encoder the file was made with, or none: it is not needed"
    model = getattr(wanted.clip_vision, "model", None)
    weights: dict[str, Tensor] = model.state_dict() if isinstance(model, torch.nn.Module) else {}
    for feature, key in _WIDTHS.items():
        rows = features.pooled if feature is Feature.POOLED else features.penultimate
        if rows is not None and key in weights and len(weights[key]) != rows.shape[-1]:
            raise WrongEncoder(
                f"{wanted.file} holds {rows.shape[-1]} wide {feature.value} features of "
                f"{features.source}",
                f"the connected clip_vision gives {len(weights[key])} wide ones",
                action,
            )
    if mark and features.encoder:
        raise WrongEncoder(
            f"{wanted.file} was made with {features.source} of other weights",
            "the shapes of the connected clip_vision are the same and its weights are not",
            action,
        )


def _size(rows: Tensor) -> str:
    return " x ".join(map(str, rows.shape[1:]))
