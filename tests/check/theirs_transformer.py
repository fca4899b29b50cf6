"""diffusers' side for Flux and SD3.5: its transformers, filled by ComfyUI's own maps of names.

XLabs and SD3.5 are diffusers' own adapter code; it has none for InstantX on Flux, whose published
arithmetic on diffusers' modules is that of the tests (kit/models/transformer_reference.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import comfy.utils
import torch
from accelerate import init_empty_weights
from check.base import diffusion_tensors
from check.painting import Painting, Predict, guided
from check.problem import NotCompared
from check.theirs_unet import Heard, Place
from diffusers import FluxTransformer2DModel, SD3Transformer2DModel
from kit.models import transformer_reference as adapters
from kit.models.transformer_sizes import FLUX_HEAD, SD3_HEAD
from kit.models.transformers import AXES, Call, Pair, run_reference, swap_in_the_last_block
from pack.ip_models.adapter.spec import AdapterSpec, Kind
from pack.ip_models.references.features import ImageFeatures
from torch import Tensor

_POSITIVE, _NEGATIVE = 0, 1


class Lent(Pair):
    """A pair whose only reference takes the adapter: a second one may not fit into memory."""

    def fresh(self) -> Any:
        """See `Pair.fresh`."""
        return self.reference


@dataclass(frozen=True)
class Transformer:
    """diffusers' module and what the tests' adapters know it by."""

    pair: Lent

    @property
    def module(self) -> Any:
        """The transformer itself."""
        return self.pair.reference


def load(
    family: str, tensors: Mapping[str, Tensor], config: Mapping[str, Any], place: Place
) -> Transformer:
    """diffusers' transformer from the tensors of a single file.

    Args:
        family: "flux" or "sd3".
        config: the host's sizes of it.

    Raises:
        NotCompared: diffusers has no such transformer, or the file lacks some of it.
    """
    named = diffusion_tensors(tensors)
    if config.get("image_model", "flux") != "flux":
        raise NotCompared(
            f"the base model: diffusers has no adapter code for {config['image_model']}"
        )
    build, keys, sizes = (_flux if family == "flux" else _sd3)(config, named)
    with init_empty_weights():
        module: Any = build()
    state = {key: _part(named, keys, key).to(place.stored) for key in module.state_dict()}
    module.load_state_dict(state, assign=True)
    module = module.to(device=place.device, dtype=place.computed).requires_grad_(False).eval()
    return Transformer(Lent(family, *sizes, None, module))


def plain(transformer: Transformer, painting: Painting, place: Place) -> Predict:
    """The transformer without an adapter."""
    return _predict(lambda call: run_reference(transformer.pair, call), painting, place)


def hearing(transformer: Transformer, heard: Heard, painting: Painting, place: Place) -> Predict:
    """The transformer with the adapter inside; what is in it stays there."""
    assert isinstance(heard.features, ImageFeatures)
    positive, negative = (
        rows.to(place.device, place.computed) for rows in _rows(heard.spec, heard.features)
    )
    tensors = {key: tensor.to(place.device).float() for key, tensor in heard.tensors.items()}
    prompt = adapters.Prompt(tensors, positive, negative, heard.scale)
    put = {
        (Kind.XLABS, "flux"): adapters.with_xlabs,
        (Kind.INSTANTX, "flux"): adapters.with_instantx,
        (Kind.INSTANTX, "sd3"): adapters.with_sd3,
    }[heard.spec.kind, transformer.pair.family]
    step = put(transformer.pair, prompt)
    transformer.module.to(device=place.device, dtype=place.computed)
    return _predict(step, painting, place)


def _rows(spec: AdapterSpec, features: ImageFeatures) -> tuple[Tensor, Tensor]:
    """What the positive and the negative prompt hear, as each published implementation has it."""
    rows = features.penultimate if spec.timed else features.pooled
    assert rows is not None
    if spec.timed:
        return rows, torch.zeros_like(rows)
    if spec.kind is Kind.XLABS and features.black_pooled is not None:
        return rows, features.black_pooled
    return rows, rows


def _predict(step: adapters.Step, painting: Painting, place: Place) -> Predict:
    prompts = {_NEGATIVE: painting.negative, _POSITIVE: painting.positive}
    heard = (_POSITIVE,) if painting.cfg == 1 else (_NEGATIVE, _POSITIVE)

    def placed(tensor: Tensor) -> Tensor:
        return tensor.to(place.device, place.computed)

    def velocity(x: Tensor, sigma: Tensor, polarity: int) -> Tensor:
        prompt = prompts[polarity]
        assert prompt.pooled is not None
        words = placed(prompt.context), placed(prompt.pooled)
        call = Call(placed(x), float(sigma), *words, (polarity,))
        with torch.device(place.device):
            return step(call).float().cpu()

    def predict(x: Tensor, sigma: Tensor) -> Tensor:
        made = [
            painting.sampling.calculate_denoised(sigma, velocity(x, sigma, polarity), x)
            for polarity in heard
        ]
        return made[0] if painting.cfg == 1 else guided(made[1], made[0], painting.cfg)

    return predict


def _flux(config: Mapping[str, Any], named: Mapping[str, Tensor]) -> Any:
    heads, depth = config["num_heads"], (config["depth"], config["depth_single_blocks"])

    def build() -> Any:
        return FluxTransformer2DModel(
            patch_size=1,
            in_channels=named["img_in.weight"].shape[1],
            num_layers=depth[0],
            num_single_layers=depth[1],
            attention_head_dim=FLUX_HEAD,
            num_attention_heads=heads,
            joint_attention_dim=config["context_in_dim"],
            pooled_projection_dim=config["vec_in_dim"],
            guidance_embeds=any(key.startswith("guidance_in.") for key in named),
            axes_dims_rope=AXES,
        )

    return build, comfy.utils.flux_to_diffusers(config), (heads, *depth)


def _sd3(config: Mapping[str, Any], named: Mapping[str, Tensor]) -> Any:
    if config.get("x_block_self_attn_layers"):
        raise NotCompared("the base model: no adapter was made for SD3.5 Medium")
    heads = config["depth"]
    blocks = len({key.split(".")[1] for key in named if key.startswith("joint_blocks.")})

    def build() -> Any:
        return SD3Transformer2DModel(
            sample_size=128,
            patch_size=2,
            in_channels=config["in_channels"],
            num_layers=blocks,
            attention_head_dim=SD3_HEAD,
            num_attention_heads=heads,
            joint_attention_dim=config["context_embedder_config"]["params"]["in_features"],
            caption_projection_dim=heads * SD3_HEAD,
            pooled_projection_dim=config["adm_in_channels"],
            pos_embed_max_size=config["pos_embed_max_size"],
            qk_norm="rms_norm",
        )

    keys = comfy.utils.mmdit_to_diffusers({**config, "num_blocks": blocks})
    if heads != blocks:
        swap_in_the_last_block(keys, heads, blocks)
    return build, keys, (heads, blocks, 0)


def _part(named: Mapping[str, Tensor], keys: Mapping[str, Any], key: str) -> Tensor:
    """What the host's map calls one weight of diffusers': a tensor, a slice, or turned around."""
    place = keys.get(key)
    where, part, *change = (place, None) if isinstance(place, str) else place or (None, None)
    tensor = named.get(where or "")
    if tensor is None:
        raise NotCompared(f"the base model: the file has nothing for diffusers' {key}")
    tensor = tensor if part is None else tensor.narrow(*part)
    return change[0](tensor) if change else tensor  # the change is its own inverse
