"""A worker's ComfyUI: what it makes, what it says when it cannot, and how it ends."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from farm.comfyui.maker import ComfyMaker
from farm.comfyui.server import PREFIX, sweep
from farm.rows import digest, graph_key
from farm.template.workflow import Template
from farm.work import Encoding, FarmError, JobError, Lost, Settings, Task
from tests.farm import real

SECONDS = 30
OWNER = """
import json, sys, time
from farm.comfyui.server import Server
from farm.work import Settings
server = Server(Settings(**json.loads(sys.argv[1])))
print(server.address, flush=True)
time.sleep(600)
"""


@dataclass
class Bed:
    """A job of the demo, and one ComfyUI of a worker."""

    job: Path
    maker: ComfyMaker

    @property
    def settings(self) -> dict[str, Any]:
        return {"comfyui": str(real.COMFYUI), "models": str(self.job / "models.yaml"), "cpu": True}

    def reference(self, number: int = 0) -> bytes:
        return sorted((self.job / "references").glob("*.png"))[number].read_bytes()

    def graph(self, **changes: Mapping[str, Any]) -> dict[str, Any]:
        graph = real.toy_workflow()
        graph["sample"]["inputs"]["steps"] = 2
        for node, inputs in changes.items():
            graph[node]["inputs"] |= inputs
        return graph

    def encode(self, graph: dict[str, Any], content: bytes | None = None) -> bytes:
        """The embeds of the first part of a graph that is encoded before."""
        content = self.reference() if content is None else content
        names = {"reference": f"farm-{digest(content)}.png"}
        (part,) = Template(graph, {"reference": "reference"}).fill({"reference": "x"}, names).cuts
        return self.maker.encode(Encoding(part.key, part.graph, dict.fromkeys(part.files, content)))

    def task(self, cut: bool = True, **changes: Mapping[str, Any]) -> Task:
        """A row with a reference, encoded before or in the row."""
        content = self.reference()
        names = {"reference": f"farm-{digest(content)}.png"}
        graph = self.graph(**changes)
        if not cut:
            graph["image"]["inputs"]["image"] = f"{names['reference']} [temp]"
            return Task(graph_key(graph), graph, {names["reference"]: content})
        filled = Template(graph, {"reference": "reference"}).fill({"reference": "x"}, names)
        (part,) = filled.cuts
        files = {name: content for name in part.files}
        embeds = self.maker.encode(Encoding(part.key, part.graph, files))
        return Task(graph_key(filled.graph), filled.graph, {}, {part.embeds: embeds})


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    job = real.farm_demo.prepare(tmp_path_factory.mktemp("job"), [])
    maker = ComfyMaker(
        Settings(comfyui=str(real.COMFYUI), models=str(job / "models.yaml"), cpu=True)
    )
    try:
        yield Bed(job, maker)
    finally:
        maker.close()


def pixels(maker: ComfyMaker, task: Task) -> Any:
    made = maker.make(task)
    assert made.message == "" and made.seconds > 0
    ((ending, content),) = made.pictures
    assert ending == ".png"
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGB"), np.float64)


def test_a_reference_encoded_before_is_heard_as_one_in_the_graph(bed: Bed) -> None:
    heard = pixels(bed.maker, bed.task())
    assert (heard == pixels(bed.maker, bed.task(cut=False))).all()
    deaf = pixels(bed.maker, bed.task(apply={"scale": 0.0}))
    assert abs(heard - deaf).mean() / deaf.mean() > 0.01


def test_what_a_server_refuses_has_a_stable_name_and_its_sentence(bed: Bed) -> None:
    made = bed.maker.make(bed.task(adapter={"adapter_file": "nowhere.safetensors"}))
    assert made.problem == "ipadapter.MissingModel" and made.pictures == ()
    assert '"nowhere.safetensors" is not in' in made.message
    made = bed.maker.make(bed.task(sample={"sampler_name": "none of them"}))
    assert made.problem == "comfyui.value_not_in_list"
    graph = bed.graph()
    graph["save"]["class_type"] = "NoSuchNode"
    made = bed.maker.make(Task("a", graph))
    assert made.problem == "comfyui.missing_node_type" and "NoSuchNode" in made.message


def test_what_fails_in_a_run_has_a_stable_name_and_its_sentence(bed: Bed) -> None:
    late = {"images": ["late", 0]}
    graph = bed.graph(save=late)
    # The number comes by a link, so that nobody knows it before.
    graph["late"] = {
        "class_type": "ImageFromBatch",
        "inputs": {"image": ["decode", 0], "batch_index": 0, "length": 1},
    }
    graph["apply"]["inputs"]["scale"] = ["number", 0]
    graph["number"] = {"class_type": "PrimitiveFloat", "inputs": {"value": 1e9}}
    task = Task("b", graph, {"a.png": bed.reference()})
    graph["image"]["inputs"]["image"] = "a.png [temp]"
    made = bed.maker.make(task)
    assert made.problem == "ipadapter.BadInput" and "scale" in made.message


def test_what_cannot_be_encoded_has_the_names_of_what_cannot_be_made(bed: Bed) -> None:
    wrong = {"fit": "nowhere"}
    with pytest.raises(FarmError, match="nowhere") as refused:
        bed.task(embeds=wrong)
    assert refused.value.problem == bed.maker.make(bed.task(cut=False, embeds=wrong)).problem
    graph = bed.graph(encoder={"clip_name": "nowhere"})
    with pytest.raises(FarmError, match="nowhere") as refused:
        bed.encode(graph)
    assert refused.value.problem == "comfyui.value_not_in_list"
    graph = bed.graph(embeds={"tile_overlap": ["number", 0]})
    # The number comes by a link, so that nobody knows it before.
    graph["number"] = {"class_type": "PrimitiveFloat", "inputs": {"value": 1e9}}
    with pytest.raises(FarmError, match="tile_overlap") as refused:
        bed.encode(graph)
    assert refused.value.problem == "ipadapter.BadInput"


def test_a_part_of_a_picture_is_refused(bed: Bed) -> None:
    whole = bed.reference()
    for content in (whole[: len(whole) // 2], b"", b"no picture"):
        name = f"farm-{digest(content)}.png"
        with pytest.raises(FarmError, match=f"{name} is damaged") as refused:
            bed.encode(bed.graph(), content)
        assert refused.value.problem == "farm.Reference"
        graph = bed.graph()
        graph["image"]["inputs"]["image"] = f"{name} [temp]"
        made = bed.maker.make(Task("d", graph, {name: content}))
        assert made.problem == "farm.Reference" and not made.pictures
    # What Pillow does not know the host tries, and the host has the word.
    graph["image"]["inputs"]["image"] = "farm-y.exr [temp]"
    made = bed.maker.make(Task("e", graph, {"farm-y.exr": b"no picture"}))
    assert made.problem == "farm.Reference" and "LoadImage" in made.message
    graph["image"]["inputs"]["image"] = "nowhere.png"
    made = bed.maker.make(Task("f", graph))
    assert made.problem == "farm.Reference" and "nowhere.png" in made.message


def test_a_workflow_that_saves_no_picture_is_told_at_the_start(bed: Bed) -> None:
    assert bed.maker.server is not None
    settings = Settings(address=bed.maker.server.address)
    graph = bed.graph()
    ComfyMaker(settings, [node["class_type"] for node in graph.values()]).close()
    graph["save"]["class_type"] = "Preview"
    ComfyMaker(settings, [node["class_type"] for node in graph.values()]).close()  # of any pack
    graph["save"]["class_type"] = "PreviewImage"
    with pytest.raises(JobError, match="the workflow ends in PreviewImage and saves no pict"):
        ComfyMaker(settings, [node["class_type"] for node in graph.values()])
    del graph["save"]
    with pytest.raises(JobError, match="the workflow is without an end and saves no"):
        ComfyMaker(settings, [node["class_type"] for node in graph.values()])


def test_a_workflow_that_saves_nothing(bed: Bed) -> None:
    graph = bed.graph()
    graph["save"] = {"class_type": "PreviewImage", "inputs": {"images": ["decode", 0]}}
    graph["apply"]["inputs"]["scale"] = 0.0
    graph["image"]["inputs"]["image"] = "a.png [temp]"
    made = bed.maker.make(Task("c", graph, {"a.png": bed.reference()}))
    assert made.problem == "farm.NoPicture" and "Put a Save Image into it" in made.message


def test_embeds_go_to_another_server_which_ends_with_its_owner(bed: Bed) -> None:
    command = [sys.executable, "-c", OWNER, json.dumps(bed.settings)]
    owner = subprocess.Popen(command, cwd=real.ROOT, stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    address = owner.stdout.readline().strip()
    started = psutil.Process(owner.pid).children(recursive=True)
    maker = ComfyMaker(Settings(address=address))
    try:
        assert maker.name == address.removeprefix("http://")
        task = bed.task()
        assert (pixels(maker, task) == pixels(bed.maker, task)).all()
        os.kill(owner.pid, signal.SIGKILL)
        owner.wait()
        assert len(started) >= 2
        _, left = psutil.wait_procs(started, SECONDS)
        assert not left
        begin = time.monotonic()
        with pytest.raises(Lost, match="was started again, or closed the connection"):
            maker.make(bed.task(sample={"seed": 1}))
        assert time.monotonic() - begin < 2 * SECONDS
    finally:
        maker.close()


class Odd(BaseHTTPRequestHandler):
    """Something else at the address."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        bare = b"{}" if "object_info" in self.path else b'{"system": {}}'
        known = {"/list": b"[]", "/null": b"null", "/bare": bare}
        self.wfile.write(known.get(self.path[:5], b"<a>"))

    def log_message(self, format: str, *args: Any) -> None:
        """Nobody listens."""


