"""What the JSON files of a Hugging Face folder say about its image encoder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor

from ....ip_models import json_text, limits
from ....ip_models.errors import BrokenFile, is_out_of_memory
from ....ip_models.pictures.prepare import CLIP_MEAN
from ..files import folders
from ..files.opened import opened

_SIGLIP, _CLIP = "siglip_vision_model", "clip_vision_model"
_WITH_TEXT = {"clip": _CLIP, "siglip": _SIGLIP}  # whose text model is left out
_PREPROCESSOR = "preprocessor_config.json"
_CLIP_COLOURS = (list(CLIP_MEAN), [0.26862954, 0.26130258, 0.27577711])
_NEUTRAL = ([0.0] * 3, [1.0] * 3)
_HALVES = ([0.5] * 3, [0.5] * 3)
_LARGEST = {  # many times what any encoder has; a network of more takes for ever to build
    "hidden_size": 10**5,
    "intermediate_size": 10**6,
    "num_hidden_layers": 10**3,
    "num_attention_heads": 10**5,
    "image_size": 10**4,
    "patch_size": 10**4,
}
_LEAST_STD, _FARTHEST = 1e-6, 1e6  # of pixels, which stay finite


@dataclass(frozen=True)
class EncoderConfig:
    """How to build an encoder and what to show it.

    Attributes:
        path: of the folder, for messages.
        model_type: clip_vision_model or siglip_vision_model.
        vision: transformers' configuration of the image model.
        image_mean, image_std: of the pixels it was trained with.
    """

    path: str
    model_type: str
    vision: Any
    image_mean: list[float]
    image_std: list[float]

    def build(self, with_head: bool, projection: Tensor | None) -> torch.nn.Module:
        """The network on torch's current device, with a projection as wide as this one.

        Raises:
            BrokenFile: transformers cannot build it.
        """
        from transformers import CLIPVisionModel, CLIPVisionModelWithProjection, SiglipVisionModel

        kind = SiglipVisionModel if self.model_type == _SIGLIP else CLIPVisionModel
        if kind is CLIPVisionModel and projection is not None:
            kind = CLIPVisionModelWithProjection
            self.vision.projection_dim = projection.numel() // self.vision.hidden_size
        self.vision.vision_use_head = with_head
        try:
            return cast("Any", kind)(self.vision)
        except (ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
            if is_out_of_memory(error):
                raise
            reason = " ".join(str(error).split())[-120:].rstrip(".")
            raise _unusable(self.path, f"config.json cannot be built: {reason}") from error


def read_config(path: str) -> EncoderConfig:
    """Read config.json and, where there is one, preprocessor_config.json.

    Raises:
        BrokenFile: they are not those of a CLIP or SigLIP with one square input size.
    """
    settings = read_json(os.path.join(path, folders.MODEL_CONFIG))
    model_type = str(settings.get("model_type"))
    if model_type in _WITH_TEXT:
        model_type, settings = _WITH_TEXT[model_type], settings.get("vision_config")
    if model_type not in (_CLIP, _SIGLIP) or not isinstance(settings, dict):
        raise _unusable(path, f"config.json is of type {model_type:.60}")
    vision = _vision(path, model_type, cast("dict[str, Any]", settings))
    mean, std = _colours(path, _HALVES if model_type == _SIGLIP else _CLIP_COLOURS)
    return EncoderConfig(path, model_type, vision, mean, std)


def read_json(path: str) -> dict[str, Any]:
    """A JSON file that holds an object.

    Raises:
        BrokenFile: it is not there or holds something else.
    """
    folder, name = os.path.split(path)
    try:
        with opened(path) as file:
            content = json_text.read(file.read(0, limits.HEADER_BYTES + 1).decode("utf-8"))
    except (OSError, ValueError) as error:  # IPAdapterError too
        raise _unusable(folder, f"{name} cannot be read") from error
    if not isinstance(content, dict):
        raise _unusable(folder, f"{name} holds no settings")
    return cast("dict[str, Any]", content)


def _unusable(path: str, what: str) -> BrokenFile:
    """What is raised for a folder whose settings no encoder can be built from."""
    return BrokenFile(
        f"the folder {os.path.basename(path)} is no image encoder that can be loaded ({what})",
        "the folder of a CLIP or of a SigLIP with a fixed input size is needed",
        f"Choose another from models/{folders.ENCODERS}",
    )


def _vision(path: str, model_type: str, settings: dict[str, Any]) -> Any:
    """Transformers' configuration of the sizes alone: no quantiser, no code by name, no output."""
    from transformers import CLIPVisionConfig, SiglipVisionConfig  # takes seconds

    kind = SiglipVisionConfig if model_type == _SIGLIP else CLIPVisionConfig
    names, usual = (*_LARGEST, "num_channels", "hidden_act", "layer_norm_eps"), kind()
    own: dict[str, Any] = {name: settings.get(name, getattr(usual, name)) for name in names}
    size, heads, epsilon = own["hidden_size"], own["num_attention_heads"], own["layer_norm_eps"]
    odd = [
        name
        for name, most in _LARGEST.items()
        if type(own[name]) is not int or not 0 < own[name] <= most
    ]
    if own["num_channels"] != 3:
        odd.append("num_channels")
    if type(own["hidden_act"]) is not str:
        odd.append("hidden_act")
    if type(epsilon) not in (int, float) or not 0 <= epsilon < 1:
        odd.append("layer_norm_eps")
    if odd:
        raise _unusable(path, f"config.json has {odd[0]} = {own[odd[0]]!r:.60}")
    if own["num_hidden_layers"] < 2 or own["image_size"] < own["patch_size"]:
        raise _unusable(path, "config.json has one layer or a picture smaller than a patch")
    if size % heads:
        what = f"config.json has num_attention_heads = {heads}, which does not divide {size}"
        raise _unusable(path, what)
    own["layer_norm_eps"] = float(epsilon)  # transformers 5 refuses an integer
    return kind(**own)


def _colours(path: str, usual: tuple[list[float], list[float]]) -> tuple[list[float], list[float]]:
    file = os.path.join(path, _PREPROCESSOR)
    settings = read_json(file) if os.path.isfile(file) else dict[str, Any]()
    if settings.get("do_normalize") is False:
        return _NEUTRAL
    mean, std = (
        _three_numbers(path, name, settings.get(name, default))
        for name, default in zip(("image_mean", "image_std"), usual, strict=True)
    )
    if min(std) < _LEAST_STD:
        raise _unusable(path, f"{_PREPROCESSOR} has image_std {min(std):g}")
    return mean, std


def _three_numbers(path: str, name: str, value: Any) -> list[float]:
    numbers = cast("list[Any]", value) if isinstance(value, list) else []
    known = all(type(one) in (int, float) and abs(one) <= _FARTHEST for one in numbers)
    if len(numbers) != 3 or not known:
        raise _unusable(path, f"{_PREPROCESSOR} has {name} = {value!r:.60}")
    return [float(one) for one in numbers]
