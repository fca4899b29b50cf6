"""What is opened at all: regular files inside the folders, read once, noticed when written to."""

from __future__ import annotations

import io
import itertools
import json
import os
import pickle
import resource
import socket
import struct
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import folder_paths
import pytest
import torch
import transformers
from kit.models import checkpoints, face_packs
from kit.rewritten import rewritten
from pack.ip_models import limits
from pack.ip_models.errors import BrokenFile, MissingModel
from pack.nodes.host.doctor.gguf import gguf_shapes
from pack.nodes.host.doctor.survey import report
from pack.nodes.host.encoder.load import widths_in
from pack.nodes.host.face import packs
from pack.nodes.host.files import checkpoint, folders
from pack.nodes.host.model.adapter import load, read_file_spec
from safetensors.torch import save, save_file
from test_damaged_files import tiny
from torch import Tensor


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of adapters, and one of encoders beside it, which are all that the host has."""
    names = (folders.ADAPTERS, folders.ENCODERS, folders.EMBEDS)
    table = {name: ([str(tmp_path / name)], {".safetensors", ".bin"}) for name in names}
    for name in names:
        (tmp_path / name).mkdir()
    table["custom_nodes"] = ([], set())
    monkeypatch.setattr(folder_paths, "models_dir", str(tmp_path))
    monkeypatch.setattr(folder_paths, "folder_names_and_paths", table)
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    return tmp_path / folders.ADAPTERS


SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
INDEX = "model.safetensors.index.json"
ZERO = torch.tensor(0.0)
READERS = (checkpoint.read_shapes, checkpoint.read_tensors)


def adapter(path: Path) -> Path:
    return checkpoints.write(path, tiny("standard"), "flat")


def linked(home: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A file in the folder that is a link out of one outside."""
    outside = tmp_path / "elsewhere"
    outside.mkdir()
    target = adapter(outside / "a.safetensors")
    (home / "a.safetensors").symlink_to(target)


def test_a_link_out_of_the_folders_is_refused(home: Path, tmp_path: Path) -> None:
    linked(home, tmp_path)
    with pytest.raises(BrokenFile) as refused:
        folders.resolve(folders.ADAPTERS, "a.safetensors")
    assert refused.value.found == "a.safetensors is a link out of the model folders"
    assert str(tmp_path / "elsewhere") not in str(refused.value)  # whoever asks from elsewhere
    assert any(line.startswith("✗ a.safetensors: is a link out of") for line in report())


def test_a_link_into_another_folder_of_the_host_is_followed(home: Path, tmp_path: Path) -> None:
    path = adapter(tmp_path / folders.ENCODERS / "a.safetensors")
    (home / "b.safetensors").symlink_to(path)
    assert read_file_spec(folders.resolve(folders.ADAPTERS, "b.safetensors")).tokens == 4


@pytest.mark.parametrize("inner", [False, True], ids=["the folder", "a folder in it"])
def test_a_folder_that_is_a_link_leads_where_it_leads(
    home: Path, tmp_path: Path, inner: bool
) -> None:
    """As a snapshot of Hugging Face, whose files are links again."""
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    blob, snapshot = adapter(blobs / "0123"), tmp_path / "snapshot"
    snapshot.mkdir()
    (snapshot / "a.safetensors").symlink_to(blob)
    if not inner:
        home.rmdir()
    link = home / "inner" if inner else home
    link.symlink_to(snapshot, target_is_directory=True)
    name = os.path.join("inner", "a.safetensors") if inner else "a.safetensors"
    assert read_file_spec(folders.resolve(folders.ADAPTERS, name)).tokens == 4


def test_a_part_that_is_a_link_out_of_the_folders_is_refused(home: Path, tmp_path: Path) -> None:
    target = adapter(tmp_path / "outside.safetensors")
    adapter(home / "a-00001-of-00002.safetensors")
    (home / "a-00002-of-00002.safetensors").symlink_to(target)
    with pytest.raises(BrokenFile, match="^a-00002-of-00002.safetensors is a link out of"):
        read_file_spec(folders.resolve(folders.ADAPTERS, "a-00001-of-00002.safetensors"))


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", INDEX])
def test_a_link_out_of_an_encoder_s_folder_is_refused(
    home: Path, tmp_path: Path, name: str
) -> None:
    inner = tmp_path / folders.ENCODERS / "vit"
    inner.mkdir()
    config = transformers.CLIPVisionConfig(**SMALL)
    transformers.CLIPVisionModelWithProjection(config).save_pretrained(inner)
    assert widths_in(folders.resolve(folders.ENCODERS, "vit"))
    (inner / INDEX).write_text('{"weight_map": {"a": "model.safetensors"}}')
    (inner / name).rename(tmp_path / name)
    (inner / name).symlink_to(tmp_path / name)
    with pytest.raises(BrokenFile, match=f"^{name} is a link out of"):
        widths_in(folders.resolve(folders.ENCODERS, "vit"))


