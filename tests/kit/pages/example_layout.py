"""Where the nodes, groups and links of an example go: two rows of groups, the first beside a note.

Read from left to right: the first row gives the reference to the model, the second makes the
picture. A link to the next column is left to the editor. Any other goes through the gutter beside
its node and the corridor between the rows, each output in a lane of its own, so that no link passes
behind a node. The corners are the editor's own reroutes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from kit.pages.example_graphs import RESULT_KIND, Node, Out, Sketch

WIDTHS = {
    "LoadImage": 225,
    "LoadImageMask": 225,
    "LoadVideo": 240,
    "InvertMask": 225,
    "ImageBatch": 225,
    "IPAPrepareImage": 225,
    "ImageScale": 230,
    "EmptyLatentImage": 230,
    "EmptySD3LatentImage": 230,
    "VAEDecode": 230,
    "VAEEncode": 230,
    "CLIPTextEncode": 280,
    RESULT_KIND: 230,
    "IPABlockWeights": 300,
    "IPASchedule": 300,
}
WIDTH = 250
TITLE, GAP = 34, 26
BORDER, GROUP_TITLE = 18, 48
NEXT_GROUP, NEXT_COLUMN = 24, 44
NOTE_GAP = 28
# Of the editor: where slots are, and how far its curves swing out for each pixel of their length.
FIRST_SLOT, SLOT, SWING, MARGIN = 14, 20, 0.25, 16
LANE, BEFORE_LANES, AFTER_LANES, ABOVE_LANES = 10, 24, 34, 20
COLOURS = ("#5b9bd5", "#7fb77e", "#d0a13f", "#cf7f4a", "#c46bbd", "#9a9a9a")

Point = tuple[float, float]


def width_of(node: Node) -> int:
    return node.size[0] if node.size else WIDTHS.get(node.kind, WIDTH)


class Wire(NamedTuple):
    source: Out
    target: int
    slot: int


@dataclass
class Column:
    """Nodes one under another; `left` and `right` are theirs.

    Attributes:
        lanes: outputs that go down or up in the gutter before this column, from left to right.
    """

    group: str
    nodes: list[int]
    width: int
    left: float = 0.0
    first_in_group: bool = False
    lanes: list[Out] = field(default_factory=list)

    @property
    def right(self) -> float:
        return self.left + self.width


@dataclass
class Layout:
    """Places of nodes, boxes of groups, and the corners of links by wire."""

    places: list[dict[str, Any]]
    groups: list[dict[str, Any]]
    corners: list[dict[str, Any]]
    size: Point


class Arrangement:
    """One example being laid out; `heights` are what the editor says that each node needs."""

    def __init__(self, sketch: Sketch, heights: list[float], wires: list[Wire]) -> None:
        self.sketch, self.heights, self.wires = sketch, heights, wires
        self.rows = [list(self._columns(row)) for row in sketch.rows()]
        self.column_of = {i: (r, c) for r, c in self._each() for i in self.rows[r][c].nodes}
        self.corridor: list[Out] = []
        self.tops: dict[int, float] = {}

    def _each(self) -> Iterator[tuple[int, int]]:
        for r, row in enumerate(self.rows):
            for c in range(len(row)):
                yield r, c

    def _columns(self, row: list[tuple[str, list[list[int]]]]) -> Iterator[Column]:
        for group, columns in row:
            for number, nodes in enumerate(columns):
                width = max(width_of(self.sketch.nodes[i]) for i in nodes)
                yield Column(group, nodes, width, first_in_group=number == 0)

    def place(self, note: Point) -> Layout:
        """Beside and below a note of this size, whose title begins at 0, 0."""
        self._take_lanes()
        lefts = (note[0] + NOTE_GAP, 0.0)
        right = max(self._place_row(*each) for each in zip(self.rows, lefts, strict=True))
        places: list[dict[str, Any]] = [{} for _ in self.sketch.nodes]
        first = self._place_nodes(self.rows[0], 0.0, places)
        self.lanes_from = max(first, note[1]) + ABOVE_LANES
        top = self.lanes_from + LANE * len(self.corridor) + ABOVE_LANES
        bottoms = [first, self._place_nodes(self.rows[1], top, places)]
        groups = list(self._boxes(bottoms))
        corners = [
            {
                "source": list(wire.source),
                "target": wire.target,
                "slot": wire.slot,
                "points": points,
            }
            for wire in self.wires
            if (points := self._corners(wire, places))
        ]
        return Layout(places, groups, corners, (right, bottoms[-1]))

    def _take_lanes(self) -> None:
        for wire in self.wires:
            if self._is_short(wire):
                continue
            (r1, c1), (r2, c2) = self.column_of[wire.source.node], self.column_of[wire.target]
            _take(self.corridor, wire.source)
            if c1 + 1 < len(self.rows[r1]):
                _take(self.rows[r1][c1 + 1].lanes, wire.source)
            _take(self.rows[r2][c2].lanes, wire.source)

    def _is_short(self, wire: Wire) -> bool:
        """From column to column, or from a node to the one under it."""
        one, other = self.column_of[wire.source.node], self.column_of[wire.target]
        if one == other:
            nodes = self.rows[one[0]][one[1]].nodes
            return nodes.index(wire.target) == nodes.index(wire.source.node) + 1
        return one == (other[0], other[1] - 1)

    def _place_row(self, row: list[Column], left: float) -> float:
        for number, column in enumerate(row):
            if number:
                least = 2 * BORDER + NEXT_GROUP if column.first_in_group else NEXT_COLUMN
            else:
                least = BORDER
            lanes = BEFORE_LANES + LANE * len(column.lanes) + AFTER_LANES if column.lanes else 0
            left += max(least, lanes)
            column.left = left
            left = column.right
        return left + BORDER

    def _place_nodes(self, row: list[Column], top: float, places: list[dict[str, Any]]) -> float:
        bottom = top
        for column in row:
            y = top + GROUP_TITLE + TITLE
            for i in column.nodes:
                height = self.heights[i]
                places[i] = {"pos": [column.left, y], "size": [column.width, height]}
                y += height + GAP + TITLE
            bottom = max(bottom, y - GAP - TITLE + BORDER)
            self.tops[id(column)] = top
        return bottom

    def _boxes(self, bottoms: list[float]) -> Iterator[dict[str, Any]]:
        number = 0
        for row, bottom in zip(self.rows, bottoms, strict=True):
            for group in dict.fromkeys(column.group for column in row):
                columns = [column for column in row if column.group == group]
                left, top = columns[0].left - BORDER, self.tops[id(columns[0])]
                size = [columns[-1].right + BORDER - left, bottom - top]
                title, colour = f"{number + 1}. {group}", COLOURS[number % len(COLOURS)]
                yield {"title": title, "box": [left, top, *size], "colour": colour}
                number += 1

    def _corners(self, wire: Wire, places: list[dict[str, Any]]) -> list[Point]:
        if self._is_short(wire):
            return []
        source, target = wire.source, wire.target
        (r1, c1), (r2, c2) = self.column_of[source.node], self.column_of[target]
        y = self.lanes_from + LANE * (self.corridor.index(source) + 0.5)
        out, into = self._beside(r1, c1 + 1, source), self._beside(r2, c2, source)
        corners = [(out, y), (into, y)]
        first, last = _slot(places[source.node], source.slot), _slot(places[target], wire.slot)
        # A curve swings out of a gutter that is narrow for its length; a corner more holds it.
        if c1 + 1 < len(self.rows[r1]) and _swing(first, y) > self._room(r1, c1 + 1):
            corners.insert(0, (out, first))
        if c2 and _swing(last, y) > self._room(r2, c2):
            corners.append((into, last))
        return corners

    def _room(self, row: int, column: int) -> float:
        """Of the gutter before a column, less a margin."""
        columns = self.rows[row]
        return columns[column].left - columns[column - 1].right - MARGIN

    def _beside(self, row: int, number: int, source: Out) -> float:
        """The lane of an output in the gutter before a column, or after the last."""
        columns = self.rows[row]
        if number == len(columns):
            return columns[-1].right + BORDER + BEFORE_LANES
        column = columns[number]
        end = column.left - AFTER_LANES
        return end - LANE * (len(column.lanes) - 1 - column.lanes.index(source))


def _slot(place: dict[str, Any], slot: int) -> float:
    return place["pos"][1] + FIRST_SLOT + SLOT * slot


def _swing(one: float, other: float) -> float:
    """How far to the side a link goes on its way up or down."""
    return SWING * abs(one - other)


def _take(lanes: list[Out], source: Out) -> None:
    if source not in lanes:
        lanes.append(source)
