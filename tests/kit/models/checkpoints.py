"""Adapter files for tests: tables of the published ones, small random ones, every container."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file  # pyright: ignore[reportUnknownVariableType]
from torch import Tensor

Shapes = dict[str, tuple[int, ...]]

SHAPES = Path(__file__).parents[2] / "shapes"
CONTAINERS = ("flat", "nested", "raw", "doubled", "flat bin", "raw bin")
HIDDEN_SD1 = (320, 320, 640, 640, *[1280] * 5, *[640] * 3, *[320] * 3, 1280)
HIDDEN_SDXL = (*[640] * 4, *[1280] * 50, *[640] * 6, *[1280] * 10)

_BYTES = {"float16": 2, "bfloat16": 2, "float32": 4}
_RAW_NAMES = {"image_proj": "image_proj_model", "ip_adapter": "adapter_modules"}
_FLAT_NAMES = {raw: flat for flat, raw in _RAW_NAMES.items()}
_HEAD_WIDTH, _IDENTITY = 64, 512


@dataclass(frozen=True)
class Expectation:
    """What a reader has to find out about a file."""

    family: str
    kind: str
    tokens: int
    layers: int
    encoder: str
    feature: str
    lora: bool
    supported: bool


@dataclass(frozen=True)
class Table:
    """Key and shape of every tensor of one published file.

    Attributes:
        size_mb: published size in units of 10^6 bytes, None where there is none.
        projection_dtype: type of the `image_proj` tensors where it is not `dtype`.
        also: other published files with these tensors, as (file, container).
    """

    name: str
    file: str
    repository: str | None
    container: str
    dtype: str
    size_mb: float | None
    expect: Expectation
    tensors: Shapes
    projection_dtype: str | None = None
    also: tuple[tuple[str, str], ...] = ()

    @property
    def computed_mb(self) -> float:
        """Size of the tensors alone, in units of 10^6 bytes."""
        return sum(math.prod(shape) * self._bytes(key) for key, shape in self.tensors.items()) / 1e6

    def _bytes(self, key: str) -> int:
        projection = key.startswith("image_proj.") and self.projection_dtype
        return _BYTES[projection or self.dtype]


def load_table(name: str) -> Table:
    """Read one table by the name of its file in tests/shapes, without the suffix."""
    data: dict[str, Any] = json.loads((SHAPES / f"{name}.json").read_text(encoding="utf-8"))
    return Table(
        name=name,
        file=data["file"],
        repository=data["repository"],
        container=data["container"],
        dtype=data["dtype"],
        size_mb=data["size_mb"],
        expect=Expectation(**data["expect"]),
        tensors={key: tuple(shape) for key, shape in data["tensors"].items()},
        projection_dtype=data.get("image_proj_dtype"),
        also=tuple((other["file"], other["container"]) for other in data.get("also", ())),
    )


def all_tables() -> list[Table]:
    """Every table, ordered by name."""
    return [load_table(path.stem) for path in sorted(SHAPES.glob("*.json"))]


def as_tensors(
    table: Table,
    device: str = "meta",
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
    scale: float = 1.0,
) -> dict[str, Tensor]:
    """Random tensors under the published keys."""
    return fill(table.tensors, device, dtype, seed, scale)


def as_published(table: Table) -> dict[str, Any]:
    """The contents of the published file, as meta tensors in its own container."""
    tensors = as_tensors(table)
    return dict(nest(tensors)) if table.container == "nested" else dict(tensors)


def fill(
    shapes: Mapping[str, tuple[int, ...]],
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
    scale: float = 1.0,
) -> dict[str, Tensor]:
    """Random tensors of the given shapes, the same for the same seed whatever the dtype."""
    if device == "meta":
        return {key: torch.empty(s, dtype=dtype, device="meta") for key, s in shapes.items()}
    generator = torch.Generator().manual_seed(seed)
    return {
        key: _initial(key, shape, generator, scale).to(device=device, dtype=dtype)
        for key, shape in shapes.items()
    }


def _initial(key: str, shape: tuple[int, ...], generator: torch.Generator, scale: float) -> Tensor:
    noise = torch.randn(shape, generator=generator) * scale
    if len(shape) > 1:
        return noise / math.sqrt(shape[-1])
    return 1.0 + 0.1 * noise if key.endswith("weight") else 0.1 * noise


def nest(flat: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """The dict of dicts of a published `.bin`: the first dot ends the outer key."""
    nested: dict[str, dict[str, Tensor]] = {}
    for key, value in flat.items():
        outer, inner = key.split(".", 1)
        nested.setdefault(outer, {})[inner] = value
    return nested


def flat_keys(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors once each, under `image_proj.` and `ip_adapter.` where they have those."""
    first = {key: value for key, value in tensors.items() if _outer(key) not in _FLAT_NAMES}
    renamed = _renamed(tensors, _FLAT_NAMES)
    return first | {key: value for key, value in renamed.items() if key not in first}


def contained(tensors: Mapping[str, Tensor], container: str) -> dict[str, Any]:
    """What a file of that container holds, for tensors under any published keys."""
    flat = flat_keys(tensors)
    raw = _renamed(flat, _RAW_NAMES)
    if container == "nested":
        return dict(nest(flat))
    if container == "raw bin":
        return {"unet.conv_in.weight": torch.zeros(4, 4, 3, 3), **raw}
    contents = {"flat": flat, "flat bin": flat, "raw": raw, "doubled": raw | flat}
    return dict(contents[container])


def write(path: Path, tensors: Mapping[str, Tensor], container: str) -> Path:
    """Write a file whose contents follow the container, whatever the suffix of the path says."""
    contents = contained(tensors, container)
    if container == "nested" or container.endswith(" bin"):
        torch.save(contents, path)
    else:
        save_file({key: value.clone().contiguous() for key, value in contents.items()}, path)
    return path


