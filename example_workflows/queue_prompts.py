#!/usr/bin/env python3
"""Encode a picture once, save its embeds, and queue any number of prompts with them.

Needs Python 3.10 and nothing else; speaks to any ComfyUI server that has the IP-Adapter nodes.

    python queue_prompts.py --image cat.jpg --checkpoint v1-5-pruned-emaonly-fp16.safetensors \\
        --adapter ip-adapter_sd15.safetensors --encoder CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors

Names of the saved pictures go to stdout, progress and errors to stderr. The exit status is 0 only
if every prompt gave its picture, 1 if one did not, 2 for wrong options, 130 after Ctrl-C.

`--workflow FILE` takes a graph of your own ("Export (API)" in the editor) instead of the one below.
Texts in it such as "{prompt}" or "{seed}" are replaced; `FIELDS` lists them all.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import os
import re
import signal
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Graph = dict[str, dict[str, Any]]
FIELDS = (
    *("prompt", "negative", "seed", "embeds", "checkpoint", "adapter"),
    *("scale", "steps", "width", "height"),
)
SAMPLES = (
    "a portrait in oil, warm light",
    "a pencil sketch on rough paper",
    "a poster of the nineteen-twenties, flat colours",
    "a photograph in the rain, shallow depth of field",
)


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


PICTURE: Graph = {
    "checkpoint": node("CheckpointLoaderSimple", ckpt_name="{checkpoint}"),
    "adapter": node("IPALoadAdapter", adapter_file="{adapter}"),
    "embeds": node("IPALoadEmbeds", embeds_file="{embeds}"),
    "apply": node(
        "IPAApply",
        model=["checkpoint", 0],
        adapter=["adapter", 0],
        embeds=["embeds", 0],
        scale="{scale}",
        start_percent=0.0,
        end_percent=1.0,
    ),
    "positive": node("CLIPTextEncode", clip=["checkpoint", 1], text="{prompt}"),
    "negative": node("CLIPTextEncode", clip=["checkpoint", 1], text="{negative}"),
    "latent": node("EmptyLatentImage", width="{width}", height="{height}", batch_size=1),
    "sampler": node(
        "KSampler",
        model=["apply", 0],
        positive=["positive", 0],
        negative=["negative", 0],
        latent_image=["latent", 0],
        seed="{seed}",
        steps="{steps}",
        cfg=7.0,
        sampler_name="dpmpp_2m",
        scheduler="karras",
        denoise=1.0,
    ),
    "decode": node("VAEDecode", samples=["sampler", 0], vae=["checkpoint", 2]),
    "save": node("SaveImage", images=["decode", 0], filename_prefix="queue_prompts"),
}


def encoding(encoder: str, images: list[str], name: str) -> Graph:
    """The graph that runs the image encoder; several pictures become one reference."""
    graph: Graph = {"encoder": node("IPALoadEncoder", encoder_file=encoder)}
    for number, image in enumerate(images):
        graph[f"photo{number}"] = node("LoadImage", image=image)
        graph[f"encode{number}"] = node(
            "IPAEncodeImage", clip_vision=["encoder", 0], image=[f"photo{number}", 0]
        )
    links = {f"embeds.embeds{number}": [f"encode{number}", 0] for number in range(len(images))}
    if len(images) > 1:
        graph["merge"] = node("IPAMergeEmbeds", method="concat", weights="", **links)
        links = {"embeds.embeds0": ["merge", 0]}
    saving = {"name": name, "file_format": "safetensors", "if_exists": "keep both"}
    graph["save"] = node("IPASaveEmbeds", **saving, **links)
    return graph


def fill(template: Any, values: dict[str, Any]) -> Any:
    """Copy of a graph with the values in place; a text that is one field keeps the value's type."""
    if isinstance(template, dict):
        return {key: fill(inner, values) for key, inner in template.items()}
    if isinstance(template, list):
        return [fill(inner, values) for inner in template]
    if not isinstance(template, str):
        return template
    if template[1:-1] in values and template == f"{{{template[1:-1]}}}":
        return values[template[1:-1]]
    known = "|".join(values)
    return re.sub(rf"\{{({known})\}}", lambda found: str(values[found[1]]), template)


class Unreachable(Exception):
    """The server did not answer for longer than we are patient."""


class Refused(Exception):
    """The server does not take a request; asking again would not help."""


