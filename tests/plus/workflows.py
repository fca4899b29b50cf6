"""Opens public workflows in a browser, validates them, and runs what small models can run.

In tests/: python -m plus.workflows CLONES [--only WORD] [--report FILE]

CLONES holds a clone of each repository that workflows.json lists, under `owner+name` (or with the
git directory in `owner+name/repo`); what is missing is left out. Nothing is copied into the
repository: most of these files have no licence. For each file

* opened: in Chromium, with no pack but this one, no old node is missing, and what is saved again
  has its values, links and places, and other properties only where they name a pack;
* validated: its old nodes, with all that the host has of the nodes before them and stand-ins for
  the rest, are accepted with the names of small files, and run;
* run: where it has the host's own and old nodes only, all of it, with small random models.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import conftest
import plus.paths  # noqa: F401 - where the other folders of tests are
import torch
from comfy_page import ComfyPage, launch
from kit.server import live, named_models
from kit.server.live import Client, failure
from PIL import Image
from playwright.sync_api import sync_playwright
from plus import graphs
from plus.graphs import Cast, Graph

LIST = Path(__file__).with_name("workflows.json")


@dataclass
class Found:
    """One public file, and what came of it.

    Attributes:
        graph: as the editor saves it, or a prompt as programs post it.
        why: what was wrong, by step.
    """

    repository: str
    path: str
    marks: str
    graph: Graph | None = None
    steps: list[str] = field(default_factory=list)
    why: dict[str, list[str]] = field(default_factory=dict)

    @property
    def is_prompt(self) -> bool:
        return "api" in self.marks

    def note(self, step: str, wrong: list[str]) -> None:
        if wrong:
            self.why[step] = wrong
        else:
            self.steps.append(step)


def read_all(clones: Path, only: str) -> Iterator[Found]:
    for repository, one in json.loads(LIST.read_text("utf-8")).items():
        for path, marks in one["files"].items():
            if only.lower() in f"{repository}/{path}".lower():
                found = Found(repository, path, marks)
                found.graph = _read(clones, repository, one["commit"], found)
                yield found


def _read(clones: Path, repository: str, commit: str, found: Found) -> Graph | None:
    place = clones / repository.replace("/", "+")
    git = next((p for p in (place / "repo", place / ".git", place) if (p / "HEAD").exists()), None)
    if git is None:
        return None
    command = ["git", f"--git-dir={git}", "show", f"{commit}:{found.path}"]
    shown = subprocess.run(command, capture_output=True, check=False)
    if shown.returncode:
        found.why["had"] = [shown.stderr.decode().strip()]
        return None
    graph = json.loads(_text(shown.stdout, found))
    return graph.get("workflow", graph) if not found.is_prompt else graph


def _text(data: bytes, found: Found) -> str:
    if not found.path.endswith(".png"):
        return data.decode("utf-8-sig")
    with Image.open(io.BytesIO(data)) as image:
        return image.info["prompt" if found.is_prompt else "workflow"]


def prepare(base: Path, every: list[Found]) -> None:
    """Files under all names that the workflows have, and one picture with a face."""
    graphs.write_common(base)
    for found in every:
        if found.graph is not None:
            named_models.write(base / "models", graphs.named_files(found.graph))
    inputs = base / "input"
    (inputs / "embeds").mkdir(parents=True)
    person = conftest.ROOT / "example_workflows" / "inputs" / "ipadapter_example_person_a.jpg"
    with Image.open(person) as image:
        image.save(inputs / "person.png")
    for found in every:
        for node in _loaders_of_embeds(found.graph):
            name = node["widgets_values"][0].replace("\\", "/")
            path = inputs / name
            path.parent.mkdir(parents=True, exist_ok=True)
            rows = torch.randn(1, 257, 1280)
            # Version 1 kept the negative with the positive, and named files in another way.
            old = name.removesuffix(".ipadpt").endswith("_")
            torch.save(torch.stack((rows, torch.zeros_like(rows))) if old else rows, path)


def _loaders_of_embeds(graph: Graph | None) -> Iterator[Graph]:
    if graph is not None and "nodes" in graph:
        yield from (n for n in graphs.old_nodes(graph) if n["type"] == "IPAdapterLoadEmbeds")


def look_at(found: Found, client: Client, comfy: ComfyPage, known: dict[str, Any]) -> None:
    """All steps for one file."""
    assert found.graph is not None
    prompt = found.graph if found.is_prompt else _open(found, comfy)
    if prompt is None:
        return
    cast = Cast(known, prompt)
    found.note("validated", _run(client, cast.alone(prompt)))
    if "core" in found.marks:
        whole = cast.fitted(prompt)
        if not any(known[n["class_type"]]["output_node"] for n in whole.values()):
            found.why["run"] = ["a part of a prompt: it has no output"]
            return
        found.note("run", _run(client, whole))


def _open(found: Found, comfy: ComfyPage) -> dict[str, Any] | None:
    assert found.graph is not None
    comfy.clear()
    comfy.load(found.graph)
    missing = [kind for kind in comfy.page.evaluate(graphs.MISSING) if graphs.is_old(kind)]
    saved = comfy.saved()
    wrong = [f"{kind} is missing" for kind in missing] + graphs.faults(found.graph, saved)
    found.note("opened", wrong)
    try:
        return comfy.prompt()
    except Exception as error:  # noqa: BLE001 - whatever the page says of a graph
        found.why["validated"] = [f"no prompt: {error}"]
        return None


def _run(client: Client, prompt: dict[str, Any]) -> list[str]:
    if not prompt:
        return []
    status, answer = client.post("/prompt", {"prompt": prompt})
    words = graphs.refused(status, answer)
    if words:
        return words
    entry = client.wait(answer["prompt_id"])
    return [] if entry["status"]["status_str"] == "success" else [failure(entry)]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clones", type=Path)
    parser.add_argument("--only", default="", help="files with this word in their path")
    parser.add_argument("--report", type=Path, help="write what came of each file as JSON")
    options = parser.parse_args(arguments)
    every = list(read_all(options.clones, options.only))
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        prepare(base, every)
        with (
            live.running(base, base / "models") as client,
            sync_playwright() as playwright,
        ):
            comfy = ComfyPage(client, launch(playwright), vue=False)
            known = client.get("/object_info")
            for found in every:
                if found.graph is not None:
                    found.steps.append("had")
                    look_at(found, client, comfy, known)
                print(f"{found.repository} {found.path}: {', '.join(found.steps)}", flush=True)
                for step, words in found.why.items():
                    print(f"    not {step}: {'; '.join(words)[:600]}", flush=True)
            comfy.page.context.close()
    for step in ("had", "opened", "validated", "run"):
        could = [f for f in every if step != "opened" or not f.is_prompt]
        could = [f for f in could if step != "run" or "core" in f.marks]
        print(f"{step}: {sum(step in f.steps for f in could)} of {len(could)}")
    if options.report:
        rows = [asdict(found) | {"graph": None} for found in every]
        options.report.write_text(json.dumps(rows, indent=1), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
