"""The references of a job: each is encoded once, for however many rows and starts."""

from __future__ import annotations

import contextlib
import json
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .keeper import EMBEDS, whole_lines, write_whole, writing
from .rows import Plan, Shelf
from .work import Cut, Made, digest

DIGESTS = "embeds.jsonl"


class Embeds:
    """Encoded references in the folder of a job, which are theirs only as they were written.

    Args:
        folder: of the job, which is a `Keeper`'s.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._digests: dict[str, str] = {}
        with writing(folder), (folder / DIGESTS).open("a+b") as file:
            for _, record in whole_lines(file):
                with contextlib.suppress(KeyError, TypeError):
                    self._digests[record["key"]] = record["digest"]

    def _path(self, key: str) -> Path:
        return self._folder / EMBEDS / f"{key}.safetensors"

    def read(self, key: str) -> bytes:
        """What a reference was encoded to.

        Raises:
            LookupError: it is not there as it was written.
        """
        wanted = self._digests[key]
        try:
            content = self._path(key).read_bytes()
        except OSError as error:
            raise LookupError(key) from error
        if digest(content) != wanted:
            raise LookupError(key)
        return content

    def keep(self, key: str, content: bytes) -> None:
        """Write an encoded reference, then that it is there.

        Raises:
            FarmError: the folder cannot be written any more.
        """
        line = json.dumps({"key": key, "digest": digest(content)})
        with writing(self._folder):
            write_whole(self._path(key), content)
            with (self._folder / DIGESTS).open("ab") as file:
                file.write(line.encode() + b"\n")
        self._digests[key] = digest(content)


class References:
    """The references of a job: encoded when the first row needs them, once, and kept.

    Args:
        put: as for `Shelf`.

    Attributes:
        asked: are to be encoded.
        parked: rows that wait, by the key of what they wait for.
        rows: how many these are.
    """

    def __init__(self, embeds: Embeds, put: Callable[[bytes], Any]) -> None:
        self._embeds = embeds
        self._shelf = Shelf(put)
        self._problems: dict[str, Made] = {}
        self.asked = deque[Cut]()
        self.parked: dict[str, list[Plan]] = {}
        self.rows = 0

    def problem(self, plan: Plan) -> Made | None:
        """Why a row can never have its references; None where it can."""
        found = (self._problems[cut.key] for cut in plan.cuts if cut.key in self._problems)
        return next(found, None)

    def contents(self, plan: Plan) -> list[Any] | None:
        """What `put` made of a row's embeds; None where it has to wait, and they are asked for."""
        found = [self._content(cut) for cut in plan.cuts]
        missing = [cut for cut, content in zip(plan.cuts, found, strict=True) if content is None]
        for cut in missing:
            if cut.key not in self.parked:
                self.parked[cut.key] = []
                self.asked.append(cut)
        if missing:
            self.parked[missing[0].key].append(plan)
            self.rows += 1
            return None
        return found

    def _content(self, cut: Cut) -> Any:
        try:
            return self._shelf.get(cut.embeds, lambda: self._embeds.read(cut.key))
        except LookupError:
            return None

    def keep(self, cut: Cut, content: bytes) -> list[Plan]:
        """Keep what a reference is encoded to; the rows that waited for it."""
        self._embeds.keep(cut.key, content)
        self._shelf.get(cut.embeds, lambda: content)
        return self._release(cut)

    def refuse(self, cut: Cut, why: Made) -> list[Plan]:
        """Note that a reference cannot be encoded; the rows that waited for it."""
        self._problems[cut.key] = why
        return self._release(cut)

    def _release(self, cut: Cut) -> list[Plan]:
        rows = self.parked.pop(cut.key)
        self.rows -= len(rows)
        return rows
