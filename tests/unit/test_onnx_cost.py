"""What an ONNX file may cost: a small multiple of itself to read, and of the picture to run."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
import torch
from kit.models.face_packs import Graph, grown_detector, grown_recogniser
from kit.rewritten import rewritten
from pack.ip_models import limits
from pack.ip_models.errors import BrokenFile, IPAdapterError, UnsupportedNetwork
from pack.ip_models.onnx.file import read_network, read_signature
from pack.ip_models.onnx.module import OnnxModule

FOLDED = 4096  # numbers of a weight that is worked out with when a network is loaded


def ones(*shape: int) -> numpy.ndarray:
    return numpy.ones(shape, "f4")


def concat(graph: Graph) -> None:
    weight = graph.weight(ones(FOLDED))
    graph.add("Concat", *[weight] * 25_000, output="o", axis=0)


def product(graph: Graph) -> None:
    left, right = graph.weight(ones(FOLDED, 1)), graph.weight(ones(1, FOLDED))
    graph.add("Mul", graph.add("Mul", left, right), graph.weight(ones(7, 1, 1)), output="o")


def pieces(graph: Graph) -> None:
    """Many results that are each small enough."""
    weight, last = graph.weight(ones(FOLDED)), ""
    for _ in range(1500):
        last = graph.add("Relu", weight)
    graph.add("Relu", last, output="o")


def filled(graph: Graph) -> None:
    graph.add("ConstantOfShape", graph.weight(numpy.array([2**15, 2**13])), output="o")


def convolution(graph: Graph) -> None:
    graph.add("Conv", "input.1", graph.weight(ones(1, 3, 1, 1)), output="o", pads=[3500] * 4)


def uneven(graph: Graph) -> None:
    """Pads that differ, for which the picture is enlarged first."""
    weight = graph.weight(ones(1, 3, 1, 1))
    graph.add("Conv", "input.1", weight, output="o", pads=[3500, 3500, 3501, 3501])


def doubled(graph: Graph) -> None:
    data = "input.1"
    for _ in range(12):
        data = graph.add("Concat", data, data, axis=0)
    graph.add("Relu", data, output="o")


def enlarged(graph: Graph) -> None:
    scales = graph.weight(numpy.array([1, 1, 60, 60], "f4"))
    graph.add("Resize", "input.1", "", scales, output="o", mode="nearest")


def broadcast(graph: Graph) -> None:
    wide = graph.weight(ones(2000, 1, 1, 1))
    graph.add("Mul", "input.1", wide, output="o")


def expanded(graph: Graph) -> None:
    wide = graph.add("Expand", "input.1", graph.weight(numpy.array([4000, 3, 112, 112])))
    graph.add("Relu", wide, output="o")


def long_run(graph: Graph) -> None:
    """Never much at once, and again and again."""
    data = "input.1"
    for _ in range(20_000):
        data = graph.add("Relu", data)
    graph.add("Relu", data, output="o")


def multiplied(graph: Graph) -> None:
    """Little is made, of a great many products."""
    data = graph.add("Conv", "input.1", graph.weight(ones(256, 3, 1, 1)))
    for _ in range(12):
        data = graph.add("Conv", data, graph.weight(ones(256, 256, 3, 3)), pads=[1] * 4)
    graph.add("Relu", data, output="o")


def many_small(graph: Graph) -> None:
    """Few numbers, and so many results held at once that looking at all of them each time hangs."""
    few = graph.add("GlobalAveragePool", "input.1")
    every = [graph.add("Relu", few) for _ in range(1900)]
    graph.add("Concat", *every, axis=1, output="o")


COSTLY = {
    make.__name__: make
    for make in (
        *(concat, product, pieces, filled, convolution, uneven, doubled, enlarged, broadcast),
        *(expanded, long_run, multiplied),
    )
}
PICTURE = (1, 3, 112, 112)
MOST_SECONDS, MOST_BYTES = 20, 64 * 2**20


@pytest.fixture(scope="module", autouse=True)
def _warm(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What torch imports with the first shape and the first network is nobody's cost."""
    path = tmp_path_factory.mktemp("warm") / "a.onnx"
    grown_recogniser(path)
    OnnxModule(read_network(str(path)))(torch.zeros(PICTURE))


def grown_since(before: int) -> int:
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024


@pytest.mark.parametrize("case", COSTLY)
def test_a_network_is_refused_before_its_results_are_made(tmp_path: Path, case: str) -> None:
    graph = Graph(opset=13)
    COSTLY[case](graph)
    path = str(tmp_path / "a.onnx")
    graph.save(tmp_path / "a.onnx", [("input.1", list(PICTURE))], [("o", [None])])
    size = os.path.getsize(path)
    before, begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    words = "^a.onnx (has the operation .* that cannot be run|is cut off .* has 20001 operations)"
    with pytest.raises((UnsupportedNetwork, BrokenFile), match=words):
        OnnxModule(read_network(path))(torch.zeros(PICTURE))
    assert time.process_time() - begun < MOST_SECONDS
    assert grown_since(before) <= 2 * size + MOST_BYTES


