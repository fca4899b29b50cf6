"""An operation that is done again and again, each time with another of its parts failing."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit.faults import surroundings
from kit.faults.trips import Trip, Watch, spread
from pack.ip_models import limits
from pack.ip_models.errors import IPAdapterError

_PART = ".ipadapter-part"


@dataclass(frozen=True)
class Operation:
    """Something a node or the sampler does.

    Attributes:
        prepare: what it is given, made anew, so that it really has to be done.
        run: does it.
        value: what of its result is compared.
    """

    prepare: Callable[[], Any]
    run: Callable[[Any], Any]
    value: Callable[[Any], Any]


@dataclass(frozen=True)
class Bed:
    """Where operations are done, and what must not change by it.

    Attributes:
        root: the folder of all models.
        patchers: MODELs and encoders that are in use.
        picture: what has to be the same picture afterwards.
    """

    root: Path
    patchers: tuple[Any, ...]
    picture: Callable[[], Any]
    operations: dict[str, Operation]


@dataclass(frozen=True)
class Sort:
    """A sort of fault.

    Attributes:
        watch: counts its operations.
        make: the error of one.
        own: whether it has to arrive as it is; otherwise it has to be a sentence.
    """

    watch: Watch
    make: Callable[[str], BaseException]
    own: bool = True


@dataclass
class Report:
    """What came of it.

    Attributes:
        count: operations there are.
        tried: how many of them failed once.
        survived: after how many the result was right all the same.
        failures: what was not as it has to be.
    """

    count: int
    tried: int
    survived: int
    failures: list[str]


def try_all(bed: Bed, name: str, sort: Sort, most: int | None) -> Report:
    """Let the parts of an operation fail, each once."""
    trial = _Trial(bed, bed.operations[name], sort)
    count = trial.count()
    numbers = spread(count, most)
    for number in numbers:
        trial.attempt(number)
    return Report(count, len(numbers), trial.survived, trial.failures)


class _Trial:
    def __init__(self, bed: Bed, operation: Operation, sort: Sort) -> None:
        self._bed, self._operation, self._sort = bed, operation, sort
        given = operation.prepare()
        before = surroundings.files(bed.root)
        self._good = operation.value(operation.run(given))
        self._wanted = surroundings.bits(self._good)
        # What a good run writes is whole, whenever it is found.
        after = surroundings.files(bed.root)
        self._whole = [one for name, one in after.items() if before.get(name) != one]
        self._control = surroundings.bits(bed.picture())
        self._networks = {id(one.model): one.model for one in bed.patchers}
        self.survived, self.failures = 0, list[str]()

    def _value(self, result: Any) -> object:
        return surroundings.bits(self._operation.value(result))

    def count(self) -> int:
        given, trip = self._operation.prepare(), Trip(self._sort.make)
        with self._sort.watch(trip):
            result = self._operation.run(given)
        assert self._value(result) == self._wanted, "another result while it is watched"
        assert surroundings.bits(self._bed.picture()) == self._control
        return len(trip.names)

    def attempt(self, number: int) -> None:
        given = self._operation.prepare()
        before = self._state()
        trip = Trip(self._sort.make, number)
        outcome = self._outcome(trip, given)
        label = f"{number} ({trip.failed})"
        left = trip.failed.startswith("unlink:")  # what cannot be removed is there
        found = [*([outcome] if outcome else []), *self._changes(before, left)]
        del before
        found += self._again(given)
        self.failures += [f"{label}: {one}" for one in found]

    def _outcome(self, trip: Trip, given: Any) -> str:
        """What is wrong with what it ended with, "" for nothing."""
        try:
            with self._sort.watch(trip):
                result = self._operation.run(given)
        except BaseException as error:  # noqa: BLE001 - judged, and told with all others
            return self._judged(trip, error)
        # Where its memory is short the host computes attention in smaller parts, which rounds anew.
        if not surroundings.alike(self._operation.value(result), self._good):
            return "another result, in silence"
        self.survived += 1
        return ""

    def _judged(self, trip: Trip, error: BaseException) -> str:
        if self._sort.own:
            return "" if error is trip.error else f"{trip.error!r} became {error!r}"
        text = str(error)
        if not isinstance(error, IPAdapterError):
            return f"raw: {error!r}"
        return "" if len(text) <= limits.MESSAGE and text.isprintable() else f"no sentence: {text}"

    def _state(self) -> dict[str, Any]:
        return {
            "files": surroundings.files(self._bed.root),
            "handles": surroundings.handles(),
            "switches": surroundings.switches(),
            "models": [surroundings.model(one) for one in self._bed.patchers],
            "networks": [dict(surroundings.network(one)) for one in self._networks.values()],
        }

    def _changes(self, before: dict[str, Any], left: bool) -> Iterator[str]:
        now = self._state()
        for name, one in list(now["files"].items()):
            if one in self._whole or (left and name.endswith(_PART)):
                before["files"].pop(name, None)
                del now["files"][name]
        if before["handles"] != now["handles"]:
            gc.collect()
            now["handles"] = surroundings.handles()
        for part, then in before.items():
            yield from (f"{part} changed, {one}" for one in differences(then, now[part]))

    def _again(self, given: Any) -> Iterator[str]:
        """The same once more, as a user queues it again, and the control picture."""
        try:
            if self._value(self._operation.run(given)) != self._wanted:
                yield "another result when it was done again"
        except Exception as error:  # noqa: BLE001 - told with all others
            yield f"failed when it was done again: {error!r}"
        if surroundings.bits(self._bed.picture()) != self._control:
            yield "another control picture"


def differences(one: Any, other: Any, place: str = "") -> Iterator[str]:
    """Where two tables or lists differ."""
    if type(one) is type(other) and isinstance(one, dict):
        for key in {**one, **other}:
            yield from differences(one.get(key), other.get(key), f"{place}/{key}")
    elif type(one) is type(other) and isinstance(one, list) and len(one) == len(other):
        for number, pair in enumerate(zip(one, other, strict=True)):
            yield from differences(*pair, f"{place}/{number}")
    elif one != other:
        yield f"{place}: {str(one)[:200]} -> {str(other)[:200]}"
