"""Networks in ONNX files, read without the `onnx` package and without trusting the file.

Only the fields an inference needs are read (onnx.proto3, ONNX IR version 3 and later). Nothing is
allocated for a length that the file does not hold.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import numpy
import torch
from torch import Tensor

from .. import limits
from ..errors import BrokenFile
from ..inputs import is_finite
from .source import Unfit, Window, opened
from .wire import Fields, Malformed, floats, integers, signed, text

# data_type -> how the bytes lie in raw_data.
_RAW = {1: "<f4", 2: "u1", 3: "i1", 5: "<i2", 6: "<i4", 7: "<i8", 9: "?", 10: "<f2", 11: "<f8"}
_FLOATING = (1, 10, 11)
_POINTER = b"version https://git-lfs"

Attribute = int | float | str | tuple[int, ...] | tuple[float, ...] | Tensor | None
T = TypeVar("T")


class Value(NamedTuple):
    """An input or output of a graph; a size of None is free."""

    name: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class Node:
    """One operation; an input called "" is left out."""

    operator: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Attribute] = field(default_factory=dict[str, Attribute])


@dataclass(frozen=True)
class Network:
    """The graph of an ONNX file.

    Attributes:
        name: file name, for messages.
        constants: the initializers; floats as float32, the rest as int64 or bool.
        inputs: what has to be fed, initializers left out.
    """

    name: str
    opset: int
    nodes: tuple[Node, ...]
    constants: dict[str, Tensor]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]


def read_network(path: str) -> Network:
    """Read the whole network.

    Raises:
        BrokenFile: missing, cut, a web page, a Git LFS pointer, no ONNX file, or its weights lie
            in another file.
    """
    return _read(path, lambda data: _network(data, os.path.basename(path), with_data=True))


def read_signature(path: str) -> Network:
    """Read all but the values of the weights, in milliseconds; `constants` is empty.

    Raises:
        BrokenFile: see `read_network`.
    """
    return _read(path, lambda data: _network(data, os.path.basename(path), with_data=False))


def _read(path: str, parse: Callable[[Window], T]) -> T:
    try:
        with opened(path) as data:
            if not len(data):
                raise _broken(path, "is empty")
            _require_binary(path, data.part(0, min(256, len(data))).read(), len(data))
            return _parsed(path, data, parse)
    except Unfit as error:
        raise _broken(path, f"cannot be read ({error})") from error
    except OSError as error:
        raise _broken(path, f"cannot be read ({error.strerror or error})") from error


def _parsed(path: str, data: Window, parse: Callable[[Window], T]) -> T:
    try:
        return parse(data)
    except (BrokenFile, Unfit, MemoryError):
        raise
    except NotFinite as error:
        raise _broken(path, f"holds {error}") from error
    except (ValueError, OverflowError, LookupError) as error:
        found = f"is cut off or no ONNX file ({len(data)} bytes; {error})"
        raise _broken(path, found) from error


def _broken(path: str, what: str, action: str = "Download it again") -> BrokenFile:
    name = os.path.basename(path)
    return BrokenFile(f"{name} {what}", "a whole .onnx file is needed", action)


def _require_binary(path: str, start: bytes, size: int) -> None:
    beginning = start.lstrip().lower()
    if beginning.startswith(_POINTER):
        raise _broken(
            path,
            f"is a Git LFS pointer of {size} bytes, not the model",
            "Run `git lfs pull` where it came from, or download the file itself",
        )
    if beginning.startswith((b"<!", b"<html", b"<?xml", b"<head")):
        raise _broken(
            path,
            f"is a web page of {size} bytes, not a model",
            "Download it again with the download button, not by saving the page",
        )
    if beginning.startswith(b"pk\x03\x04"):
        raise _broken(path, "is a zip archive", "Unpack it and put the .onnx files in its place")


class NotFinite(Malformed):
    """Weights that would make nothing but further values that are no numbers."""


def _network(data: Window, name: str, with_data: bool) -> Network:
    model = Fields(data)
    graphs = model.messages(7)
    if len(graphs) != 1:
        raise Malformed("it holds no graph")
    graph = graphs[0]
    nodes = tuple(map(_node, _operations(graph)))
    outputs = tuple(_value(part) for part in graph.messages(12))
    if not nodes or not outputs:
        raise Malformed("its graph is empty")
    if graph.messages(15):
        raise Malformed("it holds sparse weights")
    tensors = [_tensor(part, with_data) for part in graph.messages(5)]
    known = {one[0] for one in tensors}
    return Network(
        name=name,
        opset=_opset(model),
        nodes=nodes,
        constants={key: tensor for key, tensor in tensors if tensor is not None},
        inputs=tuple(v for v in map(_value, graph.messages(11)) if v.name not in known),
        outputs=outputs,
    )


def _operations(graph: Fields) -> list[Fields]:
    """The fields of all nodes, counted before anything is made of them."""
    count, parts, found = 0, graph.blobs(1), list[Fields]()
    if len(parts) > limits.ONNX_NODES:
        raise Malformed(f"it has {len(parts)} operations, a face model has some hundred")
    for part in parts:
        node = Fields(part)
        count += 1 + len(node.all(1)) + len(node.all(5))
        if count > limits.ONNX_PARTS:
            raise Malformed(f"it has more than {limits.ONNX_PARTS} nodes, inputs and attributes")
        found.append(node)
    return found


def _opset(model: Fields) -> int:
    for part in model.messages(8):
        if text(part.last(1)) in ("", "ai.onnx"):
            return part.integer(2)
    raise Malformed("it names no operator set")


def _node(part: Fields) -> Node:
    domain = text(part.last(7))
    operator = text(part.last(4))
    return Node(
        operator=operator if domain in ("", "ai.onnx") else f"{domain}.{operator}",
        name=text(part.last(3)),
        inputs=tuple(text(one) for one in part.blobs(1)),
        outputs=tuple(text(one) for one in part.blobs(2)),
        attributes={text(one.last(1)): _attribute(one) for one in part.messages(5)},
    )


def _attribute(part: Fields) -> Attribute:
    """The value by the attribute's type; by what is there in files that leave the type out."""
    kind = part.integer(20)
    readers: dict[int, tuple[int, Callable[[], Attribute]]] = {
        1: (2, lambda: float(floats(part.all(2))[0])),
        2: (3, lambda: signed(part.integer(3))),
        3: (4, lambda: text(part.last(4))),
        4: (5, lambda: _tensor(part.messages(5)[0], True, is_weight=False)[1]),
        6: (7, lambda: _listed_floats(part)),
        7: (8, lambda: tuple(signed(one) for one in integers(part.all(8)))),
    }
    if kind in readers:
        number, read = readers[kind]
        if kind in (1, 4) and not part.all(number):
            return 0.0 if kind == 1 else None
        return read()
    if kind:
        return None  # graphs, lists of strings: no operator here wants them
    return next((read() for number, read in readers.values() if part.all(number)), None)


