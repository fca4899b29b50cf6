"""A folder for all that is temporary, the pack's alias, the host on the path, CPU, fixed seeds."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib.util
import os
import shutil
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

import pytest
from kit import failures, order, run_folder

ROOT = Path(__file__).resolve().parents[1]
HOST = Path(os.environ.get("COMFYUI_PATH", "~/comfy/ComfyUI")).expanduser()
HAS_HOST = (HOST / "main.py").is_file()

run_folder.enter()

# Tests say `from pack.ip_models...`; the pack's root never enters sys.path, because its folder
# `nodes` would hide the host's module of that name.
if "pack" not in sys.modules:
    alias = types.ModuleType("pack")
    alias.__path__ = [str(ROOT)]
    sys.modules["pack"] = alias

from pack.dev import find_browser  # noqa: E402

# The demo's scripts import each other by their names alone.
sys.path.append(str(ROOT / "demo"))

BROWSER = find_browser()

collect_ignore: list[str] = []
if HAS_HOST:
    sys.path.insert(0, str(HOST))
    import comfy.cli_args

    comfy.cli_args.args.cpu = True
    # Models, input and output of the tests are nobody's own.
    comfy.cli_args.args.base_directory = tempfile.mkdtemp(prefix="host-")
else:
    collect_ignore += ["host", "plus"]
if not (HAS_HOST and BROWSER):
    collect_ignore.append("browser")


pytest_runtest_logreport = failures.note
pytest_internalerror = failures.note_own


def pytest_report_header() -> list[str]:
    return [comfyui_header(), f"browser: {BROWSER or 'none; browser tests are left out'}"]


def comfyui_header() -> str:
    if not HAS_HOST:
        return f"ComfyUI: none at {HOST}; host tests are left out"
    spec = importlib.util.spec_from_file_location("comfyui_version", HOST / "comfyui_version.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return f"ComfyUI: {module.__version__} at {HOST}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=order.key)


def pytest_collection_finish() -> None:
    """What is imported stays; each collection would look through all of it, for half a second."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> order.SlowFirst | None:
    return order.SlowFirst(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:  # pyright: ignore[reportUnusedFunction]
    """Tiny tensors gain nothing from threads and lose much where other work runs beside them."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


@pytest.fixture(autouse=True)
def _seeded() -> None:  # pyright: ignore[reportUnusedFunction]
    """Whoever needs torch has imported it by now; the controller of the workers never does."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture(scope="module", autouse=True)
def _forget_models(request: pytest.FixtureRequest) -> Any:
    """Models that a file of tests keeps for its tests are nothing to the files after it.

    They take gigabytes, and one that a test has changed would change the tests of another file.
    """
    yield
    kept = [one for name, one in list(sys.modules.items()) if name.startswith("kit.models.")]
    for module in (request.module, *kept):
        for made in list(vars(module).values()):
            if hasattr(made, "cache_clear") and made.__module__ == module.__name__:
                made.cache_clear()
    gc.collect()
    if sys.platform == "linux":  # whose allocator keeps what was small, gigabytes of it
        with contextlib.suppress(AttributeError):  # of another C library
            ctypes.CDLL(None).malloc_trim(0)


@pytest.fixture(scope="module", autouse=True)
def _forget_files(  # pyright: ignore[reportUnusedFunction]
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Any:
    """Folders that a file of tests made for itself: together they would be gigabytes."""
    place = tmp_path_factory.getbasetemp()
    before, failed = set(place.iterdir()), request.session.testsfailed
    yield
    shared = request.path.is_relative_to(ROOT / "tests" / "browser")  # by a package of files
    if not shared and request.session.testsfailed == failed:
        for folder in set(place.iterdir()) - before:
            if folder.is_symlink():
                folder.unlink()
            else:
                shutil.rmtree(folder, ignore_errors=True)
