"""Other languages: every text of the pack has its words, and the editor finds them."""

from __future__ import annotations

import json
import re
import subprocess
from functools import cache
from typing import Any

import pytest
from kit.pages.help_pages import ROOT, inputs, schemas
from kit.words import table as words
from kit.words.said import errors
from kit.words.table import LANGUAGES, SECTIONS
from pack.nodes.host.words import words as answer

SCRIPT = {"zh": re.compile("[\u4e00-\u9fff]"), "ru": re.compile("[\u0400-\u04ff]")}
# So many Latin words in a row are a sentence that somebody forgot.
ENGLISH = re.compile(r"(?:\b[A-Za-z][a-z'-]*[ .;:]+){4}[A-Za-z]")
# Addresses, code, and the choices that are sent, in brackets.
NAMES = re.compile(r"https?://\S+|`[^`]*`|\[[^]]*\]\([^)]*\)|\([^)]*\)|（[^）]*）")
GAP = re.compile(r"\{\d\}")
SAMPLE = "Q7"
TRANSLATE = ROOT / "tests" / "kit" / "words" / "translate.mjs"
# Articles and the like, which have no place there.
LEFT_OUT = {"{1} {2} adapter for {3} is needed"}


def in_all() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("language", LANGUAGES)


@in_all()
def test_every_text_is_translated_and_no_other(language: str) -> None:
    missing = {name: list(texts) for name, texts in words.missing(language).items()}
    assert missing == {name: [] for name in SECTIONS}, "see tests/kit/words/table.py"
    assert words.left_over(language) == {name: [] for name in SECTIONS}


@in_all()
def test_a_translation_fills_in_what_the_text_does(language: str) -> None:
    for text, made in words.table(language)["sentences"].items():
        gaps, filled = sorted(GAP.findall(text)), sorted(GAP.findall(made))
        assert filled == gaps or (text in LEFT_OUT and set(filled) < set(gaps)), text
        assert made.startswith(" ") <= text.startswith(" "), text


@in_all()
def test_a_translation_is_in_its_language(language: str) -> None:
    """Names of models and of classes stay; sentences do not."""
    for section in ("sentences", "notes"):
        for text, made in words.table(language)[section].items():
            assert not ENGLISH.search(NAMES.sub("", made)), made
            assert SCRIPT[language].search(made) or made == text or len(made) < 40, made


@in_all()
def test_choices_of_one_box_look_different(language: str) -> None:
    labels = words.table(language)["choices"]
    for node in schemas():
        for name, (kind, options, _) in inputs(node).items():
            shown = [labels.get(one, one) for one in options["options"]] if kind == "COMBO" else []
            assert len(set(shown)) == len(shown), (node, name)


@cache
def translated(language: str) -> dict[str, str]:
    """Each error of the code as the editor shows it."""
    texts = list(errors(SAMPLE))
    sent = json.dumps({"table": answer({"language": language}), "texts": texts})
    done = subprocess.run(
        ["node", str(TRANSLATE)], input=sent, capture_output=True, text=True, check=True, timeout=60
    )
    return dict(zip(texts, json.loads(done.stdout), strict=True))


@in_all()
def test_the_editor_finds_the_words_of_every_error(language: str) -> None:
    assert len(translated(language)) > 250
    for text, shown in translated(language).items():
        assert shown.count(SAMPLE) >= 0.5 * text.count(SAMPLE), text
        said = NAMES.sub("", shown.replace(SAMPLE, ""))
        assert not ENGLISH.search(said), (errors(SAMPLE)[text], shown)
        assert SCRIPT[language].search(shown) or text.count(SAMPLE) >= 3, shown


def test_an_error_reads_as_one_sentence() -> None:
    text = "scale is 3; a number from 0 to 1 is needed. Enter one between them."
    texts = [
        text,
        "my model.safetensors is cut off: 5 bytes are there, 9 are needed",
        "✗ FaceID plus: missing the adapter and ViT-H and face pack buffalo_l",
        "cat and dog.safetensors",
    ]
    sent = json.dumps({"table": answer({"language": "zh"}), "texts": texts})
    done = subprocess.run(["node", str(TRANSLATE)], input=sent, capture_output=True, text=True)
    assert json.loads(done.stdout) == [
        "强度是 3；需要 0 到 1 之间的数。请输入其间的一个数。",
        "my model.safetensors 被截断：有 5 字节，需要 9 字节",
        "✗ FaceID plus：缺少适配器和ViT-H和人脸模型包 buffalo_l",
        "cat and dog.safetensors",
    ]


def test_only_languages_that_are_there_are_read() -> None:
    for language in ("en", "../zh", "zh/../ru", "", None, ["zh"], "xx"):
        given: dict[str, Any] = {"language": language}
        assert answer(given) == {}, language
    made: Any = answer({"language": "ru"})
    assert made["names"]["Apply IP-Adapter"] == made["names"]["IPAApply"] != "IPAApply"
    # An input that is called otherwise on another node has no name by itself.
    assert made["names"]["kv_scaling"] and set(made["joints"]) == set(words.table("zh")["joints"])
