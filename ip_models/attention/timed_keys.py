"""Keys and values that depend on the noise level, as those of SD3.5's adapter do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from threading import Lock

from torch import Tensor

from ..errors import UnknownPlace
from .call import Call
from .keyvalue import KeyValues, KvScaling
from .shared import Shared

Make = Callable[[Sequence[float]], list[KeyValues]]
_Finish = Callable[[KeyValues], KeyValues]
Renew = Callable[[object], "TimedKeys | None"]
_DIGITS = 6  # of a noise level, which samplers work out anew for each step
_MOST_BYTES = 2 * 2**30  # of main memory for all levels together


class TimedKeys(Shared):
    """Keys and values of each noise level, made for a whole run at once or when they are asked for.

    They stay in main memory until the run is over; those of the present level are on the device.

    Args:
        make: what makes them for several levels (sigma), reading the adapter's weights once.
        references: number of references that can be attended to one by one.
        tokens: of all of them.
        own_keys: see `KeySource.own_keys`.
        level_bytes: of the keys and values of one level.
        finish: what is done with those of each level.
        renew: makes them anew for other norms of the model; None where they are the same.
    """

    timed = True

    def __init__(
        self,
        make: Make,
        references: int,
        tokens: int,
        own_keys: tuple[Tensor, ...],
        level_bytes: int,
        finish: tuple[_Finish, ...] = (),
        renew: Renew | None = None,
    ) -> None:
        self.references, self.tokens, self.own_keys = references, tokens, own_keys
        self._make, self._level_bytes, self._finish = make, level_bytes, finish
        self._renew = renew
        self._levels: dict[float, KeyValues] = {}
        self._schedule: list[float] = []
        # What was rounded: a noise level is multiplied by 1000, and so would be what it lacks.
        self._exact: dict[float, float] = {}
        self._present: float | None = None
        self._most_bytes = 0
        self._lock = Lock()

    def models(self) -> list[object]:
        """None: weights are brought layer by layer while levels are made; see `KeySource`."""
        return []

    def apart(self, pictures: Sequence[int]) -> TimedKeys:
        """See `KeyValues.apart`."""
        count = len(set(pictures))
        return self._then(lambda keys: keys.apart(pictures), count, self.tokens // count)

    def weighted(
        self,
        factors: Sequence[float],
        scaling: KvScaling,
        changing: bool = False,
        tokens_each: int = 0,
    ) -> TimedKeys:
        """See `KeyValues.weighted`."""
        finish = partial(
            KeyValues.weighted,
            factors=factors,
            scaling=scaling,
            changing=changing,
            tokens_each=tokens_each,
        )
        return self._then(finish, self.references, self.tokens)

    def _then(self, finish: _Finish, references: int, tokens: int) -> TimedKeys:
        steps, own, size = (*self._finish, finish), self.own_keys, self._level_bytes
        return TimedKeys(self._make, references, tokens, own, size, steps, self._renew)

    def on(self, norms: object) -> TimedKeys:
        """The same for a model with other norms than the one they were made for.

        Args:
            norms: as the backbone of the model gives them.
        """
        made = None if self._renew is None else self._renew(norms)
        if made is None:
            return self
        made.references, made.tokens, made._finish = self.references, self.tokens, self._finish
        return made

    def prepare(self, levels: Sequence[float]) -> None:
        """Make those of a schedule together, as far as there is room for them."""
        with self._lock:
            self._exact = {_rounded(level): float(level) for level in levels if level > 0}
            self._schedule = list(self._exact)
            if self._schedule:
                self._fill(self._schedule[0])

    def at(self, call: Call) -> KeyValues:
        """Those of the level of a call, made now if its sampler goes beyond its schedule.

        Raises:
            UnknownPlace: the call does not tell its level.
        """
        if call.sigma is None:
            raise UnknownPlace(
                "another node calls the model without a noise level (sigmas)",
                "an adapter of SD3.5 has other keys at each level",
                "Take out that node, or the references",
            )
        level = _rounded(call.sigma)
        with self._lock:
            if level not in self._levels:
                self._exact.setdefault(level, call.sigma)
                self._fill(level)
            keys, before = self._levels[level], self._present
            if before is not None and before != level and before in self._levels:
                self._levels[before].release()
            self._present = level
            keys.allow(self._most_bytes or keys.nbytes)
            return keys

    def _fill(self, level: float) -> None:
        """Make a level and those after it in the schedule, as far as there is room.

        Where there is none, those that are past make way, and the furthest ones after them.
        """
        schedule = self._schedule
        later = schedule[schedule.index(level) :] if level in schedule else [level]
        missing = [one for one in later if one not in self._levels]
        most = max(1, _MOST_BYTES // self._level_bytes)
        if len(self._levels) + len(missing) > most:
            self._levels = {one: keys for one, keys in self._levels.items() if one <= level}
            while len(self._levels) >= most:
                del self._levels[min(self._levels)]
            missing = missing[: most - len(self._levels)]
        self._made(missing)

    def _made(self, levels: Sequence[float]) -> None:
        made = self._make([self._exact[level] for level in levels])
        for finish in self._finish:
            made = [finish(keys) for keys in made]
        self._levels |= dict(zip(levels, made, strict=True))

    def allow(self, most_bytes: int) -> None:
        """What may be held on a device while a run goes on."""
        self._most_bytes = most_bytes

    def release(self) -> None:
        """Drop all levels."""
        with self._lock:
            for keys in self._levels.values():
                keys.release()
            self._levels.clear()
            self._exact.clear()
            self._schedule, self._present = [], None


def _rounded(level: float) -> float:
    return round(float(level), _DIGITS)
