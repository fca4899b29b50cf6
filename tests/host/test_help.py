"""Help pages and translations: whole for every node, true to its schema, really translated."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from kit.pages import help_pages, help_pictures
from kit.pages.help_pages import (
    DOCS,
    LOCALES,
    ROOT,
    SYNTAX,
    WORDS,
    leaves,
    locale,
    page,
    schemas,
)
from kit.pages.help_quotes import MARKS, with_words
from kit.pages.toy_pictures import STRIPS, strip_path

TRANSLATED = ("zh", "ru")
SCRIPT = {"zh": re.compile("[\u4e00-\u9fff]"), "ru": re.compile("[\u0400-\u04ff]")}
# So many Latin words in a row are a sentence that somebody forgot.
ENGLISH = re.compile(r"(?:[A-Za-z][A-Za-z'-]*[ ,.;:]+){4}[A-Za-z]")
CODE = re.compile(r"`[^`]*`")
REWRITE = "run python -m kit.pages.help_pages"


def pages() -> list[tuple[str, str]]:
    return [(node, language) for node in schemas() for language in WORDS]


def everywhere() -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("node", "language"), pages())


@everywhere()
def test_the_lists_say_what_the_node_says(node: str, language: str) -> None:
    text = page(node, language).read_text("utf-8")
    assert text == with_words(help_pages.filled(text, node, language), language), REWRITE
    # Independent of how the lists are made: each id, limit, default and option is on the page.
    listed = section(text, WORDS[language].inputs)
    for name, (_, options, _) in help_pages.inputs(node).items():
        (entry,) = [one for one in listed if one.startswith(f"**`{name}`**")]
        for key in ("min", "max", "step"):
            limit = help_pages.number(options.get(key, 0))
            assert key not in options or re.search(rf"(?<![\d.]){limit}(?![\d.])", entry)
        default = options.get("default")
        shown = str(default).lower() if isinstance(default, bool) else str(default)
        assert default in (None, "") or f"`{shown}`" in entry
        assert all(f"`{option}`" in entry for option in options.get("options", []))
        assert locale(language)[node]["inputs"][name]["name"] in entry
    outputs = section(text, WORDS[language].outputs)
    names = schemas()[node]["output_name"]
    assert len(outputs) == max(len(names), 1)
    assert all(any(f"**`{name}`**" in one for one in outputs) for name in names)


def section(text: str, heading: str) -> list[str]:
    """Entries of the list under a heading."""
    return text.split(f"\n## {heading}\n")[1].split("\n## ")[0].strip()[2:].split("\n- ")


@everywhere()
def test_a_page_has_its_parts(node: str, language: str) -> None:
    text = page(node, language).read_text("utf-8")
    assert text.startswith(f"# {locale(language)[node]['display_name']}\n\n")
    assert len(mistakes(node, language)) >= 2
    words = WORDS[language]
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert headings == [words.todo, words.mistakes, words.inputs, words.outputs]
    introduction = text.split("\n\n")[1]
    assert len(introduction) > 40, introduction
    # The panel looks for pictures in docs/, wherever the page lies.
    pictures = re.findall(r"!\[([^\]]+)\]\(([^)]+)\)", text)
    made = [f"images/{strip_path(node).name}"] if node in STRIPS else []
    assert [path for _, path in pictures] == [f"images/{node}.svg", *made]
    assert "](http" not in text and "<" not in CODE.sub("", text)


@pytest.mark.parametrize("language", TRANSLATED)
def test_pages_say_what_the_editor_shows_of_most_messages(language: str) -> None:
    opens, _ = MARKS[language]
    lines = [line for node in schemas() for line in mistakes(node, language)]
    told = [line for line in lines if line.startswith("`")]
    assert sum(f"`{opens}" in line for line in told) > 0.9 * len(told) > 50


def mistakes(node: str, language: str) -> list[str]:
    return section(page(node, language).read_text("utf-8"), WORDS[language].mistakes)


def quoted(node: str, language: str) -> list[str]:
    """Parts of messages that a page explains."""
    spans = [span for line in mistakes(node, language) for span in re.findall(r"^`[^`]+`", line)]
    return [span.strip("`") for span in spans]


@pytest.mark.parametrize("node", schemas())
def test_explained_messages_are_in_the_code(node: str) -> None:
    for message in quoted(node, "en"):
        assert any(message in one for one in messages()), message
    for language in TRANSLATED:
        assert quoted(node, language) == quoted(node, "en")
        assert len(mistakes(node, language)) == len(mistakes(node, "en"))


@cache
def messages() -> list[str]:
    """All texts of the pack's code, with … for what is filled in."""
    found: list[str] = []
    for folder in ("nodes", "ip_models"):
        for path in (ROOT / folder).rglob("*.py"):
            found += texts(path)
    return found


