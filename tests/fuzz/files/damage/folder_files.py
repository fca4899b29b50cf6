"""What lies where a file should be: settings with other words, links, pipes, folders."""

from __future__ import annotations

from random import Random

from . import hostile

PIPE, FOLDER, LINK = "pipe", "folder", "link "


def settings(data: bytes, random: Random) -> bytes:
    """A JSON text with something else in it.

    Raises:
        ValueError: it is no JSON text.
    """
    way = random.random()
    if way < 0.08:
        return b"[" * 100_000
    if way < 0.16:
        return data.replace(b": ", b": " + b"9" * random.choice((30, 400, 5000)), 1)
    return hostile.changed_json(data, random)


def stand_in(random: Random) -> str:
    """What is there instead of a file."""
    return random.choice((PIPE, FOLDER, f"{LINK}/etc/passwd", f"{LINK}/dev/zero", f"{LINK}nowhere"))
