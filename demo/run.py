"""Shows the pack at work in a ComfyUI of its own; started by `python dev.py demo`."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import webbrowser
from pathlib import Path

HERE = Path(os.path.abspath(__file__)).parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT))

import toys  # noqa: E402
from comfy_client import Pictures, RunFailed, run_prompt, run_workflow  # noqa: E402
from comfy_server import Server, ServerError, choose_port, server_command  # noqa: E402
from PIL import Image  # noqa: E402
from prompts import Json, WorkflowError  # noqa: E402
from sheets import real_sheet, toy_sheet  # noqa: E402
from stand_ins import fitted, real_models  # noqa: E402

from dev import Problem, cache, digest, say  # noqa: E402

WORKFLOW = ROOT / "example_workflows" / "IP-Adapter 02 First picture in single nodes.json"
TOY_FOLDER = "ipadapter_demo"
PHOTO = "ipadapter_reference.jpg"
SAVED_AS = "IP-Adapter demo.json"
NEEDED_FOLDERS = ("checkpoints", "ipadapter", "clip_vision")
NOT_COPIED = (".git", ".venv", "__pycache__", "node_modules")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--once", action="store_true")
    parser.add_argument("--port", type=int)
    parser.add_argument("--toy", action="store_true", help="the toy models in any case")
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
    models = prepare_models(base, models_yaml, *(["--toy"] if options.toy else []))
    workflow = fitted_workflow(models)
    save_for_editor(workflow, base)
    say(f"Starting ComfyUI from {comfyui} (10 to 60 seconds) ...")
    command = server_command(comfyui, base, models_yaml, port, cpu=not models["gpu"])
    # The toys are so small that threads wait for each other longer than they calculate.
    threads = 1 if models["toy"] else None
    with Server(command, base, port, threads) as server:
        try:
            server.wait_until_ready()
            make_pictures(server.address, workflow, models, base)
            if models["toy"]:
                say(how_to_get_real_pictures(comfyui / "models"))
            if not options.once:
                keep_running(server, bool(models["toy"]))
        except (ServerError, RunFailed, WorkflowError) as error:
            say(f"\n{server.log_end()}\n(the end of {server.log})\n\nThe demo failed: {error}.")
            if not models["toy"]:
                say("With --toy it uses the toy models that come with it instead.")
            return 1
    return 0


def make_pictures(address: str, workflow: Json, models: Json, base: Path) -> None:
    """The picture of the workflow, and a contact sheet."""
    say(f"ComfyUI runs at {address}; making a picture with the workflow of the editor ...")
    pictures = asyncio.run(run_workflow(address, workflow, show_progress))
    end_progress()
    report(pictures, base)
    sheet = toy_sheet() if models["toy"] else real_sheet(models, PHOTO, toys.PICTURES[0])
    say(f"Making a contact sheet of {sheet.painted} pictures ...")
    made = asyncio.run(run_prompt(address, sheet.prompt, show_progress))
    end_progress()
    say(f"Contact sheet: {saved_at(made[sheet.saved][0], base)}")


def keep_running(server: Server, toy: bool) -> None:
    address, where = server.address, "Open the workflow there under Workflows:"
    if toy:
        address += f"/?template={toys.WORKFLOW.stem}&source={TOY_FOLDER}"
        where = "It shows the workflow; zoom in with the mouse wheel to read. It is kept too, as"
    say(f"The editor runs at {address} (Ctrl-C stops it).")
    say(f'{where} "{Path(SAVED_AS).stem}".')
    if has_screen():
        webbrowser.open(address)
    server.process.wait()
    raise ServerError("ComfyUI ended by itself")


def has_screen() -> bool:
    """Whether someone sits there to whom a browser can be shown."""
    window = sys.platform in ("win32", "darwin") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )
    return window and sys.stdout.isatty()


def make_base_folder() -> Path:
    """A folder outside the checkout with the pack, the toy models and the references."""
    base = cache() / f"demo-{digest(str(ROOT))[:8]}"
    for name in ("custom_nodes", "input", "output", "user/default/workflows"):
        (base / name).mkdir(parents=True, exist_ok=True)
    put_folder(ROOT, base / "custom_nodes" / "ipadapter")
    put_folder(toys.NODES, base / "custom_nodes" / TOY_FOLDER)
    toys.put_files(base / "models", base / "input")
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
    if "--toy" in options:
        say("Using the toy models.")
    elif models["toy"]:
        found = ", ".join(f"{count} {kind}" for kind, count in models["found"].items())
        say(f"No real models that go together (found: {found}): the toy models are used instead.")
    else:
        say("Using {checkpoint} with {adapter} and {encoder}.".format(**models))
    return models


def fitted_workflow(models: Json) -> Json:
    """What the editor is opened with."""
    if models["toy"]:
        return json.loads(toys.WORKFLOW.read_text("utf-8"))
    names = (models[kind] for kind in ("checkpoint", "adapter", "encoder", "size"))
    return fitted(json.loads(WORKFLOW.read_text("utf-8")), real_models(*names))


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


def report(pictures: Pictures, base: Path) -> None:
    records = [record for of_a_node in pictures.values() for record in of_a_node]
    if not records:
        raise RunFailed("the workflow ran without an error, but saved no picture")
    for record in records:
        path = saved_at(record, base)
        with Image.open(path) as image:
            width, height = image.size
        say(f"Picture: {path} ({width} x {height}, {path.stat().st_size // 1024} KB)")


def saved_at(record: Json, base: Path) -> Path:
    return base / record["type"] / record["subfolder"] / record["filename"]


def how_to_get_real_pictures(models: Path) -> str:
    lines = [
        "The toy models know a dozen shapes and nothing else; they are here to show what an",
        "IP-Adapter does. For real pictures, download these files and run it again:",
    ]
    workflow = json.loads(WORKFLOW.read_text("utf-8"))
    for node in workflow["nodes"]:
        for file in node["properties"].get("models", []):
            lines.append(f"  {file['url']}")
            lines.append(f"    save as {models / file['directory'] / file['name']}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
