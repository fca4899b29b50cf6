"""The lists of inputs and outputs on the help pages, as the nodes themselves describe them.

`python -m kit.pages.help_pages`, run in tests/, writes them into the pages and brings locales/en up
to date; the text around the lists is written by hand, and so are the other languages in locales/.
Lists, because the help panel is too narrow for tables.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
DOCS = ROOT / "web" / "docs"
LOCALES = ROOT / "locales"
EXAMPLE = "ipadapter_example.ipadpt"  # which comes with the pack
AUTOGROW = "COMFY_AUTOGROW_V3"
# The front end asks for the tooltip of each input that has grown by itself; so many get one.
GROWN = 8
TIPS = ("Tips", "提示", "Советы")
# To the front end these begin a placeholder, a plural or a link in a translated text.
SYNTAX = "{}@|$"


@dataclass(frozen=True)
class Words:
    """What the lists say in one language."""

    inputs: str
    outputs: str
    mistakes: str
    todo: str
    kinds: dict[str, str]
    step: str
    first: str
    advanced: str
    needed: str
    optional: str
    default: str
    bracket: str
    files: str
    empty: str
    no_outputs: str
    grown: str
    colon: str = ": "
    semicolon: str = "; "
    comma: str = ", "


WORDS = {
    "en": Words(
        inputs="Inputs",
        outputs="Outputs",
        mistakes="Common mistakes",
        todo="What to do",
        kinds={
            "FLOAT": "number",
            "INT": "whole number",
            "STRING": "text",
            "BOOLEAN": "yes or no",
            "COMBO": "choice",
        },
        step="in steps of",
        first="the first",
        advanced="advanced",
        needed="needed",
        optional="optional",
        default="default",
        bracket=" ({})",
        files="the files found",
        empty="empty",
        no_outputs="None: the node writes a file.",
        grown="{first} to {last}; a new one appears as soon as the last is connected",
    ),
    "zh": Words(
        inputs="输入",
        outputs="输出",
        mistakes="常见错误",
        todo="怎么用",
        kinds={
            "FLOAT": "数值",
            "INT": "整数",
            "STRING": "文本",
            "BOOLEAN": "是或否",
            "COMBO": "选项",
        },
        step="步长",
        first="第一个",
        advanced="高级",
        needed="必需",
        optional="可选",
        default="默认",
        bracket="（{}）",
        colon="：",
        semicolon="；",
        comma="、",
        files="找到的文件",
        empty="空",
        no_outputs="无：本节点写入文件。",
        grown="{first} 至 {last}；最后一个连上后会自动出现新的输入",
    ),
    "ru": Words(
        inputs="Входы",
        outputs="Выходы",
        mistakes="Частые ошибки",
        todo="Что делать",
        kinds={
            "FLOAT": "число",
            "INT": "целое число",
            "STRING": "текст",
            "BOOLEAN": "да или нет",
            "COMBO": "выбор",
        },
        step="шаг",
        first="первый",
        advanced="дополнительно",
        needed="нужно",
        optional="необязательно",
        default="по умолчанию",
        bracket=" ({})",
        files="найденные файлы",
        empty="пусто",
        no_outputs="Нет: нода записывает файл.",
        grown="{first} … {last}; новый появляется, как только подключён последний",
    ),
}


def page(node: str, language: str) -> Path:
    """Where the front end looks for a node's help; English is what every other language gets."""
    return DOCS / f"{node}.md" if language == "en" else DOCS / node / f"{language}.md"


@cache
def schemas() -> dict[str, dict[str, Any]]:
    """What the server tells about each node of the pack, by id."""
    from pack.nodes.extension import IPAdapterExtension
    from pack.nodes.host.files import folders

    folders.register()
    nodes = asyncio.run(IPAdapterExtension().get_node_list())
    return {node.GET_SCHEMA().node_id: node.GET_NODE_INFO_V1() for node in nodes}


def inputs(node: str) -> dict[str, tuple[Any, dict[str, Any], bool]]:
    """Type, options and whether it is required, by the name of the input."""
    groups = schemas()[node]["input"]
    return {
        name: (kind, options, group == "required")
        for group in ("required", "optional")
        for name, (kind, options) in groups.get(group, {}).items()
    }


@cache
def locale(language: str) -> dict[str, Any]:
    """Names and tooltips of the nodes in one language."""
    return json.loads((LOCALES / language / "nodeDefs.json").read_text("utf-8"))


def leaves(tree: Any, path: str = "") -> dict[str, str]:
    """Each text of a table of tables, by the names that lead to it."""
    if isinstance(tree, str):
        return {path: tree}
    return {
        key: text
        for name, branch in tree.items()
        for key, text in leaves(branch, f"{path}/{name}").items()
    }


@cache
def labels(language: str) -> dict[str, str]:
    """What combo boxes show for their values, where it is not these themselves."""
    path = LOCALES / language / "sentences.json"
    return json.loads(path.read_text("utf-8"))["choices"] if path.is_file() else {}


def english() -> dict[str, Any]:
    """What locales/en has to hold: the words of the nodes themselves.

    A tooltip that the front end would not take for plain text keeps the wording it has there.
    """
    written = locale("en") if (LOCALES / "en" / "nodeDefs.json").is_file() else {}
    return {node: _english(node, info, written.get(node, {})) for node, info in schemas().items()}


