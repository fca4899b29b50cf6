"""An adapter file as a model of ComfyUI's: loaded once, moved and freed by the host."""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple, cast
from weakref import WeakKeyDictionary, WeakValueDictionary

import comfy.model_management
import comfy.model_patcher
import comfy.ops
import torch
from torch import Tensor

from ....ip_models.adapter.module import IPAdapter
from ....ip_models.adapter.published import shortcut
from ....ip_models.adapter.recognise import read_spec
from ....ip_models.adapter.spec import AdapterSpec, Family, Kind, require_supported
from ....ip_models.adapter.state_dict import AdapterWeights
from ....ip_models.attention.device_cache import DeviceCache
from ....ip_models.attention.keyvalue import KeyValues
from ....ip_models.attention.timed_keys import TimedKeys
from ....ip_models.errors import IPAdapterError, WrongBase
from ....ip_models.projection.projections import VERSION_1, Structure
from ....ip_models.references.digest import digest
from ....ip_models.references.features import Features, inputs
from ..files import adapter_file
from ..files.training import explained
from ..progress import Progress
from . import streamed
from .backbones.backbone import BaseNorms, TextProjection

log = logging.getLogger("ipadapter")

_loaded: WeakValueDictionary[tuple[str, int, int], LoadedAdapter] = WeakValueDictionary()


# What to do about a wrong encoder, before the folders are searched for a right one.
ANY_ENCODER = "Encode with the encoder it needs"
_MOST_BYTES = 256 * 2**20  # of keys and values that an adapter keeps, besides the last


class ProjectionOptions(NamedTuple):
    """What the projection of references depends on besides them.

    Attributes:
        structure: for FaceID plus, how the looks of the face join its identity.
        text: the MODEL's projection of text, for Kolors.
        norms: the MODEL's norms of queries and keys, for SD3.5.
    """

    structure: Structure = VERSION_1
    text: TextProjection | None = None
    norms: BaseNorms | None = None


DEFAULT_PROJECTION = ProjectionOptions()


