"""An image encoder on disk, a file or a folder, as CLIP_VISION: loaded once, freed by the host."""

from __future__ import annotations

import os
from typing import Any
from weakref import WeakValueDictionary

import comfy.clip_vision
import torch

from ....ip_models.adapter.encoders import SIGLIP_HEAD, EncoderWidths, encoder_widths
from ....ip_models.adapter.whole_encoder import incomplete, require_whole
from ....ip_models.errors import BrokenFile, is_out_of_memory
from ..files import checkpoint, folders
from ..progress import Progress
from . import folder
from .siglip import add_head, is_siglip

_encoders: WeakValueDictionary[tuple[Any, ...], Any] = WeakValueDictionary()


def load_encoder(path: str) -> Any:
    """Load an image encoder as CLIP_VISION, or hand out the one that is loaded already.

    A file is read by ComfyUI, which leaves SigLIP's pooling head to us, and a Hugging Face folder
    through transformers; so is the file of such a folder whose size ComfyUI does not know.

    Raises:
        BrokenFile: no image encoder can be made of the file or folder.
    """
    is_folder = os.path.isdir(path)
    key = folder.identity(path) if is_folder else checkpoint.identity(path)
    encoder = _encoders.get(key)
    if encoder is None:
        encoder = folder.load(path) if is_folder else _load_encoder(path)
        _encoders[key] = encoder
    return encoder


def _load_encoder(path: str) -> Any:
    read_encoder(path)
    progress = Progress(2)
    tensors = dict(checkpoint.read_tensors(path))
    names = set(tensors)
    progress.step()
    # OpenCLIP's own layout, as ComfyUI's loader tells it apart.
    foreign = "visual.transformer.resblocks.0.attn.in_proj_weight" in tensors
    prefix = "visual." if foreign else ""
    try:
        encoder = comfy.clip_vision.load_clipvision_from_sd(tensors, prefix, foreign)
        if is_siglip(encoder) and f"{SIGLIP_HEAD}.probe" in tensors:
            add_head(encoder, tensors)
    except (RuntimeError, UnboundLocalError, KeyError) as error:
        if is_out_of_memory(error):
            raise
        raise _no_encoder(path) from error
    home = os.path.dirname(path)
    if encoder is None and os.path.isfile(os.path.join(home, folders.MODEL_CONFIG)):
        return load_encoder(home)  # of a size the host has no table of, and the folder has
    if encoder is None:
        raise _no_encoder(path)
    if not foreign:
        _require_filled(path, encoder.model, names)
    progress.step()
    return encoder


def read_encoder(path: str) -> EncoderWidths:
    """Feature widths of an image encoder's file or folder, from headers alone.

    Raises:
        BrokenFile: it is no CLIP image encoder, or not a whole one.
    """
    widths = widths_in(path)
    if widths is None:
        raise _no_encoder(path)
    return widths


def widths_in(path: str) -> EncoderWidths | None:
    """The same, None for a file or folder of something else.

    Raises:
        BrokenFile: it is no whole encoder, or no whole file.
    """
    is_folder = os.path.isdir(path)
    shapes = folder.read_shapes(path) if is_folder else checkpoint.read_shapes(path)
    widths = encoder_widths(shapes)
    if widths is not None and not is_folder:  # a folder says how many layers it has, and more
        require_whole(shapes, os.path.basename(path))
    return widths


def _require_filled(path: str, model: torch.nn.Module, names: set[str]) -> None:
    """Refuse a network of the host's with weights that no tensor of the file was for."""
    needed = [name for name, _ in model.named_parameters()]
    if missing := [name for name in needed if name not in names]:
        raise incomplete(os.path.basename(path), missing[0], len(missing), len(needed))


def _no_encoder(path: str) -> BrokenFile:
    return BrokenFile(
        f"{os.path.basename(path)} is no CLIP image encoder",
        "a ViT-L, ViT-H, ViT-bigG or SigLIP that ComfyUI can build is needed",
        f"Choose an image encoder from models/{folders.ENCODERS}",
    )
