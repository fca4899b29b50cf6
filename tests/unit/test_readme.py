"""The README says what the code does: models, nodes, examples, messages and diffusers' names."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from conftest import ROOT
from pack.ip_models import errors
from pack.ip_models.adapter.published import ADAPTER_ADDRESSES, ENCODER_ADDRESSES

README = (ROOT / "README.md").read_text("utf-8")
ERRORS = {
    name
    for name, one in inspect.getmembers(errors, inspect.isclass)
    if issubclass(one, errors.IPAdapterError)
} - {"IPAdapterError"}
OWN_SENTENCE = {"NoFace", "NoSuchFace"}  # which take numbers and write it themselves
CODE = [*sorted((ROOT / "ip_models").rglob("*.py")), *sorted((ROOT / "nodes").rglob("*.py"))]
HOLE = "\0"  # what an f-string puts in
OWN_WORDS = 15  # letters; with fewer it passes on a sentence that was made elsewhere


def section(title: str) -> str:
    """The text below a heading, up to the next one of its rank."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", README, re.M | re.S)
    assert found is not None, title
    return found[1]


def rows(text: str) -> list[list[str]]:
    """Cells of the rows of all tables in a text, without heads."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    table = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [row for row in table if row]


def spans(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


@cache
def sentences() -> list[tuple[str, str, str]]:
    """(place, error class, all of its text) for each place where an error is made."""
    return [
        (f"{path.relative_to(ROOT)}:{call.lineno}", name, said(call))
        for path in CODE
        for call in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(call, ast.Call)
        and (name := getattr(call.func, "id", "")) in ERRORS - OWN_SENTENCE
    ] + [(f"errors.{name}", name, own_sentence(name)) for name in OWN_SENTENCE]


def own_sentence(name: str) -> str:
    tree = ast.parse(inspect.getsource(errors))
    own = next(node for node in tree.body if getattr(node, "name", "") == name)
    call = next(
        node
        for node in ast.walk(own)
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "__init__"
    )
    return said(call)


def said(call: ast.Call) -> str:
    return "; ".join(map(words, call.args))


def words(node: ast.expr) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(map(words, node.values))
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Action":
        return words(node.args[0])
    return HOLE


@cache
def all_words() -> str:
    """Every text in the code and every sentence of an error, each on a line of its own."""
    texts = [text for _, _, text in sentences()]
    for path in CODE:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, (ast.JoinedStr, ast.Constant)):
                texts.append(words(node))
    return "\n".join(text.replace("\n", " ") for text in texts)


def says(text: str, quoted: str) -> bool:
    """Whether a line has the words of a quotation in this order, which `...` stands between."""
    parts = [re.escape(part.strip()) for part in quoted.split("...") if part.strip()]
    return bool(re.search(".*".join(parts), text))


def letters(text: str) -> int:
    return sum(letter.isalpha() for letter in text)


def quotations() -> list[str]:
    trouble = section("When something is wrong")
    return [quoted for row in rows(trouble) for quoted in spans(row[0])]


def test_every_quoted_message_is_in_the_code() -> None:
    assert [quoted for quoted in quotations() if not says(all_words(), quoted)] == []
    assert not says(all_words(), "is a page of the web")


def test_no_quotation_is_so_short_that_anything_has_it() -> None:
    for quoted in quotations():
        longest = max(len(part.strip()) for part in quoted.split("..."))
        assert longest >= 7, quoted
        assert sum(says(text, quoted) for _, _, text in sentences()) <= 12, quoted


def test_every_message_and_every_error_has_its_row() -> None:
    quoted = quotations()
    silent = [
        place
        for place, _, text in sentences()
        if letters(text) >= OWN_WORDS and not any(says(text, one) for one in quoted)
    ]
    assert silent == []
    assert {name for _, name, _ in sentences()} == ERRORS


def test_every_kind_the_doctor_recommends_is_in_the_table_of_models() -> None:
    table = rows(section("Models"))
    for (family, choice), address in ADAPTER_ADDRESSES.items():
        name = address.rsplit("/", 1)[1]
        own = [row for row in table if row[0] == choice.value]
        assert any(f"[{name}]({address})" in row for row in own), (family, choice)
    for encoder, (name, address) in ENCODER_ADDRESSES.items():
        row = next(row for row in table if row[0] == encoder and address in row[1])
        assert row[2] == f"`{name}`"


def test_every_node_is_in_the_table_of_nodes() -> None:
    sources = "\n".join(path.read_text("utf-8") for path in sorted((ROOT / "nodes").rglob("*.py")))
    ids = re.findall(r'node_id="(\w+)"', sources)
    assert len(ids) > 15
    assert {row[1].strip("`") for row in rows(section("Nodes"))[1:]} == set(ids)


def test_every_example_is_in_the_table_of_examples() -> None:
    files = {path.stem for path in (ROOT / "example_workflows").glob("*.json")}
    assert {row[0].strip("`") for row in rows(section("Examples"))[1:]} == files


PARTS_OF_DIFFUSERS = (
    "callbacks.py",
    "image_processor.py",
    "loaders/ip_adapter.py",
    "loaders/lora_pipeline.py",
    "models/attention_processor.py",
    "models/embeddings.py",
    "pipelines/stable_diffusion/pipeline_stable_diffusion.py",
)


def names_of_diffusers() -> set[str]:
    """What is exported, and classes, functions, arguments and attributes; read, not imported."""
    found = importlib.util.find_spec("diffusers")
    if found is None or not found.submodule_search_locations:
        pytest.skip("there is no diffusers")
    home = Path(found.submodule_search_locations[0])
    names = set(re.findall(r'"(\w+)"', (home / "__init__.py").read_text("utf-8")))
    for part in PARTS_OF_DIFFUSERS:
        for node in ast.walk(ast.parse((home / part).read_text("utf-8"))):
            if isinstance(node, (ast.ClassDef, ast.FunctionDef)):
                names.add(node.name)
            elif isinstance(node, ast.arg):
                names.add(node.arg)
            elif isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "self":
                names.add(node.attr)
    return names


# Of transformers and insightface, and variables of the examples.
FOREIGN = {"CLIPVisionModelWithProjection", "CLIPImageProcessor", "FaceAnalysis"}


def named_calls() -> Iterator[str]:
    for row in rows(section("Coming from diffusers"))[1:]:
        for span in spans(row[0]):
            yield from re.findall(r"\b[A-Z]\w+(?=$|\()", span)  # classes
            yield from re.findall(r"(?:\.|^)(\w+)(?=\()", span)  # methods
            yield from re.findall(r"\b(\w+)=", span)  # arguments
            yield from re.findall(r'"(ip_\w+)"', span)  # keys
            yield from re.findall(r"\.(\w+)$", span)  # attributes


def test_the_names_of_diffusers_exist() -> None:
    named = set(named_calls()) - FOREIGN - {"save", "load"}
    assert {"set_ip_adapter_scale", "IPAdapterMaskProcessor", "ip_adapter_image_embeds"} <= named
    assert named - names_of_diffusers() == set()


def test_links_inside_lead_to_a_heading_or_a_file() -> None:
    headings = {
        re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-")
        for title in re.findall(r"^##+ (.+)$", README, re.M)
    }
    for target in re.findall(r"\]\((?!http)([^)]+)\)", README):
        found = target[1:] in headings if target[0] == "#" else (ROOT / Path(target)).is_file()
        assert found, target
