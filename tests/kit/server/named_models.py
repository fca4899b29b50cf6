"""Random models under the names that clients and saved workflows ask for.

Tiny but for the projection of an adapter, whose widths not every pack reads from the file.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import torch
from kit.models import checkpoints, encoder_shapes, face_packs
from kit.models.sparse_files import write_sparse
from kit.server.example_models import WIDTHS, WIDTHS_SDXL, skin_detector
from kit.server.tiny_nodes.placeholders import BASE
from safetensors.torch import save_file

LOUDER = 3
TEXT, TEXT_SDXL = 768, 2048
RESAMPLER_SDXL = 1280
# Values of a layer's row, and of the pooled vector, by the encoder's name.
ENCODERS = {"ViT-H": (1280, 1024), "ViT-bigG": (1664, 1280), "ViT-L 336": (1024, 768)}
FOLDERS: dict[str, Callable[[Path], None]] = {}


def write(models: Path, names: dict[str, list[str]]) -> None:
    """A file for each name, by the folder of ComfyUI's `models` it is in."""
    for folder, files in names.items():
        for name in files:
            path = models / folder / name
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                FOLDERS[folder](path)


def write_faces(models: Path, pack: str = "buffalo_l") -> None:
    """Face models under the names in a published pack; they find the drawn people."""
    folder = models / "insightface" / "models" / pack
    folder.mkdir(parents=True, exist_ok=True)
    skin_detector(folder / "det_10g.onnx")
    face_packs.small_recogniser(folder / "w600k_r50.onnx")


def is_sdxl(name: str) -> bool:
    return re.search("xl|noob|illu|kolors|pony", name.lower()) is not None


def adapter_kind(name: str) -> str:
    """As `tiny_adapter` wants it, from what published files are called."""
    low = name.lower()
    if "faceid" not in low:
        full = "full-face" in low or "full_face" in low
        return "full face" if full else "plus" if "plus" in low else "standard"
    if "portrait" in low:
        return "FaceID portrait unnormed" if "unnorm" in low else "FaceID portrait"
    return "FaceID plus" if "plus" in low else "FaceID"


def encoder_of(name: str) -> str:
    """Which encoder an adapter was trained with, or an encoder's file is."""
    low = name.lower()
    if "336" in low or "kolors" in low:
        return "ViT-L 336"
    big = "vit-g" in low or "bigg" in low or "vision_g" in low or is_sdxl(name)
    return "ViT-bigG" if big and not re.search("vit.?h", low) else "ViT-H"


def _adapter(path: Path) -> None:
    kind, sdxl = adapter_kind(path.name), is_sdxl(path.name)
    low = path.name.lower()
    of_faces = "faceid" in low and "kolors" not in low
    hidden, pooled = ENCODERS["ViT-H" if of_faces else encoder_of(path.name)]
    text = TEXT_SDXL if sdxl else TEXT
    options: dict[str, int] = {}
    if kind in ("plus", "FaceID portrait unnormed") and sdxl:
        options = {"dim": RESAMPLER_SDXL, "heads": RESAMPLER_SDXL // 64}
    tokens = 4 if kind in ("standard", "FaceID", "FaceID plus") else 16
    width = pooled if kind == "standard" else hidden
    seed = sum(path.name.encode())
    widths = WIDTHS_SDXL if sdxl else WIDTHS
    tensors = checkpoints.tiny_adapter(kind, widths, text, width, tokens, seed=seed, **options)
    louder = {k: (LOUDER * v if "_ip.weight" in k else v).half() for k, v in tensors.items()}
    if kind in ("FaceID", "FaceID plus"):
        shapes = checkpoints.lora_shapes(widths, text, rank=8)
        louder |= checkpoints.fill(shapes, dtype=torch.half, seed=seed, scale=0.3)
    checkpoints.write(path, louder, "nested" if path.suffix == ".bin" else "flat")


def _encoder(path: Path) -> None:
    hidden, pooled = ENCODERS[encoder_of(path.name)]
    shapes = encoder_shapes.hollow(hidden, pooled)
    if path.suffix == ".safetensors":
        write_sparse(path, shapes)
    else:
        torch.save({key: torch.zeros(shape).half() for key, shape in shapes.items()}, path)


def _checkpoint(path: Path) -> None:
    write_sparse(path, {BASE + ("sdxl" if is_sdxl(path.name) else "sd1"): (1,)})


def _vae(path: Path) -> None:
    from kit.server.tiny_nodes.models import tiny_vae

    state = tiny_vae().first_stage_model.state_dict()
    save_file({key: value.clone() for key, value in state.items()}, path)


def _lora(path: Path) -> None:
    """For the self-attention of one block, as LoRAs of FaceID are published."""
    sdxl = is_sdxl(path.name)
    width = WIDTHS_SDXL[0] if sdxl else WIDTHS[0]
    generator = torch.Generator().manual_seed(sum(path.name.encode()))
    stem = f"lora_unet_down_blocks_{int(sdxl)}_attentions_0_transformer_blocks_0_attn1_to_"
    made: dict[str, torch.Tensor] = {}
    for part in "qkv":
        for name, shape in (("down", (4, width)), ("up", (width, 4))):
            made[f"{stem}{part}.lora_{name}.weight"] = torch.randn(shape, generator=generator)
        made[f"{stem}{part}.alpha"] = torch.tensor(4.0)
    save_file(made, path)


FOLDERS |= {
    "ipadapter": _adapter,
    "clip_vision": _encoder,
    "checkpoints": _checkpoint,
    "vae": _vae,
    "loras": _lora,
}
