"""ComfyUI_IPAdapter_plus itself, where `$IPADAPTER_PLUS` is the path of its checkout."""

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


@cache
def _package() -> ModuleType | None:
    folder = Path(os.environ.get("IPADAPTER_PLUS", "/nowhere")).expanduser()
    if not (folder / "IPAdapterPlus.py").is_file():
        return None
    spec = importlib.util.spec_from_file_location(
        _PACKAGE, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None and spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules[_PACKAGE] = package
    spec.loader.exec_module(package)
    return package


def original_nodes() -> dict[str, Any]:
    """Its classes by their ids; a test without a checkout is left out."""
    package = _package()
    if package is None:
        pytest.skip("IPADAPTER_PLUS is not the path of a checkout of ComfyUI_IPAdapter_plus")
    return package.NODE_CLASS_MAPPINGS


def original_module(name: str) -> Any:
    """A module of it."""
    original_nodes()
    return importlib.import_module(f"{_PACKAGE}.{name}")


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
