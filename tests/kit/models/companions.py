"""What people use beside an adapter, tiny and random: LoRA, ControlNet, inpaint model, oracle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import comfy.cldm.cldm
import comfy.controlnet
import comfy.model_patcher
import comfy.ops
import comfy.supported_models
import comfy.t2i_adapter.adapter
import comfy.utils
import torch
from kit.models.tiny import CPU
from pack.ip_models.adapter.spec import Feature
from pack.ip_models.references.features import ImageFeatures
from pack.nodes.host.model.adapter import LoadedAdapter
from pack.nodes.host.model.backbones.layers import attention_layers
from torch import Tensor

Attention = Callable[[Tensor, Tensor, Tensor, int], Tensor]


@dataclass(frozen=True)
class Reference:
    """An adapter with its picture and its scale."""

    adapter: LoadedAdapter
    features: ImageFeatures
    scale: float = 1.0


def plain_attention(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """Multi-head attention as the textbook has it."""
    q, k, v = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (q, k, v))
    weights = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1)
    return (weights @ v).transpose(1, 2).flatten(2)


def oracle(
    model: Any,
    *references: Reference,
    active: Callable[[float], bool] = lambda sigma: True,
    text: Attention = plain_attention,
    image: Attention = plain_attention,
) -> Any:
    """A MODEL made of independent patches, each of which knows nothing but its own layer.

    Args:
        active: whether the references count at a noise level.
        text, image: how the one and the other is attended to.
    """
    patched = model.clone()
    tokens = [_tokens(reference) for reference in references]
    for i, layer in enumerate(attention_layers(model)):
        key_values: list[tuple[Tensor, Tensor]] = []
        for reference, rows in zip(references, tokens, strict=True):
            maps = list(reference.adapter.patcher.model.ip_adapter.values())[i]
            key_values.append((maps.to_k_ip(rows), maps.to_v_ip(rows) * reference.scale))
        patched.set_model_attn2_replace(_oracle_patch(key_values, active, text, image), *layer.slot)
    return patched


def _tokens(reference: Reference) -> Tensor:
    """(2, tokens, context): positive and negative tokens of all pictures."""
    features, spec = reference.features, reference.adapter.spec
    pooled = spec.feature is Feature.POOLED
    positive = features.pooled if pooled else features.penultimate
    negative = features.negative_pooled if pooled else features.negative_penultimate
    assert positive is not None and negative is not None
    rows = torch.cat([positive, negative.expand_as(positive)]).float()
    made = reference.adapter.patcher.model.image_proj(rows)
    return made.unflatten(0, (2, -1)).flatten(1, 2)


def _oracle_patch(
    key_values: list[tuple[Tensor, Tensor]],
    active: Callable[[float], bool],
    text: Attention,
    image: Attention,
) -> Any:
    def patch(q: Tensor, k: Tensor, v: Tensor, extra: dict[str, Any]) -> Tensor:
        heads, places = extra["n_heads"], extra["cond_or_uncond"]
        out = text(q, k, v, heads)
        if not active(float(extra["sigmas"].max())):
            return out
        rows = torch.tensor(places).repeat_interleave(len(q) // len(places))
        for key, value in key_values:
            out = out + image(q, key[rows].to(q), value[rows].to(q), heads)
        return out

    return patch


def rebuilt(
    model: Any,
    storage: torch.dtype = torch.float32,
    compute: torch.dtype | None = None,
    channels: int = 4,
    rounded: torch.dtype | None = None,
) -> Any:
    """The same UNet built by the host for other types or with more input channels.

    Args:
        storage: of the weights.
        compute: what the host casts them to when it uses them, None for no cast.
        channels: more than 4 for an inpaint model, whose further weights are random.
        rounded: type the weights go through first.
    """
    config = dict(model.model.model_config.unet_config, in_channels=channels)
    supported = comfy.supported_models.SD15(config)
    supported.unet_config = config
    supported.set_inference_dtype(storage, compute)
    base = supported.get_model({}, "", device="cpu")
    state = dict(model.model.diffusion_model.state_dict())
    first = state["input_blocks.0.0.weight"]
    shape = (first.shape[0], channels - first.shape[1], *first.shape[2:])
    more = torch.randn(shape, generator=torch.Generator().manual_seed(8)) * first.std()
    state["input_blocks.0.0.weight"] = torch.cat([first, more.to(first)], dim=1)
    if rounded is not None:
        state = {key: value.to(rounded).float() for key, value in state.items()}
    unet = base.diffusion_model.to(storage).eval()
    unet.load_state_dict(state, strict=True)
    assert {part.dtype for part in unet.parameters()} == {storage}
    return comfy.model_patcher.ModelPatcher(base, CPU, CPU)


def relative_of(model: Any, seed: int = 6, distance: float = 0.3) -> Any:
    """Another fine-tuned model of the same family: each weight is moved a little."""
    other = rebuilt(model)
    generator = torch.Generator().manual_seed(seed)
    for weight in other.model.diffusion_model.parameters():
        weight += torch.randn(weight.shape, generator=generator) * weight.std() * distance
    return other


def lora(model: Any, seed: int = 5, rank: int = 4, factor: float = 0.2) -> dict[str, Tensor]:
    """A LoRA for each linear and convolutional weight, with the keys of the published LCM LoRA."""
    generator = torch.Generator().manual_seed(seed)
    state = model.model.diffusion_model.state_dict()
    made: dict[str, Tensor] = {}
    names = comfy.utils.unet_to_diffusers(model.model.model_config.unet_config)
    for name, key in sorted(names.items()):
        weight = state.get(key)
        if weight is None or weight.ndim < 2:
            continue
        stem = "lora_unet_" + name.removesuffix(".weight").replace(".", "_")
        out, *into = weight.shape
        down = torch.randn(rank, *into, generator=generator) / weight[0].numel() ** 0.5
        up = torch.randn(out, rank, *[1] * (len(into) - 1), generator=generator)
        made[f"{stem}.lora_down.weight"] = down
        made[f"{stem}.lora_up.weight"] = up * factor
        made[f"{stem}.alpha"] = torch.tensor(float(rank))
    return made


def control_net(model: Any) -> comfy.controlnet.ControlNet:
    """A ControlNet as trained: the UNet's first half, and no convolution is zero any more."""
    config = dict(model.model.model_config.unet_config)
    for name in ("out_channels", "dtype"):
        config.pop(name, None)
    net = comfy.cldm.cldm.ControlNet(
        hint_channels=3, dtype=torch.float32, operations=comfy.ops.manual_cast, **config
    )
    state = _random_state(net.state_dict(), seed=14)
    unet = model.model.diffusion_model.state_dict()
    net.load_state_dict({key: unet.get(key, value) for key, value in state.items()}, strict=True)
    return comfy.controlnet.ControlNet(net.eval(), load_device=CPU)


def t2i_adapter() -> comfy.controlnet.T2IAdapter:
    """A T2I-Adapter in the published layout, loaded by the host."""
    net = comfy.t2i_adapter.adapter.Adapter(
        cin=3 * 64,
        channels=[32, 64, 128, 128],
        nums_rb=2,
        ksize=1,
        sk=True,
        use_conv=False,
        xl=False,
    )
    loaded = comfy.controlnet.load_t2i_adapter(_random_state(net.state_dict(), seed=15))
    loaded.device = CPU
    return loaded


def _random_state(shapes: Mapping[str, Tensor], seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        key: torch.randn(value.shape, generator=generator)
        / (value[0].numel() ** 0.5 if value.ndim > 1 else 10)
        for key, value in sorted(shapes.items())
    }


class Vae:
    """As much of a VAE as the host's inpaint node needs: four channels, an eighth of the size."""

    def encode(self, pixels: Tensor) -> Tensor:
        small = torch.nn.functional.avg_pool2d(pixels.movedim(-1, 1), 8)
        return torch.cat([small, small.mean(1, keepdim=True)], dim=1) * 4 - 2
