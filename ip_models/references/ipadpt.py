"""The `.ipadpt` files of diffusers and of ComfyUI_IPAdapter_plus.

diffusers: a list with one tensor for each adapter, (2k, n, width) or (2k, n, sequence, width); k
negative rows, then k positive ones, for k pictures at once. Without guidance the negative ones are
missing, which cannot be seen if k is even. ComfyUI_IPAdapter_plus: one bare tensor of positive
rows, (n, width) or (n, sequence, width), with the negative ones in a second file.
"""

from __future__ import annotations

import math
from typing import NamedTuple, cast

import torch
from torch import Tensor

from ..adapter.spec import ENCODER_NAMES, IDENTITY_WIDTH, AdapterSpec, Feature, Kind
from ..errors import BadInput, BrokenFile
from ..inputs import shown, sides
from .embeds_file import DTYPES, require_storable
from .features import SIGLIP, FaceFeatures, Features, ImageFeatures, inputs

_MOST_ENTRIES = 50
_HIDDEN_LENGTHS = (257, 577, 729, 1025)  # of the published encoders
_LEAST_GRID = 4  # of patches along a side; no encoder has fewer
_SAFETENSORS = "Save with file_format safetensors, which keeps everything"


class Entry(NamedTuple):
    """What a file holds for one adapter.

    Attributes:
        positive: (n, width) or (n, sequence, width).
        negative: the same, or None where the file has none.
    """

    feature: Feature
    positive: Tensor
    negative: Tensor | None

    @property
    def source(self) -> str:
        """What to call the encoder in messages."""
        width = self.positive.shape[-1]
        usual = f"an encoder that is {width} wide"
        return ENCODER_NAMES.get((self.feature, width), usual)

    def describe(self) -> str:
        """One line for people, e.g. "pooled 1 x 1024 of ViT-H"."""
        lacks = ", without negative" if self.negative is None else ""
        if self.negative is not None and torch.equal(self.negative, self.positive):
            lacks = ", the negative equals the positive"
        return f"{self.feature.value} {sides(self.positive.shape)} of {self.source}{lacks}"

    def features(self, name: str) -> Features:
        """As an encoder or a recogniser would give them; without a negative if there is none.

        Raises:
            BrokenFile: there is a negative face, which adapters are not trained with.
        """
        if self.feature is Feature.IDENTITY:
            if self.negative is not None and bool(self.negative.any()):
                what = "holds a negative face that is not zero"
                raise _broken(name, what, "adapters hear nobody as the negative face")
            return FaceFeatures(self.positive, None, name)
        pooled = self.feature is Feature.POOLED
        # Zeros are what pipelines write without a negative image.
        given = self.negative is not None and bool(self.negative.any())
        return ImageFeatures(
            pooled=self.positive if pooled else None,
            penultimate=None if pooled else self.positive,
            negative_pooled=self.negative if pooled else None,
            negative_penultimate=None if pooled else self.negative,
            source=self.source,
            negative_given=given,
        )


def read(content: object, name: str, size: int) -> list[Entry]:
    """What a loaded file holds, entry by entry, in single precision or better.

    Args:
        size: bytes of the file; no tensor of it can take more.

    Raises:
        BrokenFile: it is in neither layout, or its values are of no use.
    """
    if isinstance(content, Tensor):
        return [_bare(_checked(content, name, size, "its tensor"), name)]
    if not isinstance(content, list | tuple):
        raise _broken(name, f"is not an embeds file, it holds {shown(content)}", "a list is needed")
    entries = cast("list[object]", content)
    if not 0 < len(entries) <= _MOST_ENTRIES:
        raise _broken(name, f"holds a list of {len(entries)}", f"1 to {_MOST_ENTRIES} are needed")
    found: list[Entry] = []
    for number, entry in enumerate(entries):
        if not isinstance(entry, Tensor):
            what = f"holds {shown(entry)} as entry {number}"
            raise _broken(name, what, "a tensor for each adapter is needed")
        found.append(_listed(_checked(entry, name, size, f"entry {number}"), name, number))
    return found


