"""Face model packs made up for the tests: the published signatures, nobody's weights.

`small_detector` sees coloured squares as faces, so a test knows what is where. The `grown_`
ones have the operators and the build of the published files, with random weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper

TEMPLATE = numpy.array(
    [
        [38.2946, 51.6963],
        [73.5318, 51.5014],
        [56.0252, 71.7366],
        [41.5493, 92.3655],
        [70.7299, 92.2041],
    ],
    numpy.float32,
)
# Stride -> colour that fires there (red, green, blue) and side of the box in pixels.
PATCHES = {8: ((1, 0, 1), 64), 16: ((0, 1, 0), 128), 32: ((0, 0, 1), 192)}


class Graph:
    """An ONNX graph in the making."""

    def __init__(self, opset: int = 11, seed: int = 0) -> None:
        self.opset = opset
        self.random = numpy.random.RandomState(seed)
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self._count = 0

    def weight(self, values: Any, name: str = "") -> str:
        name = name or f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(numpy.asarray(values), name))
        return name

    def add(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        self._count += 1
        output = output or f"v{self._count}"
        name = f"{operator}_{self._count}"
        self.nodes.append(helper.make_node(operator, inputs, [output], name=name, **attributes))
        return output

    def convolution(
        self, data: str, into: int, out: int, size: int = 3, stride: int = 1, bias: bool = True
    ) -> str:
        scale = (2.0 / (into * size * size)) ** 0.5
        weight = self.random.randn(out, into, size, size).astype("f4") * numpy.float32(scale)
        inputs = [data, self.weight(weight)]
        if bias:
            inputs.append(self.weight((self.random.randn(out) * 0.05).astype("f4")))
        return self.add(
            "Conv",
            *inputs,
            kernel_shape=[size, size],
            strides=[stride, stride],
            pads=[size // 2] * 4,
            dilations=[1, 1],
            group=1,
        )

    def normalisation(self, data: str, channels: int) -> str:
        r = self.random
        parts = [
            1 + 0.1 * r.randn(channels),
            0.1 * r.randn(channels),
            0.1 * r.randn(channels),
            0.5 + r.rand(channels),
        ]
        weights = [self.weight(part.astype("f4")) for part in parts]
        return self.add("BatchNormalization", data, *weights, epsilon=1e-5, momentum=0.9)

    def save(
        self, path: Path, inputs: list[tuple[str, list[Any]]], outputs: list[tuple[str, list[Any]]]
    ) -> Path:
        def values(pairs: list[tuple[str, list[Any]]]) -> list[Any]:
            return [
                helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n, shape in pairs
            ]

        graph = helper.make_graph(self.nodes, "test", values(inputs), values(outputs), self.weights)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)])
        made.ir_version = 8
        onnx.checker.check_model(made)
        path.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(made, str(path))
        return path


def _head(graph: Graph, data: str, columns: int, batched: bool, output: str) -> str:
    rows = graph.add("Transpose", data, perm=[0, 2, 3, 1])
    shape = [1, -1, columns] if batched else [-1, columns]
    shape_name = graph.weight(numpy.array(shape, "i8"))
    return graph.add("Reshape", rows, shape_name, output=output)


def _detector_outputs(batched: bool) -> list[tuple[str, list[Any]]]:
    kinds = (("score", 1), ("bbox", 4), ("kps", 10))
    lead: list[Any] = [1, None] if batched else [None]
    return [(f"{kind}_{s}", [*lead, columns]) for kind, columns in kinds for s in PATCHES]


def small_detector(path: Path, fixed: bool = False, batched: bool = False) -> Path:
    """Fires on single cells: magenta ones at stride 8, green at 16, blue at 32."""
    graph = Graph(opset=13)
    for stride, (colour, side) in PATCHES.items():
        pooled = graph.add(
            "AveragePool", "input.1", kernel_shape=[stride, stride], strides=[stride, stride]
        )
        # 4 for the pure colour, 0 for black, white and what is far from it.
        signs = numpy.array([8.0 if on else -8.0 for on in colour], "f4").reshape(1, 3, 1, 1)
        purity = graph.add(
            "Conv", pooled, graph.weight(signs), graph.weight(numpy.array([-20], "f4"))
        )
        # One cell among others; a larger patch is no face at this size.
        alone = numpy.full((2, 1, 3, 3), -3, "f4")
        alone[:, :, 1, 1] = 3
        logit = graph.add(
            "Conv",
            graph.add("Relu", purity),
            graph.weight(alone),
            graph.weight(numpy.array([-6, -18], "f4")),
            pads=[1] * 4,
        )
        score = graph.add("Sigmoid", logit)
        half = side / 2 / stride
        points = ((TEMPLATE - 56) / 56 * half).reshape(-1)
        for kind, columns, values in (("bbox", 8, [half] * 8), ("kps", 20, [*points, *points])):
            zero = graph.weight(numpy.zeros((columns, 3, 1, 1), "f4"))
            constant = graph.add("Conv", pooled, zero, graph.weight(numpy.array(values, "f4")))
            _head(graph, constant, columns // 2, batched, f"{kind}_{stride}")
        _head(graph, score, 1, batched, f"score_{stride}")
    side = 640 if fixed else None
    inputs: list[tuple[str, list[Any]]] = [("input.1", [1, 3, side, side])]
    return graph.save(path, inputs, _detector_outputs(batched))


def small_recogniser(path: Path, seed: int = 0, size: int = 112, width: int = 512) -> Path:
    """A fixed random projection of a crop."""
    graph = Graph(opset=13, seed=seed)
    pooled = graph.add(
        "AveragePool", "input.1", kernel_shape=[size // 8] * 2, strides=[size // 8] * 2
    )
    flat = graph.add("Flatten", pooled, axis=1)
    weight = graph.random.randn(192, width).astype("f4") / 4
    bias = graph.random.randn(width).astype("f4") / 4
    graph.add("Gemm", flat, graph.weight(weight), graph.weight(bias), output="683")
    return graph.save(path, [("input.1", [None, 3, size, size])], [("683", [1, width])])


def landmarks(path: Path, size: int = 192, width: int = 212) -> Path:
    """A file that packs carry and faces do not need."""
    graph = Graph(opset=13)
    pooled = graph.add("AveragePool", "data", kernel_shape=[size // 4] * 2, strides=[size // 4] * 2)
    flat = graph.add("Flatten", pooled, axis=1)
    graph.add("MatMul", flat, graph.weight(numpy.zeros((48, width), "f4")), output="fc1")
    return graph.save(path, [("data", [None, 3, size, size])], [("fc1", [1, width])])


def _upsample(graph: Graph, data: str, like: str) -> str:
    """Resize to another map's size as torch exports it: sizes from Shape, Slice and Concat."""
    whole = graph.add("Shape", like)
    sides = graph.add("Slice", whole, *(graph.weight(numpy.array([n], "i8")) for n in (2, 4, 0)))
    kept = graph.add(
        "Slice",
        graph.add("Shape", data),
        *(graph.weight(numpy.array([n], "i8")) for n in (0, 2, 0)),
    )
    return graph.add(
        "Resize",
        data,
        graph.weight(numpy.zeros(0, "f4")),
        graph.weight(numpy.zeros(0, "f4")),
        graph.add("Concat", kept, sides, axis=0),
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )


