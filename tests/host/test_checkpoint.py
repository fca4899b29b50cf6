"""Files as they really arrive: cut, renamed, mistaken for models, or with code inside."""

from __future__ import annotations

import argparse
import io
import json
import os
import pickle
import random
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from pack.ip_models.errors import BrokenFile, MissingModel
from pack.nodes.host.files import checkpoint
from safetensors.torch import save  # pyright: ignore[reportUnknownVariableType]
from torch import Tensor

TENSORS = {"image_proj.proj.weight": torch.rand(4, 6), "ip_adapter.1.to_k_ip.weight": torch.rand(3)}
NESTED = {"image_proj": {"proj.weight": torch.rand(4, 6)}, "epoch": 3, "names": ["a"]}
FLAT_SHAPES = {key: tuple(value.shape) for key, value in TENSORS.items()}
HEADER = {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 44642768\n"
PAGE = b"<!DOCTYPE html>\n<html><head><title>h94/IP-Adapter at main</title></head></html>"
pytestmark = pytest.mark.filterwarnings("ignore:Detected pickle protocol")
SUFFIXES = (".safetensors", ".bin", ".ckpt")


def torch_file(content: Any, zipped: bool = True) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def safetensors_file(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    """Header as a mapping or as raw text, padded with blanks to a length."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    text = text.ljust(length or 0)
    return struct.pack("<Q", len(text)) + text + data


def packed(content: Any) -> bytes:
    """The same archive deflated: little on the disk, much in memory."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(torch_file(content))) as whole,
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        for member in whole.infolist():
            archive.writestr(member.filename, whole.read(member))
    return buffer.getvalue()


def plain_zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("read me.txt", "unpack me first")
    return buffer.getvalue()


WHOLE = save(TENSORS)
BROKEN = {
    "empty": (b"", "is empty"),
    "a web page": (PAGE, f"is a web page of {len(PAGE)} bytes"),
    "a web page after blank lines": (b"\r\n\t " + PAGE, "is a web page"),
    "an XML error": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "web page"),
    "a Git LFS pointer": (LFS, f"is a Git LFS pointer of {len(LFS)} bytes"),
    "a JSON error": (b'{"error":"Invalid username or password."}', "is a JSON text"),
    "a JSON list": (b'[{"error": "gone"}]', "is a JSON text"),
    "plain text": (b"Entry not found", "is no model file (it starts with b'Entr')"),
    "one byte": (b"\0", "is no model file"),
    "zeros": (bytes(5000), "is no model file"),
    "a header cut off": (WHOLE[:60], "its header alone has"),
    "data cut off": (WHOLE[:-1], f"is cut off: {len(WHOLE) - 1} bytes are there, {len(WHOLE)} are"),
    "a header that is no JSON": (safetensors_file(b"{a: 1}"), "has a damaged header"),
    "a header of other things": (safetensors_file({"a": 1, "b": [2]}), "has a damaged header"),
    "a header without shapes": (safetensors_file({"a": {"data_offsets": [0, 0]}}), "damaged"),
    "a shape that is a number": (
        safetensors_file({"a": {"shape": 2, "data_offsets": [0, 0]}}),
        "has a damaged header",
    ),
    "a header of 10 GB": (struct.pack("<Q", 10 * 2**30) + b'{"a":1}', "is no model file"),
    "a header of 99 MB": (struct.pack("<Q", 99_000_000) + b'{"a":1}', "header alone has 99000000"),
    "a torch file cut off": (torch_file(NESTED)[:-200], "is cut off or damaged"),
    "bomb": (
        packed({"image_proj": {"proj.weight": torch.zeros(2**20)}}),
        "is a packed archive that torch has not written",
    ),
    "another zip file": (plain_zip(), "is cut off or damaged"),
    "a pickle": (pickle.dumps({"a": 1}), "holds code or objects other than tensors"),
    "a list of tensors": (torch_file([torch.ones(2)]), "holds a list instead of named tensors"),
    "a tensor": (torch_file(torch.ones(2)), "holds a Tensor instead of named tensors"),
    "a number": (torch_file(3), "holds a int instead of named tensors"),
    "other objects": (torch_file({"a": argparse.Namespace()}), "holds code or objects"),
    "a module": (torch_file(torch.nn.Linear(1, 1)), "holds code or objects"),
}


def put(folder: Path, content: bytes, name: str = "model.safetensors") -> str:
    path = folder / name
    path.write_bytes(content)
    return str(path)


def shapes_of(content: Mapping[str, Any]) -> dict[str, Any]:
    """Shapes, nested as they were read."""
    return {
        key: shapes_of(value) if isinstance(value, Mapping) else tuple(value.shape)
        for key, value in content.items()
    }


def refusals(path: str) -> list[str]:
    """The sentences of both readers."""
    texts: list[str] = []
    for read in (checkpoint.read_shapes, checkpoint.read_tensors):
        with pytest.raises(BrokenFile) as refused:
            read(path)
        texts.append(str(refused.value))
    return texts


def outcome(path: str) -> str:
    """What reading leads to, for files that may be read or refused but must not surprise."""
    try:
        checkpoint.read_shapes(path)
        checkpoint.read_tensors(path)
    except BrokenFile:
        return "refused"
    except Exception as error:  # noqa: BLE001
        return type(error).__name__
    return "read"


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_called_what_it_is_whatever_its_name(
    tmp_path: Path, case: str, suffix: str
) -> None:
    content, words = BROKEN[case]
    for text in refusals(put(tmp_path, content, f"adapter{suffix}")):
        assert text.startswith(f"adapter{suffix} ")
        assert words in text
        assert text.endswith(".") and ".." not in text and "\n" not in text
        assert str(tmp_path) not in text


def test_different_troubles_have_different_words(tmp_path: Path) -> None:
    cases = ("empty", "a web page", "a Git LFS pointer", "a JSON error", "plain text")
    cases += (
        "data cut off",
        "a header that is no JSON",
        "another zip file",
        "a pickle",
        "a number",
    )
    texts = {refusals(put(tmp_path, BROKEN[case][0]))[0] for case in cases}
    assert len(texts) == len(cases)


@pytest.mark.parametrize("case", ["a web page", "a Git LFS pointer", "data cut off", "a pickle"])
def test_the_advice_fits_the_trouble(tmp_path: Path, case: str) -> None:
    advice = {
        "a web page": "download button",
        "a Git LFS pointer": "git lfs pull",
        "data cut off": "Download it again",
        "a pickle": "as .safetensors",
    }
    for text in refusals(put(tmp_path, BROKEN[case][0])):
        assert advice[case] in text.rsplit("; ", 1)[1]


def test_a_safetensors_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    for length in range(len(WHOLE)):
        assert outcome(put(tmp_path, WHOLE[:length])) == "refused", length


@pytest.mark.parametrize("zipped", [pytest.param(True, id="zip"), pytest.param(False, id="older")])
def test_a_torch_file_cut_anywhere_is_refused(tmp_path: Path, zipped: bool) -> None:
    whole = torch_file(NESTED, zipped)
    for length in range(0, len(whole), 23):
        assert outcome(put(tmp_path, whole[:length], "a.bin")) == "refused", length


@pytest.mark.parametrize(
    "whole",
    [
        pytest.param(torch_file(NESTED), id="zip"),
        pytest.param(torch_file(NESTED, zipped=False), id="older"),
        pytest.param(WHOLE, id="safetensors"),
    ],
)
def test_a_damaged_byte_leads_to_a_sentence_or_to_nothing(tmp_path: Path, whole: bytes) -> None:
    chance, outcomes = random.Random(0), set[str]()
    for attempt in range(400):
        content = bytearray(whole)
        content[chance.randrange(len(whole))] = chance.randrange(256)
        outcomes.add(outcome(put(tmp_path, bytes(content), f"{attempt}.bin")))
    assert outcomes == {"read", "refused"}


@pytest.mark.parametrize(
    "content",
    [
        safetensors_file(
            {**HEADER, "b": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}}, bytes(12)
        ),
        safetensors_file({**HEADER, "b": HEADER["a"]}, bytes(8)),
        safetensors_file({"a": {**HEADER["a"], "data_offsets": [4, 12]}}, bytes(12)),
        safetensors_file({"a": {**HEADER["a"], "data_offsets": [-8, 0]}}, bytes(8)),
        safetensors_file(
            b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},'
            b'"a":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}}',
            bytes(12),
        ),
        safetensors_file({"a": {**HEADER["a"], "shape": [3]}}, bytes(8)),
        safetensors_file({"a": {**HEADER["a"], "shape": ["2"]}}, bytes(8)),
        safetensors_file({"a": {**HEADER["a"], "dtype": "F33"}}, bytes(8)),
        WHOLE + b"more",
    ],
    ids=[
        "overlapping",
        "the same place twice",
        "a gap",
        "a negative place",
        "a key twice",
        "more values than bytes",
        "a shape of words",
        "an unknown type",
        "bytes left over",
    ],
)
@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
def test_a_header_that_does_not_fit_its_data_is_refused(
    tmp_path: Path, content: bytes, suffix: str
) -> None:
    path = put(tmp_path, content, f"a{suffix}")
    with pytest.raises(BrokenFile, match=f"^a{suffix} "):
        checkpoint.read_tensors(path)
    if b"F33" in content:  # what lists a file says so by the type
        assert checkpoint.read_shapes(path)["a"].dtype == "F33"
    else:
        with pytest.raises(BrokenFile, match=f"^a{suffix} "):
            checkpoint.read_shapes(path)


