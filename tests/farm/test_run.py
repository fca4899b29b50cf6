"""A job on Ray with makers that go wrong as their rows say: what is kept, what is done again."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet

ROOT = Path(__file__).resolve().parents[2]
ODD = """prompt,seed,fails,once,reference
fine,1,,,one.png
fine too,2,,,two.png
fails,3,no such thing,,one.png
kills its worker once,5,,flag,two.png
silent server,6,lost,,two.png
kills each worker,9,killed,,one.png
fine,1,,,one.png
file is gone,7,,,none.png
no picture,8,,,three.png
wrong base,8,,,four.png
"""


class Job:
    """A table, a folder for its results, and what the makers noted."""

    def __init__(self, folder: Path, table: str, name: str = "table.csv") -> None:
        self.folder, self.out, self.noted = folder, folder / "out", folder / "notes"
        self.table = folder / name
        self.noted.mkdir()
        contents = {"one": "1", "two": "2", "three": "no picture", "four": "of another base"}
        for name, content in contents.items():
            (folder / f"{name}.png").write_text(content)
        self.table.write_text(table)

    def start(self, *options: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.farm.drive", str(self.table)]
        return subprocess.Popen(
            [*command, str(self.out), *options],
            cwd=ROOT,
            env={**os.environ, "ODD_NOTES": str(self.noted)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *options: str) -> dict[str, Any]:
        """The counts of a run that comes to its end."""
        return ended(self.start(*options))

    def notes(self, name: str) -> list[str]:
        path = self.noted / name
        return path.read_text().splitlines() if path.exists() else []

    def results(self) -> Sequence[dict[str, Any]]:
        return parquet.read_table(self.out / "results.parquet").to_pylist()

    def records(self) -> int:
        path = self.out / "rows.jsonl"
        return path.read_bytes().count(b"\n") if path.exists() else 0

    def wait(self, more: int, process: subprocess.Popen[str]) -> None:
        """Until the head has kept so many more rows."""
        wanted, end = self.records() + more, time.monotonic() + 60
        while self.records() < wanted:
            assert process.poll() is None and time.monotonic() < end, process.communicate()
            time.sleep(0.05)


def ended(process: subprocess.Popen[str]) -> dict[str, Any]:
    out, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    # Ray may have its say before and after.
    return json.loads(next(line for line in out.splitlines() if line.startswith('{"made"')))


def test_rows_that_go_wrong_stop_no_others(tmp_path: Path) -> None:
    job = Job(tmp_path, ODD)
    counts = job.run("--tries", "2")
    one, two, fails, once, silent, killer, same, gone, wrong, other = results = job.results()
    assert [row["row"] for row in results] == list(range(1, 11))
    for row in (one, two, once, same):
        assert row["message"] == row["problem"] == "" and row["worker"].startswith("odd:")
        (name,) = row["file"]
        content = (job.out / name).read_bytes()
        assert content.endswith(b"embeds of " + (b"2" if row in (two, once) else b"1"))
    assert same["file"] == one["file"] and two["file"] != once["file"]
    assert (fails["problem"], fails["message"]) == ("stub.Failed", "no such thing")
    assert (silent["problem"], killer["problem"]) == ("farm.Lost", "farm.Lost")
    assert "it lost 2 workers" in silent["message"]
    assert "the server does not answer" in silent["message"]
    assert "its process died" in killer["message"]
    assert gone["problem"] == "farm.Reference" and "none.png does not exist" in gone["message"]
    assert (wrong["problem"], "no picture" in wrong["message"]) == ("farm.Reference", True)
    # The pack's own name, and the file as the table has it.
    assert other["problem"] == "ipadapter.WrongBase"
    assert other["message"] == f"{tmp_path / 'four.png'} does not fit"
    assert not any(row["file"] for row in (fails, silent, killer, gone, wrong, other))
    assert counts["made"] + counts["found"] == 4 and counts["failed"] == 6
    # A reference is encoded once for all its rows.
    assert counts["encoded"] == 2 and sorted(Counter(job.notes("encoded")).values()) == [1, 1, 1, 1]


def test_embeds_that_are_not_as_they_were_written_are_encoded_again(tmp_path: Path) -> None:
    contents = {f"{name}.png": f"reference {name}" for name in "abcd"}
    for name, content in contents.items():
        (tmp_path / name).write_text(content)
    rows = [f"{seed},{name}\n" for seed, name in enumerate(contents)]
    job = Job(tmp_path, "seed,reference\n" + "".join(rows))
    assert job.run()["encoded"] == 4
    kept = {path.read_text(): path for path in (job.out / "embeds").iterdir()}
    whole, short, empty, other = (kept[f"embeds of {content}"] for content in contents.values())
    short.write_text(short.read_text()[:-4])
    empty.write_text("")
    other.write_text("Embeds of reference d")
    for path in (job.out / "pictures").glob("*/*"):
        path.unlink()
    counts = job.run()
    assert (counts["encoded"], counts["made"], counts["failed"]) == (3, 4, 0)
    for row, content in zip(job.results(), contents.values(), strict=True):
        (name,) = row["file"]
        assert (job.out / name).read_bytes().endswith(f"embeds of {content}".encode())
    assert whole.read_text() == "embeds of reference a"


def test_a_worker_that_does_not_answer_is_named_in_a_short_run(tmp_path: Path) -> None:
    job = Job(tmp_path, "seed,reference\n0,one.png\n1,one.png\n")
    head = job.start("--absent", "1")
    out, said = head.communicate(timeout=120)
    assert head.returncode == 0 and '"made": 2' in out
    assert "Worker 2 waits: odd:1 does not answer (Connection refused).\n" in said
    last = "Worker 2 was missing in the end: odd:1 does not answer (Connection refused).\n"
    assert last in said and said.count("odd:") == 2


def test_patience_ends_with_the_names_of_who_did_not_answer(tmp_path: Path) -> None:
    job = Job(tmp_path, "seed\n0\n")
    head = job.start("--absent", "0", "1", "--patience", "1")
    _, said = head.communicate(timeout=120)
    assert head.returncode == 2
    last = said.splitlines()[-1]
    # Who is asked for so short a time may not have had his word.
    what = r"(does not answer \(Connection refused\)|has not answered yet)"
    begin = rf"none of --servers answered for 1 seconds \(odd:. {what}; odd:. {what}\), and one is"
    assert re.match(begin, last) and "Start ComfyUI there, or correct the addresses" in last


def test_a_row_that_cannot_be_read_stops_no_others(tmp_path: Path) -> None:
    cells = ['"seed": 1', r'"seed": 2, "once": "\ud800"', '"seed": [3]', '"seed": 4, "seed": 5']
    lines = [*(f"{{{row}}}" for row in cells), "{", '{"seed": 6}']
    job = Job(tmp_path, "\n".join(lines), "table.jsonl")
    counts = job.run()
    good, half, listed, twice, cut, last = job.results()
    for row in (good, last):
        assert row["file"] and not row["message"]
    for row, what in {
        "row 2 has in the column once half a character": half,
        "row 3 has in the column seed a list": listed,
        "line 4 has two values of the name 'seed'": twice,
        "line 5 is no JSON": cut,
    }.items():
        assert what["problem"] == "farm.Row" and what["message"].startswith(row)
    assert counts["made"] == 2 and counts["failed"] == 4


def test_a_head_that_is_killed_or_stopped_goes_on_where_it_was(tmp_path: Path) -> None:
    rows = ["0,0.15,three.png\n", *(f"{seed},0.15,one.png\n" for seed in range(1, 60))]
    job = Job(tmp_path, "seed,seconds,reference\n" + "".join(rows))
    head = job.start()
    job.wait(10, head)
    head.kill()
    head.wait()
    workers = {int(pid) for pid in job.notes("pids")}
    end = time.monotonic() + 20
    while alive := {pid for pid in workers if is_alive(pid)}:
        assert time.monotonic() < end, f"{alive} outlived their head"
        time.sleep(0.1)
    with (job.out / "rows.jsonl").open("a") as records:
        records.write('{"key": "00ff')  # as a stop in the middle of a record leaves it

    head = job.start()
    job.wait(10, head)
    head.send_signal(signal.SIGINT)
    counts = ended(head)
    assert counts["stopped"] and counts["failed"] == 1  # the one that has no picture
    assert counts["found"] >= 9 and counts["made"] >= 9  # of ten records one may be the failed
    failed, *others = job.results()
    assert "this is no picture" in failed["message"] and not any(row["message"] for row in others)
    waiting = [row for row in others if not row["file"]]
    assert len(waiting) == 59 - counts["found"] - counts["made"]
    assert "odd:0" in job.notes("closed")

    (tmp_path / "three.png").write_text("one after all")
    counts = job.run()
    assert counts["found"] + counts["made"] == 60 and counts["made"] == len(waiting) + 1
    made = [json.loads(line) for line in (job.out / "rows.jsonl").open()]
    keys = [record["key"] for record in made if not record["message"]]
    assert sorted(keys) == sorted({row["key"] for row in job.results()}) and len(keys) == 60
    assert len(list((job.out / "pictures").glob("*/*"))) == 60
    # A reference is encoded once for all starts, but for one that could not be.
    assert sorted(Counter(job.notes("encoded")).values()) in ([1, 1, 1], [1, 1, 2])


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that nobody buried does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


HINDERED = """
import ray
from farm.run import STARTS, ray_session
from farm.work import FarmError
begin, failures = ray.init, iter([True] * {failures} + [False])

def late(**options):
    begin(**options)
    if next(failures):
        raise RuntimeError("The current node timed out during startup.\\nmore")

ray.init = late
try:
    with ray_session(None, 1):
        print("begun with", STARTS, ray.get(ray.put("works")))
except FarmError as error:
    print(error)
print(ray.is_initialized())
"""


def test_ray_that_starts_late_is_started_again() -> None:
    for failures, told in ((1, "begun with 3 works"), (3, "Ray does not start here (The current")):
        script = HINDERED.format(failures=failures)
        ran = subprocess.run(
            [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
        )
        said, left = ran.stdout.splitlines()
        assert said.startswith(told) and left == "False"
