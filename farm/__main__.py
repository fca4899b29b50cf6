"""Makes a picture for each row of a table, on any number of ComfyUI servers.

    python -m farm JOBS --workflow API.json --out FOLDER

JOBS is CSV, JSON or Parquet; its columns fill inputs of the workflow (prompt, negative, seed,
scale, reference, mask, or any NODE.INPUT). OUT gets the pictures, results.parquet with a line for
each row, and index.html to look through. The same command again goes on where it was: rows whose
pictures are there are skipped, failed ones are tried again.

The exit status is 0 if every row has its picture, 1 if one failed, 2 for wrong options or a job
that cannot begin, 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
from collections.abc import Generator, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from .values import addresses, count
from .work import FarmError, Settings, counted

if TYPE_CHECKING:
    from .crew import Crew
    from .jobs import Jobs
    from .keeper import Counts
    from .template.workflow import Template

PACKAGE = Path(__file__).resolve().parent
SHIPPED = PACKAGE / "workflows" / "reference.json"
MODELS = ("checkpoint", "adapter", "encoder")
PACKAGES = ("ray", "pyarrow", "fsspec", "aiohttp", "tqdm", "PIL", "yaml")
LINE_SECONDS = 30  # between two lines of progress where there is no terminal


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    try:
        return work(options)
    except FarmError as error:
        say(f"farm: {error}.")
        return 2
    except KeyboardInterrupt:
        say("Stopped. The same command goes on from here.")
        return 130
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in PACKAGES:
            raise
        say(
            f"farm: the package {error.name} is missing, which this Python needs. Install it with "
            f"{sys.executable} -m pip install -r {PACKAGE / 'requirements.txt'}."
        )
        return 2


class Parser(argparse.ArgumentParser):
    """Says what is wrong in a sentence, without the list of all options before it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"farm: {message[:1].lower()}{message[1:].rstrip('.')}. See --help.\n")


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog="farm", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("jobs", metavar="JOBS", help="the table, a path or an address such as s3://…")
    add("--out", type=Path, required=True, metavar="FOLDER", help="of the results")
    add("--workflow", type=Path, metavar="FILE", help='from "Export (API)"; left out: the shipped')
    for name in MODELS:
        add(f"--{name}", metavar="NAME", help="as the workflow's loader lists it, for all rows")
    add(
        "--column",
        action="append",
        default=[],
        metavar="NAME=NODE.INPUT",
        help="what a column fills; NAME= for one that fills nothing",
    )
    add("--workers", type=count, metavar="N", help="left out: one a GPU, or one")
    add(
        "--servers",
        type=addresses,
        metavar="URL,URL",
        help="of running ComfyUIs, instead of starting any",
    )
    add("--comfyui", metavar="FOLDER", help="of the ComfyUI to start, on each machine")
    add("--python", default="", metavar="FILE", help="that runs it")
    add("--models", default="", metavar="YAML", help="an extra_model_paths.yaml for it")
    add("--cpu", action="store_true", help="calculate without a GPU")
    add("--address", metavar="auto|HOST:PORT|ray://…", help="of a Ray cluster to join")
    add("--tries", type=count, default=4, metavar="N", help="of a row whose worker dies (4)")
    add(
        "--patience",
        type=count,
        default=600,
        metavar="SECONDS",
        help="without any of --servers, until the run ends (600)",
    )
    options = parser.parse_args(arguments)
    started = ("workers", "comfyui", "python", "models", "cpu")
    given = [f"--{name}" for name in started if getattr(options, name)]
    if options.servers and given:
        parser.error(f"--servers are the workers, and run already: leave {', '.join(given)} out")
    return options


def work(options: argparse.Namespace) -> int:
    """Do what the options say; the exit status."""
    from .jobs import read_jobs
    from .keeper import Keeper
    from .run import ray_session, run_job

    jobs = with_models(read_jobs(options.jobs), options)
    filler = template(options, jobs)
    settings = workers(options)
    progress = Progress(len(jobs))
    with contextlib.closing(Keeper(options.out)) as keeper, quiet(options.out):
        say(f"{counted(len(jobs), 'row')}. Starting Ray.")
        for note in filler.notes:
            say(note)
        with ray_session(options.address, options.workers or len(settings)):
            members = crew(options, settings, filler.kinds)
            say(f"{counted(len(members.factories), 'worker')}.")
            with progress.shown():
                counts = run_job(jobs, filler, members, keeper, say, progress)
    report(counts, options.out, len(jobs))
    return 130 if counts.stopped else 1 if counts.failed else 0


@contextlib.contextmanager
def quiet(folder: Path) -> Generator[None]:
    """Ray tells of each dead worker on stdout, at length; who wants to know finds it in a file."""
    from .keeper import writing

    with writing(folder):
        log = (folder / "ray.log").open("a")
    with log, contextlib.redirect_stdout(log):
        yield


def with_models(jobs: Jobs, options: argparse.Namespace) -> Jobs:
    """The table, with what options say for all rows as columns."""
    for name in MODELS:
        value = getattr(options, name)
        if value and name in jobs.columns:
            raise FarmError(
                f"--{name} is given and the table has a column of that name; one of them is "
                "needed. Leave the option out, or the column"
            )
        if value:
            jobs = jobs.with_column(name, value)
    missing = [name for name in MODELS if name not in jobs.columns]
    if options.workflow is None and missing:
        raise FarmError(
            "the shipped workflow has no models of its own, and needs a checkpoint, an adapter "
            f"and an image encoder. Give --{' and --'.join(missing)}, or columns of these names"
        )
    return jobs


