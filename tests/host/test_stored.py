"""Save Embeds and Load Embeds on a folder of their own: names, crashes, hostile files, encoders."""

from __future__ import annotations

import argparse
import errno
import io
import json
import os
import pickle
import resource
import shutil
import signal
import struct
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import comfy.clip_vision
import comfy.model_management
import folder_paths
import pytest
import torch
from kit.models import encoders, tiny
from pack.ip_models.errors import BadInput, BrokenFile, MissingModel, WrongEncoder
from pack.ip_models.references import embeds_file
from pack.ip_models.references.features import FaceFeatures, ImageFeatures, Region, Regions
from pack.nodes.host.embeds import store
from pack.nodes.host.embeds.store import FileFormat, IfExists
from pack.nodes.host.encoder.encode import BLACK_WIDTH, encode
from pack.nodes.host.encoder.identity import fingerprint
from pack.nodes.host.files import folders
from pack.nodes.host.model.apply import Settings, apply
from pack.nodes.stored import LoadEmbeds, SaveEmbeds
from safetensors.torch import save as to_safetensors
from torch import Tensor

KEY = folders.EMBEDS
pytestmark = pytest.mark.filterwarnings("ignore:Detected pickle protocol")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder of embeds, registered as at start-up; the table is put back afterwards."""
    table = {
        name: (list(paths), set(endings))
        for name, (paths, endings) in folder_paths.folder_names_and_paths.items()
        if name != KEY
    }
    models = tmp_path / "models"
    models.mkdir()
    monkeypatch.setattr(folder_paths, "models_dir", str(models))
    monkeypatch.setattr(folder_paths, "folder_names_and_paths", table)
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    folders.register()
    yield models / KEY


def save(embeds: Any, name: Any = "reference", **inputs: Any) -> str:
    """Run the node; the name it reports."""
    many = embeds if isinstance(embeds, dict) else {"embeds0": embeds}
    out = SaveEmbeds.execute(embeds=many, name=name, **inputs)
    assert out.ui["text"][0].splitlines()[0] == out.ui["ipadapter_embeds"][0]
    return out.ui["ipadapter_embeds"][0]


def load(name: Any, **inputs: Any) -> Any:
    return LoadEmbeds.execute(name, **inputs).args[0]


def text_of(name: str, **inputs: Any) -> str:
    return LoadEmbeds.execute(name, **inputs).ui["text"][0]


def same(one: Any, other: Any) -> bool:
    """Equal to the last bit."""
    left, right = embeds_file.pack(one), embeds_file.pack(other)
    return left[1] == right[1] and all(
        torch.equal(a, b) for a, b in zip(left[0].values(), right[0].values(), strict=True)
    )


def listed() -> list[str]:
    """Without the file that comes with the pack."""
    return [name for name in folders.files(KEY) if name != "ipadapter_example.ipadpt"]


def parts(home: Path) -> list[Path]:
    return [path for path in home.rglob("*") if path.name.endswith(store._PART)]


PICTURE = tiny.random_features(2)
OTHER = tiny.random_features(2, seed=9)


def test_what_is_saved_is_listed_and_loaded_bit_by_bit(home: Path) -> None:
    regions = Regions(
        (
            Region(replace(PICTURE, encoder="00c0ffee"), torch.rand(3, 8, 9), 0.3),
            Region(tiny.random_faces(2, crops=True), None, 1.0),
        )
    )
    assert listed() == []
    for number, embeds in enumerate((PICTURE, tiny.random_faces(3), regions)):
        name = save(embeds, f"people/anna {number}")
        assert name == os.path.join("people", f"anna {number}.safetensors") and name in listed()
        assert same(load(name), embeds)
    assert parts(home) == []
    assert load(name).regions[0].features.negative_pooled.shape == (1, tiny.POOLED_WIDTH)


def test_a_file_is_listed_within_the_same_tick_of_the_clock(home: Path) -> None:
    assert listed() == []
    before = os.stat(home)
    name = save(PICTURE)
    os.utime(home, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert listed() == [name]


def test_a_name_that_is_taken_gets_a_number() -> None:
    names = [save(tiny.random_features(1, seed)) for seed in (1, 2, 3)]
    assert names == [f"reference{n}.safetensors" for n in ("", "_00002", "_00003")]
    assert listed() == sorted(names)
    assert same(load(names[1]), tiny.random_features(1, 2))


def test_a_graph_that_is_queued_all_night_does_not_fill_the_disk(home: Path) -> None:
    first = [save(PICTURE), save(OTHER)]
    times = [os.stat(home / name).st_mtime_ns for name in first]
    for _ in range(5):
        assert [save(PICTURE), save(OTHER)] == first
    assert [save(PICTURE, if_exists="replace"), *first[1:]] == first
    assert [os.stat(home / name).st_mtime_ns for name in first] == times
    assert len(list(home.iterdir())) == 2


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Bytes of each read from a saved file while another is saved."""
    counts: list[int] = []

    class Counted(io.FileIO):
        def read(self, size: int | None = -1) -> Any:
            got = super().read(size)
            counts.append(len(got or b""))
            return got

    monkeypatch.setattr(store, "open", Counted, raising=False)
    return counts


