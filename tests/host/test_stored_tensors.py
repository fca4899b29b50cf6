"""Rows of a tensor, read from the file it stays in."""

from __future__ import annotations

import io
import os
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from pack.ip_models.errors import BrokenFile
from pack.nodes.host.files import adapter_file, checkpoint
from pack.nodes.host.files.contents import stored_tensors
from pack.nodes.host.files.stored import StoredTensor
from safetensors.torch import save_file
from torch import Tensor, nn

DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
ids = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def numbers(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape))).to(dtype)


def flat(tensors: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in tensors.items():
        more = flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else None
        found |= {f"{prefix}{key}": value} if more is None else more
    return found


def require_equal(stored: Mapping[str, Any] | None, written: Mapping[str, Any]) -> None:
    """Whole, first row, last row and all in pairs of rows, bit for bit."""
    assert stored is not None
    found, expected = flat(stored), flat(written)
    assert found.keys() == expected.keys()
    for key, one in found.items():
        assert isinstance(one, StoredTensor)
        tensor, count = expected[key], len(expected[key])
        assert (one.shape, one.dtype, one.nbytes) == (tensor.shape, tensor.dtype, tensor.nbytes)
        pairs = [one.rows(i, min(i + 2, count)) for i in range(0, count, 2)]
        for rows in (one.rows(0, count), torch.cat(pairs)):
            assert rows.dtype == tensor.dtype and torch.equal(rows, tensor)
        assert torch.equal(one.rows(count - 1, count), tensor[-1:])


def content(dtype: torch.dtype) -> dict[str, dict[str, Tensor]]:
    return {
        "image_proj": {"proj.weight": numbers(7, 5, dtype=dtype), "norm.bias": numbers(3)},
        "ip_adapter": {"0.to_k_ip.weight": numbers(4, 3, 2, dtype=dtype)},
    }


@ids
def test_rows_of_a_file_of_safetensors(tmp_path: Path, dtype: torch.dtype) -> None:
    tensors = flat(content(dtype)) | {"count": torch.arange(3)}
    save_file(tensors, tmp_path / "a.safetensors")
    del tensors["count"]  # no weight
    require_equal(stored_tensors(str(tmp_path / "a.safetensors")), tensors)


@ids
def test_rows_of_a_file_of_torch(tmp_path: Path, dtype: torch.dtype) -> None:
    tensors = content(dtype)
    torch.save(tensors | {"epoch": 3, "steps": torch.arange(3)}, tmp_path / "a.bin")
    require_equal(stored_tensors(str(tmp_path / "a.bin")), tensors)


def module_state() -> Any:
    module = nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3))
    return module.state_dict(keep_vars=True)


SPECIAL: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "a module's parameters": (module_state, lambda saved: saved),
    "under state_dict": (
        lambda: {"state_dict": content(torch.float16), "a": numbers(2)},
        lambda saved: saved["state_dict"],
    ),
    "parts of one storage": (
        lambda: dict(zip("ab", numbers(9, 2).split(5), strict=True)),
        lambda saved: saved,
    ),
    "an ordered table": (lambda: OrderedDict(content(torch.float32)), lambda saved: saved),
}


@pytest.mark.parametrize("case", SPECIAL)
def test_torch_saves_in_many_ways(tmp_path: Path, case: str) -> None:
    make, expected = SPECIAL[case]
    saved = make()
    torch.save(saved, tmp_path / "a.bin")
    require_equal(stored_tensors(str(tmp_path / "a.bin")), expected(saved))


def repacked(path: Path, method: int, extra: Mapping[str, bytes]) -> None:
    """The same archive packed, or with other members."""
    whole = zipfile.ZipFile(io.BytesIO(path.read_bytes()))
    with zipfile.ZipFile(path, "w", method) as archive:
        for member in whole.infolist():
            replaced = extra.get(member.filename.rpartition("/")[2])
            archive.writestr(member.filename, replaced or whole.read(member))