def template(options: argparse.Namespace, jobs: Jobs) -> Template:
    """The workflow, whose marks the columns of the table fill."""
    from .template.workflow import Template

    path = options.workflow or SHIPPED
    try:
        graph: Any = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise FarmError(f"{path} cannot be read ({error.strerror}). Check the path") from None
    except (ValueError, RecursionError) as error:
        raise FarmError(
            f'{path} is no JSON ({error}). Save the workflow with "Export (API)"'
        ) from None
    targets = {name: name for name in jobs.columns}
    for text in options.column:
        name, sign, target = text.partition("=")
        if not sign or name not in targets:
            raise FarmError(
                f"--column {text} names no column, and is to say NAME=NODE.INPUT for one of "
                f"{', '.join(jobs.columns)}. Correct it"
            )
        targets[name] = target
    return Template(graph, {name: target for name, target in targets.items() if target})


def workers(options: argparse.Namespace) -> list[Settings]:
    """What each worker is to drive; one that all share where ComfyUIs are started."""
    from .comfyui.places import resolved

    if options.servers:
        return [Settings(address=address) for address in options.servers]
    own = Settings(
        comfyui=options.comfyui or find_comfyui(),
        python=options.python,
        models=options.models,
        cpu=options.cpu,
    )
    # What is on the machines of a cluster only they know.
    return [own if options.address else resolved(own)]


def find_comfyui() -> str:
    around = PACKAGE.parent.parent.parent  # where the pack is in custom_nodes
    for folder in (os.environ.get("COMFYUI_PATH", ""), str(around), "~/comfy/ComfyUI"):
        if folder and (Path(folder).expanduser() / "main.py").is_file():
            return folder
    raise FarmError(
        "no ComfyUI is in $COMFYUI_PATH, around the pack or in ~/comfy/ComfyUI, and the workers "
        "need one. Give --comfyui FOLDER, or --servers that run"
    )


def crew(options: argparse.Namespace, settings: list[Settings], kinds: Iterable[str]) -> Crew:
    """The workers, as many as there are servers, or GPUs, or as were asked for."""
    from .comfyui.maker import ComfyMaker
    from .crew import Crew
    from .run import gpus, threads

    if options.servers:
        factories = [partial(ComfyMaker, one, kinds) for one in settings]
        # They only talk, so they take no room.
        limits = {"tries": options.tries, "patience": options.patience}
        return Crew(factories, cpus=0, names=options.servers, **limits)
    found = 0 if options.cpu else gpus()
    number = options.workers or found or 1
    # Without CUDA a ComfyUI does not start unless it is told; those of a Mac find theirs.
    cpu = options.cpu or (not found and sys.platform != "darwin")
    factories = [partial(ComfyMaker, replace(one, cpu=cpu), kinds) for one in settings] * number
    return Crew(factories, gpus=1 if found else 0, cpus=threads(number), tries=options.tries)


class Progress:
    """Rows done so far: a bar in a terminal, else a line now and then."""

    def __init__(self, rows: int) -> None:
        self.rows, self.bar = rows, None
        self.next = time.monotonic() + LINE_SECONDS

    @contextlib.contextmanager
    def shown(self) -> Generator[None]:
        from tqdm import tqdm

        if not sys.stderr.isatty():
            yield
            return
        with tqdm(total=self.rows, unit="row", file=sys.stderr) as self.bar:
            yield
        self.bar = None

    def __call__(self, counts: Counts) -> None:
        if self.bar is not None:
            self.bar.set_postfix(failed=counts.failed, refresh=False)
            self.bar.update(counts.ended - self.bar.n)
        elif time.monotonic() > self.next:
            self.next = time.monotonic() + LINE_SECONDS
            say(f"{counts.ended:,} of {counted(self.rows, 'row')}, {counts.failed:,} failed.")


def report(counts: Counts, out: Path, rows: int) -> None:
    """What became of the rows, and where it lies."""
    from .keeper import TABLE, writing
    from .sheet import write_sheet

    parts = {"made": counts.made, "there already": counts.found, "failed": counts.failed}
    parts["not made yet"] = rows - counts.ended
    ends = ", ".join(f"{number:,} {name}" for name, number in parts.items() if number)
    say(f"{counted(rows, 'row')}: {ends}. {counted(counts.encoded, 'reference')} encoded.")
    if counts.replaced:
        died = counted(counts.replaced, "worker died and was", "workers died and were")
        say(f"{died} replaced.")
    with writing(out):
        say(f"Table: {out / TABLE}. Pictures: {write_sheet(out / TABLE)}")
    if counts.stopped:
        say("Stopped. The same command goes on from here.")


def say(sentence: str) -> None:
    """Tell the user, above the bar if there is one."""
    if "tqdm" in sys.modules:
        sys.modules["tqdm"].tqdm.write(sentence, file=sys.stderr)
    else:
        print(sentence, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
