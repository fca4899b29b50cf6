"""A fixed set of hostile files, and whether what opens them would notice each kind of trouble."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

if sys.platform != "linux":
    pytest.skip("processes are forked and looked into as Linux has it", allow_module_level=True)
pytest.importorskip("onnx")

import torch
from conftest import HAS_HOST, ROOT
from pack.ip_models.errors import BrokenFile

if not HAS_HOST:
    pytest.skip("no ComfyUI", allow_module_level=True)

from fuzz.files import cases, child, fuzz, openers, verdict
from fuzz.files.bed import GOOD, Bed
from fuzz.files.cases import Case, Damage
from fuzz.files.child import Told
from fuzz.files.corpus import Sort, corpus
from fuzz.files.openers import Opened

SEED, COUNT, LIMIT = 18, 120, 240
STANDARD = GOOD[Sort.ADAPTER]
FINE = Told(1000, {"Load IP-Adapter": (0.1, "sentence", "It is so.")}, {}, [], 10**6, 0, 0)


@pytest.fixture
def bed(tmp_path: Path) -> Iterator[Bed]:
    import folder_paths

    kept = folder_paths.models_dir, folder_paths.folder_names_and_paths
    gc.freeze()  # else each case would look through all objects of the host, for a second
    yield Bed(tmp_path)
    folder_paths.models_dir, folder_paths.folder_names_and_paths = kept
    folder_paths.filename_list_cache.clear()


def opened(bed: Bed, case: Case) -> list[str]:
    """The troubles of a case that is opened here, in this process."""
    place, size = bed.lay(case)
    with torch.no_grad():
        return verdict.judged(child.open_case(bed, case.label, place, size))


def asked(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, as a user calls it."""
    command = [sys.executable, "-W", "ignore", str(ROOT / "tests" / "fuzz" / "run.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)


def test_nothing_comes_of_a_fixed_set(tmp_path: Path) -> None:
    numbers = "--seed", str(SEED), "--count", str(COUNT)
    done = asked("--only", "files", *numbers, "--into", str(tmp_path / "found"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{COUNT} fine" in done.stdout


@pytest.mark.parametrize("label", sorted(GOOD.values()))
def test_whole_models_are_opened_without_trouble(bed: Bed, label: str) -> None:
    opened(bed, Case(label, ()))  # what is imported or kept once
    assert opened(bed, Case(label, ())) == []


def test_every_whole_adapter_is_loaded(bed: Bed) -> None:
    """Else hostile ones were refused for what they had been before."""
    for label, whole in corpus().items():
        if whole.sort is not Sort.ADAPTER:
            continue
        place, size = bed.lay(Case(label, ()))
        with torch.no_grad():
            ends = child.open_case(bed, label, place, size).ends
        assert ends["IPAdapter Model Loader"][1:] == ("", ""), label


def test_cases_are_the_same_each_time_and_not_what_they_were_made_of() -> None:
    made = [cases.make(SEED, number) for number in range(40)]
    assert [one.files() for one in made] == [cases.make(SEED, n).files() for n in range(40)]
    changed = [one for one in made if one.files() != corpus()[one.label].files]
    assert len(changed) > 35
    assert len({one.sort for one in made}) >= 5


def with_opener(monkeypatch: pytest.MonkeyPatch, opener: Any) -> None:
    monkeypatch.setattr(child, "openers", lambda _sort: {"somebody": opener})


HOARD: list[Any] = []


class TestNotices:
    """Each kind of trouble, made by somebody who opens a file."""

    def found(self, bed: Bed, monkeypatch: pytest.MonkeyPatch, opener: Any) -> set[str]:
        with_opener(monkeypatch, opener)
        try:
            return {one.split(":")[0] for one in opened(bed, Case(STANDARD, ()))}
        finally:
            HOARD.clear()

    def test_nothing(self, bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.found(bed, monkeypatch, lambda _: Opened()) == set()

    def test_another_error(self, bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.found(bed, monkeypatch, lambda _: {}["no such key"]) == {"raw"}

    def test_memory(self, bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
        def hungry(_: str) -> Opened:
            torch.ones(100 * 2**20).sum()
            return Opened()

        # A machine short of memory takes pages of libraries away meanwhile, which hides it.
        assert {"memory"} in [self.found(bed, monkeypatch, hungry) for _ in range(3)]

    def test_time(self, bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(verdict, "_SECONDS", 0.1)

        def slow(_: str) -> Opened:
            end = time.process_time() + 0.5
            while time.process_time() < end:
                pass
            return Opened()

        assert self.found(bed, monkeypatch, slow) == {"slow"}

    def test_a_descriptor(self, bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
        def careless(_: str) -> Opened:
            HOARD.append(open(os.devnull, "rb"))  # noqa: SIM115 (it is left open)
            return Opened()

        assert self.found(bed, monkeypatch, careless) == {"descriptors"}

    def test_tensors_of_nobody(self, bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
        other = Opened([torch.arange(10.0)])
        assert self.found(bed, monkeypatch, lambda _: other) == {"wrong"}

    def test_half_a_tensor_of_another_place(
        self, bed: Bed, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        adapter = openers.openers(Sort.ADAPTER)["Load IP-Adapter"]

        def shifted(name: str) -> Opened:
            held = adapter(name).tensors
            return Opened([one.roll(1, 0) for one in held if one.ndim == 2])

        assert self.found(bed, monkeypatch, shifted) == {"wrong"}

    def test_what_is_lost(self, bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.found(bed, monkeypatch, lambda _: Opened(lost="good.bin")) == {"lost"}

    def test_long_sentences(self) -> None:
        said = FINE._replace(ends={"Load IP-Adapter": (0.1, "sentence", "It is so. " * 60)})
        assert verdict.judged(FINE) == []
        assert [one.split(":")[0] for one in verdict.judged(said)] == ["text"]

    def test_a_doctor_that_refuses(self) -> None:
        said = FINE._replace(ends={"Doctor": (0.1, "sentence", "It is so.")})
        assert [one.split(":")[0] for one in verdict.judged(said)] == ["refused"]


def test_who_hangs_or_dies_is_noticed_and_the_next_case_goes_on(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In processes of their own, which are forked from this one."""
    from fuzz.files import keeper

    def opener(name: str) -> Opened:
        if name == "hangs.bin":
            time.sleep(60)
        if name == "dies.bin":
            os._exit(3)
        raise BrokenFile("It is so", "it is needed", "Do it")

    for name in ("hangs.bin", "dies.bin", "fine.bin"):
        whole = corpus()[STANDARD]
        made = type(whole)(whole.sort, name, {name: b"x"})
        monkeypatch.setitem(corpus(), f"ipadapter/{name}", made)
    monkeypatch.setattr(keeper, "HANG", 3)
    monkeypatch.setattr(child, "_warm_up", lambda _bed: None)
    with_opener(monkeypatch, opener)
    with keeper.keeping(bed) as one:
        found = [
            verdict.troubles(one, Case(f"ipadapter/{name}.bin", ()))
            for name in ("hangs", "fine", "dies", "fine")
        ]
    assert [len(troubles) for troubles in found] == [1, 0, 1, 0], found
    assert "hangs" in found[0][0] and "ended" in found[2][0]


def test_what_goes_wrong_is_made_small_written_and_replayed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that were cut go wrong here: of all that is done to one, that alone is left."""
    done = (Damage("flipped", 0, 1), Damage("cut", 0, 5), Damage("longer", 0, 3))
    case = Case(STANDARD, done)
    monkeypatch.setattr(cases, "make", lambda _seed, _number: case)
    wrong = ["raw: somebody gave KeyError in here: 'x'"]
    monkeypatch.setattr(
        fuzz, "troubles", lambda _keeper, one: wrong if done[1] in one.damages else []
    )
    said: list[str] = []
    found = fuzz.run(1, 3, 60, tmp_path / "found", said.append)
    assert found == {"raw: KeyError in here": 3}
    first, second = sorted((tmp_path / "found").iterdir())
    told = json.loads(first.read_text("utf-8"))
    assert told["troubles"] == wrong and told["damages"] == [list(done[1])]
    again = cases.from_text(first.read_text("utf-8"))
    assert again.files() == Case(STANDARD, done[1:2]).files()
    assert cases.from_text(second.read_text("utf-8")).files() == case.files()


def test_a_replay_says_whether_it_still_goes_wrong(tmp_path: Path) -> None:
    path = tmp_path / "case.json"
    path.write_text(cases.as_text(Case(STANDARD, (Damage("cut", 0, 5),)), ["raw: it"]), "utf-8")
    done = asked("--replay", str(path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert STANDARD in done.stdout
