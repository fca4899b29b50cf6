"""Every operator gives what onnxruntime gives; what cannot be run is named."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pack.ip_models.errors import BrokenFile, UnsupportedNetwork
from pack.ip_models.onnx.file import read_network
from pack.ip_models.onnx.module import OnnxModule
from pack.ip_models.onnx.plan import OPERATORS

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")
helper, numpy_helper, FLOAT = onnx.helper, onnx.numpy_helper, onnx.TensorProto.FLOAT

Weights = dict[str, Any]
PATH = "graph.onnx"
covered: set[str] = set()


@pytest.fixture(autouse=True, scope="module")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("graphs"))
        yield


def save(nodes: list[Any], weights: Weights, rank: int, opset: int, outputs: int = 1) -> None:
    shape = [f"d{axis}" for axis in range(rank)]
    made = [helper.make_tensor_value_info(f"y{n or ''}", FLOAT, None) for n in range(outputs)]
    tensors = [numpy_helper.from_array(numpy.asarray(w), name) for name, w in weights.items()]
    given_input = [helper.make_tensor_value_info("x", FLOAT, shape)]
    graph = helper.make_graph(nodes, "g", given_input, made, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8
    onnx.save(model, PATH)
    covered.update(node.op_type for node in nodes)


def theirs(data: numpy.ndarray) -> list[numpy.ndarray]:
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    session = ort.InferenceSession(PATH, options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": data})


def ours(data: numpy.ndarray) -> list[numpy.ndarray]:
    return [one.numpy() for one in OnnxModule(read_network(PATH))(torch.from_numpy(data))]


def agree(
    nodes: list[Any], weights: Weights | None = None, shape: Any = (1, 3, 9, 11), opset: int = 13
) -> None:
    data = random(shape)
    save(nodes, weights or {}, len(shape), opset)
    for wanted, found in zip(theirs(data), ours(data), strict=True):
        assert found.shape == wanted.shape
        numpy.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)


def random(shape: Any) -> numpy.ndarray:
    return numpy.random.RandomState(0).randn(*shape).astype("f4")


def one(operator: str, *inputs: str, **attributes: Any) -> list[Any]:
    return [helper.make_node(operator, ["x", *inputs], ["y"], **attributes)]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_convolution(data: Any) -> None:
    draw = data.draw
    group, into, out = draw(st.sampled_from([(1, 3, 4), (3, 3, 6), (2, 4, 4)]))
    kernel = [draw(st.integers(1, 4)), draw(st.integers(1, 4))]
    attributes: dict[str, Any] = {
        "strides": [draw(st.integers(1, 3)), draw(st.integers(1, 3))],
        "dilations": [draw(st.integers(1, 2)), draw(st.integers(1, 2))],
        "group": group,
    }
    pads = draw(st.sampled_from(["pads", "SAME_UPPER", "SAME_LOWER", "VALID"]))
    if pads == "pads":
        attributes["pads"] = [draw(st.integers(0, 2)) for _ in range(4)]
    else:
        attributes["auto_pad"] = pads
        # onnxruntime refuses to dilate here
        attributes["dilations"] = [1, 1]
    weights = {"w": random((out, into // group, *kernel))}
    inputs = ["w"]
    if draw(st.booleans()):
        weights["b"] = random((out,))
        inputs.append("b")
    shape = (2, into, draw(st.integers(8, 12)), draw(st.integers(8, 12)))
    agree(one("Conv", *inputs, **attributes), weights, shape, draw(st.sampled_from([8, 11, 13])))


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_pooling(data: Any) -> None:
    draw = data.draw
    operator = draw(st.sampled_from(["MaxPool", "AveragePool"]))
    kernel = [draw(st.integers(1, 4)), draw(st.integers(1, 4))]
    attributes: dict[str, Any] = {
        "kernel_shape": kernel,
        "strides": [draw(st.integers(1, 4)), draw(st.integers(1, 4))],
    }
    pads = draw(st.sampled_from(["pads", "SAME_UPPER", "SAME_LOWER", "VALID"]))
    if pads == "pads":
        attributes["pads"] = [draw(st.integers(0, kernel[axis % 2] - 1)) for axis in range(4)]
        attributes["ceil_mode"] = draw(st.integers(0, 1))
    else:
        attributes["auto_pad"] = pads
        # onnxruntime pads by less than nothing where windows leave gaps
        assume(all(step <= side for step, side in zip(attributes["strides"], kernel, strict=True)))
    if operator == "AveragePool":
        attributes["count_include_pad"] = draw(st.integers(0, 1))
    elif pads == "pads":
        attributes["dilations"] = [draw(st.integers(1, 2)), draw(st.integers(1, 2))]
    shape = (2, 3, draw(st.integers(8, 12)), draw(st.integers(8, 12)))
    agree(one(operator, **attributes), {}, shape, draw(st.sampled_from([11, 13, 19])))


WAYS = ["asymmetric", "half_pixel", "pytorch_half_pixel", "align_corners"]
ROUNDINGS = ["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"]


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_resize(data: Any) -> None:
    draw = data.draw
    shape = (1, 2, draw(st.integers(3, 9)), draw(st.integers(3, 9)))
    attributes: dict[str, Any] = {
        "mode": draw(st.sampled_from(["nearest", "linear"])),
        "coordinate_transformation_mode": draw(st.sampled_from(WAYS)),
    }
    if attributes["mode"] == "nearest":
        attributes["nearest_mode"] = draw(st.sampled_from(ROUNDINGS))
    empty = numpy.zeros(0, "f4")
    # A place between two pixels is a matter of one bit at other factors.
    nearest = attributes["mode"] == "nearest"
    kinds = [0.5, 1.0, 2.0, 3.0] if nearest else [0.5, 0.6, 1.0, 1.7, 2.0, 3.0]
    if draw(st.booleans()):
        sides = [draw(st.integers(1, 20)), draw(st.integers(1, 20))]
        if nearest:
            sides = [side * draw(st.integers(1, 4)) for side in shape[2:]]
        weights = {"r": empty, "s": empty, "t": numpy.array([1, 2, *sides], "i8")}
        names = ["r", "s", "t"]
    else:
        factors = [draw(st.sampled_from(kinds)) for _ in range(2)]
        weights = {"r": empty, "s": numpy.array([1, 1, *factors], "f4")}
        names = ["r", "s"]
    agree(one("Resize", *names, **attributes), weights, shape, draw(st.sampled_from([11, 13])))


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("operator, opset", [("Upsample", 9), ("Resize", 10)])
def test_resizing_of_old_operator_sets(operator: str, opset: int, mode: str) -> None:
    scales = {"s": numpy.array([1, 1, 2, 2], "f4")}
    agree(one(operator, "s", mode=mode), scales, opset=opset)


def test_upsampling_by_an_attribute() -> None:
    agree(one("Upsample", mode="nearest", scales=[1.0, 1.0, 2.0, 3.0]), opset=7)


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_slice(data: Any) -> None:
    draw = data.draw
    count = draw(st.integers(1, 3))
    axes = draw(st.permutations([0, 1, -1, 2]).map(lambda found: found[:count]))
    assume(not {-1, 2} <= {*axes} or count < 4)
    far = st.integers(-12, 12) | st.sampled_from([2**31, -(2**31), 2**62, -(2**62)])
    names = {"starts": far, "ends": far, "steps": st.sampled_from([-3, -1, 1, 2])}
    weights = {name: numpy.array([draw(kind) for _ in axes], "i8") for name, kind in names.items()}
    weights["axes"] = numpy.array(axes, "i8")
    agree(one("Slice", "starts", "ends", "axes", "steps"), weights, (3, 4, 5, 6))


def test_slice_by_attributes() -> None:
    agree(one("Slice", starts=[1, 0], ends=[3, -1], axes=[2, 3]), opset=9)


SLOPES = [(3, 1, 1), (1,), (1, 1, 1), (3, 9, 11)]
W = {"w": random((6, 5)), "b": random((6,)), "m": random((11, 4))}
SIMPLE: dict[str, tuple[list[Any], Weights, Any, int]] = {
    **{f"PRelu {s}": (one("PRelu", "s"), {"s": random(s)}, (2, 3, 9, 11), 11) for s in SLOPES},
    **{
        operator: (one(operator), {}, (2, 3, 4, 5), 13)
        for operator in (
            *("Relu", "Sigmoid", "Tanh", "GlobalAveragePool", "GlobalMaxPool"),
            *("Floor", "Ceil", "Identity", "Transpose", "Flatten"),
        )
    },
    "Sqrt": (
        [helper.make_node("Relu", ["x"], ["a"]), helper.make_node("Sqrt", ["a"], ["y"])],
        {},
        (2, 3),
        13,
    ),
    "LeakyRelu": (one("LeakyRelu", alpha=0.2), {}, (2, 3), 13),
    "LeakyRelu default": (one("LeakyRelu"), {}, (2, 3), 13),
    "Clip attributes": (one("Clip", min=-0.5, max=0.5), {}, (4, 5), 6),
    "Clip inputs": (one("Clip", "a", "b"), {"a": numpy.float32(-1), "b": numpy.float32(0)},
                    (9,), 11),
    "Clip low": (one("Clip", "a"), {"a": numpy.float32(0)}, (9,), 11),
    "Clip high": (one("Clip", "", "a"), {"a": numpy.float32(0)}, (9,), 11),
    "Flatten 2": (one("Flatten", axis=2), {}, (2, 3, 4, 5), 13),
    "Flatten 0": (one("Flatten", axis=0), {}, (2, 3, 4, 5), 13),
    "Flatten end": (one("Flatten", axis=4), {}, (2, 3, 4, 5), 13),
    "Flatten -1": (one("Flatten", axis=-1), {}, (2, 3, 4, 5), 13),
    "Softmax old": (one("Softmax", axis=1), {}, (2, 3, 4), 11),
    "Softmax old default": (one("Softmax"), {}, (2, 3, 4), 11),
    "Softmax new": (one("Softmax"), {}, (2, 3, 4), 13),
    "Softmax axis": (one("Softmax", axis=1), {}, (2, 3, 4), 13),
    "Gemm": (one("Gemm", "w", "b", alpha=0.5, beta=2.0, transB=1), W, (3, 5), 13),
    "Gemm row": (one("Gemm", "w", transB=1), W, (3, 5), 13),
    "Gemm transA": (one("Gemm", "w", "b", transA=1, transB=1), W, (5, 3), 13),
    "MatMul": (one("MatMul", "m"), W, (2, 3, 11), 13),
    "Reshape -1": (one("Reshape", "s"), {"s": numpy.array([0, -1, 2], "i8")}, (2, 3, 4), 13),
    "Reshape attribute": (one("Reshape", shape=[4, -1]), {}, (2, 3, 4), 1),
    "Transpose perm": (one("Transpose", perm=[0, 2, 3, 1]), {}, (2, 3, 4, 5), 13),
    "Unsqueeze": (one("Unsqueeze", "a"), {"a": numpy.array([0, -1], "i8")}, (2, 3), 13),
    "Unsqueeze old": (one("Unsqueeze", axes=[1, 3]), {}, (2, 3), 11),
    "Squeeze": (one("Squeeze", "a"), {"a": numpy.array([0, -1], "i8")}, (1, 3, 1), 13),
    "Squeeze old": (one("Squeeze", axes=[0]), {}, (1, 3, 1), 11),
    "Squeeze all": (one("Squeeze"), {}, (1, 3, 1), 13),
    "ReduceMean": (one("ReduceMean", axes=[2, -1], keepdims=0), {}, (2, 3, 4, 5), 13),
    "ReduceMean all": (one("ReduceMean"), {}, (2, 3, 4, 5), 13),
    "ReduceMean input": (one("ReduceMean", "a"), {"a": numpy.array([1], "i8")}, (2, 3, 4), 18),
    "ReduceMean none": (one("ReduceMean", "", noop_with_empty_axes=1), {}, (2, 3, 4), 18),
    "Pad": (one("Pad", "p", "v"), {"p": numpy.array([0, 1, 2, 0], "i8"), "v": numpy.float32(7)},
            (3, 4), 13),
    "Pad crop": (one("Pad", "p"), {"p": numpy.array([1, -1, 2, 0], "i8")}, (3, 4), 13),
    "Pad old": (one("Pad", pads=[0, 1, 2, 0], value=3.0), {}, (3, 4), 2),
    "Pad axes": (one("Pad", "p", "", "a"),
                 {"p": numpy.array([1, 2], "i8"), "a": numpy.array([-1], "i8")}, (3, 4), 18),
    "Dropout": (one("Dropout"), {}, (2, 3), 13),
    "Expand": (one("Expand", "s"), {"s": numpy.array([2, 1, 3], "i8")}, (4, 1), 13),
    "Gather": (one("Gather", "i", axis=1), {"i": numpy.array([[2, 0], [-1, 1]], "i8")}, (2, 3), 13),
    "Gather one": (one("Gather", "i", axis=-1), {"i": numpy.int64(1)}, (2, 3), 13),
    "Concat": (one("Concat", "w", axis=-2), {"w": random((4, 5))}, (3, 5), 13),
    "Cast": (
        [
            helper.make_node("Cast", ["x"], ["a"], to=7),
            helper.make_node("Cast", ["a"], ["y"], to=1),
        ],
        {},
        (40,),
        13,
    ),
    **{
        f"{operator} broadcast": (one(operator, "w"), {"w": random((3, 1, 1)) + 3},
                                  (2, 3, 4, 5), 13)
        for operator in ("Add", "Sub", "Mul", "Div")
    },
}  # fmt: skip


@pytest.mark.parametrize("case", SIMPLE)
def test_operator(case: str) -> None:
    nodes, weights, shape, opset = SIMPLE[case]
    agree(nodes, weights, shape, opset)


@pytest.mark.parametrize("opset", [7, 9, 15])
def test_normalisation(opset: int) -> None:
    weights = {name: random((3,)) for name in "sbm"} | {"v": random((3,)) ** 2 + 0.1}
    agree(one("BatchNormalization", *weights, epsilon=1e-3), weights, (2, 3, 4, 5), opset)
    agree(one("BatchNormalization", *weights), weights, (2, 3), opset)


def test_whole_number_division_rounds_to_zero() -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["a"], to=7),
        helper.make_node("Div", ["a", "d"], ["b"]),
        helper.make_node("Cast", ["b"], ["y"], to=1),
    ]
    save(nodes, {"d": numpy.array(2, "i8")}, 1, 13)
    data = numpy.array([-5, -1, 0, 1, 5], "f4")
    assert ours(data)[0].tolist() == theirs(data)[0].tolist() == [-2, 0, 0, 0, 2]


CONSTANTS = {"value": 1, "value_float": 2.5, "value_floats": [1.0, 2.0], "value_int": 3}


@pytest.mark.parametrize("name", [*CONSTANTS, "value_ints"])
def test_constant(name: str) -> None:
    given_value: Any = CONSTANTS.get(name, [3, 4])
    if name == "value":
        given_value = numpy_helper.from_array(random((2,)))
    nodes = [helper.make_node("Constant", [], ["c"], **{name: given_value})]
    nodes.append(helper.make_node("Cast", ["c"], ["f"], to=1))
    nodes.append(helper.make_node("Add", ["x", "f"], ["y"]))
    agree(nodes, {}, (3, 2))


def test_a_constant_shape() -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("ConstantOfShape", ["s"], ["c"],
                         value=numpy_helper.from_array(numpy.array([2.5], "f4"))),
        helper.make_node("Add", ["x", "c"], ["y"]),
    ]  # fmt: skip
    agree(nodes, {}, (3, 2))


def test_a_reshape_by_shape_arithmetic() -> None:
    """Rows from Shape, Gather, Mul, Unsqueeze and Concat, as torch exports a `view`."""
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "two"], ["h"]),
        helper.make_node("Gather", ["s", "three"], ["w"]),
        helper.make_node("Mul", ["h", "w"], ["n"]),
        helper.make_node("Unsqueeze", ["n"], ["n1"], axes=[0]),
        helper.make_node("Concat", ["n1", "rest"], ["shape"], axis=0),
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 2, 3, 1]),
        helper.make_node("Reshape", ["t", "shape"], ["y"]),
    ]
    weights = {"two": numpy.int64(2), "three": numpy.int64(3), "rest": numpy.array([-1], "i8")}
    agree(nodes, weights, (1, 3, 4, 5), 11)


def test_every_operator_is_covered() -> None:
    assert {*OPERATORS, "Constant", "Identity", "Dropout"} <= covered


def test_an_unknown_operator_is_named() -> None:
    save([helper.make_node("Einsum", ["x"], ["y"], name="odd", equation="i->i")], {}, 1, 13)
    with pytest.raises(UnsupportedNetwork, match=r"operation Einsum \(odd\).*not known"):
        OnnxModule(read_network(PATH))
    save([helper.make_node("Relu", ["x"], ["y"], domain="com.microsoft")], {}, 1, 13)
    with pytest.raises(UnsupportedNetwork, match="com.microsoft.Relu"):
        OnnxModule(read_network(PATH))


UNSUPPORTED = {
    "mode cubic": (one("Resize", "", "s", mode="cubic"), {"s": numpy.ones(4, "f4") * 2}),
    "tf_crop": (
        one("Resize", "", "s", coordinate_transformation_mode="tf_crop_and_resize"),
        {"s": numpy.array([1, 1, 2, 2], "f4")},
    ),
    "with a constant": (one("Pad", "p", mode="reflect"), {"p": numpy.ones(8, "i8")}),
    "result of shape": (one("Resize", "", "s"), {"s": numpy.array([1, 1, 1e6, 1e6], "f4")}),
    "asks for a result": (one("Pad", "p"), {"p": numpy.array([0] * 7 + [2**40], "i8")}),
    "of 0": (
        one("Slice", "z", "z", "z", "z"),
        {"z": numpy.zeros(1, "i8")},
    ),
    "casts to": (one("Cast", to=8), {}),
    "axis 9": (one("Concat", axis=9), {}),
    "training_mode": (
        one("BatchNormalization", *"abcd", training_mode=1),
        {name: numpy.ones(3, "f4") for name in "abcd"},
    ),
}


@pytest.mark.parametrize("words", UNSUPPORTED)
def test_what_an_operator_cannot_do_is_named(words: str) -> None:
    nodes, weights = UNSUPPORTED[words]
    save(nodes, weights, 4, 15)
    with pytest.raises(UnsupportedNetwork, match=f"{nodes[0].op_type}.*{words}"):
        ours(random((1, 3, 4, 5)))


def test_shapes_that_do_not_fit_are_named() -> None:
    save(one("Conv", "w"), {"w": random((2, 5, 3, 3))}, 4, 13)
    with pytest.raises(UnsupportedNetwork, match="Conv"):
        ours(random((1, 3, 8, 8)))


def test_a_fill_without_end_is_refused() -> None:
    nodes = [
        helper.make_node("ConstantOfShape", ["s"], ["c"]),
        helper.make_node("Add", ["x", "c"], ["y"]),
    ]
    save(nodes, {"s": numpy.array([2**20, 2**20], "i8")}, 2, 13)
    with pytest.raises(UnsupportedNetwork, match="ConstantOfShape"):
        OnnxModule(read_network(PATH))


def test_weights_are_parameters_and_shapes_are_not() -> None:
    """What a host moves to a device is what is computed with there, and nothing else."""
    nodes = [
        helper.make_node("Identity", ["slope"], ["s"]),
        helper.make_node("PRelu", ["x", "s"], ["a"]),
        helper.make_node("Resize", ["a", "roi", "scales"], ["b"]),
        helper.make_node("Reshape", ["b", "shape"], ["y"]),
    ]
    weights = {
        "slope": random((3, 1, 1)),
        "roi": numpy.zeros(0, "f4"),
        "scales": numpy.array([1, 1, 2, 2], "f4"),
        "shape": numpy.array([-1, 3], "i8"),
    }
    save(nodes, weights, 4, 11)
    module = OnnxModule(read_network(PATH))
    assert [tuple(one.shape) for one in module.parameters()] == [(3, 1, 1)]
    assert not any(one.requires_grad for one in module.parameters())
    leaves = [m for m in module.modules() if list(m.parameters(recurse=False))]
    assert all(not list(m.children()) for m in leaves)  # hosts load leaf by leaf


def test_only_what_is_still_needed_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    save(
        [helper.make_node("Relu", [f"v{n}" if n else "x"], [f"v{n + 1}"]) for n in range(20)]
        + [helper.make_node("Relu", ["v20"], ["y"])],
        {},
        4,
        13,
    )
    module = OnnxModule(read_network(PATH))
    most = 0
    run = OnnxModule._call  # pyright: ignore[reportPrivateUsage]

    def watch(self: Any, step: Any, values: Any, device: Any) -> Any:
        nonlocal most
        most = max(most, len(values))
        return run(self, step, values, device)

    monkeypatch.setattr(OnnxModule, "_call", watch)
    module(torch.zeros(1, 1, 4, 4))
    assert most == 1


def test_two_inputs_are_refused(tmp_path: Path) -> None:
    values = [helper.make_tensor_value_info(name, FLOAT, [1]) for name in ("x", "z", "y")]
    node = helper.make_node("Add", ["x", "z"], ["y"])
    graph = helper.make_graph([node], "g", values[:2], values[2:])
    onnx.save(helper.make_model(graph), str(tmp_path / "two.onnx"))
    with pytest.raises(UnsupportedNetwork, match="2 inputs"):
        OnnxModule(read_network(str(tmp_path / "two.onnx")))


def test_an_output_nobody_makes_is_refused() -> None:
    save(one("Relu"), {}, 1, 13, outputs=2)
    with pytest.raises(BrokenFile, match="'y1'"):
        OnnxModule(read_network(PATH))
