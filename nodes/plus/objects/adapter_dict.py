"""Form B of the IPADAPTER socket: the tensors of an adapter, read when somebody asks for them.

`{"image_proj": tensors, "ip_adapter": tensors}` and flags that the path of the file tells.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from typing import Any, cast

from torch import Tensor

from ....ip_models.adapter.spec import Kind
from ....ip_models.adapter.state_dict import AdapterWeights
from ....ip_models.errors import IPAdapterError
from ...host.files import adapter_file
from ...host.files.stored import replaced
from ...host.model.adapter import LoadedAdapter, load
from .lazy import LazyTensors

log = logging.getLogger("ipadapter")

VERSION_2, UNNORMED = "faceidplusv2", "portraitunnorm"
_PATH_WORDS = {VERSION_2: "plusv2", UNNORMED: "unnorm"}
_PARTS = ("image_proj", "ip_adapter")


class AdapterDict(dict[str, Any]):
    """Form B of a file, whose tensors are read when somebody asks for one.

    Args:
        version_2: that it is a FaceID plus of version 2 is known, though its path may not say so.

    Raises:
        BrokenFile, UnknownAdapter, UnsupportedAdapter: the file cannot be used.
    """

    def __init__(self, path: str, version_2: bool = False) -> None:
        super().__init__(_Source(load(path), path).parts())
        for flag, word in _PATH_WORDS.items():
            if word in path.lower() or (version_2 and flag == VERSION_2):
                self[flag] = True


def form_b(adapter: LoadedAdapter) -> dict[str, Any]:
    """Form B of an adapter, whose tensors are read when somebody asks for one."""
    path = adapter.file[0] if adapter.file else None
    held: dict[str, Any] = dict(_Source(adapter, path).parts())
    if adapter.spec.kind is Kind.FACEID_PLUS and adapter.shortcut:
        held[VERSION_2] = True
    if adapter.spec.kind is Kind.PORTRAIT_UNNORMED:
        held[UNNORMED] = True
    return held


class _Source:
    """Where the tensors of both parts are: in a file, or in the adapter alone."""

    def __init__(self, adapter: LoadedAdapter, path: str | None) -> None:
        self.path, self.adapter = path, adapter
        self._identity = adapter_file.identity(path) if path else None
        self._read: dict[str, Mapping[str, Any]] = {}

    def parts(self) -> dict[str, LazyTensors]:
        """Both parts, by their names; only names are read."""
        if self.path:
            names = _halves(adapter_file.read_shapes(self.path))
        else:
            names = _halves_of_module(self.adapter)
        return {part: self._part(part, names[part]) for part in _PARTS}

    def _part(self, name: str, keys: Iterable[str]) -> LazyTensors:
        return LazyTensors(keys, lambda: self._take(name), self)

    @property
    def current(self) -> bool:
        """Whether the file is still the one that was loaded."""
        try:
            return self.path is None or adapter_file.identity(self.path) == self._identity
        except IPAdapterError:  # it is gone, or a part of it
            return False

    def _take(self, name: str) -> Mapping[str, Tensor]:
        """The tensors of one half; the file is read once for both."""
        if name not in self._read:
            self._read |= self._halves()
        return self._read.pop(name)

    def _halves(self) -> dict[str, dict[str, Any]]:
        if self.path is None:
            halves = _halves_of_module(self.adapter)
            return {
                part: {key: value.to("cpu", copy=True) for key, value in tensors.items()}
                for part, tensors in halves.items()
            }
        if not self.current:
            raise replaced(self.path, "that one is needed, for another pack asks for its tensors")
        log.info("%s: read once more, for another pack", os.path.basename(self.path))
        return _halves(adapter_file.read_weights(self.path))


def _halves(weights: AdapterWeights) -> dict[str, dict[str, Any]]:
    return {_PARTS[0]: weights.projection, _PARTS[1]: weights.layers | weights.lora}


def _halves_of_module(adapter: LoadedAdapter) -> dict[str, dict[str, Any]]:
    halves: dict[str, dict[str, Any]] = {part: {} for part in _PARTS}
    for key, value in adapter.patcher.model.state_dict().items():
        part, _, name = key.partition(".")
        halves[part][name] = value
    halves[_PARTS[1]] |= adapter.lora
    return halves


def own_adapter(tensors: Mapping[str, Any]) -> LoadedAdapter | None:
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