@pytest.mark.parametrize(
    "header",
    [
        b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,1e999]}}',
        b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    ],
    ids=["an infinite place", "a deep header"],
)
def test_an_absurd_header_is_refused(tmp_path: Path, header: bytes) -> None:
    refusals(put(tmp_path, safetensors_file(header, bytes(8))))


def test_a_dictionary_inside_itself_is_refused(tmp_path: Path) -> None:
    endless: dict[str, Any] = {}
    endless["a"] = endless
    assert outcome(put(tmp_path, torch_file(endless), "a.bin")) == "refused"


class Trap:
    """Creates a file as soon as it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.path), "w")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("form", ["zip", "older", "bare pickle", "protocol 4"])
def test_code_in_a_pickle_does_not_run(tmp_path: Path, form: str, suffix: str) -> None:
    sprung = tmp_path / "sprung"
    content = {"image_proj": {"proj.weight": torch.ones(1)}, "ip_adapter": Trap(sprung)}
    forms = {
        "zip": lambda: torch_file(content),
        "older": lambda: torch_file(content, zipped=False),
        "bare pickle": lambda: pickle.dumps(content["ip_adapter"], protocol=2),
        "protocol 4": lambda: pickle.dumps([content["ip_adapter"]], protocol=4),
    }
    for text in refusals(put(tmp_path, forms[form](), f"a{suffix}")):
        assert "holds code or objects other than tensors" in text
    assert not sprung.exists()
    pickle.loads(pickle.dumps(Trap(sprung))).close()
    assert sprung.exists()


@pytest.mark.parametrize(
    "name", ["a.safetensors", "a.SAFETENSORS", "a.sft", "a.bin", "a.pt", "a.ckpt", "a"]
)
def test_safetensors_are_read_under_any_name(tmp_path: Path, name: str) -> None:
    path = put(tmp_path, WHOLE, name)
    read = checkpoint.read_tensors(path)
    assert shapes_of(checkpoint.read_shapes(path)) == FLAT_SHAPES
    assert read.keys() == TENSORS.keys()
    assert all(torch.equal(read[key], value) for key, value in TENSORS.items())


@pytest.mark.parametrize("name", ["a.safetensors", "a.sft", "a.bin", "a.pth", "a"])
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "older"])
def test_torch_files_are_read_under_any_name(tmp_path: Path, name: str, zipped: bool) -> None:
    path = put(tmp_path, torch_file(NESTED, zipped), name)
    read = checkpoint.read_tensors(path)
    assert shapes_of(checkpoint.read_shapes(path)) == {"image_proj": {"proj.weight": (4, 6)}}
    projection: Tensor = read["image_proj"]["proj.weight"]
    assert torch.equal(projection, NESTED["image_proj"]["proj.weight"])
    assert read["epoch"] == 3


@pytest.mark.parametrize("first", [0x80, 0x3C, 0x20, 0x7B, 0x5B, 0x0A], ids=hex)
@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
def test_the_first_byte_of_a_safetensors_file_may_look_like_something_else(
    tmp_path: Path, first: int, suffix: str
) -> None:
    content = safetensors_file(HEADER, struct.pack("<2f", 1.5, -2.0), length=256 + first)
    assert content[0] == first
    path = put(tmp_path, content, f"a{suffix}")
    assert shapes_of(checkpoint.read_shapes(path)) == {"a": (2,)}
    assert checkpoint.read_tensors(path)["a"].tolist() == [1.5, -2.0]


FLOATING = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
FLOATING += (torch.float8_e4m3fn, torch.float8_e5m2)


@pytest.mark.parametrize("dtype", FLOATING, ids=str)
def test_the_header_tells_the_type(tmp_path: Path, dtype: torch.dtype) -> None:
    path = put(tmp_path, save({"a": torch.zeros(2, 3).to(dtype), "n": torch.zeros(1).int()}))
    shapes, tensors = checkpoint.read_shapes(path), checkpoint.read_tensors(path)
    assert shapes["a"] == (tensors["a"].shape, dtype) and tensors["a"].dtype is dtype
    assert shapes["n"].dtype is torch.int32


def test_metadata_is_no_tensor(tmp_path: Path) -> None:
    path = put(tmp_path, save(TENSORS, metadata={"format": "pt", "title": "{}"}))
    assert checkpoint.read_shapes(path).keys() == TENSORS.keys()
    assert checkpoint.read_tensors(path).keys() == TENSORS.keys()


FOREIGN = "адаптер № 1 (copy) 'ü' 🖼.safetensors"


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A folder with letters of several alphabets, and blanks."""
    folder = tmp_path / "modèles à moi" / "図書館"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize("content", [WHOLE, torch_file(TENSORS)], ids=["safetensors", "zip"])
