"""The same small transformer in diffusers and in ComfyUI, with equal weights."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, NamedTuple

import comfy.model_patcher
import comfy.sample
import comfy.samplers
import comfy.supported_models
import comfy.utils
import torch
from diffusers import ChromaTransformer2DModel, FluxTransformer2DModel, SD3Transformer2DModel
from kit.models.transformer_sizes import CONTEXT, FLUX_HEAD, SD3_HEAD, Sizes
from torch import Tensor

CPU = torch.device("cpu")
POOLED = 64
FLUX_DEPTH, SD3_DEPTH = (19, 38), 38
AXES = (16, 56, 56)
GUIDANCE = 3.5
CHANNELS = 16
# Chroma's table of modulations is as long as its full depth needs, also where blocks are missing.
_CHROMA_TABLE = 344

_CLASSES = {
    "flux": comfy.supported_models.Flux,
    "chroma": comfy.supported_models.Chroma,
    "sd3": comfy.supported_models.SD3,
}


@dataclass(frozen=True)
class Pair(Sizes):
    """A ComfyUI MODEL and a diffusers transformer with the same random weights."""

    model: Any
    reference: Any

    def fresh(self) -> Any:
        """The reference to put adapters into, which stay there."""
        return copy.deepcopy(self.reference)


class Precision(NamedTuple):
    """Of the host's weights, and of its work with them; the reference works in single precision."""

    stored: torch.dtype = torch.float32
    computed: torch.dtype = torch.float32


SINGLE = Precision()


@cache
def tiny_flux(precision: Precision = SINGLE) -> Pair:
    """Three double blocks and two single ones, two heads."""
    return _flux(2, 3, 2, precision)


@cache
def full_flux() -> Pair:
    """As deep as the published model, one head."""
    return _flux(1, *FLUX_DEPTH, SINGLE)


@cache
def tiny_chroma(precision: Precision = SINGLE) -> Pair:
    """Three double blocks and two single ones, two heads."""
    return _chroma(2, 3, 2, precision)


@cache
def full_chroma() -> Pair:
    """As deep as the published model, one head."""
    return _chroma(1, *FLUX_DEPTH, SINGLE)


@cache
def tiny_sd3(precision: Precision = SINGLE) -> Pair:
    """Three joint blocks, three heads."""
    return _sd3(3, 3, precision)


@cache
def full_sd3() -> Pair:
    """As deep as SD3.5 Large, two heads."""
    return _sd3(2, SD3_DEPTH, SINGLE)


def _flux(heads: int, doubles: int, singles: int, precision: Precision) -> Pair:
    reference = _random(
        FluxTransformer2DModel,
        precision,
        patch_size=1,
        in_channels=4 * CHANNELS,
        num_layers=doubles,
        num_single_layers=singles,
        attention_head_dim=FLUX_HEAD,
        num_attention_heads=heads,
        joint_attention_dim=CONTEXT,
        pooled_projection_dim=POOLED,
        guidance_embeds=True,
        axes_dims_rope=AXES,
    )
    config = _flux_config(heads, doubles, singles) | dict(
        image_model="flux",
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        vec_in_dim=POOLED,
        guidance_embed=True,
    )
    model = _host("flux", config, reference, comfy.utils.flux_to_diffusers(config), precision)
    return Pair("flux", heads, doubles, singles, model, reference)


def _chroma(heads: int, doubles: int, singles: int, precision: Precision) -> Pair:
    approximator = dict(approximator_hidden_dim=64, approximator_layers=2)
    reference = _random(
        ChromaTransformer2DModel,
        precision,
        patch_size=1,
        in_channels=4 * CHANNELS,
        num_layers=doubles,
        num_single_layers=singles,
        attention_head_dim=FLUX_HEAD,
        num_attention_heads=heads,
        joint_attention_dim=CONTEXT,
        axes_dims_rope=AXES,
        approximator_num_channels=64,
        **approximator,
    )
    _lengthen_table(reference)
    config = _flux_config(heads, doubles, singles) | dict(
        image_model="chroma",
        in_channels=4 * CHANNELS,
        out_channels=4 * CHANNELS,
        vec_in_dim=None,
        in_dim=64,
        out_dim=heads * FLUX_HEAD,
        hidden_dim=approximator["approximator_hidden_dim"],
        n_layers=approximator["approximator_layers"],
    )
    keys = comfy.utils.flux_to_diffusers(config) | {
        key: key.replace("linear_1", "in_layer").replace("linear_2", "out_layer")
        for key in reference.state_dict()
        if key.startswith("distilled_guidance_layer.")
    }
    model = _host("chroma", config, reference, keys, precision)
    return Pair("chroma", heads, doubles, singles, model, reference)