def grown_detector(path: Path, fixed: bool = False, batched: bool = False, seed: int = 3) -> Path:
    """SCRFD's build: stages of conv, bn, relu; a pyramid; heads that share weights."""
    graph, width = Graph(opset=11, seed=seed), 16
    data = graph.convolution("input.1", 3, width, stride=2, bias=False)
    data = graph.add("Relu", graph.normalisation(data, width))
    data = graph.add(
        "MaxPool", data, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=0
    )
    levels: list[str] = []
    for _ in PATCHES:
        inner = graph.convolution(data, width, width, stride=2, bias=False)
        inner = graph.add("Relu", graph.normalisation(inner, width))
        inner = graph.normalisation(graph.convolution(inner, width, width, bias=False), width)
        short = graph.add(
            "AveragePool", data, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1, pads=[0] * 4
        )
        short = graph.convolution(short, width, width, size=1, bias=False)
        data = graph.add("Relu", graph.add("Add", inner, short))
        levels.append(graph.convolution(data, width, width, size=1))
    for upper in (1, 0):
        grown = _upsample(graph, levels[upper + 1], levels[upper])
        levels[upper] = graph.add("Add", levels[upper], grown)
    _add_heads(graph, levels, width, batched)
    side: int | None = 640 if fixed else None
    return graph.save(path, [("input.1", [1, 3, side, side])], _detector_outputs(batched))


