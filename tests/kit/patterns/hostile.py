"""Texts made for a regular expression: each loop is fed for long, and then nothing fits."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from .ambiguity import Automaton, automaton_of
from .written import Written

ENDS = ("", "\n\n", "\0")


def texts(one: Written, letters: int) -> Iterator[str]:
    """For each loop: what leads there, the loop again and again, and an end that does not fit."""
    automaton, starts = automaton_of(one.text, one.flags, one.anywhere, one.whole)
    ways = first_ways(automaton, starts)
    for place, way in ways.items():
        round_way = first_ways(automaton, after(automaton, place)).get(place)
        # Of one that begins anywhere, what leads to a place is itself such a loop.
        for loop in {round_way, way if one.anywhere else None} - {None, ""}:
            repeated = loop * (letters // len(loop)) if loop else ""
            yield from (way + repeated + end for end in ENDS)


def after(automaton: Automaton, place: int) -> tuple[int, ...]:
    return tuple(second for first, second in automaton.arrows if first == place)


def first_ways(automaton: Automaton, starts: tuple[int, ...]) -> dict[int, str]:
    """The shortest text that leads to each place."""
    found: dict[int, str] = {}
    ahead = deque((start, "") for start in starts)
    while ahead:
        place, way = ahead.popleft()
        if place not in found and automaton.sets[place]:
            found[place] = way + min(automaton.sets[place], key=lambda c: (not c.isalnum(), c))
            ahead += [(next_place, found[place]) for next_place in after(automaton, place)]
    return found
