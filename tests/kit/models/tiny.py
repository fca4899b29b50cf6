"""The same tiny UNet twice, once of diffusers' class and once of ComfyUI's, with equal weights."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import comfy.model_patcher
import comfy.sample
import comfy.samplers
import comfy.supported_models
import comfy.utils
import torch
from diffusers import UNet2DConditionModel
from diffusers.loaders.ip_adapter import IPAdapterMixin
from kit.models import checkpoints
from pack.ip_models.projection.projections import VERSION_1, Structure
from pack.ip_models.references.features import FaceFeatures, Features, ImageFeatures
from pack.nodes.host.model.adapter import LoadedAdapter, load
from pack.nodes.host.model.backbones.layers import attention_layers
from torch import Tensor

CPU = torch.device("cpu")
ENCODER_WIDTH, POOLED_WIDTH, SEQUENCE = 1280, 1024, 17

_SD1 = {
    "diffusers": dict(
        block_out_channels=(32, 64, 128, 128),
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        cross_attention_dim=768,
        attention_head_dim=4,
    ),
    "comfy": dict(
        channel_mult=[1, 2, 4, 4],
        num_res_blocks=[2, 2, 2, 2],
        transformer_depth=[1, 1, 1, 1, 1, 1, 0, 0],
        transformer_depth_output=[1] * 9 + [0] * 3,
        transformer_depth_middle=1,
        num_heads=4,
        num_head_channels=-1,
        use_linear_in_transformer=False,
        adm_in_channels=None,
        context_dim=768,
    ),
}
_SDXL = {
    "diffusers": dict(
        block_out_channels=(32, 64, 128),
        down_block_types=("DownBlock2D",) + ("CrossAttnDownBlock2D",) * 2,
        up_block_types=("CrossAttnUpBlock2D",) * 2 + ("UpBlock2D",),
        transformer_layers_per_block=[1, 2, 10],
        cross_attention_dim=2048,
        attention_head_dim=[1, 2, 4],
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=2816,
    ),
    "comfy": dict(
        channel_mult=[1, 2, 4],
        num_res_blocks=[2, 2, 2],
        transformer_depth=[0, 0, 2, 2, 10, 10],
        transformer_depth_output=[0, 0, 0, 2, 2, 2, 10, 10, 10],
        transformer_depth_middle=10,
        num_heads=-1,
        num_head_channels=32,
        use_linear_in_transformer=True,
        adm_in_channels=2816,
        num_classes="sequential",
        context_dim=2048,
    ),
}
_CLASSES = {"sd1": comfy.supported_models.SD15, "sdxl": comfy.supported_models.SDXL}
_CONFIGS = {"sd1": _SD1, "sdxl": _SDXL}


@dataclass(eq=False)
class Twins:
    """A diffusers UNet and a ComfyUI MODEL with the same random weights."""

    family: str
    unet: Any
    model: Any
    context: int
    dtype: torch.dtype

    @property
    def widths(self) -> list[int]:
        """Width of each cross-attention layer in checkpoint order."""
        return [layer.width for layer in attention_layers(self.model)]


def twins(family: str, dtype: torch.dtype = torch.float32) -> Twins:
    """Build both from one seed; weights are loaded strictly, so the topologies are equal."""
    torch.manual_seed(7)
    settings = _CONFIGS[family]
    unet = UNet2DConditionModel(sample_size=16, layers_per_block=2, **settings["diffusers"])
    config = dict(
        image_size=32,
        in_channels=4,
        out_channels=4,
        model_channels=32,
        use_spatial_transformer=True,
        use_temporal_attention=False,
        legacy=False,
        **settings["comfy"],
    )
    supported = _CLASSES[family](dict(config))
    supported.unet_config = dict(config)
    supported.set_inference_dtype(dtype, None)
    base = supported.get_model({}, "", device="cpu")
    keys = comfy.utils.unet_to_diffusers(config)
    state = {keys[key]: value for key, value in unet.state_dict().items()}
    base.diffusion_model.load_state_dict(state, strict=True)
    base.diffusion_model.to(dtype).eval()
    base.diffusion_model.dtype = dtype
    model = comfy.model_patcher.ModelPatcher(base, CPU, CPU)
    return Twins(family, unet.to(dtype).eval(), model, config["context_dim"], dtype)


def adapter_tensors(twin: Twins, kind: str, seed: int = 1, **options: Any) -> dict[str, Tensor]:
    """A random adapter in the published layout that fits the tiny UNet."""
    width = POOLED_WIDTH if kind == "standard" else ENCODER_WIDTH
    tokens = 4 if kind in ("standard", "FaceID", "FaceID plus") else 16
    if kind in ("plus", "FaceID portrait unnormed"):
        options = {"dim": 128, "heads": 2} | options
    elif kind == "FaceID plus":
        options = {"heads": 2} | options
    tensors = checkpoints.tiny_adapter(
        kind, twin.widths, twin.context, width, tokens, seed=seed, **options
    )
    # Louder than fresh weights, so that the effect is far above the tolerances; made in single
    # precision, because diffusers loads adapters into modules of that precision.
    louder = {k: v * 3 if "_ip.weight" in k else v for k, v in tensors.items()}
    return {k: v.to(twin.dtype) for k, v in louder.items()}


@lru_cache(maxsize=4)
def kept_tensors(twin: Twins, kind: str, seed: int = 1) -> dict[str, Tensor]:
    """As `adapter_tensors`, the very same ones at every call: `run_diffusers` is quicker then."""
    return adapter_tensors(twin, kind, seed)


def lora_tensors(twin: Twins, seed: int = 4) -> dict[str, Tensor]:
    """A random LoRA as FaceID files hold it, not so strong that it drowns the adapter."""
    shapes = checkpoints.lora_shapes(twin.widths, twin.context, rank=8)
    return {key: 0.3 * value for key, value in checkpoints.fill(shapes, seed=seed).items()}


def load_tensors(folder: Path, tensors: Mapping[str, Tensor], name: str = "a") -> LoadedAdapter:
    """Write an adapter as a real file and load it as the node does."""
    return load(str(checkpoints.write(folder / f"{name}.safetensors", tensors, "flat")))


def random_features(count: int, seed: int = 2, dtype: torch.dtype = torch.float32) -> ImageFeatures:
    """Features as a ViT-H would give them, with a shorter sequence."""
    generator = torch.Generator().manual_seed(seed)

    def rows(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    return ImageFeatures(
        pooled=rows(count, POOLED_WIDTH),
        penultimate=rows(count, SEQUENCE, ENCODER_WIDTH),
        negative_pooled=torch.zeros(1, POOLED_WIDTH, dtype=dtype),
        negative_penultimate=rows(1, SEQUENCE, ENCODER_WIDTH),
        source="ViT-H",
    )


def random_faces(count: int, seed: int = 2, crops: bool = False) -> FaceFeatures:
    """Faces as a recogniser would give them, about 20 long, with or without their crops."""
    generator = torch.Generator().manual_seed(seed)
    identity = torch.randn(count, 512, generator=generator)
    looks = random_features(count, seed + 1) if crops else None
    return FaceFeatures(identity, looks, "buffalo_l")


@dataclass
class Call:
    """Inputs of one UNet call: `batch` negative rows, then `batch` positive ones.

    Attributes:
        control: what a ControlNet of diffusers adds, by the names of the UNet's arguments.
    """

    x: Tensor
    t: Tensor
    context: Tensor
    y: Tensor | None
    ids: dict[str, Tensor]
    control: dict[str, Any] = field(default_factory=dict[str, Any])


def make_call(twin: Twins, batch: int = 1, height: int = 16, width: int = 16) -> Call:
    """Random latents, prompt and, for SDXL, size conditioning."""
    generator = torch.Generator().manual_seed(3)

    def rows(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(twin.dtype)

    total = 2 * batch
    x, context = rows(total, 4, height, width), rows(total, 8, twin.context)
    t = torch.full((total,), 321.0, dtype=twin.dtype)
    if twin.family == "sd1":
        return Call(x, t, context, None, {})
    pooled = rows(total, 1280)
    ids = torch.tensor([[512.0, 512, 0, 0, 512, 512]] * total, dtype=twin.dtype)
    embedded = twin.unet.add_time_proj(ids.flatten()).reshape(total, -1).to(twin.dtype)
    y = torch.cat((pooled, embedded), dim=1)
    return Call(x, t, context, y, {"text_embeds": pooled, "time_ids": ids})


def run_comfy(model: Any, call: Call, **options: Any) -> Tensor:
    """Output of the MODEL's UNet, negative rows first as ComfyUI orders them."""
    transformer_options = {
        **model.model_options["transformer_options"],
        "cond_or_uncond": [1, 0],
        "sigmas": torch.tensor([3.0]),
        **options,
    }
    unet = model.get_model_object("diffusion_model")
    return unet(
        call.x, call.t, context=call.context, y=call.y, transformer_options=transformer_options
    )


