"""Tiny random files under the names of the published ones, for the example workflows to load."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy
import torch
from kit.models import checkpoints, encoder_shapes, face_packs, transformer_adapters
from kit.models.sparse_files import write_sparse
from kit.models.transformer_sizes import Sizes
from kit.pages.example_graphs import (
    ANTELOPE,
    CANNY,
    COMPOSITION,
    FACE,
    FACE_PACK,
    FACE_PLUS,
    FLUX,
    FLUX_TEXT,
    FLUX_UNION,
    FLUX_VAE,
    IDENTITYNET,
    INSTANTID,
    INSTANTX_FLUX,
    INSTANTX_SD35,
    LCM,
    PLUS,
    PLUS_FACE,
    PLUS_SDXL,
    SD15,
    SD35,
    SDXL,
    SIGLIP,
    STANDARD,
    STANDARD_SDXL,
    VIT_H,
    VIT_L,
    XLABS_V2,
    File,
)
from kit.server.tiny_nodes import SIGLIP as RANDOM_SIGLIP
from kit.server.tiny_nodes import VIT_L as RANDOM_VIT_L
from safetensors.torch import save_file
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

# As in tests/kit/server/tiny_nodes/transformers.py, which only a server reads.
FLUX_BLOCKS, SD3_BLOCKS, SD3_HEADS = (3, 2), 3, 3
PUBLISHED_TO_TINY = 10
WIDTHS = tuple(width // PUBLISHED_TO_TINY for width in checkpoints.HIDDEN_SD1)
WIDTHS_SDXL = tuple(width // PUBLISHED_TO_TINY for width in checkpoints.HIDDEN_SDXL)
RESAMPLER = {"dim": 128, "heads": 2, "depth": 1}
FACE_SIDE, FACE_STRIDE = 256, 32
# What a loader's stand-in takes the place of; the real one only has to be listed and to look real.
PLACEHOLDERS: dict[File, dict[str, tuple[int, ...]]] = {
    SD15: {},
    SDXL: {},
    CANNY: {},
    IDENTITYNET: {},
    FLUX: {},
    FLUX_TEXT[0]: {},
    FLUX_TEXT[1]: {},
    FLUX_VAE: {},
    FLUX_UNION: {},
    SD35: {},
    VIT_L: {},
    SIGLIP: {},
    VIT_H: encoder_shapes.hollow(1280, 1024),
}


def write_models(folder: Path) -> None:
    """Every file that an example names, in the folders of ComfyUI's `models`."""
    _write_adapters(folder)
    for file, shapes in PLACEHOLDERS.items():
        write_sparse(_path(folder, file), shapes)
    save_file(_lora(), _path(folder, LCM))
    packs = {FACE_PACK: ("det_10g", "w600k_r50"), ANTELOPE: ("scrfd_10g_bnkps", "glintr100")}
    for file, (detector, recogniser) in packs.items():
        skin_detector(folder / file.directory / f"{detector}.onnx")
        face_packs.small_recogniser(folder / file.directory / f"{recogniser}.onnx")


