"""Fits a workflow that names published files to the models that are there instead."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]
ANY = ""
# Where the values of a node have width and height, the number of steps and that of frames.
SIZES = {"EmptyLatentImage": (0, 1), "EmptySD3LatentImage": (0, 1), "ImageScale": (1, 2)}
STEPS, CFG = {"KSampler": 2}, {"KSampler": 3}
FRAMES = {"ImageFromBatch": 1}
TOY_ADAPTER, TOY_PLUS = "toy_standard.safetensors", "toy_plus.safetensors"
TOY_SIZE, TOY_STEPS, TOY_CFG = 128, 16, 1.0
# Latents of a whole number of the UNet's coarsest cells.
PIXELS = 64


@dataclass(frozen=True)
class Loader:
    """A node that takes the place of a loader, with the same outputs, and its widget values."""

    node: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class Models:
    """What a workflow is run with.

    Attributes:
        loaders: by type of loader, then by the file that it names, `ANY` for every other one; a
            loader that is not listed stays as it is and has to find its file.
        size: shorter side of the pictures in pixels; None leaves them as they are.
        steps, cfg: of each sampler; None leaves them as they are.
        frames: that are taken of a video; None leaves them as they are.
    """

    loaders: Mapping[str, Mapping[str, Loader]]
    size: int | None = None
    steps: int | None = None
    cfg: float | None = None
    frames: int | None = None


def real_models(checkpoint: str, adapter: str, encoder: str, size: int) -> Models:
    """Files that were found, whatever they are called."""
    files = {
        "CheckpointLoaderSimple": checkpoint,
        "CLIPVisionLoader": encoder,
        "IPALoadAdapter": adapter,
    }
    return Models({kind: {ANY: Loader(kind, (file,))} for kind, file in files.items()}, size)


def fitted(workflow: Json, models: Models) -> Json:
    """The workflow with the models that are there, of their size; its own values elsewhere."""
    workflow = copy.deepcopy(workflow)
    for node in workflow["nodes"]:
        kind, values = node["type"], node.get("widgets_values") or []
        # The same values once more, by name; they would be the old ones.
        node.pop("widgets_values_named", None)
        if kind in SIZES and models.size is not None:
            _scale(values, SIZES[kind], models.size)
        for places, number in (
            (STEPS, models.steps),
            (CFG, models.cfg),
            (FRAMES, models.frames),
        ):
            if kind in places and number is not None:
                values[places[kind]] = number
        if loader := _stand_in(models, kind, values):
            # What the published file's name says is lost, so is where to get it.
            node["properties"].pop("models", None)
            node["type"], node["widgets_values"] = loader.node, list(loader.values)
            _rename_inputs(node)
    return workflow


def _scale(values: list[Any], places: tuple[int, int], size: int) -> None:
    scale = size / min(values[place] for place in places)
    for place in places:
        values[place] = max(PIXELS, round(values[place] * scale / PIXELS) * PIXELS)


def _stand_in(models: Models, kind: str, values: list[Any]) -> Loader | None:
    files = models.loaders.get(kind)
    return files.get(values[0], files.get(ANY)) if files else None


def _rename_inputs(node: Json) -> None:
    """Sockets of the loader's own widgets; those of the stand-in may be called otherwise."""
    node["inputs"] = [slot for slot in node.get("inputs") or [] if slot.get("link") is not None]
