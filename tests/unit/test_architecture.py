"""The dependency rule and the sizes that keep the code readable."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULE_LINES, FUNCTION_LINES, EXECUTE_LINES, PARAMETERS, NESTING = 300, 60, 40, 8, 3
HOST = {"comfy", "comfy_api", "comfy_extras", "comfy_execution", "folder_paths", "server"}
HOST |= {"node_helpers", "execution", "latent_preview", "aiohttp"}
ALLOWED_BELOW = {"torch", "numpy", "PIL", *sys.stdlib_module_names}


def modules() -> list[Path]:
    found = [*ROOT.glob("*.py"), *ROOT.glob("ip_models/**/*.py"), *ROOT.glob("nodes/**/*.py")]
    return sorted(path for path in found if path.name != "dev.py")


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Level and dotted name of each import."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            yield from ((node.level, f"{base}.{a.name}".strip(".")) for a in node.names)


def violations(path: Path, root: Path = ROOT) -> list[str]:
    """Imports that point the wrong way: web -> nodes -> nodes/host -> ip_models -> torch."""
    place = path.relative_to(root).parts
    wrong: list[str] = []
    for level, name in imports(path):
        top = name.split(".")[0]
        if place[0] == "ip_models":
            bad = level > 1 if level else top not in ALLOWED_BELOW
        elif place[:2] == ("nodes", "host"):
            target = place[: len(place) - level] if level else ()
            bad = bool(level) and target == ("nodes",)
        elif place[0] == "nodes":
            sibling = level == 1 and (path.parent / f"{top}.py").is_file() and top != "sockets"
            bad = (not level and top in HOST - {"comfy_api"}) or (
                sibling and place[-1] != "__init__.py"
            )
        else:
            bad = False
        if bad:
            wrong.append(f"{'/'.join(place)} imports {'.' * level}{name}")
    return wrong


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    assert violations(path) == []


def test_the_rule_sees_a_wrong_import(tmp_path: Path) -> None:
    for place, line in (
        ("ip_models/a.py", "import comfy.utils"),
        ("ip_models/b.py", "from ..nodes import load"),
        ("nodes/load.py", "import folder_paths"),
        ("nodes/d.py", "from .load import NODES"),
        ("nodes/host/e.py", "from ..load import NODES"),
    ):
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(line)
        assert violations(path, tmp_path), line


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_sizes(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= MODULE_LINES
    assert path.stem not in {"utils", "helpers", "common", "manager", "core"}
    for function in functions(path):
        lines = (function.end_lineno or 0) - function.lineno + 1
        if function.name == "define_schema":
            continue
        limit = EXECUTE_LINES if function.name == "execute" else FUNCTION_LINES
        assert lines <= limit, f"{function.name} has {lines} lines"
        if function.name != "execute":
            count = len(function.args.args) + len(function.args.kwonlyargs)
            assert count <= PARAMETERS, f"{function.name} has {count} parameters"
        assert depth(function) <= NESTING, f"{function.name} is nested too deeply"


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
