"""The pack's own file of embeds: tensors and a JSON text that says what they are.

The text is one entry of the metadata, `KEY`: the order of several would not be fixed.
"""

from __future__ import annotations

import json
import math
import sys
from collections import Counter
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor

from .. import json_text, limits
from ..attention.masks import require_mask
from ..errors import BadInput, BrokenFile
from ..inputs import shown, sides
from .features import FaceFeatures, Features, ImageFeatures, Region, Regions

KEY = "ipadapter_embeds"
VERSION = 1
DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)

_NEGATIVE = "negative_"
_RANKS = {"pooled": 2, "penultimate": 3, "negative_pooled": 2, "negative_penultimate": 3}
_LONGEST_TEXT = 500
_LARGEST = sys.float_info.max
_TOGETHER = 2  # references of one picture: the whole and what all its tiles make together


def pack(embeds: Features | Regions) -> tuple[dict[str, Tensor], str]:
    """Tensors by name and the text that describes them.

    Raises:
        BadInput: there are no references, or values that are not finite.
    """
    tensors: dict[str, Tensor] = {}
    if isinstance(embeds, Regions):
        parts = [_region(region, f"{i}.", tensors) for i, region in enumerate(embeds.regions)]
    else:
        parts = [_features(embeds, "0.", tensors)]
    plan = {
        "version": VERSION,
        "regions": isinstance(embeds, Regions),
        "parts": parts,
    }
    return tensors, json.dumps(plan, sort_keys=True)


def require_storable(features: Features) -> None:
    """Refuse embeds without a reference, which no loader would take.

    Raises:
        BadInput: there are no references.
    """
    if not features.count:
        raise BadInput(
            f"the embeds of {features.source} hold nobody",
            "one reference or more is needed",
            "Choose a picture that shows a face",
        )


