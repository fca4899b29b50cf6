"""The dicts of the IPADAPTER socket: one of a file, and one of all that belongs together.

Form B, of a file: `{"image_proj": tensors, "ip_adapter": tensors}` and flags that the path of the
file tells. Form A, the pipeline: `{"clipvision": {"file", "model"}, "ipadapter": {"file", "model"},
"insightface": {"provider", "model"}}` where the adapter's model is form B.
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
from ....ip_models.adapter.state_dict import AdapterWeights, canonical
from ....ip_models.errors import BadInput, BrokenFile
from ....ip_models.inputs import no_link
from ...host.files import adapter_file
from ...host.model.adapter import LoadedAdapter, load, of_weights
from .lazy import LazyTensors, marks

log = logging.getLogger("ipadapter")

VERSION_2, UNNORMED = "faceidplusv2", "portraitunnorm"
_PATH_WORDS = {VERSION_2: "plusv2", UNNORMED: "unnorm"}
_PARTS = ("image_proj", "ip_adapter")
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


class AdapterDict(dict[str, Any]):
    """Form B of a file, whose tensors are read when somebody asks for one.

    Args:
        version_2: that it is a FaceID plus of version 2 is known, though its path may not say so.

    Raises:
        BrokenFile, UnknownAdapter, UnsupportedAdapter: the file cannot be used.
    """

    def __init__(self, path: str, version_2: bool = False) -> None:
        source = _Source(path, load(path))
        super().__init__({part: source.part(part) for part in _PARTS})
        for flag, word in _PATH_WORDS.items():
            if word in path.lower() or (version_2 and flag == VERSION_2):
                self[flag] = True


class _Source:
    """The file of both parts, and the adapter that is loaded from it."""

    def __init__(self, path: str, adapter: LoadedAdapter) -> None:
        self.path, self.adapter = path, adapter
        self._identity = adapter_file.identity(path)
        self._shapes = _halves(adapter_file.read_shapes(path))
        self._read: dict[str, Mapping[str, Any]] = {}

    def part(self, name: str) -> LazyTensors:
        return LazyTensors(self._shapes[name], lambda: self._take(name), self)

    @property
    def current(self) -> bool:
        try:
            return adapter_file.identity(self.path) == self._identity
        except (OSError, BrokenFile):  # it is gone, or a part of it
            return False

    def _take(self, name: str) -> Mapping[str, Tensor]:
        """The tensors of one half; the file is read once for both."""
        if name not in self._read:
            if not self.current:
                raise BrokenFile(
                    f"{os.path.basename(self.path)} is not the file that was loaded any more",
                    "that one is needed, for another pack asks for its tensors",
                    "Queue the prompt again",
                )
            log.info("%s: read once more, for another pack", os.path.basename(self.path))
            self._read |= _halves(adapter_file.read_weights(self.path))
        return self._read.pop(name)


def _halves(weights: AdapterWeights) -> dict[str, dict[str, Any]]:
    return {_PARTS[0]: weights.projection, _PARTS[1]: weights.layers | weights.lora}


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
    adapter = _own(tensors) or _foreign(tensors, os.path.basename(str(name or _UNNAMED)))
    return _as_flagged(adapter, tensors)


def _own(tensors: Mapping[str, Any]) -> LoadedAdapter | None:
    """What a dict of this pack was made with, as long as nobody wrote into its tensors."""
    parts = [tensors.get(part) for part in _PARTS]
    sources = {id(part.source): part for part in parts if isinstance(part, LazyTensors)}
    if len(sources) != 1 or not all(
        isinstance(part, LazyTensors) and not part.changed for part in parts
    ):
        return None
    source = next(iter(sources.values())).source
    return source.adapter if isinstance(source, _Source) else None


def is_current(model: object) -> bool:
    """Whether a form B is still of the file that is on the disk, as far as anybody can tell."""
    parts = list(cast("Mapping[str, Any]", model).values()) if isinstance(model, Mapping) else []
    sources = [part.source for part in parts if isinstance(part, LazyTensors)]
    return all(source.current for source in sources if isinstance(source, _Source))


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