def test_what_is_no_comfyui_is_told(tmp_path: Path) -> None:
    with pytest.raises(FarmError, match="holds no ComfyUI on"):
        ComfyMaker(Settings(comfyui=str(tmp_path)))
    (tmp_path / "main.py").write_text("import no_such_module", "utf-8")
    with pytest.raises(FarmError, match="ended while it started") as told:
        ComfyMaker(Settings(comfyui=str(tmp_path), cpu=True))
    # One line of the log, and the log itself, which else is deleted.
    assert """It said "ModuleNotFoundError: No module named 'no_such_module'".""" in str(told.value)
    assert PREFIX not in str(told.value) and "Traceback (most recent" not in str(told.value)
    assert "Traceback (most recent" in told.value.log
    with ThreadingHTTPServer(("127.0.0.1", 0), Odd) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        for path in ("", "/list", "/null"):
            with pytest.raises(Lost, match="does not answer"):
                ComfyMaker(Settings(address=f"127.0.0.1:{server.server_port}{path}"))
        with pytest.raises(FarmError, match="has no node IPALoadEmbeds"):
            ComfyMaker(Settings(address=f"127.0.0.1:{server.server_port}/bare"))
        server.shutdown()


def test_folders_of_owners_that_were_killed_go(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    names = {f"{PREFIX}{ended.pid}-a": False, f"{PREFIX}{os.getpid()}-b": True, f"{PREFIX}x": True}
    for name in names:
        (tmp_path / name / "output").mkdir(parents=True)
    sweep(tmp_path)
    assert {name: (tmp_path / name).is_dir() for name in names} == names


def test_a_picture_that_somebody_deleted_is_made_again(bed: Bed) -> None:
    task = bed.task()
    first = pixels(bed.maker, task)
    server = bed.maker.server
    assert server is not None
    for path in (server.folder / "output").rglob("*.png"):
        path.unlink()
    assert (pixels(bed.maker, task) == first).all()