def _english(node: str, info: dict[str, Any], written: dict[str, Any]) -> dict[str, Any]:
    entries: dict[str, Any] = {}
    for name, (kind, options, _) in inputs(node).items():
        tip = grown(options)[2] if kind == AUTOGROW else options["tooltip"]
        if any(sign in tip for sign in SYNTAX):
            tip = written.get("inputs", {}).get(name, {}).get("tooltip", "")
        entries[name] = {"name": name, "tooltip": tip}
        if kind == AUTOGROW:
            entries |= {key: {"tooltip": tip} for key in grown_keys(name, options)}
    outputs = zip(info["output_name"], info["output_tooltips"], strict=True)
    return {
        "display_name": info["display_name"],
        "description": info["description"],
        "inputs": entries,
        "outputs": {
            str(i): {"name": name, "tooltip": tooltip} for i, (name, tooltip) in enumerate(outputs)
        },
    }


def grown(options: dict[str, Any]) -> tuple[str, str, str]:
    """Prefix, type and tooltip of the inputs that an Autogrow makes."""
    template = options["template"]
    groups = template["input"]
    ((kind, of_one),) = [one for group in groups.values() for one in group.values()]
    return template["prefix"], kind, of_one["tooltip"]


def grown_keys(name: str, options: dict[str, Any]) -> list[str]:
    """Under which keys the front end looks for the first inputs of an Autogrow."""
    prefix, most = grown(options)[0], options["template"]["max"]
    return [f"{name}_{prefix}{i}" for i in range(min(GROWN, most))]


def lists(node: str, language: str) -> tuple[list[str], list[str]]:
    """Lines of the list of inputs and of the list of outputs."""
    words, names = WORDS[language], locale(language).get(node, {"inputs": {}})
    missing = inputs(node).keys() - names["inputs"].keys()
    if missing:
        raise LookupError(f"locales/{language} has no words for {node}: {', '.join(missing)}")
    entries = [
        _entry(words, name, names["inputs"][name], _facts(language, kind, options, required))
        for name, (kind, options, required) in inputs(node).items()
    ]
    info = schemas()[node]
    outputs = zip(info["output_name"], info["output"], names["outputs"].values(), strict=True)
    made = [_entry(words, name, entry, f"`{kind}`") for name, kind, entry in outputs]
    return entries, made or [words.no_outputs]


def _entry(words: Words, name: str, entry: dict[str, str], facts: str) -> str:
    called = "" if name == entry["name"] else f" {entry['name']}"
    return f"- **`{name}`**{called}{words.bracket.format(facts)}\\\n  {entry['tooltip']}"


def _facts(language: str, kind: Any, options: dict[str, Any], required: bool) -> str:
    words = WORDS[language]
    facts = [_values(words, kind, options, labels(language))]
    if kind in words.kinds:
        facts.append(f"{words.default}{words.colon}{_default(words, options)}")
    else:
        needed = required and options.get("template", {}).get("min", 1) > 0
        facts.append(words.needed if needed else words.optional)
    if options.get("advanced"):
        facts.append(words.advanced)
    return words.semicolon.join(facts)


def _values(words: Words, kind: Any, options: dict[str, Any], shown: dict[str, str]) -> str:
    if kind == AUTOGROW:
        prefix, one, _ = grown(options)
        last = options["template"]["max"] - 1
        many = words.grown.format(first=f"`{prefix}0`", last=f"`{prefix}{last}`")
        return f"`{one}`{words.colon}{many}"
    if kind == "COMBO":
        found = [one for one in options["options"] if one != EXAMPLE]
        known = [_choice(one, str(shown.get(one, one))) for one in found]
        if set(found) <= {"auto", "none"}:  # read from a folder, and that of tests is empty
            known.append(words.files)
        return f"{words.kinds[kind]}{words.colon}{words.comma.join(known)}"
    if kind in ("FLOAT", "INT"):
        low, high = number(options["min"]), number(options["max"])
        step = f"{words.comma}{words.step} {number(options['step'])}" if options.get("step") else ""
        return f"{words.kinds[kind]} {low} … {high}{step}"
    if kind in words.kinds:
        return words.kinds[kind]
    return " / ".join(f"`{one}`" for one in str(kind).split(","))


def _choice(option: str, label: str) -> str:
    """What is sent, and what the editor shows for it."""
    return f"`{option}`" if option in label else f"`{option}` {label}"


def number(value: float) -> str:
    """As people write it; large whole numbers in full."""
    return f"{value}" if isinstance(value, int) else f"{value:g}"


def _default(words: Words, options: dict[str, Any]) -> str:
    default = options.get("default")
    if default is None:
        return words.first
    if default == "":
        return words.empty
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def filled(text: str, node: str, language: str) -> str:
    """A page with its lists as they have to be, and its parts in their order; the rest stays."""
    words = WORDS[language]
    top, *parts = f"{text.rstrip()}\n".split("\n## ")
    written = dict(part.split("\n", 1) for part in parts)
    # What a hand-written page may call it.
    written = {words.todo if name in TIPS else name: part for name, part in written.items()}
    made = dict(zip((words.inputs, words.outputs), lists(node, language), strict=True))
    written |= {heading: "\n".join(["", *entries, ""]) for heading, entries in made.items()}
    # What somebody wants to know first comes first.
    order = (words.todo, words.mistakes, words.inputs, words.outputs)
    if written.keys() != set(order):
        raise ValueError(f"{page(node, language)} has other headings than {', '.join(order)}")
    return "\n## ".join([top, *(f"{heading}\n{written[heading]}" for heading in order)])


def main() -> None:
    from kit.pages.help_quotes import with_words

    text = json.dumps(english(), indent=2, ensure_ascii=False) + "\n"
    (LOCALES / "en").mkdir(parents=True, exist_ok=True)
    (LOCALES / "en" / "nodeDefs.json").write_text(text, "utf-8")
    locale.cache_clear()
    for node in schemas():
        for language in WORDS:
            path = page(node, language)
            text = filled(path.read_text("utf-8"), node, language)
            path.write_text(with_words(text, language), "utf-8")


if __name__ == "__main__":
    import conftest  # noqa: F401  # puts the host on the path and names the pack `pack`

    main()
