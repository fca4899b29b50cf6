"""Face packs are found wherever people put them, and what is wrong with one is said."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import folder_paths
import pytest
from pack.ip_models.errors import BrokenFile, MissingModel
from pack.nodes.host.face import packs
from pack.nodes.host.face.packs import LICENCE, KnownFile, Recogniser, Role, find, names, warn_of

pytest.importorskip("onnx")
from kit.models.face_packs import landmarks, make_pack, small_detector, small_recogniser


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pack(tmp_path_factory.mktemp("made") / "buffalo_l")


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    home = tmp_path / "models"
    home.mkdir()
    monkeypatch.setattr(folder_paths, "models_dir", str(home))
    monkeypatch.setattr(folder_paths, "folder_names_and_paths", {})
    yield home


def put(made: Path, folder: Path, *left_out: str) -> Path:
    shutil.copytree(made, folder, ignore=lambda _, names: [n for n in names if n in left_out])
    return folder


LAYOUTS = (
    "insightface/models/{}",
    "insightface/{}",
    "insightface/models/{0}/{0}",
    "insightface/{0}/{0}",
)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["buffalo_l", "my faces"])
def test_both_layouts_and_nested_folders(made: Path, models: Path, layout: str, name: str) -> None:
    folder = put(made, models / layout.format(name))
    assert names() == [name]
    found = find(name)
    assert found.folder == str(folder)
    assert Path(found.detector) == folder / "det_10g.onnx"
    assert Path(found.recogniser) == folder / "w600k_r50.onnx"


@pytest.mark.parametrize("inside", ["buffalo_l", "models/buffalo_l"])
def test_extra_model_paths(made: Path, models: Path, tmp_path: Path, inside: str) -> None:
    put(made, tmp_path / "shared" / "faces" / inside)
    folder_paths.add_model_folder_path("insightface", str(tmp_path / "shared" / "faces"))
    assert names() == ["buffalo_l"]
    assert find("buffalo_l").detector.startswith(str(tmp_path / "shared"))


def test_a_folder_with_files_goes_before_an_empty_one(made: Path, models: Path) -> None:
    (models / "insightface" / "models" / "buffalo_l").mkdir(parents=True)
    folder = put(made, models / "insightface" / "buffalo_l")
    assert find("buffalo_l").folder == str(folder)


def test_the_first_place_wins(made: Path, models: Path) -> None:
    first = put(made, models / "insightface" / "models" / "buffalo_l")
    put(made, models / "insightface" / "buffalo_l")
    assert find("buffalo_l").folder == str(first)


def test_links_out_of_the_models_folder_are_followed(made: Path, models: Path) -> None:
    (models / "insightface").mkdir()
    try:
        os.symlink(made, models / "insightface" / "buffalo_l", target_is_directory=True)
    except OSError:
        pytest.skip("no links here")
    assert names() == ["buffalo_l"]
    assert Path(find("buffalo_l").recogniser).is_file()


def test_what_is_no_pack_is_not_listed(made: Path, models: Path) -> None:
    """inswapper lies beside the packs; other folders hold other things; nothing is made."""
    assert names() == []
    assert not list(models.iterdir())
    home = models / "insightface"
    home.mkdir()
    shutil.copy(made / "w600k_r50.onnx", home / "inswapper_128.onnx")
    (home / "notes").mkdir()
    (home / ".cache").mkdir()
    shutil.copy(made / "w600k_r50.onnx", home / ".cache" / "a.onnx")
    assert names() == []


@pytest.mark.parametrize("name", ["../other", "/", "", "other", "."])
def test_a_pack_that_is_not_there(made: Path, models: Path, name: str) -> None:
    put(made, models / "other")
    with pytest.raises(MissingModel) as error:
        find(name)
    assert "is in none of" in str(error.value) and "w600k_r50.onnx" in str(error.value)
    assert str(models / "insightface" / "models") in error.value.found
    assert "non-commercial" in str(error.value)


def test_files_are_known_by_content_not_by_name(models: Path) -> None:
    folder = models / "insightface" / "odd"
    landmarks(folder / "a_detector.onnx")
    landmarks(folder / "b.onnx", 96, 3)
    small_recogniser(folder / "c_landmarks.ONNX")
    small_detector(folder / "z_recogniser.onnx")
    found = find("odd")
    assert os.path.basename(found.detector) == "z_recogniser.onnx"
    assert os.path.basename(found.recogniser) == "c_landmarks.ONNX"


LACKING = {
    "det_10g.onnx": (Role.DETECTOR, "buffalo_l", "det_10g.onnx"),
    "w600k_r50.onnx": (Role.RECOGNISER, "buffalo_l", "w600k_r50.onnx"),
    "det_10g.onnx ": (Role.DETECTOR, "antelopev2", "scrfd_10g_bnkps.onnx"),
    "w600k_r50.onnx ": (Role.RECOGNISER, "antelopev2", "glintr100.onnx"),
}


@pytest.mark.parametrize("file", LACKING)
def test_a_missing_file_is_named_with_its_folder(made: Path, models: Path, file: str) -> None:
    role, name, wanted = LACKING[file]
    folder = put(made, models / "insightface" / "models" / name, file.strip())
    with pytest.raises(MissingModel) as error:
        find(name)
    other = next(one for one in Role if one is not role)
    assert f"has no {role.value}" in str(error.value)
    assert f"Put {wanted} into that folder" in str(error.value) and str(folder) in str(error.value)
    assert other.value not in str(error.value)


def test_an_empty_known_pack_says_what_it_needs(models: Path) -> None:
    (models / "insightface" / "models" / "antelopev2").mkdir(parents=True)
    assert names() == ["antelopev2"]
    with pytest.raises(MissingModel) as error:
        find("antelopev2")
    assert "scrfd_10g_bnkps.onnx and glintr100.onnx" in str(error.value)


DAMAGE = {
    "is cut off": lambda whole: whole[: len(whole) // 2],
    "is a Git LFS pointer": lambda _: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
    "is a web page": lambda _: b"<!doctype html><html></html>",
    "is empty": lambda _: b"",
}


@pytest.mark.parametrize("words", DAMAGE)
@pytest.mark.parametrize("file", ["det_10g.onnx", "w600k_r50.onnx"])
def test_a_damaged_file_is_named(made: Path, models: Path, file: str, words: str) -> None:
    folder = put(made, models / "insightface" / "models" / "buffalo_l")
    (folder / file).write_bytes(DAMAGE[words]((folder / file).read_bytes()))
    with pytest.raises(BrokenFile) as error:
        find("buffalo_l")
    assert f"{file} {words}" in str(error.value)
    assert f"Put {file} into that folder" in str(error.value) and str(folder) in str(error.value)


def test_a_damaged_file_that_is_not_needed_is_no_matter(made: Path, models: Path) -> None:
    folder = put(made, models / "insightface" / "models" / "buffalo_l")
    (folder / "1k3d68.onnx").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    assert find("buffalo_l").name == "buffalo_l"


def test_replacing_a_file_is_noticed(made: Path, models: Path) -> None:
    folder = put(made, models / "insightface" / "models" / "buffalo_l")
    before = packs.fingerprint("buffalo_l")
    assert before and packs.fingerprint("none") == ""
    (folder / "w600k_r50.onnx").write_bytes(b"")
    assert packs.fingerprint("buffalo_l") != before
    with pytest.raises(BrokenFile):
        find("buffalo_l")


def test_the_wrong_recogniser_is_told_by_its_bytes(
    made: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import hashlib

    folder = put(made, models / "insightface" / "models" / "buffalo_l")
    found = find("buffalo_l")
    assert "not known by its bytes" in warn_of(found, Recogniser.W600K_R50)
    assert LICENCE in found.describe()
    data = (folder / "w600k_r50.onnx").read_bytes()
    known = KnownFile("w600k_r50", "buffalo_l", len(data), hashlib.sha256(data).hexdigest())
    packs._known_file.cache_clear()  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setattr(packs, "KNOWN_FILES", (known,))
    assert warn_of(found, Recogniser.W600K_R50) == ""
    wrong = warn_of(found, Recogniser.GLINTR100)
    assert "trained with glintr100" in wrong and "is w600k_r50" in wrong
    assert "Choose antelopev2" in wrong
    assert "w600k_r50 of buffalo_l" in found.describe()
    # One bit of difference at the same size is another file.
    (folder / "w600k_r50.onnx").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert "not known" in warn_of(found, Recogniser.W600K_R50)


def test_unknown_files_have_no_licence_of_insightface(models: Path) -> None:
    small_detector(models / "insightface" / "mine" / "a.onnx")
    small_recogniser(models / "insightface" / "mine" / "b.onnx")
    assert "InsightFace" not in find("mine").describe()