def _lengthen_table(reference: Any) -> None:
    """Let the last two rows be those that the host takes for the output, at any depth."""
    embed = reference.time_text_embed
    full = type(embed)(num_channels=16, out_dim=_CHROMA_TABLE)
    embed.mod_proj = full.mod_proj


def _flux_config(heads: int, doubles: int, singles: int) -> dict[str, Any]:
    """What the host's Flux and Chroma have in common."""
    return dict(
        context_in_dim=CONTEXT,
        hidden_size=heads * FLUX_HEAD,
        mlp_ratio=4.0,
        num_heads=heads,
        depth=doubles,
        depth_single_blocks=singles,
        axes_dim=list(AXES),
        theta=10000,
        patch_size=2,
        qkv_bias=True,
        txt_ids_dims=[],
    )


def _sd3(heads: int, blocks: int, precision: Precision) -> Pair:
    reference = _random(
        SD3Transformer2DModel,
        precision,
        sample_size=16,
        patch_size=2,
        in_channels=CHANNELS,
        num_layers=blocks,
        attention_head_dim=SD3_HEAD,
        num_attention_heads=heads,
        joint_attention_dim=CONTEXT,
        caption_projection_dim=heads * SD3_HEAD,
        pooled_projection_dim=POOLED,
        pos_embed_max_size=16,
        qk_norm="rms_norm",
    )
    linear = {"in_features": CONTEXT, "out_features": heads * SD3_HEAD}
    config = dict(
        in_channels=CHANNELS,
        patch_size=2,
        depth=heads,
        num_blocks=blocks,
        input_size=None,
        adm_in_channels=POOLED,
        context_embedder_config={"target": "torch.nn.Linear", "params": linear},
        num_patches=256,
        pos_embed_max_size=16,
        pos_embed_scaling_factor=None,
        qk_norm="rms",
        x_block_self_attn_layers=[],
    )
    keys = comfy.utils.mmdit_to_diffusers(config)
    swap_in_the_last_block(keys, heads, blocks)
    model = _host("sd3", config, reference, keys, precision)
    return Pair("sd3", heads, blocks, 0, model, reference)


def swap_in_the_last_block(keys: dict[str, Any], heads: int, blocks: int) -> None:
    """The host's map takes the number of heads for the number of blocks, which here differ."""
    for end in ("weight", "bias"):
        for number in (heads - 1, blocks - 1):
            key = f"transformer_blocks.{number}.norm1_context.linear.{end}"
            target = f"joint_blocks.{number}.context_block.adaLN_modulation.1.{end}"
            swap = number == blocks - 1
            keys[key] = (target, None, comfy.utils.swap_scale_shift) if swap else target


def _random(kind: Callable[..., Any], precision: Precision, **config: Any) -> Any:
    """Fresh weights of one seed; norms differ from 1, or nobody sees which of them was used."""
    torch.manual_seed(11)
    reference = kind(**config).eval()
    for name, weight in reference.named_parameters():
        if name.endswith("weight") and weight.ndim == 1:
            weight.data.uniform_(0.8, 1.2)
    for tensor in reference.state_dict().values():
        tensor.copy_(tensor.to(precision.stored))
    return reference.requires_grad_(False)


def _host(
    family: str,
    config: dict[str, Any],
    reference: Any,
    keys: Mapping[str, Any],
    precision: Precision,
) -> Any:
    """A MODEL of the host with the weights of the reference, each of them filled."""
    supported = _CLASSES[family](dict(config))
    supported.unet_config = dict(config)
    stored, computed = precision
    supported.set_inference_dtype(stored, None if stored == computed else computed)
    base = supported.get_model({}, "", device="cpu")
    transformer = base.diffusion_model
    shapes = {key: value.shape for key, value in transformer.state_dict().items()}
    state = {key: torch.full(shape, torch.nan) for key, shape in shapes.items()}
    for key, value in reference.state_dict().items():
        _fill(state, keys[key], value)
    empty = [key for key, value in state.items() if value.isnan().any()]
    assert not empty, f"no weights for {empty}"
    transformer.load_state_dict(state, strict=True)
    transformer.eval()
    return comfy.model_patcher.ModelPatcher(base, CPU, CPU)


