"""Form A of the IPADAPTER socket, and what is in either form, whoever made it.

Form A, the pipeline: `{"clipvision": {"file", "model"}, "ipadapter": {"file", "model"},
"insightface": {"provider", "model"}}` where the adapter's model is form B, see `adapter_dict`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from ....ip_models.adapter.layout_parts import flatten
from ....ip_models.adapter.spec import Family, Kind
from ....ip_models.adapter.state_dict import canonical
from ....ip_models.errors import BadInput
from ....ip_models.inputs import no_link
from ...host.model.adapter import LoadedAdapter, of_weights
from .adapter_dict import UNNORMED, VERSION_2, form_b, own_adapter
from .lazy import marks

log = logging.getLogger("ipadapter")

_UNNAMED = "the connected adapter"


class Pipeline(dict[str, dict[str, Any]]):
    """Form A, with None for what is not loaded."""

    def __init__(
        self,
        clipvision: dict[str, Any] | None = None,
        ipadapter: dict[str, Any] | None = None,
        insightface: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(
            clipvision=clipvision or {"file": None, "model": None},
            ipadapter=ipadapter or {"file": None, "model": None},
            insightface=insightface or {"provider": None, "model": None},
        )


def joined(ipadapter: Any, clip_vision: Any = None, insightface: Any = None) -> Pipeline:
    """Form A of an adapter in any form, with what is connected in place of its own parts."""
    made = Pipeline()
    if is_pipeline(ipadapter):
        for part in made:
            held = ipadapter.get(part)
            made[part] |= held if isinstance(held, Mapping) else {}
    else:
        own = isinstance(ipadapter, LoadedAdapter)
        made["ipadapter"]["model"] = form_b(ipadapter) if own else ipadapter
    for part, model in (("clipvision", clip_vision), ("insightface", insightface)):
        if model is not None:
            made[part] = dict.fromkeys(made[part]) | {"model": model}
    return made


def no_pipeline() -> BadInput:
    """What to say to a node that takes form A only."""
    return BadInput(
        "ipadapter is the adapter alone",
        "this node needs the image encoder with it",
        "Connect IPAdapter Unified Loader, or use IPAdapter Advanced with clip_vision",
    )


def is_pipeline(value: object) -> bool:
    """Whether it is form A, as everybody tells the two apart."""
    return isinstance(value, Mapping) and "ipadapter" in value


def adapter_of(ipadapter: Any) -> LoadedAdapter:
    """The adapter in whatever came by the IPADAPTER socket.

    Raises:
        BadInput: there is none in it.
        BrokenFile, UnknownAdapter, UnsupportedAdapter: there is one that cannot be used.
    """
    name = None
    if is_pipeline(ipadapter):
        name = _entry(ipadapter, "ipadapter", "file")
        ipadapter = _entry(ipadapter, "ipadapter", "model")
        if ipadapter is None:
            raise BadInput(
                "the ipadapter that is connected holds no adapter",
                "one that was loaded is needed",
                "Connect IPAdapter Unified Loader or IPAdapter Model Loader",
            )
    if isinstance(ipadapter, LoadedAdapter):
        return ipadapter
    if not isinstance(ipadapter, Mapping):
        raise no_link("ipadapter", ipadapter, "IPAdapter Unified Loader or IPAdapter Model Loader")
    tensors = cast("Mapping[str, Any]", ipadapter)
    adapter = own_adapter(tensors) or _foreign(tensors, os.path.basename(str(name or _UNNAMED)))
    return _as_flagged(adapter, tensors)


class _Known(NamedTuple):
    """An adapter that was made of tensors, and which those were."""

    marks: Mapping[str, Any]
    adapter: LoadedAdapter


# By one tensor of each: with it goes the adapter.
_known: WeakTensorKeyDictionary = WeakTensorKeyDictionary()


def _foreign(tensors: Mapping[str, Any], name: str) -> LoadedAdapter:
    flat = {key: value for key, value in flatten(tensors) if isinstance(value, Tensor)}
    weights = canonical(flat, name)
    first, now = cast("Tensor", next(weights.values())), marks(flat)
    known = cast("_Known | None", _known.get(first))
    if known is None or known.marks != now:
        known = _known[first] = _Known(now, of_weights(weights, name))
        log.info("%s: %s", name, known.adapter.spec.describe())
    return known.adapter


def _as_flagged(adapter: LoadedAdapter, flags: Mapping[str, Any]) -> LoadedAdapter:
    """The adapter as the flags of its dict say it is, where its tensors leave that open.

    Whether the identity is normed the tensors tell: only the portrait adapter with a resampler
    reads it as it is. A flag that says otherwise comes from the name of a folder, so it is left.
    """
    spec = adapter.spec
    if UNNORMED in flags and spec.needs_face and spec.kind is not Kind.PORTRAIT_UNNORMED:
        log.warning("%s is %s, although its path says unnorm", adapter.name, spec.kind.value)
    if spec.kind is Kind.FACEID_PLUS and spec.family is Family.SD1:
        return adapter.as_version(VERSION_2 in flags)
    return adapter


def encoder_of(ipadapter: Any, clip_vision: Any = None, needed: bool = True) -> Any:
    """The image encoder: what is connected, else the pipeline's; None if none is needed.

    Args:
        needed: there are pictures to encode.

    Raises:
        BadInput: the adapter needs one, and there is none.
    """
    if clip_vision is None and is_pipeline(ipadapter):
        clip_vision = _entry(ipadapter, "clipvision", "model")
    if clip_vision is not None:
        return clip_vision
    spec = adapter_of(ipadapter).spec
    if not needed or not spec.needs_encoder:
        return None
    raise BadInput(
        "clip_vision is not connected, and ipadapter brings no image encoder",
        f"{spec.encoder} is needed for an adapter of kind {spec.kind.value}",
        "Connect Load CLIP Vision, or use IPAdapter Unified Loader",
    )


def faces_of(ipadapter: Any, insightface: Any = None) -> Any:
    """The face models: what is connected, else the pipeline's.

    Raises:
        BadInput: there are none.
    """
    if insightface is None and is_pipeline(ipadapter):
        insightface = _entry(ipadapter, "insightface", "model")
    if insightface is None:
        raise BadInput(
            "insightface is not connected, and ipadapter brings no face models",
            f"{adapter_of(ipadapter).name} reads faces and needs them",
            "Connect IPAdapter InsightFace Loader, or use IPAdapter Unified Loader FaceID",
        )
    return insightface


def _entry(pipeline: Mapping[str, Any], part: str, name: str) -> Any:
    """What a pipeline holds; None for what it lacks, for other packs leave parts out."""
    held = pipeline.get(part)
    return cast("Mapping[str, Any]", held).get(name) if isinstance(held, Mapping) else None
