"""What a worker starts its ComfyUI from: whether it is there, and what it has to be."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from ..work import FarmError, Settings

PROBE = "import importlib.util as i; print('torch', i.find_spec('torch') is not None)"
PROBE_SECONDS = 60
BASE, DEFAULT = "base_path", "is_default"  # in a list of folders, beside the folders


def resolved(settings: Settings) -> Settings:
    """Settings with whole paths, all of which are there on this machine.

    Raises:
        FarmError: one is not, or is not what it has to be.
    """
    comfyui = Path(settings.comfyui).expanduser().absolute()
    if not (comfyui / "main.py").is_file():
        raise FarmError(
            f"{comfyui} holds no ComfyUI on {socket.gethostname()} (main.py is missing), and "
            "a worker needs one. Give --comfyui the folder that is the same on each machine"
        )
    python = _python(settings.python)
    _require_torch(python, comfyui)
    models = _models(settings.models) if settings.models else ""
    return replace(settings, comfyui=str(comfyui), python=python, models=models)


def _python(name: str) -> str:
    if not name:
        return sys.executable
    path = Path(name).expanduser()
    found = shutil.which(path.absolute() if os.path.dirname(name) else name)
    if found is None:
        what = (
            "is a folder" if path.is_dir() else "cannot be run" if path.exists() else "is missing"
        )
        raise _no_python(name, what)
    return os.path.abspath(found)


def _require_torch(python: str, comfyui: Path) -> None:
    try:
        asked = subprocess.run(
            [python, "-c", PROBE],
            cwd=comfyui,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PROBE_SECONDS,
        )
    except OSError as error:
        raise _no_python(python, f"does not run ({error.strerror})") from None
    except subprocess.TimeoutExpired:
        raise _no_python(python, f"does not answer within {PROBE_SECONDS} seconds") from None
    (*_, said) = asked.stdout.splitlines() or [""]
    if said == "torch False":
        raise _no_python(python, "has no torch")
    if said != "torch True":
        raise _no_python(python, "does not answer as a Python does")


def _no_python(name: str, what: str) -> FarmError:
    return FarmError(
        f"{name} {what} on {socket.gethostname()}, and a worker needs the Python that runs its "
        "ComfyUI. Give --python the file that does, as /opt/comfy/venv/bin/python"
    )


def _models(name: str) -> str:
    path = Path(name).expanduser().absolute()
    if path.is_dir():
        raise _no_models(path, "is a folder")
    try:
        config = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise _no_models(path, f"cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise _no_models(path, f"is no YAML ({reason})") from None
    if not _is_list_of_folders(config):
        raise _no_models(path, "does not say which folders hold which models")
    folders = [*_folders(path, config)]
    if not any(map(os.path.isdir, folders)):
        named = f", such as {folders[0]}" if folders else ""
        raise _no_models(path, f"names no folder that is there{named}")
    return str(path)


def _is_list_of_folders(config: Any) -> bool:
    """Whether ComfyUI can read it: sections of names with texts."""
    return isinstance(config, dict) and all(
        section is None
        or (
            isinstance(section, dict)
            and all(isinstance(section[name], str) for name in section if name != DEFAULT)
        )
        for section in config.values()
    )


def _folders(path: Path, config: dict[str, Any]) -> Iterator[str]:
    """The folders of all sections, as ComfyUI's utils/extra_config.py finds them."""
    for section in filter(None, config.values()):
        base = os.path.expandvars(os.path.expanduser(section.get(BASE, "")))
        values = [section[name] for name in section if name not in (BASE, DEFAULT)]
        for line in filter(None, "\n".join(values).split("\n")):
            yield os.path.normpath(os.path.join(path.parent, base, line))


def _no_models(path: Path, what: str) -> FarmError:
    return FarmError(
        f"{path} {what}, and --models takes an extra_model_paths.yaml of ComfyUI that names the "
        "folders of your models. Correct it, or leave the option out"
    )