def write_encoders(folder: Path) -> None:
    """Image encoders that run, for nodes that find theirs, in the place of files with a name."""
    same = {"intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 16}
    same |= {"image_size": 224, "patch_size": 14}
    config = CLIPVisionConfig(hidden_size=1280, projection_dim=1024, **same)
    path = _path(folder, VIT_H)
    path.unlink(missing_ok=True)
    CLIPVisionModelWithProjection(config).save_pretrained(path.with_suffix(""))


# The other encoders cannot be made small: these find theirs by a node of the tests.
BY_HAND = {
    "flux_style": (XLABS_V2, RANDOM_VIT_L),
    "flux_controlnet": (XLABS_V2, RANDOM_VIT_L),
    "flux_two_references": (INSTANTX_FLUX, RANDOM_SIGLIP),
    "sd35": (INSTANTX_SD35, RANDOM_SIGLIP),
}


def by_hand(name: str, prompt: dict[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """The prompt with the nodes that Simple stands for, where no small encoder is found."""
    made = copy.deepcopy(prompt)
    if name not in BY_HAND:
        return made
    adapter, encoder = BY_HAND[name]
    made["adapter"] = _node(known, "IPALoadAdapter", adapter_file=adapter.name)
    made["encoder"] = _node(known, "IPADemoCLIPVision", clip_name=encoder)
    for key, node in prompt.items():
        if node["class_type"] == "IPASimple":
            inputs = made[key]["inputs"]
            preset, image = inputs.pop("preset"), inputs.pop("image")
            made[f"weights {key}"] = _node(known, "IPABlockWeights", preset=preset)
            wires = {"clip_vision": ["encoder", 0], "image": image}
            made[f"embeds {key}"] = _node(known, "IPAEncodeImage", **wires)
            parts = {
                "adapter": "adapter",
                "embeds": f"embeds {key}",
                "block_weights": f"weights {key}",
            }
            inputs.pop("kind")
            inputs |= {part: [source, 0] for part, source in parts.items()}
            made[key] = _node(known, "IPAApply", **inputs)
    return made


def _node(known: Mapping[str, Any], kind: str, **inputs: Any) -> dict[str, Any]:
    required = known[kind]["input"].get("required", {})
    defaults = {
        name: options[0]["default"]
        for name, (_, *options) in required.items()
        if options and "default" in options[0]
    }
    return {"class_type": kind, "inputs": defaults | inputs}


def _path(folder: Path, file: File) -> Path:
    path = folder / file.directory / file.name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _write_adapters(folder: Path) -> None:
    plus = checkpoints.tiny_adapter("plus", WIDTHS, 768, 1280, 16, **RESAMPLER)
    for file in (PLUS, PLUS_FACE, COMPOSITION):
        checkpoints.write(_path(folder, file), plus, "flat")
    wide = checkpoints.tiny_adapter("plus", WIDTHS_SDXL, 2048, 1280, 16, **RESAMPLER)
    checkpoints.write(_path(folder, PLUS_SDXL), wide, "flat")
    for file, widths, text in ((STANDARD, WIDTHS, 768), (STANDARD_SDXL, WIDTHS_SDXL, 2048)):
        tensors = checkpoints.tiny_adapter("standard", widths, text, 1024, 4)
        checkpoints.write(_path(folder, file), tensors, "flat")
    face = checkpoints.tiny_adapter(
        "FaceID portrait unnormed", WIDTHS_SDXL, 2048, 1280, 16, **RESAMPLER
    )
    checkpoints.write(_path(folder, INSTANTID), face, "nested")
    flux, sd3 = Sizes("flux", 1, *FLUX_BLOCKS), Sizes("sd3", SD3_HEADS, SD3_BLOCKS, 0)
    layouts = {
        XLABS_V2: transformer_adapters.xlabs(flux, tokens=16),
        INSTANTX_FLUX: transformer_adapters.instantx(flux),
        INSTANTX_SD35: transformer_adapters.sd3(sd3),
    }
    for file, tensors in layouts.items():
        checkpoints.write(_path(folder, file), tensors, "flat" if file is XLABS_V2 else "nested")
    lora = checkpoints.fill(checkpoints.lora_shapes(WIDTHS, 768, rank=8), seed=4, scale=0.5)
    faces = {FACE: ("FaceID", {}), FACE_PLUS: ("FaceID plus", RESAMPLER | _text_wide())}
    for file, (kind, options) in faces.items():
        tensors = checkpoints.tiny_adapter(kind, WIDTHS, 768, 1280, 4, **options)
        checkpoints.write(_path(folder, file), tensors | lora, "nested")


def _text_wide() -> dict[str, int]:
    """The resampler of FaceID plus is as wide as the text."""
    return {"dim": 768, "heads": 12}


def _lora() -> dict[str, torch.Tensor]:
    """A LoRA as it is published for LCM, for the attention of the first block."""
    generator = torch.Generator().manual_seed(3)
    stem = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_"
    made: dict[str, torch.Tensor] = {}
    for part in "qkv":
        for name, shape in (("down", (4, WIDTHS[0])), ("up", (WIDTHS[0], 4))):
            made[f"{stem}{part}.lora_{name}.weight"] = torch.randn(shape, generator=generator)
        made[f"{stem}{part}.alpha"] = torch.tensor(4.0)
    return made


def skin_detector(path: Path) -> Path:
    """Fires on the skin of the drawn people, and on nothing else of them."""
    graph = face_packs.Graph(opset=13)
    for stride in face_packs.PATCHES:
        pooled = graph.add(
            "AveragePool", "input.1", kernel_shape=[stride, stride], strides=[stride, stride]
        )
        skin = numpy.array([[16, 0, -12]] * 2, "f4").reshape(2, 3, 1, 1)
        bias = numpy.full(2, -9 if stride == FACE_STRIDE else -99, "f4")
        score = graph.add(
            "Sigmoid", graph.add("Conv", pooled, graph.weight(skin), graph.weight(bias))
        )
        half = FACE_SIDE / 2 / stride
        points = ((face_packs.TEMPLATE - 56) / 56 * half).reshape(-1)
        for kind, columns, values in (("bbox", 8, [half] * 8), ("kps", 20, [*points, *points])):
            zero = graph.weight(numpy.zeros((columns, 3, 1, 1), "f4"))
            constant = graph.add("Conv", pooled, zero, graph.weight(numpy.array(values, "f4")))
            face_packs._head(graph, constant, columns // 2, False, f"{kind}_{stride}")
        face_packs._head(graph, score, 1, False, f"score_{stride}")
    sides: list[tuple[str, list[None | int]]] = [("input.1", [1, 3, None, None])]
    return graph.save(path, sides, face_packs._detector_outputs(False))
