"""Whole files of every published layout and container, tiny, that hostile ones are made of."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

import torch
from kit.models import checkpoints, encoders, face_packs, sparse_files, tiny, transformer_adapters
from kit.models.checkpoints import lora_shapes, tiny_adapter
from kit.models.transformer_sizes import Sizes
from pack.ip_models.adapter.encoders import SIGLIP_HEAD
from pack.ip_models.references import embeds_file
from pack.ip_models.references.features import ImageFeatures, Region, Regions
from safetensors.torch import save as save_tensors
from torch import Tensor
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from . import old_files

WIDTHS, CONTEXT, POOLED = (32, 64, 64), 768, 80
Files = dict[str, bytes]


class Sort(str, Enum):
    """What a file is for, which says who opens it; the value is the name of its folder."""

    ADAPTER = "ipadapter"
    ENCODER = "clip_vision"
    EMBEDS = "ipadapter_embeds"
    FACES = "insightface"
    BASE = "checkpoints"
    LORA = "loras"


@dataclass(frozen=True)
class Whole:
    """A model that is as it should be.

    Attributes:
        name: as the combos show it: of its file, or of its folder.
        files: what it is made of, by the path in the folder of its sort.
    """

    sort: Sort
    name: str
    files: Files

    @property
    def label(self) -> str:
        """What it is known by."""
        return f"{self.sort.value}/{self.name}"


@cache
def corpus() -> dict[str, Whole]:
    """All of them, by their labels; the same bytes each time."""
    torch.manual_seed(0)
    made = [*_adapters(), *_encoders(), *_embeds(), *_faces(), *_bases(), *_loras()]
    return {one.label: one for one in made}


def saved(content: Any, old: bool = False) -> bytes:
    """A file of torch's, or one as torch wrote it before 1.6."""
    if old:
        return old_files.saved(content)
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def save(tensors: Mapping[str, Tensor], notes: dict[str, str] | None = None) -> bytes:
    """A safetensors file; what is there under two names is written twice."""
    return save_tensors({key: value.clone() for key, value in tensors.items()}, notes)


def _one(sort: Sort, name: str, data: bytes) -> Whole:
    return Whole(sort, name, {name: data})


def _adapters() -> Iterator[Whole]:
    kinds = {kind: _tiny(kind) for kind in _KINDS}
    for kind, tensors in kinds.items():
        yield _one(Sort.ADAPTER, f"{kind}.safetensors", save(tensors))
    for container in checkpoints.CONTAINERS[1:]:
        content = checkpoints.contained(kinds["standard"], container)
        pickled = container == "nested" or container.endswith(" bin")
        suffix, write = (".bin", saved) if pickled else (".safetensors", save)
        yield _one(Sort.ADAPTER, f"{container}{suffix}", write(content))
    nested = checkpoints.nest(kinds["FaceID"])
    yield _one(Sort.ADAPTER, "old.bin", saved(nested, old=True))
    yield _one(Sort.ADAPTER, "training.bin", saved({"state_dict": nested, "epoch": 3}))
    for family, make in _TRANSFORMERS.items():
        sizes = Sizes("sd3" if family == "sd3" else "flux", 1, 2, 0 if family == "sd3" else 2)
        tensors = _short(make(sizes))
        yield _one(Sort.ADAPTER, f"{family}.safetensors", save(tensors))
        yield _one(Sort.ADAPTER, f"{family}.bin", saved(checkpoints.contained(tensors, "nested")))
    names = sorted(kinds["plus"])
    parts = {
        f"parts-0000{number}-of-00002.safetensors": save(
            {key: kinds["plus"][key] for key in names[number - 1 :: 2]}
        )
        for number in (1, 2)
    }
    yield Whole(Sort.ADAPTER, next(iter(parts)), parts)


_KINDS = (
    *("standard", "plus", "full face", "FaceID", "FaceID plus"),
    *("FaceID portrait", "FaceID portrait unnormed"),
)
_TRANSFORMERS = {
    "xlabs": transformer_adapters.xlabs,
    "instantx": transformer_adapters.instantx,
    "sd3": transformer_adapters.sd3,
}


def _tiny(kind: str) -> dict[str, Tensor]:
    tokens = 16 if "portrait" in kind or kind == "plus" else 4
    dim = CONTEXT if kind == "FaceID plus" else 64
    tensors = tiny_adapter(kind, WIDTHS, CONTEXT, POOLED, tokens, dim=dim, heads=1, depth=2)
    if kind == "FaceID":
        tensors |= checkpoints.fill(lora_shapes(WIDTHS, CONTEXT, rank=4))
    return _short(tensors)


def _short(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key: value.half().contiguous() for key, value in tensors.items()}


def _encoders() -> Iterator[Whole]:
    clip = CLIPVisionConfig(projection_dim=encoders.POOLED, **encoders.CONFIG)
    yield _folder("clip", "clip_vision_model", CLIPVisionModelWithProjection(clip), False)
    siglip = SiglipVisionConfig(**{**encoders.CONFIG, "hidden_act": "gelu_pytorch_tanh"})
    yield _folder("siglip", "siglip_vision_model", SiglipVisionModel(siglip), True)
    # Of a published encoder only what tells its size: half of one, which must not load.
    for name, width, pooled, layers in _PUBLISHED:
        yield _one(Sort.ENCODER, f"{name}.safetensors", save(_marks(width, pooled, layers)))
    foreign = {
        "visual.transformer.resblocks.0.attn.in_proj_weight": torch.zeros(96, 32),
        "visual.ln_post.weight": torch.zeros(32),
        "visual.proj": torch.zeros(32, 24),
    }
    yield _one(Sort.ENCODER, "openclip.bin", saved(foreign))


