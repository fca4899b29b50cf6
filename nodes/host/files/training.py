"""What a training leaves in a folder beside the weights, and which file to choose instead."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

import folder_paths

from ....ip_models import limits
from ....ip_models.errors import IPAdapterError, UnknownAdapter
from . import checkpoint
from .folders import ADAPTERS, homes

# Names that accelerate, transformers, DeepSpeed and Lightning give; most of these files hold
# objects, which are not opened here.
_STATES = (
    (r"(optimizer|optim)(_[0-9]+)?\.(bin|pt)", "the state of an optimizer"),
    (r"scheduler(_[0-9]+)?\.(bin|pt)", "the state of a scheduler"),
    (r"scaler\.pt", "the state of a gradient scaler"),
    (r"(sampler|dl_state_dict)(_[0-9]+)?\.bin", "the state of a data loader"),
    (r"(random_states|rng_state)(_[0-9]+)?\.(pkl|pth)", "the state of random numbers"),
    (r"custom_checkpoint_[0-9]+\.pkl", "an object of a training script"),
    (r"training_args\.bin", "the settings of a training"),
)
_STATE = tuple((re.compile(pattern), what) for pattern, what in _STATES)
_DEEPSPEED = re.compile(r"(.*_)?mp_rank_[0-9]+_(model|optim)_states\.pt")
_JOIN_DEEPSPEED = "zero_to_fp32.py"
# In this order where a folder has several.
_USUAL = ("ip_adapter", "ip-adapter", "model", "pytorch_model")
_FSDP = "pytorch_model_fsdp_"


def explained(
    error: IPAdapterError, path: str, recognise: Callable[[str], object]
) -> IPAdapterError:
    """The refusal of a file, or a better one where the file is a part of a training's state.

    Args:
        recognise: refuses whatever is no adapter.
    """
    name = os.path.basename(path)
    what = _state(path, name)
    if what is None:
        return error
    return UnknownAdapter(
        f"{name} holds {what}", "the weights of the training are needed", _advice(path, recognise)
    )


def _state(path: str, name: str) -> str | None:
    """What a file is a state of, None for any other file."""
    if _DEEPSPEED.fullmatch(name):
        return "one process's share of a DeepSpeed checkpoint"
    for pattern, what in _STATE:
        if pattern.fullmatch(name):
            return what
    try:
        shapes = checkpoint.read_shapes(path)
    except (IPAdapterError, OSError):
        return None
    return _told(shapes)


def _told(shapes: Mapping[str, Any]) -> str | None:
    if "param_groups" in shapes and "state" in shapes:
        return "the state of an optimizer"
    if "shadow_params" in shapes:
        return "averaged weights (EMA) without their names"
    return None


def _advice(path: str, recognise: Callable[[str], object]) -> str:
    folder, name = os.path.split(path)
    # DeepSpeed puts the shares of the processes one level further down.
    places = (folder, os.path.dirname(folder)) if _DEEPSPEED.fullmatch(name) else (folder,)
    for place in places:
        if found := _found(place, recognise):
            return f"Choose {found}, which lies beside it"
    for place in places:
        names, where = _entries(place), os.path.basename(place)
        if _JOIN_DEEPSPEED in names:
            # Older versions write a file of this name, newer ones a folder.
            command = f"python {_JOIN_DEEPSPEED} . pytorch_model.bin"
            return f"Run `{command}` in {where} and choose what it writes"
        if shards := next((name for name in names if name.startswith(_FSDP)), None):
            command = f"accelerate merge-weights {shards} ."
            return f"Run `{command}` in {where} and choose what it writes"
    return "Choose the file with the weights, which accelerate calls model.safetensors"


def _found(folder: str, recognise: Callable[[str], object]) -> str | None:
    """An adapter in the folder of a training, as the loader lists it."""
    if any(os.path.realpath(folder) == os.path.realpath(home) for home in homes(ADAPTERS)):
        return None  # where all adapters are, nothing says which belongs to the training
    candidates = islice(_weights(folder), limits.SIBLINGS)
    path = next((one for one in candidates if _is_adapter(one, recognise)), None)
    return path and f"{os.path.basename(folder)}/{os.path.basename(path)}"


def _is_adapter(path: str, recognise: Callable[[str], object]) -> bool:
    try:
        recognise(path)
    except (IPAdapterError, OSError):
        return False
    return True


def _weights(folder: str) -> Iterator[str]:
    """Files that may hold weights, the likely ones first."""
    endings = folder_paths.supported_pt_extensions
    names = [name for name in _entries(folder) if os.path.splitext(name)[1].lower() in endings]

    def order(name: str) -> tuple[bool, bool, str]:
        stem = os.path.splitext(name)[0]
        return stem not in _USUAL, not name.endswith(".safetensors"), name

    for name in sorted(names, key=order):
        if not any(pattern.fullmatch(name) for pattern in (_DEEPSPEED, *dict(_STATE))):
            yield os.path.join(folder, name)


def _entries(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []
