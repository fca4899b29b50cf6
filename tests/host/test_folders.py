"""Model folders: nobody's entries are lost, and no name leads out of them."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import folder_paths
import pytest
from conftest import HOST
from pack.ip_models.errors import MissingModel
from pack.nodes.host.files import folders

KEY = folders.ADAPTERS


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty models folder, and a table of folders that is put back after the test."""
    home = tmp_path / "models"
    home.mkdir()
    packs = tmp_path / "custom_nodes"
    packs.mkdir()
    table = {
        name: (list(paths), set(extensions))
        for name, (paths, extensions) in folder_paths.folder_names_and_paths.items()
        if name != KEY
    }
    table["custom_nodes"] = ([str(packs)], set())
    known_extensions = set(folder_paths.supported_pt_extensions)
    monkeypatch.setattr(folder_paths, "models_dir", str(home))
    monkeypatch.setattr(folder_paths, "folder_names_and_paths", table)
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    yield home
    assert folder_paths.supported_pt_extensions == known_extensions


def put(path: Path, size: int = 3) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    return path


def registered() -> list[str]:
    return folder_paths.get_folder_paths(KEY)


def load_extra_paths(path: Path) -> None:
    """The host's own function; its package hides behind `comfy/utils.py` once nodes are loaded."""
    source = HOST / "utils" / "extra_config.py"
    spec = importlib.util.spec_from_file_location("host_extra_config", source)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.load_extra_path_config(str(path))


def test_an_adapter_in_the_pack_s_own_folder_is_listed(models: Path) -> None:
    folders.register()
    assert (models / "ipadapter").is_dir()
    path = put(models / "ipadapter" / "a.safetensors")
    assert folders.files(KEY) == ["a.safetensors"]
    assert folders.resolve(KEY, "a.safetensors") == str(path)
    assert folders.where(KEY) == str(models / "ipadapter")