def test_a_link_out_of_a_face_pack_is_refused(home: Path, tmp_path: Path) -> None:
    inner = tmp_path / "insightface" / "models" / "buffalo_l"
    face_packs.make_pack(inner)
    assert packs.find("buffalo_l")
    (inner / "det_10g.onnx").rename(tmp_path / "det_10g.onnx")
    (inner / "det_10g.onnx").symlink_to(tmp_path / "det_10g.onnx")
    with pytest.raises(BrokenFile) as refused:
        packs.find("buffalo_l")
    assert "det_10g.onnx is a link out of" in refused.value.found


def pipe(path: Path) -> None:
    os.mkfifo(path)


def unix_socket(path: Path) -> None:
    before = os.getcwd()
    os.chdir(path.parent)  # a socket's path is short
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(before)


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("make", [pipe, unix_socket])
def test_what_is_no_file_is_refused_and_not_waited_for(
    tmp_path: Path, make: Callable[[Path], None], read: Callable[[str], object]
) -> None:
    make(tmp_path / "a.safetensors")
    with pytest.raises(BrokenFile, match="^a.safetensors is a pipe or a device and no file; "):
        read(str(tmp_path / "a.safetensors"))


def test_a_device_behind_a_link_is_refused(home: Path) -> None:
    (home / "zero.safetensors").symlink_to("/dev/zero")
    with pytest.raises((BrokenFile, MissingModel)):
        folders.resolve(folders.ADAPTERS, "zero.safetensors")
    with pytest.raises(BrokenFile, match="is a pipe or a device"):
        checkpoint.read_shapes("/dev/zero")


def test_a_file_that_is_written_to_meanwhile_is_a_sentence_or_one_of_both(tmp_path: Path) -> None:
    """A download that starts again writes over the file in place; a map of it would end us."""
    path, whole = adapter(tmp_path / "a.safetensors"), tiny("standard")
    said, loaded = set[str](), 0
    with rewritten(path, 0.004):
        for _ in range(300):
            try:
                read = checkpoint.read_tensors(str(path))
                assert all(torch.equal(read[key], value) for key, value in whole.items())
                loaded += 1
            except BrokenFile as error:
                said.add(str(error).split(";")[0])
    assert load(str(path)).spec.tokens == 4
    assert loaded and said, (loaded, said)


def changed_values(value: float, key: str, dtype: torch.dtype) -> dict[str, Tensor]:
    tensors = {name: tensor.to(dtype) for name, tensor in tiny("standard").items()}
    tensors[key].view(-1)[-1] = value
    return tensors


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("ending", ["safetensors", "bin"])
def test_weights_that_are_not_finite_are_refused_by_name(
    tmp_path: Path, value: float, dtype: torch.dtype, ending: str
) -> None:
    path, key = tmp_path / f"a.{ending}", "ip_adapter.5.to_v_ip.weight"
    container = "nested" if ending == "bin" else "flat"
    checkpoints.write(path, changed_values(value, key, dtype), container)
    with pytest.raises(BrokenFile, match=f"^a.{ending} holds values in {key} that are not finite"):
        load(str(path))
    checkpoints.write(path, changed_values(0.0, key, dtype), container)
    assert load(str(path)).spec.tokens == 4


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2], ids=str)
def test_coarse_weights_that_are_not_finite_are_refused_too(
    tmp_path: Path, dtype: torch.dtype
) -> None:
    good = torch.zeros(4, 4).to(dtype)
    save_file({"a": good}, tmp_path / "a.safetensors")
    assert checkpoint.read_tensors(str(tmp_path / "a.safetensors"))["a"].dtype is dtype
    bad = good.view(torch.uint8).clone()
    bad[3, 3] = 0x7F
    save_file({"a": bad.view(dtype)}, tmp_path / "b.safetensors")
    with pytest.raises(BrokenFile, match="holds values in a that are not finite"):
        checkpoint.read_tensors(str(tmp_path / "b.safetensors"))


