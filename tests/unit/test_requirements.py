"""What the pack says it needs is what it imports, and ComfyUI has installed all of it already."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest
import tomllib
from conftest import HAS_HOST, HOST
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("__init__.py", "nodes/**/*.py", "ip_models/**/*.py")
HOST_MODULES = {"comfy", "comfy_api", "comfy_extras", "comfy_execution", "comfyui_version"}
HOST_MODULES |= {"execution", "folder_paths", "latent_preview", "node_helpers", "nodes", "server"}
NO_PACKAGE = HOST_MODULES | set(sys.stdlib_module_names)


def imported(tree: ast.AST) -> Iterator[str]:
    """Dotted names of absolute imports, of those by `import_module` too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module or ""
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            yield ast.literal_eval(node.args[0])


def needed(root: Path) -> set[str]:
    """Distributions that the pack imports something of."""
    files = [path for part in PARTS for path in root.glob(part)]
    names = {name for path in files for name in imported(ast.parse(path.read_text("utf-8")))}
    tops = {name.split(".")[0] for name in names} - NO_PACKAGE
    return {canonicalize_name(owner) for top in tops for owner in owners().get(top, [top])}


@cache
def owners() -> Mapping[str, list[str]]:
    """By name of a module, the distributions that bring it: PIL comes with Pillow."""
    return packages_distributions()


def listed(path: Path) -> list[Requirement]:
    lines = (line.partition("#")[0].strip() for line in path.read_text("utf-8").splitlines())
    return [Requirement(line) for line in lines if line]


def faults(root: Path) -> list[str]:
    """What is wrong with the lists, a line each."""
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    required = listed(root / "requirements.txt")
    found = []
    if [str(one) for one in required] != project["dependencies"]:
        found.append("requirements.txt and pyproject.toml differ")
    found += [f"{one} names a version" for one in required if str(one) != one.name]
    names = {canonicalize_name(one.name) for one in required}
    faces = {canonicalize_name(one.name) for one in listed(root / "requirements-faceid.txt")}
    both, used = names | faces, needed(root)
    found += [f"{name} is in both files" for name in sorted(names & faces)]
    found += [f"{name} is imported and not named" for name in sorted(used - both)]
    found += [f"{name} is named and not imported" for name in sorted(both - used)]
    return found


def test_what_is_imported_is_named_and_nothing_else() -> None:
    assert faults(ROOT) == []


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("", "", None),
        ("import PIL.Image", "", "pillow is named and not imported"),
        ("import os", "import hypothesis", "hypothesis is imported and not named"),
        ("import os", "def f():\n    import playwright", "playwright is imported and not named"),
        ("Pillow\n", "", "requirements.txt and pyproject.toml differ"),
        ("numpy\n", "numpy\nhypothesis\n", "hypothesis is named and not imported"),
        ("numpy\n", "numpy>=2\n", "numpy>=2 names a version"),
        ("numpy\n", "numpy\ninsightface\n", "insightface is in both files"),
        ("insightface.app", "os", "insightface is named and not imported"),
    ],
)
def test_a_wrong_list_is_found(tmp_path: Path, old: str, new: str, fault: str | None) -> None:
    texts = {
        "__init__.py": "from .nodes import load\nimport os",
        "nodes/load.py": "import PIL.Image\nimport folder_paths\nimport comfy.utils",
        "nodes/host/face.py": "import importlib\nimportlib.import_module('insightface.app')",
        "ip_models/a/b.py": "from numpy import ndarray",
        "requirements.txt": "# Why.\nnumpy\nPillow\n",
        "requirements-faceid.txt": "insightface>=1.0\n",
        "pyproject.toml": '[project]\ndependencies = ["numpy", "Pillow"]\n',
    }
    assert any(old in text for text in texts.values())
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text.replace(old, new) if old else text)
    assert (fault in faults(tmp_path)) if fault else (faults(tmp_path) == [])


@pytest.mark.skipif(not HAS_HOST, reason="needs the list of ComfyUI")
def test_comfyui_asks_for_all_of_it_itself() -> None:
    asked = {canonicalize_name(one.name) for one in listed(HOST / "requirements.txt")}
    waiting = list(asked)
    while waiting:
        more = {canonicalize_name(one.name) for one in wanted_by(waiting.pop())} - asked
        asked |= more
        waiting += more
    assert {canonicalize_name(one.name) for one in listed(ROOT / "requirements.txt")} <= asked
    assert "insightface" not in asked


def wanted_by(name: str) -> Iterator[Requirement]:
    """What an installed distribution asks for on this machine, without its extras."""
    try:
        lines = requires(name) or []
    except PackageNotFoundError:
        return
    for one in map(Requirement, lines):
        if one.marker is None or one.marker.evaluate({"extra": ""}):
            yield one


def test_pip_has_nothing_to_install(tmp_path: Path) -> None:
    assert satisfied(ROOT / "requirements.txt")
    other = tmp_path / "requirements.txt"
    other.write_text("numpy<1")
    assert not satisfied(other)


def satisfied(requirements: Path) -> bool:
    """Whether pip, without network and settings of the machine, would leave all as it is."""
    command = [sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check", "install"]
    command += ["--dry-run", "--no-index", "-r", str(requirements)]
    done = subprocess.run(
        command, env=os.environ | {"PIP_CONFIG_FILE": os.devnull}, capture_output=True, text=True
    )
    return done.returncode == 0 and "Would install" not in done.stdout
