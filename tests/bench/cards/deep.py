"""Flux and SD3.5 at their real size, which nobody but this pack applies adapters to in ComfyUI."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, cast

import comfy.model_management
import comfy.model_patcher
import comfy.supported_models
import torch
from bench.cards.measure import Found, now
from bench.counter import Counts, measure
from bench.memory import held_by
from bench.peak import Peak, settle
from bench.real_beds import fill
from kit.models import checkpoints, transformer_cases
from kit.models.transformer_cases import INSTANTX, SD3, XLABS, Given, Layout
from kit.models.transformer_sizes import CONTEXT, FLUX_HEAD, SD3_HEAD, Sizes
from kit.models.transformers import AXES, CHANNELS, FLUX_DEPTH, POOLED, SD3_DEPTH
from pack.nodes.host.model.adapter import load
from pack.nodes.host.model.apply import Settings, apply
from torch import Tensor

_ROUNDS, _CALLS = 5, 3
_SIGLIP_SEQUENCE = 729
_GIB = 2**30
_SIGMA, _GUIDANCE = 0.611, 3.5


@dataclass(frozen=True)
class Deep:
    """A model with an adapter in a published layout.

    Attributes:
        table: of the published adapter; empty for a narrow model.
        context, tokens, pooled: of the text.
        gigabytes: of device memory that it takes.
        most: kernels that are promised for each layer.
    """

    name: str
    sizes: Sizes
    layout: Layout
    table: str
    context: int
    tokens: int
    pooled: int
    gigabytes: int
    most: int

    @property
    def layers(self) -> int:
        """That hear the reference."""
        return self.sizes.doubles if self.layout is XLABS else self.sizes.blocks

    @property
    def syncs(self) -> int:
        """That are promised of a call; SD3.5 reads its noise level."""
        return int(self.sizes.family == "sd3")

    def narrow(self) -> Deep:
        """As deep, with one or two heads."""
        heads = 2 if self.sizes.family == "sd3" else 1
        sizes = replace(self.sizes, heads=heads)
        return replace(self, sizes=sizes, table="", context=CONTEXT, pooled=POOLED, tokens=7)


_FLUX, _SD3 = Sizes("flux", 24, *FLUX_DEPTH), Sizes("sd3", SD3_DEPTH, SD3_DEPTH, 0)
_OF_FLUX: dict[str, Any] = dict(
    sizes=_FLUX, context=4096, tokens=512, pooled=768, gigabytes=34, most=3
)
_OF_SD3: dict[str, Any] = dict(
    sizes=_SD3, context=4096, tokens=333, pooled=2048, gigabytes=26, most=7
)
CASES = (
    Deep("Flux, XLabs", layout=XLABS, table="xlabs_flux-ip-adapter", **_OF_FLUX),
    Deep("SD3.5 Large", layout=SD3, table="instantx_sd3.5-large-ip-adapter", **_OF_SD3),
    Deep("Flux, InstantX", layout=INSTANTX, table="instantx_flux.1-dev-ip-adapter", **_OF_FLUX),
)


class NoRoom(Exception):
    """The device has too little memory that is free."""


@dataclass(frozen=True)
class _Bed:
    """A MODEL and what it is called with."""

    model: Any
    inputs: dict[str, Tensor]
    options: dict[str, Any]

    @torch.inference_mode()
    def call(self, model: Any) -> None:
        """One call of the transformer through the host's wrappers."""
        own = model.model_options["transformer_options"]
        model.model.apply_model(**self.inputs, transformer_options={**own, **self.options})


def found(case: Deep, dtype: torch.dtype, latent: int, folder: Path) -> Found:
    """Measure one case.

    Raises:
        NoRoom: see there.
    """
    device = comfy.model_management.get_torch_device()
    settle()
    free = comfy.model_management.get_free_memory(device) / _GIB
    if case.table and free < case.gigabytes:
        raise NoRoom(f"needs {case.gigabytes} GB of device memory, {free:.0f} are free")
    bed = _bed(case, dtype, latent, device)
    path = _adapter_file(case, folder)
    begin = now()
    adapter = load(str(path))
    model = _applied(case, bed, adapter, 1)
    first = now() - begin
    begin = now()
    model = _applied(case, bed, adapter, 2)
    again = now() - begin
    ratios, peak = _times(bed, model), _peak(bed, model) - _peak(bed, bed.model)
    added = _counted(bed, model, device) - _counted(bed, bed.model, device)
    each, rest = divmod(added.kernels, case.layers)
    loaded = [one.model for one in comfy.model_management.current_loaded_models]
    return Found(
        kernels=each,
        rest=rest,
        syncs=added.syncs,
        layers=f"{case.layers}/{case.sizes.blocks}",
        step=median(ratios),
        low=min(ratios),
        high=max(ratios),
        first=first,
        apply=again,
        peak=peak,
        weights=adapter.patcher.model_size() if adapter.patcher in loaded else 0,
        others=held_by(model).others,
    )


