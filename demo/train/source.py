"""Which script made weights: a digest of the code that trains, without its comments."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent
_APART = {"__init__", "__main__", "distance", "promises", "ship", "source", "studio"}
FILES = (
    *(path for path in sorted(_HERE.glob("*.py")) if path.stem not in _APART),
    _HERE.parent / "toy_nodes" / "models.py",
    _HERE.parent / "toy_nodes" / "vae.py",
)


def digest() -> str:
    """The same for the same code, whatever the comments, the layout and the version of Python."""
    return digest_of([path.read_text("utf-8") for path in FILES])


def digest_of(sources: list[str]) -> str:
    total = hashlib.sha256()
    for source in sources:
        for piece in _pieces(ast.parse(source)):
            total.update(piece.encode() + b"\0")
    return total.hexdigest()[:16]


def _pieces(node: Any) -> Iterator[str]:
    """What a tree says, in one order; absent fields say nothing, as some versions have more."""
    if isinstance(node, list):
        for item in node:
            yield from _pieces(item)
    elif isinstance(node, ast.AST):
        if _is_remark(node):
            return
        yield type(node).__name__
        for name, value in ast.iter_fields(node):
            if value is not None and value != [] and name not in ("ctx", "kind"):
                yield name
                yield from _pieces(value)
    else:
        yield repr(node)


def _is_remark(node: ast.AST) -> bool:
    """A docstring, or another text that nothing reads."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
