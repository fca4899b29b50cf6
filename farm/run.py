"""A job from its table to its result table: Ray is begun, rows are made, the table is written."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Generator
from pathlib import Path
from types import FrameType
from typing import Any

import ray
from ray.job_config import JobConfig

from .crew import Crew
from .head import Head
from .jobs import Jobs
from .keeper import Counts, Keeper
from .rows import Files, Planner
from .work import FarmError, Filler

STORE_BYTES = 1 << 29
KNOCK_SECONDS = 10
STARTS = 3  # its parts wait 15 seconds for each other, which a busy machine may need longer for
PACKAGE = Path(__file__).resolve().parent


@contextlib.contextmanager
def ray_session(address: str | None, workers: int) -> Generator[None]:
    """Ray, of our own on this machine or of a cluster, for as long as the block lasts.

    Raises:
        FarmError: the cluster does not answer.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_worker_niceness", "0")  # its 15 starves where anything else runs
    # It ends workers where memory is short, and who took it was seldom the worker: ComfyUI keeps
    # models in what is free. A cluster has rules of its own.
    os.environ.setdefault("RAY_memory_monitor_refresh_ms", "0")
    options = _ours(address, workers)
    for start in range(1, (1 if address else STARTS) + 1):
        try:
            ray.init(log_to_driver=False, logging_level=logging.ERROR, **options)
            break
        except Exception as error:  # Ray raises that very class, and others
            ray.shutdown()  # what had begun
            if address or start == STARTS:
                raise _no_ray(address, str(error).split("\n")[0].rstrip(".")) from error
    try:
        yield
    finally:
        ray.shutdown()


def _no_ray(address: str | None, found: str) -> FarmError:
    if address:
        return FarmError(
            f"Ray does not join the cluster at {address} ({found}). Check that its Ray and Python "
            "have the versions that are here; one that asks for a token needs RAY_AUTH_MODE=token "
            "in the environment"
        )
    return FarmError(
        f"Ray does not start here ({found}), which the workers need. End what keeps this machine "
        "busy and start again; its log is in ray/session_latest/logs in the folder for temporary "
        "files"
    )


def _ours(address: str | None, workers: int) -> dict[str, Any]:
    """What Ray is to be told, by whether it is a cluster's.

    Raises:
        FarmError: no cluster is there.
    """
    if address is not None:
        _knock(address)
        return {"address": address, "runtime_env": {"py_modules": [str(PACKAGE)]}}
    return {
        "address": "local",  # without it, Ray would join whatever runs here
        "num_cpus": max(workers, os.cpu_count() or 1),
        "include_dashboard": False,
        "object_store_memory": STORE_BYTES,
        "job_config": JobConfig(_py_driver_sys_path=[str(PACKAGE.parent)]),
    }


def _knock(address: str) -> None:
    """Find out within seconds that nobody is there; Ray itself tries for minutes.

    Raises:
        FarmError: nobody is there.
    """
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdecimal():
        return  # "auto", and what only Ray understands
    try:
        socket.create_connection((host.strip("[]"), int(port)), KNOCK_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise FarmError(
            f"no Ray cluster answers at {address} ({error}). Start one with `ray start --head`, "
            "or leave --address out to work on this machine"
        ) from None


def gpus() -> int:
    """How many GPUs Ray has."""
    return int(ray.cluster_resources().get("GPU", 0))


def threads(workers: int) -> int:
    """How many CPUs each worker can take; Ray lets it calculate with that many threads."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    shares = [node.get("CPU", 1) / node["GPU"] for node in nodes if node.get("GPU")]
    if not shares and len(nodes) == 1:
        shares = [nodes[0].get("CPU", 1) / workers]
    return max(1, int(min(shares, default=1)))


def run_job(
    jobs: Jobs,
    filler: Filler,
    crew: Crew,
    keeper: Keeper,
    say: Callable[[str], None] = lambda sentence: None,
    progress: Callable[[Counts], None] = lambda counts: None,
) -> Counts:
    """Make the rows of a job that are not made yet, and write the table of all, inside a session.

    Args:
        keeper: of the folder that takes pictures, records, embeds and the table, `keeper.TABLE`.

    Raises:
        FarmError: the folder or every worker is unfit; what was made until then is in the table.
    """
    head = Head(Planner(jobs, filler, Files(ray.put)), keeper, crew, say, progress)
    try:
        with stoppable(head.stop):
            counts = head.run()
    except BaseException:
        with contextlib.suppress(FarmError):
            keeper.write_table(jobs, head.keys, head.problems)
        raise
    keeper.write_table(jobs, head.keys, head.problems)
    return counts


@contextlib.contextmanager
def stoppable(stop: Callable[[], None]) -> Generator[None]:
    """The first Ctrl-C or SIGTERM calls `stop`, and the block ends in order; the next raises."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are none of our business
        return
    kinds = (signal.SIGINT, signal.SIGTERM)

    def first(number: int, frame: FrameType | None) -> None:
        for kind in kinds:
            signal.signal(kind, signal.default_int_handler)
        stop()

    before = [signal.signal(kind, first) for kind in kinds]
    try:
        yield
    finally:
        for kind, handler in zip(kinds, before, strict=True):
            signal.signal(kind, handler)