def _region(region: Region, prefix: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
    if not math.isfinite(region.scale):
        raise BadInput(f"a region has scale {region.scale}", "a number is needed", "Enter 1")
    plan = _features(region.features, prefix, tensors)
    mask = None
    if region.mask is not None:
        mask = _put(region.mask, f"{prefix}mask", tensors)
    return {**plan, "scale": region.scale, "mask": mask}


def _features(features: Features, prefix: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
    require_storable(features)
    if isinstance(features, ImageFeatures):
        return _image(features, prefix, tensors)
    crops = features.crops
    return {
        "sort": "face",
        "source": _plain(features.source),
        "references": features.count,
        "doubts": {_plain(key): _plain(why) for key, why in features.warnings.items()},
        "shapes": {"identity": _put(features.identity, f"{prefix}identity", tensors)},
        "crops": None if crops is None else _image(crops, f"{prefix}crops.", tensors),
    }


def _image(features: ImageFeatures, prefix: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
    rows = {name: getattr(features, name) for name in _RANKS}
    # Earlier readers of this version take no notice of it: tiles for pictures, and any negative
    # for their adapters. They refuse tensors that they do not know, so the black one is numbers.
    more: dict[str, Any] = {}
    if features.picture_of:
        more["picture_of"] = list(features.picture_of)
    if features.negative_given:
        more["negative_given"] = True
    if features.pooled is not None and features.black_pooled is not None:
        _require_finite(features.black_pooled, f"{prefix}black_pooled")
        more["black_pooled"] = features.black_pooled[0].tolist()
    return {
        **more,
        "sort": "image",
        "source": _plain(features.source),
        "encoder": _plain(features.encoder),
        "references": features.count,
        "shapes": {
            name: _put(row, prefix + name, tensors) for name, row in rows.items() if row is not None
        },
    }


def _plain(text: str) -> str:
    """As the reader takes it; a name may come from a folder that was named otherwise."""
    seen = "".join(letter if letter.isprintable() else "?" for letter in text)
    return seen[:_LONGEST_TEXT]


def _put(rows: Tensor, name: str, tensors: dict[str, Tensor]) -> list[int]:
    rows = rows if rows.dtype in DTYPES else rows.float()
    _require_finite(rows, name)
    # Copies, for the file cannot hold two views of one memory.
    tensors[name] = rows.detach().to("cpu", copy=True).contiguous()
    return list(rows.shape)


def _require_finite(rows: Tensor, name: str) -> None:
    if not bool(torch.isfinite(rows).all()):
        raise BadInput(
            f"{name} of the embeds holds values that are not finite",
            "numbers are needed",
            "Encode the reference again, in single precision if it was in half",
        )


def unpack(tensors: Mapping[str, Tensor], text: str, name: str) -> Features | Regions:
    """The embeds a file was made of.

    Raises:
        BrokenFile: text and tensors are not those of embeds, or of a newer version.
    """
    return _Reader(tensors, name).read(text)


class _Reader:
    """Takes nothing the text says for granted."""

    def __init__(self, tensors: Mapping[str, Tensor], name: str) -> None:
        self.tensors, self.name = tensors, name
        self.used: set[str] = set()

    def read(self, text: str) -> Features | Regions:
        try:
            plan = self.table(json_text.read(text, limits.EMBEDS_HEADER_BYTES), "its description")
        except (ValueError, RecursionError):
            raise self.broken("has a description that is not JSON") from None
        version = plan.get("version")
        if type(version) is not int or version < 1:
            raise self.broken("does not say which version of the format it is")
        if version > VERSION:
            raise BrokenFile(
                f"{self.name} was made by a newer version of this pack (format {version})",
                f"files of format {VERSION} can be read",
                "Update this pack",
            )
        parts, several = plan.get("parts"), plan.get("regions")
        if not isinstance(parts, list) or not parts or type(several) is not bool:
            raise self.broken("does not say what it holds")
        plans = [self.table(part, "a part of it") for part in cast("list[Any]", parts)]
        if several:
            embeds = Regions(tuple(self.region(one, f"{i}.") for i, one in enumerate(plans)))
        elif len(plans) == 1:
            embeds = self.features(plans[0], "0.")
        else:
            raise self.broken(f"holds {len(plans)} parts that are no regions")
        if self.used != set(self.tensors):
            raise self.broken("holds tensors that its description does not name")
        return embeds

    def region(self, plan: dict[str, Any], prefix: str) -> Region:
        scale, shape, mask = plan.get("scale"), plan.get("mask"), None
        if isinstance(scale, bool) or not isinstance(scale, int | float):
            raise self.broken("has a region without a scale")
        if not abs(scale) <= _LARGEST:  # neither a NaN nor a whole number without end
            raise self.broken(f"has a region with scale {str(scale)[:20]}")
        if shape is not None:
            mask = self.take(f"{prefix}mask", shape)
            try:
                require_mask(mask, f"{prefix}mask")
            except BadInput as error:
                raise self.broken(f"has a mask nobody can use: {error.found}") from None
        return Region(self.features(plan, prefix), mask, float(scale))

    def features(self, plan: dict[str, Any], prefix: str) -> Features:
        if plan.get("sort") == "image":
            return self.image(plan, prefix)
        if (sort := plan.get("sort")) != "face":
            raise self.broken(f"holds features of an unknown sort {shown(sort)}")
        shapes = self.table(plan.get("shapes"), "shapes")
        identity = self.take(f"{prefix}identity", shapes.get("identity"))
        if identity.ndim != 2 or 0 in identity.shape:
            raise self.broken(f"holds faces of shape {sides(identity.shape)}, not n x 512")
        crops = None
        if plan.get("crops") is not None:
            crops = self.image(self.table(plan["crops"], "crops"), f"{prefix}crops.")
            if crops.count != len(identity):
                raise self.broken(f"holds {len(identity)} faces and {crops.count} pictures of them")
        self.check_count(plan, len(identity))
        doubts = self.table(plan.get("doubts", {}), "doubts")
        warnings = {self.text(key): self.text(why) for key, why in doubts.items()}
        return FaceFeatures(identity, crops, self.text(plan.get("source")), warnings)

    def image(self, plan: dict[str, Any], prefix: str) -> ImageFeatures:
        shapes = self.table(plan.get("shapes"), "shapes")
        rows = {key: self.take(prefix + key, shapes[key]) for key in _RANKS if key in shapes}
        positive = [row for key, row in rows.items() if not key.startswith(_NEGATIVE)]
        counts = {len(row) for row in positive if row.ndim}
        if len(counts) != 1 or 0 in counts:
            raise self.broken(f"holds {' and '.join(map(str, sorted(counts))) or 'no'} references")
        (count,) = counts
        for key, row in rows.items():
            twin = rows.get(key.removeprefix(_NEGATIVE))
            alike = twin is not None and row.shape[1:] == twin.shape[1:]
            if not alike or row.ndim != _RANKS[key] or 0 in row.shape:
                raise self.broken(f"holds {key} features of shape {sides(row.shape)}")
            if len(row) not in (1, count):
                raise self.broken(f"holds {len(row)} {key} features for {count} references")
        self.check_count(plan, count)
        source, encoder = self.text(plan.get("source")), self.text(plan.get("encoder", ""))
        pictures = self.pictures(plan, count)
        return ImageFeatures(
            **{key: rows.get(key) for key in _RANKS},
            source=source,
            encoder=encoder,
            picture_of=pictures,
            black_pooled=self.black(plan, rows.get("pooled")),
            negative_given=plan.get("negative_given") is True,
        )

    def black(self, plan: dict[str, Any], pooled: Tensor | None) -> Tensor | None:
        """A pooled row in numbers; files of before the transformers have none."""
        said = plan.get("black_pooled")
        if said is None:
            return None
        numbers = cast("list[Any]", said) if isinstance(said, list) else []
        known = all(type(one) is float and abs(one) <= _LARGEST for one in numbers)
        if pooled is None or not known or len(numbers) != pooled.shape[-1]:
            raise self.broken("does not say what a black picture gives")
        row = torch.tensor([numbers], dtype=pooled.dtype)
        if not bool(torch.isfinite(row).all()):
            raise self.broken("does not say what a black picture gives")
        return row

    def pictures(self, plan: dict[str, Any], count: int) -> tuple[int, ...]:
        """Which references are of one picture: it and its tiles, two at most."""
        said = plan.get("picture_of", ())
        numbers = cast("list[Any]", said) if isinstance(said, list) else []
        sizes = Counter(number for number in numbers if type(number) is int)
        known = sizes.total() == len(numbers) == count and set(sizes) == set(range(len(sizes)))
        if said != () and not (known and max(sizes.values()) <= _TOGETHER):
            raise self.broken("does not say which references are tiles of which picture")
        return tuple(numbers)

    def check_count(self, plan: dict[str, Any], count: int) -> None:
        if plan.get("references") != count:
            said = str(plan.get("references"))[:20]
            raise self.broken(f"says that it holds {said} references and holds {count}")

    def take(self, key: str, shape: object) -> Tensor:
        """The tensor, if it is there as described."""
        rows = self.tensors.get(key)
        if rows is None:
            raise self.broken(f"names {key}, which is not in it")
        if shape != list(rows.shape):
            raise self.broken(f"says that {key} is {str(shape)[:40]} and it is {list(rows.shape)}")
        if rows.dtype not in DTYPES or not bool(torch.isfinite(rows).all()):
            raise self.broken(f"holds values in {key} that are not finite numbers")
        self.used.add(key)
        return rows

    def table(self, value: object, what: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.broken(f"lacks {what}")
        return cast("dict[str, Any]", value)

    def text(self, value: object) -> str:
        if not isinstance(value, str) or len(value) > _LONGEST_TEXT or not value.isprintable():
            raise self.broken("does not say in plain text what made the embeds")
        return value

    def broken(self, what: str) -> BrokenFile:
        return BrokenFile(
            f"{self.name} {what}",
            "embeds as Save Embeds writes them are needed",
            "Save them again, or choose another file",
        )