@dataclass
class Server:
    """HTTP to a ComfyUI server; waits through outages.

    Attributes:
        patience: seconds of silence after which we give up.
        timeout: seconds to wait for one answer.
        outages: how often the server has been away so far.
    """

    address: str
    patience: float = 120
    timeout: float = 30
    outages: int = 0
    client: str = field(default_factory=lambda: uuid.uuid4().hex)

    def call(
        self,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        arrived: Callable[[], bool] = lambda: False,
    ) -> bytes:
        """The answer to GET, or to POST if there is a body; b"" if it `arrived` without an answer.

        Args:
            arrived: asked before a second attempt, whether the first has taken effect after all.

        Raises:
            Refused: the server says no.
            Unreachable: it has said nothing for too long.
        """
        if body is not None and not isinstance(body, bytes):
            body, headers = json.dumps(body).encode(), {"Content-Type": "application/json"}
        request = urllib.request.Request(self.address + path, body, headers or {})
        attempt, silent_since = 0, time.monotonic()
        while True:
            attempt += 1
            try:
                with urllib.request.urlopen(request, timeout=self.timeout) as reply:
                    return reply.read()
            except urllib.error.HTTPError as error:
                # A bare 500 comes from a request that ComfyUI trips over, the others from a proxy.
                mine = error.code < 500 and error.code != 429
                if mine or (error.code == 500 and attempt == 3):
                    raise Refused(refusal(error, f"{error.code} {error.reason}")) from None
                problem = f"it answers {error.code} {error.reason}"
            except (OSError, ValueError, http.client.HTTPException) as error:
                problem = str(getattr(error, "reason", error)) or type(error).__name__
            self.outages += 1
            pause = min(2 ** (attempt - 2), 15)
            if time.monotonic() + pause > silent_since + self.patience:
                raise Unreachable(f"{self.address} does not answer: {problem}")
            say(f"{self.address}: {problem}; trying again in {pause:g} s")
            time.sleep(pause)
            if arrived():
                return b""

    def json(
        self, path: str, body: Any = None, read: Callable[[Any], Any] = lambda it: it, **how: Any
    ) -> Any:
        """What `read` finds in an answer; something else than ComfyUI may have sent it."""
        answer = self.call(path, body, **how)
        try:
            return read(json.loads(answer or b"null"))
        except (ValueError, LookupError, TypeError, AttributeError):
            raise Refused(f"{self.address}{path} does not answer as a ComfyUI server") from None

    def upload(self, path: Path) -> str:
        """Name of a picture among the server's inputs; the same picture is kept only once."""
        boundary = uuid.uuid4().hex
        name = re.sub(r"[^A-Za-z0-9._-]", "_", path.name)  # what any server's disk can hold
        head = (
            f"--{boundary}\r\nContent-Disposition: form-data; "
            f'name="image"; filename="{name}"\r\n\r\n'
        )
        body = head.encode() + path.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
        kind = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        return self.json("/upload/image", body, lambda saved: located(saved, "name"), headers=kind)

    def queue(self, graph: Graph, prompt_id: str) -> None:
        """Queue a graph under an id of ours, by which it is found even if the answer is lost."""
        body = {"prompt": graph, "prompt_id": prompt_id, "client_id": self.client}
        self.json("/prompt", body, arrived=lambda: self.knows(prompt_id))

    def knows(self, prompt_id: str) -> bool:
        """Whether a prompt waits, runs or has run."""
        # In this order: a prompt goes from the queue to the history, never back.
        return prompt_id in self.waiting() or self.finished(prompt_id) is not None

    def waiting(self) -> set[str]:
        """Ids of all prompts that wait or run."""
        kinds = ("queue_running", "queue_pending")
        return self.json("/queue", read=lambda queue: {one[1] for k in kinds for one in queue[k]})

    def finished(self, prompt_id: str) -> Any:
        """The history's entry of a prompt, None before its end."""
        return self.json(f"/history/{prompt_id}", read=lambda history: history.get(prompt_id))


def located(saved: dict[str, Any], key: str) -> str:
    """Name of a picture on the server, with its folder."""
    return "/".join(filter(None, (saved.get("subfolder"), saved[key])))


