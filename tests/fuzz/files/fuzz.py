"""Has hostile files opened, and writes down those that cost too much or end otherwise."""

from __future__ import annotations

import gc
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from . import cases
from .bed import Bed
from .cases import Case
from .keeper import Keeper, keeping
from .verdict import kind_of, troubles

Say = Callable[[str], None]
_EACH_KIND = 2  # cases of one kind of trouble that are written down


def run(seed: int, count: int, seconds: float, into: Path, say: Say) -> Counter[str]:
    """Open cases of a seed until there were so many, or so much time is gone.

    Args:
        into: folder for what went wrong; made when there is something.

    Returns:
        How many went wrong, by the kind of trouble; those that did not are "fine".
    """
    end = time.monotonic() + seconds
    found: Counter[str] = Counter()
    with _keeper() as keeper:
        for number in range(count):
            if time.monotonic() > end:
                break
            case = cases.make(seed, number)
            wrong = troubles(keeper, case)
            kinds = sorted({kind_of(one) for one in wrong}) or ["fine"]
            new = any(not found[kind] for kind in kinds if kind != "fine")
            few = any(found[kind] < _EACH_KIND for kind in kinds if kind != "fine")
            found.update(kinds)
            if few:
                _write_down(keeper, into / f"files-{seed}-{number}.json", case, wrong, say, new)
    return found


def replay(path: Path, say: Say) -> bool:
    """Open a case that was written down again; whether nothing is wrong with it any more."""
    case = cases.from_text(path.read_text("utf-8"))
    say(str(case))
    with _keeper() as keeper:
        wrong = troubles(keeper, case)
    for trouble in wrong:
        say(f"  {trouble}")
    return not wrong


@contextmanager
def _keeper() -> Iterator[Keeper]:
    cases.corpus()
    gc.freeze()  # so that a fork shares what is there
    with TemporaryDirectory() as folder, keeping(Bed(Path(folder))) as keeper:
        yield keeper


def _write_down(
    keeper: Keeper, path: Path, case: Case, wrong: list[str], say: Say, reducing: bool
) -> None:
    if reducing:
        case, wrong = _reduced(keeper, case, wrong)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(cases.as_text(case, wrong), encoding="utf-8")
    say(f"{path.name}: {case}")
    for trouble in wrong:
        say(f"  {trouble}")


def _reduced(keeper: Keeper, case: Case, wrong: list[str]) -> tuple[Case, list[str]]:
    """With as little done to the model as has the same trouble."""
    wanted = {kind_of(one) for one in wrong}
    number = 0
    while number < len(case.damages) and len(case.damages) > 1:
        fewer = case.without(number)
        now = troubles(keeper, fewer)
        if wanted & {kind_of(one) for one in now}:
            case, wrong = fewer, now
        else:
            number += 1
    return case, wrong
