"""ONNX files are read like the `onnx` package reads them, and damaged ones end in a sentence."""

from __future__ import annotations

import contextlib
import tracemalloc
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pack.ip_models.errors import BrokenFile, IPAdapterError
from pack.ip_models.onnx.file import read_network, read_signature
from pack.ip_models.onnx.module import OnnxModule
from pack.ip_models.onnx.source import Window
from pack.ip_models.onnx.wire import Fields, Malformed, floats, integers, signed

onnx = pytest.importorskip("onnx")


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def blob(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value % 2**64)


def write(path: Path, graph: bytes, opset: int = 13) -> str:
    path.write_bytes(number(1, 8) + blob(7, graph) + blob(8, number(2, opset)))
    return str(path)


def node(operator: str, inputs: list[str], output: str, attributes: bytes = b"") -> bytes:
    named = b"".join(blob(1, one.encode()) for one in inputs)
    return blob(1, named + blob(2, output.encode()) + blob(4, operator.encode()) + attributes)


def value(field: int, name: str) -> bytes:
    return blob(field, blob(1, name.encode()))


RELU = node("Relu", ["x"], "y") + value(11, "x") + value(12, "y")


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from kit.models import face_packs

    return face_packs.make_pack(tmp_path_factory.mktemp("packs") / "buffalo_l", grown=True)


@pytest.mark.parametrize("name", ["det_10g.onnx", "w600k_r50.onnx"])
def test_reads_what_the_onnx_package_reads(pack: Path, name: str) -> None:
    wanted: Any = onnx.load(str(pack / name))
    found = read_network(str(pack / name))
    assert found.opset == wanted.opset_import[0].version
    assert [n.operator for n in found.nodes] == [n.op_type for n in wanted.graph.node]
    assert [list(n.inputs) for n in found.nodes] == [list(n.input) for n in wanted.graph.node]
    assert [list(n.outputs) for n in found.nodes] == [list(n.output) for n in wanted.graph.node]
    assert [o.name for o in found.outputs] == [o.name for o in wanted.graph.output]
    assert len(found.constants) == len(wanted.graph.initializer)
    for tensor in wanted.graph.initializer:
        expected = onnx.numpy_helper.to_array(tensor)
        assert numpy.array_equal(found.constants[tensor.name].numpy(), expected)
    for mine, theirs in zip(found.nodes, wanted.graph.node, strict=True):
        for attribute in theirs.attribute:
            expected = onnx.helper.get_attribute_value(attribute)
            expected = expected.decode() if isinstance(expected, bytes) else expected
            got = mine.attributes[attribute.name]
            assert (list(got) if isinstance(got, tuple) else got) == expected
    signature = read_signature(str(pack / name))
    assert (signature.inputs, signature.outputs) == (found.inputs, found.outputs)
    assert signature.constants == {}


