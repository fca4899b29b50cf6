#!/usr/bin/env python3
"""Encode a picture once, save its embeds, and queue any number of prompts with them.

One page over one ComfyUI server, to be copied into a service (pip install requests tqdm):

    python queue_prompts.py --image cat.jpg --prompts prompts.txt --output pictures \\
        --checkpoint v1-5-pruned-emaonly-fp16.safetensors --adapter ip-adapter_sd15.safetensors \\
        --encoder CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors

Names of the pictures go to stdout; what failed to stderr, with the name of its error. The exit
status is 0 if every prompt gave its picture, 1 if one did not, 2 for wrong options, 130 after
Ctrl-C, which leaves nothing of ours in the queue.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import signal
import sys
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import requests
from tqdm import tqdm

GRAPHS = Path(__file__).parent / "api"
IN_FLIGHT = 4  # prompts on the server at a time, so that it never waits for us


class Failed(Exception):
    """Why a prompt gives no picture, in the server's words."""


class Server:
    """The few calls of ComfyUI's API that a service needs."""

    def __init__(self, address: str) -> None:
        self.address = (address if "://" in address else f"http://{address}").rstrip("/")
        self.waiting: set[str] = set()
        self.stopped = threading.Event()

    def call(self, method: str, path: str, **what: Any) -> requests.Response:
        reply = requests.request(method, self.address + path, timeout=60, **what)
        if path == "/prompt" and reply.status_code == 400:
            answer = reply.json()
            refused = [
                f"{node['class_type']}: {error['message']} ({error['details']})"
                for node in dict(answer["node_errors"]).values()
                for error in node["errors"]
            ]
            raise Failed("; ".join(refused) or answer["error"]["message"])
        reply.raise_for_status()
        return reply

    def run(self, graph: dict[str, Any]) -> dict[str, Any]:
        """Queue a graph and wait for what its nodes give."""
        prompt_id = str(uuid.uuid4())  # ours, so that Ctrl-C finds it even before the answer
        self.waiting.add(prompt_id)
        self.call("POST", "/prompt", json={"prompt": graph, "prompt_id": prompt_id})
        entry = None
        while entry is None:
            if self.stopped.wait(0.1):
                raise Failed("stopped before its end")
            # In this order: a prompt goes from the queue to the history, never back.
            left = self.call("GET", "/prompt").json()["exec_info"]["queue_remaining"]
            entry = self.call("GET", f"/history/{prompt_id}").json().get(prompt_id)
            if not (left or entry):
                raise Failed("is neither in the server's queue nor in its history")
        self.waiting.discard(prompt_id)
        for kind, said in entry["status"]["messages"]:
            if kind == "execution_error":
                error = f"{said['exception_type']}: {said['exception_message'].strip()}"
                raise Failed(f"{said['node_type']}: {error}")
            if kind == "execution_interrupted":
                raise Failed("interrupted on the server")
        return entry["outputs"]

    def withdraw(self) -> None:
        """Take what has not begun out of the queue."""
        with contextlib.suppress(OSError):  # a server that is gone has nothing of ours
            self.call("POST", "/queue", json={"delete": sorted(self.waiting)})

    def encode(self, image: Path, encoder: str) -> str:
        """Run the encoder; the name of the saved embeds, which is one for the same picture."""
        with image.open("rb") as file:
            photo = self.call("POST", "/upload/image", files={"image": file}).json()["name"]
        name = "reference_" + re.sub(r"\W+", "_", image.stem)[:40]  # any disk can hold that
        graph = (GRAPHS / "encode.json").read_text("utf-8")
        made = self.run(fill(graph, photo=photo, encoder=encoder, name=name))
        return made["save"]["ipadapter_embeds"][0]

    def fetch(self, made: dict[str, Any], folder: Path, number: int) -> None:
        """Copy the pictures that a prompt has saved, under names that nothing else has."""
        listed = [one for output in made.values() for one in output.get("images") or ()]
        saved = [one for one in listed if isinstance(one, dict) and one.get("type") == "output"]
        if not saved:
            raise Failed("ran and saved no picture; a SaveImage node is needed in the workflow")
        for one in saved:
            path = folder / f"{number:04d}_{uuid.uuid4().hex}{Path(one['filename']).suffix}"
            path.write_bytes(self.call("GET", "/view", params=one).content)
            tqdm.write(str(path))


def fill(template: str, **values: object) -> dict[str, Any]:
    """A graph with values for "{prompt}" and so on; the server makes numbers of texts."""

    def value(found: re.Match[str]) -> str:
        return json.dumps(str(values[found[1]]))[1:-1] if found[1] in values else found[0]

    return json.loads(re.sub(r"\{(\w+)\}", value, template))


def make(server: Server, args: argparse.Namespace, number: int, prompt: str) -> bool:
    """One prompt from the queue to its pictures; whether all went well."""
    own = {"prompt": prompt, "seed": args.seed + number - 1}
    same = {name: vars(args)[name] for name in ("embeds", "checkpoint", "adapter")}
    try:
        server.fetch(server.run(fill(args.template, **own, **same)), args.output, number)
    except Failed as error:
        tqdm.write(f"prompt {number} ({prompt:.40}): {error}", sys.stderr)
        return False
    return True


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add, own = parser.add_argument, GRAPHS / "picture.json"
    add("--server", default="http://127.0.0.1:8188", help="address of the ComfyUI server")
    add("--image", type=Path, help="reference picture")
    add("--encoder", help="image encoder in models/clip_vision: a file or a folder")
    add("--embeds", help="embeds that are saved already; nothing is encoded then")
    add("--checkpoint", help="file in models/checkpoints")
    add("--adapter", help="file in models/ipadapter")
    add("--workflow", type=Path, default=own, help='own graph in API format with "{prompt}" in it')
    add("--prompts", type=Path, required=True, help="text file with a prompt in each line")
    add("--seed", type=int, default=0, help="of the first picture; each has the next one")
    add("--output", type=Path, default=Path(), help="folder for the pictures")
    args = parser.parse_args()
    if not args.embeds and not (args.image and args.encoder):
        parser.error("--image and --encoder are needed, or --embeds")
    try:
        args.output.mkdir(parents=True, exist_ok=True)
        args.template = json.dumps(json.loads(args.workflow.read_text("utf-8-sig")))
        lines = args.prompts.read_text("utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        parser.error(str(error))
    args.lines = [line.strip() for line in lines if line.strip()]
    return args


def main() -> int:
    args = read_options()
    server, done, failed, code = Server(args.server), 0, 0, 1
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # that is how services are stopped
    with ThreadPoolExecutor(IN_FLIGHT) as pool:
        try:
            args.embeds = args.embeds or server.encode(args.image, args.encoder)
            tqdm.write(f"the embeds are {args.embeds}", sys.stderr)
            jobs = [pool.submit(make, server, args, *job) for job in enumerate(args.lines, 1)]
            for job in tqdm(jobs, disable=None):
                done, failed = done + job.result(), failed + (not job.result())
            code = int(failed > 0)
        except KeyboardInterrupt:
            code = 130
        except (Failed, OSError) as error:  # such as a server that is not there
            tqdm.write(str(error), sys.stderr)
        server.stopped.set()
        pool.shutdown(cancel_futures=True)
    server.withdraw()
    tqdm.write(f"{done}/{len(args.lines)} done, {failed} failed", sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
