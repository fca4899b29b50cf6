"""Whether a regular expression takes longer than its text is: read as an automaton.

An engine that tries one way after the other tries all ways to read a text before it says no. They
are too many where some piece of a text can be read by a loop, by another loop behind it, and on the
way from the one to the other (Weber and Seidl, 1991): `a*a*`, `.*x.*`. They are very many where a
loop is in a loop: `(a+)+`, which is one more arrow between the same two places here.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from re import _constants as kinds  # pyright: ignore
from re import _parser as parser  # pyright: ignore
from typing import Any

UNROLLED = 9  # more repetitions than that count as a loop: they are as many as anybody likes
OTHERS = "é中٣\xa0\u2028ſİK"  # beside ASCII: a letter, a digit, a space, and odd capitals
READING = (kinds.LITERAL, kinds.NOT_LITERAL, kinds.ANY, kinds.IN)
LOOPS = (kinds.MAX_REPEAT, kinds.MIN_REPEAT)
Places = tuple[int, ...]


@dataclass
class Automaton:
    """The places of a pattern where a character is read.

    Attributes:
        sets: the characters of each place.
        arrows: in how many ways one place follows another.
        faults: what is slow wherever it stands.
    """

    ignore_case: bool
    everything: str
    sets: list[frozenset[str]] = field(default_factory=list)
    arrows: Counter[tuple[int, int]] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def place(self, characters: Iterable[str]) -> int:
        """A new one."""
        read = frozenset(characters)
        if self.ignore_case:
            folded = {character.lower() for character in read}
            read = frozenset(one for one in self.everything if one.lower() in folded)
        self.sets.append(read)
        return len(self.sets) - 1

    def connect(self, ends: Places, starts: Places) -> None:
        """Let each of these be followed by each of those."""
        self.arrows.update((end, start) for end in ends for start in starts)


@dataclass(frozen=True)
class Piece:
    """A part of a pattern: in how many ways it reads nothing, where it begins, where it ends."""

    empty: int
    starts: Places
    ends: Places


NOTHING = Piece(1, (), ())


def slow(pattern: str, flags: int = 0, anywhere: bool = True, whole: bool = False) -> str:
    """Why a pattern takes more than linear time, "" where it does not.

    Args:
        anywhere: it is searched, so that each place of the text is a beginning.
        whole: all of the text has to fit.
    """
    return reason(automaton_of(pattern, flags, anywhere, whole)[0])


def automaton_of(pattern: str, flags: int, anywhere: bool, whole: bool) -> tuple[Automaton, Places]:
    """The places of a pattern, and those where a text begins."""
    tree = parser.parse(pattern, flags)
    flags, items = tree.state.flags, list(tree)
    automaton = Automaton(bool(flags & re.IGNORECASE), everything(items))
    start = NOTHING
    if anywhere and not (items and is_beginning(items[0]) and not flags & re.MULTILINE):
        any_place = automaton.place(automaton.everything)
        automaton.connect((any_place,), (any_place,))
        start = Piece(1, (any_place,), (any_place,))
    # What is read at the very end as far as it goes never has to be given back.
    rest = items if whole else without_last_loop(items)
    return automaton, joined(automaton, start, sequence(automaton, rest)).starts


def is_beginning(item: Any) -> bool:
    kind, value = item
    return kind is kinds.AT and value in (kinds.AT_BEGINNING, kinds.AT_BEGINNING_STRING)


def without_last_loop(items: list[Any]) -> list[Any]:
    if not items or items[-1][0] not in LOOPS:
        return items
    least, _, inner = items[-1][1]
    if len(inner) != 1 or inner[0][0] not in READING:
        return items
    return [*items[:-1], *(list(inner) if least else [])]


def everything(items: Sequence[Any]) -> str:
    """All ASCII, some others, and whatever the pattern names."""
    named = "".join(map(chr, named_characters(items)))
    return "".join(dict.fromkeys([*map(chr, range(128)), *OTHERS, *named]))


def named_characters(node: Any) -> Iterator[int]:
    if isinstance(node, tuple | list) or hasattr(node, "data"):
        parts: Any = node
        if len(parts) == 2 and parts[0] in (kinds.LITERAL, kinds.NOT_LITERAL):
            yield parts[1]
            return
        if len(parts) == 2 and parts[0] is kinds.RANGE:
            yield from parts[1]
            return
        for part in parts:
            yield from named_characters(part)


def sequence(automaton: Automaton, items: Iterable[Any]) -> Piece:
    whole = NOTHING
    for item in items:
        whole = joined(automaton, whole, read(automaton, item))
    return whole


def joined(automaton: Automaton, first: Piece, second: Piece) -> Piece:
    automaton.connect(first.ends, second.starts)
    return Piece(
        min(first.empty * second.empty, 2),
        first.starts + second.starts * first.empty,
        second.ends + first.ends * second.empty,
    )


def read(automaton: Automaton, item: Any) -> Piece:
    """A piece of one item of the parser's tree."""
    kind, value = item
    if kind in READING:
        place = automaton.place(characters(item, automaton.everything))
        return Piece(False, (place,), (place,))
    if kind is kinds.SUBPATTERN:
        return sequence(automaton, value[3])
    if kind is kinds.BRANCH:
        return either([sequence(automaton, branch) for branch in value[1]])
    if kind in LOOPS:
        return repeated(automaton, *value)
    if kind in (kinds.ASSERT, kinds.ASSERT_NOT):
        if any(loops(part) for part in value[1]):
            automaton.faults.append("it looks ahead or back without end")
        return NOTHING
    if kind is kinds.AT:
        return NOTHING  # there are fewer ways with it
    raise NotImplementedError(f"{kind} is not understood here")


