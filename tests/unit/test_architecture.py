"""The order of the floors, and the sizes that keep the code readable."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULE_LINES, FUNCTION_LINES, EXECUTE_LINES, PARAMETERS, NESTING = 300, 60, 40, 8, 3
ROOM_FILES = 12  # nodes/ too; __init__.py defines nothing and does not count
# A room is a folder, or one file where it is named here. Each row is a floor, the highest first: a
# room imports from the floors below its own only, so rooms of one floor do not know each other.
FLOORS = (
    ("__init__.py", "farm"),
    ("farm/comfyui", "farm/table", "farm/template"),
    ("farm/work.py",),
    ("nodes/extension.py",),
    ("nodes", "nodes/combined", "nodes/compare", "nodes/plus", "nodes/flux_packs"),
    ("nodes/sockets.py", "nodes/plus/steps", "nodes/host/routes.py"),
    ("nodes/host/checks.py",),
    ("nodes/host/combined", "nodes/host/compare", "nodes/host/pictures"),
    ("nodes/host/doctor", "nodes/plus/migrate", "nodes/plus/objects"),
    ("nodes/host/model",),
    ("nodes/host/model/backbones", "nodes/host/embeds", "nodes/host/face"),
    ("nodes/host/model/call",),
    ("nodes/host/encoder", "nodes/host/late_guidance.py", "nodes/plus/pixels"),
    (
        "nodes/host/files",
        "nodes/host/node_table.py",
        "nodes/host/node_text.py",
        "nodes/host/progress.py",
        "nodes/host/protocols.py",
        "nodes/host/server.py",
        "nodes/host/settings.py",
        "nodes/host/unchecked.py",
        "nodes/host/words.py",
    ),
    ("nodes/host/requests",),
    ("ip_models/references", "ip_models/attention_maps"),
    ("ip_models/adapter",),
    ("ip_models/projection",),
    ("ip_models/attention", "ip_models/faces", "ip_models/transformer", "ip_models/unet"),
    ("ip_models/pictures",),
    ("ip_models/weights", "ip_models/onnx"),
    ("ip_models/inputs.py", "ip_models/layer.py"),
    ("ip_models/errors.py", "ip_models/json_text.py", "ip_models/plain_file.py"),
    ("ip_models/limits.py",),
)
# What each part may import besides itself and the standard library; nodes/host anything.
OUTSIDE = {
    "ip_models": {"torch", "numpy", "PIL"},
    "nodes": {"torch", "numpy", "PIL", "comfy_api"},
    # Old pixels were made by torchvision; ours are not.
    "nodes/plus": {"torch", "torchvision", "numpy", "PIL", "comfy_api"},
    # What farm/requirements.txt names, and what that brings.
    "farm": {"ray", "pyarrow", "fsspec", "aiohttp", "tqdm", "PIL", "yaml"},
}
# Talks to the pack by HTTP only, so that it runs where no ComfyUI is; the archive leaves it out.
ALONE = "farm"


def modules(root: Path = ROOT) -> list[Path]:
    parts = ("ip_models", "nodes", ALONE)
    found = [*root.glob("*.py"), *(path for one in parts for path in root.glob(f"{one}/**/*.py"))]
    return sorted(path for path in found if path.name != "dev.py")


def named(path: Path, root: Path = ROOT) -> str:
    return path.relative_to(root).as_posix()


def room(path: Path, root: Path = ROOT) -> str:
    name = named(path, root)
    return name if any(name in floor for floor in FLOORS) else named(path.parent, root)


def floor(place: str) -> int:
    """How many floors are above a room; fails for a room that the table does not know."""
    return next(number for number, rooms in enumerate(FLOORS) if place in rooms)


@cache
def imports(path: Path) -> tuple[tuple[int, str], ...]:
    """Level and dotted name of each import, of what is imported from a module too."""
    found: list[tuple[int, str]] = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found += [(0, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            found += [(node.level, f"{base}.{a.name}".strip(".")) for a in node.names]
    return tuple(found)


def target(path: Path, level: int, name: str) -> Path:
    """The file a relative import reads."""
    place = path.parents[level - 1]
    parts = name.split(".")
    for length in range(len(parts), -1, -1):
        module = place.joinpath(*parts[:length])
        if length and module.with_suffix(".py").is_file():
            return module.with_suffix(".py")
        if (module / "__init__.py").is_file():
            return module / "__init__.py"
    return place / "__init__.py"


def arrows(path: Path) -> Iterator[Path]:
    """The files of the pack that a file imports."""
    for level, name in imports(path):
        if level:
            yield target(path, level, name)


def alone(path: Path, root: Path) -> bool:
    return path.relative_to(root).parts[0] == ALONE


def violations(path: Path, root: Path = ROOT) -> list[str]:
    """Imports against the order of the floors, and of packages from outside where they end."""
    own, part = room(path, root), path.relative_to(root).parts
    wrong = [
        f"{named(path, root)} imports {named(there, root)}"
        for there in arrows(path)
        if room(there, root) != own
        and (alone(path, root) != alone(there, root) or floor(room(there, root)) <= floor(own))
    ]
    own_list = OUTSIDE.get("/".join(part[:2]), OUTSIDE.get(part[0]))
    allowed = None if part[:2] == ("nodes", "host") else own_list
    if allowed is not None:
        tops = {name.split(".")[0] for level, name in imports(path) if not level}
        strangers = tops - allowed - set(sys.stdlib_module_names)
        wrong += [f"{named(path, root)} imports {name}" for name in sorted(strangers)]
    return wrong


@pytest.mark.parametrize("path", modules(), ids=named)
def test_imports_point_down(path: Path) -> None:
    assert violations(path) == []


def test_no_circle_inside_a_room() -> None:
    graph = {named(path): {named(there) for there in arrows(path)} for path in modules()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_nodes_do_not_know_each_other() -> None:
    for path in ROOT.glob("nodes/*.py"):
        if path.name != "extension.py":
            assert {named(there) for there in arrows(path) if there.parent == path.parent} <= {
                "nodes/sockets.py"
            }, path.name


def test_the_rule_sees_a_wrong_import(tmp_path: Path) -> None:
    rooms = [place for row in FLOORS for place in row if not place.endswith(".py")]
    for place in (*rooms, "ip_models", "nodes/host"):
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
        (tmp_path / place / "__init__.py").touch()
        (tmp_path / place / "there.py").touch()
    for place, line in (
        ("ip_models/weights/a.py", "import comfy.utils"),
        ("ip_models/adapter/b.py", "from ...nodes import there"),
        ("ip_models/weights/c.py", "from ..adapter.there import X"),
        ("ip_models/onnx/c.py", "from ..weights.there import X"),
        ("ip_models/attention/c.py", "from ..unet.there import X"),
        ("nodes/load.py", "import folder_paths"),
        ("nodes/j.py", "from ..farm import there"),
        ("farm/h.py", "from ..ip_models import there"),
        ("farm/i.py", "import torch"),
        ("nodes/host/face/d.py", "from ...there import NODES"),
        ("nodes/host/face/e.py", "from ..model import there"),
        ("nodes/host/face/f.py", "from ..embeds.there import X"),
        ("nodes/host/files/g.py", "from ..encoder import X"),
    ):
        path = tmp_path / place
        path.write_text(line)
        assert violations(path, tmp_path), line
    path.write_text("from ....ip_models.errors import X\nfrom . import there\nimport comfy.utils")
    imports.cache_clear()
    (tmp_path / "ip_models" / "errors.py").touch()
    assert violations(path, tmp_path) == []


def test_every_room_is_on_a_floor_and_not_too_full() -> None:
    folders = {path.parent for path in modules()} - {ROOT}
    for folder in folders:
        files = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
        assert len(files) <= ROOM_FILES, f"{named(folder)} has {len(files)} files"
        tree = ast.parse((folder / "__init__.py").read_text("utf-8"))
        assert ast.get_docstring(tree), f"{named(folder)} does not say what it is"
        assert len(tree.body) == 1, f"{named(folder)}/__init__.py defines something"
    places = {place for row in FLOORS for place in row}
    assert {place for place in places if not (ROOT / place).exists()} == set()
    assert {room(path) for path in modules() if path.name != "__init__.py"} <= places


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("path", modules(), ids=named)
def test_sizes(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= MODULE_LINES
    assert path.stem not in {"utils", "helpers", "common", "manager", "core"}
    for function in functions(path):
        if function.name == "define_schema":
            continue
        called = is_called_by_others(function)
        first = function.body[0].lineno if called else function.lineno
        lines = (function.end_lineno or 0) - first + 1
        limit = EXECUTE_LINES if called or function.name == "execute" else FUNCTION_LINES
        assert lines <= limit, f"{function.name} has {lines} lines"
        if function.name != "execute" and not called:
            count = len(function.args.args) + len(function.args.kwonlyargs)
            assert count <= PARAMETERS, f"{function.name} has {count} parameters"
        assert depth(function) <= NESTING, f"{function.name} is nested too deeply"


def is_called_by_others(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """A method of an old node, whose signature is not this pack's to choose."""
    return function.args.kwarg is not None and function.args.kwarg.arg == "_ignored"


def depth(node: ast.AST) -> int:
    """Greatest number of blocks inside each other."""
    blocks = (ast.If, ast.For, ast.While, ast.With, ast.Try)
    below = 0
    for child in ast.iter_child_nodes(node):
        is_elif = isinstance(node, ast.If) and isinstance(child, ast.If) and child in node.orelse
        step = isinstance(child, blocks) and not is_elif
        below = max(below, depth(child) + int(step))
    return below


def test_no_weights_are_tracked_outside_the_demo() -> None:
    suffixes = {".safetensors", ".bin", ".onnx", ".pt", ".ckpt"}
    assert [
        p for p in ROOT.glob("[!.]*/**/*") if p.suffix in suffixes and "demo" not in p.parts
    ] == []
