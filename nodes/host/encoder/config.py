"""What the JSON files of a Hugging Face folder say about its image encoder."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass
from typing import Any, cast

import torch

from ....ip_models.errors import BrokenFile
from ..files import folders

_PREPROCESSOR = "preprocessor_config.json"
_SIGLIP, _CLIP = "siglip_vision_model", "clip_vision_model"
_WHOLE = {"clip": _CLIP, "siglip": _SIGLIP}  # with the text's half, which is left out
_CLIP_COLOURS = ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711])
_NEUTRAL = ([0.0] * 3, [1.0] * 3)
_HALVES = ([0.5] * 3, [0.5] * 3)
_SIZES = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "image_size",
    "patch_size",
)


@dataclass(frozen=True)
class EncoderConfig:
    """How to build an encoder and what to show it.

    Attributes:
        folder: for messages.
        model_type: clip_vision_model or siglip_vision_model.
        vision: transformers' configuration of the picture's half.
        image_mean, image_std: of the pixels it was trained with.
    """

    folder: str
    model_type: str
    vision: Any
    image_mean: list[float]
    image_std: list[float]

    @property
    def image_size(self) -> int:
        """Side of the square it sees, in pixels."""
        return int(self.vision.image_size)

    def build(self, with_head: bool) -> torch.nn.Module:
        """The network on torch's current device, without the projection.

        Raises:
            BrokenFile: transformers cannot build it.
        """
        from transformers import CLIPVisionModel, SiglipVisionModel  # takes seconds

        self.vision.vision_use_head = with_head
        network = SiglipVisionModel if self.model_type == _SIGLIP else CLIPVisionModel
        try:
            built = cast("Any", network(self.vision))
        except (ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
            raise _unusable(self.folder, f"config.json cannot be built: {_line(error)}") from error
        return getattr(built, "vision_model", built)  # before transformers 5 one level down


def read_config(path: str) -> EncoderConfig:
    """Read config.json and, where there is one, preprocessor_config.json.

    Raises:
        BrokenFile: they are not those of a CLIP or SigLIP with one square input size.
    """
    folder = os.path.basename(path)
    settings = read_json(os.path.join(path, folders.MODEL_CONFIG))
    model_type = str(settings.get("model_type"))
    if model_type in _WHOLE:
        model_type, settings = _WHOLE[model_type], settings.get("vision_config")
    if model_type not in (_CLIP, _SIGLIP) or not isinstance(settings, dict):
        raise _unusable(folder, f"config.json is of type {model_type}")
    vision = _vision(folder, model_type, cast("dict[str, Any]", settings))
    mean, std = _colours(path, _HALVES if model_type == _SIGLIP else _CLIP_COLOURS)
    return EncoderConfig(folder, model_type, vision, mean, std)


def read_json(path: str) -> dict[str, Any]:
    """A JSON file that holds an object.

    Raises:
        BrokenFile: it is not there or holds something else.
    """
    folder, name = os.path.split(path)
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
    except (OSError, ValueError, RecursionError) as error:
        raise _unusable(os.path.basename(folder), f"{name} cannot be read") from error
    if not isinstance(content, dict):
        raise _unusable(os.path.basename(folder), f"{name} holds no settings")
    return cast("dict[str, Any]", content)


def _vision(folder: str, model_type: str, settings: dict[str, Any]) -> Any:
    from huggingface_hub import errors
    from transformers import CLIPVisionConfig, SiglipVisionConfig

    kind = SiglipVisionConfig if model_type == _SIGLIP else CLIPVisionConfig
    strict = getattr(errors, "StrictDataclassError", ValueError)  # not in older versions
    try:
        # Only the numbers count: no type of another class, no quantiser, no code by name.
        known = kind().to_dict().keys() - {"model_type"}
        own = {key: value for key, value in settings.items() if key in known}
        vision = kind(**own)
    except (ValueError, TypeError, AttributeError, strict) as error:
        raise _unusable(folder, f"config.json is refused: {_line(error)}") from error
    values = {name: getattr(vision, name) for name in _SIZES}
    odd = [name for name, value in values.items() if type(value) is not int or value < 1]
    if odd:
        raise _unusable(folder, f"config.json has {odd[0]} = {values[odd[0]]!r}")
    if values["num_hidden_layers"] < 2 or values["image_size"] < values["patch_size"]:
        raise _unusable(folder, "config.json has one layer or a picture smaller than a patch")
    size, heads, small = values["hidden_size"], values["num_attention_heads"], vision.layer_norm_eps
    if size % heads:
        what = f"config.json has num_attention_heads = {heads}, which does not divide {size}"
        raise _unusable(folder, what)
    if type(small) not in (int, float) or not 0 <= small < 1:
        raise _unusable(folder, f"config.json has layer_norm_eps = {small!r:.60}")
    if vision.num_channels != 3:
        raise _unusable(folder, f"config.json has num_channels = {vision.num_channels!r}")
    return vision


def _colours(path: str, usual: tuple[list[float], list[float]]) -> tuple[list[float], list[float]]:
    path = os.path.join(path, _PREPROCESSOR)
    if not os.path.isfile(path):
        return usual
    settings = read_json(path)
    if settings.get("do_normalize") is False:
        return _NEUTRAL
    mean, std = (
        _three_numbers(path, name, settings.get(name, default))
        for name, default in zip(("image_mean", "image_std"), usual, strict=True)
    )
    if min(std) <= 0:
        raise _unusable(os.path.basename(os.path.dirname(path)), f"{_PREPROCESSOR} has image_std 0")
    return mean, std


def _three_numbers(path: str, name: str, value: Any) -> list[float]:
    numbers = cast("list[Any]", value) if isinstance(value, list) else []
    finite = all(type(one) in (int, float) and math.isfinite(one) for one in numbers)
    if len(numbers) != 3 or not finite:
        folder = os.path.basename(os.path.dirname(path))
        raise _unusable(folder, f"{_PREPROCESSOR} has {name} = {value!r:.60}")
    return [float(one) for one in numbers]


def _line(error: Exception) -> str:
    """The last part of transformers' message, where it says what is wrong."""
    return " ".join(str(error).split()).rpartition("Error: ")[2][-120:].rstrip(".")


def _unusable(folder: str, what: str) -> BrokenFile:
    return BrokenFile(
        f"the folder {folder} is no image encoder that can be loaded ({what})",
        "the folder of a CLIP or of a SigLIP with a fixed input size is needed",
        f"Choose another from models/{folders.ENCODERS}",
    )