def run_patched(model: Any, call: Call, **options: Any) -> Tensor:
    """As `run_comfy`, with the patches of the weights, which the host puts on for sampling."""
    model.patch_model(CPU)
    try:
        return run_comfy(model, call, **options)
    finally:
        model.unpatch_model(CPU)


class _Pipeline(IPAdapterMixin):
    """As much of a diffusers pipeline as its scale setter needs."""

    unet_name = "unet"

    def __init__(self, unet: Any) -> None:
        self.unet = unet


def run_diffusers(
    twin: Twins,
    call: Call,
    adapters: Sequence[Mapping[str, Tensor]],
    features: Sequence[Features],
    scale: Any,
    masks: Sequence[Tensor | None] | None = None,
    structure: Structure = VERSION_1,
    lora: float = 1.0,
) -> Tensor:
    """Output of diffusers' UNet with its own adapter code.

    Args:
        scale: for `set_ip_adapter_scale`.
        masks: for `ip_adapter_masks`, each (1, images, height, width) or None.
        structure: for FaceID plus.
        lora: strength of the LoRAs inside the adapters, merged into the weights.
    """
    unet = _equipped(twin, tuple(map(_Same, adapters)), lora)
    _Pipeline(unet).set_ip_adapter_scale(scale)
    half = len(call.x) // 2
    embeds = []
    layers = unet.encoder_hid_proj.image_projection_layers
    for tensors, feature, layer in zip(adapters, features, layers, strict=True):
        if isinstance(feature, FaceFeatures):
            embeds.append(_face_embeds(tensors, feature, half, layer))
            if feature.crops is not None:
                layer.shortcut, layer.shortcut_scale = structure
            continue
        pooled = "image_proj.proj.weight" in tensors
        positive = feature.pooled if pooled else feature.penultimate
        negative = feature.negative_pooled if pooled else feature.negative_penultimate
        assert positive is not None and negative is not None
        rows = [negative.expand_as(positive)] * half + [positive] * half
        embeds.append(torch.stack(rows))
    added = {"image_embeds": embeds, **call.ids}
    where = {} if masks is None else {"ip_adapter_masks": list(masks)}
    return unet(
        call.x,
        call.t,
        encoder_hidden_states=call.context,
        added_cond_kwargs=added,
        cross_attention_kwargs=where,
        **call.control,
    ).sample


