"""Hostile ONNX: networks that nobody's exporter writes, and messages that no network needs."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import numpy
import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, helper, numpy_helper

from . import hostile, plain_bytes


def damaged(data: bytes, random: Random) -> bytes:
    """The file with another network in it.

    Raises:
        ValueError: it is no ONNX file.
    """
    if random.random() < 0.15:
        return random.choice(_FIELDS)(data, random)
    try:
        model = onnx.load_from_string(data)
    except DecodeError as error:
        raise ValueError("no ONNX file") from error
    if not model.graph.node:
        raise ValueError("no network")
    random.choice(_WAYS)(model.graph, random)
    return model.SerializeToString()


def _many_fields(data: bytes, random: Random) -> bytes:
    """A field of the graph again and again, or of what nobody knows."""
    field = random.choice((b"\x42\x00", b"\x3a\x00", b"\x9a\x06\x00", b"\x08\x01"))
    return data + field * random.choice((10, 10_000, 1_000_000))


def _many_in_graph(data: bytes, random: Random) -> bytes:
    fields = random.choice((b"\x42\x00", b"\x0a\x00", b"\x2a\x00", b"\x0a\x02\x0a\x00"))
    content = fields * random.choice((10_000, 500_000))
    return data + b"\x3a" + _varint(len(content)) + content


def _deep_message(data: bytes, random: Random) -> bytes:
    inner = b""
    for _ in range(random.choice((20, 300))):
        node = b"\x2a" + _varint(len(inner)) + inner  # attribute { g { node } } all the way down
        node = b"\x32" + _varint(len(node)) + node
        inner = b"\x0a" + _varint(len(node)) + node
    return data + b"\x3a" + _varint(len(inner)) + inner


def _varint(value: int) -> bytes:
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*made, value])


_FIELDS = (_many_fields, _many_in_graph, _deep_message, plain_bytes.twice)


def _node(graph: Any, random: Random) -> Any:
    return random.choice(list(graph.node))


def _operator(graph: Any, random: Random) -> None:
    names = ("Concat", "Add", "Mul", "Conv", "Resize", "Expand", "Tile", "Reshape", "Loop", "If")
    names += ("ConstantOfShape", "Slice", "Gather", "Softmax", "Pad", "MatMul", "Gemm", "Unknown")
    _node(graph, random).op_type = random.choice(names)


def _attribute(graph: Any, random: Random) -> None:
    nodes = [node for node in graph.node if node.attribute]
    if not nodes:
        return _operator(graph, random)
    attribute = random.choice(list(random.choice(nodes).attribute))
    big = random.choice((0, -1, 2, 10, 1000, 10**6, 2**31, 2**62))
    if attribute.ints:
        attribute.ints[random.randrange(len(attribute.ints))] = big
    elif attribute.type == onnx.AttributeProto.INT:
        attribute.i = big
    else:
        attribute.name = random.choice(("axis", "pads", "x", "kernel_shape", "value"))
    return None


def _shape(graph: Any, random: Random) -> None:
    """A constant is larger or otherwise than its data."""
    tensor = random.choice(list(graph.initializer))
    if tensor.dims and random.random() < 0.7:
        place = random.randrange(len(tensor.dims))
        tensor.dims[place] = random.choice((0, 1, -1, 7, 2**31, 2**62, tensor.dims[place] * 2))
    else:
        tensor.dims.extend([1] * random.choice((1, 3, 70)))


def _values(graph: Any, random: Random) -> None:
    """Numbers of a constant are large, not finite, or fewer."""
    tensor = random.choice(list(graph.initializer))
    try:
        held = numpy_helper.to_array(tensor).copy()
    except (ValueError, TypeError):
        return
    whole = held.dtype.kind in "iu"
    odd: tuple[Any, ...] = (0, -1, 7, 2**31, 2**40) if whole else (numpy.nan, numpy.inf, 1e30, 0)
    if held.size:
        held.reshape(-1)[random.randrange(held.size)] = random.choice(odd)
    tensor.CopyFrom(numpy_helper.from_array(held, tensor.name))
    if random.random() < 0.3:
        tensor.raw_data = tensor.raw_data[: random.choice((0, 1, len(tensor.raw_data) // 2))]


def _typed(graph: Any, random: Random) -> None:
    tensor = random.choice(list(graph.initializer))
    tensor.data_type = random.choice((0, 2, 7, 8, 9, 10, 11, 14, 16, 99, 2**30))
    if random.random() < 0.3:
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=hostile.text(random))


def _linked(graph: Any, random: Random) -> None:
    """An input is another value: a later one, its own, or none."""
    node = _node(graph, random)
    names = [name for other in graph.node for name in other.output] + ["", "nobody", "input.1"]
    if node.input:
        node.input[random.randrange(len(node.input))] = random.choice(names)
    else:
        node.input.append(random.choice(names))


def _dropped(graph: Any, random: Random) -> None:
    lists = (graph.node, graph.initializer, graph.output, graph.input)
    chosen = random.choice(lists)
    if chosen:
        del chosen[random.randrange(len(chosen))]


def _inputs(graph: Any, random: Random) -> None:
    """The picture is of another size, or there are more of them."""
    if random.random() < 0.5:
        for dim in graph.input[0].type.tensor_type.shape.dim[2:] if graph.input else ():
            dim.dim_value = random.choice((0, 1, 16, 112, 128, 100_000, 2**40))
    else:
        graph.input.extend([graph.input[0]] if graph.input else [])


def _multiplied(graph: Any, random: Random) -> None:
    """Each operation makes ten of what it gets, again and again, and the first output is that."""
    name = "more0"
    times = random.choice((3, 8, 20))
    source = graph.input[0].name if graph.input else "input.1"
    first = helper.make_node("Concat", [source] * 10, [name], axis=random.choice((0, 2, 3)))
    graph.node.append(first)
    for number in range(1, times):
        graph.node.append(helper.make_node("Concat", [name] * 10, [f"more{number}"], axis=0))
        name = f"more{number}"
    _end(graph, name)


def _folded(graph: Any, random: Random) -> None:
    """The same with constants alone, which are worked out when the file is loaded."""
    graph.initializer.append(numpy_helper.from_array(numpy.ones((10, 10), "f4"), "seed"))
    name = "seed"
    for number in range(random.choice((3, 8, 20))):
        new = f"grown{number}"
        if random.random() < 0.5:
            graph.node.append(helper.make_node("Concat", [name] * 10, [new], axis=0))
        else:
            graph.node.append(helper.make_node("MatMul", [name, "seed"], [new]))
        name = new
    _end(graph, name)


def _end(graph: Any, name: str) -> None:
    """Let the first output be this value."""
    if graph.output:
        for node in graph.node:
            for place, output in enumerate(node.output):
                if output == graph.output[0].name:
                    node.output[place] = f"{output}.old"
        graph.node.append(helper.make_node("Identity", [name], [graph.output[0].name]))


def _expanded(graph: Any, random: Random) -> None:
    size = random.choice((100, 10**5, 2**40))
    graph.initializer.append(numpy_helper.from_array(numpy.array([size, size], "i8"), "sides"))
    graph.initializer.append(numpy_helper.from_array(numpy.ones(1, "f4"), "one"))
    kind = random.choice(("Expand", "Reshape", "Tile"))
    graph.node.append(helper.make_node(kind, ["one", "sides"], ["large"]))
    _end(graph, "large")


def _crowded(graph: Any, random: Random) -> None:
    """Thousands of operations that do nothing."""
    name = graph.input[0].name if graph.input else "input.1"
    for number in range(random.choice((50, 5000))):
        graph.node.append(helper.make_node("Relu", [name], [f"crowd{number}"]))
        name = f"crowd{number}"
    _end(graph, name)


_WAYS: tuple[Callable[[Any, Random], None], ...] = (
    *(_operator, _operator, _attribute, _attribute, _attribute, _shape, _shape, _values, _values),
    *(_typed, _linked, _linked, _dropped, _inputs, _multiplied, _folded, _expanded, _crowded),
)