def test_names_may_have_any_letters_and_blanks(foreign: Path, content: bytes) -> None:
    path = put(foreign, content, FOREIGN)
    assert shapes_of(checkpoint.read_shapes(path)) == FLAT_SHAPES
    assert shapes_of(checkpoint.read_tensors(path)) == FLAT_SHAPES


def test_a_refusal_gives_the_name_as_it_is(foreign: Path) -> None:
    for text in refusals(put(foreign, PAGE, FOREIGN)):
        assert text.startswith(f"{FOREIGN} is a web page")


@pytest.mark.parametrize("name", ["image_encoder.safetensors", "image_encoder"])
def test_a_folder_named_like_a_model_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    for text in refusals(str(tmp_path / name)):
        assert text.startswith(f"{name} is a folder")


def test_shapes_are_remembered(tmp_path: Path) -> None:
    path = put(tmp_path, WHOLE)
    assert checkpoint.read_shapes(path) is checkpoint.read_shapes(path)


@pytest.mark.parametrize("same_size", [True, False])
def test_shapes_are_forgotten_when_the_file_changes(tmp_path: Path, same_size: bool) -> None:
    path = put(tmp_path, save({"a": torch.ones(2, 3)}))
    before = os.stat(path)
    assert shapes_of(checkpoint.read_shapes(path)) == {"a": (2, 3)}
    put(tmp_path, save({"a": torch.ones(3, 2) if same_size else torch.ones(30, 2)}))
    later = before.st_mtime_ns + (10**9 if same_size else 0)
    os.utime(path, ns=(later, later))
    assert (os.stat(path).st_size == before.st_size) is same_size
    assert shapes_of(checkpoint.read_shapes(path)) == {"a": (3, 2) if same_size else (30, 2)}


def test_a_file_that_was_broken_is_read_once_it_is_replaced(tmp_path: Path) -> None:
    path = put(tmp_path, WHOLE[:-1])
    refusals(path)
    put(tmp_path, WHOLE)
    assert shapes_of(checkpoint.read_shapes(path)) == FLAT_SHAPES


def test_a_missing_file_is_no_broken_file(tmp_path: Path) -> None:
    with pytest.raises(MissingModel):
        checkpoint.read_shapes(str(tmp_path / "gone.bin"))
