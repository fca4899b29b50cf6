"""Model folders as a user has them: the published files by name and shape, without their bytes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kit.models import encoder_shapes
from kit.models.checkpoints import HIDDEN_SD1, HIDDEN_SDXL, load_table
from kit.models.sparse_files import write_sparse

Shapes = Mapping[str, tuple[int, ...]]

CHECKPOINT_SD1 = "v1-5-pruned-emaonly-fp16.safetensors"
CHECKPOINT_SDXL = "sd_xl_base_1.0.safetensors"
VIT_H = "CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors"
ADAPTERS = (
    "ip-adapter_sd15",
    "ip-adapter-plus_sd15",
    "ip-adapter-plus-face_sd15",
    "ip-adapter_sdxl_vit-h",
    "ip-adapter-plus_sdxl_vit-h",
)
# Where the transformers of a UNet lie, and how many layers each has.
_BLOCKS_SD1 = {
    **{f"input_blocks.{i}": 1 for i in (1, 2, 4, 5, 7, 8)},
    "middle_block": 1,
    **{f"output_blocks.{i}": 1 for i in range(3, 12)},
}
_BLOCKS_SDXL = {
    **{"input_blocks.4": 2, "input_blocks.5": 2, "input_blocks.7": 10, "input_blocks.8": 10},
    "middle_block": 10,
    **{f"output_blocks.{i}": 10 for i in range(3)},
    **{f"output_blocks.{i}": 2 for i in range(3, 6)},
}


def write(models: Path) -> None:
    """Fill checkpoints, clip_vision and ipadapter."""
    for folder in ("checkpoints", "clip_vision", "ipadapter"):
        (models / folder).mkdir(parents=True, exist_ok=True)
    # Adapters list the middle block last, a UNet has it between the two halves.
    for name, blocks, hidden, context in (
        (CHECKPOINT_SD1, _BLOCKS_SD1, HIDDEN_SD1, 768),
        (CHECKPOINT_SDXL, _BLOCKS_SDXL, HIDDEN_SDXL, 2048),
    ):
        write_sparse(models / "checkpoints" / name, _unet(blocks, hidden, context))
    write_sparse(models / "clip_vision" / VIT_H, encoder_shapes.clip(32, 1280, 1024))
    for name in ADAPTERS:
        table = load_table(name)
        write_sparse(models / "ipadapter" / f"{name}.safetensors", table.tensors)


def _unet(blocks: Mapping[str, int], hidden: tuple[int, ...], context: int) -> Shapes:
    rest = [(block, i) for block, count in blocks.items() for i in range(count)]
    middle = [place for place in rest if place[0] == "middle_block"]
    ordered = [place for place in rest if place not in middle] + middle
    shapes: dict[str, tuple[int, ...]] = {}
    for (block, i), width in zip(ordered, hidden, strict=True):
        stem = f"model.diffusion_model.{block}.1.transformer_blocks.{i}.attn2"
        shapes[f"{stem}.to_q.weight"] = (width, width)
        shapes[f"{stem}.to_k.weight"] = (width, context)
    return shapes
