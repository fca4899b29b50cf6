"""The same weights in diffusers and in ComfyUI with our nodes: for whoever has real files.

python dev.py check --checkpoint FILE --adapter FILE [--encoder FILE] [--image FILE] [--face FOLDER]
python dev.py check --all [--checkpoint FILE] [--adapter FILE] [--encoder FILE]

Same noise, same prompt, same sampler; relative L2 of each step, what the adapter changes, seconds
and memory of both. Writes one JSON and one picture, made to be attached to an issue: they hold no
path, no prompt and no reference of yours, but they do show the picture that was made. Nothing is
fetched. Ends with 0 where both agree, 1 where they do not, 2 where nothing could be tried or
proved: a file is not whole, the adapter changes nothing, or numbers are not finite.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import types
import warnings
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
# Run as a script this folder is on the path, where its modules would hide the host's.
sys.path[0] = str(TESTS)

from check import given, question  # noqa: E402
from check.problem import CheckError, NotCompared  # noqa: E402

AGREES, DIFFERS, NOT_TRIED = 0, 1, 2


def main(arguments: list[str]) -> int:
    try:
        options = question.parser(__doc__).parse_args(arguments)
        if options.origin is not None:
            os.chdir(options.origin)
        asked = question.asked(options)
        given.require_writable(options.out)
        if not prepare_host(options):
            raise CheckError(
                "there is no ComfyUI: set $COMFYUI_PATH to the folder with its main.py"
            )
        return _run(options, asked)
    except CheckError as problem:
        print(f"check: {problem}.")
        return NOT_TRIED


def _run(options: argparse.Namespace, asked: question.Question | None) -> int:
    import torch
    from check import every, ours, single  # they need the host on the path
    from pack.ip_models.errors import IPAdapterError

    ours.enter_folders(options.models, options.only_models)
    try:
        if asked is None:
            return every.check(options, Path(__file__))
        return single.check(asked, options.out)
    except (IPAdapterError, NotCompared) as problem:
        raise CheckError(str(problem).rstrip(".")) from problem
    except (torch.OutOfMemoryError, MemoryError) as problem:
        raise CheckError(
            "ComfyUI itself ran out of memory: give a smaller --size, or --device cpu"
        ) from problem


def prepare_host(options: argparse.Namespace) -> bool:
    """Import alias and host, on the device that was asked for; nothing may ask a network."""
    host = Path(os.environ.get("COMFYUI_PATH", "~/comfy/ComfyUI")).expanduser()
    if not (host / "main.py").is_file():
        return False
    os.environ |= {
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "DIFFUSERS_VERBOSITY": "error",
    }
    pack = types.ModuleType("pack")
    pack.__path__ = [str(TESTS.parent)]
    sys.modules["pack"] = pack
    sys.path.insert(0, str(host))
    kind, _, number = options.device.partition(":")
    if number:  # before torch looks
        os.environ["CUDA_VISIBLE_DEVICES"] = number
    import comfy.cli_args
    import torch

    if kind == "cuda" and not torch.cuda.is_available():
        raise question.no_device(options.device)
    cpu = kind == "cpu" or (kind == "auto" and not _has_card(torch))
    comfy.cli_args.args.cpu = cpu
    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore")
    return True


def _has_card(torch: types.ModuleType) -> bool:
    return torch.cuda.is_available() or torch.backends.mps.is_available()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
