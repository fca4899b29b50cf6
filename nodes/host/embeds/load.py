"""Embeds from the folder, checked against their encoder and completed with what they lack."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ....ip_models.adapter.encoders import EncoderWidths, encoder_widths
from ....ip_models.adapter.spec import Feature
from ....ip_models.errors import Action, BadInput, BrokenFile, Mend, WrongEncoder
from ....ip_models.inputs import sides
from ....ip_models.pictures.fit import Fit
from ....ip_models.references import embeds_file, ipadpt
from ....ip_models.references.features import FaceFeatures, Features, ImageFeatures, Regions
from ....ip_models.references.report import describe, details
from ..encoder.encode import BLACK_WIDTH, Reference, encode
from ..encoder.identity import fingerprint
from ..files import checkpoint, folders, opened, torch_file
from ..files.header import holds_safetensors

_NEEDED = "embeds saved by Save Embeds, diffusers or ComfyUI_IPAdapter_plus are needed"
_ANY_PICTURE = Reference(torch.zeros(1, 8, 8, 3), Fit.SQUASH)


class LoadOptions(NamedTuple):
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


def load(options: LoadOptions) -> Loaded:
    """Read embeds; without `clip_vision` no encoder runs.

    Raises:
        BadInput: there is no such entry, or the negative file is for something else.
        BrokenFile: a file does not hold embeds.
        MissingModel: there is no such file.
        WrongEncoder: the file comes from another encoder, or lacks a negative.
    """
    embeds, lines = _read(options.file, options.entry)
    if isinstance(embeds, Regions):
        regions = (replace(r, features=_completed(r.features, options)) for r in embeds.regions)
        embeds = Regions(tuple(regions))
    else:
        embeds = _completed(embeds, options)
    return Loaded(embeds, "\n".join([options.file, describe(embeds), *lines]))


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
        with opened.opened(path) as bytes_of:
            own = holds_safetensors(bytes_of)
        if own:
            _require_entry(entry, 1, name)
            return _own(path, name), []
        content, size = checkpoint.read_list(path), opened.identity(path)[2]
    except BrokenFile as error:
        if error.needed != opened.NEEDED:
            raise
        action = error.action
        if action.startswith(
            (opened.AGAIN, torch_file.ANOTHER, torch_file.WITHOUT_CODE)
        ):  # it may never have been downloaded
            action = "Save them again, or choose another file"
        raise BrokenFile(error.found, _NEEDED, action) from error
    entries = ipadpt.read(content, name, size)
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
        action = Action("Set entry to 0", Mend("entry", 0))
        raise BadInput(f"entry is {entry}", f"{name} holds {holds}", action)


def _completed(features: Features, options: LoadOptions) -> Features:
    """With what the file lacks, from where the options say."""
    if isinstance(features, ImageFeatures):
        return _completed_image(features, options)
    if options.negative is not None:
        raise BadInput(
            f"{options.file} holds a face and negative_file is set",
            "adapters hear nobody as the negative face",
            Action("Set negative_file to none", Mend("negative_file", "none")),
        )
    if features.crops is None:
        return features
    return replace(features, crops=_completed_image(features.crops, options))


def _completed_image(features: ImageFeatures, options: LoadOptions) -> ImageFeatures:
    if options.clip_vision is not None:
        _require_encoder(features, options)
    if options.negative is not None:
        features = _with_negative(features, options)
    if features.pooled is not None and features.negative_pooled is None:
        features = replace(features, negative_pooled=torch.zeros_like(features.pooled[:1]))
    if features.penultimate is not None and features.negative_penultimate is None:
        empty = _encoded_empty(features.penultimate, options)
        features = replace(features, negative_penultimate=empty)
    if features.black_pooled is None and options.clip_vision is not None:
        features = replace(features, black_pooled=_encoded_black(features, options))
    return features


def _encoded_black(features: ImageFeatures, options: LoadOptions) -> Tensor | None:
    """What the connected encoder gives for a black picture, if adapters may hear it."""
    wide = features.pooled is not None and features.pooled.shape[-1] == BLACK_WIDTH
    return encode(options.clip_vision, _ANY_PICTURE).black_pooled if wide else None


def _encoded_empty(positive: Tensor, options: LoadOptions) -> Tensor:
    """What the connected encoder gives for no picture."""
    if options.clip_vision is None:
        raise WrongEncoder(
            f"{options.file} holds positive hidden states alone",
            "the negative ones are needed too",
            "Choose the file of the negative embeds as negative_file, or connect clip_vision, "
            "the encoder it was made with",
        )
    empty = encode(options.clip_vision, _ANY_PICTURE).negative_penultimate
    if empty is None or empty.shape[1:] != positive.shape[1:]:
        gives = "no" if empty is None else sides(empty.shape[1:])
        raise WrongEncoder(
            f"{options.file} holds {sides(positive.shape[1:])} hidden states",
            f"the connected clip_vision gives {gives}",
            "Connect the encoder the file was made with, or choose a negative_file",
        )
    return empty


def _with_negative(features: ImageFeatures, options: LoadOptions) -> ImageFeatures:
    """The positive rows of another file as the negative ones of this."""
    assert options.negative is not None
    other, _ = _read(options.negative, 0)
    if not isinstance(other, ImageFeatures):
        kind = "faces" if isinstance(other, FaceFeatures) else "regions"
        raise BadInput(
            f"{options.negative} holds {kind}",
            "embeds of a picture are needed as negative_file",
            "Choose another file, or none",
        )
    pooled = _fitting(other, features, options, lambda one: one.pooled)
    hidden = _fitting(other, features, options, lambda one: one.penultimate)
    if pooled is None and hidden is None:
        raise _unlike(options, details(other), details(features))
    return replace(
        features,
        negative_pooled=features.negative_pooled if pooled is None else pooled,
        negative_penultimate=features.negative_penultimate if hidden is None else hidden,
        negative_given=True,
    )


def _fitting(
    other: ImageFeatures,
    features: ImageFeatures,
    options: LoadOptions,
    rows_of: Callable[[ImageFeatures], Tensor | None],
) -> Tensor | None:
    rows, positive = rows_of(other), rows_of(features)
    if rows is None or positive is None:
        return None
    if rows.shape[1:] != positive.shape[1:] or len(rows) not in (1, len(positive)):
        raise _unlike(
            options,
            f"{len(rows)} of {sides(rows.shape[1:])}",
            f"{len(positive)} of {sides(positive.shape[1:])}",
        )
    return rows


def _unlike(options: LoadOptions, has: str, needs: str) -> BadInput:
    return BadInput(
        f"negative_file {options.negative} holds {' '.join(has.splitlines())}",
        f"{options.file} holds {' '.join(needs.splitlines())} and needs one negative, or one for "
        "each reference",
        "Choose the file that was saved with it, or none",
    )


def _require_encoder(features: ImageFeatures, options: LoadOptions) -> None:
    """Refuse an encoder that the file does not come from, without running it.

    Raises:
        WrongEncoder: its features are of another width, or its weights are others.
    """
    mark = fingerprint(options.clip_vision)
    if mark and mark == features.encoder:
        return
    action = "Connect the encoder the file was made with, or none: it is not needed"
    model = getattr(options.clip_vision, "model", None)
    weights: dict[str, Tensor] = model.state_dict() if isinstance(model, torch.nn.Module) else {}
    own = encoder_widths(weights) or EncoderWidths(None, 0)
    held = (Feature.POOLED, features.pooled), (Feature.PENULTIMATE, features.penultimate)
    for (feature, rows), width in zip(held, (own.pooled, own.penultimate), strict=True):
        if rows is not None and width and width != rows.shape[-1]:
            raise WrongEncoder(
                f"{options.file} holds {rows.shape[-1]} wide {feature.value} features of "
                f"{features.source}",
                f"the connected clip_vision gives {width} wide ones",
                action,
            )
    if mark and features.encoder:
        raise WrongEncoder(
            f"{options.file} was made with {features.source} of other weights",
            "the shapes of the connected clip_vision are the same and its weights are not",
            action,
        )
