"""ONNX operators with a window or with weights, as the ONNX operator reference defines them."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from .node import Call, CannotRun, Operator, axis_of, require_size

_CONVOLUTIONS = {3: functional.conv1d, 4: functional.conv2d, 5: functional.conv3d}


class Window:
    """Kernel, stride, dilation and padding of a call, over the two last axes.

    Attributes:
        before: padding at the top and left.
        after: padding at the bottom and right.
    """

    def __init__(self, call: Call, kernel: list[int], size: list[int]) -> None:
        rank = len(kernel)
        if rank != len(size):
            raise CannotRun(f"a window of {rank} axes over {len(size)}")
        self.kernel = kernel
        self.stride = call.integers("strides") or [1] * rank
        self.dilation = call.integers("dilations") or [1] * rank
        pads = call.integers("pads") or [0] * (2 * rank)
        if len(self.stride) != rank or len(self.dilation) != rank or len(pads) != 2 * rank:
            raise CannotRun("strides, dilations or pads do not fit the window")
        if min(*kernel, *self.stride, *self.dilation) < 1 or min(pads) < 0:
            raise CannotRun("strides, dilations or pads are out of range")
        self.before, self.after = pads[:rank], pads[rank:]
        self.reach = [d * (k - 1) + 1 for k, d in zip(kernel, self.dilation, strict=True)]
        self._apply_automatic(call.word("auto_pad", "NOTSET"), size)
        self._size = size

    def _apply_automatic(self, mode: str, size: list[int]) -> None:
        if mode in ("NOTSET", ""):
            return
        total = [0] * len(size)
        if mode in ("SAME_UPPER", "SAME_LOWER"):
            steps = zip(size, self.stride, self.reach, strict=True)
            total = [max((-(-n // s) - 1) * s + r - n, 0) for n, s, r in steps]
        elif mode != "VALID":
            raise CannotRun(f"auto_pad is {mode}")
        small = [one // 2 for one in total]
        large = [one - half for one, half in zip(total, small, strict=True)]
        self.before, self.after = (large, small) if mode == "SAME_LOWER" else (small, large)

    def missing(self, ceil: bool) -> list[int]:
        """Rows and columns that the last window of a rounded-up result reaches beyond the end."""
        extra: list[int] = []
        for i, size in enumerate(self._size):
            padded = size + self.before[i] + self.after[i]
            steps = (padded - self.reach[i]) / self.stride[i]
            count = (math.ceil(steps) if ceil else math.floor(steps)) + 1
            if ceil and (count - 1) * self.stride[i] >= size + self.before[i]:
                count -= 1  # a window may not start in the padding after the end
            extra.append(max((count - 1) * self.stride[i] + self.reach[i] - padded, 0))
        return extra

    def pad(self, data: Tensor, value: float, extra: list[int] | None = None) -> Tensor:
        """The data with its padding, and with `extra` rows and columns after it."""
        amounts: list[int] = []
        for i in reversed(range(len(self.kernel))):
            amounts += [self.before[i], self.after[i] + (extra[i] if extra else 0)]
        if not any(amounts):
            return data
        grown = zip(data.shape[2:], amounts[::-1][1::2], amounts[::-1][::2], strict=True)
        require_size([*data.shape[:2], *(n + a + b for n, a, b in grown)])
        return functional.pad(data, amounts, value=value)


def convolve(call: Call) -> Tensor:
    data, weight = call.data, call.tensor(1)
    if data.ndim not in _CONVOLUTIONS or weight.ndim != data.ndim:
        raise CannotRun(f"a convolution over {data.ndim} axes with weights of {weight.ndim}")
    window = Window(call, list(weight.shape[2:]), list(data.shape[2:]))
    padding = window.before
    if window.before != window.after:
        data, padding = window.pad(data, 0.0), [0] * len(padding)
    return _CONVOLUTIONS[data.ndim](
        data,
        weight,
        call.optional(2),
        tuple(window.stride),
        tuple(padding),
        tuple(window.dilation),
        call.integer("group", 1),
    )


def normalise(call: Call) -> Tensor:
    if call.integer("training_mode", 0) or not call.integer("spatial", 1):
        raise CannotRun("it asks for training_mode or for statistics of each pixel")
    scale, bias, mean, variance = (call.tensor(index) for index in range(1, 5))
    epsilon = call.number("epsilon", 1e-5)
    return functional.batch_norm(call.data, mean, variance, scale, bias, eps=epsilon)


def rectify_parametric(call: Call) -> Tensor:
    data, slope = call.data, call.tensor(1)
    per_channel = slope.ndim == data.ndim - 1 and slope.numel() == slope.shape[0]
    if data.ndim >= 2 and per_channel and slope.numel() in (1, data.shape[1]):
        return functional.prelu(data, slope.reshape(-1))
    return torch.where(data < 0, data * slope, data)


def _pooling(call: Call) -> Window:
    kernel = call.integers("kernel_shape")
    if kernel is None or len(kernel) != 2 or call.data.ndim != 4:
        raise CannotRun("only pooling over two axes is known")
    return Window(call, kernel, list(call.data.shape[2:]))


def pool_largest(call: Call) -> Tensor:
    window = _pooling(call)
    padded = window.pad(call.data, -math.inf, window.missing(bool(call.integer("ceil_mode", 0))))
    return functional.max_pool2d(
        padded, tuple(window.kernel), tuple(window.stride), 0, tuple(window.dilation)
    )


def pool_average(call: Call) -> Tensor:
    window = _pooling(call)
    if max(window.dilation) > 1:
        raise CannotRun("it asks for dilated average pooling")
    extra = window.missing(bool(call.integer("ceil_mode", 0)))
    kernel, stride = tuple(window.kernel), tuple(window.stride)
    padded = window.pad(call.data, 0.0, extra)
    if padded is call.data:
        return functional.avg_pool2d(padded, kernel, stride)
    total = functional.avg_pool2d(padded, kernel, stride, divisor_override=1)
    inside = torch.ones_like(call.data[:1, :1])
    if call.integer("count_include_pad", 0):
        inside = window.pad(inside, 1.0)
        counted = functional.pad(inside, (0, extra[1], 0, extra[0]))
    else:
        counted = window.pad(inside, 0.0, extra)
    return total / functional.avg_pool2d(counted, kernel, stride, divisor_override=1)


def pool_all(call: Call) -> Tensor:
    return call.data.mean(tuple(range(2, call.data.ndim)), keepdim=True)


def pool_all_largest(call: Call) -> Tensor:
    return call.data.amax(tuple(range(2, call.data.ndim)), keepdim=True)


def multiply_general(call: Call) -> Tensor:
    left, right, bias = call.data, call.tensor(1), call.optional(2)
    left = left.T if call.integer("transA", 0) else left
    right = right.T if call.integer("transB", 0) else right
    alpha, beta = call.number("alpha", 1.0), call.number("beta", 1.0)
    if bias is None:
        return alpha * (left @ right)
    return torch.addmm(bias, left, right, beta=beta, alpha=alpha)


def soften(call: Call) -> Tensor:
    if call.opset >= 13:
        return call.data.softmax(call.integer("axis", -1))
    axis = axis_of(call.integer("axis", 1), call.data.ndim)
    return call.data.flatten(axis).softmax(-1).reshape(call.data.shape)


def clip(call: Call) -> Tensor:
    low, high = call.optional(1), call.optional(2)
    least = call.number("min", -math.inf) if low is None else float(low)
    most = call.number("max", math.inf) if high is None else float(high)
    return call.data.clamp(least, most) if call.data.is_floating_point() else _clip_whole(call)


def _clip_whole(call: Call) -> Tensor:
    low, high = call.optional(1), call.optional(2)
    least = None if low is None else int(low)
    most = None if high is None else int(high)
    return call.data if least is None and most is None else call.data.clamp(least, most)


LAYERS: dict[str, Operator] = {
    "Conv": convolve,
    "BatchNormalization": normalise,
    "PRelu": rectify_parametric,
    "Relu": lambda call: call.data.relu(),
    "LeakyRelu": lambda call: functional.leaky_relu(call.data, call.number("alpha", 0.01)),
    "Sigmoid": lambda call: call.data.sigmoid(),
    "Tanh": lambda call: call.data.tanh(),
    "Softmax": soften,
    "Clip": clip,
    "MaxPool": pool_largest,
    "AveragePool": pool_average,
    "GlobalAveragePool": pool_all,
    "GlobalMaxPool": pool_all_largest,
    "Gemm": multiply_general,
    "MatMul": lambda call: call.data @ call.tensor(1),
}
