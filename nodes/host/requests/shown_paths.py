"""Answers for other machines: where files are is said from the models folder on."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

import folder_paths

_MODELS, _BASE, _USER = "models", "ComfyUI", "~"


def shortened(answer: Any) -> Any:
    """The same with every path in a text, and in whatever holds texts, from a known folder on."""
    known = _known_folders()
    # The innermost folder is the longest. Neither a part of an address nor of a longer name counts.
    folders = sorted(known, key=len, reverse=True)
    paths = re.compile(rf"(?<![\w.:/-])(?:{'|'.join(map(re.escape, folders))})(?![\w-])")
    return _shortened(answer, paths, known)


def _shortened(answer: Any, paths: re.Pattern[str], known: Mapping[str, str]) -> Any:
    if isinstance(answer, str):
        return paths.sub(lambda found: known[found[0]], answer)
    if isinstance(answer, list):
        return [_shortened(one, paths, known) for one in cast("list[Any]", answer)]
    if isinstance(answer, dict):
        held = cast("dict[str, Any]", answer)
        return {name: _shortened(one, paths, known) for name, one in held.items()}
    return answer


def _known_folders() -> dict[str, str]:
    """What each folder is called instead."""
    found: dict[str, str] = {}
    for path, name in _named():
        for way in (os.path.abspath(path), os.path.realpath(path)):
            if way != os.path.dirname(way):  # the root of a disk is in everything
                found.setdefault(way, name)
    return found


def _named() -> Iterator[tuple[str, str]]:
    models = os.path.join(folder_paths.models_dir, "")
    yield folder_paths.models_dir, _MODELS
    for folder, (paths, _) in list(folder_paths.folder_names_and_paths.items()):
        yield from ((path, folder) for path in paths if not path.startswith(models))
    yield folder_paths.base_path, _BASE
    yield os.path.expanduser("~"), _USER