def _fill(state: dict[str, Tensor], place: Any, value: Tensor) -> None:
    """Put one weight where the host's map says: a key, a slice of it, or changed on the way."""
    if isinstance(place, str):
        place = (place, None)
    key, part, *change = place
    value = change[0](value) if change else value
    target = state[key] if part is None else state[key].narrow(*part)
    assert target.shape == value.shape, f"{key}: {tuple(target.shape)}, {tuple(value.shape)}"
    target.copy_(value)


@dataclass(frozen=True)
class Call:
    """Inputs of one call: rows of the negative prompt first, then those of the positive one.

    Attributes:
        polarities: of the rows as the host says them, 1 for negative; each has as many rows.
        edited: pictures to edit, one beside each of the latents (Kontext).
        residuals: what a ControlNet adds after each double block.
        shorter: by how many tokens the negative prompt is, for runs of the sampler; both prompts
            are then in calls of their own.
    """

    x: Tensor
    sigma: float
    context: Tensor
    pooled: Tensor
    polarities: tuple[int, ...] = (1, 0)
    edited: Tensor | None = None
    residuals: tuple[Tensor, ...] = ()
    shorter: int = 0

    @property
    def batch(self) -> int:
        """Pictures, each with a row of every polarity."""
        return len(self.x) // len(self.polarities)

    def positive(self) -> Call:
        """The rows of the positive prompt alone, as guidance-distilled models are called."""
        return self._half(slice(-self.batch, None), 0)

    def negative(self) -> Call:
        """The rows of the negative prompt alone."""
        half = self._half(slice(None, self.batch), 1)
        return replace(half, context=half.context[:, self.shorter :])

    def _half(self, rows: slice, polarity: int) -> Call:
        return Call(self.x[rows], self.sigma, self.context[rows], self.pooled[rows], (polarity,))


def make_call(batch: int = 1, height: int = 16, width: int = 12, sigma: float = 0.611) -> Call:
    """Random latents and prompts; an odd latent is for the host alone."""
    generator = torch.Generator().manual_seed(3)

    def rows(*shape: int) -> Tensor:
        return torch.randn(2 * batch, *shape, generator=generator)

    return Call(rows(CHANNELS, height, width), sigma, rows(7, CONTEXT), rows(POOLED))


def run_host(pair: Pair, model: Any, call: Call, **options: Any) -> Tensor:
    """What the MODEL's transformer gives for `call`, through the host's wrappers.

    Args:
        options: of the transformer, beside those of the MODEL.
    """
    seen: list[Tensor] = []
    sigma = torch.full((len(call.x),), call.sigma)
    guidance = {"flux": GUIDANCE, "chroma": 0.0}.get(pair.family)
    more: dict[str, Any] = {}
    if guidance is not None:
        more["guidance"] = torch.full_like(sigma, guidance)
    if call.edited is not None:
        more["ref_latents"] = [call.edited]
    if call.residuals:
        more["control"] = {"input": list(call.residuals), "output": []}
    transformer_options = {
        **model.model_options["transformer_options"],
        "cond_or_uncond": list(call.polarities),
        "sigmas": sigma[:1],
        **options,
    }
    hook = model.model.diffusion_model.register_forward_hook(
        lambda _module, _inputs, output: seen.append(output)
    )
    try:
        model.model.apply_model(
            call.x,
            sigma,
            c_crossattn=call.context,
            y=call.pooled,
            transformer_options=transformer_options,
            **more,
        )
    finally:
        hook.remove()
    (output,) = seen
    return output