def loops(item: Any) -> bool:
    """Whether something in an item is repeated without end, or more often than is unrolled."""
    kind, value = item
    if kind in LOOPS:
        return value[1] is kinds.MAXREPEAT or value[1] > UNROLLED or any(map(loops, value[2]))
    if kind is kinds.SUBPATTERN:
        return any(map(loops, value[3]))
    return kind is kinds.BRANCH and any(loops(part) for branch in value[1] for part in branch)


def either(pieces: Sequence[Piece]) -> Piece:
    return Piece(
        min(sum(piece.empty for piece in pieces), 2),
        tuple(place for piece in pieces for place in piece.starts),
        tuple(place for piece in pieces for place in piece.ends),
    )


def repeated(automaton: Automaton, least: int, most: Any, inner: Any) -> Piece:
    whole = NOTHING
    if most is not kinds.MAXREPEAT and most <= UNROLLED:
        for number in range(most):
            whole = joined(automaton, whole, optional(sequence(automaton, inner), number >= least))
        return whole
    for _ in range(min(least, UNROLLED) - 1):
        whole = joined(automaton, whole, sequence(automaton, inner))
    loop = sequence(automaton, inner)
    if loop.empty and most is not kinds.MAXREPEAT:
        automaton.faults.append(f"what may be nothing is there {most} times")
    automaton.connect(loop.ends, loop.starts)
    return joined(automaton, whole, optional(loop, least == 0))


def optional(piece: Piece, left_out: bool) -> Piece:
    return Piece(min(piece.empty + left_out, 2), piece.starts, piece.ends)


def characters(item: Any, everything: str) -> Iterator[str]:
    return (one for one in everything if reads(item, one))


CATEGORIES = {
    kinds.CATEGORY_DIGIT: str.isdecimal,
    kinds.CATEGORY_NOT_DIGIT: lambda one: not one.isdecimal(),
    kinds.CATEGORY_SPACE: str.isspace,
    kinds.CATEGORY_NOT_SPACE: lambda one: not one.isspace(),
    kinds.CATEGORY_WORD: lambda one: one.isalnum() or one == "_",
    kinds.CATEGORY_NOT_WORD: lambda one: not (one.isalnum() or one == "_"),
}


def reads(item: Any, one: str) -> bool:
    kind, value = item
    if kind is kinds.LITERAL:
        return ord(one) == value
    if kind is kinds.NOT_LITERAL:
        return ord(one) != value
    if kind is kinds.RANGE:
        return value[0] <= ord(one) <= value[1]
    if kind is kinds.CATEGORY:
        return CATEGORIES[value](one)
    if kind is kinds.ANY:
        return one != "\n"
    negated = value[0][0] is kinds.NEGATE
    return negated != any(reads(part, one) for part in value[negated:])


def reason(automaton: Automaton) -> str:
    """The first pair of loops that read the same, in words."""
    if automaton.faults:
        return automaton.faults[0]
    after: dict[int, set[int]] = {place: set() for place in range(len(automaton.sets))}
    for first, second in automaton.arrows:
        after[first].add(second)
    reached = {place: reachable(after, place) for place in after}
    looped = [place for place in after if place in reached[place]]
    for (first, second), count in automaton.arrows.items():
        if count > 1 and first in reached[second] and automaton.sets[first]:
            return f"a loop in a loop reads {example(automaton, second)}"
    for first in looped:
        for second in looped:
            apart = first != second and second in reached[first]
            if apart and (read := common(automaton, after, reached, first, second)):
                return f"two loops read {read}"
    return ""


def reachable(after: dict[int, set[int]], start: int) -> set[int]:
    found: set[int] = set()
    ahead = list(after[start])
    while ahead:
        if (place := ahead.pop()) not in found:
            found.add(place)
            ahead += after[place]
    return found


def example(automaton: Automaton, place: int) -> str:
    return repr(min(automaton.sets[place], key=lambda one: (not one.isalnum(), one)))


def common(
    automaton: Automaton,
    after: dict[int, set[int]],
    reached: dict[int, set[int]],
    first: int,
    second: int,
) -> str:
    """A text that leads from the first to itself and to the second, and from that to itself."""
    begin, end = (first, first, second), (first, second, second)
    seen, ahead = {begin}, [(begin, "")]
    while ahead:
        (one, way, other), text = ahead.pop(0)
        for step in steps(automaton, after, (one, way, other)):
            places, letter = step
            if places == end:
                return repr(text + letter)
            inside = first in reached[places[0]] and second in reached[places[2]]
            if inside and second in reached[places[1]] | {places[1]} and places not in seen:
                seen.add(places)
                ahead.append((places, text + letter))
    return ""


def steps(
    automaton: Automaton, after: dict[int, set[int]], places: tuple[int, int, int]
) -> Iterator[tuple[tuple[int, int, int], str]]:
    one, way, other = places
    for a in after[one]:
        for b in after[way]:
            both = automaton.sets[a] & automaton.sets[b]
            for c in after[other] if both else ():
                if shared := both & automaton.sets[c]:
                    yield (a, b, c), min(shared, key=lambda one: (not one.isalnum(), one))