def refusal(answer: urllib.error.HTTPError, otherwise: str) -> str:
    """Why the server does not take a prompt, in its own words."""
    try:
        content = json.load(answer)
        faults = [
            f"{fault['class_type']}: {one['message']} ({one.get('details', '')})"
            for fault in (content.get("node_errors") or {}).values()
            for one in fault["errors"]
        ]
        return "; ".join(faults) or content["error"]["message"]
    except (ValueError, LookupError, TypeError, AttributeError, OSError, http.client.HTTPException):
        return f"the server answers {otherwise}"


def failure(entry: Any) -> str | None:
    """Which node failed and its message, None if the prompt went well."""
    status = entry.get("status") or {}
    if status.get("status_str") == "success":
        return None
    for kind, data in status.get("messages", ()):
        if kind == "execution_error":
            return f"{data['node_type']}: {data['exception_message'].strip()}"
        if kind == "execution_interrupted":
            return "interrupted on the server"
    return "failed on the server without a message"


@dataclass
class Job:
    """One graph on its way; the id is ours, so that it is never queued twice.

    Attributes:
        entry: of the server's history, once it has gone well.
        problem: why it has not gone well.
    """

    number: int
    text: str
    graph: Graph
    entry: dict[str, Any] = field(default_factory=dict)
    problem: str | None = None
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    outages: int = 0


class Flight:
    """Jobs that are on the server, a few at a time."""

    def __init__(self, server: Server, most: int) -> None:
        self.server, self.most = server, most
        self.jobs: dict[str, Job] = {}

    def run(self, jobs: Iterable[Job]) -> Iterator[Job]:
        """Queue the jobs in turn and hand each out when it has ended.

        Raises:
            Unreachable: the server has gone for good.
        """
        ahead = iter(jobs)
        while True:
            for job in itertools.islice(ahead, self.most - len(self.jobs)):
                self._send(job)
            if not self.jobs:
                return
            waiting = self.server.waiting()
            gone = [job for job in self.jobs.values() if job.id not in waiting]
            for job in gone:
                if self._has_ended(job):
                    del self.jobs[job.id]
                    yield job
            if not gone:
                time.sleep(0.3)

    def withdraw(self) -> int:
        """Take what has not begun out of the server's queue; how many still run."""
        mine, self.jobs = set(self.jobs), {}
        if not mine:
            return 0
        self.server.call("/queue", {"delete": sorted(mine)})
        return len(mine & self.server.waiting())

    def _send(self, job: Job) -> None:
        self.jobs[job.id] = job  # before it is sent: Ctrl-C may come between
        job.outages = self.server.outages
        try:
            self.server.queue(job.graph, job.id)
        except Refused as error:
            job.problem = str(error)

    def _has_ended(self, job: Job) -> bool:
        if job.problem is not None:
            return True
        entry = self.server.finished(job.id)
        if entry is not None:
            job.entry, job.problem = entry, failure(entry)
        elif self.server.outages > job.outages:  # a server that starts again has an empty queue
            self._send(job)
            return False
        else:
            job.problem = "was taken out of the queue by somebody else"
        return True


def default_name(image: Path) -> str:
    """A name for embeds that any disk can hold, after a picture with any name."""
    name = "_".join(re.findall(r"\w+", image.stem))[:50] or "reference"
    device = re.fullmatch(r"(?i)con|prn|aux|nul|(com|lpt).", name)  # no names on Windows
    return f"{name}_" if device else name


def encode(flight: Flight, encoder: str, images: list[Path], name: str | None) -> str:
    """Run the encoder on the server and save what it says; the name of the saved embeds.

    Raises:
        Refused: the server does not take the pictures, or a node fails.
    """
    uploaded = [flight.server.upload(image) for image in images]
    graph = encoding(encoder, uploaded, name or default_name(images[0]))
    (job,) = flight.run([Job(0, "encoding", graph)])
    if job.problem is not None:
        raise Refused(job.problem)
    return job.entry["outputs"]["save"]["ipadapter_embeds"][0]


