"""Which conditionings of a run are cond and which uncond, and what is bound to them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from .....ip_models.attention.call import CondChunk
from .....ip_models.attention.keyvalue import COND, UNCOND
from .....ip_models.attention.masks import Crop
from ...protocols import Condition, CondLists, Guider

log = logging.getLogger("ipadapter")

BINDINGS = "ipadapter_bindings"
_NEGATIVE_WORDS = ("neg", "uncond", "empty", "null")
CondChunks = Mapping[tuple[int, object], CondChunk]


class _GuiderCond(NamedTuple):
    """A conditioning of the guider before the host has worked on it."""

    list_name: str
    cond_or_uncond: int
    bindings: frozenset[str]


class Conditions:
    """The conditionings of one sampling run.

    The host copies each conditioning with an area into the other lists, under its own uuid and with
    all its values, but with the text of one of theirs. So the text decides what it is, and the uuid
    only where the text is not one of the guider's.

    Args:
        guider: its `conds` are named lists: positive, middle, negative, empty_negative_prompt.
    """

    def __init__(self, guider: Guider | None) -> None:
        self._guider = guider
        self._by_id: dict[object, _GuiderCond] = {}
        self._by_text: dict[int, _GuiderCond] = {}
        for name, conditions in getattr(guider, "conds", {}).items():
            negative = any(word in name.lower() for word in _NEGATIVE_WORDS)
            for one in conditions or ():
                if "uuid" in one:
                    bindings = frozenset(one.get(BINDINGS, ()))
                    owner = _GuiderCond(name, UNCOND if negative else COND, bindings)
                    self._by_id[one["uuid"]] = owner

    def warn_of_lost(self, bindings: frozenset[str]) -> None:
        """Say it where a conditioning was bound to references that the MODEL does not carry."""
        bound = frozenset(mark for owner in self._by_id.values() for mark in owner.bindings)
        if bound - bindings:
            log.warning(
                "a conditioning of this run was bound to references that its MODEL does not carry "
                "and does not hear them; connect the MODEL of the same Bind IP-Adapter to "
                "Conditioning to the sampler, or bind the conditioning anew"
            )

    def cond_or_uncond(self, uuid: object, place: int) -> int:
        """Where nothing but the uuid is known, and without it the place in the list."""
        owner = self._by_id.get(uuid)
        return _by_place(place) if owner is None else owner.cond_or_uncond

    def chunks(self, lists: CondLists, size: tuple[int, ...]) -> CondChunks:
        """The chunk of each conditioning of a call, by its place and uuid.

        Args:
            size: height and width of the latent.
        """
        if not self._by_text:
            self._by_text = dict(self._texts())
        alone = sum(bool(conditions) for conditions in lists) == 1
        found: dict[tuple[int, object], CondChunk] = {}
        for place, conditions in enumerate(lists):
            otherwise = self._of_list(conditions or (), place, alone)
            for one in conditions or ():
                owner = self._by_text.get(_text(one)) or self._of(one, otherwise)
                crop = _crop(one.get("area"), size)
                found[place, one.get("uuid")] = CondChunk(
                    owner.cond_or_uncond, crop, owner.bindings
                )
        return found

    def _texts(self) -> list[tuple[int, _GuiderCond]]:
        """Texts of the guider's own conditionings, once the host has prepared them."""
        return [
            (_text(one), owner)
            for name, conditions in getattr(self._guider, "conds", {}).items()
            for one in conditions or ()
            if (owner := self._by_id.get(one.get("uuid"))) and owner.list_name == name
            if _text(one)
        ]

    def _of_list(self, conditions: Sequence[Condition], place: int, alone: bool) -> _GuiderCond:
        """The first of a list that is known; copies stand at its end.

        A list without such a one is taken by its place; where it runs all by itself beside a run
        that is known, it is a prompt to guide away from (perpendicular guidance).
        """
        for one in conditions:
            owner = self._by_id.get(one.get("uuid"))
            if owner is not None:
                return owner
        if alone and self._by_id:
            log.debug("a conditioning that is none of the run's is taken as uncond")
            return _GuiderCond("", UNCOND, frozenset())
        return _GuiderCond("", _by_place(place), frozenset())

    def _of(self, one: Condition, otherwise: _GuiderCond) -> _GuiderCond:
        owner = self._by_id.get(one.get("uuid"))
        if owner is not None and owner.list_name == otherwise.list_name:
            return owner
        if owner is None:
            return otherwise._replace(bindings=frozenset(one.get(BINDINGS, ())))
        return otherwise


def _by_place(place: int) -> int:
    """The order of the host's ordinary guider."""
    return COND if place == 0 else UNCOND


def _text(one: Condition) -> int:
    """What identifies a text during a run, 0 if there is none."""
    text = (one.get("model_conds") or {}).get("c_crossattn")
    return 0 if text is None else id(text)


def _crop(area: Sequence[float | str] | None, size: tuple[int, ...]) -> Crop | None:
    """The area of a conditioning in latent pixels; what lies outside is cut off by the masks."""
    if area is None or len(size) != 2 or len(area) != 4 or area[0] == "percentage":
        return None
    height, width, top, left = (int(number) for number in area)
    return Crop(top, left, height, width, *size)
