"""The regular expressions that stand in Python and JavaScript files, and how they are used."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, cast

# Methods that begin anywhere in a text, and one for which all of the text has to fit.
ANYWHERE = {"search", "sub", "subn", "split", "findall", "finditer"}
WHOLE = {"fullmatch"}
USES = ANYWHERE | WHOLE | {"match"}
# Text methods of the same names tell nothing about patterns that have no name of their own.
OF_TEXTS = {"split"}
HARMLESS = {"escape", "Pattern", "Match", "error", "NOFLAG", "RegexFlag"}
FLAGS = {name for name in dir(re) if name.isupper()}
STAND_IN = ("x", "yz")


class Written(NamedTuple):
    """One of them.

    Attributes:
        uses: the methods it is called with, none where that is not known.
    """

    place: str
    text: str
    flags: int = 0
    uses: frozenset[str] = frozenset()

    @property
    def anywhere(self) -> bool:
        return not self.uses or bool(self.uses & ANYWHERE)

    @property
    def whole(self) -> bool:
        return bool(self.uses) and self.uses <= WHOLE


class Untold(Exception):
    """A pattern that cannot be read from the file it stands in."""


class Escaped(ast.NodeTransformer):
    """Words stand in for what `re.escape` makes harmless."""

    def visit_Call(self, node: ast.Call) -> ast.expr:
        if is_of_re(node.func, "escape"):
            return ast.Constant(STAND_IN[0])
        named = getattr(node.func, "id", "")
        if named == "map" and is_of_re(node.args[0], "escape"):
            return ast.Tuple([ast.Constant(word) for word in STAND_IN], ast.Load())
        self.generic_visit(node)
        return node


def is_of_re(node: ast.AST, *names: str) -> bool:
    known = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    return known and node.value.id == "re" and (not names or node.attr in names)  # pyright: ignore


def in_python(
    source: str, place: str, everywhere: Iterable[tuple[str, str]] = ()
) -> Iterator[Written]:
    """All of a module.

    Args:
        everywhere: the `uses` of other modules, which may be of what this one names.

    Raises:
        Untold: one is put together of what only a run knows.
    """
    tree = ast.parse(source)
    refuse_unreadable(tree, place)
    if not any(is_of_re(node) for node in ast.walk(tree)):
        return
    used = [*uses(tree), *(use for use in everywhere if not use[0].startswith("_"))]
    unnamed = frozenset(use for _, use in uses(tree)) - OF_TEXTS
    known, told = dict[str, Any](re=re), set[ast.AST]()
    for statement in tree.body:
        if isinstance(statement, ast.Assign | ast.AnnAssign) and run(statement, known):
            told |= set(ast.walk(statement))
    compiled = {name: value for name, value in known.items() if name != "re"}
    for name, value in compiled.items():
        own = frozenset(use for named, use in used if named == name)
        alone = isinstance(value, re.Pattern)
        for pattern in patterns(value):
            named = f"{place} {name}"
            yield Written(named, pattern.pattern, pattern.flags, own if alone else unnamed)
    for call in ast.walk(tree):
        if call not in told and isinstance(call, ast.Call) and is_of_re(call.func):
            yield from at_once(call, known, place, unnamed)


def refuse_unreadable(tree: ast.Module, place: str) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "re":
            raise Untold(f"{place} imports from re: import re itself")
        attribute = node.attr if isinstance(node, ast.Attribute) and is_of_re(node) else "escape"
        if attribute not in USES | HARMLESS | FLAGS | {"compile"}:
            raise Untold(f"{place} has re.{attribute}, which nobody reads here")


def uses(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Name and method of each call that may be one of a pattern."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute) or node.attr not in USES or is_of_re(node):
            continue
        if isinstance(node.value, ast.Name):
            yield node.value.id, node.attr


def run(statement: ast.Assign | ast.AnnAssign, known: dict[str, Any]) -> bool:
    """Give its value to a name; whether that can be done with what is in the file."""
    module = ast.Module([cast("ast.stmt", statement)], [])
    if isinstance(statement, ast.AnnAssign):
        if statement.value is None:
            return False
        module = ast.Module([ast.Assign([statement.target], statement.value)], [])
    before = dict(known)
    try:
        exec(compile(ast.fix_missing_locations(module), "pattern", "exec"), known)  # noqa: S102
    except Exception:  # noqa: BLE001
        known.clear()
        known.update(before)
        return False
    known.pop("__builtins__", None)
    return True


def patterns(value: Any) -> Iterator[re.Pattern[str]]:
    if isinstance(value, re.Pattern):
        yield value
    elif isinstance(value, dict):
        yield from patterns([*value, *value.values()])
    elif isinstance(value, list | tuple | set | frozenset):
        for one in cast("Iterable[Any]", value):
            yield from patterns(one)


def at_once(
    call: ast.Call, known: dict[str, Any], place: str, unnamed: frozenset[str]
) -> Iterator[Written]:
    """A pattern in the middle of a function."""
    method = cast("ast.Attribute", call.func).attr
    if method not in USES | {"compile"}:
        return
    given = Escaped().visit(ast.Expression(call.args[0]))
    kept = [one for one in (*call.args[1:], *(k.value for k in call.keywords)) if of_flags(one)]
    try:
        code = compile(ast.fix_missing_locations(given), "pattern", "eval")
        text = eval(code, dict(known))  # noqa: S307
        flags = sum(int(eval(ast.unparse(one), {"re": re})) for one in kept)  # noqa: S307
    except Exception as error:  # noqa: BLE001
        raise Untold(f"{place}:{call.lineno} {ast.unparse(call)}: {error}") from None
    found = text.pattern if isinstance(text, re.Pattern) else text
    yield Written(
        f"{place}:{call.lineno}",
        found,
        flags,
        unnamed if method == "compile" else frozenset({method}),
    )


def of_flags(node: ast.expr) -> bool:
    return any(is_of_re(one, *FLAGS) for one in ast.walk(node))


# In JavaScript. What stands before a division is a value; before a pattern it is anything else.
_VALUE = re.compile(r"[\w$)\]}\"'`]$")
_WORDS = ("return", "typeof", "case", "in", "of", "do", "else", "await", "yield", "void", "delete")
_FLAGS = {"i": re.IGNORECASE, "m": re.MULTILINE, "s": re.DOTALL}


def in_script(source: str, place: str) -> Iterator[Written]:
    """All of a script.

    Raises:
        Untold: one is put together while it runs.
    """
    position, before = 0, ""
    while position < len(source):
        end = skipped(source, position)
        piece = source[position:end]
        if piece == "/" and is_pattern(before):
            end = pattern_end(source, position)
            closing = source.rindex("/", position, end)
            flags = sum(int(_FLAGS.get(one, 0)) for one in source[closing + 1 : end])
            line = source.count("\n", 0, position) + 1
            yield Written(f"{place}:{line}", source[position + 1 : closing], flags)
            before = "x"
        elif not piece.startswith(("//", "/*")):
            before = (before.rstrip() + " " if piece.isspace() else before + piece)[-20:]
        if before.endswith("RegExp") and not source[end : end + 1].isidentifier():
            raise Untold(f"{place} makes a RegExp: write it as a literal")
        position = end


def is_pattern(before: str) -> bool:
    before = before.rstrip()
    return not _VALUE.search(before) or before.split(" ")[-1] in _WORDS


def skipped(source: str, position: int) -> int:
    """The end of a comment, of a text, or of the one character there is."""
    two = source[position : position + 2]
    if two == "//":
        return source.find("\n", position) % (len(source) + 1)
    if two == "/*":
        return source.index("*/", position) + 2
    if two[:1] in ("'", '"', "`"):
        return text_end(source, position)
    return position + 1


def text_end(source: str, position: int) -> int:
    quote, position = source[position], position + 1
    while source[position] != quote:
        if quote == "`" and source.startswith("${", position):
            position = hole_end(source, position + 2)
        else:
            position += 2 if source[position] == "\\" else 1
    return position + 1


def hole_end(source: str, position: int) -> int:
    while source[position] != "}":
        inner = source[position] == "{"
        position = hole_end(source, position + 1) if inner else skipped(source, position)
    return position + 1


def pattern_end(source: str, position: int) -> int:
    position, in_set = position + 1, False
    while in_set or source[position] != "/":
        if source[position] == "\n":
            raise Untold(f"{source[position - 40 : position]!r} is no pattern")
        in_set = source[position] == "[" or (in_set and source[position] != "]")
        position += 2 if source[position] == "\\" else 1
    position += 1
    while source[position].isalpha():
        position += 1
    return position
