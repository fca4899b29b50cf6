"""Jobs with the toy models for a farm of real ComfyUIs, and the same asked of one ComfyUI alone."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as parquet
import requests
from aiohttp.test_utils import unused_port
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
# The demo's scripts import each other by their names alone.
sys.path.append(str(ROOT / "demo"))

import farm_demo  # noqa: E402
from comfy_client import run_prompt  # noqa: E402
from comfy_server import Server, server_command  # noqa: E402

from tests.farm.kills import COMFYUI  # noqa: E402

Cells = Mapping[str, Any]
Graph = dict[str, dict[str, Any]]
# Which input of the toy workflow a column fills.
PLACES = {
    "prompt": ("positive", "text"),
    "reference": ("image", "image"),
    "scale": ("apply", "scale"),
    "seed": ("sample", "seed"),
    "color": ("empty", "color"),
}


def sampled(rows: int) -> list[Cells]:
    """Rows that are each a picture of their own, of three references."""
    columns = ("prompt", "reference", "scale", "seed")
    some = [dict(zip(columns, row, strict=True)) for row in farm_demo.rows()]
    return [{**some[row % len(some)], "seed": row} for row in range(rows)]


def unsampled(rows: int) -> list[Cells]:
    return [{"color": row} for row in range(rows)]


def toy_workflow() -> Graph:
    return farm_demo.workflow()


def empty_workflow() -> Graph:
    """A picture of one colour: nothing is calculated, all that is around it happens."""
    empty = {"width": 64, "height": 64, "batch_size": 1, "color": 0}
    return {
        "empty": {"class_type": "EmptyImage", "inputs": empty},
        "save": {
            "class_type": "SaveImage",
            "inputs": {"images": ["empty", 0], "filename_prefix": "farm"},
        },
    }


def job(folder: Path, rows: Sequence[Cells], workflow: Graph) -> Path:
    """A folder as the demo's, with another table and workflow."""
    farm_demo.prepare(folder, [])
    (folder / "workflow.json").write_text(json.dumps(workflow), "utf-8")
    with (folder / "jobs.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder


def command(job: Path, workers: int) -> list[str]:
    return farm_demo.farm_command(job, COMFYUI, workers)


def servers_command(job: Path, *servers: str) -> list[str]:
    """As `command`, with ComfyUIs that run already."""
    return [
        *(sys.executable, "-m", "farm", str(job / "jobs.csv")),
        *("--workflow", str(job / "workflow.json"), "--out", str(job / "out")),
        *("--servers", ",".join(servers)),
    ]


def run(command: Sequence[str]) -> None:
    """Run a farm that has to make everything."""
    variables = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]


def pictures(out: Path) -> list[Path]:
    return sorted(path for path in (out / "pictures").rglob("*") if path.is_file())


def times(out: Path) -> list[float]:
    """When each picture was there."""
    return sorted(path.stat().st_mtime for path in pictures(out))


def problems(out: Path, rows: int) -> list[str]:
    """What is wrong with the results of a job in which every row is a picture of its own."""
    table = parquet.read_table(out / "results.parquet").to_pylist()
    named = [name for row in table for name in row["file"]]
    recorded = [json.loads(line)["key"] for line in (out / "rows.jsonl").open("rb")]
    there = [path.relative_to(out).as_posix() for path in pictures(out)]
    found = {
        "rows in the table": len({row["row"] for row in table}),
        "rows with one picture": sum(len(row["file"]) == 1 for row in table),
        "pictures of the table": len(set(named)),
        "pictures that are there": len(set(there) & set(named)),
        "pictures in the folder": len(there),
        "records": len(recorded),
        "keys of records": len(set(recorded)),
    }
    wrong = [f"{number} {name} of {rows}" for name, number in found.items() if number != rows]
    return wrong + [f"row {row['row']}: {row['message']}" for row in table if row["message"]]


def differences(out: Path, other: Path) -> list[str]:
    """Pictures of one job that another has not, byte for byte."""
    wanted = pictures(other)
    same = [out / path.relative_to(other) for path in wanted]
    return [
        f"{there.name} differs from that of a single worker"
        for path, there in zip(wanted, same, strict=True)
        if not there.is_file() or there.read_bytes() != path.read_bytes()
    ] + ([] if wanted else ["the single worker made nothing"])


def other_pixels(out: Path, alone: Mapping[int, Path]) -> list[str]:
    """Rows whose picture is not the one that a ComfyUI makes of the whole workflow.

    Args:
        alone: pictures by seed, which tells rows apart.
    """
    table = parquet.read_table(out / "results.parquet").to_pylist()
    names = {int(row["seed"]): row["file"] for row in table}
    return [
        f"the picture of seed {seed} has not the pixels that one ComfyUI makes"
        for seed, path in alone.items()
        if not names[seed] or pixels(out / names[seed][0]) != pixels(path)
    ]


def pixels(path: Path) -> bytes:
    with Image.open(path) as image:
        return image.convert("RGB").tobytes()


def filled(workflow: Graph, row: Cells) -> Graph:
    """The workflow of a row as somebody fills it by hand: its reference is encoded in place."""
    graph = {node: {**one, "inputs": dict(one["inputs"])} for node, one in workflow.items()}
    for column, value in row.items():
        node, name = PLACES[column]
        graph[node]["inputs"][name] = Path(value).name if column == "reference" else value
    return graph


def alone(folder: Path, job: Path, rows: Sequence[Cells]) -> list[float]:
    """When each row was made by one ComfyUI that has all of them in its queue."""
    workflow = json.loads((job / "workflow.json").read_text("utf-8"))
    with server(folder, job) as address, requests.Session() as session:
        for row in rows:
            body = {"prompt": filled(workflow, row)}
            session.post(f"{address}/prompt", json=body).raise_for_status()
        while session.get(f"{address}/prompt").json()["exec_info"]["queue_remaining"]:
            time.sleep(0.1)
    return sorted(path.stat().st_mtime for path in (folder / "output").glob("*.png"))


def pictures_alone(folder: Path, job: Path, rows: Sequence[Cells]) -> dict[int, Path]:
    """The pictures of rows by their seeds, of one ComfyUI and the demo's client."""
    workflow = json.loads((job / "workflow.json").read_text("utf-8"))
    made: dict[int, Path] = {}
    with server(folder, job) as address:
        for row in rows:
            graph = filled(workflow, row)
            (record,) = asyncio.run(run_prompt(address, graph, lambda text: None))["save"]
            made[row["seed"]] = folder / record["type"] / record["subfolder"] / record["filename"]
    return made


@contextmanager
def server(folder: Path, job: Path) -> Generator[str]:
    """The address of one ComfyUI with the pack and the toy models, and nothing of the farm."""
    with comfyui(folder, job) as running:
        yield running.address


@contextmanager
def comfyui(folder: Path, job: Path) -> Generator[Server]:
    (folder / "custom_nodes").mkdir(parents=True)
    (folder / "custom_nodes" / "ipadapter").symlink_to(ROOT, target_is_directory=True)
    (folder / "input").symlink_to(job / "references", target_is_directory=True)
    port = unused_port()
    command = server_command(COMFYUI, folder, job / "models.yaml", port, cpu=True)
    with Server(command, folder, port, threads=1) as running:
        running.wait_until_ready()
        yield running
