"""ComfyUI_IPAdapter_plus itself, where `$IPADAPTER_PLUS` is the path of its checkout.

Version 1 of it, commit 6a411dc, is where `$IPADAPTER_PLUS_V1` points to.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

_PACKAGE = "the_original_ipadapter_plus"
_VERSION_1 = "the_original_ipadapter_plus_version_1"


@cache
def _package(name: str, variable: str) -> ModuleType | None:
    folder = Path(os.environ.get(variable, "/nowhere")).expanduser()
    if not (folder / "IPAdapterPlus.py").is_file():
        return None
    spec = importlib.util.spec_from_file_location(
        name, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None and spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules[name] = package
    spec.loader.exec_module(package)
    return package


def original_nodes() -> dict[str, Any]:
    """Its classes by their ids; a test without a checkout is left out."""
    package = _package(_PACKAGE, "IPADAPTER_PLUS")
    if package is None:
        pytest.skip("IPADAPTER_PLUS is not the path of a checkout of ComfyUI_IPAdapter_plus")
    return package.NODE_CLASS_MAPPINGS


def original_titles() -> dict[str, str]:
    """What its nodes are called in the editor, by their ids."""
    original_nodes()
    return sys.modules[_PACKAGE].NODE_DISPLAY_NAME_MAPPINGS


def original_module(name: str) -> Any:
    """A module of it."""
    original_nodes()
    return importlib.import_module(f"{_PACKAGE}.{name}")


def version_1() -> Any:
    """The one module with all that version 1 is; a test without a checkout is left out."""
    if _package(_VERSION_1, "IPADAPTER_PLUS_V1") is None:
        pytest.skip("IPADAPTER_PLUS_V1 is not the path of a checkout of version 1")
    return importlib.import_module(f"{_VERSION_1}.IPAdapterPlus")


def schema(cls: Any) -> dict[str, Any]:
    """What /object_info says of a V1 class, but for names of modules."""
    inputs: dict[str, Any] = cls.INPUT_TYPES()
    return {
        "input": {group: {k: list(v) for k, v in names.items()} for group, names in inputs.items()},
        "order": {group: list(names) for group, names in inputs.items()},
        "output": list(cls.RETURN_TYPES),
        "output_name": list(getattr(cls, "RETURN_NAMES", cls.RETURN_TYPES)),
        "output_is_list": list(getattr(cls, "OUTPUT_IS_LIST", [False] * len(cls.RETURN_TYPES))),
        "function": cls.FUNCTION,
        "category": cls.CATEGORY,
        "output_node": bool(getattr(cls, "OUTPUT_NODE", False)),
        "description": getattr(cls, "DESCRIPTION", ""),
    }
