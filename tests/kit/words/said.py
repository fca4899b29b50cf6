"""Every text of the Python code that may reach a user, with `{1}`, `{2}` … for what is filled in.

A text is a whole clause as it stands in the code: an argument of an error, a line of a report, a
part that is filled into others. Choices inside an f-string are written out: "1 face", "{1} faces".
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from itertools import product
from pathlib import Path

from kit.words.not_said import NOT_SAID

ROOT = Path(__file__).resolve().parents[3]
GAP = "\0"
MOST_ALTERNATIVES = 12
# Of a schema: in locales/*/nodeDefs.json.
SCHEMA = {"tooltip", "description", "display_name", "search_aliases", "category", "node_id"}
NOT_SHOWN = {"cast", "compile", "fullmatch", "search", "match", "sub", "findall", "getLogger"}
LOGS = {"debug", "info", "warning", "error", "exception"}
# Two words or more, one of which is written small and is no code, or an imperative.
LOGGED = re.compile(r"%[dgsr]")  # filled in by the log, which is English
SPOKEN = re.compile(r"(?<![\w./<-])[a-z]{2,}(?![\w/])|^[A-Z][a-z]+ ")


def said() -> dict[str, str]:
    """Each text, and the place where it is said first."""
    found: dict[str, str] = {}
    for folder in ("ip_models", "nodes"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            texts = _Texts()
            texts.visit(ast.parse(path.read_text("utf-8")))
            for number, text in texts.found:
                # A node shows a text line by line.
                for line in filter(_is_spoken, map(_numbered, text.split("\n"))):
                    if line not in NOT_SAID:
                        found.setdefault(line, f"{path.relative_to(ROOT).as_posix()}:{number}")
    return found


def errors(sample: str) -> dict[str, str]:
    """What a user reads of each error of the code, with a sample for each gap, and its place."""
    found: dict[str, str] = {}
    for folder in ("ip_models", "nodes"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                parts = [_alternatives(part) or [GAP] for part in _parts_of_error(node)]
                for found_, needed, action in product(*parts) if len(parts) == 3 else ():
                    text = f"{found_}; {needed}. {action}.".replace(GAP, sample)
                    place = f"{path.relative_to(ROOT).as_posix()}:{getattr(node, 'lineno', 0)}"
                    found.setdefault(text, place)
    return found


@cache
def _classes() -> frozenset[str]:
    tree = ast.parse((ROOT / "ip_models" / "errors.py").read_text("utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.ClassDef))


def _parts_of_error(node: ast.AST) -> list[ast.expr]:
    """What was found, what is needed and what to do."""
    raised = isinstance(node, ast.Call) and getattr(node.func, "id", "") in _classes()
    return node.args[:3] if isinstance(node, ast.Call) and raised else []


def constants() -> frozenset[str]:
    """Every text of the code, single words too, of which some are filled into others."""
    return frozenset(
        node.value
        for folder in ("ip_models", "nodes")
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def _is_spoken(text: str) -> bool:
    plain = re.sub(r"\{\d\}", "·", text)
    return " " in plain.strip() and SPOKEN.search(plain) is not None and not LOGGED.search(plain)


class _Texts(ast.NodeVisitor):
    def __init__(self) -> None:
        self.found: list[tuple[int, str]] = []

    def visit(self, node: ast.AST) -> None:
        texts = _alternatives(node)
        if texts is None:
            super().visit(node)
            return
        line = getattr(node, "lineno", 0)
        self.found += [(line, text) for text in texts]
        for gap in _gaps(node):
            self.visit(gap)

    def visit_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):  # else it is a docstring
            self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        for part in (node.left, *node.comparators):
            if not isinstance(part, ast.Constant):
                self.visit(part)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        self.visit(node.value)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_arg(self, node: ast.arg) -> None:
        """An annotation is no text."""

    def visit_keyword(self, node: ast.keyword) -> None:
        if node.arg not in SCHEMA:
            self.visit(node.value)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self.visit(node.args)
        for part in (*node.body, *node.decorator_list):
            self.visit(part)

    def visit_Call(self, node: ast.Call) -> None:
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        owner = getattr(getattr(node.func, "value", None), "id", "")
        if name in NOT_SHOWN or (owner == "logging" and name in LOGS):
            return
        self.generic_visit(node)


def _alternatives(node: ast.AST) -> list[str] | None:
    """What a text can be, with a sign for each gap; None where the code is no text."""
    if isinstance(node, ast.Constant):
        return [node.value] if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return _joined([_part(part) for part in node.values])
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        sides = [_alternatives(side) for side in (node.left, node.right)]
        return None if sides == [None, None] else _joined([side or [GAP] for side in sides])
    if isinstance(node, ast.IfExp):
        both = [_alternatives(side) for side in (node.body, node.orelse)]
        return None if both[0] is None or both[1] is None else both[0] + both[1]
    return None


def _part(node: ast.expr) -> list[str]:
    value = node.value if isinstance(node, ast.FormattedValue) else node
    return _alternatives(value) or [GAP]


def _joined(parts: list[list[str]]) -> list[str]:
    while len(list(product(*parts))) > MOST_ALTERNATIVES:
        parts[max(range(len(parts)), key=lambda at: len(parts[at]))] = [GAP]
    return ["".join(one) for one in product(*parts)]


def _gaps(node: ast.AST) -> Iterator[ast.AST]:
    """What is filled in, where it is no text itself."""
    for part in ast.iter_child_nodes(node):
        if isinstance(part, ast.FormattedValue):
            part = part.value
        if isinstance(part, ast.expr) and _alternatives(part) is None:
            yield part
        else:
            yield from _gaps(part)


def _numbered(text: str) -> str:
    first, *rest = text.strip().split(GAP) if text.startswith(" " * 2) else text.split(GAP)
    return first + "".join(f"{{{number}}}{part}" for number, part in enumerate(rest, 1))
