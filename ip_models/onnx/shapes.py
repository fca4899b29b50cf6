"""ONNX operators on shapes and places, as the ONNX operator reference defines them."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from .. import limits
from .node import Call, CannotRun, Operator, axis_of, require_size, to_integers

_FLOATING = (1, 10, 11, 16)
_WHOLE = (2, 3, 4, 5, 6, 7, 12, 13)
_BOOLEAN = 9


def _pair(call: Call) -> tuple[Tensor, Tensor]:
    """Both inputs of an arithmetic operator, on the device of the one with data."""
    left, right = call.data, call.tensor(1)
    if left.device == right.device:
        return left, right
    if left.device.type == "cpu":
        return left.to(right.device), right
    return left, right.to(left.device)


def _arithmetic(of: Callable[[Tensor, Tensor], Tensor]) -> Operator:
    return lambda call: of(*_pair(call))


def _divide(left: Tensor, right: Tensor) -> Tensor:
    if left.is_floating_point() or right.is_floating_point():
        return left / right
    return torch.div(left, right, rounding_mode="trunc")


def flatten(call: Call) -> Tensor:
    data = call.data
    given = call.integer("axis", 1)
    axis = data.ndim if given == data.ndim else axis_of(given, data.ndim)
    rows = 1
    for size in data.shape[:axis]:
        rows *= size
    return data.reshape(rows, -1) if data.numel() else data.reshape(rows, 0)


def reshape(call: Call) -> Tensor:
    wanted = call.listed("shape", 1)
    if wanted is None:
        raise CannotRun("the shape is missing")
    if not call.integer("allowzero", 0):
        if any(size == 0 and at >= call.data.ndim for at, size in enumerate(wanted)):
            raise CannotRun(f"{wanted} keeps a size that is not there")
        wanted = [call.data.shape[at] if size == 0 else size for at, size in enumerate(wanted)]
    return call.data.reshape(wanted)


def transpose(call: Call) -> Tensor:
    order = call.integers("perm") or list(reversed(range(call.data.ndim)))
    return call.data.permute(order)


def shape_of(call: Call) -> Tensor:
    stop = call.node.attributes.get("end")
    sizes = list(call.data.shape)[
        call.integer("start", 0) : stop if isinstance(stop, int) else None
    ]
    return torch.tensor(sizes, dtype=torch.int64)


def gather(call: Call) -> Tensor:
    data, index = call.data, call.tensor(1)
    axis = axis_of(call.integer("axis", 0), data.ndim)
    flat = torch.where(index < 0, index + data.shape[axis], index).reshape(-1)
    taken = data.index_select(axis, flat.to(data.device))
    return taken.reshape([*data.shape[:axis], *index.shape, *data.shape[axis + 1 :]])


def slice_axes(call: Call) -> Tensor:
    starts, ends = call.listed("starts", 1), call.listed("ends", 2)
    if starts is None or ends is None:
        raise CannotRun("starts or ends are missing")
    axes = call.listed("axes", 3) or list(range(len(starts)))
    given = call.optional(4)
    steps = [1] * len(starts) if given is None else to_integers(given)
    data = call.data
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        data = _slice(data, axis_of(axis, data.ndim), start, end, step)
    return data


def _slice(data: Tensor, axis: int, start: int, end: int, step: int) -> Tensor:
    if step == 0:
        raise CannotRun("a step of 0")
    size = data.shape[axis]
    lowest, highest = (0, size) if step > 0 else (-1, size - 1)
    start = min(max(start + size if start < 0 else start, max(lowest, 0)), highest)
    end = min(max(end + size if end < 0 else end, lowest), highest)
    if step == 1:
        return data.narrow(axis, start, max(end - start, 0))
    places = torch.arange(start, max(start, end) if step > 0 else min(start, end), step)
    return data.index_select(axis, places.to(data.device))


def concatenate(call: Call) -> Tensor:
    parts = call.tensors()
    device = next((one.device for one in parts if one.device.type != "cpu"), parts[0].device)
    axis = axis_of(call.integer("axis", 0), parts[0].ndim)
    return torch.cat([one.to(device) for one in parts], axis)


def unsqueeze(call: Call) -> Tensor:
    axes = call.listed("axes", 1)
    if axes is None:
        raise CannotRun("axes are missing")
    rank = call.data.ndim + len(axes)
    data = call.data
    for axis in sorted(axis_of(one, rank) for one in axes):
        data = data.unsqueeze(axis)
    return data


def squeeze(call: Call) -> Tensor:
    axes = call.listed("axes", 1)
    if axes is None:
        return call.data.squeeze()
    places = tuple(axis_of(one, call.data.ndim) for one in axes)
    if any(call.data.shape[one] != 1 for one in places):
        raise CannotRun(f"axes {axes} of shape {tuple(call.data.shape)} are not 1")
    return call.data.squeeze(places)


def cast(call: Call) -> Tensor:
    """Every floating type is single precision here, every whole one 64 bits."""
    kind = call.integer("to", 0)
    if kind in _FLOATING:
        return call.data.float()
    if kind in _WHOLE:
        return call.data.to(torch.int64)
    if kind == _BOOLEAN:
        return call.data.bool()
    raise CannotRun(f"it casts to the type {kind}")


def mean(call: Call) -> Tensor:
    axes = call.listed("axes", 1)
    if not axes:
        if call.integer("noop_with_empty_axes", 0):
            return call.data
        axes = list(range(call.data.ndim))
    return call.data.mean(tuple(axes), keepdim=bool(call.integer("keepdims", 1)))


def pad(call: Call) -> Tensor:
    data, amounts = call.data, call.listed("pads", 1)
    mode = call.word("mode", "constant")
    if amounts is None or mode != "constant":
        raise CannotRun("only padding with a constant is known")
    axes = call.optional(3)
    places = list(range(data.ndim)) if axes is None else to_integers(axes)
    if len(amounts) != 2 * len(places):
        raise CannotRun("pads do not fit the axes")
    before, after = [0] * data.ndim, [0] * data.ndim
    for at, axis in enumerate(axis_of(one, data.ndim) for one in places):
        before[axis], after[axis] = amounts[at], amounts[at + len(places)]
    require_size([n + b + a for n, b, a in zip(data.shape, before, after, strict=True)])
    filling = call.optional(2)
    value = call.number("value", 0.0) if filling is None else float(filling)
    pairs = zip(reversed(before), reversed(after), strict=True)
    return functional.pad(data, [one for pair in pairs for one in pair], value=value)


def fill(call: Call) -> Tensor:
    value = call.node.attributes.get("value")
    shape = require_size(to_integers(call.data))
    if math.prod(shape) > limits.ONNX_FOLDED:  # made on the processor, whatever is weighed
        raise CannotRun(f"it fills a result of shape {shape}")
    return torch.zeros(shape) if value is None else _single(value).expand(shape).clone()


def _single(value: object) -> Tensor:
    if not isinstance(value, Tensor) or value.numel() != 1:
        raise CannotRun("its value is no single number")
    return value.reshape(())


def expand(call: Call) -> Tensor:
    wanted = to_integers(call.tensor(1))
    shape = torch.broadcast_shapes(call.data.shape, tuple(wanted))
    return call.data.expand(require_size(list(shape)))


SHAPES: dict[str, Operator] = {
    "Add": _arithmetic(torch.add),
    "Sub": _arithmetic(torch.sub),
    "Mul": _arithmetic(torch.mul),
    "Div": _arithmetic(_divide),
    "Floor": lambda call: call.data.floor(),
    "Ceil": lambda call: call.data.ceil(),
    "Sqrt": lambda call: call.data.sqrt(),
    "Flatten": flatten,
    "Reshape": reshape,
    "Transpose": transpose,
    "Shape": shape_of,
    "Gather": gather,
    "Slice": slice_axes,
    "Concat": concatenate,
    "Unsqueeze": unsqueeze,
    "Squeeze": squeeze,
    "Cast": cast,
    "ReduceMean": mean,
    "Pad": pad,
    "ConstantOfShape": fill,
    "Expand": expand,
}
