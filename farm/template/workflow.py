"""A workflow whose inputs the columns of a table fill, and what of it is encoded once for a job."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from ..work import Cut, FarmError, Filled
from .cuts import Cutter
from .graph import Nodes, checked
from .marks import SEEDS, Place, places

LOADERS = ("LoadImage", "LoadImageMask")
# Pictures go where the host keeps what nobody needs later, and empties when it starts.
UPLOADED = "{} [temp]"
# What the host would round without a word.
WHOLE = (*SEEDS, "steps", "width", "height", "batch_size", "start_at_step", "end_at_step")
MOST_DIGITS = 300
# Between units and tenths, as most of Europe writes it; 1,000 may also be a thousand.
COMMA = re.compile(r"[-+]?(?:0,\d+|\d+,(?:\d\d?|\d{4,}))", re.ASCII)
NAME = "filename_prefix"
TRUE, FALSE = ("true", "yes", "1"), ("false", "no", "0")


class Template:
    """A workflow in the format of ComfyUI's API, and what the columns of a table fill in it.

    Args:
        graph: as "Export (API)" saves it.
        columns: for each column what it fills: `ID.INPUT`, `TITLE.INPUT`, or a name such as
            prompt, see `marks.places`.

    Attributes:
        files: columns whose cells are paths of pictures.
        kinds: classes of the nodes.
        notes: what fills what, and which references are not encoded once for the job.

    Raises:
        FarmError: the workflow is none, or a column fills nothing of it, or several things.
    """

    def __init__(self, graph: Any, columns: Mapping[str, str]) -> None:
        self._graph = checked(graph)
        self.kinds = frozenset(node["class_type"] for node in self._graph.values())
        self._places = {name: places(self._graph, mark) for name, mark in columns.items()}
        self._require_one_column_a_place()
        self._require_own_names()
        self.files = frozenset(
            name for name, found in self._places.items() if any(map(self._is_file, found))
        )
        self._cutter = Cutter(self._graph)
        self.notes = tuple(self._said())

    def fill(self, row: Mapping[str, Any], names: Mapping[str, str]) -> Filled:
        """The graph of a row; see `work.Filler`."""
        graph = {key: {**node, "inputs": {**node["inputs"]}} for key, node in self._graph.items()}
        for column, found in self._places.items():
            cell = row.get(column)
            if cell is None or not str(cell).strip():
                continue
            for place in found:
                inputs = graph[place.node]["inputs"]
                if column in self.files and self._is_file(place):
                    inputs[place.input] = UPLOADED.format(names[column])
                else:
                    inputs[place.input] = fitted(column, cell, inputs[place.input], place.input)
        given = {UPLOADED.format(name): name for name in names.values()}
        rest, parts = self._cutter.cut(graph)
        cuts = (Cut(one.key, one.graph, _used(one.graph, given), one.embeds) for one in parts)
        return Filled(rest, _used(rest, given), tuple(cuts))

    def _is_file(self, place: Place) -> bool:
        return self._graph[place.node]["class_type"] in LOADERS and place.input == "image"

    def _require_one_column_a_place(self) -> None:
        filled: dict[Place, str] = {}
        for column, found in self._places.items():
            for place in found:
                if place in filled:
                    raise FarmError(
                        f"the columns {filled[place]} and {column} both fill {place.node}."
                        f"{place.input}, which takes one value. Leave one out, or say with "
                        f"--column {column}=NODE.INPUT what it is to fill"
                    )
                filled[place] = column

    def _require_own_names(self) -> None:
        for column, found in self._places.items():
            if any(place.input == NAME for place in found):
                raise FarmError(
                    f"the column {column} fills {NAME}, and the farm gives pictures names of its "
                    f"own. Leave it out with --column {column}=; results.parquet has it beside the "
                    "name of each picture"
                )

    def _said(self) -> list[str]:
        said = [
            f"{column} fills {', '.join(map(self._shown, found))}"
            for column, found in self._places.items()
        ]
        lines = [f"{'; '.join(said)}."] if said else []
        inside = self._cutter.encode_inside()
        if inside:
            each = "encodes its" if len(inside) == 1 else "each encode their"
            lines.append(
                f"{', '.join(inside)} {each} references inside, so each worker encodes each of "
                "them once; with Encode Image and Apply it would be once for the whole job."
            )
        return lines

    def _shown(self, place: Place) -> str:
        title = str(self._graph[place.node].get("_meta", {}).get("title") or "")
        return f"{title or place.node}.{place.input}"


def fitted(column: str, cell: Any, before: Any, name: str) -> Any:
    """A cell as the kind of value that the workflow has there.

    Args:
        name: of the input.

    Raises:
        FarmError: it is none.
    """
    text = str(cell).strip()
    if isinstance(before, bool):
        if text.lower() in TRUE + FALSE:
            return text.lower() in TRUE
        raise _unfit(column, cell, "true or false")
    if isinstance(before, int):
        number = _whole(text)
        if number is None and name in WHOLE:
            raise _unfit(column, cell, "a whole number")
        # A scale of 1 in the workflow is not a whole number for that.
        return number if number is not None else _number(column, cell, text)
    if isinstance(before, float):
        return _number(column, cell, text)
    return str(cell)


def _whole(text: str) -> int | None:
    """Of "7", and of "7.0", which tables make of it where a cell of the column is empty."""
    try:
        number = Decimal("" if "_" in text else text)  # Python takes 1_0 for ten
    except InvalidOperation:
        return None
    if not number.is_finite() or number.adjusted() > MOST_DIGITS:
        return None
    return int(number) if number == int(number) else None


def _number(column: str, cell: Any, text: str) -> float:
    try:
        number = float(text.replace(",", ".") if COMMA.fullmatch(text) else text)
        number = math.nan if "_" in text else number
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise _unfit(column, cell, "a number")
    return number


def _unfit(column: str, cell: Any, needed: str) -> FarmError:
    shown = json.dumps(str(cell)[:60], ensure_ascii=False)
    return FarmError(f"{column} is {shown}, and {needed} is needed. Correct the cell")


def _used(graph: Nodes, given: Mapping[str, str]) -> tuple[str, ...]:
    """Names of the files that a graph reads."""
    values = (value for node in graph.values() for value in node["inputs"].values())
    found = (given.get(value) for value in values if isinstance(value, str))
    return tuple(dict.fromkeys(name for name in found if name))