def write(features: Features, spec: AdapterSpec | None, adapter: str, hint: str) -> Tensor:
    """What diffusers takes for one adapter, (2, n, ...): negative first, then positive.

    Args:
        spec: of the adapter, which decides about the feature; None if there is only one.
        hint: what to do if the features come from another encoder.

    Raises:
        BadInput: diffusers takes such references in another way, or an adapter has to be known.
        WrongEncoder: the features are not for the adapter.
    """
    require_storable(features)
    if spec is not None and spec.kind is Kind.FACEID_PLUS:
        raise BadInput(
            f"{adapter} is a FaceID plus adapter, for which diffusers takes the picture of the "
            "face beside the embeds",
            "an .ipadpt holds one sort of features for each adapter",
            _SAFETENSORS,
        )
    if spec is not None and spec.stages:
        raise BadInput(
            f"{adapter} is an adapter for {spec.family.value}, for which diffusers takes "
            "references and negatives apart",
            "an .ipadpt holds them one after the other",
            _SAFETENSORS,
        )
    if spec is None:
        feature, pair = _only_pair(features)
    else:
        feature, pair = spec.feature, inputs(features, spec, adapter, hint)[0]
    if not bool(torch.isfinite(pair).all()):
        raise BadInput(
            "the embeds hold values that are not finite", "numbers are needed", "Encode again"
        )
    made = pair.flip(0).detach().cpu().contiguous()
    made = made if made.dtype in DTYPES else made.float()
    _require_readable(made, feature)
    return made


def _require_readable(made: Tensor, feature: Feature) -> None:
    """Refuse what would come back as something else."""
    try:
        (entry,) = read([made], "the file", made.nbytes)
    except BrokenFile as error:
        found = f"the embeds could not be read again: {error.found}"
        raise BadInput(found, error.needed, _SAFETENSORS) from error
    if entry.feature is not feature:
        other = "a face" if entry.feature is Feature.IDENTITY else f"{entry.feature.value} ones"
        raise BadInput(
            f"the embeds hold {feature.value} features, {sides(made[1].shape)}",
            f"an .ipadpt cannot tell them from {other}",
            _SAFETENSORS,
        )


def _only_pair(features: Features) -> tuple[Feature, Tensor]:
    needed = "an .ipadpt holds one sort of features for each adapter"
    if isinstance(features, FaceFeatures):
        lengths = features.identity.norm(dim=-1)
        if features.crops is None and bool((lengths - 1).abs().lt(1e-3).all()):
            pair = torch.stack((features.identity, torch.zeros_like(features.identity)))
            return Feature.IDENTITY, pair
        raise BadInput(
            f"the embeds hold a face of {features.source}, which adapters read in two forms",
            needed,
            "Connect the adapter that the file is for",
        )
    sorts = (Feature.POOLED, Feature.PENULTIMATE)
    pairs = [(sort, pair) for sort in sorts if (pair := features.pair(sort))]
    if len(pairs) == 1:
        sort, (positive, negative) = pairs[0]
        if features.source == SIGLIP and not features.negative_given:
            # SD3.5 alone reads such rows, with zeros for nothing; others would be a negative image.
            negative = torch.zeros_like(positive)
        return sort, torch.stack((positive, negative))
    raise BadInput(
        f"the embeds hold {'two sorts' if pairs else 'no whole pair'} of features of "
        f"{features.source}",
        needed,
        "Connect the adapter that the file is for",
    )


def _checked(rows: Tensor, name: str, size: int, what: str) -> Tensor:
    """Only shapes and types are looked at until it is known that the values are in the file."""
    rows = rows.data if type(rows) is torch.nn.Parameter else rows
    # A subclass, a sparse or an expanded tensor may claim more than any memory holds.
    plain = rows.layout is torch.strided and rows.device.type == "cpu"
    if not plain or type(rows) is not Tensor or rows.dtype not in DTYPES:
        kind = f"{rows.layout} {rows.dtype} on {rows.device.type}".replace("torch.", "")
        raise _broken(name, f"has a {kind} tensor as {what}", "plain decimal numbers are needed")
    if rows.numel() * rows.element_size() > size:
        claimed = f"claims that {what} is {sides(rows.shape)}, more than its {size} bytes hold"
        raise _broken(name, claimed, "tensors as large as the file are needed")
    if rows.ndim < 2 or rows.ndim > 4:
        shape = f"has {what} of shape {sides(rows.shape)}"
        raise _broken(name, shape, "2 x images x width or 2 x images x tokens x width is needed")
    if 0 in rows.shape:
        raise _broken(
            name, f"holds no images, {what} is {sides(rows.shape)}", "one or more is needed"
        )
    if not bool(torch.isfinite(rows).all()):
        raise _broken(name, f"holds values in {what} that are not finite", "numbers are needed")
    return rows