# --- What costs more than it is ---------------------------------------------------------------


def safetensors_of(header: bytes, data: int = 0) -> bytes:
    return struct.pack("<Q", len(header)) + header + bytes(data)


def entry(begin: int, end: int, *shape: int) -> dict[str, Any]:
    return {"dtype": "F32", "shape": list(shape), "data_offsets": [begin, end]}


def many_parts() -> bytes:
    return safetensors_of(b'{"__metadata__":{},"a":[' + b"[]," * 2_000_000 + b"[]]}")


def long_header() -> bytes:
    return safetensors_of(b'{"a":"' + b"x" * limits.HEADER_BYTES + b'"}')


def many_tensors() -> bytes:
    count = limits.TENSORS + 1
    return safetensors_of(json.dumps({str(i): entry(0, 0, 0) for i in range(count)}).encode())


def many_names() -> bytes:
    """One tensor under a great many names, as if each shared its data with it."""
    notes = {f"n{i}": "a" for i in range(10_000)}
    header = {"__metadata__": notes, "a": entry(0, 2**20, 2**18)}
    return safetensors_of(json.dumps(header).encode(), 2**20)


def long_name() -> bytes:
    return safetensors_of(json.dumps({"x" * 100_000: entry(0, 4, 1)}).encode(), 4)


def negative_sizes() -> bytes:
    return safetensors_of(json.dumps({"a": entry(0, 24, -2, -3)}).encode(), 24)


def many_dimensions() -> bytes:
    return safetensors_of(json.dumps({"a": entry(0, 4, *[1] * 100_000)}).encode(), 4)


def endless_digits() -> bytes:
    return safetensors_of(b'{"a":{"dtype":"F32","shape":[' + b"9" * 10**6 + b"]}}")


def torch_bytes(content: object, zipped: bool = True) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def with_pickle(data: bytes) -> bytes:
    """A file of torch's with another description."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(torch_bytes({"a": torch.zeros(2)}))) as whole,
        zipfile.ZipFile(buffer, "w") as archive,
    ):
        for one in whole.infolist():
            held = data if one.filename.endswith("data.pkl") else whole.read(one)
            archive.writestr(one.filename, held)
    return buffer.getvalue()


def many_lists() -> bytes:
    return with_pickle(b"\x80\x02(" + b"]" * 2_000_000 + b"l.")


def many_members() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in range(100_000):
            archive.writestr(f"a/data/{number}", b"")
    return buffer.getvalue()


def colliding_keys() -> bytes:
    """Numbers that all hash alike, so that a table of them takes a square of their count."""
    numbers = {(2**61 - 1) * i: 0 for i in range(1, 3)}
    one = pickle.dumps(numbers, 2)
    assert one
    body = b"".join(
        b"\x8a\x0b" + ((2**61 - 1) * i).to_bytes(11, "little") + b"K\x00" for i in range(1, 60_000)
    )
    return with_pickle(b"\x80\x02}(" + body + b"u.")


def far_memo() -> bytes:
    """A value kept under a number so large that a table up to it would fill the memory."""
    return with_pickle(b"\x80\x02}r\xff\xff\xff\x7f.")


def one_storage_many_times() -> bytes:
    rows = torch.zeros(2**18)
    return torch_bytes({f"n{i}": rows for i in range(2000)})


def one_storage_in_views() -> bytes:
    rows = torch.zeros(2**18)
    return torch_bytes({f"n{i}": rows[i:] for i in range(2000)})


def claimed_storage() -> bytes:
    """The older container, which says itself how much to make room for."""
    data = torch_bytes({"a": torch.zeros(2)}, zipped=False)
    return data.replace(b"K\x02", b"J\xff\xff\xff\x7f").replace(
        struct.pack("<q", 2), struct.pack("<q", 2**40)
    )


def deep_tables() -> bytes:
    inner: Any = torch.zeros(1)
    for _ in range(200):
        inner = {"a": inner}
    return torch_bytes(inner)


def shared_table() -> bytes:
    inner: Any = {"a": torch.zeros(1)}
    return torch_bytes({"image_proj": inner, "ip_adapter": inner})


def long_names_together() -> bytes:
    inner = {str(i): torch.zeros(1) for i in range(1000)}
    return torch_bytes({"x" * 20_000: inner})


def doubled(part: bytes, times: int = 40) -> bytes:
    """A pickle's value that holds itself twice, again and again: 2**times parts in few bytes."""
    return part + b"q\x000" + b"h\x00h\x00\x86q\x000" * times + b"h\x00"


TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n"
STORAGE = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\n"
NAMED = b"X\x01\x00\x00\x00a"


def doubled_key() -> bytes:
    rest = b"X\x03\x00\x00\x00cpuK\x01tQK\x00K\x01\x85K\x01\x85\x89NtRs."
    return with_pickle(b"\x80\x02}" + NAMED + TENSOR + b"(" + STORAGE + doubled(b"K\x00") + rest)


def doubled_name() -> bytes:
    return with_pickle(b"\x80\x04}" + NAMED + doubled(b"K\x00") + b"X\x01\x00\x00\x00b\x93s.")


def doubled_old_key() -> bytes:
    data = torch_bytes({"a": torch.zeros(2)}, zipped=False)
    start = data.rindex(b"\x80\x02]")
    return data[:start] + b"\x80\x02]" + doubled(b"K\x00") + b"a." + bytes(16)


def many_sizes() -> bytes:
    """One long list, copied again and again by what only has to name a size."""
    one = b"](" + b"K\x01" * 100_000 + b"eq\x00"
    copies = (b"X\x04\x00\x00\x00%04dctorch\nSize\nh\x00\x85Rs" % i for i in range(2000))
    return with_pickle(b"\x80\x02}" + NAMED + one + b"s" + b"".join(copies) + b".")


def long_shape() -> bytes:
    shape = b"(" + (b"\x8a\x08" + b"\xff" * 7 + b"\x3f") * 50_000 + b"tq\x00"
    storage = STORAGE + b"X\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x01tQ"
    return with_pickle(
        b"\x80\x02}" + NAMED + TENSOR + b"(" + storage + b"K\x00" + shape + b"h\x00\x89NtRs."
    )


def long_list_under_many_names() -> bytes:
    one = b"](" + b"K\x01" * 100_000 + b"eq\x00"
    names = b"".join(b"X\x04\x00\x00\x00%04dh\x00s" % i for i in range(5000))
    return with_pickle(b"\x80\x02}" + NAMED + one + b"s" + names + b".")


COSTLY = {
    make.__name__: make
    for make in (
        *(many_parts, long_header, many_tensors, many_names, long_name, negative_sizes),
        *(many_dimensions, endless_digits, many_lists, many_members, colliding_keys, far_memo),
        *(one_storage_many_times, one_storage_in_views, claimed_storage, deep_tables),
        *(shared_table, long_names_together, doubled_key, doubled_name, doubled_old_key),
        *(many_sizes, long_shape),
    )
}
MOST_SECONDS, MOST_BYTES = 5, 64 * 2**20


@pytest.mark.parametrize("case", COSTLY)
def test_no_file_costs_more_than_a_small_multiple_of_itself(tmp_path: Path, case: str) -> None:
    data = COSTLY[case]()
    (tmp_path / "a.bin").write_bytes(data)
    size = len(data)
    del data
    before, begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    for read in READERS:
        with pytest.raises(BrokenFile) as refused:
            read(str(tmp_path / "a.bin"))
        assert str(refused.value).startswith("a.bin ") and len(str(refused.value)) <= limits.MESSAGE
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert time.process_time() - begun < MOST_SECONDS
    assert grown <= 2 * size + MOST_BYTES, (grown, size)


