"""No regular expression takes longer than its text is: all of them, in Python and in JavaScript."""

from __future__ import annotations

import ast
import re
import time

import pytest
from conftest import ROOT
from kit.patterns import hostile
from kit.patterns.ambiguity import slow
from kit.patterns.written import Untold, Written, in_python, in_script, uses

PYTHON = [
    *(ROOT / "dev.py", ROOT / "__init__.py"),
    *(path for name in ("demo", "ip_models", "nodes") for path in (ROOT / name).rglob("*.py")),
]
SCRIPTS = sorted((ROOT / "web").rglob("*.js"))
LETTERS, SECONDS = 30_000, 0.5  # a square of them takes minutes

BAD = {
    "a loop in a loop": [
        *(r"(a+)+$", r"(a*)*b", r"(?:a|a)*b", r"(?:a*b?)*c", r"(?:x+x+)+y", r"^(\w+\s?)*$"),
        *(r"^(([a-z])+.)+[A-Z]$", r"^(\d+)*$", r"^([-.]?[a-z]+)*@$", r"^(?:[0-9]+,?)*x"),
    ],
    "loops side by side": [
        *(r"^a*a*b", r"^\d+\.?\d*$", r"^.*x.*y$", r"^(?:(.+)\.)?(x|y)\.(.+)$", r"^(a|b|ab)*c"),
        *(r"^\s*(?:,\s*)?\s*x", r"^[a-z]{1,200}[a-z]{1,200}$", r"(?i)^K*\u212a*b"),
    ],
    "begun anywhere": [
        r"faceid.*lora",
        r"\s+$",
        r"x.*y",
        r"^a|\s+b",
        r"(?m)^.*:\s*x",
        r"[a-z]+:",
        r"(?:ab)*c$",
    ],
    "others": [r"x(?=.*y)", r"(?:a?){30}b"],
}
GOOD = [
    *(r"[a-z]+", r"^a*b*c", r"^(.*)-([0-9]{5})-of$", r"\x1b\[[0-9;]*m", r"^x|^y.*", r"^(?:ab)*c$"),
    *(r"^(?:a|b)*c", r"^\s*\d+\s*:\s*\d+$", r"x[^x]*y", r"^(?:[^,]+,)*$", r"[0-9]{1,9}[0-9]{1,9}x"),
]


def found() -> list[Written]:
    sources = {path: path.read_text("utf-8") for path in PYTHON}
    written: list[Written] = []
    everywhere = [use for source in sources.values() for use in uses(ast.parse(source))]
    for path, source in sources.items():
        written += in_python(source, str(path.relative_to(ROOT)), everywhere)
    for path in SCRIPTS:
        written += in_script(path.read_text("utf-8"), str(path.relative_to(ROOT)))
    return written


ALL = found()


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.place)
def test_each_is_linear(one: Written) -> None:
    assert slow(one.text, one.flags, one.anywhere, one.whole) == "", one.text


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.place)
def test_each_is_quick_on_texts_made_for_it(one: Written) -> None:
    if slow(one.text, one.flags, one.anywhere, one.whole):
        pytest.fail("it would not come to an end")
    pattern = re.compile(one.text, one.flags)
    read = pattern.search if one.anywhere else pattern.fullmatch if one.whole else pattern.match
    for text in hostile.texts(one, LETTERS):
        begun = time.process_time()
        read(text)
        assert time.process_time() - begun < SECONDS, text[:80]


def test_all_are_found() -> None:
    """As many as a reader of the files would count, who knows nothing of what is said in them."""
    places = {one.place.split(" ")[0].split(":")[0] for one in ALL}
    named = [path for path in PYTHON if re.search(r"\bre\.[a-z]+\(", path.read_text("utf-8"))]
    silent = {str(path.relative_to(ROOT)) for path in named} - places
    assert silent <= {"tests"}, silent
    assert len({place for place in places if place.startswith("web/")}) >= 5


@pytest.mark.parametrize(("kind", "text"), [(kind, one) for kind in BAD for one in BAD[kind]])
def test_bad_ones_are_known(kind: str, text: str) -> None:
    assert slow(text) != "", kind


@pytest.mark.parametrize("text", [one for kind in list(BAD)[:2] for one in BAD[kind]])
def test_bad_ones_are_bad_wherever_they_begin(text: str) -> None:
    assert slow(text, anywhere=False, whole=True) != ""


@pytest.mark.parametrize("text", GOOD)
def test_good_ones_are_left_alone(text: str) -> None:
    assert slow(text) == ""
    for hostile_text in hostile.texts(Written("", text), LETTERS):
        begun = time.process_time()
        re.search(text, hostile_text)
        assert time.process_time() - begun < SECONDS


@pytest.mark.parametrize("text", BAD["loops side by side"][2:4] + BAD["begun anywhere"][:3])
def test_the_texts_show_what_is_slow(text: str) -> None:
    """Eight times the letters take far more than eight times as long with one of them."""
    few, many = (min(max(taken(text, each)) for _ in range(3)) for each in (1000, 8000))
    assert many > 20 * few


def taken(text: str, letters: int) -> list[float]:
    times: list[float] = []
    for one in hostile.texts(Written("", text), letters):
        begun = time.process_time()
        re.search(text, one)
        times.append(time.process_time() - begun)
    return times


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ('X = "a+"\nY = re.compile(rf"({X})+b", re.I)', "(a+)+b"),
        ('Z = tuple(re.compile(one + "+") for one in ("a", "b"))', "b+"),
        ("def f(a):\n    return re.sub(rf'{re.escape(a)}+y', '', a)", "x+y"),
        ("def f(a):\n    return re.search('|'.join(map(re.escape, a)), '')", "x|yz"),
        ("if 1:\n    re.compile('inside')", "inside"),
    ],
)
def test_python_is_read(source: str, text: str) -> None:
    assert text in [one.text for one in in_python(f"import re\n{source}", "here")]


@pytest.mark.parametrize(
    "source",
    [
        "from re import compile",
        "re.compile(f())",
        "def f(a):\n    re.compile(a)",
        "re.template('')",
    ],
)
def test_what_nobody_can_read_is_refused(source: str) -> None:
    with pytest.raises(Untold):
        list(in_python(f"import re\n{source}", "here"))


def test_uses_are_known() -> None:
    source = "import re\nA = re.compile('a')\nB = re.compile('b')\nC = re.compile('c')\n"
    source += "A.search('')\nB.fullmatch('')\nB.match('')\ndef f(x):\n    return x.split('')"
    one, two, three = in_python(source, "here", [("C", "fullmatch")])
    assert one.anywhere and not two.anywhere and not two.whole and three.whole


def test_scripts_are_read() -> None:
    source = r"""
    const a = 4 / 2 / 1, b = x / y; // no /pattern/
    const c = text.replace(/a+[/'"]+\/b/gi, `${c.split(/inside/)} /text/`); /* /no/ */
    if (/^x/m.test("it's /no/")) return /last/;
    const d = (1 + 2) / 3 / 4;
    """
    read = [(one.text, one.flags) for one in in_script(source, "here")]
    texts = [(r"a+[/'" + r'"]+\/b', re.IGNORECASE), ("^x", re.MULTILINE), ("last", 0)]
    assert read == texts
    for made in ("new RegExp(x)", "RegExp('a')"):
        with pytest.raises(Untold):
            list(in_script(made, "here"))
