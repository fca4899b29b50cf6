"""What may come of a hostile file and what may not."""

from __future__ import annotations

from .cases import Case
from .child import Told
from .keeper import Gone, Keeper

_MESSAGE = 500  # characters
_MEMORY = 64 * 2**20  # bytes beside twice the file
_SECONDS, _BYTES_A_SECOND = 1.5, 4 * 2**20  # of the processor, for each who opens a file
_ALWAYS = ("Doctor", "routes", "search")  # who never fail, whatever lies in the folders


def troubles(keeper: Keeper, case: Case) -> list[str]:
    """What is wrong with a case, each beginning with the kind of trouble; nothing for most."""
    try:
        told = keeper.ask(case)
    except Gone as error:
        return [f"gone: {error}"]
    return judged(told)


def judged(told: Told) -> list[str]:
    """What is wrong with what came of a case."""
    found = [f"lost: {who} did not find {what}" for who, what in told.lost.items()]
    found += [f"wrong: {who} gave tensors that are not in the file" for who in told.strangers]
    most = 2 * told.size + _MEMORY
    if told.memory > most:
        grown, allowed, size = (f"{n / 2**20:.1f} MB" for n in (told.memory, most, told.size))
        found.append(f"memory: {grown} more for a file of {size}, {allowed} are allowed")
    if told.descriptors > 0:
        found.append(f"descriptors: {told.descriptors} are left open")
    if told.threads > 0:
        found.append(f"threads: {told.threads} are left")
    for who, (seconds, kind, said) in told.ends.items():
        found += _of_end(who, kind, said)
        if seconds > _SECONDS + told.size / _BYTES_A_SECOND:
            found.append(f"slow: {who} took {seconds:.1f} s for {told.size / 2**20:.2f} MB")
    return found


def _of_end(who: str, kind: str, said: str) -> list[str]:
    if kind == "raw":
        return [f"raw: {who} gave {said}"]
    if kind == "sentence" and (len(said) > _MESSAGE or not said.isprintable()):
        return [f"text: {who} said {len(said)} characters: {said[:200]!r}"]
    if kind == "sentence" and who in _ALWAYS:
        return [f"refused: {who} said {said}"]
    return []


def kind_of(trouble: str) -> str:
    """Kind and cause, without numbers and names of files: the same for the same fault."""
    kind, _, rest = trouble.partition(": ")
    who, _, what = rest.partition(" gave ")
    if kind == "raw":
        return f"raw: {' '.join(what.split(':')[0].split()[:3])}"
    return f"{kind}: {who.split(' said ')[0].split(' took ')[0]}" if kind in _BY_WHO else kind


_BY_WHO = ("slow", "text", "refused", "lost", "wrong")
