"""Texts for widgets: pieces of the pack's own grammars in any order, and much of the same."""

from __future__ import annotations

from random import Random

MEGABYTE = 1_000_000
_PIECES = (
    *"0123456789-+.eE,:;=|/\\()[]{}\"' \n\t#%$&?!_*~^@",
    *("0.5", "1e5", "1e999", "-1", "NaN", "Infinity", "null", "None", "true", "0x1F", "1_000"),
    *("down", "mid", "up", "block_", "input", "output", "middle", "in", "out", "double", "single"),
    *("0:1", "3:0.5", "1, 0.5", "0)1,", "(0.5)", "0-3:", "all", "layer", ".attentions", "steps"),
    *("../", "..\\", "/etc/passwd", "C:", "\0", "\ud800", "\u202e", "\U0001f408", "ß", "٣", "²"),
    *("#ff0000", "rgb(1,2,3)", "%date%", "weights: [", "], frames: ", "timing: ", "\r\n", "\x1b["),
)
_RUNS = (
    *("a", "9", "0", "[", "{", "(", "-", " ", "\n", ",", "1,", "0:1,", '{"a":', "0)1,\n", "1e"),
    *("..", "../", '"', "\\", "0.", "1 ", "\ud800", "\0", "_", "block_", "#", "[[", "\t,", "1:1 2"),
)


def text(random: Random) -> str:
    """A text, short or up to a megabyte."""
    if random.random() < 0.25:
        run = random.choice(_RUNS)
        size = random.choice((50, 500, 5000, 60_000, MEGABYTE))
        made = run * (size // len(run))
        return made + random.choice(("", "x", "1", "]", "}", ")", run[:1]))
    made = "".join(random.choice(_PIECES) for _ in range(random.choice((1, 2, 3, 5, 8, 20, 80))))
    return made * random.choice((1, 1, 1, 1, 1, 3, 1000))


def damaged(random: Random, good: str) -> str:
    """A good text with something put in, left out, or repeated."""
    at = random.randint(0, len(good))
    kind = random.randrange(4)
    if kind == 0:
        return good[:at] + random.choice(_PIECES) + good[at:]
    if kind == 1:
        return good[:at] + good[at + 1 :]
    if kind == 2:
        return good[:at] + text(random) + good[at:]
    return (good + random.choice((",", "\n", ""))) * random.choice((2, 300, 30_000))
