"""Small models of each sort with an adapter on the disk, and all that is done with them."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import comfy.sample
import comfy.samplers
import comfy.utils
import folder_paths
import torch
from kit.faults.trial import Bed, Operation
from kit.models import checkpoints, tiny, transformer_cases, transformers
from kit.models.transformer_cases import Given, Layout
from kit.models.transformers import Pair
from kit.unet import parse_blocks
from pack.ip_models.references.features import Features
from pack.ip_models.weights.gains import Weights
from pack.nodes.apply import ApplyIPAdapter
from pack.nodes.host.files import folders
from pack.nodes.load import LoadAdapter
from torch import Tensor

STEPS = 2
_clock = itertools.count(1_700_000_000)


@dataclass(frozen=True)
class Sampled:
    """A MODEL and what it is asked to sample."""

    model: Any
    noise: Tensor
    positive: Any
    negative: Any

    def run(self, model: Any) -> Tensor:
        """A few steps as the host's own node takes them, progress bar and all."""
        sampling = model.get_model_object("model_sampling")
        bar = comfy.utils.ProgressBar(STEPS)
        return comfy.sample.sample_custom(
            model,
            self.noise,
            3.0,
            comfy.samplers.sampler_object("euler"),
            comfy.samplers.calculate_sigmas(sampling, "simple", STEPS),
            self.positive,
            self.negative,
            torch.zeros_like(self.noise),
            callback=lambda step, *_: bar.update_absolute(step + 1),
            disable_pbar=True,
            seed=1,
        )


def renewed(*paths: Path) -> None:
    """Let nobody who has read a file before take it for read."""
    moment = next(_clock)
    for path in paths:
        os.utime(path, (moment, moment))


def registered(root: Path) -> dict[str, tuple[list[str], set[str]]]:
    """The host's table for folders of models below one of our own, which are made."""
    endings = {
        folders.ADAPTERS: set(folder_paths.supported_pt_extensions),
        folders.ENCODERS: set(folder_paths.supported_pt_extensions),
        folders.EMBEDS: set(folders.EMBEDS_ENDINGS),
    }
    for name in endings:
        (root / name).mkdir(parents=True, exist_ok=True)
    return {name: ([str(root / name)], known) for name, known in endings.items()}


def adapter_bed(
    root: Path,
    name: str,
    tensors: Mapping[str, Tensor],
    features: Features,
    sampled: Sampled,
    **settings: Any,
) -> Bed:
    """Load, project, apply and sample with one adapter."""
    path = root / folders.ADAPTERS / name
    checkpoints.write(path, tensors, "flat")

    def load() -> Any:
        renewed(path)
        return loaded()

    def loaded() -> Any:
        asyncio.run(LoadAdapter.validate_inputs(adapter_file=name))
        LoadAdapter.fingerprint_inputs(adapter_file=name)
        return LoadAdapter.execute(adapter_file=name).args[0]

    def apply(adapter: Any) -> Any:
        given = {"scale": 0.8, "start_percent": 0.0, "end_percent": 1.0} | settings
        return ApplyIPAdapter.execute(
            model=sampled.model, adapter=adapter, embeds=features, **given
        ).args[0]

    patched = apply(load())
    return Bed(
        root,
        (sampled.model, patched),
        lambda: (sampled.run(patched), sampled.run(sampled.model)),
        {
            "load": Operation(lambda: renewed(path), lambda _: loaded(), _weights),
            "apply": Operation(load, apply, sampled.run),
            "sample": Operation(lambda: patched, sampled.run, lambda made: made),
            "call": Operation(lambda: apply(load()), _one_call(sampled), lambda made: made),
        },
    )


def _weights(adapter: Any) -> Any:
    stored = {
        f"{name}.{part}": tensor.rows(0, tensor.shape[0])
        for name, layer in adapter.patcher.model.named_modules()
        for part, tensor in getattr(layer, "stored", {}).items()
    }
    return adapter.spec.describe(), adapter.patcher.model.state_dict(), adapter.lora, stored


def _one_call(sampled: Sampled) -> Callable[[Any], Tensor]:
    """A call of the model outside of a run, as some packs make it."""

    def call(model: Any) -> Tensor:
        ((negative, _),), ((positive, more),) = sampled.negative, sampled.positive
        noise, context = (torch.cat(pair) for pair in ((sampled.noise,) * 2, (negative, positive)))
        sigma = torch.full((len(noise),), 0.7)
        conditions = {"c_crossattn": context}
        if "pooled_output" in more:
            pooled = sampled.model.model.encode_adm(noise=sampled.noise, device="cpu", **more)
            conditions["y"] = torch.cat((pooled, pooled))
        if "guidance" in more:
            conditions["guidance"] = torch.full_like(sigma, more["guidance"])
        options = model.model_options["transformer_options"]
        return model.model.apply_model(
            noise,
            sigma,
            transformer_options={**options, "cond_or_uncond": [1, 0], "sigmas": sigma[:1]},
            **conditions,
        )

    return call


def unet_bed(root: Path, family: str, kind: str) -> Bed:
    """A UNet; FaceID with its LoRA."""
    twin = tiny.twins(family)
    face = kind.startswith("FaceID")
    tensors = tiny.adapter_tensors(twin, kind)
    if face:
        tensors |= tiny.lora_tensors(twin)
    features: Features = (
        tiny.random_faces(2, crops="plus" in kind) if face else tiny.random_features(2)
    )
    call = tiny.make_call(twin)
    more: list[dict[str, Any]] = [{}, {}]
    if call.y is not None:
        size = {"width": 192, "height": 128, "target_width": 192, "target_height": 128}
        more = [{"pooled_output": row, **size} for row in call.ids["text_embeds"].chunk(2)]
    negative, positive = (
        [[context, extra]] for context, extra in zip(call.context.chunk(2), more, strict=True)
    )
    settings: dict[str, Any] = {}
    if family == "sd1" and not face:
        settings = {
            "attn_mask": torch.linspace(0, 1, 16 * 24).reshape(1, 16, 24),
            "block_weights": Weights(blocks=(parse_blocks("0: 0.5, 3: 0.7"),)),
            "kv_scaling": "K+V",
            "batch_mode": "one per picture, loop",
        }
    noise = comfy.sample.prepare_noise(torch.zeros(1, 4, 8, 8), 1)
    return adapter_bed(
        root,
        f"{kind}.safetensors",
        tensors,
        features,
        Sampled(twin.model, noise, positive, negative),
        **settings,
    )


def transformer_bed(root: Path, make: Callable[[], Pair], layout: Layout) -> Bed:
    """A transformer."""
    pair, call = make(), transformers.make_call()
    more = {"guidance": transformers.GUIDANCE} if pair.family == "flux" else {}
    negative, positive = (
        [[half.context, {"pooled_output": half.pooled, **more}]]
        for half in (call.negative(), call.positive())
    )
    return adapter_bed(
        root,
        "adapter.safetensors",
        layout.tensors(pair, 1),
        transformer_cases.features(layout, Given(references=2, seed=3)),
        Sampled(pair.model, call.negative().x, positive, negative),
    )
