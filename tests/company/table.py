"""The table: one row for each node and order, with the worst of its ways."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from company.checkout import commit
from company.meeting import CRASH, REFUSED, RIGHT, SILENT, THEIRS, WRONG
from company.pilot import Pilot

HEAD = ("pack", "commit", "node", "order", "distance", "verdict")
LONG = 120  # letters of a cell in README
_OURS = (SILENT, WRONG, CRASH)
_WORST = (*_OURS, REFUSED, THEIRS, RIGHT)


@dataclass(frozen=True)
class Entry:
    """A node of a pack with the outcomes of its flight.

    Attributes:
        outcomes: as `meeting.Outcome`, or one that only says why there are none.
    """

    pilot: Pilot
    commit: str
    host: str
    outcomes: list[dict[str, Any]]

    @classmethod
    def of(
        cls, pilot: Pilot, packs: Path | None, host: str, outcomes: list[dict[str, Any]]
    ) -> Entry:
        """Whether the pack is there or not."""
        found = commit(packs / pilot.folder) if packs else ""
        return cls(pilot, found, host, outcomes)

    @property
    def ours(self) -> bool:
        """Whether something is not as it should be."""
        return any(outcome.get("verdict") in _OURS for outcome in self.outcomes)

    def rows(self) -> list[tuple[str, ...]]:
        """One for each order."""
        start = (self.pilot.folder or "behaviour", self.commit, self.pilot.node)
        if "verdict" not in self.outcomes[0]:
            return [(*start, "", "", self.outcomes[0]["words"])]
        orders = dict.fromkeys(outcome["order"] for outcome in self.outcomes)
        return [(*start, order, *self._summary(order)) for order in orders]

    def _summary(self, order: str) -> tuple[str, str]:
        mine = [outcome for outcome in self.outcomes if outcome["order"] == order]
        distances = [o["distance"] for o in mine if o["distance"] is not None]
        groups: dict[tuple[str, str], list[str]] = {}
        for outcome in sorted(mine, key=lambda o: _WORST.index(o["verdict"])):
            key = (outcome["verdict"], outcome["words"])
            groups.setdefault(key, []).append(outcome["way"])
        words = []
        for (verdict, text), ways in groups.items():
            which = f" ({'; '.join(ways)})" if len(groups) > 1 else ""
            words.append(f"{verdict}{which}" + (f": {text.rstrip('.')}" if text else ""))
        return f"{max(distances):.0e}" if distances else "", ". ".join(words)


def plain(entries: list[Entry]) -> str:
    """For the terminal."""
    rows = [HEAD, *(row for entry in entries for row in entry.rows())]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEAD) - 1)]
    lines = [
        "  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[-1]])
        for row in rows
    ]
    return "\n".join([f"ComfyUI {entries[0].host}" if entries else "no packs found", *lines])


def markdown(entries: list[Entry]) -> str:
    """For README: orders with the same verdict in one row, and only the beginning of long words."""
    rows = [HEAD, ("---",) * len(HEAD), *(row for entry in entries for row in _joined(entry))]
    return "".join("| " + " | ".join(_short(cell) for cell in row) + " |\n" for row in rows)


def _joined(entry: Entry) -> list[tuple[str, ...]]:
    rows = entry.rows()
    if len(rows) == 1 or rows[0][5] != rows[1][5]:
        return rows
    distance = max((row[4] for row in rows), key=lambda text: float(text or 0))
    return [(*rows[0][:3], "either order", distance, rows[0][5])]


def _short(cell: str) -> str:
    return (cell if len(cell) <= LONG else cell[: LONG - 3].rstrip() + "...").replace("|", "/")