def texts(path: Path) -> Iterator[str]:
    for part in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(part, ast.JoinedStr):
            yield "".join(
                str(one.value) if isinstance(one, ast.Constant) else "…" for one in part.values
            )
        elif isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield part.value


@everywhere()
def test_no_english_is_left_on_a_translated_page(node: str, language: str) -> None:
    if language == "en":
        return
    for line in page(node, language).read_text("utf-8").splitlines():
        plain = without_options(CODE.sub("", line))
        if not plain.strip():
            continue
        assert SCRIPT[language].search(plain), line
        assert not ENGLISH.search(plain), line


def test_no_page_or_picture_is_left_over() -> None:
    expected = {page(node, language) for node, language in pages()}
    expected |= {DOCS / "images" / f"{node}.svg" for node in schemas()}
    expected |= {strip_path(node) for node in STRIPS}
    assert {path for path in DOCS.rglob("*") if path.is_file()} == expected


@pytest.mark.parametrize("node", schemas())
def test_pictures_are_drawn_by_the_rules_of_the_nodes(node: str) -> None:
    picture = (DOCS / "images" / f"{node}.svg").read_text("utf-8")
    assert picture == help_pictures.DRAWN[node](), "run python -m kit.pages.help_pictures"


def test_english_locale_repeats_the_nodes() -> None:
    assert locale("en") == help_pages.english(), REWRITE


@pytest.mark.parametrize("language", TRANSLATED)
def test_translations_are_whole(language: str) -> None:
    english, translated = leaves(locale("en")), leaves(locale(language))
    assert translated.keys() == english.keys()
    for key, text in translated.items():
        assert SCRIPT[language].search(text), key
        assert not ENGLISH.search(without_options(text)), key


def without_options(text: str) -> str:
    of_all = (options for node in schemas() for _, options, _ in help_pages.inputs(node).values())
    for option in {one for options in of_all for one in options.get("options", [])}:
        text = text.replace(option, "")
    return text


@pytest.mark.parametrize("language", TRANSLATED)
def test_options_are_explained_under_the_name_that_is_sent(language: str) -> None:
    """What is sent stands in the tooltip, and what the box shows for it."""
    labels = help_pages.labels(language)
    for node in schemas():
        for name, (kind, options, _) in help_pages.inputs(node).items():
            if kind != "COMBO":
                continue
            tip = locale(language)[node]["inputs"][name]["tooltip"]
            told = [one for one in options["options"] if says(options["tooltip"], one)]
            assert all(says(tip, one) for one in told), (node, name, told)
            # Part of a label that has the value itself in brackets, behind it.
            shown = [labels[one].split(" (")[0] for one in told]
            assert all(one in tip for one in shown), (node, name, shown)


def says(text: str, option: str) -> bool:
    return bool(re.search(rf"(?<![A-Za-z_]){re.escape(option)}(?![A-Za-z_])", text))


@pytest.mark.parametrize("language", WORDS)
def test_texts_are_plain_to_the_front_end(language: str) -> None:
    for key, text in leaves(locale(language)).items():
        assert text.strip() == text != "", key
        assert not set(text) & set(SYNTAX), key


@pytest.mark.parametrize("path", sorted(LOCALES.rglob("*.json")), ids=str)
def test_no_key_is_written_twice(path: Path) -> None:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len({key for key, _ in pairs}) == len(pairs), [key for key, _ in pairs]
        return dict(pairs)

    json.loads(path.read_text("utf-8"), object_pairs_hook=unique)


FILES = ("commands", "main", "nodeDefs", "settings")


def test_languages_and_categories_are_all_there() -> None:
    names = {str(path.relative_to(LOCALES)) for path in LOCALES.rglob("*") if path.is_file()}
    own = {f"{one}/sentences.json" for one in TRANSLATED}  # see test_words.py
    assert names == {f"{one}/{name}.json" for one in WORDS for name in FILES} | own
    parts = {part for info in schemas().values() for part in info["category"].split("/")}
    for language in WORDS:
        main = json.loads((LOCALES / language / "main.json").read_text("utf-8"))
        assert main["nodeCategories"].keys() == parts