@pytest.mark.parametrize("file_format", ["safetensors", "ipadpt"])
def test_files_of_the_name_are_told_apart_without_reading_them_whole(
    home: Path, reads: list[int], adapters: dict[str, Any], file_format: str
) -> None:
    """The negative rows, which come first in a file, are those of all pictures of an encoder."""
    shared = dict(negative_penultimate=PICTURE.negative_penultimate)
    inputs = dict(file_format=file_format, adapters={"adapter0": adapters["plus"]})
    made = [replace(tiny.random_features(20, seed), **shared) for seed in range(6)]
    names = [save(one, **inputs) for one in made[:5]]
    (size,) = {os.stat(home / name).st_size for name in names}
    reads.clear()
    names.append(save(made[5], **inputs))
    assert len(set(names)) == 6 and 0 < sum(reads) <= 5 * 2**15 < size
    reads.clear()
    assert save(made[3], **inputs) == names[3]
    assert size <= sum(reads) <= size + 4 * 2**15


def test_one_byte_in_the_middle_makes_another_file(home: Path) -> None:
    data = bytes(10**5)
    for place, name in ((None, "a"), (50_000, "a_00002"), (0, "a_00003"), (99_999, "a_00004")):
        changed = bytearray(data)
        if place is not None:
            changed[place] = 1
        for _ in range(2):
            saved = store.save(bytes(changed), "a", FileFormat.IPADPT, IfExists.KEEP_BOTH)
            assert saved == f"{name}.ipadpt"


def test_saving_looks_each_time_whether_its_file_is_there(home: Path) -> None:
    one, other = (SaveEmbeds.fingerprint_inputs(name="reference") for _ in range(2))
    assert one != other
    name = save(PICTURE)
    (home / name).unlink()
    assert save(PICTURE) == name and (home / name).is_file()


def test_replace_and_stop() -> None:
    name = save(PICTURE)
    with pytest.raises(BadInput, match="reference.safetensors exists already"):
        save(OTHER, if_exists="stop")
    assert same(load(name), PICTURE)
    assert save(OTHER, if_exists="replace") == name
    assert same(load(name), OTHER) and not same(load(name), PICTURE)


@pytest.mark.parametrize("if_exists", [IfExists.KEEP_BOTH, IfExists.STOP])
def test_two_servers_that_save_one_name_at_once_lose_nothing(
    home: Path, if_exists: IfExists
) -> None:
    start = threading.Barrier(2)

    def save_one(number: int, data: bytes) -> str:
        start.wait()
        try:
            return store.save(data, f"a{number}", FileFormat.IPADPT, if_exists)
        except BadInput as error:
            assert "exists already" in str(error)
            return ""

    with ThreadPoolExecutor(2) as pool:
        for number in range(30):
            written = (b"one" * 99, b"two" * 99)
            names = list(pool.map(save_one, (number, number), written))
            held = {name: data for name, data in zip(names, written, strict=True) if name}
            assert len(held) == (2 if if_exists is IfExists.KEEP_BOTH else 1)
            assert all((home / name).read_bytes() == data for name, data in held.items())
    assert parts(home) == []


def test_a_typed_ending_is_not_doubled() -> None:
    assert save(PICTURE, "a.safetensors") == "a.safetensors"
    pooled = replace(PICTURE, penultimate=None, negative_penultimate=None)
    assert save(pooled, "a.safetensors", file_format="ipadpt") == "a.ipadpt"


@pytest.mark.parametrize("name", [None, "", "../a", "/tmp/a", "a/../../b", "C:\\a", "con", "a\0"])
def test_a_name_that_leads_out_is_refused_and_nothing_is_written(home: Path, name: Any) -> None:
    everything = sorted(home.parents[1].rglob("*"))
    with pytest.raises(BadInput, match="^name is"):
        save(PICTURE, name)
    assert sorted(home.parents[1].rglob("*")) == everything