def test_a_long_list_is_looked_at_once_however_many_names_it_has(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(long_list_under_many_names())
    begun = time.process_time()
    assert set(checkpoint.read_shapes(str(tmp_path / "a.bin"))) <= {"a"}
    assert time.process_time() - begun < MOST_SECONDS


HONEST: dict[str, bytes] = {
    "long notes with marks": safetensors_of(
        json.dumps({"__metadata__": {"a": "[1,2]," * 131_072}, "a": entry(0, 4, 1)}).encode(), 4
    ),
    "a type of torch's": save({"a": torch.zeros(3, dtype=torch.uint16)}),
    "nothing in it": save({"a": torch.zeros(0, 4)}),
    "where it was": torch_bytes({"a": torch.zeros(2), "device": torch.device("cpu")}),
    "one tensor under two names": torch_bytes(dict.fromkeys("ab", torch.zeros(1000))),
}


@pytest.mark.parametrize("case", HONEST)
def test_what_is_unusual_and_honest_is_read(tmp_path: Path, case: str) -> None:
    (tmp_path / "a.bin").write_bytes(HONEST[case])
    assert "a" in checkpoint.read_shapes(str(tmp_path / "a.bin"))
    assert torch.equal(checkpoint.read_tensors(str(tmp_path / "a.bin"))["a"].float().sum(), ZERO)


def test_a_great_many_parts_are_no_parts(home: Path) -> None:
    data = save({"a": torch.zeros(1)})
    for number in range(1, 501):
        (home / f"m-{number:05}-of-00500.safetensors").write_bytes(data)
    begun = time.process_time()
    assert len([line for line in report() if line.startswith("✗ m-")]) == 500
    assert time.process_time() - begun < MOST_SECONDS


def test_doctor_does_not_read_a_link_that_leads_out(home: Path, tmp_path: Path) -> None:
    linked(home, tmp_path)
    assert [line for line in report() if "belongs into" in line] == []


def test_a_gguf_file_of_nothing_but_texts_is_given_up(tmp_path: Path) -> None:
    start = b"GGUF" + struct.pack("<IQQ", 3, 1, 2000)
    note = struct.pack("<Q", 1) + b"a" + struct.pack("<IIQ", 9, 8, 30_000)
    path = tmp_path / "a.gguf"
    with path.open("wb") as file:
        file.write(start + note)
        file.truncate(10**9)
    begun = time.process_time()
    assert gguf_shapes(str(path)) == {}
    assert time.process_time() - begun < MOST_SECONDS


def test_headers_that_are_remembered_have_a_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "CACHED_TENSORS", 50)
    remembered = checkpoint._Remembered()
    paths = [tmp_path / f"{i}.safetensors" for i in range(20)]
    for path in paths:
        path.write_bytes(save({str(i): torch.zeros(1) for i in range(9)}))
    read = [remembered.get(str(path)) for path in paths]
    assert len(remembered._files) == 5 and remembered._count == 50
    assert [remembered.get(str(path)) is one for path, one in zip(paths, read, strict=True)] == (
        [False] * 20  # the last ones are dropped while the first are read again
    )
    last = remembered.get(str(paths[-1]))
    assert remembered.get(str(paths[-1])) is last


def test_tied_weights_are_read_once(tmp_path: Path) -> None:
    rows = torch.randn(3, 4)
    torch.save({"a": rows, "b": {"c": rows}, "turned": rows.T}, tmp_path / "a.bin")
    read = checkpoint.read_tensors(str(tmp_path / "a.bin"))
    assert read["a"] is read["b"]["c"] and torch.equal(read["turned"], rows.T)
    assert all(one.is_contiguous() for one in (read["a"], read["turned"]))


def test_no_descriptor_stays_open(tmp_path: Path) -> None:
    path = adapter(tmp_path / "a.safetensors")
    (tmp_path / "b.safetensors").write_bytes(path.read_bytes()[:-1])
    before = len(os.listdir("/proc/self/fd"))
    for name, read in itertools.product("ab", READERS):
        try:
            read(str(tmp_path / f"{name}.safetensors"))
        except BrokenFile:
            assert name == "b"
    assert len(os.listdir("/proc/self/fd")) == before


def test_what_is_remembered_of_a_file_goes_with_it(tmp_path: Path) -> None:
    remembered = checkpoint._Remembered()
    names = ("one", "two", "three")
    for name in names:
        save_file({"a": torch.zeros(2)}, tmp_path / name)
        remembered.get(str(tmp_path / name))
    before = remembered._count
    for size in (3, 4, 5):
        save_file({"a": torch.zeros(size)}, tmp_path / "one")
        assert remembered.get(str(tmp_path / "one"))["a"].shape == (size,)
        assert (len(remembered._files), remembered._count) == (3, before)
    (tmp_path / "two").unlink()
    save_file({"a": torch.zeros(6)}, tmp_path / "three")
    remembered.get(str(tmp_path / "three"))
    assert remembered._files.keys() == {str(tmp_path / name) for name in ("one", "three")}
    assert remembered._count == before * 2 // 3
