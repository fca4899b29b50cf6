"""UNets whose attention maps are stored as bytes: in the host's formats, and as for GGUF."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import comfy.lora
import comfy.model_patcher
import comfy.ops
import comfy.quant_ops as quant_ops
import comfy.supported_models
import comfy.utils
import torch
from kit.models.tiny import CPU
from torch import Tensor

_FORMATS = ("nvfp4", "float8_e4m3fn", "int8_tensorwise")
HOST_FORMATS = [name for name in _FORMATS if name in quant_ops.QUANT_ALGOS]


def packed(model: Any, form: str) -> Any:
    """The same UNet, its attention maps stored in one of `HOST_FORMATS` or as "blocks"."""
    if form == "blocks":
        base = _built(model, BlockOps)
        base.diffusion_model.load_state_dict(_state(model, lambda key, map: {key: pack(map)}))
        return BlockPatcher(base, CPU, CPU)
    base = _built(model, comfy.ops.mixed_precision_ops({}, torch.float32, full_precision_mm=True))
    layout = quant_ops.QUANT_ALGOS[form]["comfy_tensor_layout"]
    note = torch.tensor(list(json.dumps({"format": form}).encode()), dtype=torch.uint8)

    def quantised(key: str, map: Tensor) -> dict[str, Tensor]:
        stored = quant_ops.QuantizedTensor.from_float(map.contiguous(), layout).state_dict(key)
        return {**stored, key.replace(".weight", ".comfy_quant"): note}

    base.diffusion_model.load_state_dict(_state(model, quantised))
    return comfy.model_patcher.ModelPatcher(base, CPU, CPU)


def _built(model: Any, operations: Any) -> Any:
    config = dict(model.model.model_config.unet_config)
    supported = comfy.supported_models.SD15(dict(config))
    supported.unet_config = config
    supported.set_inference_dtype(torch.float32, torch.float32)
    supported.custom_operations = operations
    base = supported.get_model({}, "", device="cpu")
    base.diffusion_model.eval().dtype = torch.float32
    return base


def _state(model: Any, store: Callable[[str, Tensor], dict[str, Tensor]]) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    for key, value in model.model.diffusion_model.state_dict().items():
        state |= store(key, value) if value.ndim == 2 and "attn" in key else {key: value}
    return state


class BlockTensor(torch.Tensor):
    """Bytes that say they have the shape of the weight they stand for."""

    weight_shape: torch.Size
    patches: list[Any]

    @property
    def shape(self) -> torch.Size:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.weight_shape

    def to(self, *args: Any, **kwargs: Any) -> BlockTensor:
        return _marked(super().to(*args, **kwargs), self.weight_shape, list(self.patches))

    def detach(self) -> BlockTensor:
        return self


def _marked(stored: Tensor, shape: torch.Size, patches: list[Any]) -> BlockTensor:
    made = stored.as_subclass(BlockTensor)
    made.weight_shape, made.patches = shape, patches
    return made


def pack(map: Tensor) -> BlockTensor:
    """Each row as whole numbers of one byte, and the four bytes of its scale."""
    scale = map.abs().amax(dim=1, keepdim=True) / 127
    rows = (map / scale).round().to(torch.int8).view(torch.uint8)
    return _marked(torch.cat([rows, scale.view(torch.uint8)], dim=1), map.shape, [])


def unpack(stored: BlockTensor) -> Tensor:
    plain = stored.as_subclass(Tensor)
    rows = plain[:, :-4].contiguous().view(torch.int8).float()
    weight = rows * plain[:, -4:].contiguous().view(torch.float32)
    for patches, key in stored.patches:
        weight = comfy.lora.calculate_weight(patches, weight, key)
    return weight


class BlockOps(comfy.ops.manual_cast):
    """Linear layers that unpack their weight whenever they are called."""

    class Linear(comfy.ops.manual_cast.Linear):
        def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
            self.weight = torch.nn.Parameter(state_dict[f"{prefix}weight"], requires_grad=False)
            bias = state_dict.get(f"{prefix}bias")
            self.bias = None if bias is None else torch.nn.Parameter(bias, requires_grad=False)

        def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
            """Names and stored sizes, for the host's sums of memory."""
            for name, value in (("weight", self.weight), ("bias", self.bias)):
                if value is not None:
                    size = value.size()
                    destination[prefix + name] = torch.empty(size, device="meta")

        def forward_comfy_cast_weights(self, input: Tensor) -> Tensor:
            if not isinstance(self.weight, BlockTensor):
                return super().forward_comfy_cast_weights(input)
            return torch.nn.functional.linear(input, unpack(self.weight), self.bias)


class BlockPatcher(comfy.model_patcher.ModelPatcher):
    """Hangs the patches of a packed weight on it, to be added when it is unpacked."""

    def patch_weight_to_device(
        self, key: str, device_to: Any = None, inplace_update: bool = False, **kwargs: Any
    ) -> Any:
        weight = comfy.utils.get_attr(self.model, key)
        if not isinstance(weight, BlockTensor):
            return super().patch_weight_to_device(key, device_to, inplace_update, **kwargs)
        weight.patches = [(self.patches[key], key)] if key in self.patches else []
        return None

    def load(self, *args: Any, **kwargs: Any) -> None:
        super().load(*args, **{**kwargs, "force_patch_weights": True})

    def unpatch_model(self, device_to: Any = None, unpatch_weights: bool = True) -> None:
        for weight in self.model.parameters() if unpatch_weights else ():
            if isinstance(weight, BlockTensor):
                weight.patches = []
        super().unpatch_model(device_to, unpatch_weights)