def test_a_link_leads_nowhere(home: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (home / "away").symlink_to(outside, target_is_directory=True)
    with pytest.raises(BadInput, match="by a link"):
        save(PICTURE, "away/a")
    assert not list(outside.iterdir())
    victim = outside / "victim"
    victim.write_text("mine")
    (home / "b.safetensors").symlink_to(victim)
    assert save(PICTURE, "b", if_exists="replace") == "b.safetensors"
    assert victim.read_text() == "mine" and not (home / "b.safetensors").is_symlink()


def test_a_link_beside_the_folder_leads_out_too(home: Path) -> None:
    beside = home.with_name(f"{home.name} 2")
    beside.mkdir()
    (home / "away").symlink_to(beside, target_is_directory=True)
    with pytest.raises(BadInput, match="by a link"):
        save(PICTURE, "away/a")


def test_the_whole_folder_may_be_a_link(home: Path, tmp_path: Path) -> None:
    home.rmdir()
    (tmp_path / "large disk").mkdir()
    home.symlink_to(tmp_path / "large disk", target_is_directory=True)
    assert save(PICTURE, "sub/a") in listed()
    assert (tmp_path / "large disk" / "sub" / "a.safetensors").is_file()


def test_a_file_where_a_folder_should_be_is_a_sentence(home: Path) -> None:
    save(PICTURE, "a")
    (home / "a.safetensors").rename(home / "a")
    with pytest.raises(BadInput, match=r"b.safetensors cannot be written in"):
        save(PICTURE, "a/b")
    (home / "dir.safetensors").mkdir()
    with pytest.raises(BadInput, match="cannot be written"):
        save(PICTURE, "dir", if_exists="replace")
    assert save(PICTURE, "dir") == "dir_00002.safetensors"
    assert parts(home) == []


def test_registered_places_are_kept_and_the_first_is_written_to(home: Path, tmp_path: Path) -> None:
    first = tmp_path / "first"
    folder_paths.add_model_folder_path(KEY, str(first), is_default=True)
    folders.register()
    places = [str(first), str(home), folders.uploaded(), folders.EXAMPLES]
    assert folder_paths.get_folder_paths(KEY) == places
    name = save(PICTURE)
    assert (first / name).is_file() and not list(home.iterdir())
    (home / "old.safetensors").write_bytes((first / name).read_bytes())
    assert save(OTHER, "old") == "old_00002.safetensors"
    assert same(load("old.safetensors"), PICTURE)


def test_what_a_program_uploads_is_listed_and_loaded(home: Path) -> None:
    name = save(PICTURE)
    (sent := Path(folders.uploaded())).mkdir(parents=True)
    try:
        (home / name).rename(sent / "sent.safetensors")
        assert "sent.safetensors" in folders.files(KEY)
        assert same(load("sent.safetensors"), PICTURE)
    finally:
        shutil.rmtree(sent)


def test_a_place_that_cannot_be_written_is_passed_over(home: Path) -> None:
    paths, endings = folder_paths.folder_names_and_paths[KEY]
    folder_paths.folder_names_and_paths[KEY] = (["/proc/none of that", *paths], endings)
    assert (home / save(PICTURE)).is_file()
    none = ["/proc/none of that", folders.EXAMPLES]  # what comes with the pack is no such place
    folder_paths.folder_names_and_paths[KEY] = (none, endings)
    with pytest.raises(BadInput, match="no file can be written in /proc/none of that"):
        save(PICTURE)


def test_a_file_in_a_place_that_cannot_be_written_is_not_replaced(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, access = tmp_path / "first", os.access
    name = save(PICTURE)
    (home / name).rename(first.mkdir() or first / name)
    folder_paths.add_model_folder_path(KEY, str(first), is_default=True)

    def read_only(path: Any, mode: int) -> bool:
        return access(path, mode) and not (path == str(first) and mode & os.W_OK)

    monkeypatch.setattr(os, "access", read_only)
    with pytest.raises(BadInput, match=f"^{name} is in {first}, where nothing can be written"):
        save(OTHER, if_exists="replace")
    assert not list(home.iterdir())
    assert save(PICTURE, if_exists="replace") == name and not list(home.iterdir())
    assert save(OTHER) == "reference_00002.safetensors"


def test_endings_other_packs_entered_are_kept(home: Path) -> None:
    folder_paths.folder_names_and_paths[KEY] = ((str(home),), {".emb"})
    folders.register()
    paths, endings = folder_paths.folder_names_and_paths[KEY]
    assert paths == [str(home), folders.uploaded(), folders.EXAMPLES]
    assert endings == {".emb", ".safetensors", ".ipadpt"}


def write_and_die(path: Path, data: bytes) -> None:
    """Killed when all is written and nothing is in its place yet; runs in a process of its own."""
    fsync = os.fsync

    def stop(descriptor: int) -> None:
        fsync(descriptor)
        os.kill(os.getpid(), signal.SIGKILL)

    os.fsync = stop
    try:
        store.write_whole(str(path), data)
    finally:
        os._exit(1)


def test_a_crash_in_the_middle_leaves_the_old_file_whole(home: Path) -> None:
    name = save(PICTURE)
    old = (home / name).read_bytes()
    child = os.fork()
    if child == 0:
        write_and_die(home / name, b"new" * 100_000)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    assert (home / name).read_bytes() == old and same(load(name), PICTURE)
    (left,) = parts(home)
    assert left.stat().st_size == 300_000
    assert listed() == [name]
    save(OTHER)
    assert parts(home) == [left]  # it may be somebody's who is still writing
    long_ago = time.time() - 4000
    os.utime(left, (long_ago, long_ago))
    save(tiny.random_features(1))
    assert parts(home) == []


@pytest.mark.parametrize("if_exists", ["replace", "keep both"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, OSError])
def test_whatever_stops_the_writing_nothing_is_left(
    home: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException], if_exists: str
) -> None:
    name = save(PICTURE)

    def stop(*_: Any) -> None:
        assert len(parts(home)) == 1
        raise error

    monkeypatch.setattr(os, "replace", stop)
    monkeypatch.setattr(os, "link", stop)
    with pytest.raises(BadInput if error is OSError else error):
        save(OTHER, if_exists=if_exists)
    assert [one.name for one in home.iterdir()] == [name] and same(load(name), PICTURE)


def test_a_new_file_is_there_at_once_and_whole(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is taken first and filled later is an empty file to whoever looks between."""
    seen: list[bytes] = []

    def watched(name: str, work: Callable[..., None]) -> None:
        def call(*arguments: Any, **options: Any) -> None:
            seen.extend(one.read_bytes() for one in home.glob("*.safetensors"))
            work(*arguments, **options)

        monkeypatch.setattr(os, name, call)

    watched("replace", os.replace)
    watched("link", os.link)
    name = save(PICTURE)
    assert seen == [] and same(load(name), PICTURE) and parts(home) == []


def test_a_disk_without_links_keeps_both_too(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    first, second = save(PICTURE), save(OTHER, if_exists="keep both")
    assert first != second and same(load(first), PICTURE) and same(load(second), OTHER)
    assert sorted(listed()) == sorted([first, second]) and parts(home) == []


def test_a_full_disk_is_a_sentence(home: Path) -> None:
    name = save(PICTURE)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(BadInput) as refused:
            save(OTHER)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert str(refused.value).startswith(f"there is no room left in {home}")
    assert str(refused.value).endswith("Make room.")
    assert parts(home) == [] and listed() == [name]


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w", method) as archive:
            for name, content in members.items():
                archive.writestr(name, content)

    return write


def torch_file(content: Any, **options: Any) -> Callable[[Path], None]:
    return lambda path: torch.save(content, path, **options)


def raw(content: bytes) -> Callable[[Path], None]:
    return lambda path: None if path.write_bytes(content) else None


class Evil:
    def __reduce__(self) -> Any:
        return os.system, ("touch /tmp/ipadapter-was-here",)


def packed_bomb(path: Path) -> None:
    """Zeros that take little room on the disk and much in memory."""
    torch.save([torch.zeros(2, 1, 2**20)], path)
    with zipfile.ZipFile(path) as archive:
        members = {one.filename: archive.read(one) for one in archive.infolist()}
    zipped(members, zipfile.ZIP_DEFLATED)(path)
    assert path.stat().st_size < 2**15


def without_its_data(path: Path) -> None:
    """The description of a large tensor with a few bytes of it."""
    torch.save([torch.zeros(2, 1, 2**20)], path)
    with zipfile.ZipFile(path) as archive:
        members = {one.filename: archive.read(one) for one in archive.infolist()}
    members = {name: data[:64] if "/data/" in name else data for name, data in members.items()}
    zipped(members)(path)


def header(table: Any, data: bytes = b"") -> bytes:
    text = json.dumps(table).encode()
    return struct.pack("<Q", len(text)) + text + data


GOOD = embeds_file.pack(PICTURE)
LABEL = {embeds_file.KEY: GOOD[1]}
WHOLE = to_safetensors(GOOD[0], LABEL)
CLAIM = {"0.pooled": {"dtype": "F32", "shape": [2, 2**40], "data_offsets": [0, 2**43]}}
OVERLAP = {
    key: {"dtype": "F32", "shape": [1, 2], "data_offsets": [0, 8]} for key in ("0.pooled", "b")
}
LIE = {"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 8]}}

HOSTILE: dict[str, tuple[Callable[[Path], None], str]] = {
    "empty": (raw(b""), "is empty"),
    "page": (raw(b"<!DOCTYPE html><html>Sign in</html>"), "is a web page"),
    "pointer": (raw(b"version https://git-lfs.github.com/spec/v1\noid sha256:0"), "Git LFS"),
    "text": (raw(b"Entry not found"), "is no model file"),
    "cut": (raw(WHOLE[:-10]), "is cut off"),
    "cut header": (raw(WHOLE[:40]), "is cut off"),
    "cut torch": (raw(b"PK\x03\x04" + bytes(99)), "is cut off or damaged"),
    "huge header": (raw(struct.pack("<Q", 2**40) + b"{"), "is no model file"),
    "large header": (
        raw(header({"__metadata__": {"a": "b" * 2**20}})),
        "is not an embeds file, its header has",
    ),
    "claims": (raw(header(CLAIM | {"__metadata__": LABEL}, bytes(16))), "is cut off"),
    "overlap": (raw(header(OVERLAP | {"__metadata__": LABEL}, bytes(8))), "does not describe"),
    "lie": (raw(header(LIE | {"__metadata__": LABEL}, bytes(8))), "does not describe"),
    "adapter": (
        raw(to_safetensors({"image_proj.proj.weight": torch.ones(2)})),
        "is not an embeds file, it holds 1 tensors such as image_proj.proj.weight",
    ),
    "other metadata": (raw(to_safetensors(GOOD[0], {"format": "pt"})), "is not an embeds file"),
    "no tensors": (raw(header({})), "is not an embeds file"),
    "label no text": (raw(header({"__metadata__": {embeds_file.KEY: 3}})), "does not describe"),
    "no json": (raw(to_safetensors(GOOD[0], {embeds_file.KEY: "{"})), "is not JSON"),
    "deep": (raw(to_safetensors(GOOD[0], {embeds_file.KEY: "[" * 9**5})), "not JSON"),
    "newer": (
        raw(to_safetensors(GOOD[0], {embeds_file.KEY: GOOD[1].replace('sion": 1', 'sion": 3')})),
        "newer version",
    ),
    "nan": (
        raw(to_safetensors(GOOD[0] | {"0.pooled": torch.full((2, 1024), float("nan"))}, LABEL)),
        "not finite",
    ),
    "whole numbers": (
        raw(to_safetensors(GOOD[0] | {"0.pooled": torch.ones(2, 1024).int()}, LABEL)),
        "not finite",
    ),
    "zero images": (
        raw(to_safetensors(GOOD[0] | {"0.pooled": torch.zeros(0, 1024)}, LABEL)),
        "says that 0.pooled is",
    ),
    "code": (torch_file([Evil()]), "holds code or objects other than tensors"),
    "bare code": (raw(pickle.dumps(Evil(), 2)), "is a bare pickle, which may hold code"),
    "old torch": (torch_file([torch.ones(2, 1, 8)], _use_new_zipfile_serialization=False), "bare"),
    "objects": (torch_file(argparse.Namespace()), "holds code or objects"),
    "zip": (zipped({"a.txt": b"a"}), "is cut off or damaged"),
    "bomb": (packed_bomb, "is a packed archive"),
    "no data": (without_its_data, "is cut off or damaged"),
    "large pickle": (zipped({"a/data.pkl": bytes(2**21)}), "has a description of 2097152 bytes"),
    "expanded": (torch_file([torch.zeros(1).expand(2, 1, 2**50)]), "claims that entry 0 is"),
    "table": (torch_file({"image_proj": {}}), "is not an embeds file, it holds a table of 1 entry"),
    "number": (torch_file(3), "it holds 3"),
    "nan list": (torch_file([torch.full((2, 1, 8), float("nan"))]), "not finite"),
    "rank": (torch_file([torch.ones(8)]), "shape 8"),
    "no images": (torch_file([torch.ones(2, 0, 8)]), "holds no images"),
    "none": (torch_file([]), "holds a list of 0"),
    "hidden": (torch_file([torch.ones(1, 257, 1280)]), "looks like hidden states"),
}


@pytest.mark.parametrize("ending", ["safetensors", "ipadpt"])
@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_file_is_one_sentence_and_the_next_one_loads(
    home: Path, case: str, ending: str
) -> None:
    write, words = HOSTILE[case]
    save(PICTURE, "good")
    write(home / f"bad.{ending}")
    started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(BrokenFile) as refused:
        load(f"bad.{ending}")
    said = str(refused.value)
    assert words in said and said.startswith(f"bad.{ending} ")
    assert "\n" not in said and said.endswith(".") and str(home) not in said
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - started < 200_000  # KiB
    assert not os.path.exists("/tmp/ipadapter-was-here")
    assert same(load("good.safetensors"), PICTURE)


def sparse(path: Path, rows: int, wide: int = 1024) -> None:
    """A whole file of zeros that takes no room on the disk."""
    size = 4 * rows * wide
    part = {"sort": "image", "source": "a", "encoder": "", "references": rows}
    plan = {"version": 1, "regions": False, "parts": [part | {"shapes": {"pooled": [rows, wide]}}]}
    table = {"0.pooled": {"dtype": "F32", "shape": [rows, wide], "data_offsets": [0, size]}}
    path.write_bytes(header(table | {"__metadata__": {embeds_file.KEY: json.dumps(plan)}}))
    os.truncate(path, path.stat().st_size + size)


def test_a_file_that_would_fill_the_memory_is_refused_before_it_is_read(home: Path) -> None:
    free = comfy.model_management.get_free_memory(torch.device("cpu"))
    sparse(home / "large.safetensors", int(0.6 * free) // 4096)
    assert (home / "large.safetensors").stat().st_blocks * 512 < 2**20
    started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(
        BrokenFile, match=r"large.safetensors needs .* GB of memory to be read; .* GB are free"
    ):
        load("large.safetensors")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - started < 200_000  # KiB
    sparse(home / "small.safetensors", 100)
    assert load("small.safetensors").count == 100


def test_a_list_that_would_fill_the_memory_is_refused(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save([torch.rand(2, 1, 64)], home / "a.ipadpt")
    size = (home / "a.ipadpt").stat().st_size
    free = {"is": 3 * size}
    monkeypatch.setattr(comfy.model_management, "get_free_memory", lambda *_: free["is"])
    assert load("a.ipadpt").count == 1
    free["is"] -= 1
    with pytest.raises(BrokenFile, match=r"a.ipadpt needs 0.0 GB of memory"):
        load("a.ipadpt")


def test_a_damaged_byte_leads_to_a_sentence_or_to_embeds(home: Path) -> None:
    torch.save([torch.rand(2, 1, 64)], home / "a.ipadpt")
    small = ImageFeatures(torch.rand(1, 64), None, torch.rand(1, 64), None, "ViT-H")
    save(small, "a")
    outcomes = {"loaded": 0, "refused": 0}
    for name in ("a.ipadpt", "a.safetensors"):
        whole = (home / name).read_bytes()
        for place in range(0, len(whole), 7):
            damaged = bytearray(whole)
            damaged[place] ^= 1 + place % 255
            (home / name).write_bytes(damaged)
            try:
                load(name)
                outcomes["loaded"] += 1
            except (BrokenFile, WrongEncoder):
                outcomes["refused"] += 1
    assert min(outcomes.values()) > 20


@pytest.mark.parametrize("name", ["gone.safetensors", "../../secret.safetensors", "", "a\0", "."])
def test_a_file_that_is_not_there_is_refused_before_the_run(home: Path, name: str) -> None:
    (home.parents[1] / "secret.safetensors").write_bytes(WHOLE)
    assert "is not in" in str(LoadEmbeds.validate_inputs(name))
    assert LoadEmbeds.validate_inputs(negative_file=name) is not True
    with pytest.raises(MissingModel):
        load(name)


@pytest.mark.parametrize("name", [3, ["a"], {}, True])
def test_what_is_no_name_is_refused(name: Any) -> None:
    assert "embeds_file is" in str(LoadEmbeds.validate_inputs(name))
    with pytest.raises(BadInput, match="embeds_file is"):
        load(name)


def test_a_file_saved_after_the_page_was_loaded_is_accepted() -> None:
    name = save(PICTURE, "late")
    assert LoadEmbeds.validate_inputs(name) is True
    assert LoadEmbeds.validate_inputs(embeds_file=name, negative_file="none") is True
    assert LoadEmbeds.validate_inputs() is True
    with pytest.raises(BadInput, match="embeds_file is nothing"):
        load(None)


def test_a_replaced_file_is_read_again() -> None:
    name = save(PICTURE)
    before = LoadEmbeds.fingerprint_inputs(embeds_file=name, entry=0)
    other = save(OTHER)
    assert LoadEmbeds.fingerprint_inputs(embeds_file=name, entry=0) == before
    with_negative = LoadEmbeds.fingerprint_inputs(embeds_file=name, negative_file=other)
    save(tiny.random_features(1), other, if_exists="replace")
    assert LoadEmbeds.fingerprint_inputs(embeds_file=name, negative_file=other) != with_negative
    save(tiny.random_features(1), name, if_exists="replace")
    assert LoadEmbeds.fingerprint_inputs(embeds_file=name) != before
    assert LoadEmbeds.fingerprint_inputs(embeds_file=None) == ""


def list_of_two() -> list[Tensor]:
    return [torch.rand(2, 1, 1024), torch.rand(2, 3, 17, 1280)]


def test_an_entry_of_several_is_chosen(home: Path) -> None:
    made = list_of_two()
    torch.save(made, home / "two.ipadpt")
    first, second = load("two.ipadpt"), load("two.ipadpt", entry=1)
    assert torch.equal(first.pooled, made[0][1]) and first.penultimate is None
    assert torch.equal(second.penultimate, made[1][1]) and second.count == 3
    text = text_of("two.ipadpt", entry=1)
    assert "entry 0: pooled 1 x 1024 of ViT-H" in text
    assert "this is entry 1: penultimate 3 x 17 x 1280 of ViT-H" in text
    with pytest.raises(BadInput, match=r"entry is 2; two.ipadpt holds entries 0 to 1\."):
        load("two.ipadpt", entry=2)
    with pytest.raises(BadInput, match="holds entry 0 alone"):
        load(save(PICTURE), entry=1)
    for wrong in (-1, 1.5, "1", float("nan")):
        with pytest.raises(BadInput, match="entry is"):
            load("two.ipadpt", entry=wrong)
    assert same(load("two.ipadpt", entry=None, negative_file=None), first)


def test_positive_and_negative_files_of_the_incumbent(home: Path) -> None:
    positive, negative = torch.rand(2, 17, 1280), torch.rand(1, 17, 1280)
    torch.save(positive, home / "positive.ipadpt")
    torch.save(negative, home / "negative.ipadpt")
    with pytest.raises(WrongEncoder, match="as negative_file, or connect clip_vision"):
        load("positive.ipadpt")
    both = load("positive.ipadpt", negative_file="negative.ipadpt")
    assert torch.equal(both.penultimate, positive)
    assert torch.equal(both.negative_penultimate, negative)
    torch.save(torch.rand(2, 1024), home / "pooled.ipadpt")
    pooled = load("pooled.ipadpt")
    assert pooled.negative_pooled.shape == (1, 1024) and not pooled.negative_pooled.any()
    for name, words in (
        ("pooled.ipadpt", "pooled 1024"),
        (save(tiny.random_faces(1)), "holds faces"),
        (save(Regions((Region(PICTURE, None, 1.0),))), "holds regions"),
    ):
        with pytest.raises(BadInput, match=words):
            load("positive.ipadpt", negative_file=name)
    torch.save(torch.rand(3, 17, 1280), home / "three.ipadpt")
    torch.save(positive, home / "two.ipadpt")
    with pytest.raises(BadInput, match="2 of 17 x 1280; three.ipadpt holds 3 of 17 x 1280"):
        load("three.ipadpt", negative_file="two.ipadpt")
    with pytest.raises(BadInput, match="3 of 17 x 1280; positive.ipadpt holds 2 of 17 x 1280"):
        load("positive.ipadpt", negative_file="three.ipadpt")
    with pytest.raises(BadInput, match="holds a face and negative_file is set"):
        load(save(tiny.random_faces(1)), negative_file="negative.ipadpt")
    with pytest.raises(MissingModel):
        load("positive.ipadpt", negative_file="gone.ipadpt")


def test_faces_of_diffusers(home: Path) -> None:
    face = torch.nn.functional.normalize(torch.rand(2, 512), dim=-1)
    torch.save([torch.stack([torch.zeros(2, 512), face])[:, :, None]], home / "face.ipadpt")
    back = load("face.ipadpt")
    assert isinstance(back, FaceFeatures) and torch.equal(back.identity, face)
    assert "2 faces of face.ipadpt" in text_of("face.ipadpt")


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Pictures in each run of any encoder."""
    return encoders.counted_encodings(monkeypatch)


def test_the_encoder_does_not_run_with_loaded_embeds(
    home: Path, tmp_path: Path, runs: list[int]
) -> None:
    encoder = encoders.make_pair(tmp_path).ours
    embeds = encode(encoder, encoders.reference_of(encoders.picture(60, 80)))
    assert runs and embeds.encoder == fingerprint(encoder) != ""
    runs.clear()
    name = save(embeds)
    assert same(load(name), embeds) and same(load(name, clip_vision=encoder), embeds)
    assert runs == []
    torch.save(embeds.penultimate, home / "positive.ipadpt")
    filled = load("positive.ipadpt", clip_vision=encoder)
    assert torch.equal(filled.negative_penultimate, embeds.negative_penultimate)
    assert not torch.equal(filled.negative_penultimate, embeds.penultimate)


def test_a_black_picture_is_kept_and_made_up_where_a_file_has_none(
    home: Path, tmp_path: Path, runs: list[int]
) -> None:
    encoder = encoders.make_pair(tmp_path, BLACK_WIDTH).ours
    embeds = encode(encoder, encoders.reference_of(encoders.picture(60, 80)))
    runs.clear()
    loaded = load(save(embeds), clip_vision=encoder)
    assert loaded.black_pooled is not None and embeds.black_pooled is not None
    assert torch.equal(loaded.black_pooled, embeds.black_pooled) and runs == []
    old = save(replace(embeds, black_pooled=None), "old")
    assert load(old).black_pooled is None and runs == []
    filled = load(old, clip_vision=encoder)
    assert filled.black_pooled is not None and runs != []
    assert torch.equal(filled.black_pooled, embeds.black_pooled)
    assert filled.pooled is not None and torch.equal(filled.pooled, embeds.pooled)


def test_a_negative_file_is_a_negative_image(home: Path) -> None:
    given = replace(PICTURE, negative_given=True)
    name, other = save(PICTURE), save(given, "given")
    assert not load(name).negative_given and load(other).negative_given
    assert load(name, negative_file=other).negative_given
    torch.save([torch.cat([torch.zeros(1, 1, 64), torch.ones(1, 1, 64)])], home / "none.ipadpt")
    torch.save([torch.cat([torch.rand(1, 1, 64), torch.ones(1, 1, 64)])], home / "one.ipadpt")
    assert not load("none.ipadpt").negative_given and load("one.ipadpt").negative_given


def finetuned(encoder: Any) -> Any:
    with torch.no_grad():
        for weight in encoder.model.parameters():
            weight.mul_(1.01)
    return encoder


def halved(encoder: Any) -> Any:
    """In a precision that cannot be compared with the file's."""
    encoder.model.to(torch.bfloat16)
    return encoder


def patched(encoder: Any) -> Any:
    key = next(iter(encoder.patcher.model.state_dict()))
    encoder.patcher.add_patches({key: (torch.ones(1),)})
    return encoder


def test_another_encoder_is_refused_without_running_it(
    home: Path, tmp_path: Path, runs: list[int]
) -> None:
    encoder = encoders.make_pair(tmp_path).ours
    own = encode(encoder, encoders.reference_of(encoders.picture(60, 80)))
    runs.clear()
    name, wide = save(own), save(PICTURE, "wide")
    with pytest.raises(
        WrongEncoder, match="1024 wide pooled features of ViT-H; .*gives 32 wide ones"
    ):
        load(wide, clip_vision=encoder)
    hidden = save(replace(PICTURE, pooled=None, negative_pooled=None), "hidden")
    with pytest.raises(WrongEncoder, match="1280 wide penultimate features .*gives 48 wide ones"):
        load(hidden, clip_vision=encoder)
    face = save(tiny.random_faces(1, crops=True))
    with pytest.raises(WrongEncoder, match="gives 32 wide"):
        load(face, clip_vision=encoder)
    with pytest.raises(WrongEncoder, match="gives 32 wide"):
        load(save(Regions((Region(PICTURE, None, 1.0),)), "regions"), clip_vision=encoder)
    unknown = save(replace(own, encoder=""), "unknown")
    assert same(
        load(unknown, clip_vision=finetuned(encoders.make_pair(tmp_path).ours)), load(unknown)
    )
    with pytest.raises(WrongEncoder, match="of other weights; the shapes of the connected"):
        load(name, clip_vision=finetuned(encoders.make_pair(tmp_path).ours))
    for change in (halved, patched):
        changed = change(encoders.make_pair(tmp_path).ours)
        assert fingerprint(changed) == ""
        assert same(load(name, clip_vision=changed), load(name))
        with pytest.raises(WrongEncoder, match="gives 32 wide"):
            load(wide, clip_vision=changed)
    assert runs == []
    torch.save(torch.rand(1, 26, encoders.WIDTH), home / "long.ipadpt")
    with pytest.raises(WrongEncoder, match=r"26 x 48 hidden states; .* gives 17 x 48"):
        load("long.ipadpt", clip_vision=encoder)
    for thing in (object(), "clip"):
        with pytest.raises(BadInput, match="clip_vision is "):
            load("long.ipadpt", clip_vision=thing)


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    twin, folder = tiny.twins("sd1"), tmp_path_factory.mktemp("adapters")
    kinds = ("standard", "plus", "FaceID", "FaceID plus", "FaceID portrait unnormed")
    return {
        kind: tiny.load_tensors(folder, tiny.adapter_tensors(twin, kind), kind) for kind in kinds
    }


def saved(home: Path, name: str) -> list[Tensor]:
    return torch.load(home / name, weights_only=True)


def test_adapters_decide_what_an_ipadpt_holds(home: Path, adapters: dict[str, Any]) -> None:
    both = {"adapter0": adapters["plus"], "adapter3": adapters["standard"]}
    shared = saved(home, save(PICTURE, "a", file_format="ipadpt", adapters=both))
    assert [tuple(one.shape) for one in shared] == [(2, 2, 17, 1280), (2, 2, 1024)]
    assert torch.equal(shared[0][1], PICTURE.penultimate) and not shared[1][0].any()
    assert torch.equal(shared[0][0], PICTURE.negative_penultimate.expand(2, -1, -1))
    face = tiny.random_faces(1)
    many = {"embeds1": PICTURE, "embeds10": OTHER, "embeds2": face}
    readers = {"adapter2": adapters["FaceID"], "adapter10": adapters["plus"]}
    readers |= {"adapter1": adapters["standard"]}
    each = saved(home, save(many, "b", file_format="ipadpt", adapters=readers))
    assert [tuple(one.shape) for one in each] == [(2, 2, 1024), (2, 1, 512), (2, 2, 17, 1280)]
    assert torch.equal(each[2][1], OTHER.penultimate)
    assert torch.allclose(each[1][1].norm(dim=-1), torch.ones(1))


@pytest.mark.parametrize(
    ("embeds", "inputs", "words"),
    [
        ({"embeds0": PICTURE, "embeds1": OTHER}, {}, "2 embeds are connected"),
        ({}, {}, "no embeds are connected"),
        ({"embeds0": None}, {}, "no embeds are connected"),
        (PICTURE, {"file_format": "ipadpt"}, "two sorts of features"),
        (Regions((Region(PICTURE, None, 1.0),)), {"file_format": "ipadpt"}, "are regions"),
        (tiny.random_faces(1), {"file_format": "ipadpt"}, "Connect the adapter"),
        ({"embeds0": "text"}, {}, 'embeds0 is "text"'),
        (PICTURE, {"adapters": {"adapter0": PICTURE}}, "adapter0 is embeds"),
        (PICTURE, {"adapters": 3}, "adapter0, adapter1"),
        (PICTURE, {"file_format": "bin"}, 'file_format is "bin"'),
        (PICTURE, {"if_exists": None}, "if_exists is nothing"),
    ],
)
def test_what_cannot_be_saved_is_said_and_nothing_is_written(
    home: Path, embeds: Any, inputs: Any, words: str
) -> None:
    with pytest.raises(BadInput, match=words):
        save(embeds, **inputs)
    assert not list(home.iterdir())


def test_what_no_loader_takes_is_not_written(home: Path) -> None:
    small = ImageFeatures(torch.rand(1, 4), None, torch.rand(1, 4), None, "ViT-H")
    talk = {f"recogniser {number}": "why" * 160 for number in range(2200)}
    uneven = replace(small, negative_pooled=torch.rand(3, 4))
    for embeds, words in (
        (uneven, "could not be read again .the file holds 3 negative_pooled features for 1"),
        (Regions((Region(small, torch.rand(8), 1.0),)), "a mask nobody can use"),
        (Regions((Region(small, None, True),)), "without a scale"),
        (FaceFeatures(torch.rand(1, 512), None, "a", talk), "Save fewer regions in one file"),
    ):
        with pytest.raises(BadInput, match=words):
            save(embeds)
    assert not list(home.iterdir())
    with pytest.raises(BadInput, match=r"read again .the file holds a list of 51."):
        store.as_ipadpt([torch.rand(2, 1, 4)] * 51)
    name = save(Regions((Region(small, None, 2),)))
    assert load(name).regions[0].scale == 2


def test_one_link_instead_of_many_is_a_sentence() -> None:
    with pytest.raises(BadInput, match="is one link"):
        SaveEmbeds.execute(embeds=PICTURE)


def test_embeds_for_another_adapter_are_not_saved(home: Path, adapters: dict[str, Any]) -> None:
    pooled = replace(PICTURE, penultimate=None, negative_penultimate=None)
    for kind, embeds, words in (
        ("plus", pooled, "no penultimate"),
        ("FaceID", PICTURE, "hold no face"),
        ("FaceID plus", tiny.random_faces(1), "no picture of it"),
        ("standard", Regions((Region(tiny.random_faces(1), None, 1.0),)), "no picture"),
    ):
        with pytest.raises(WrongEncoder, match=words):
            save(embeds, adapters={"adapter0": adapters[kind]})
    with pytest.raises(BadInput, match="adapter1 is connected and embeds1 is not"):
        readers = {"adapter0": adapters["plus"], "adapter1": adapters["plus"]}
        save({"embeds0": PICTURE, "embeds2": OTHER}, file_format="ipadpt", adapters=readers)
    with pytest.raises(BadInput, match="FaceID plus adapter, for which diffusers"):
        crops = tiny.random_faces(1, crops=True)
        save(crops, file_format="ipadpt", adapters={"adapter0": adapters["FaceID plus"]})
    assert not list(home.iterdir())
    assert save(PICTURE, adapters={"adapter0": adapters["plus"], "adapter1": adapters["standard"]})


def test_a_file_of_one_sort_meets_an_adapter_of_the_other(
    home: Path, adapters: dict[str, Any]
) -> None:
    model = tiny.twins("sd1").model
    for entry, (kind, words) in enumerate((("plus", "no penultimate"), ("standard", "no pooled"))):
        torch.save(list_of_two(), home / "two.ipadpt")
        embeds = load("two.ipadpt", entry=entry)
        with pytest.raises(WrongEncoder, match=f"ViT-H with {words} features") as refused:
            apply(model, adapters[kind], embeds, Settings())
        assert "\n" not in str(refused.value)
        apply(model, adapters["standard" if kind == "plus" else "plus"], embeds, Settings())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_file_in_half_precision_is_heard(
    home: Path, adapters: dict[str, Any], dtype: torch.dtype
) -> None:
    twin = tiny.twins("sd1")
    call = tiny.make_call(twin)
    names = ("pooled", "penultimate", "negative_pooled", "negative_penultimate")
    half = replace(PICTURE, **{name: getattr(PICTURE, name).to(dtype) for name in names})
    loaded = load(save(half))
    assert loaded.pooled.dtype is dtype
    outs = [
        tiny.run_comfy(apply(twin.model, adapters["plus"], one, Settings()), call)
        for one in (loaded, PICTURE)
    ]
    assert tiny.relative(*outs) < 0.05
    assert tiny.relative(outs[1], tiny.run_comfy(twin.model, call)) > 0.01
