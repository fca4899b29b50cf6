"""A job whose workers sleep: how many rows a second the head keeps up with.

The workers stand on a machine's threads, beside the head; what they cost there is the head's loss,
so the numbers are a lower bound. In the pack's folder `python -m tests.farm.simulation --help` says
what can be varied.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.parquet as parquet

from farm.crew import Crew
from farm.jobs import read_jobs
from farm.keeper import TABLE, Keeper
from farm.run import ray_session, run_job
from tests.farm.drive import StubFiller
from tests.farm.stub import StubMaker

# Seconds a picture takes, and how many of a hundred rows take them: a night's mixture as it is
# imagined here; nobody has measured one. Its mean is 1.7 s.
TIMES = ((0.8, 50), (1.5, 30), (3.0, 15), (8.0, 5))


@dataclass(frozen=True)
class Report:
    """What a simulation brought.

    Attributes:
        wanted: rows a second that the workers could make.
        reached: rows a second from the first picture to the last, of the middle nine tenths.
        head: milliseconds of the head's processor a row.
    """

    rows: int
    workers: int
    wanted: float
    reached: float
    seconds: float
    head: float
    made: int
    encoded: int
    whole: bool


def write_table(folder: Path, rows: int, factor: float, size: int, references: int) -> Path:
    """A table with a time for each row, in an order that is always the same."""
    (folder / "references").mkdir(parents=True)
    for number in range(references):
        (folder / "references" / f"{number}.png").write_bytes(f"reference {number}".encode())
    chosen = Random(0)
    seconds, weights = zip(*TIMES, strict=True)
    names = [f"references/{row % references}.png" if references else "" for row in range(rows)]
    table = {
        "seconds": [factor * one for one in chosen.choices(seconds, weights, k=rows)],
        "seed": list(range(rows)),
        "bytes": [size] * rows,
        "reference": names,
    }
    parquet.write_table(pa.table(table), folder / "jobs.parquet")
    return folder / "jobs.parquet"


def simulate(folder: Path, jobs_path: Path, workers: int, processes: int) -> Report:
    """Run a table on workers that sleep, with all else as it is."""
    jobs, ended = read_jobs(str(jobs_path)), list[float]()
    crew = Crew([StubMaker] * processes, cpus=0.01, threads=workers // processes)
    spent = time.process_time()
    with ray_session(None, processes):
        started = time.monotonic()
        counts = run_job(
            jobs,
            StubFiller(),
            crew,
            Keeper(folder / "out"),
            progress=lambda _: ended.append(time.monotonic()),
        )
        seconds, spent = time.monotonic() - started, time.process_time() - spent
    mean = sum(jobs.column("seconds")) / len(jobs)
    return Report(
        rows=len(jobs),
        workers=workers,
        wanted=workers / mean if mean else float("inf"),
        reached=rate(ended),
        seconds=seconds,
        head=1000 * spent / len(jobs),
        made=counts.made,
        encoded=counts.encoded,
        whole=is_whole(folder / "out" / TABLE, len(jobs)),
    )


def rate(ended: Sequence[float]) -> float:
    """Rows a second, without the beginning and the end, where not all workers have one."""
    first, last = len(ended) // 20, len(ended) - len(ended) // 20 - 1
    return (last - first) / max(ended[last] - ended[first], 1e-9)


def is_whole(table: Path, rows: int) -> bool:
    """Whether every row has a picture of its own, and no picture lies there besides."""
    files = [name for one in parquet.read_table(table)["file"].to_pylist() for name in one]
    there = [path for path in (table.parent / "pictures").rglob("*") if path.is_file()]
    return len(files) == len(set(files)) == len(there) == rows and all(
        (table.parent / name).is_file() for name in files
    )


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=200)
    parser.add_argument("--processes", type=int, default=4, help="that the workers share")
    parser.add_argument("--factor", type=float, default=1.0, help="on all times of the table")
    parser.add_argument("--bytes", type=int, default=100_000, help="of a picture")
    parser.add_argument("--references", type=int, default=100)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="farm-simulation-") as name:
        folder = Path(name)
        table = write_table(
            folder / "job", options.rows, options.factor, options.bytes, options.references
        )
        report = simulate(folder, table, options.workers, options.processes)
    print(json.dumps(asdict(report)))
    return 0 if report.whole and report.made == options.rows else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