class LoadedAdapter:
    """What the IP_ADAPTER socket carries.

    Attributes:
        name: file name, for messages.
        spec: what the file was recognised as.
        patcher: the adapter under the host's memory management.
        lora: the LoRA of the file under its own keys, empty for most files.
        file: path, time and size of the file, None for what was not read from one.
    """

    def __init__(
        self,
        name: str,
        spec: AdapterSpec,
        module: IPAdapter,
        lora: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.name, self.spec, self.lora = name, spec, lora or {}
        self.patcher = comfy.model_patcher.CoreModelPatcher(
            module,
            load_device=comfy.model_management.get_torch_device(),
            offload_device=comfy.model_management.unet_offload_device(),
        )
        self._projected: DeviceCache[KeyValues] = DeviceCache(_MOST_BYTES)
        self._digests: WeakKeyDictionary[Features, bytes] = WeakKeyDictionary()
        self.file: tuple[str, int, int] | None = None
        self._version: bool | None = None
        self._shared: LoadedAdapter | None = None

    @property
    def shortcut(self) -> bool:
        """Whether the file is a FaceID plus of version 2, by its name if no version was chosen."""
        if self._version is not None and self.spec.family is Family.SD1:  # others have one version
            return self._version
        return shortcut(self.spec, self.name)

    def as_version(self, version: bool | None) -> LoadedAdapter:
        """The same weights taken as version 2, as version 1, or by the file name (None)."""
        if version is self._version:
            return self
        other = copy.copy(self)
        other._version, other._shared = version, self  # keeps the file's one entry alive
        return other

    def describe_size(self) -> str:
        """How large its weights are, and where they are if not in memory."""
        stored = streamed.stored_bytes(self.patcher.model)
        megabytes = (stored or self.patcher.model_size()) / 2**20
        return f"{megabytes:.0f} MB" + (", read from the file when applied" if stored else "")

    def is_dynamic(self) -> bool:
        """Whether the host can drop the weights at any time; asked by its output cache."""
        return bool(self.patcher.is_dynamic())

    def key_values(
        self, features: Features, options: ProjectionOptions = DEFAULT_PROJECTION
    ) -> KeyValues | TimedKeys:
        """Keys and values of all layers, projected once for the same references.

        Those that depend on the noise level are made when a run begins.

        References are the same if their numbers are, wherever they were read from.

        Raises:
            WrongBase: the MODEL does not project text as the adapter needs it.
            WrongEncoder: the features are not what the adapter was trained on.
        """
        options = self._relevant(options)
        if self.spec.timed:
            return self._timed(features, options.norms)
        numbers = self._digests.get(features)
        if numbers is None:
            numbers = self._digests[features] = digest(*self._inputs(features))
        key = (numbers, options)
        return self._projected.get(key, lambda: self._project(self._inputs(features), options))

    def _inputs(self, features: Features) -> tuple[Tensor, ...]:
        return inputs(features, self.spec, self.name, ANY_ENCODER)

    def _relevant(self, options: ProjectionOptions) -> ProjectionOptions:
        """Only what this adapter depends on."""
        uses_structure = self.spec.kind is Kind.FACEID_PLUS and options.structure.shortcut
        return ProjectionOptions(
            options.structure if uses_structure else VERSION_1,
            options.text if self.spec.through_text_projection else None,
            options.norms if self.spec.timed else None,
        )

    def _timed(self, features: Features, norms: BaseNorms | None) -> TimedKeys:
        """Keys and values for each noise level, from the features themselves."""
        if norms is None:
            raise WrongBase(
                "this MODEL does not norm the queries of its attention (ln_q)",
                f"{self.name} brings norms of its own in their place",
                "Load SD3.5 Large",
            )
        rows, module = self._inputs(features), self.patcher.model
        references, dtype = rows[0].shape[1], norms.dtype
        others = max(1, _others(rows))
        together = tuple(torch.cat((row[0], row[1, :others])) for row in rows)

        def make(levels: Sequence[float]) -> list[KeyValues]:
            # The weights stay where they are, and come to the device one layer at a time.
            progress = Progress(len(self.spec.layers))
            inputs = tuple(row.to(self.patcher.load_device) for row in together)
            made = module.key_values_at(inputs, references, levels, norms.pairs, progress.step)
            return [one.as_type(dtype) for one in made]

        count = len(together[0]) * self.spec.tokens * 2 * sum(self.spec.layer_widths)
        own_keys = module.own_keys(norms.pairs)
        tokens = references * self.spec.tokens

        def renew(now: object) -> TimedKeys | None:
            same = isinstance(now, BaseNorms) and norms.same(now)
            return None if same else self._timed(features, cast("BaseNorms | None", now))

        size = count * dtype.itemsize
        return TimedKeys(make, 1, tokens, own_keys, size, renew=renew)

    def _project(self, rows: tuple[Tensor, ...], options: ProjectionOptions) -> KeyValues:
        comfy.model_management.load_models_gpu([self.patcher])
        module = self.patcher.model
        in_slices = streamed.reads(module)
        progress = Progress(in_slices or len(self.spec.layers))
        references = rows[0].shape[1]
        others = _others(rows)
        on_device = tuple(
            torch.cat((row[0], row[1, :others])).to(self.patcher.load_device) for row in rows
        )
        on_layer = (lambda: None) if in_slices else progress.step
        with streamed.reporting(progress.step):
            return module.key_values(
                on_device, references, on_layer, options.structure, options.text
            )


def _others(rows: tuple[Tensor, ...]) -> int:
    """How many rows of what is seen without a reference have to be projected.

    None where that is the reference itself; mostly all references share one.
    """
    if all(torch.equal(row[0], row[1]) for row in rows):
        return 0
    shared = all(bool((row[1] == row[1, :1]).all()) for row in rows)
    return 1 if shared else rows[0].shape[1]


def read_file_spec(path: str) -> AdapterSpec:
    """Recognise an adapter file from its header alone; remembered until the file changes.

    Raises:
        BrokenFile, UnknownAdapter, UnsupportedAdapter: see `load`, which refuses the same files.
    """
    _, time, size = adapter_file.identity(path)
    return _read_file_spec(path, time, size)


@lru_cache(maxsize=512)
def _read_file_spec(path: str, time: int, size: int) -> AdapterSpec:
    try:
        return _recognise(path)
    except IPAdapterError as error:
        raise explained(error, path, _recognise) from error


def _recognise(path: str) -> AdapterSpec:
    return read_spec(adapter_file.read_shapes(path), os.path.basename(path))


def load(path: str) -> LoadedAdapter:
    """Load an adapter file, or hand out the one that is loaded already.

    Raises:
        BrokenFile, UnknownAdapter, UnsupportedAdapter: the file cannot be used.
    """
    key = adapter_file.identity(path)
    adapter = _loaded.get(key)
    if adapter is None:
        adapter = _loaded[key] = _load(path)
        adapter.file = key
    return adapter


def _load(path: str) -> LoadedAdapter:
    name = os.path.basename(path)
    progress = Progress(3)
    spec = read_file_spec(path)
    require_supported(spec, name)
    progress.step()
    stored = adapter_file.stored_weights(path) if spec.streamed else None
    if spec.streamed and stored is None:
        log.info("%s: all of it is read into memory, for its layers are not apart in it", name)
    weights = stored or adapter_file.read_weights(path)
    progress.step()
    adapter = of_stored(stored, name) if stored else of_weights(weights, name)
    progress.step()
    if weights.ignored:
        log.info("%s: %d tensors were not needed", name, len(weights.ignored))
    log.info("%s: %s", name, adapter.spec.describe())
    return adapter


def of_weights(weights: AdapterWeights, name: str) -> LoadedAdapter:
    """An adapter of tensors that are in memory.

    Raises:
        BrokenFile, UnknownAdapter, UnsupportedAdapter: they cannot be used.
    """
    spec = read_spec(weights, name)
    require_supported(spec, name)
    offload = comfy.model_management.unet_offload_device()
    module = IPAdapter(spec, weights, comfy.ops.manual_cast, offload).eval()
    adapter = LoadedAdapter(name, spec, module, cast("dict[str, Tensor]", weights.lora))
    module.load(weights, assign=adapter.is_dynamic())
    return adapter


def of_stored(weights: AdapterWeights, name: str) -> LoadedAdapter:
    """An adapter whose tensors stay in their file.

    Args:
        weights: as `adapter_file.stored_weights` finds them.

    Raises:
        BrokenFile, UnknownAdapter, UnsupportedAdapter: they cannot be used.
    """
    spec = read_spec(weights, name)
    require_supported(spec, name)
    module = IPAdapter(spec, weights, streamed.Streamed).eval()
    streamed.fill(module.image_proj, weights.projection)
    streamed.fill(module.ip_adapter, weights.layers)
    return LoadedAdapter(name, spec, module)