@pytest.mark.parametrize("kind", [list, tuple, set], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("extensions", [set(), {".gguf"}, [".gguf"]], ids=["none", "set", "list"])
def test_entries_of_other_packs_stay_and_come_first(
    models: Path, tmp_path: Path, kind: Any, extensions: Any
) -> None:
    others = [str(tmp_path / name) for name in ("zebra", "apple")]
    folder_paths.folder_names_and_paths[KEY] = (kind(others), extensions)
    folders.register()
    paths, allowed = folder_paths.folder_names_and_paths[KEY]
    assert isinstance(paths, list) and isinstance(allowed, set)
    assert (paths[:2] if kind is not set else sorted(paths[:2], reverse=True)) == others
    assert paths[2:] == [str(models / "ipadapter")]
    assert set(allowed) == set(extensions) | folder_paths.supported_pt_extensions


def test_other_folders_can_be_added_afterwards(tmp_path: Path) -> None:
    folder_paths.folder_names_and_paths[KEY] = ((str(tmp_path / "one"),), set())
    folders.register()
    put(tmp_path / "two" / "late.bin")
    folder_paths.add_model_folder_path(KEY, str(tmp_path / "two"), is_default=True)
    assert registered()[0] == str(tmp_path / "two")
    assert folders.files(KEY) == ["late.bin"]


def test_registering_twice_adds_nothing(models: Path) -> None:
    put(models / "ipadapter-flux" / "a.bin")
    folders.register()
    first = registered()
    folders.register()
    assert registered() == first
    assert len(first) == 2


@pytest.mark.parametrize("registered_one", ["the link", "the folder"])
def test_a_folder_that_is_there_by_another_name_is_not_added_again(
    models: Path, registered_one: str
) -> None:
    real, link = models / "ipadapter", models.parent / "link"
    if registered_one == "the folder":
        real, link = link, real
    real.mkdir()
    link.symlink_to(real, target_is_directory=True)
    other = next(path for path in (real, link) if path != models / "ipadapter")
    folder_paths.folder_names_and_paths[KEY] = ([str(other)], set())
    folders.register()
    assert registered() == [str(other)]


def test_only_model_files_are_listed(models: Path) -> None:
    folder_paths.folder_names_and_paths[KEY] = ([str(models / "ipadapter")], set())
    folders.register()
    for name in ("a.safetensors", "b.bin", "c.ckpt", "d.SFT", "notes.txt", "preview.png", "f"):
        put(models / "ipadapter" / name)
    assert folders.files(KEY) == ["a.safetensors", "b.bin", "c.ckpt", "d.SFT"]


def test_subfolders_are_listed_and_found(models: Path) -> None:
    folders.register()
    path = put(models / "ipadapter" / "sd15" / "new ones" / "a.bin")
    name = os.path.join("sd15", "new ones", "a.bin")
    assert folders.files(KEY) == [name]
    assert folders.resolve(KEY, name) == str(path)


def test_a_file_that_appears_later_is_listed(models: Path) -> None:
    folders.register()
    assert folders.files(KEY) == []
    put(models / "ipadapter" / "sub" / "a.bin")
    assert len(folders.files(KEY)) == 1


@pytest.mark.parametrize(
    "folder", ["ipadapter-flux", "xlabs/ipadapters", "ip_adapter", "ip-adapter", "IPAdapter"]
)
def test_folders_that_other_packs_use_are_read(models: Path, folder: str) -> None:
    path = put(models / folder / "theirs.safetensors")
    folders.register()
    assert folders.files(KEY) == ["theirs.safetensors"]
    assert os.path.samefile(folders.resolve(KEY, "theirs.safetensors"), path)


@pytest.mark.parametrize("kind", [list, tuple, set], ids=lambda kind: kind.__name__)
def test_folders_that_other_packs_registered_are_read(tmp_path: Path, kind: Any) -> None:
    put(tmp_path / "disk two" / "theirs.safetensors")
    entry = (kind([str(tmp_path / "disk two")]), set())
    folder_paths.folder_names_and_paths["ipadapter-flux"] = entry
    folders.register()
    assert folders.files(KEY) == ["theirs.safetensors"]
    assert folder_paths.folder_names_and_paths["ipadapter-flux"] is entry


def test_the_folder_inside_the_incumbent_is_read(tmp_path: Path) -> None:
    put(tmp_path / "custom_nodes" / "ComfyUI_IPAdapter_plus" / "models" / "old.bin")
    folders.register()
    assert folders.files(KEY) == ["old.bin"]


def test_folders_that_are_not_there_are_not_added(models: Path) -> None:
    folders.register()
    assert registered() == [str(models / "ipadapter")]


def test_the_first_folder_wins_between_files_of_one_name(models: Path, tmp_path: Path) -> None:
    first, _ = put(tmp_path / "first" / "a.bin"), put(models / "ipadapter" / "a.bin")
    folder_paths.folder_names_and_paths[KEY] = ([str(tmp_path / "first")], set())
    folders.register()
    assert folders.files(KEY) == ["a.bin"]
    assert folders.resolve(KEY, "a.bin") == str(first)


def test_the_pack_s_own_folder_comes_before_those_of_other_packs(models: Path) -> None:
    put(models / "ip_adapter" / "a.bin")
    own = put(models / "ipadapter" / "a.bin")
    folders.register()
    assert folders.resolve(KEY, "a.bin") == str(own)
    assert registered() == [str(models / "ipadapter"), str(models / "ip_adapter")]


@pytest.mark.parametrize("default", ["true", "false"])
def test_extra_model_paths_are_honoured(tmp_path: Path, models: Path, default: str) -> None:
    path = put(tmp_path / "elsewhere" / "my adapters" / "sub" / "a.safetensors")
    put(tmp_path / "elsewhere" / "my adapters" / "readme.txt")
    config = tmp_path / "extra_model_paths.yaml"
    config.write_text(
        f"mine:\n  base_path: {json_string(tmp_path / 'elsewhere')}\n"
        f"  is_default: {default}\n  ipadapter: my adapters\n",
        encoding="utf-8",
    )
    load_extra_paths(config)
    folders.register()
    name = os.path.join("sub", "a.safetensors")
    assert registered() == [str(path.parents[1]), str(models / "ipadapter")]
    assert folders.files(KEY) == [name]
    assert folders.resolve(KEY, name) == str(path)


def json_string(path: Path) -> str:
    """Quoted for YAML, backslashes of Windows included."""
    return '"' + str(path).replace("\\", "\\\\") + '"'


def test_several_extra_model_paths_keep_their_order(tmp_path: Path, models: Path) -> None:
    config = tmp_path / "extra_model_paths.yaml"
    config.write_text("a:\n  ipadapter: |\n    one\n    two\nb:\n  ipadapter: three\n")
    load_extra_paths(config)
    folders.register()
    names = [str(tmp_path / name) for name in ("one", "two", "three")]
    assert registered() == [*names, str(models / "ipadapter")]


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "missing.bin",
        "sub",
        "folder.safetensors",
        "a\0.bin",
        "../secret.bin",
        "../../secret.bin",
        "sub/../../secret.bin",
        "..\\secret.bin",
        "./../models/secret.bin",
    ],
)
def test_a_name_that_is_no_file_of_the_folder_is_refused(models: Path, name: str) -> None:
    folders.register()
    put(models / "secret.bin")
    put(models.parent / "secret.bin")
    put(models / "ipadapter" / "sub" / "inside.bin")
    (models / "ipadapter" / "folder.safetensors").mkdir()
    with pytest.raises(MissingModel) as refused:
        folders.resolve(KEY, name)
    text = str(refused.value)
    assert "where there is 1 file" in text
    assert str(models / "ipadapter") in text
    assert text.endswith("Choose a file from the list, or put it there and press R.")
    assert "\n" not in text