def _bed(case: Deep, dtype: torch.dtype, latent: int, device: torch.device) -> _Bed:
    sizes = case.sizes
    config = _sd3_config(case) if sizes.family == "sd3" else _flux_config(case)
    kind = {"sd3": comfy.supported_models.SD3, "flux": comfy.supported_models.Flux}[sizes.family]
    supported = kind(dict(config))
    supported.unet_config = dict(config)
    supported.set_inference_dtype(dtype, None)
    base = supported.get_model({}, "", device=device)
    fill(base.diffusion_model.to(dtype).eval(), device, dtype)
    rows = 2 if sizes.family == "sd3" else 1  # Flux runs without a negative prompt
    generator = torch.Generator().manual_seed(3)

    def numbers(*shape: int) -> Tensor:
        return torch.randn(rows, *shape, generator=generator).to(device)

    sigma = torch.full((rows,), _SIGMA, device=device)
    inputs = {
        "x": numbers(CHANNELS, latent, latent),
        "t": sigma,
        "c_crossattn": numbers(case.tokens, case.context),
        "y": numbers(case.pooled),
    }
    if sizes.family == "flux":
        inputs["guidance"] = torch.full_like(sigma, _GUIDANCE)
    options = {"cond_or_uncond": [1, 0][-rows:], "sigmas": sigma[:1]}
    model = comfy.model_patcher.ModelPatcher(base, device, torch.device("cpu"))
    return _Bed(model, inputs, options)


def _flux_config(case: Deep) -> dict[str, Any]:
    return {
        "image_model": "flux",
        "in_channels": CHANNELS,
        "out_channels": CHANNELS,
        "vec_in_dim": case.pooled,
        "context_in_dim": case.context,
        "hidden_size": case.sizes.heads * FLUX_HEAD,
        "mlp_ratio": 4.0,
        "num_heads": case.sizes.heads,
        "depth": case.sizes.doubles,
        "depth_single_blocks": case.sizes.singles,
        "axes_dim": list(AXES),
        "theta": 10000,
        "patch_size": 2,
        "qkv_bias": True,
        "guidance_embed": True,
        "txt_ids_dims": [],
    }


def _sd3_config(case: Deep) -> dict[str, Any]:
    linear = {"in_features": case.context, "out_features": case.sizes.heads * SD3_HEAD}
    return {
        "in_channels": CHANNELS,
        "patch_size": 2,
        "depth": case.sizes.heads,
        "num_blocks": case.sizes.doubles,
        "input_size": None,
        "adm_in_channels": case.pooled,
        "context_embedder_config": {"target": "torch.nn.Linear", "params": linear},
        "num_patches": 192**2,
        "pos_embed_max_size": 192,
        "pos_embed_scaling_factor": None,
        "qk_norm": "rms",
        "x_block_self_attn_layers": [],
    }


def _adapter_file(case: Deep, folder: Path) -> Path:
    path = folder / f"{case.name.replace(', ', '-')}.safetensors"
    if not path.is_file():
        if case.table:
            table = checkpoints.load_table(case.table)
            tensors = checkpoints.as_tensors(table, "cpu", torch.float16)
        else:
            tensors = case.layout.tensors(cast(Any, case.sizes), 1)
        checkpoints.write(path, tensors, "flat")
    return path


@torch.inference_mode()
def _applied(case: Deep, bed: _Bed, adapter: Any, seed: int) -> Any:
    layout = case.layout
    if case.table and layout.sequence:
        layout = replace(layout, sequence=_SIGLIP_SEQUENCE)
    features = transformer_cases.features(layout, Given(seed=seed))
    return apply(bed.model, adapter, features, Settings(scale=0.7))


def _counted(bed: _Bed, model: Any, device: torch.device) -> Counts:
    bed.call(model)  # moves keys and values
    return measure(lambda: bed.call(model), bed.model.model.diffusion_model, device)


def _times(bed: _Bed, model: Any) -> list[float]:
    """Of calls with the reference over calls without, a ratio for each round."""
    ratios: list[float] = []
    for index in range(_ROUNDS + 1):
        pair = [model, bed.model] if index % 2 else [bed.model, model]
        seconds = {id(one): _seconds(bed, one) for one in pair}
        if index:  # the first round warms up
            ratios.append(seconds[id(model)] / seconds[id(bed.model)])
    return ratios


def _seconds(bed: _Bed, model: Any) -> float:
    begin = now()
    for _ in range(_CALLS):
        bed.call(model)
    return now() - begin


def _peak(bed: _Bed, model: Any) -> int:
    settle()
    with Peak() as peak:
        bed.call(model)
    return peak.bytes
