"""Speed and memory of the pack: counts that must hold, times that are worth knowing.

python dev.py bench [--quick] [--incumbent FOLDER]
python dev.py bench --cards [--minutes N] [--json FILE] [--incumbent FOLDER]

The counts are promises and decide the exit code; times and memory are printed as ratios.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import types
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.report import Check

TESTS = Path(__file__).resolve().parents[1]
# Run as a script this folder is on the path, where its modules would hide the host's.
sys.path[0] = str(TESTS)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="dev.py bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="leave out the full-size part")
    parser.add_argument("--incumbent", type=Path, help="folder of ComfyUI_IPAdapter_plus")
    parser.add_argument("--cards", action="store_true", help="all uses at real size, on a GPU")
    parser.add_argument("--minutes", type=float, default=9, help="--cards: for all of it (9)")
    parser.add_argument("--json", type=Path, help="--cards: file for what is found")
    parser.add_argument("--rounds", type=int, default=5, help="full-size: repetitions")
    parser.add_argument("--steps", type=int, help="full-size: sampler steps (1 on CPU, 10 on CUDA)")
    parser.add_argument("--latent", type=int, help="full-size: latent size (32 on CPU, else 128)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if not _prepare_host(folder):
            print("There is no ComfyUI: set $COMFYUI_PATH to the folder with its main.py.")
            return 2
        return _run(options, folder)


def _run(options: argparse.Namespace, folder: Path) -> int:
    from bench import sections  # needs the host on the path

    print(sections.machine())
    contenders = sections.contenders(options.incumbent)
    if options.cards:
        checks = sections.cards(contenders, folder, options.minutes, options.json)
        return _ended(sections.summary(checks), checks)
    with sections.one_thread():
        checks = sections.counts(contenders, folder)
        checks += sections.memory(contenders, folder)
        checks += sections.second_apply(contenders, folder)
        checks += sections.transformers()
        sections.layers(folder)
        if options.incumbent:
            checks += sections.agreement(contenders, folder)
        if not options.quick:
            sections.full_size(contenders, folder, options)
            sections.face_engines(folder / "faces")
    return _ended(sections.summary(checks), checks)


def _ended(summary: str, checks: Sequence[Check]) -> int:
    print(summary)
    return 0 if all(check.passed for check in checks) else 1


def _prepare_host(folder: Path) -> bool:
    """Import alias and host as the tests have them, on the device that a user would have."""
    host = Path(os.environ.get("COMFYUI_PATH", "~/comfy/ComfyUI")).expanduser()
    if not (host / "main.py").is_file():
        return False
    pack = types.ModuleType("pack")
    pack.__path__ = [str(TESTS.parent)]
    sys.modules["pack"] = pack
    sys.path.insert(0, str(host))
    import comfy.cli_args
    import torch

    settings = comfy.cli_args.args
    settings.cpu = not torch.cuda.is_available()
    settings.use_pytorch_cross_attention = True
    settings.base_directory = str(folder)
    logging.disable(logging.WARNING)
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
