"""What a farm costs, and that it loses nothing: `python dev.py farm-bench [PART ...]`.

workers      the same rows on one worker and on two: the ratio of rows a minute
overhead     milliseconds a row takes where nothing is sampled, beside the same asked of one ComfyUI
kills        500 rows, a worker killed every 20 seconds, the head twice: every row exactly once
simulation   10,000 rows on 200 workers that sleep: how many rows a second the head keeps up with

Without a part all of them run, some twenty minutes on two cores. The exit code is 1 where something
was lost or the overhead is above its bar; the times are printed, for they are the machine's.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]
# The farm's package is imported from here, as its workers do.
sys.path[0] = str(ROOT)

from tests.farm import kills, real, simulation  # noqa: E402

OVERHEAD_BAR = 15.0  # milliseconds


def workers(rows: int, folder: Path) -> bool:
    """Rows a minute of one worker and of two, and what a row takes of the processors.

    Where other work runs the first is that work's measure; the second shows whether two workers
    are in each other's way.
    """
    table = real.sampled(rows)
    rates = {}
    for count in (1, 2):
        job = real.job(folder / f"{count}", table, real.toy_workflow())
        with kills.running(real.command(job, workers=count), job / "farm.log") as head:
            spent = processor_seconds(head, job / "out", rows // 3)
        rates[count] = simulation.rate(real.times(job / "out"))
        print(
            f"  {count} worker{'s'[: count > 1]}: {60 * rates[count]:.1f} rows a minute, "
            f"{spent:.2f} s of the ComfyUIs' processors a row"
        )
    print(f"  two workers make {rates[2] / rates[1]:.2f} times the rows of one")
    return True


def processor_seconds(head: kills.Head, out: Path, after: int) -> float:
    """What a row takes of the processors by the ComfyUIs of a farm, once some rows are made."""
    first, made = 0.0, 0
    spent: dict[int, float] = {}
    while head.process.poll() is None:
        for one in head.workers(kills.WORKERS[1]):
            with contextlib.suppress(psutil.Error):
                times = one.cpu_times()
                spent[one.pid] = times.user + times.system
        if not made and len(kills.lines(out)) >= after:
            first, made = sum(spent.values()), len(kills.lines(out))
        time.sleep(0.2)
    assert head.process.returncode == 0
    return (sum(spent.values()) - first) / (len(kills.lines(out)) - made)


def overhead(rows: int, folder: Path) -> bool:
    """Rows without sampling, by the farm and by as many prompts to one ComfyUI."""
    table = real.unsampled(rows)
    job = real.job(folder / "farm", table, real.empty_workflow())
    real.run(real.command(job, workers=1))
    by_farm = 1000 / simulation.rate(real.times(job / "out"))
    alone = 1000 / simulation.rate(real.alone(folder / "alone", job, table))
    print(
        f"  a row takes {by_farm:.1f} ms, of which the ComfyUI alone takes {alone:.1f}: "
        f"{by_farm - alone:.1f} ms of the farm's (bar {OVERHEAD_BAR:.0f})"
    )
    return by_farm - alone <= OVERHEAD_BAR


def shot_at(rows: int, folder: Path, every: float = 20.0) -> bool:
    """Every row exactly once, whoever is killed; control rows as one machine makes them."""
    table = real.sampled(rows)
    job = real.job(folder / "farm", table, real.toy_workflow())
    begin = time.monotonic()
    code, shots = kills.shoot(
        real.command(job, workers=2), job / "out", every, (rows // 3, 2 * rows // 3)
    )
    print(
        f"  {rows} rows in {time.monotonic() - begin:.0f} s, exit code {code}; killed: "
        f"{len(shots.workers)} workers, the head {shots.heads} times, after which all it began "
        f"was gone within {shots.orphans:.1f} s"
    )
    problems = real.problems(job / "out", rows) + ([f"exit code {code}"] if code else [])
    control = table[:: max(1, rows // 20)]
    single = real.job(folder / "single", control, real.toy_workflow())
    real.run(real.command(single, workers=1))
    problems += real.differences(job / "out", single / "out")
    problems += real.other_pixels(job / "out", real.pictures_alone(folder / "alone", job, control))
    print(f"  {len(control)} control rows: the files of one worker, the pixels of one ComfyUI")
    for problem in problems:
        print(f"  WRONG: {problem}")
    return not problems and shots.heads == 2


def simulate(rows: int, folder: Path) -> bool:
    """The head beside 200 workers, with pictures of less and less time."""
    good = True
    for factor in (1.0, 0.3, 0.1):
        command = [sys.executable, "-m", "tests.farm.simulation"]
        done = subprocess.run(
            [*command, "--rows", str(rows), "--factor", str(factor)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        found = json.loads(done.stdout.splitlines()[-1])
        good = good and done.returncode == 0
        print(
            f"  {found['workers']} workers, {found['workers'] / found['wanted']:.2f} s a picture: "
            f"{found['reached']:.0f} rows a second of {found['wanted']:.0f}, "
            f"{found['head']:.1f} ms of the head's processor a row, "
            f"{found['encoded']} references encoded, {found['made']} rows made"
        )
    return good


PARTS: dict[str, tuple[Callable[[int, Path], bool], int]] = {
    "workers": (workers, 120),
    "overhead": (overhead, 500),
    "kills": (shot_at, 500),
    "simulation": (simulate, 10_000),
}


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="dev.py farm-bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--rows", type=int, help="instead of each part's own number")
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.parts) - set(PARTS))
    if unknown:
        parser.error(f"there is no part {unknown[0]!r}. Parts are {', '.join(PARTS)}")
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} before the beginning")
    results = []
    for name in options.parts or PARTS:
        measure, rows = PARTS[name]
        print(f"== {name}", flush=True)
        with tempfile.TemporaryDirectory(prefix=f"farm-{name}-") as folder:
            results.append(measure(options.rows or rows, Path(folder)))
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
