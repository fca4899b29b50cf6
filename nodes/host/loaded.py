"""An adapter file as a model of ComfyUI's: loaded once, moved and freed by the host."""

from __future__ import annotations

import logging
import os
from weakref import WeakKeyDictionary, WeakValueDictionary

import comfy.model_management
import comfy.model_patcher
import comfy.ops
import torch

from ...ip_models.adapter import IPAdapter
from ...ip_models.features import ImageFeatures, select
from ...ip_models.keyvalue import KeyValues
from ...ip_models.recognise import read_spec
from ...ip_models.spec import AdapterSpec, require_supported
from ...ip_models.state_dict import canonical
from . import checkpoint
from .progress import Progress

log = logging.getLogger("ipadapter")

_loaded: WeakValueDictionary[tuple[str, int, int], LoadedAdapter] = WeakValueDictionary()


class LoadedAdapter:
    """What the IP_ADAPTER socket carries.

    Attributes:
        name: file name, for messages.
        spec: what the file was recognised as.
        patcher: the adapter under the host's memory management.
    """

    def __init__(self, name: str, spec: AdapterSpec, module: IPAdapter) -> None:
        self.name, self.spec = name, spec
        self.patcher = comfy.model_patcher.CoreModelPatcher(
            module,
            load_device=comfy.model_management.get_torch_device(),
            offload_device=comfy.model_management.unet_offload_device(),
        )
        self._projected: WeakKeyDictionary[ImageFeatures, KeyValues] = WeakKeyDictionary()

    def is_dynamic(self) -> bool:
        """Whether the host can drop the weights at any time; asked by its output cache."""
        return bool(self.patcher.is_dynamic())

    def key_values(self, features: ImageFeatures) -> KeyValues:
        """Keys and values of all layers, projected once for each set of references.

        Raises:
            WrongEncoder: the features are not from the encoder the adapter needs.
        """
        known = self._projected.get(features)
        if known is None:
            rows = select(features, self.spec, self.name, "Encode with the encoder it needs")
            known = self._projected[features] = self._project(rows)
        return known

    def _project(self, rows: torch.Tensor) -> KeyValues:
        comfy.model_management.load_models_gpu([self.patcher])
        progress = Progress(len(self.spec.layers))
        on_device = rows.to(self.patcher.load_device)
        return self.patcher.model.key_values(on_device, progress.step)


def read_file_spec(path: str) -> AdapterSpec:
    """Recognise an adapter file from its header alone."""
    name = os.path.basename(path)
    return read_spec(canonical(checkpoint.read_shapes(path), name), name)


def load(path: str) -> LoadedAdapter:
    """Load an adapter file, or hand out the one that is loaded already.

    Raises:
        BrokenFile, UnknownAdapter, UnsupportedAdapter: the file cannot be used.
    """
    key = checkpoint.identity(path)
    adapter = _loaded.get(key)
    if adapter is None:
        adapter = _loaded[key] = _load(path)
    return adapter


def _load(path: str) -> LoadedAdapter:
    name = os.path.basename(path)
    progress = Progress(3)
    require_supported(read_file_spec(path), name)
    progress.step()
    weights = canonical(checkpoint.read_tensors(path), name)
    spec = read_spec(weights, name)
    progress.step()
    offload = comfy.model_management.unet_offload_device()
    module = IPAdapter(spec, weights, comfy.ops.manual_cast, offload).eval()
    adapter = LoadedAdapter(name, spec, module)
    module.load(weights, name, assign=adapter.is_dynamic())
    progress.step()
    if weights.ignored:
        log.info("%s: %d tensors were not needed", name, len(weights.ignored))
    log.info("%s: %s", name, spec.describe())
    return adapter
