"""What a training of an IP-Adapter holds in memory, for its real savers to write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn


class Tensors(nn.Module):
    """A module whose state is a table of tensors."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        for key, value in tensors.items():
            *path, leaf = key.split(".")
            holder: nn.Module = self
            for name in path:
                if name not in dict(holder.named_children()):
                    holder.add_module(name, nn.Module())
                holder = holder.get_submodule(name)
            holder.register_parameter(leaf, nn.Parameter(value.clone()))


class Training(nn.Module):
    """The module that tencent-ailab's training scripts hand to accelerate, with its three parts.

    Args:
        unet: of diffusers'; its attention processors are replaced.
        tensors: an adapter under its published names.
    """

    def __init__(self, unet: Any, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.unet = unet
        self.image_proj_model = Tensors(below(tensors, "image_proj."))
        processors: list[nn.Module] = []
        for number, name in enumerate(list(unet.attn_processors)):
            processor = Tensors(below(tensors, f"ip_adapter.{number}."))
            unet.get_submodule(name.removesuffix(".processor")).processor = processor
            processors.append(processor)
        self.adapter_modules = nn.ModuleList(processors)


def below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with a prefix, without it."""
    return {key.removeprefix(prefix): v for key, v in tensors.items() if key.startswith(prefix)}


def by_processor(unet: Any, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The layers of an adapter under the names of a UNet's attention processors."""
    names = list(unet.attn_processors)
    layers = (key.split(".", 2) for key in tensors if key.startswith("ip_adapter."))
    return {f"{names[int(n)]}.{rest}": tensors[f"ip_adapter.{n}.{rest}"] for _, n, rest in layers}