KINDS = {
    "f4": (torch.float32, [1.5, -2.25, 0.0]),
    "f2": (torch.float32, [1.5, -2.25, 0.0]),
    "f8": (torch.float32, [1.5, -2.25, 0.0]),
    "i4": (torch.int64, [1, -2, 0]),
    "i8": (torch.int64, [1, -(2**40), 0]),
    "u1": (torch.int64, [1, 200, 0]),
    "i1": (torch.int64, [1, -100, 0]),
    "bool": (torch.bool, [True, False, True]),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("raw", [True, False])
def test_weights_of_every_type(tmp_path: Path, kind: str, raw: bool) -> None:
    dtype, values = KINDS[kind]
    array = numpy.array(values, kind)
    if raw:
        tensor = onnx.numpy_helper.from_array(array, "w")
    else:
        code = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
        tensor = onnx.helper.make_tensor("w", code, [3], values)
        assert not tensor.raw_data
    path = write(tmp_path / "a.onnx", RELU + blob(5, tensor.SerializeToString()))
    found = read_network(path).constants["w"]
    assert found.dtype == dtype and found.tolist() == values


def test_initializers_named_as_inputs_are_no_inputs(tmp_path: Path) -> None:
    tensor = onnx.numpy_helper.from_array(numpy.zeros(3, "f4"), "w").SerializeToString()
    path = write(tmp_path / "a.onnx", RELU + value(11, "w") + blob(5, tensor))
    assert [one.name for one in read_network(path).inputs] == ["x"]


def test_sizes_that_are_free(tmp_path: Path) -> None:
    """A name, nothing, 0 and -1 all stand for any size."""
    sizes = [number(1, 3), blob(2, b"height"), b"", number(1, 0), number(1, -1)]
    shape = blob(2, b"".join(blob(1, size) for size in sizes))
    taken = blob(11, blob(1, b"x") + blob(2, blob(1, number(1, 1) + shape)))
    graph = node("Relu", ["x"], "y") + taken + value(12, "y")
    found = read_signature(write(tmp_path / "a.onnx", graph)).inputs
    assert found == (("x", (3, None, None, None, None)),)


NOT_MODELS = {
    "is empty": b"",
    "is a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 9\n",
    "is a web page": b"\n<!DOCTYPE html><html><body>Sign in</body></html>",
    "is a zip archive": b"PK\x03\x04" + bytes(60),
    "is cut off or no ONNX file": b'{"error": "not found"}',
}


@pytest.mark.parametrize("words", NOT_MODELS)
@pytest.mark.parametrize("read", [read_network, read_signature])
def test_what_is_no_model_is_called_by_its_name(tmp_path: Path, words: str, read: Any) -> None:
    path = tmp_path / "det_10g.onnx"
    path.write_bytes(NOT_MODELS[words])
    with pytest.raises(BrokenFile, match=f"det_10g.onnx {words}"):
        read(str(path))
    path.unlink()  # nothing holds it open, which Windows would refuse


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(BrokenFile, match="none.onnx cannot be read"):
        read_network(str(tmp_path / "none.onnx"))


def test_a_file_cut_anywhere(pack: Path, tmp_path: Path) -> None:
    whole = (pack / "det_10g.onnx").read_bytes()
    path = tmp_path / "cut.onnx"
    for length in range(1, len(whole), max(100, len(whole) // 400)):
        path.write_bytes(whole[:length])
        for read in (read_network, read_signature):
            with pytest.raises(BrokenFile):
                read(str(path))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_bytes_end_in_a_sentence(
    tmp_path_factory: pytest.TempPathFactory, pack: Path, data: Any
) -> None:
    """Whatever is changed: the same network, or one of our errors; nothing else."""
    whole = bytearray((pack / "det_10g.onnx").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(whole) - 1))
        whole[place] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("bytes") / "a.onnx"
    path.write_bytes(whole)
    with contextlib.suppress(IPAdapterError):
        OnnxModule(read_network(str(path)))(torch.zeros(1, 3, 64, 64))


class Bytes(Window):
    """Bytes in memory as those of a file."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __len__(self) -> int:
        return len(self._data)

    def byte(self, at: int) -> int:
        return self._data[at]

    def part(self, begin: int, length: int) -> Window:
        return Bytes(self._data[begin : begin + length])

    def read(self) -> bytes:
        return self._data


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_fields_or_malformed(data: bytes) -> None:
    with contextlib.suppress(Malformed):
        found = Fields(Bytes(data))
        for field in range(1, 16):
            integers(found.all(field))
            floats(found.all(field))


def test_a_huge_length_allocates_nothing(tmp_path: Path) -> None:
    huge = 2**40
    tensors = {
        "field": varint(9 << 3 | 2) + varint(huge) + b"1234",
        "shape": number(1, huge) + number(2, 1) + blob(9, b"1234"),
        "shapes": number(1, huge) * 8 + number(2, 1) + blob(8, b"w"),
        "negative": number(1, -1) + number(2, 1) + blob(9, b"1234"),
        "rank": number(1, 1) * 65 + number(2, 1) + blob(9, b"1234"),
        "half a value": number(1, 1) + number(2, 1) + blob(9, b"12345"),
        "type": number(1, 1) + number(2, 99) + blob(9, b"1234"),
    }
    for what, tensor in tensors.items():
        path = write(tmp_path / "a.onnx", RELU + blob(5, tensor))
        tracemalloc.start()
        with pytest.raises(BrokenFile):
            read_network(path)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000, what
        tracemalloc.stop()


def test_wrong_kinds_of_fields(tmp_path: Path) -> None:
    for graph in (
        RELU + number(1, 5),  # a node that is a number
        RELU + blob(1, number(4, 7)),  # an operator's name that is a number
        RELU + varint(1 << 3 | 3),  # a group, which the format no longer has
        RELU + varint(0 << 3 | 2) + b"\0",  # field 0
        RELU + b"\xff" * 12,  # a number without an end
        RELU + blob(5, blob(1, b"\xff" * 11)),
        b"",
        value(12, "y"),
    ):
        with pytest.raises(BrokenFile):
            read_network(write(tmp_path / "a.onnx", graph))


def test_weights_in_another_file_are_refused(tmp_path: Path) -> None:
    outside = blob(8, b"w") + number(2, 1) + number(14, 1)
    outside += blob(13, blob(1, b"location") + blob(2, b"../../secret"))
    path = write(tmp_path / "a.onnx", RELU + blob(5, outside))
    for read in (read_network, read_signature):
        with pytest.raises(BrokenFile, match="lie in another file"):
            read(path)


def test_a_cycle_is_refused(tmp_path: Path) -> None:
    cycle = node("Add", ["x", "b"], "a") + node("Relu", ["a"], "b")
    path = write(tmp_path / "a.onnx", cycle + value(11, "x") + value(12, "b"))
    with pytest.raises(BrokenFile, match="before it is made"):
        OnnxModule(read_network(path))
    for graph in (node("Relu", ["y"], "y"), node("Relu", ["x"], "x"), node("Relu", ["x"], "z")):
        path = write(tmp_path / "a.onnx", graph + value(11, "x") + value(12, "y"))
        with pytest.raises(BrokenFile):
            OnnxModule(read_network(path))


def test_signed_numbers() -> None:
    assert [signed(one) for one in (5, 2**64 - 5, 2**63, 2**63 - 1)] == [5, -5, -(2**63), 2**63 - 1]