_PUBLISHED = (("vit-l", 1024, 768, 24), ("vit-h", 1280, 1024, 32), ("siglip-file", 1152, 0, 27))


def _marks(width: int, pooled: int, layers: int) -> dict[str, Tensor]:
    stem = "vision_model"
    made = {
        f"{stem}.post_layernorm.weight": torch.ones(width).half(),
        f"{stem}.embeddings.position_embedding.weight": torch.ones(257, 4).half(),
        f"{stem}.encoder.layers.0.layer_norm1.weight": torch.ones(width).half(),
    }
    made |= {
        f"{stem}.encoder.layers.{number}.layer_norm1.weight": torch.ones(width).half()
        for number in range(1, layers)
    }
    if pooled:
        made["visual_projection.weight"] = torch.ones(pooled, width).half()
    else:
        made[f"{SIGLIP_HEAD}.probe"] = torch.ones(1, 1, width).half()
    return made


def _folder(name: str, kind: str, model: Any, split: bool) -> Whole:
    with torch.no_grad():
        encoders.randomise(model)
    state = {key: value.half() for key, value in model.state_dict().items()}
    config = {**encoders.CONFIG, "model_type": kind, "projection_dim": encoders.POOLED}
    files = {f"{name}/config.json": json.dumps(config).encode()}
    if split:
        keys = sorted(state)
        shards = {f"model-0000{n}-of-00002.safetensors": keys[n - 1 :: 2] for n in (1, 2)}
        index = {key: file for file, own in shards.items() for key in own}
        files |= {f"{name}/{f}": save({k: state[k] for k in own}) for f, own in shards.items()}
        text = json.dumps({"metadata": {"total_size": 1}, "weight_map": index})
        files[f"{name}/model.safetensors.index.json"] = text.encode()
    else:
        files[f"{name}/model.safetensors"] = save(state)
        colours = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "do_normalize": True}
        files[f"{name}/preprocessor_config.json"] = json.dumps(colours).encode()
    return Whole(Sort.ENCODER, name, files)


def _embeds() -> Iterator[Whole]:
    picture, face = tiny.random_features(2), tiny.random_faces(1, crops=True)
    masked = Regions((Region(picture, torch.rand(1, 8, 8), 0.5), Region(face, None, 1.0)))
    for name, embeds in (("picture", picture), ("face", face), ("regions", masked)):
        tensors, text = embeds_file.pack(embeds)
        data = save(tensors, {embeds_file.KEY: text})
        yield _one(Sort.EMBEDS, f"{name}.safetensors", data)
    assert isinstance(picture, ImageFeatures) and picture.pooled is not None
    rows = picture.pooled
    yield _one(Sort.EMBEDS, "bare.ipadpt", saved(rows))
    yield _one(Sort.EMBEDS, "hidden.ipadpt", saved(torch.rand(2, 257, 1280).half()))
    listed = [torch.stack((torch.zeros_like(rows), rows)).flatten(0, 1)[:, None], rows[:, None]]
    yield _one(Sort.EMBEDS, "list.ipadpt", saved(listed))
    yield _one(Sort.EMBEDS, "old list.ipadpt", saved(listed, old=True))


def _faces() -> Iterator[Whole]:
    with tempfile.TemporaryDirectory() as place:
        for name, grown in (("small", False), ("grown", True)):
            folder = face_packs.make_pack(Path(place) / name, grown=grown)
            files = {f"models/{name}/{p.name}": p.read_bytes() for p in sorted(folder.iterdir())}
            yield Whole(Sort.FACES, name, files)


def _bases() -> Iterator[Whole]:
    with tempfile.TemporaryDirectory() as place:
        sizes = {"flux": sparse_files.flux_shapes(2, 2, 64), "sd3": sparse_files.sd3_shapes(2, 64)}
        for name, shapes in sizes.items():
            path = sparse_files.write_sparse(Path(place) / f"{name}.safetensors", shapes)
            yield _one(Sort.BASE, path.name, path.read_bytes())
        path = sparse_files.write_gguf(Path(place) / "flux.gguf", sparse_files.flux_shapes())
        yield _one(Sort.BASE, path.name, path.read_bytes())
    stem = "model.diffusion_model.input_blocks.{}.1.transformer_blocks.0.attn2.to_{}.weight"
    unet = {stem.format(n, part): torch.zeros(32, 768).half() for n in (1, 2, 4) for part in "kv"}
    yield _one(Sort.BASE, "unet.safetensors", save(unet))


def _loras() -> Iterator[Whole]:
    stem = "base_model.model.unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
    shapes = {f"{stem}.lora_A.weight": (4, 32), f"{stem}.lora_B.weight": (32, 4)}
    tensors = checkpoints.fill(shapes)
    yield _one(Sort.LORA, "ip-adapter-faceid_sd15_lora.safetensors", save(tensors))