class _Same:
    """Tensors by their names; equal where they are the very same ones."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.tensors = tensors
        self._ids = tuple((key, id(value)) for key, value in tensors.items())

    def __hash__(self) -> int:
        return hash(self._ids)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other._ids == self._ids


@lru_cache(maxsize=2)  # tests take two families in turn
def _equipped(twin: Twins, adapters: tuple[_Same, ...], lora: float) -> Any:
    """diffusers' UNet with adapters; to make it takes far longer than to run it."""
    unet = copy.deepcopy(twin.unet)
    for adapter in adapters:
        _merge_lora(unet, adapter.tensors, lora)
    nested = [checkpoints.nest(adapter.tensors) for adapter in adapters]
    unet._load_ip_adapter_weights(nested, low_cpu_mem_usage=False)
    return unet.to(twin.dtype)


def _merge_lora(unet: Any, tensors: Mapping[str, Tensor], strength: float) -> None:
    """W + strength * up @ down in every attention, numbered as diffusers lists them."""
    names = list(unet.attn_processors)
    ups = {key: up for key, up in tensors.items() if key.endswith("_lora.up.weight")}
    for key, up in ups.items():
        _, number, part, *_ = key.split(".")
        attention = unet.get_submodule(names[int(number)].removesuffix(".processor"))
        linear = getattr(attention, part.removesuffix("_lora"))
        linear = linear[0] if part == "to_out_lora" else linear
        linear.weight += strength * up @ tensors[key.replace(".up.", ".down.")]


