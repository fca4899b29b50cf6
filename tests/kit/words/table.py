"""What has to be said in each language, and what is missing.

In tests/, `python -m kit.words.table zh` prints what is missing in Chinese as JSON, to be filled in
and given back by `python -m kit.words.table zh FILE`, which adds it to locales/zh/sentences.json,
takes out what is not said any more, and sorts the rest as it stands in the code.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from kit.pages.help_pages import LOCALES, inputs, leaves, schemas
from kit.words.examples import titles_and_lines
from kit.words.said import constants, said
from kit.words.web import said_in_web, strings

LANGUAGES = ("zh", "ru")
SECTIONS = ("sentences", "choices", "notes")
PART_OF_A_TOOLTIP = 30  # letters


def path(language: str) -> Path:
    return LOCALES / language / "sentences.json"


def table(language: str) -> dict[str, Any]:
    return json.loads(path(language).read_text("utf-8"))


@cache
def wanted() -> dict[str, dict[str, str]]:
    """By section: each text, and where it is said."""
    choices = {
        option: node
        for node in schemas()
        for kind, options, _ in inputs(node).values()
        if kind == "COMBO"
        for option in options["options"]
        if not option.endswith(".ipadpt")  # a file that is shipped
    }
    elsewhere = old_words() | host_words()
    tooltips = "\n".join(_strings(schemas()))
    sentences = {
        text: place
        for text, place in (said() | said_in_web()).items()
        if text not in choices
        and text not in elsewhere
        # A tooltip may be put together of several texts.
        and not (len(text) > PART_OF_A_TOOLTIP and text in tooltips)
    }
    return {
        "sentences": sentences,
        "choices": choices,
        "notes": titles_and_lines(),
    }


def old_words() -> set[str]:
    """Titles and choices of the nodes with old names, which are known by these everywhere."""
    from pack.nodes.flux_packs import register as flux_packs
    from pack.nodes.plus import register as plus

    words = {*plus.TITLES.values(), *flux_packs.TITLES.values()}
    for node in (*plus.NODES.values(), *flux_packs.NODES.values()):
        for group in node.INPUT_TYPES().values():
            for kind, *_ in group.values():
                words |= {one for one in kind if isinstance(kind, list)}
    return words


def host_words() -> set[str]:
    """What the host itself translates, from the other files of the same folder."""
    files = (LOCALES / "en").glob("*.json")
    return {text for path in files for text in leaves(json.loads(path.read_text("utf-8"))).values()}


def _strings(tree: Any) -> Iterator[str]:
    if isinstance(tree, str):
        yield tree
    elif isinstance(tree, dict | list | tuple):
        for part in tree.values() if isinstance(tree, dict) else tree:
            yield from _strings(part)


def missing(language: str) -> dict[str, dict[str, str]]:
    """By section: texts without a translation, and where they are said."""
    known = table(language)
    return {
        section: {text: at for text, at in wanted()[section].items() if text not in known[section]}
        for section in SECTIONS
    }


def left_over(language: str) -> dict[str, list[str]]:
    """By section: translations of what nobody says. Single words may be filled into sentences."""
    known, words = table(language), constants() | strings()
    said_somewhere = {section: {*wanted()[section], *words} for section in SECTIONS}
    return {
        section: [text for text in known[section] if text not in said_somewhere[section]]
        for section in SECTIONS
    }


def fill_in(language: str, given: dict[str, dict[str, str]]) -> None:
    """Add translations; what nobody says any more goes, and all is in the order of the code."""
    known, words = table(language), constants() | strings()
    for section in SECTIONS:
        both = known[section] | given.get(section, {})
        order = [*wanted()[section], *(text for text in both if text in words)]
        known[section] = {text: both[text] for text in dict.fromkeys(order) if text in both}
    text = json.dumps(known, indent=2, ensure_ascii=False) + "\n"
    path(language).write_text(text, "utf-8")


def main() -> None:
    language, *files = sys.argv[1:]
    for file in files:
        fill_in(language, json.loads(Path(file).read_text("utf-8")))
    sys.stdout.write(json.dumps(missing(language), indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    import conftest  # noqa: F401  # puts the host on the path and names the pack `pack`

    main()