def run_reference(pair: Pair, call: Call, reference: Any = None, **attention: Any) -> Tensor:
    """What diffusers' transformer gives for `call`.

    Args:
        reference: with an adapter inside; by default the plain one of the pair.
        attention: `joint_attention_kwargs`.
    """
    reference = pair.reference if reference is None else reference
    time = torch.full((len(call.x),), call.sigma)
    if pair.family == "sd3":
        return reference(
            call.x,
            encoder_hidden_states=call.context,
            pooled_projections=call.pooled,
            timestep=1000 * time,
            joint_attention_kwargs=attention or None,
        ).sample
    more: dict[str, Any] = {}
    if pair.family == "flux":
        more = {"pooled_projections": call.pooled}
        if reference.config.guidance_embeds:  # schnell has none
            more["guidance"] = torch.full_like(time, GUIDANCE)
    if call.residuals:
        more["controlnet_block_samples"] = call.residuals
    height, width = (size // 2 for size in call.x.shape[-2:])
    image, places = _pack(call.x), _positions(height, width)
    if call.edited is not None:
        image = torch.cat((image, _pack(call.edited)), dim=1)
        places = torch.cat((places, places + torch.tensor([1.0, 0, 0])))
    out = reference(
        image,
        encoder_hidden_states=call.context,
        timestep=time,
        img_ids=places,
        txt_ids=torch.zeros(call.context.shape[1], 3),
        joint_attention_kwargs=attention or None,
        **more,
    ).sample
    return _unpack(out[:, : height * width], height, width)


def _pack(x: Tensor) -> Tensor:
    """Latents as rows of patches of 2 x 2."""
    batch, channels, height, width = x.shape
    patches = x.reshape(batch, channels, height // 2, 2, width // 2, 2)
    return patches.permute(0, 2, 4, 1, 3, 5).reshape(batch, -1, 4 * channels)


def _unpack(rows: Tensor, height: int, width: int) -> Tensor:
    patches = rows.reshape(len(rows), height, width, -1, 2, 2)
    return patches.permute(0, 3, 1, 4, 2, 5).reshape(len(rows), -1, 2 * height, 2 * width)


def _positions(height: int, width: int) -> Tensor:
    """(0, row, column) of each patch."""
    grid = torch.zeros(height, width, 3)
    grid[..., 1] = torch.arange(height)[:, None]
    grid[..., 2] = torch.arange(width)
    return grid.reshape(-1, 3)


def schedule(pair: Pair, steps: int = 4) -> Tensor:
    """The noise levels of a short run."""
    sampling = pair.model.get_model_object("model_sampling")
    return comfy.samplers.calculate_sigmas(sampling, "simple", steps)


def sample_host(
    pair: Pair, model: Any, call: Call, cfg: float, steps: int = 4, sampler: str = "euler"
) -> Tensor:
    """A run by one of the host's samplers, in the model's own latent space."""
    more = {"guidance": GUIDANCE} if pair.family == "flux" else {}
    negative, positive = (
        [[half.context, {"pooled_output": half.pooled, **more}]]
        for half in (call.negative(), call.positive())
    )
    noise = call.negative().x
    out = comfy.sample.sample_custom(
        model,
        noise,
        cfg,
        comfy.samplers.sampler_object(sampler),
        schedule(pair, steps),
        positive,
        negative,
        torch.zeros_like(noise),
        disable_pbar=True,
        seed=1,
    )
    return model.model.latent_format.process_in(out)


def sample_reference(
    pair: Pair,
    call: Call,
    cfg: float,
    step: Callable[[Call], Tensor],
    steps: int = 4,
    sampler: str = "euler",
) -> Tensor:
    """The same run by a plain loop.

    Args:
        step: what the transformer gives, of both polarities or of one of them.
        sampler: "euler", or "dpm_2", which calls the model between the steps of the schedule too.
    """
    sigmas = schedule(pair, steps)
    x = call.negative().x * sigmas[0]
    for sigma, following in zip(sigmas[:-1], sigmas[1:], strict=True):
        velocity = _guided(call, x, sigma, cfg, step)
        if sampler == "dpm_2" and following > 0:
            between = (sigma * following).sqrt()
            velocity = _guided(call, x + velocity * (between - sigma), between, cfg, step)
        x = x + velocity * (following - sigma)
    return x


def _guided(
    call: Call, x: Tensor, sigma: Tensor, cfg: float, step: Callable[[Call], Tensor]
) -> Tensor:
    now = replace(call, x=x.repeat(2, 1, 1, 1), sigma=float(sigma))
    if cfg == 1:
        return step(now.positive())
    apart = (now.negative(), now.positive())
    negative, positive = [step(one) for one in apart] if now.shorter else step(now).chunk(2)
    return negative + cfg * (positive - negative)
