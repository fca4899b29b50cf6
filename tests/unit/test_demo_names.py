"""The demo asks for modules of the pack by name: each is there, with what is taken from it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def asked_for(node: ast.AST) -> str | None:
    """The module of a call like pack("nodes.apply"), None for anything else."""
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "pack":
        return str(ast.literal_eval(node.args[0]))
    return None


def taken(tree: ast.AST) -> Iterator[tuple[str, str | None]]:
    """Each module that is asked for, alone and with each name that is taken from it."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            held = dict(variables(function))
            for node in ast.walk(function):
                if module := asked_for(node):
                    yield module, None
                if isinstance(node, ast.Attribute):
                    by_variable = held.get(ast.unparse(node.value))
                    if module := asked_for(node.value) or by_variable:
                        yield module, node.attr


def variables(function: ast.FunctionDef) -> Iterator[tuple[str, str]]:
    """Local variables that hold a module."""
    for node in ast.walk(function):
        if isinstance(node, ast.Assign):
            pairs = [(node.targets[0], node.value)]
            if isinstance(node.targets[0], ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = list(zip(node.targets[0].elts, node.value.elts, strict=True))
            for target, value in pairs:
                if module := asked_for(value):
                    yield ast.unparse(target), module


def defined(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found |= {ast.unparse(target) for target in node.targets}
        elif isinstance(node, ast.AnnAssign):
            found.add(ast.unparse(node.target))
    return found


def missing(root: Path) -> set[str]:
    """What the demo asks for and the pack does not have."""
    found: set[str] = set()
    for path in root.glob("demo/**/*.py"):
        for module, name in taken(ast.parse(path.read_text("utf-8"))):
            file = root / f"{module.replace('.', '/')}.py"
            if not file.is_file():
                found.add(module)
            elif name and name not in defined(file):
                found.add(f"{module}.{name}")
    return found


def test_what_the_demo_asks_for_is_there() -> None:
    assert missing(ROOT) == set()
    calls = [path.read_text("utf-8").count('pack("') for path in ROOT.glob("demo/**/*.py")]
    assert sum(calls) > 10


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("pack('nodes.there').load(); a = pack('nodes.there'); a.LIMIT", set()),
        ("pack('nodes.gone').load()", {"nodes.gone"}),
        ("pack('nodes.there').gone()", {"nodes.there.gone"}),
        ("a, b = pack('nodes.there'), 1; return a.load() + a.gone", {"nodes.there.gone"}),
        ("a = pack('nodes.gone')", {"nodes.gone"}),
    ],
)
def test_a_wrong_name_is_found(tmp_path: Path, line: str, wrong: set[str]) -> None:
    for folder in ("nodes", "demo/train"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "nodes" / "there.py").write_text("LIMIT: int = 1\n\ndef load(): ...")
    (tmp_path / "demo" / "train" / "a.py").write_text(f"def f():\n    {line}")
    assert missing(tmp_path) == wrong