def _listed_floats(part: Fields) -> tuple[float, ...]:
    numbers = floats(part.all(7))
    if numbers.nbytes > limits.ONNX_NUMBERS:
        raise Malformed(f"an attribute has {numbers.size} numbers")
    return tuple(numbers.tolist())


def _value(part: Fields) -> Value:
    shape: list[int | None] = []
    for kind in part.messages(2):
        for tensor in kind.messages(1):
            for dimensions in tensor.messages(2):
                sizes = (signed(one.integer(1)) for one in dimensions.messages(1))
                shape += [size if size > 0 else None for size in sizes]
    return Value(text(part.last(1)), tuple(shape))


def _tensor(part: Fields, with_data: bool, is_weight: bool = True) -> tuple[str, Tensor | None]:
    name = text(part.last(8))
    if part.integer(14) == 1 or part.all(13):
        raise Malformed(f"the weights {name!r} lie in another file, which cannot be used")
    if not with_data:
        return name, None
    kind, shape = part.integer(2), tuple(signed(one) for one in integers(part.all(1)))
    if kind not in _RAW:
        raise Malformed(f"the weights {name!r} are of the unknown type {kind}")
    if len(shape) > limits.ONNX_RANK or min(shape, default=0) < 0:
        beginning = shape[: limits.ONNX_RANK]
        raise Malformed(f"the weights {name!r} have the impossible shape {beginning}")
    values = _values(part, kind)
    count = 1
    for size in shape:
        count *= size
    if count != values.size:
        raise Malformed(f"the weights {name!r} of shape {shape} hold {values.size} values")
    wanted = numpy.float32 if kind in _FLOATING else numpy.bool_ if kind == 9 else numpy.int64
    made = torch.from_numpy(values.astype(wanted).reshape(shape))
    if is_weight and made.is_floating_point() and made.numel() and not is_finite(made):
        raise NotFinite(f"values in {name} that are not finite numbers")
    return name, made


def _values(part: Fields, kind: int) -> numpy.ndarray:
    raw = part.blobs(9)
    if raw:
        dtype = numpy.dtype(_RAW[kind])
        if len(raw[-1]) % dtype.itemsize:
            raise Malformed("weights end within a value")
        return numpy.frombuffer(raw[-1].read(), dtype)
    if kind == 1:
        return floats(part.all(4))
    if kind == 11:
        return _doubles(part)
    numbers = integers(part.all(7 if kind == 7 else 5))
    if kind == 10:  # each half float as the bits of an integer
        return numpy.asarray([one & 0xFFFF for one in numbers], numpy.uint16).view(numpy.float16)
    return numpy.asarray([signed(one) for one in numbers], numpy.int64)


def _doubles(part: Fields) -> numpy.ndarray:
    joined = b"".join(one.read() for one in part.blobs(10))
    if len(joined) % 8:
        raise Malformed("weights end within a value")
    return numpy.frombuffer(joined, "<f8")
