"""Model folders: where adapters may lie, and how to name a file so that a user finds it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import folder_paths

from ....ip_models.errors import BrokenFile, MissingModel
from ....ip_models.inputs import one_line

log = logging.getLogger("ipadapter")

ADAPTERS = "ipadapter"
ENCODERS = "clip_vision"
EMBEDS = "ipadapter_embeds"
EMBEDS_ENDINGS = (".safetensors", ".ipadpt")
MODEL_CONFIG = "config.json"
# Folder names under models/ that other packs use for the same files.
_ALIASES = (
    "ipadapter-flux",
    "xlabs/ipadapters",
    "xlabs_ipadapters",
    "ip_adapter",
    "ip-adapter",
    "IPAdapter",
)
# The file that an example loads; nothing is saved there.
EXAMPLES = os.path.join(str(Path(__file__).parents[3]), "example_workflows", "embeds")
_INCUMBENT = os.path.join("ComfyUI_IPAdapter_plus", "models")


def register() -> None:
    """Add the pack's folders to the host's, keeping whatever other packs and users entered."""
    _register(ADAPTERS, _other_folders(), folder_paths.supported_pt_extensions)
    _register(EMBEDS, (uploaded(), EXAMPLES), set(EMBEDS_ENDINGS))


def uploaded() -> str:
    """Where the host puts embeds that a program sends it, by POST /upload/image."""
    return os.path.join(folder_paths.get_input_directory(), EMBEDS)


def _register(folder: str, others: Iterable[str], endings: set[str]) -> None:
    home = os.path.join(folder_paths.models_dir, folder)
    try:
        os.makedirs(home, exist_ok=True)
    except OSError as error:  # a read-only models folder may still hold files
        log.warning("could not create %s: %s", home, error)
    paths, extensions = folder_paths.folder_names_and_paths.get(folder, ([], set()))
    known = list(paths)
    for path in (home, *others):
        if not any(_same(path, other) for other in known):
            known.append(path)
    folder_paths.folder_names_and_paths[folder] = (known, set(extensions) | endings)


def _other_folders() -> Iterable[str]:
    for alias in _ALIASES:
        registered = folder_paths.folder_names_and_paths.get(alias)
        yield from registered[0] if registered else ()
        path = os.path.join(folder_paths.models_dir, *alias.split("/"))
        if os.path.isdir(path):
            yield path
    for packs in folder_paths.get_folder_paths("custom_nodes"):
        path = os.path.join(packs, _INCUMBENT)
        if os.path.isdir(path):
            yield path


def _same(one: str, other: str) -> bool:
    return os.path.normcase(os.path.realpath(one)) == os.path.normcase(os.path.realpath(other))


def files(folder: str) -> list[str]:
    """Names of the model files in a folder, as the combos show them.

    Raises:
        MissingModel: the disk does not give them.
    """
    try:
        return folder_paths.get_filename_list(folder)
    except OSError:  # a folder in it is gone, which the host goes on to look for
        forget(folder)
    try:
        return folder_paths.get_filename_list(folder)
    except OSError as error:
        raise MissingModel(
            f"{where(folder)} cannot be read ({error.strerror or type(error).__name__})",
            "a folder that can be read is needed",
            "Check the disk and the permissions of the folder",
        ) from error


def forget(folder: str) -> None:
    """Let the host list a folder anew, although its time may not have moved on yet."""
    folder_paths.filename_list_cache.pop(folder, None)


def homes(folder: str) -> list[str]:
    """The places of a folder, in the order in which a file is searched."""
    return list(folder_paths.folder_names_and_paths.get(folder, ([], set()))[0])


def model_folders(folder: str) -> dict[str, str]:
    """Name and path of each Hugging Face model in a folder: a config.json beside listed files."""
    inner = {os.path.dirname(name): name for name in files(folder)}
    paths = {name: folder_paths.get_full_path(folder, file) for name, file in inner.items() if name}
    homes = {name: os.path.dirname(path) for name, path in paths.items() if path is not None}
    return {
        name: home
        for name, home in homes.items()
        if os.path.isfile(os.path.join(home, MODEL_CONFIG))
    }


def where(folder: str) -> str:
    """All places that are searched, for messages."""
    return ", ".join(folder_paths.get_folder_paths(folder))


def in_place(folder: str, name: Any) -> Any:
    """A name with this platform's separator; workflows of Windows have another."""
    if not isinstance(name, str) or name in files(folder):
        return name
    return name.replace("\\", "/").replace("/", os.sep)