def tiny_adapter(
    kind: str,
    hidden_sizes: Iterable[int],
    context: int,
    encoder_width: int,
    tokens: int,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
    scale: float = 1.0,
    **resampler: int,
) -> dict[str, Tensor]:
    """A random adapter on the CPU with published keys; the arguments are those of `tiny_shapes`."""
    shapes = tiny_shapes(kind, hidden_sizes, context, encoder_width, tokens, **resampler)
    return fill(shapes, "cpu", dtype, seed, scale)


def tiny_shapes(
    kind: str,
    hidden_sizes: Iterable[int],
    context: int,
    encoder_width: int,
    tokens: int,
    dim: int | None = None,
    heads: int | None = None,
    depth: int = 4,
) -> Shapes:
    """Published keys with the given widths, those of the layers in file order (1, 3, 5, ...).

    Args:
        kind: as `spec.Kind` has it; full face has no use for `tokens`, and faces are 512 values
            whatever `encoder_width` is.
        dim: width inside the resampler, `context` where left out; for FaceID plus also that of the
            tokens.
        heads: resampler heads, each 64 wide, dim / 64 of them where left out.
    """
    width = dim or context
    heads = heads or max(1, width // _HEAD_WIDTH)
    projections = {
        "standard": lambda: _standard(encoder_width, context, tokens),
        "full face": lambda: _full_face(encoder_width, context),
        "plus": lambda: _resampler(width, heads, tokens, encoder_width, context, depth),
        "FaceID": lambda: _face(context, tokens),
        "FaceID portrait": lambda: _face(context, tokens),
        "FaceID portrait unnormed": lambda: _resampler(
            width, heads, tokens, _IDENTITY, context, depth
        ),
        "FaceID plus": lambda: _face_plus(width, heads, tokens, encoder_width, depth),
    }
    shapes = {f"image_proj.{key}": shape for key, shape in projections[kind]().items()}
    return shapes | {
        f"ip_adapter.{k}": shape for k, shape in _layers(hidden_sizes, context).items()
    }


def lora_shapes(hidden_sizes: Iterable[int], context: int, rank: int = 128) -> Shapes:
    """The LoRA inside a FaceID file, for self- and cross-attention of every layer."""
    shapes: Shapes = {}
    for position, hidden in enumerate(hidden_sizes):
        for number, text in ((2 * position, hidden), (2 * position + 1, context)):
            for part, width in (("q", hidden), ("k", text), ("v", text), ("out", hidden)):
                stem = f"ip_adapter.{number}.to_{part}_lora"
                shapes[f"{stem}.down.weight"] = (rank, width)
                shapes[f"{stem}.up.weight"] = (hidden, rank)
    return shapes


def _outer(key: str) -> str:
    return key.split(".", 1)[0]


def _renamed(tensors: Mapping[str, Tensor], names: Mapping[str, str]) -> dict[str, Tensor]:
    renamed: dict[str, Tensor] = {}
    for key, value in tensors.items():
        outer, dot, inner = key.partition(".")
        renamed[f"{names.get(outer, outer)}{dot}{inner}"] = value
    return renamed


def _linear(name: str, rows: int, columns: int) -> Shapes:
    return {f"{name}.weight": (rows, columns), f"{name}.bias": (rows,)}


def _norm(name: str, width: int) -> Shapes:
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def _layers(hidden_sizes: Iterable[int], context: int) -> Shapes:
    return {
        f"{2 * position + 1}.to_{half}_ip.weight": (hidden, context)
        for position, hidden in enumerate(hidden_sizes)
        for half in "kv"
    }


def _standard(encoder_width: int, context: int, tokens: int) -> Shapes:
    return _linear("proj", tokens * context, encoder_width) | _norm("norm", context)


def _full_face(encoder_width: int, context: int) -> Shapes:
    first = _linear("proj.0", encoder_width, encoder_width)
    return first | _linear("proj.2", context, encoder_width) | _norm("proj.3", context)


def _face(width: int, tokens: int) -> Shapes:
    first = _linear("proj.0", 2 * _IDENTITY, _IDENTITY)
    return first | _linear("proj.2", tokens * width, 2 * _IDENTITY) | _norm("norm", width)


def _face_plus(width: int, heads: int, tokens: int, encoder_width: int, depth: int) -> Shapes:
    inner = _resampler(width, heads, tokens, encoder_width, width, depth)
    del inner["latents"]
    looks = {f"perceiver_resampler.{key}": shape for key, shape in inner.items()}
    return _face(width, tokens) | looks


def _resampler(
    dim: int, heads: int, tokens: int, encoder_width: int, context: int, depth: int
) -> Shapes:
    shapes: Shapes = {"latents": (1, tokens, dim)}
    shapes |= _linear("proj_in", dim, encoder_width) | _linear("proj_out", context, dim)
    shapes |= _norm("norm_out", context)
    for layer in range(depth):
        shapes |= _resampler_layer(f"layers.{layer}", dim, heads * _HEAD_WIDTH)
    return shapes


def _resampler_layer(name: str, dim: int, inner: int) -> Shapes:
    return {
        **_norm(f"{name}.0.norm1", dim),
        **_norm(f"{name}.0.norm2", dim),
        f"{name}.0.to_q.weight": (inner, dim),
        f"{name}.0.to_kv.weight": (2 * inner, dim),
        f"{name}.0.to_out.weight": (dim, inner),
        **_norm(f"{name}.1.0", dim),
        f"{name}.1.1.weight": (4 * dim, dim),
        f"{name}.1.3.weight": (dim, 4 * dim),
    }
