"""Runs servers as forks of a process that has imported the large libraries: half of their start.

What a server imports of the host and of the packs is its own; only the standard library is imported
here, because the fork imports this file.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import subprocess
import sys
from pathlib import Path
from types import ModuleType

LIBRARIES = (
    *("torch", "torch._dynamo", "torchvision", "transformers", "torchsde", "scipy.stats"),
    *("safetensors.torch", "numpy", "PIL.Image", "aiohttp.web", "sqlalchemy", "sympy", "av"),
    *("comfy_kitchen", "transformers.models.clip.tokenization_clip", "einops"),
)


class Fork:
    """As much of a `subprocess.Popen` as the demo's server needs."""

    def __init__(self, command: list[str], folder: Path, log: Path, own: tuple[Path, ...]) -> None:
        """Run the Python script of a command, which begins with the name of Python.

        Args:
            own: folders that are on the path of the tests and must not be on that of the script.
        """
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(LIBRARIES))
        arguments = (command[1:], folder, log, own, dict(os.environ))
        self._process = context.Process(target=_run, args=arguments, daemon=True)
        # A fork imports the script of whoever starts it, with all the path and options of that.
        script, sys.modules["__main__"] = sys.modules["__main__"], ModuleType("__main__")
        try:
            self._process.start()
        finally:
            sys.modules["__main__"] = script
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def terminate(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        code = self._process.exitcode
        if code is None:
            raise subprocess.TimeoutExpired("the server", timeout or 0.0)
        return code


def _run(
    command: list[str],
    folder: Path,
    log: Path,
    own: tuple[Path, ...],
    environment: dict[str, str],
) -> None:
    with log.open("wb") as output:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(output.fileno(), stream.fileno())
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    script = command[0]
    foreign = tuple(map(str, own))
    kept = [path for path in sys.path if path and not path.startswith(foreign)]
    sys.path[:] = [os.path.dirname(script), *kept]
    sys.argv = command
    for name in [name for name in sys.modules if name.split(".")[0] == "kit"]:
        del sys.modules[name]
    runpy.run_path(script, run_name="__main__")