def pictures(server: Server, job: Job, folder: Path | None) -> list[str]:
    """Names of the pictures a job has saved; with a folder, those of the copies in it."""
    names: list[str] = []
    for key, output in job.entry.get("outputs", {}).items():
        for saved in output.get("images") or ():
            # Previews are of type "temp" and go with the server; other packs put texts here.
            if not isinstance(saved, dict) or saved.get("type") != "output":
                continue
            name = located(saved, "filename")
            if folder is not None:
                copy = f"{job.number:04d}_{key}_{saved['filename']}"
                try:
                    content = server.call(f"/view?{urllib.parse.urlencode(saved)}")
                    name = str(keep(content, folder, copy))
                except Refused as error:
                    job.problem = f"{name} was made and cannot be fetched: {error}"
            names.append(name)
    if not names and job.problem is None:
        job.problem = "ran and saved no picture; a SaveImage node is needed in the workflow"
    return names


def keep(content: bytes, folder: Path, name: str) -> Path:
    """Write a file under a name like this that is free; what is there already stays as it is."""
    stem, ending = os.path.splitext(re.sub(r"[^\w.-]", "_", name))
    number, more = 1, ""
    while True:
        path = folder / f"{stem[:60]}{more}{ending[:10]}"  # 255 bytes at most, in any script
        try:
            with path.open("xb") as file:
                file.write(content)
            return path
        except FileExistsError:
            number += 1
            more = f"_{number}"


@dataclass
class Tally:
    """What has become of the prompts so far."""

    total: int
    done: int = 0
    failed: int = 0
    begun: float = field(default_factory=time.monotonic)

    def add(self, job: Job, names: list[str]) -> None:
        if job.problem is None:
            self.done += 1
            sys.stdout.writelines(f"{name}\n" for name in names)
            sys.stdout.flush()
        else:
            self.failed += 1
            say(f"prompt {job.number} ({job.text:.40}): {job.problem}")
        each = (time.monotonic() - self.begun) / (self.done + self.failed)
        say(f"{self}, {each:.1f} s each", end="")

    def __str__(self) -> str:
        return f"{self.done}/{self.total} done, {self.failed} failed"


def say(text: str, end: str = "\n") -> None:
    """A line in a log; on a terminal the next one takes its place if it has no end."""
    sys.stderr.write(f"\r{text}\x1b[K{end}" if sys.stderr.isatty() else f"{text}\n")
    sys.stderr.flush()


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    add = parser.add_argument
    add("--server", default="http://127.0.0.1:8188", help="address of the ComfyUI server")
    add("--image", type=Path, nargs="+", default=[], help="reference pictures, heard together")
    add("--encoder", help="image encoder in models/clip_vision: a file or a folder")
    add("--name", help="name for the saved embeds, the first picture's if left out")
    add("--embeds", help="embeds that are saved already; nothing is encoded then")
    add("--checkpoint", help="file in models/checkpoints")
    add("--adapter", help="file in models/ipadapter")
    add("--workflow", type=Path, help='an own graph in API format, with "{prompt}" and so on in it')
    add("--prompts", help="text file with a prompt in each line, - for stdin; samples if left out")
    add("--count", type=int, help="how many pictures; prompts start again (default: 100 samples)")
    add("--negative", default="", help="what not to show")
    add("--scale", type=float, default=0.8, help="weight of the reference")
    add("--steps", type=int, default=20, help="steps of the sampler")
    add("--size", default="512x512", help="width x height in pixels")
    add("--seed", type=int, default=0, help="of the first picture; each has the next one")
    add("--output", type=Path, help="folder to fetch the pictures into, beside what is there")
    add("--in-flight", type=int, default=4, help="prompts on the server at a time")
    add("--patience", type=float, default=120, help="seconds to wait for a silent server")
    return parser


def read_prompts(source: str | None, count: int | None) -> list[str]:
    """The prompts, from the beginning again until there are `count`."""
    if source is None:
        found, count = list(SAMPLES), 100 if count is None else count
    else:
        raw = sys.stdin.read() if source == "-" else Path(source).read_text("utf-8-sig")
        found = [line.strip() for line in raw.splitlines() if line.strip()]
    if not found:
        raise ValueError(f"{source} holds no prompt")
    return list(itertools.islice(itertools.cycle(found), len(found) if count is None else count))


def read_workflow(path: Path | None) -> Graph:
    """The graph of a picture, ours or the user's own."""
    if path is None:
        return PICTURE
    graph = json.loads(path.read_text("utf-8-sig"))
    nodes = graph.values() if isinstance(graph, dict) else [None]
    if not all(isinstance(one, dict) and "class_type" in one for one in nodes):
        raise ValueError(f'{path} is no graph in API format; use "Export (API)" in the editor')
    return graph


