"""Messages that a help page explains, as the editor shows them in the language of the page.

A page names a message by a part of it, in English, as programs get it; behind it stands what a
user of the language reads on the node.
"""

from __future__ import annotations

import json
import re
from functools import cache

from kit.pages.help_pages import LOCALES

# Around a translation; no sentence has them.
MARKS = {"zh": ("【", "】"), "ru": (" ‹", "›")}
QUOTED = re.compile(r"^- `([^`]+)`", re.MULTILINE)
GAP = re.compile(r"\{\d\}")
MORE = "…"


def with_words(text: str, language: str) -> str:
    """A page with what the editor shows behind each message that it explains."""
    if language not in MARKS:
        return text
    opens, closes = MARKS[language]
    plain = re.sub(f"{opens}[^{closes}\n]*{closes}", "", text)
    return QUOTED.sub(lambda found: found[0] + _shown(found[1], language), plain)


def _shown(quote: str, language: str) -> str:
    """The shortest sentence that has the part, in brackets; nothing where none has it."""
    opens, closes = MARKS[language]
    having = [(english, made) for english, made in _sentences(language) if quote in english]
    return f"{opens}{min(having, key=lambda one: len(one[0]))[1]}{closes}" if having else ""


@cache
def _sentences(language: str) -> tuple[tuple[str, str], ...]:
    table = json.loads((LOCALES / language / "sentences.json").read_text("utf-8"))["sentences"]
    return tuple((GAP.sub(MORE, one), GAP.sub(MORE, made)) for one, made in table.items())