def _bare(rows: Tensor, name: str) -> Entry:
    if rows.ndim == 2:
        feature = Feature.IDENTITY if rows.shape[-1] == IDENTITY_WIDTH else Feature.POOLED
        return Entry(feature, _single(rows), None)
    if rows.ndim == 3 and is_sequence(rows.shape[1]):
        return Entry(Feature.PENULTIMATE, _single(rows), None)
    raise BrokenFile(
        f"{name} holds one tensor of shape {sides(rows.shape)}, which may be positive rows or "
        "negative and positive ones",
        "a list as diffusers has it, or images x width or images x tokens x width as "
        "ComfyUI_IPAdapter_plus has it, is needed",
        "Save it as a list, [tensor], if it is diffusers'",
    )


def is_sequence(length: int) -> bool:
    """Patches of a square, with or without the class beside them."""
    return any(
        math.isqrt(n) ** 2 == n and math.isqrt(n) >= _LEAST_GRID for n in (length, length - 1)
    )


def _listed(rows: Tensor, name: str, number: int) -> Entry:
    shape, where = sides(rows.shape), f"entry {number}"
    if rows.ndim == 2:
        what = f"has {where} of shape {shape}"
        raise _broken(name, what, "2 x images x width or 2 x images x tokens x width is needed")
    if rows.ndim == 3 and rows.shape[1] in _HIDDEN_LENGTHS and len(rows) % 2:
        what = f"has {where} of shape {shape}, which looks like hidden states of single images"
        raise _broken(name, what, "2 x images x tokens x width is needed")
    if rows.ndim == 4 and rows.shape[2] == 1:  # as diffusers' guide has it for faces
        rows = rows[:, :, 0]
    feature = Feature.PENULTIMATE
    if rows.ndim == 3:
        feature = Feature.IDENTITY if rows.shape[-1] == IDENTITY_WIDTH else Feature.POOLED
    negative, positive = _halves(rows, feature, name, where)
    return Entry(feature, _single(positive), None if negative is None else _single(negative))


def _halves(rows: Tensor, feature: Feature, name: str, where: str) -> tuple[Tensor | None, Tensor]:
    """One negative, if there is any, and one positive of the rows for k pictures.

    Equal rows of an even number are a pair whose negative equals its positive, which is what
    somebody who gave the reference as the negative picture too has saved. Made without guidance
    for an even k they look the same; read as a pair they load without an encoder too, and a
    negative_file takes the place of that negative. A face is never its own negative.
    """
    alone = len(rows) % 2 == 1 or feature is Feature.IDENTITY
    if alone and _alike(rows):  # made without guidance: the positive one for each of k pictures
        return None, rows[0]
    half = len(rows) // 2
    if len(rows) % 2 or not _alike(rows[:half]) or not _alike(rows[half:]):
        what = f"has {where} with {len(rows)} rows that differ"
        raise _broken(name, what, "one negative and one positive row is needed")
    return rows[0], rows[half]


def _alike(rows: Tensor) -> bool:
    return all(torch.equal(rows[0], row) for row in rows[1:])


def _single(rows: Tensor) -> Tensor:
    """Its own memory, at least single precision: projecting once in it costs nothing."""
    wide = rows if rows.dtype is torch.float64 else rows.float()
    return wide.clone(memory_format=torch.contiguous_format)


def _broken(name: str, what: str, needed: str) -> BrokenFile:
    return BrokenFile(f"{name} {what}", needed, "Save it again, or choose another file")
