"""Every text of the editor's scripts that may be shown, with `{1}` … for what is filled in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from kit.words.not_said import NOT_SAID

ROOT = Path(__file__).resolve().parents[3]
WEB = ROOT / "web"
OWN_TABLES = {"texts.js"}  # with all languages in it
TOKEN = re.compile(
    r"//[^\n]*|/\*.*?\*/|(?P<text>\"(?:[^\"\\\n]|\\.)*\"|`(?:[^`\\]|\\.)*`)|(?P<code>[^\s/\"`]+|[/\"`])",
    re.S,
)
FILLED = re.compile(r"\$\{((?:[^{}`]|`[^`]*`|\{[^{}]*\})*)\}")
# What is thrown or logged is for whoever mends it; the rest is no text.
BEFORE = re.compile(r"(?:console\.\w+\(|newError\(|from|import|icon:)$")
SPOKEN = re.compile(r"(?<![\w./<-])[a-z]{2,}(?![\w/])|^[A-Z][a-z]+ ")
STYLE = re.compile(r"\d+px[ /]")
LABEL = re.compile(r"[A-Z][a-z]{2,}\.?")


def said_in_web() -> dict[str, str]:
    """Each text, and the file where it is said first."""
    found: dict[str, str] = {}
    for path in sorted(WEB.rglob("*.js")):
        if path.name in OWN_TABLES:
            continue
        for text in _texts(path.read_text("utf-8")):
            # Signs in front are not translated.
            said = text.lstrip("▾▸⚠• ").rstrip()
            if _is_shown(said) and said not in NOT_SAID:
                found.setdefault(said, path.relative_to(ROOT).as_posix())
    return found


def strings() -> frozenset[str]:
    """Every text of the scripts, single words too."""
    return frozenset(text for path in WEB.rglob("*.js") for text in _texts(path.read_text("utf-8")))


def _is_shown(text: str) -> bool:
    if STYLE.match(text):
        return False
    if LABEL.fullmatch(text):
        return True
    plain = re.sub(r"\{\d\}", "·", text)
    return " " in plain.strip() and SPOKEN.search(plain) is not None and "{" not in plain


def _texts(source: str) -> Iterator[str]:
    """Texts of a script, those joined by + as one."""
    joined, before = "", ""
    for token in TOKEN.finditer(source):
        if token["text"] is not None:
            if not BEFORE.search(before):
                joined += token["text"][1:-1].replace('\\"', '"')
            before = "text"
        elif token["code"] is not None:
            if before != "text" or token["code"] != "+":
                yield from _filled(joined)
                joined = ""
            before = (before if before != "text" else "") + token["code"]
    yield from _filled(joined)


def _filled(text: str) -> Iterator[str]:
    for inside in FILLED.findall(text):
        yield from _texts(inside)
    if text:
        first, *rest = FILLED.sub("\0", text).split("\0")
        yield first + "".join(f"{{{number}}}{part}" for number, part in enumerate(rest, 1))