def test_an_empty_folder_has_no_list_to_choose_from(models: Path) -> None:
    folders.register()
    (models / "ipadapter").mkdir(exist_ok=True)
    with pytest.raises(MissingModel, match="where there are no files; .* Put it there and press R"):
        folders.resolve(KEY, "a.bin")


def test_an_absolute_name_is_refused(models: Path) -> None:
    folders.register()
    outside = put(models.parent / "secret.bin")
    with pytest.raises(MissingModel, match="secret.bin"):
        folders.resolve(KEY, str(outside))
    with pytest.raises(MissingModel, match="there are no files"):
        folders.resolve(KEY, "a.bin")


def test_a_name_with_dots_never_leads_out(models: Path) -> None:
    folders.register()
    inside = put(models / "ipadapter" / "a.bin")
    put(models / "a.bin")
    try:
        found = folders.resolve(KEY, "../a.bin")
    except MissingModel:
        return
    assert os.path.samefile(found, inside)


def test_a_file_where_the_folder_should_be_does_not_stop_the_pack(
    models: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(models / "ipadapter")
    put(models / "ip_adapter" / "a.bin")
    folders.register()
    assert "could not create" in caplog.text
    assert folders.files(KEY) == ["a.bin"]


def test_a_fingerprint_changes_with_the_content_of_the_folder(models: Path) -> None:
    folders.register()
    prints = [folders.fingerprint(KEY)]
    path = put(models / "ipadapter" / "a.bin", 3)
    prints.append(folders.fingerprint(KEY))
    put(path, 4)
    prints.append(folders.fingerprint(KEY))
    later = os.stat(path).st_mtime_ns + 10**9
    os.utime(path, ns=(later, later))
    prints.append(folders.fingerprint(KEY))
    put(models / "ipadapter" / "sub" / "b.bin")
    prints.append(folders.fingerprint(KEY))
    assert len(set(prints)) == 5
    assert folders.fingerprint(KEY) == prints[-1]


def test_a_fingerprint_changes_when_a_file_is_renamed(models: Path) -> None:
    folders.register()
    path = put(models / "ipadapter" / "ip-adapter-plus_sd15.bin")
    before = folders.fingerprint(KEY)
    path.rename(path.with_name("ip-adapter-plus-face_sd15.bin"))
    assert folders.files(KEY) == ["ip-adapter-plus-face_sd15.bin"]
    assert folders.fingerprint(KEY) != before


def test_a_fingerprint_of_one_file_is_not_touched_by_others(models: Path) -> None:
    folders.register()
    put(models / "ipadapter" / "a.bin")
    before = folders.fingerprint(KEY, "a.bin")
    put(models / "ipadapter" / "b.bin")
    assert folders.fingerprint(KEY, "a.bin") == before != ""
    assert folders.fingerprint(KEY, "missing.bin") == ""