def _add_heads(graph: Graph, levels: list[str], width: int, batched: bool) -> None:
    r = graph.random

    def shared(out: int, bias: float, gain: float) -> tuple[str, str]:
        weight = (r.randn(out, width, 3, 3) * gain / (9 * width) ** 0.5).astype("f4")
        return graph.weight(weight), graph.weight(numpy.full(out, bias, "f4"))

    heads = {
        "score": (1, shared(2, -2.0, 1.2)),
        "bbox": (4, shared(8, 2.0, 0.2)),
        "kps": (10, shared(20, 0.0, 0.8)),
    }
    for index, (stride, level) in enumerate(zip(PATCHES, levels, strict=True)):
        for kind, (columns, weights) in heads.items():
            made = graph.add("Conv", level, *weights, kernel_shape=[3, 3], pads=[1] * 4)
            if kind == "score":
                made = graph.add("Sigmoid", made)
            if kind == "bbox":
                scale = graph.weight(numpy.array(1.0 + 0.1 * index, "f4"))
                made = graph.add("Mul", made, scale)
            _head(graph, made, columns, batched, f"{kind}_{stride}")


def grown_recogniser(path: Path, seed: int = 5, through_identity: bool = True) -> Path:
    """IResNet's build: bn, conv, bn, PRelu, conv, bn, add; then bn, Flatten, Gemm, bn."""
    graph, width = Graph(opset=11, seed=seed), 16

    def activation(data: str, channels: int) -> str:
        slope = graph.weight((0.25 + 0.05 * graph.random.randn(channels, 1, 1)).astype("f4"))
        return graph.add("PRelu", data, graph.add("Identity", slope) if through_identity else slope)

    data = activation(graph.convolution("input.1", 3, width), width)
    for _ in range(4):
        inner = graph.normalisation(data, width)
        inner = graph.normalisation(graph.convolution(inner, width, width, bias=False), width)
        inner = graph.convolution(activation(inner, width), width, width, stride=2, bias=False)
        short = graph.convolution(data, width, width, size=1, stride=2, bias=False)
        data = graph.add(
            "Add", graph.normalisation(inner, width), graph.normalisation(short, width)
        )
    flat = graph.add("Flatten", graph.normalisation(data, width), axis=1)
    rows = width * 7 * 7
    weight = graph.weight((graph.random.randn(512, rows) / rows**0.5).astype("f4"))
    bias = graph.weight(graph.random.randn(512).astype("f4"))
    made = graph.add("Gemm", flat, weight, bias, alpha=1.0, beta=1.0, transB=1)
    graph.normalisation(made, 512)
    graph.nodes[-1].output[0] = "683"
    return graph.save(path, [("input.1", [None, 3, 112, 112])], [("683", [1, 512])])


def full_size_recogniser(path: Path, seed: int = 6) -> Path:
    """IResNet-50 as w600k_r50.onnx has it, 174 MB of random weights."""
    graph = Graph(opset=11, seed=seed)

    def activation(data: str, channels: int) -> str:
        return graph.add("PRelu", data, graph.weight(numpy.full((channels, 1, 1), 0.25, "f4")))

    def block(data: str, into: int, out: int, stride: int) -> str:
        inner = graph.normalisation(data, into)
        inner = activation(graph.convolution(inner, into, out), out)
        inner = graph.convolution(inner, out, out, stride=stride)
        if stride == 2:
            data = graph.convolution(data, into, out, size=1, stride=2)
        return graph.add("Add", inner, data)

    data, width = activation(graph.convolution("input.1", 3, 64), 64), 64
    for depth, out in zip((3, 4, 14, 3), (64, 128, 256, 512), strict=True):
        for number in range(depth):
            data = block(data, width, out, 2 if number == 0 else 1)
            width = out
    flat = graph.add("Flatten", graph.normalisation(data, width), axis=1)
    rows = width * 7 * 7
    weight = graph.weight((graph.random.randn(512, rows) / rows**0.5).astype("f4"))
    bias = graph.weight(numpy.zeros(512, "f4"))
    made = graph.add("Gemm", flat, weight, bias, alpha=1.0, beta=1.0, transB=1)
    graph.normalisation(made, 512)
    graph.nodes[-1].output[0] = "683"
    return graph.save(path, [("input.1", [None, 3, 112, 112])], [("683", [1, 512])])


def make_pack(folder: Path, grown: bool = False, **kind: bool) -> Path:
    """A pack in the layout of buffalo_l."""
    (grown_detector if grown else small_detector)(folder / "det_10g.onnx", **kind)
    (grown_recogniser if grown else small_recogniser)(folder / "w600k_r50.onnx")
    landmarks(folder / "2d106det.onnx")
    landmarks(folder / "genderage.onnx", 96, 3)
    return folder


def paint(image: numpy.ndarray, stride: int, column: int, row: int, times: int = 1) -> None:
    """One cell that the small detector takes for a face where it is scaled by 1 / times."""
    side = stride * times
    place = slice(row * side, (row + 1) * side), slice(column * side, (column + 1) * side)
    image[place] = [255 * on for on in PATCHES[stride][0]]
