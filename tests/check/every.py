"""All pairs that Doctor finds on this machine, each in a process of its own."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import folder_paths
from check.machine import without_places
from check.single import name_of
from pack.ip_models.errors import IPAdapterError
from pack.nodes.host.doctor.base_model import Base, read_base
from pack.nodes.host.doctor.bases import FOLDERS
from pack.nodes.host.doctor.findings import AdapterFile, Survey
from pack.nodes.host.doctor.survey import survey
from pack.nodes.host.face import packs
from pack.nodes.host.files import folders
from pack.nodes.host.model.search import suits

_PASSED_ON = ("device", "precision", "scale", "size", "steps", "cfg", "seed")
AGREES, NOT_COMPARED, LEFT_OUT = "agrees", "not compared", "left out: "


@dataclass(frozen=True)
class Pair:
    """A checkpoint and an adapter that fits, or why this one is not tried.

    Attributes:
        skipped: "" where it is tried.
    """

    checkpoint: str
    adapter: str
    command: tuple[str, ...] = ()
    skipped: str = ""


def check(options: argparse.Namespace, script: Path) -> int:
    """Try one after the other, and go on after a failure; 1 where any differs or fails."""
    pairs = list(found_pairs(options))
    tried = [pair for pair in pairs if not pair.skipped]
    print(f"{len(tried)} pairs to compare, {len(pairs) - len(tried)} left out.", flush=True)
    results: list[dict[str, str]] = []
    for pair in pairs:
        result = pair.skipped and LEFT_OUT + pair.skipped
        if not result:
            print(f"\n== {pair.checkpoint} with {pair.adapter}", flush=True)
            result = _try(pair, options, script)
        results.append({"checkpoint": pair.checkpoint, "adapter": pair.adapter, "result": result})
    options.out.mkdir(parents=True, exist_ok=True)
    summary = options.out / "summary.json"
    summary.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", "utf-8")
    print("\n== summary")
    for one in results:
        print(f"{one['checkpoint']} with {one['adapter']}: {one['result']}")
    print(summary)
    if not tried:
        print("Nothing to compare: put a checkpoint and an adapter into ComfyUI's models folder.")
        return 2
    known = (AGREES, NOT_COMPARED)
    words = [one["result"] for one in results if not one["result"].startswith(LEFT_OUT)]
    return int(any(word not in known for word in words))


def _try(pair: Pair, options: argparse.Namespace, script: Path) -> str:
    given = [part for name in _PASSED_ON for part in (f"--{name}", str(getattr(options, name)))]
    more = ["--models", str(options.models)] if options.models else []
    more += ["--only-models"] if options.only_models else []
    more += ["--without-fp32"] if options.without_fp32 else []
    command = [sys.executable, str(script), *pair.command, *given, *more, "--out", str(options.out)]
    paths = [Path(part) for part in pair.command]
    report = options.out / f"{name_of(paths[1], paths[3])}.json"
    report.unlink(missing_ok=True)
    # What the system ends for its memory takes nothing else with it.
    code = subprocess.run(command, check=False).returncode
    if report.is_file():
        return json.loads(report.read_text("utf-8"))["verdict"]
    return NOT_COMPARED if code == 2 else f"failed (exit code {code})"


def found_pairs(options: argparse.Namespace) -> Iterator[Pair]:
    """Every checkpoint with every adapter for it."""
    found = survey()
    for name, path, base in _bases():
        if isinstance(base, str):
            yield Pair(name, "-", skipped=base)
            continue
        fitting = [one for one in found.adapters if one.spec and suits(one.spec, base.layers)]
        if not fitting:
            yield Pair(name, "-", skipped="no adapter here fits it")
        for adapter in fitting:
            yield _pair(found, (name, path), adapter, options)


def _pair(
    found: Survey, base: tuple[str, str], adapter: AdapterFile, options: argparse.Namespace
) -> Pair:
    spec, name = adapter.spec, adapter.file.name
    assert spec is not None
    checkpoint, path = base
    if not spec.supported:
        return Pair(checkpoint, name, skipped="the pack cannot apply it")
    command = ["--checkpoint", path, "--adapter", folders.resolve(folders.ADAPTERS, name)]
    if spec.needs_encoder:
        if not adapter.encoders:
            return Pair(checkpoint, name, skipped=f"{spec.encoder} is not here")
        command += ["--encoder", folders.resolve(folders.ENCODERS, adapter.encoders[0])]
    if spec.needs_face:
        whole = [pack.name for pack in found.face_packs if not pack.problem]
        if not whole or options.image is None:
            lacking = "no face pack is here" if not whole else "it needs a face: give --image FILE"
            return Pair(checkpoint, name, skipped=lacking)
        command += ["--face", packs.find(whole[0]).folder]
    if options.image is not None:
        command += ["--image", str(options.image)]
    return Pair(checkpoint, name, tuple(command))


def _bases() -> Iterator[tuple[str, str, Base | str]]:
    """Name and path of each checkpoint, and which model it is or why that cannot be told."""
    for folder in FOLDERS:
        for name in folders.files(folder):
            path = folder_paths.get_full_path(folder, name) or ""
            try:
                base = read_base(path)
            except (IPAdapterError, OSError) as reason:
                yield name, path, f"it cannot be read ({without_places(str(reason), [Path(path)])})"
                continue
            if base is not None and base.layers:
                yield name, path, base
            else:
                yield name, path, "no model that image adapters were made for, as its header says"