def read_address(text: str) -> str:
    """The address of a server as it is put before a path; no mistake in it is worth a retry."""
    text = text.strip()
    address = text if "://" in text else f"http://{text}"
    form = r"(?i)https?://([\w.-]+|\[[^\s\]]+\])(:\d+)?(/[\w.~%/-]*)?"
    try:
        parts = urllib.parse.urlsplit(address)
        (parts.hostname or "").encode("idna")
        fine = re.fullmatch(form, address) and parts.port != 0 and parts.path.isascii()
    except ValueError:
        fine = False
    if not fine:
        raise ValueError(
            f"--server {text!r} is no address of a server; one like http://127.0.0.1:8188 is needed"
        )
    return address.rstrip("/")


def check(parser: argparse.ArgumentParser, args: argparse.Namespace, graph: Graph) -> None:
    """End with a sentence if an option is missing or odd."""
    if re.fullmatch(r"\d+x\d+", args.size) is None:
        parser.error("--size is width x height, e.g. 512x768")
    if args.in_flight < 1 or (args.count is not None and args.count < 1):
        parser.error("--in-flight and --count are at least 1")
    if not args.embeds and not (args.image and args.encoder):
        parser.error("--image and --encoder are needed, or --embeds")
    text = json.dumps(graph)
    for key in ("checkpoint", "adapter"):
        if f"{{{key}}}" in text and not getattr(args, key):
            parser.error(f"--{key} is needed")
    for key in ("prompt", "embeds"):
        if f"{{{key}}}" not in text:
            parser.error(f'{args.workflow} has no "{{{key}}}" in it')


def make_jobs(args: argparse.Namespace, graph: Graph, prompts: list[str], embeds: str) -> list[Job]:
    """One job for each picture, with a seed of its own."""
    width, height = map(int, args.size.split("x"))
    same = {key: getattr(args, key) for key in FIELDS if hasattr(args, key)}
    same |= {"embeds": embeds, "width": width, "height": height}
    return [
        Job(n, prompt, fill(graph, same | {"prompt": prompt, "seed": args.seed + n - 1}))
        for n, prompt in enumerate(prompts, 1)
    ]


def check_differ(parser: argparse.ArgumentParser, jobs: list[Job]) -> None:
    """End with a sentence if a graph comes twice: a server makes the picture only once."""
    seen: dict[str, int] = {}
    for job in jobs:
        first = seen.setdefault(json.dumps(job.graph), job.number)
        if first != job.number:
            parser.error(
                f"prompts {first} and {job.number} come out identical, which gives one picture; "
                'put "{seed}" into the workflow, or ask for fewer prompts with --count'
            )


def main() -> int:
    parser = make_parser()
    args = parser.parse_args()
    try:
        address = read_address(args.server)
        graph, prompts = read_workflow(args.workflow), read_prompts(args.prompts, args.count)
        if args.output is not None:
            args.output.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError, TypeError) as error:
        parser.error(str(error))
    check(parser, args, graph)
    check_differ(parser, make_jobs(args, graph, prompts, args.embeds or ""))
    flight = Flight(Server(address, args.patience), args.in_flight)
    tally = Tally(len(prompts))
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # that is how services are stopped
    try:
        embeds = args.embeds or encode(flight, args.encoder, args.image, args.name)
        say(f"the embeds are {embeds}")
        tally.begun = time.monotonic()
        for job in flight.run(make_jobs(args, graph, prompts, embeds)):
            tally.add(job, pictures(flight.server, job, args.output))
    except KeyboardInterrupt:
        return stop(flight, tally)
    except (Unreachable, Refused, OSError) as error:
        say(str(error))
        stop(flight, tally)
        return 1
    say(str(tally))
    return 0 if tally.done == tally.total else 1


def stop(flight: Flight, tally: Tally) -> int:
    """Before the end: leave nothing of ours waiting, and say how far we came."""
    flight.server.patience = min(flight.server.patience, 5)
    try:
        running = flight.withdraw()
        say(f"stopped: {tally}" + (f", {running} still running on the server" if running else ""))
    except (Unreachable, Refused):
        say(f"stopped: {tally}; some may still wait in the server's queue")
    return 130


if __name__ == "__main__":
    sys.exit(main())
