"""Which base model a checkpoint file holds, from its header."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import comfy.model_detection
import torch

from ....ip_models import limits
from ....ip_models.adapter.published import is_known
from ....ip_models.adapter.spec import UNET_FAMILIES
from ....ip_models.layer import Layer
from ....ip_models.transformer.layers import DOUBLE, JOINT, SINGLE, layers_of_counts
from ....ip_models.unet.address import LayerAddress, parse_address
from ....ip_models.unet.layers import Facts, layers_of_names
from ..files.contents import tables
from ..files.header import holds_safetensors
from ..files.opened import identity, opened
from ..model.search import shape_of
from .gguf import gguf_shapes

_SUFFIXES = (".safetensors", ".sft", ".gguf")
_PREFIXES = ("model.diffusion_model.", "", "unet.")
_KEY = ".to_k.weight"
_DIFFUSERS = re.compile(
    r"^(down_blocks|up_blocks|mid_block)\.(?:([0-9]{1,3})\.)?attentions\.([0-9]{1,3})"
    r"\.transformer_blocks\.([0-9]{1,3})\.attn2$"
)
_SAMPLER = re.compile(r"^(down|up)_blocks\.([0-9]{1,3})\.(?:down|up)samplers\.0\.conv$")
_NUMBER = re.compile(r"\.([0-9]{1,9})(?=\.)")
_STAGES = {"down_blocks": "input", "up_blocks": "output", "mid_block": "middle"}
# As the host calls the networks that are built as Flux is.
_CHROMA = ("chroma", "chroma_radiance")
_FLUX = ("flux", "flux2", *_CHROMA)
# What the host's own detection stumbles over in files it does not know.
_FOREIGN = (KeyError, IndexError, TypeError, ValueError, AttributeError, RuntimeError)


@dataclass(frozen=True)
class Base:
    """A base model.

    Attributes:
        layers: those for image prompts in the order of adapter files, empty where there are none.
        name: what the host calls a model without them, e.g. "WAN21_T2V", or one that is called
            otherwise than the family whose adapters it takes.
    """

    layers: tuple[Layer, ...]
    name: str = ""


def read_base(path: str) -> Base | None:
    """The base model in a file; None for what a header does not show.

    Raises:
        BrokenFile: the file is damaged.
    """
    if not path.lower().endswith(_SUFFIXES):
        return None
    return _read(*identity(path))


@lru_cache(maxsize=4096)
def _read(path: str, mtime_ns: int, size: int) -> Base | None:
    """What is found is kept and the header is not, which is long in whole checkpoints."""
    if path.lower().endswith(_SUFFIXES[-1]):
        shapes: Mapping[str, Any] = gguf_shapes(path)
    else:
        with opened(path) as file:
            if not holds_safetensors(file):
                return None
            shapes = tables(file)
    for prefix in _PREFIXES:
        found = dict(_layers(shapes, prefix))
        if found:
            names = _module_names(shapes, prefix)
            return _unet(found, names, f"{prefix}encoder_hid_proj.weight" in shapes)
    return _transformer(shapes)


def _layers(shapes: Mapping[str, Any], prefix: str) -> Iterator[tuple[LayerAddress, Facts]]:
    for key, value in shapes.items():
        if not key.startswith(prefix) or not key.endswith(_KEY) or len(value.shape) != 2:
            continue
        name = key[len(prefix) : -len(_KEY)]
        address = parse_address(name) or _parse_diffusers(name)
        if address is not None:
            # Weights packed by quantisation have other shapes than the layers they stand for.
            packed = not getattr(value.dtype, "is_floating_point", False)
            yield address, Facts(0, 0) if packed else Facts(*value.shape)


def _parse_diffusers(name: str) -> LayerAddress | None:
    match = _DIFFUSERS.match(name)
    if match is None:
        return None
    block, level = _STAGES[match[1]], int(match[2] or 0)
    # ComfyUI's blocks come in threes; the one before the first level is the convolution.
    place = 3 * level + int(match[3]) + (block == "input")
    return LayerAddress(block, 0 if block == "middle" else place, int(match[4]))


def _module_names(shapes: Iterable[str], prefix: str) -> Iterator[str]:
    """ComfyUI's names of the modules that have weights, those that halve and enlarge too."""
    for key in shapes:
        if not key.startswith(prefix) or not key.endswith(".weight"):
            continue
        name = key[len(prefix) : -len(".weight")]
        match = _SAMPLER.match(name)
        if match is None:
            yield name
        else:
            number = 3 * int(match[2])
            down = f"input_blocks.{number + 3}.0.op"
            yield down if match[1] == "down" else f"output_blocks.{number + 2}.1.conv"


def _unet(found: dict[LayerAddress, Facts], names: Iterable[str], projected: bool) -> Base | None:
    contexts = {facts.context for facts in found.values()}
    if len(contexts) > 1:
        return None
    layers = layers_of_names(found, names, projected)
    if contexts.isdisjoint(UNET_FAMILIES) and not is_known(shape_of(layers)):
        return None
    return Base(layers)


def _transformer(shapes: Mapping[str, Any]) -> Base | None:
    """A model that is no UNet, None for what the host does not know either."""
    prefix = _PREFIXES[0] if any(key.startswith(_PREFIXES[0]) for key in shapes) else ""
    # The host counts the blocks of a name by looking through all tensors for each.
    numbers = (int(number) for key in shapes for number in _NUMBER.findall(key))
    if len(shapes) > limits.BASE_TENSORS or max(numbers, default=0) > limits.BLOCKS:
        return None
    try:
        like = {key: torch.empty(value.shape, device="meta") for key, value in shapes.items()}
        config = comfy.model_detection.detect_unet_config(like, prefix)
        if not config and not prefix:  # as diffusers names the tensors of transformers
            like = comfy.model_detection.convert_diffusers_mmdit(like) or {}
            config = comfy.model_detection.detect_unet_config(like, "")
        if not config:
            return None
        if layers := _blocks(like, prefix, config):
            return Base(layers, "Chroma" if config.get("image_model") in _CHROMA else "")
        if not config.get("image_model"):
            return None
        known = comfy.model_detection.model_config_from_unet_config(config)
    except _FOREIGN:
        return None
    return None if known is None else Base((), type(known).__name__)


def _blocks(
    shapes: Mapping[str, torch.Tensor], prefix: str, config: Mapping[str, Any]
) -> tuple[Layer, ...]:
    """The layers of Flux, Chroma and SD3.5, empty for others."""
    if config.get("image_model") in _FLUX:
        counts = ((DOUBLE, config["depth"]), (SINGLE, config["depth_single_blocks"]))
        # Weights packed by quantisation have other shapes, and what is added to them has not.
        bias = shapes.get(f"{prefix}img_in.bias")
        return layers_of_counts(counts, config["hidden_size"] if bias is None else len(bias))
    start = f"{prefix}joint_blocks."
    count = len({int(key[len(start) :].split(".")[0]) for key in shapes if key.startswith(start)})
    if not count:
        return ()
    return layers_of_counts(((JOINT, count),), shapes[f"{prefix}x_embedder.proj.weight"].shape[0])
