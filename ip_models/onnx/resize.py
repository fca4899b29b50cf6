"""ONNX Resize and Upsample: nearest and linear, in every way a detector counts its pixels."""

from __future__ import annotations

from collections.abc import Callable

import numpy
import torch
from torch import Tensor

from .node import Call, CannotRun, Operator, require_size, to_integers

Numbers = numpy.ndarray

# Single precision like onnxruntime, so that a coordinate on an edge falls to the same side.
_ROUNDINGS: dict[str, Callable[[Numbers], Numbers]] = {
    "floor": numpy.floor,
    "ceil": numpy.ceil,
    "round_prefer_floor": lambda at: numpy.ceil(at - numpy.float32(0.5)),
    "round_prefer_ceil": lambda at: numpy.floor(at + numpy.float32(0.5)),
}


def resize(call: Call) -> Tensor:
    data = call.data
    scales, sizes = _target(call, list(data.shape))
    require_size(sizes)
    mode = call.word("mode", "nearest")
    old = call.node.operator == "Upsample" or call.opset < 11
    way = "asymmetric" if old else call.word("coordinate_transformation_mode", "half_pixel")
    rounding = "floor" if old else call.word("nearest_mode", "round_prefer_floor")
    if call.integer("antialias", 0) or call.node.attributes.get("axes") is not None:
        raise CannotRun("it asks for antialias or axes")
    if mode not in ("nearest", "linear") or rounding not in _ROUNDINGS:
        raise CannotRun(f"it asks for mode {mode} with nearest_mode {rounding}")
    for axis, (scale, size) in enumerate(zip(scales, sizes, strict=True)):
        if scale == 1 and size == data.shape[axis]:
            continue
        at = _coordinates(way, data.shape[axis], size, scale)
        if mode == "nearest":
            data = _take(data, axis, _ROUNDINGS[rounding](at))
        else:
            data = _blend(data, axis, at)
    return data


def _target(call: Call, shape: list[int]) -> tuple[list[float], list[int]]:
    """Scale and size of each axis, of which the file gives one."""
    new = call.node.operator == "Resize" and call.opset >= 11
    wanted = call.optional(3) if new else None
    if wanted is not None and wanted.numel():
        sizes = to_integers(wanted)
        if len(sizes) != len(shape) or 0 in shape:
            raise CannotRun(f"sizes {sizes} for shape {shape}")
        if call.word("keep_aspect_ratio_policy", "stretch") != "stretch":
            raise CannotRun("it asks for a keep_aspect_ratio_policy")
        return [size / old for size, old in zip(sizes, shape, strict=True)], sizes
    given = call.optional(2 if new else 1)
    listed = call.node.attributes.get("scales") if given is None else tuple(given.tolist())
    if not isinstance(listed, tuple) or len(listed) != len(shape) or min(listed) <= 0:
        raise CannotRun(f"scales {listed} for shape {shape}")
    scales = [float(one) for one in listed]
    single = [numpy.float32(one) for one in scales]
    return scales, [int(numpy.floor(n * one)) for n, one in zip(shape, single, strict=True)]


def _coordinates(way: str, old: int, new: int, scale: float) -> Numbers:
    """Where each new pixel lies among the old ones."""
    at, half, by = numpy.arange(new, dtype=numpy.float32), numpy.float32(0.5), numpy.float32(scale)
    if way == "asymmetric":
        return at / by
    if way == "half_pixel" or (way == "pytorch_half_pixel" and new > 1):
        return (at + half) / by - half
    if way == "pytorch_half_pixel":
        return numpy.zeros_like(at)
    if way == "align_corners":
        return at * numpy.float32(old - 1) / numpy.float32(max(new - 1, 1))
    if way == "tf_half_pixel_for_nn":
        return (at + half) / by
    raise CannotRun(f"it asks for coordinates by {way}")


def _take(data: Tensor, axis: int, at: Numbers) -> Tensor:
    places = numpy.clip(at, 0, data.shape[axis] - 1).astype(numpy.int64)
    return data.index_select(axis, torch.from_numpy(places).to(data.device))


def _blend(data: Tensor, axis: int, at: Numbers) -> Tensor:
    at = numpy.clip(at, 0, data.shape[axis] - 1)
    below = numpy.floor(at)
    share = torch.from_numpy((at - below).astype(numpy.float32)).to(data.device)
    share = share.reshape(-1, *[1] * (data.ndim - axis - 1))
    return torch.lerp(_take(data, axis, below), _take(data, axis, below + 1), share)


RESIZES: dict[str, Operator] = {"Resize": resize, "Upsample": resize}