def resolve(folder: str, name: object) -> str:
    """Path of a file or a model's folder by the name a combo shows; never outside the folders.

    Raises:
        MissingModel: there is no such file.
        BrokenFile: it is a link out of the folders.
    """
    path = None
    if isinstance(name, str):  # a program may send anything
        path = folder_paths.get_full_path(folder, name) or model_folders(folder).get(name)
    if path is not None:
        require_inside(path, homes(folder))
        return path
    count = len(files(folder))
    others = "there is 1 file" if count == 1 else f"there are {count or 'no'} files"
    raise MissingModel(
        f"{one_line(name)} is not in {where(folder)}, where {others}",
        "the file has to be there under this name",
        f"{'Choose a file from the list, or put' if count else 'Put'} it there and press R",
    )


def require_inside(path: str, homes: Iterable[str]) -> None:
    """Refuse a link out of the host's folders that somebody may have brought with other files.

    A folder that is a link itself was put there on purpose, and leads where it leads.

    Args:
        homes: of which one is the place where folders begin that may be links.

    Raises:
        BrokenFile: it is one.
    """
    if not os.path.islink(path) or os.path.isdir(path):
        return
    real, tops = os.path.realpath(path), [os.path.abspath(home) for home in homes]
    places = {os.path.realpath(place) for known in _places() for place in [*known, *tops]}
    if any(real.startswith(os.path.join(place, "")) for place in places):
        return
    place = os.path.dirname(os.path.abspath(path))
    stop = next((top for top in tops if path.startswith(os.path.join(top, ""))), place)
    while not os.path.islink(place):
        if len(place) <= len(stop):
            raise BrokenFile(
                f"{os.path.basename(path)} is a link out of the model folders",
                "a file that lies in one of them is needed",
                "Put the file itself there, or a link to its folder, or enter its folder in "
                "extra_model_paths.yaml",
            )
        place = os.path.dirname(place)


def _places() -> Iterable[list[str]]:
    """All places where the host looks for files of some kind, but for those of code."""
    table = folder_paths.folder_names_and_paths
    return [known[0] for name, known in table.items() if name != "custom_nodes"]


def in_alias(alias: str, name: object) -> str | None:
    """Path of a listed adapter in a folder that another pack has for such files, if it is there.

    Args:
        alias: name of that folder; "" for none.
    """
    if not alias or not isinstance(name, str) or name not in files(ADAPTERS):
        return None
    known = folder_paths.folder_names_and_paths
    registered = [
        home for key in (alias, alias.replace("/", "_")) if key in known for home in known[key][0]
    ]
    own = os.path.join(folder_paths.models_dir, *alias.split("/"))
    paths = (os.path.join(home, name) for home in (*registered, own))
    path = next((path for path in paths if os.path.isfile(path)), None)
    if path is not None:
        require_inside(path, (*registered, own))
    return path


def fingerprint(folder: str, name: object = None) -> str:
    """Changes when a file, or any file of the folder, is replaced; "" for what is missing."""
    if name is not None and not isinstance(name, str):  # a program may send anything
        return ""
    names = files(folder) if name is None else [name]
    homes = model_folders(folder)
    try:
        if name in homes:
            names = [os.path.join(name, inner) for inner in sorted(os.listdir(homes[name]))]
        paths = {one: folder_paths.get_full_path(folder, one) for one in names}
        stats = {one: os.stat(path) for one, path in paths.items() if path is not None}
    except OSError:  # gone meanwhile; what it is needed for says so
        return ""
    return ";".join(f"{one}:{stat.st_mtime_ns}:{stat.st_size}" for one, stat in stats.items())
