"""The checkpoint in ComfyUI, loaded as its own loaders do it, and its tensors for diffusers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import comfy.model_detection
import comfy.sd
import comfy.utils
import torch
from check.problem import CheckError
from pack.ip_models.adapter.published import base_name, family_of
from pack.ip_models.adapter.spec import Family
from pack.ip_models.layer import Layer
from pack.nodes.host.model.backbones.layers import attention_layers
from pack.nodes.host.model.search import shape_of
from torch import Tensor

T = TypeVar("T")
PREFIX = "model.diffusion_model."
_ENOUGH = 5  # as the host tells a whole checkpoint from a file of the diffusion model alone
_VAE = "first_stage_model."


@dataclass
class Base:
    """A checkpoint in the host.

    Attributes:
        model: None once it was painted with, so that diffusers' has room.
        clip, vae: None where the file has none.
        family: whose adapters it takes.
        name: what such a model is called.
        layers: for image prompts.
        config: sizes of the diffusion model in the host's words.
        latent: how the host keeps latents of such a model.
        stored, computed: precision of its weights, and of its work with them.
    """

    model: Any
    clip: Any
    vae: Any
    family: Family
    name: str
    layers: tuple[Layer, ...]
    config: dict[str, Any]
    latent: Any
    stored: torch.dtype
    computed: torch.dtype


def read_tensors(path: Path) -> tuple[dict[str, Tensor], Any]:
    """All tensors of a file by the host's reader, and its metadata.

    Raises:
        CheckError: it is no file of weights.
    """
    try:
        return comfy.utils.load_torch_file(str(path), safe_load=True, return_metadata=True)
    except Exception as error:  # of each reader's own
        raise CheckError(
            f"{path.name} cannot be read ({type(error).__name__}): it is damaged or no file of "
            "weights; fetch it again"
        ) from error


def load_base(path: Path, dtype: torch.dtype | None, whole: bool = True) -> Base:
    """Load a checkpoint, or a file with the diffusion model alone.

    Args:
        dtype: of the weights, None for what the host chooses.
        whole: with text encoder and VAE, where the file has them.

    Raises:
        CheckError: ComfyUI does not know such a model.
        IPAdapterError: the model has no layers for image prompts.
    """
    tensors, metadata = read_tensors(path)
    options = {} if dtype is None else {"dtype": dtype}
    has_vae = any(key.startswith(_VAE) for key in tensors)
    clip = vae = None
    try:
        if has_prefix(tensors):
            model, clip, vae, _ = comfy.sd.load_state_dict_guess_config(
                tensors,
                output_vae=whole and has_vae,
                output_clip=whole,
                model_options=options,
                metadata=metadata,
            )
        else:
            model = comfy.sd.load_diffusion_model_state_dict(
                tensors, model_options=options, metadata=metadata
            )
    except (RuntimeError, KeyError, TypeError, AttributeError) as error:
        raise unknown(path) from error
    if model is None:
        raise unknown(path)
    layers = tuple(attention_layers(model))
    family = family_of(shape_of(layers))
    if family is None:
        raise unknown(path)
    network = model.model
    stored = network.get_dtype()
    return Base(
        model,
        clip,
        vae,
        family,
        base_name(shape_of(layers)),
        layers,
        network.model_config.unet_config,
        network.latent_format,
        stored,
        network.manual_cast_dtype or stored,
    )


def has_prefix(tensors: Iterable[str]) -> bool:
    """Whether a file is of a whole checkpoint, by the names in it."""
    return sum(key.startswith(PREFIX) for key in tensors) > _ENOUGH


def diffusion_tensors(tensors: Mapping[str, T]) -> dict[str, T]:
    """Those of the diffusion model, under the names of the original code."""
    if not has_prefix(tensors):
        return dict(tensors)
    return {key[len(PREFIX) :]: t for key, t in tensors.items() if key.startswith(PREFIX)}


def unknown(path: Path) -> CheckError:
    """The refusal of what is no base model, or none that adapters were made for."""
    return CheckError(
        f"{path.name} is no model that ComfyUI knows and adapters were made for: "
        "an SD1.5, SDXL, Flux.1 or SD3.5 Large checkpoint is needed"
    )
