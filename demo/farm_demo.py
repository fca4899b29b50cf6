"""Sixty rows with the toy models on two workers, and their sheet; `python dev.py farm-demo`."""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import webbrowser
from collections.abc import Iterable
from pathlib import Path

HERE = Path(os.path.abspath(__file__)).parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT))

import toys  # noqa: E402
from prompts import Json  # noqa: E402
from stand_ins import TOY_CFG, TOY_PLUS, TOY_SIZE, TOY_STEPS  # noqa: E402

from dev import Problem, cache, digest, say  # noqa: E402

TOY = "toy model (trained on drawings)"
WORDS = ("star", "heart", "moon", "clover", "bolt")
SCALES = (0.0, 0.4, 0.7, 1.0)
Row = tuple[str, str, float, int]
COLUMNS = ("prompt", "reference", "scale", "seed")


def main() -> int:
    parser = argparse.ArgumentParser(prog="dev.py farm-demo")
    parser.add_argument("--no-browser", action="store_true", help="do not open the sheet")
    parser.add_argument("--workers", type=int, default=2, help="how many ComfyUI (2)")
    options = parser.parse_args()
    try:
        job = prepare(cache() / f"farm-demo-{digest(str(ROOT))[:8]}", rows())
    except Problem as error:
        say(f"farm-demo: {error}.")
        return 1
    sheet = job / "out" / "index.html"
    command = farm_command(job, Path(os.environ["COMFYUI_PATH"]), options.workers)
    say("The same from a shell:\n  " + " ".join(command))
    code = run(command)
    if code == 0:
        say(f"Contact sheet: {sheet}")
        if not options.no_browser and sys.stdout.isatty():
            webbrowser.open(sheet.as_uri())
    return code


def run(command: list[str]) -> int:
    """Wait for it to clean up after Ctrl-C, which it hears as well."""
    # The toys are so small that threads wait for each other longer than they calculate.
    child = subprocess.Popen(command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"})
    while child.returncode is None:
        try:
            child.wait()
        except KeyboardInterrupt:
            continue
    return child.returncode


def prepare(folder: Path, rows: Iterable[Row]) -> Path:
    """A folder with a table, a workflow, and the toy models for a ComfyUI; nothing made yet."""
    shutil.rmtree(folder, ignore_errors=True)
    custom_nodes = folder / "custom_nodes"
    toys.put_files(folder / "models", folder / "references")
    shutil.copytree(
        toys.NODES, custom_nodes / "toy_nodes", ignore=shutil.ignore_patterns("__pycache__")
    )
    # JSON is YAML too.
    paths = {name: f"models/{name}" for name in ("ipadapter", "clip_vision")}
    config = {"farm demo": {"base_path": str(folder), "custom_nodes": "custom_nodes", **paths}}
    (folder / "models.yaml").write_text(json.dumps(config), "utf-8")
    (folder / "workflow.json").write_text(json.dumps(workflow(), indent=1), "utf-8")
    with (folder / "jobs.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    return folder


def rows() -> list[Row]:
    """What each picture is made of; paths are those beside the table."""
    return [
        (f"a {word}", f"references/{picture}", scale, seed)
        for picture in toys.PICTURES
        for seed, word in enumerate(WORDS)
        for scale in SCALES
    ]


def workflow() -> Json:
    """As the editor's "Export (API)" has it."""
    model, clip, vae = (["checkpoint", slot] for slot in range(3))
    sampling = {"steps": TOY_STEPS, "cfg": TOY_CFG, "denoise": 1.0, "seed": 0}
    return {
        "checkpoint": _node("IPAToyCheckpoint", ckpt_name=TOY),
        "encoder": _node("IPAToyEncoder", clip_name=TOY),
        "adapter": _node("IPALoadAdapter", adapter_file=TOY_PLUS),
        "image": _node("LoadImage", image=toys.PICTURES[0]),
        "embeds": _node("IPAEncodeImage", clip_vision=["encoder", 0], image=["image", 0]),
        "apply": _node(
            "IPAApply",
            **{"model": model, "adapter": ["adapter", 0], "embeds": ["embeds", 0]},
            **{"scale": 1.0, "start_percent": 0.0, "end_percent": 1.0},
        ),
        "positive": _node("CLIPTextEncode", clip=clip, text="a star"),
        "negative": _node("CLIPTextEncode", clip=clip, text=""),
        "empty": _node("EmptyLatentImage", width=TOY_SIZE, height=TOY_SIZE, batch_size=1),
        "sample": _node(
            "KSampler",
            **{"model": ["apply", 0], "positive": ["positive", 0], "negative": ["negative", 0]},
            **{"latent_image": ["empty", 0], "sampler_name": "euler", "scheduler": "normal"},
            **sampling,
        ),
        "decode": _node("VAEDecode", samples=["sample", 0], vae=vae),
        "save": _node("SaveImage", images=["decode", 0], filename_prefix="farm"),
    }


def _node(kind: str, **inputs: object) -> Json:
    return {"class_type": kind, "inputs": inputs}


def farm_command(job: Path, comfyui: Path, workers: int) -> list[str]:
    return [
        *(sys.executable, "-m", "farm", str(job / "jobs.csv")),
        *("--workflow", str(job / "workflow.json"), "--out", str(job / "out")),
        *("--workers", str(workers), "--comfyui", str(comfyui), "--cpu"),
        *("--models", str(job / "models.yaml")),
    ]


if __name__ == "__main__":
    sys.exit(main())