def test_many_results_that_are_held_are_weighed_in_one_pass(tmp_path: Path) -> None:
    graph = Graph(opset=13)
    many_small(graph)
    graph.save(tmp_path / "a.onnx", [("input.1", list(PICTURE))], [("o", [None])])
    module = OnnxModule(read_network(str(tmp_path / "a.onnx")))
    begun = time.process_time()
    assert module.weigh(torch.Size(PICTURE))["live"] < 100_000
    assert time.process_time() - begun < MOST_SECONDS


@pytest.mark.parametrize("make", [grown_detector, grown_recogniser])
def test_published_networks_are_far_below(tmp_path: Path, make: Callable[[Path], object]) -> None:
    """Of the operators and the build of the published files; narrower ones make less."""
    path = tmp_path / "a.onnx"
    make(path)
    module, shape = OnnxModule(read_network(str(path))), torch.Size(PICTURE)
    if make is grown_detector:
        shape = torch.Size((1, 3, 640, 640))
    inputs = shape.numel()
    counts = module.weigh(shape)
    assert all(counts.values())
    assert counts["live"] < limits.ONNX_LIVE * inputs / 4
    assert counts["made"] < limits.ONNX_MADE * inputs / 4
    assert counts["products"] < limits.ONNX_PRODUCTS * inputs / 4
    assert [one.shape for one in module(torch.zeros(shape))]


def length(size: int) -> bytes:
    parts: list[int] = []
    while size > 0x7F:
        parts.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([*parts, size])


def wrapped(field: int, data: bytes) -> bytes:
    return bytes([field << 3 | 2]) + length(len(data)) + data


MESSAGES = {
    "empty names": b"\x42\x00" * 2_000_000,
    "empty nodes": b"\x0a\x00" * 2_000_000,
    "numbers": b"\x10\x01" * 2_000_000,
    "a node of empty attributes": wrapped(1, b"\x2a\x00" * 1_000_000),
    "nodes of attributes": wrapped(1, b"\x2a\x00" * 40_000) * 40,
    "a long name": wrapped(2, b"x" * 4_000_000),
    "a weight of a long shape": wrapped(5, wrapped(1, b"\x01" * 4_000_000)),
    "a weight of small numbers": wrapped(5, b"\x10\x07" + wrapped(7, b"\x01" * 4_000_000)),
}


@pytest.mark.parametrize("read", [read_network, read_signature])
@pytest.mark.parametrize("case", MESSAGES)
def test_a_message_costs_no_more_than_a_small_multiple_of_itself(
    tmp_path: Path, case: str, read: Callable[[str], object]
) -> None:
    path = tmp_path / "a.onnx"
    path.write_bytes(wrapped(7, MESSAGES[case]))
    before, begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(BrokenFile, match="^a.onnx is cut off or no ONNX file"):
        read(str(path))
    assert time.process_time() - begun < MOST_SECONDS
    assert grown_since(before) <= 2 * path.stat().st_size + MOST_BYTES


@pytest.mark.parametrize("value", [float("nan"), float("inf")], ids=str)
def test_weights_that_are_not_finite_are_refused_by_name(tmp_path: Path, value: float) -> None:
    graph = Graph(opset=13)
    weight = ones(1, 3, 1, 1)
    weight[0, 1] = value
    graph.add("Conv", "input.1", graph.weight(weight, "stem"), output="o")
    graph.save(tmp_path / "a.onnx", [("input.1", list(PICTURE))], [("o", [None])])
    with pytest.raises(BrokenFile, match="^a.onnx holds values in stem that are not finite"):
        read_network(str(tmp_path / "a.onnx"))


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.onnx")
    with pytest.raises(BrokenFile, match=r"^a.onnx cannot be read \(it is a folder, a pipe"):
        read_signature(str(tmp_path / "a.onnx"))


def test_a_file_that_is_written_to_meanwhile_is_a_sentence_or_one_of_both(tmp_path: Path) -> None:
    path, said, read = tmp_path / "a.onnx", set[str](), 0
    grown_recogniser(path)
    whole = read_network(str(path)).constants
    with rewritten(path, 0.02):
        for _ in range(60):
            try:
                found = read_network(str(path)).constants
                assert all(torch.equal(found[key], value) for key, value in whole.items())
                read += 1
            except IPAdapterError as error:
                said.add(str(error)[:40])
    assert said, read