def _face_embeds(
    tensors: Mapping[str, Tensor], faces: FaceFeatures, half: int, layer: Any
) -> Tensor:
    """Specification, section 2: negative rows first, crops put on the layer by hand."""
    identity = faces.identity
    if "image_proj.latents" in tensors:
        identity = identity[:, None]
    else:
        identity = identity / (identity**2).sum(-1, keepdim=True).sqrt()
    if faces.crops is not None:
        seen, empty = faces.crops.penultimate, faces.crops.negative_penultimate
        layer.clip_embeds = torch.stack([empty.expand_as(seen)] * half + [seen] * half)
    return torch.stack([torch.zeros_like(identity)] * half + [identity] * half)


def relative(one: Tensor, other: Tensor) -> float:
    """Relative L2 distance, measured in double precision."""
    difference = (one.double() - other.double()).norm()
    return float(difference / other.double().norm())


def sample_both(
    twin: Twins,
    model: Any,
    call: Call,
    tensors: Mapping[str, Tensor],
    features: ImageFeatures,
    window: tuple[float, float],
    scale: float = 0.8,
    guidance: float = 5.0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Six Euler steps by ComfyUI's sampler, by a plain loop over diffusers' UNet, and without."""
    sampling = twin.model.get_model_object("model_sampling")
    sigmas = comfy.samplers.calculate_sigmas(sampling, "normal", 6)
    noise = call.x[:1].float()
    ours = sample_comfy(twin, model, call, noise, sigmas, guidance)
    plain = sample_comfy(twin, twin.model, call, noise, sigmas, guidance)
    first, last = (float(sampling.percent_to_sigma(percent)) for percent in window)
    x = noise * torch.sqrt(1 + sigmas[0] ** 2)
    for sigma, following in zip(sigmas[:-1], sigmas[1:], strict=True):
        active = last <= float(sigma) <= first
        step = copy.copy(call)
        step.x = (x / torch.sqrt(sigma**2 + 1)).repeat(2, 1, 1, 1)
        step.t = sampling.timestep(sigma[None]).float().repeat(2)
        out = run_diffusers(twin, step, [tensors], [features], scale if active else 0.0)
        negative, positive = out.chunk(2)
        x = x + (negative + guidance * (positive - negative)) * (following - sigma)
    return ours, x, plain


def sample_comfy(
    twin: Twins, model: Any, call: Call, noise: Tensor, sigmas: Tensor, guidance: float
) -> Tensor:
    """A run of ComfyUI's Euler sampler, in the model's own latent space."""
    extra: list[dict[str, Any]] = [{}, {}]
    if call.y is not None:
        size = {"width": 512, "height": 512, "target_width": 512, "target_height": 512}
        pooled = call.ids["text_embeds"].chunk(2)
        extra = [{"pooled_output": row, **size} for row in pooled]
    negative, positive = (
        [[context, more]] for context, more in zip(call.context.chunk(2), extra, strict=True)
    )
    latent = torch.zeros_like(noise)
    sampler = comfy.samplers.sampler_object("euler")
    out = comfy.sample.sample_custom(
        model,
        noise,
        guidance,
        sampler,
        sigmas,
        positive,
        negative,
        latent,
        disable_pbar=True,
        seed=1,
    )
    return twin.model.model.latent_format.process_in(out)
