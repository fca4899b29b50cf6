"""diffusers' side for UNets: its own reading of the file, its own adapter code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from check.base import PREFIX, diffusion_tensors
from check.painting import Painting, Predict, Prompt, guided
from check.problem import NotCompared
from diffusers import UNet2DConditionModel
from kit.models import checkpoints
from pack.ip_models.adapter.spec import AdapterSpec, Feature
from pack.ip_models.references.features import FaceFeatures, Features, ImageFeatures
from torch import Tensor

_TIME_WIDTH = 256


_HALVES = (torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class Place:
    """Where diffusers works, and in which precision."""

    device: torch.device
    stored: torch.dtype
    computed: torch.dtype

    @property
    def by_layer(self) -> bool:
        """Whether weights of half the size become single precision one layer at a time."""
        return self.stored in _HALVES and self.computed is torch.float32

    @property
    def kept(self) -> torch.dtype:
        """In which precision all weights lie."""
        return self.stored if self.by_layer else self.computed


@dataclass(frozen=True)
class Heard:
    """An adapter for diffusers.

    Attributes:
        tensors: under the published keys.
        version_2: for FaceID plus, whether the identity's own tokens are kept.
    """

    tensors: Mapping[str, Tensor]
    spec: AdapterSpec
    features: Features
    scale: float
    version_2: bool


def load(tensors: Mapping[str, Tensor], config: Mapping[str, Any], place: Place) -> Any:
    """diffusers' UNet from the tensors of a single file.

    Args:
        config: the host's sizes of the UNet; no file with diffusers' is needed.

    Raises:
        NotCompared: diffusers has no such UNet.
    """
    # Rounded as the host keeps them; diffusers itself begins in a precision it can work in.
    kept = place.kept if place.stored.itemsize == 1 else place.stored
    named = {PREFIX + key: _rounded(t, place) for key, t in diffusion_tensors(tensors).items()}
    with TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(_config(config)), "utf-8")
        unet: Any = UNet2DConditionModel.from_single_file(
            named, config=folder, local_files_only=True, torch_dtype=kept
        )
    empty = [name for name, weight in unet.named_parameters() if weight.is_meta]
    if empty:
        raise NotCompared(f"the UNet: diffusers found no weights for {empty[0]} in the file")
    unet.to(device=place.device, dtype=place.kept).requires_grad_(False).eval()
    if place.by_layer:
        _work_in_single(unet)
    return unet


def _rounded(tensor: Tensor, place: Place) -> Tensor:
    return tensor.to(place.stored).to(place.kept) if place.stored.itemsize == 1 else tensor


def _work_in_single(module: torch.nn.Module) -> None:
    """As the host works where its device has no half precision; those that do so stay."""
    for layer in module.modules():
        weights = list(layer.parameters(recurse=False))
        if weights and not layer._forward_pre_hooks:
            kept: list[Tensor] = []
            layer.register_forward_pre_hook(partial(_widen, kept))
            layer.register_forward_hook(partial(_narrow, kept))


def _widen(kept: list[Tensor], layer: torch.nn.Module, _inputs: Any) -> None:
    for weight in layer.parameters(recurse=False):
        kept.append(weight.data)
        weight.data = weight.data.float()


def _narrow(kept: list[Tensor], layer: torch.nn.Module, _inputs: Any, _out: Any) -> None:
    for weight, data in zip(layer.parameters(recurse=False), kept, strict=True):
        weight.data = data
    kept.clear()


def _config(host: Mapping[str, Any]) -> dict[str, Any]:
    """The host's words as diffusers'."""
    each = host["num_res_blocks"]
    depth = host["transformer_depth"]
    if len(set(each)) > 1:
        raise NotCompared("the UNet: its levels have different numbers of blocks")
    depths = [depth[each[0] * level] for level in range(len(each))]
    if [d for d in depths for _ in range(each[0])] != list(depth):
        raise NotCompared("the UNet: the blocks of a level have different depths")
    widths = [host["model_channels"] * factor for factor in host["channel_mult"]]
    kinds = ["CrossAttn" if d else "" for d in depths]
    per_head = host.get("num_head_channels", -1)
    heads = [width // per_head for width in widths] if per_head != -1 else host["num_heads"]
    made: dict[str, Any] = dict(
        _class_name="UNet2DConditionModel",
        in_channels=host["in_channels"],
        out_channels=host["out_channels"],
        layers_per_block=each[0],
        block_out_channels=widths,
        down_block_types=[f"{kind}DownBlock2D" for kind in kinds],
        up_block_types=[f"{kind}UpBlock2D" for kind in kinds[::-1]],
        transformer_layers_per_block=[max(1, d) for d in depths],
        cross_attention_dim=host["context_dim"],
        attention_head_dim=heads,
        use_linear_projection=host["use_linear_in_transformer"],
    )
    if host.get("adm_in_channels"):
        made |= dict(
            addition_embed_type="text_time",
            addition_time_embed_dim=_TIME_WIDTH,
            projection_class_embeddings_input_dim=host["adm_in_channels"],
        )
    return made


def plain(unet: Any, painting: Painting, place: Place) -> Predict:
    """The UNet without an adapter."""
    return _predict(unet, painting, place, None)


def hearing(unet: Any, heard: Heard, painting: Painting, place: Place) -> Predict:
    """The UNet with diffusers' own adapter inside; what is in it stays there."""
    _merge_lora(unet, heard.tensors)
    try:
        unet._load_ip_adapter_weights([checkpoints.nest(heard.tensors)], low_cpu_mem_usage=False)
    except (RuntimeError, KeyError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise NotCompared(f"the adapter: diffusers cannot load this layout ({reason})") from error
    unet.to(device=place.device, dtype=place.kept)
    if place.by_layer:
        unet.encoder_hid_proj.float()
        _work_in_single(unet)
    for processor in unet.attn_processors.values():
        if hasattr(processor, "scale"):
            processor.scale = [heard.scale]
    layer = unet.encoder_hid_proj.image_projection_layers[0]
    return _predict(unet, painting, place, _embeds(heard, layer, place))


def _merge_lora(unet: Any, tensors: Mapping[str, Tensor]) -> None:
    """W + up @ down in every attention, numbered as diffusers lists them.

    diffusers' own way to them goes through peft, which need not be there.
    """
    names = list(unet.attn_processors)
    for key, up in tensors.items():
        if not key.endswith("_lora.up.weight"):
            continue
        _, number, part, *_ = key.split(".")
        attention = unet.get_submodule(names[int(number)].removesuffix(".processor"))
        linear = getattr(attention, part.removesuffix("_lora"))
        linear = linear[0] if part == "to_out_lora" else linear
        weight, down = linear.weight, tensors[key.replace(".up.", ".down.")]
        more = up.to(weight.device).float() @ down.to(weight.device).float()
        weight.data = (weight.float() + more).to(weight.dtype)


def _embeds(heard: Heard, layer: Any, place: Place) -> Tensor:
    """(2, references, ...): what the negative prompt hears, then what the positive one does."""
    features = heard.features
    if isinstance(features, FaceFeatures):
        identity = features.identity
        if "image_proj.latents" in heard.tensors:
            identity = identity[:, None]
        else:
            identity = identity / identity.norm(dim=-1, keepdim=True)
        if features.crops is not None and heard.spec.needs_encoder:
            seen, empty = _hidden(features.crops)
            layer.clip_embeds = torch.stack([empty, seen]).to(place.device, place.computed)
            layer.shortcut, layer.shortcut_scale = heard.version_2, 1.0
        rows = torch.stack([torch.zeros_like(identity), identity])
    elif heard.spec.feature is Feature.POOLED:
        assert features.pooled is not None
        rows = torch.stack([torch.zeros_like(features.pooled), features.pooled])
    else:
        seen, empty = _hidden(features)
        rows = torch.stack([empty, seen])
    return rows.to(place.device, place.computed)


def _hidden(features: ImageFeatures) -> tuple[Tensor, Tensor]:
    seen, empty = features.penultimate, features.negative_penultimate
    assert seen is not None and empty is not None
    return seen, empty.expand_as(seen)


def _predict(unet: Any, painting: Painting, place: Place, embeds: Tensor | None) -> Predict:
    sampling, side = painting.sampling, painting.side
    prompts = (painting.negative, painting.positive)
    context = _rows([prompt.context for prompt in prompts]).to(place.device, place.computed)
    added: dict[str, Any] = {} if embeds is None else {"image_embeds": [embeds]}
    if unet.config.addition_embed_type == "text_time":
        sizes = torch.tensor([[side, side, 0, 0, side, side]] * 2, device=place.device)
        added |= {"text_embeds": _pooled(prompts).to(place.device, place.computed)}
        added |= {"time_ids": sizes.to(place.computed)}

    def predict(x: Tensor, sigma: Tensor) -> Tensor:
        given = sampling.calculate_input(sigma, x).repeat(2, 1, 1, 1)
        out = unet(
            given.to(place.device, place.computed),
            sampling.timestep(sigma).float().to(place.device).repeat(2),
            encoder_hidden_states=context,
            added_cond_kwargs=added or None,
        ).sample
        negative, positive = (
            sampling.calculate_denoised(sigma, half, x) for half in out.float().cpu().chunk(2)
        )
        return guided(positive, negative, painting.cfg)

    return predict


def _rows(contexts: list[Tensor]) -> Tensor:
    """Both prompts in one batch; the shorter one is said again, as the host does it."""
    length = max(one.shape[1] for one in contexts)
    return torch.cat([one.repeat(1, length // one.shape[1], 1) for one in contexts])


def _pooled(prompts: tuple[Prompt, ...]) -> Tensor:
    rows = [prompt.pooled for prompt in prompts if prompt.pooled is not None]
    return torch.cat(rows)
