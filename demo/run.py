"""Makes a picture with the pack in a ComfyUI of its own; started by `python dev.py demo`."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

HERE = Path(os.path.abspath(__file__)).parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT))

from comfy_client import RunFailed, make_picture  # noqa: E402
from comfy_server import Server, ServerError, choose_port, server_command  # noqa: E402
from PIL import Image  # noqa: E402
from prompts import Json, WorkflowError  # noqa: E402
from stand_ins import Models, fitted, random_models, real_models  # noqa: E402

from dev import Problem, cache, digest, say  # noqa: E402

WORKFLOW = ROOT / "example_workflows" / "first_picture.json"
PHOTO = "ipadapter_reference.jpg"
SAVED_AS = "IP-Adapter first picture.json"
NEEDED_FOLDERS = ("checkpoints", "ipadapter", "clip_vision")
RANDOM_SIZE = 256
NOT_COPIED = (".git", ".venv", "__pycache__", "node_modules")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--once", action="store_true")
    parser.add_argument("--port", type=int)
    parser.add_argument("--random", action="store_true", help="use random weights in any case")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return show(Path(os.environ["COMFYUI_PATH"]), options)
    except (ServerError, Problem) as error:
        say(f"demo: {error}.")
        return 1
    except KeyboardInterrupt:
        return 130


def show(comfyui: Path, options: argparse.Namespace) -> int:
    port = choose_port(options.port)
    base = make_base_folder()
    models_yaml = name_models_of(comfyui, base)
    models = prepare_models(base, models_yaml, *(["--random"] if options.random else []))
    workflow = fitted(json.loads(WORKFLOW.read_text("utf-8")), models_of(models))
    save_for_editor(workflow, base)
    say(f"Starting ComfyUI from {comfyui} (10 to 60 seconds) ...")
    command = server_command(comfyui, base, models_yaml, port, cpu=not models["gpu"])
    with Server(command, base, port) as server:
        try:
            server.wait_until_ready()
            say(f"ComfyUI runs at {server.address}; making a picture with {WORKFLOW.name} ...")
            pictures = asyncio.run(make_picture(server.address, workflow, show_progress))
            end_progress()
            report(pictures, base, comfyui, bool(models["random"]))
            if not options.once:
                keep_running(server)
        except (ServerError, RunFailed, WorkflowError) as error:
            say(f"\n{server.log_end()}\n(the end of {server.log})\n\nThe demo failed: {error}.")
            return 1
    return 0


def keep_running(server: Server) -> None:
    say(f"The editor runs at {server.address} (Ctrl-C stops it).")
    say(f'This workflow is there under Workflows, as "{Path(SAVED_AS).stem}".')
    server.process.wait()
    raise ServerError("ComfyUI ended by itself")


def make_base_folder() -> Path:
    """A folder outside the checkout with the pack, the demo's nodes and the photo."""
    base = cache() / f"demo-{digest(str(ROOT))[:8]}"
    for name in ("custom_nodes", "input", "models", "output", "user/default/workflows"):
        (base / name).mkdir(parents=True, exist_ok=True)
    put_folder(ROOT, base / "custom_nodes" / "ipadapter")
    put_folder(HERE / "tiny_nodes", base / "custom_nodes" / "ipadapter_demo")
    shutil.copyfile(HERE / "reference.jpg", base / "input" / PHOTO)
    return base


def put_folder(source: Path, target: Path) -> None:
    """Link, or copy where the system forbids links (Windows without developer mode)."""
    if target.is_symlink():
        if target.readlink() == source:
            return
        target.unlink()
    elif target.exists():
        shutil.rmtree(target)
    try:
        target.symlink_to(source, target_is_directory=True)
    except OSError:
        shutil.copytree(source, target, ignore=shutil.ignore_patterns(*NOT_COPIED))


def name_models_of(comfyui: Path, base: Path) -> Path:
    """Tell the demo's server about ComfyUI's own models; JSON is YAML too."""
    models = comfyui / "models"
    present = [entry.name for entry in models.glob("*") if entry.is_dir()]
    folders = {name: name for name in (*present, *NEEDED_FOLDERS)}
    config = base / "models_of_comfyui.yaml"
    config.write_text(json.dumps({"comfyui": {"base_path": str(models), **folders}}), "utf-8")
    return config


def prepare_models(base: Path, models_yaml: Path, *options: str) -> Json:
    """Which models the picture is made with; see prepare_models.py."""
    say("Looking for models ...")
    result = base / "models.json"
    result.unlink(missing_ok=True)
    command = [sys.executable, HERE / "prepare_models.py", base, models_yaml, result, *options]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode:
        raise ServerError(f"looking for models failed:\n{done.stderr.strip()}")
    models = json.loads(result.read_text("utf-8"))
    if models["random"]:
        say("No real models: small ones with random weights are made instead.")
    else:
        say("Using {checkpoint} with {adapter} and {encoder}.".format(**models))
    return models


def models_of(found: Json) -> Models:
    """What prepare_models.py has found or made."""
    if found["random"]:
        return random_models(RANDOM_SIZE, found["adapter"])
    return real_models(found["checkpoint"], found["adapter"], found["encoder"], found["size"])


def save_for_editor(workflow: Json, base: Path) -> None:
    path = base / "user" / "default" / "workflows" / SAVED_AS
    path.write_text(json.dumps(workflow), "utf-8")


def show_progress(text: str) -> None:
    """One line that updates itself; in a log, one line for each node."""
    if sys.stdout.isatty():
        width = shutil.get_terminal_size().columns - 3
        print(f"\r  {text[:width]:{width}}", end="", flush=True)
    elif ": step " not in text:
        say(f"  {text}")


def end_progress() -> None:
    if sys.stdout.isatty():
        print()


def report(pictures: list[Json], base: Path, comfyui: Path, random: bool) -> None:
    if not pictures:
        raise RunFailed(f"{WORKFLOW.name} ran without an error, but saved no picture")
    for picture in pictures:
        path = base / picture["type"] / picture["subfolder"] / picture["filename"]
        with Image.open(path) as image:
            width, height = image.size
        say(f"Picture: {path} ({width} x {height}, {path.stat().st_size // 1024} KB)")
    if random:
        say(how_to_get_real_pictures(comfyui / "models"))


def how_to_get_real_pictures(models: Path) -> str:
    lines = [
        "The picture is noise by design: without real models the demo made small ones with",
        "random weights. For real pictures, download these files and run it again:",
    ]
    workflow = json.loads(WORKFLOW.read_text("utf-8"))
    for node in workflow["nodes"]:
        for file in node["properties"].get("models", []):
            lines.append(f"  {file['url']}")
            lines.append(f"    save as {models / file['directory'] / file['name']}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
