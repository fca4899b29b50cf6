"""Runs a job with odd makers: `python -m tests.farm.drive TABLE FOLDER`, in the root."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from farm.crew import Crew
from farm.jobs import read_jobs
from farm.keeper import Keeper
from farm.run import ray_session, run_job
from farm.work import Cut, FarmError, Filled
from tests.farm.odd import OddMaker


@dataclass(frozen=True)
class StubFiller:
    """A workflow of one node that every column of a table goes into."""

    files: frozenset[str] = frozenset({"reference", "mask"})
    notes: tuple[str, ...] = ()

    def fill(self, row: Mapping[str, Any], names: Mapping[str, str]) -> Filled:
        if row.get("seconds") == "long":
            raise FarmError("seconds is 'long', and a number is needed. Correct the cell")
        inputs = {"seconds": 0, "seed": 0, "bytes": 100, "fails": "", "once": ""}
        inputs |= {name: value for name, value in row.items() if name in inputs and value}
        cuts: tuple[Cut, ...] = ()
        if "reference" in names:
            name = names["reference"]
            graph = {"e": {"class_type": "Encode", "inputs": {"image": name}}}
            cuts = (Cut(f"{name[5:37]}", graph, (name,), f"embeds-{name}"),)
            inputs["embeds"] = cuts[0].embeds
        files = (names["mask"],) if "mask" in names else ()
        return Filled({"1": {"class_type": "Stub", "inputs": inputs}}, files, cuts)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("table")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--tries", type=int, default=4)
    parser.add_argument("--absent", type=int, nargs="*", default=[], help="workers, from 0")
    parser.add_argument("--patience", type=float, default=math.inf)
    options = parser.parse_args()
    numbers = range(options.workers)
    makers = [partial(OddMaker, number, number in options.absent) for number in numbers]
    names = [f"odd:{number}" for number in numbers]
    limits = {"tries": options.tries, "patience": options.patience}
    crew = Crew(makers, cpus=0.1, pause=0.2, names=names, **limits)
    say = partial(print, file=sys.stderr, flush=True)
    with ray_session(None, options.workers):
        begin = time.monotonic()
        try:
            with closing(Keeper(options.folder)) as keeper:
                counts = run_job(read_jobs(options.table), StubFiller(), crew, keeper, say)
        except FarmError as error:
            say(str(error))
            sys.exit(2)
        print(json.dumps(asdict(counts) | {"seconds": time.monotonic() - begin}), flush=True)


if __name__ == "__main__":
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    main()