def test_rows_of_a_file_older_than_torch_1_6(tmp_path: Path) -> None:
    tensors = content(torch.float16)
    torch.save(tensors, tmp_path / "a.bin", _use_new_zipfile_serialization=False)
    require_equal(stored_tensors(str(tmp_path / "a.bin")), tensors)


def test_rows_that_do_not_follow_each_other_cannot_be_read_apart(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    torch.save({"a": numbers(3, 4).T}, path)
    assert stored_tensors(str(path)) is None
    assert torch.equal(checkpoint.read_tensors(str(path))["a"], numbers(3, 4).T)


UNFIT: dict[str, tuple[Callable[[Path], object], str]] = {
    "packed": (lambda path: repacked(path, zipfile.ZIP_DEFLATED, {}), "is a packed archive"),
    "of the other byte order": (
        lambda path: repacked(path, 0, {"byteorder": b"big"}),
        "was written on a machine of the other byte order",
    ),
    "of something unknown": (
        lambda path: torch.save({"a": {1, 2}}, path),
        "holds code or objects other than tensors",
    ),
    "code": (
        lambda path: torch.save({"a": os.system}, path),
        "holds code or objects other than tensors",
    ),
}


@pytest.mark.parametrize("case", UNFIT)
def test_what_no_tensors_can_be_found_in_is_refused(tmp_path: Path, case: str) -> None:
    path = tmp_path / "a.bin"
    torch.save(content(torch.float32), path)
    assert stored_tensors(str(path)) is not None
    damage, words = UNFIT[case]
    damage(path)
    for read in (stored_tensors, checkpoint.read_shapes, checkpoint.read_tensors):
        with pytest.raises(BrokenFile, match=f"^a.bin {words}"):
            read(str(path))


def test_code_is_not_run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    class Loud:
        def __reduce__(self) -> Any:
            return print, ("code ran",)

    torch.save({"a": numbers(2), "b": Loud()}, tmp_path / "a.bin")
    with pytest.raises(BrokenFile, match="holds code"):
        stored_tensors(str(tmp_path / "a.bin"))
    assert "code ran" not in capfd.readouterr().out


def replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    os.utime(other, (1, 1))
    other.replace(path)


CHANGES: dict[str, Callable[[Path], object]] = {
    "replaced by another of the same size": replace,
    "cut": lambda path: os.truncate(path, path.stat().st_size - 1),
    "gone": lambda path: path.unlink(),
}


@pytest.mark.parametrize("case", CHANGES)
@pytest.mark.parametrize("name", ["a.safetensors", "a.bin"])
def test_a_file_that_changed_is_refused_by_its_name(tmp_path: Path, name: str, case: str) -> None:
    path, tensors = tmp_path / name, flat(content(torch.float32))
    torch.save(tensors, path) if name.endswith("bin") else save_file(tensors, path)
    stored = stored_tensors(str(path))
    assert stored is not None
    one = stored["image_proj.proj.weight"]
    assert len(one.rows(0, 2)) == 2
    CHANGES[case](path)
    with pytest.raises(BrokenFile, match=f"^{name} is not the file that was loaded any more; "):
        one.rows(0, 2)


@pytest.mark.parametrize("name", ["a.safetensors", "a.bin"])
def test_a_cut_file_is_refused_before_rows_are_asked_for(tmp_path: Path, name: str) -> None:
    path, tensors = tmp_path / name, flat(content(torch.float32))
    torch.save(tensors, path) if name.endswith("bin") else save_file(tensors, path)
    os.truncate(path, path.stat().st_size - 10)
    with pytest.raises(BrokenFile, match=f"^{name} is cut off"):
        adapter_file.stored_weights(str(path))


def test_parts_of_an_adapter_are_found_together(tmp_path: Path) -> None:
    tensors = content(torch.float16)
    for number, part in enumerate(tensors, 1):
        held = flat({part: tensors[part]})
        save_file(held, tmp_path / f"a-{number:05}-of-00002.safetensors")
    weights = adapter_file.stored_weights(str(tmp_path / "a-00002-of-00002.safetensors"))
    assert weights is not None
    require_equal(weights.projection, tensors["image_proj"])
    require_equal(weights.layers, tensors["ip_adapter"])
