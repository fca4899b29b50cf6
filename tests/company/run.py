"""The pack beside other packs: their real code where it is given, else what they do in a few lines.

python dev.py company [--packs FOLDER] [--only WORD] [--markdown FILE]

FOLDER holds checkouts of other packs, each under the name of its repository. Each pilot runs in a
process of its own, because many packs change the host when they are imported.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import signal
import subprocess
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1]
# Run as a script this folder is on the path, where its modules would hide the host's.
sys.path[0] = str(TESTS)
SECONDS = 600  # for one pilot


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="dev.py company", description=__doc__)
    parser.add_argument("--packs", type=Path, help="folder with checkouts of other packs")
    parser.add_argument("--only", default="", help="packs with this word in their name")
    parser.add_argument("--markdown", type=Path, help="write the table to this file")
    parser.add_argument("--pilot", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.packs and not options.packs.is_dir():
        print(f"{options.packs} is no folder. Give the one that holds the other packs.")
        return 2
    host = Path(os.environ.get("COMFYUI_PATH", "~/comfy/ComfyUI")).expanduser()
    if not (host / "main.py").is_file():
        print("There is no ComfyUI: set $COMFYUI_PATH to the folder with its main.py.")
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the folder goes
    with tempfile.TemporaryDirectory(prefix="company-") as folder:
        version = _prepare_host(host, Path(folder))
        if options.pilot is not None:
            return _fly(options)
        return _all(options, Path(folder), version)


def _prepare_host(host: Path, folder: Path) -> str:
    """Import alias and host as the tests have them; the version of the host."""
    pack = types.ModuleType("pack")
    pack.__path__ = [str(TESTS.parent)]
    sys.modules["pack"] = pack
    sys.path.insert(0, str(host))
    import comfy.cli_args
    import comfyui_version

    comfy.cli_args.args.cpu = True
    comfy.cli_args.args.base_directory = str(folder)
    logging.disable(logging.WARNING)
    import asyncio

    import utils  # noqa: F401 - the host's, which older hosts hide by another of that name
    import server  # isort: skip

    # Packs put their routes on it when they are imported; it serves nobody.
    server.PromptServer(asyncio.new_event_loop())
    sys.path.append(str(host / "comfy"))  # as the host does before it imports packs
    import torch

    torch.set_grad_enabled(False)
    return str(comfyui_version.__version__)


def _fly(options: argparse.Namespace) -> int:
    """One pilot in this process; the outcomes go into a file, because packs print."""
    from company import flight

    rows = flight.fly(options.packs, options.pilot)
    options.out.write_text(json.dumps(rows), "utf-8")
    return 0


def _all(options: argparse.Namespace, folder: Path, version: str) -> int:
    from company import flight, table

    entries: list[table.Entry] = []
    pilots = flight.chosen(options.packs, options.only)
    if not pilots:
        where = f"{options.packs} holds none of the packs" if options.packs else "No behaviour"
        print(f"{where} with {options.only!r} in its name. README's table lists them.")
        return 2
    for number, pilot in enumerate(pilots):
        print(f"  {pilot.name} ...", flush=True)
        if options.packs:
            rows = _in_a_process(options, folder / str(number), pilot.name)
        else:
            rows = flight.fly(None, pilot.name)
        entries.append(table.Entry.of(pilot, options.packs, version, rows))
    print(table.plain(entries))
    if options.markdown:
        options.markdown.write_text(table.markdown(entries), "utf-8")
    return 1 if any(entry.ours for entry in entries) else 0


def _in_a_process(options: argparse.Namespace, folder: Path, name: str) -> list[dict[str, Any]]:
    folder.mkdir()
    out, said = folder / "outcomes.json", folder / "said.txt"
    command = [sys.executable, __file__, "--packs", str(options.packs.resolve())]
    command += ["--pilot", name, "--out", str(out)]
    variables = os.environ | {"TMPDIR": str(folder), "OMP_NUM_THREADS": "1"}
    with said.open("w") as log:
        try:
            subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=variables,
                timeout=SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return [{"words": f"took longer than {SECONDS} s"}]
    if out.is_file():
        return json.loads(out.read_text("utf-8"))
    lines = said.read_text("utf-8", errors="replace").splitlines()
    words = [line for line in lines if re.match(r"[\w.]+(Error|Exception|Interrupt)\b", line)]
    return [{"words": f"the pilot fell: {(words or ['without a word'])[-1]}"}]


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
