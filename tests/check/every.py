"""All pairs that Doctor finds on this machine, each in a process of its own."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import folder_paths
from check import stored, whole
from check.given import unwritable
from check.machine import without_places
from check.problem import CheckError
from check.single import name_of
from check.together import (
    SAFETENSORS,
    enter_face_pack,
    read_adapter,
    read_checkpoint,
    read_encoder,
)
from pack.ip_models.adapter.encoders import EncoderWidths
from pack.ip_models.adapter.spec import AdapterSpec
from pack.ip_models.errors import IPAdapterError
from pack.nodes.host.doctor.base_model import Base, read_base
from pack.nodes.host.doctor.bases import FOLDERS
from pack.nodes.host.doctor.findings import Survey
from pack.nodes.host.doctor.survey import survey
from pack.nodes.host.face import packs
from pack.nodes.host.files import folders
from pack.nodes.host.model.search import suits

_PASSED_ON = (
    *("models", "device", "precision", "prompt", "negative"),
    *("scale", "size", "steps", "cfg", "seed", "out"),
)
_UNFIT = "no adapter here fits it"
AGREES, NOT_COMPARED, LEFT_OUT = "agrees", "not compared", "left out: "
UNPROVED = ("changes nothing", "not finite")


@dataclass(frozen=True)
class Adapter:
    """An adapter in the walk.

    Attributes:
        encoders: names of those on this machine that give what it reads.
    """

    name: str
    path: Path
    spec: AdapterSpec
    encoders: tuple[str, ...]


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
    """Try one after the other, and go on after a failure.

    Returns:
        the exit code: 2 where there is nothing to compare, else see `exit_code`.
    """
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
    print("\n== summary")
    for one in results:
        print(f"{one['checkpoint']} with {one['adapter']}: {one['result']}")
    summary = options.out / "summary.json"
    try:
        summary.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", "utf-8")
    except OSError as error:
        raise unwritable(options.out, error) from error
    print(summary)
    if not tried:
        print(f"Nothing to compare: {_lacking(options)}.")
        return 2
    return exit_code(one["result"] for one in results)


def exit_code(results: Iterable[str]) -> int:
    """1 where any differs or fails, else 2 where one proves nothing, else 0."""
    words = {one for one in results if not one.startswith(LEFT_OUT)}
    if words - {AGREES, NOT_COMPARED, *UNPROVED}:
        return 1
    return 2 if words & set(UNPROVED) else 0


def _lacking(options: argparse.Namespace) -> str:
    given = [one for one in (options.checkpoint, options.adapter, options.encoder) if one]
    if given:
        return f"no pair on this machine goes with {' and '.join(one.name for one in given)}"
    return "put a checkpoint and an adapter into ComfyUI's models folder"


def _try(pair: Pair, options: argparse.Namespace, script: Path) -> str:
    values = {name: getattr(options, name) for name in _PASSED_ON}
    given = [f"--{name}={value}" for name, value in values.items() if value is not None]
    given += ["--only-models"] if options.only_models else []
    given += ["--without-fp32"] if options.without_fp32 else []
    command = [sys.executable, str(script), *pair.command, *given]
    paths = [Path(part) for part in pair.command]
    report = options.out / f"{name_of(paths[1], paths[3])}.json"
    report.unlink(missing_ok=True)
    # What the system ends for its memory takes nothing else with it.
    code = subprocess.run(command, check=False).returncode
    if report.is_file():
        return json.loads(report.read_text("utf-8"))["verdict"]
    return NOT_COMPARED if code == 2 else f"failed (exit code {code})"


def found_pairs(options: argparse.Namespace) -> Iterator[Pair]:
    """Every checkpoint with every adapter for it, or those with the files that were given.

    Raises:
        CheckError, IPAdapterError: one of these is not what it was given for.
    """
    found = survey()
    adapters = list(_adapters(options.adapter, found))
    widths = _widths(options.encoder) if options.encoder else None
    unfit = f"{options.adapter.name} does not fit it" if options.adapter else _UNFIT
    if options.face:
        enter_face_pack(options.face)
    for name, path, base in [_given(options.checkpoint)] if options.checkpoint else bases():
        if isinstance(base, str):
            yield Pair(name, "-", skipped=base)
            continue
        fitting = [one for one in adapters if suits(one.spec, base.layers)]
        if not fitting:
            yield Pair(name, "-", skipped=unfit)
        for adapter in fitting:
            yield _pair(found, (name, path), adapter, widths, options)
    for broken in () if options.adapter else found.adapters:
        if broken.spec is None:
            place = Path(folder_paths.get_full_path(folders.ADAPTERS, broken.file.name) or "")
            yield Pair("-", broken.file.name, skipped=without_places(broken.file.problem, [place]))


def _given(checkpoint: Path) -> tuple[str, str, Base]:
    base = read_checkpoint(checkpoint)
    if base is None:
        raise CheckError(
            f"{checkpoint.name} does not tell by its header which model it is: a checkpoint in "
            ".safetensors is needed for --all; without it give an adapter as --adapter FILE"
        )
    return checkpoint.name, str(checkpoint), base


def _widths(encoder: Path) -> EncoderWidths:
    widths = read_encoder(encoder)
    if widths is None:
        raise CheckError(
            f"{encoder.name} does not tell by its header which encoder it is: leave --all out and "
            "give a checkpoint and an adapter too, or leave --encoder out"
        )
    return widths


def _adapters(given: Path | None, found: Survey) -> Iterator[Adapter]:
    if given is not None:
        spec = read_adapter(given)
        fitting = (one.name for one in found.encoders if one.content and one.content.fits(spec))
        yield Adapter(given.name, given, spec, tuple(fitting))
        return
    for one in found.adapters:
        if one.spec is not None:
            name = one.file.name
            path = Path(folders.resolve(folders.ADAPTERS, name))
            yield Adapter(name, path, one.spec, one.encoders)


def _pair(
    found: Survey,
    base: tuple[str, str],
    adapter: Adapter,
    widths: EncoderWidths | None,
    options: argparse.Namespace,
) -> Pair:
    spec = adapter.spec
    command = ["--checkpoint", base[1], "--adapter", str(adapter.path)]
    skipped = "" if spec.supported else "the pack cannot apply it"
    if not skipped and widths is not None and not (spec.needs_encoder and widths.fits(spec)):
        skipped = f"it needs {spec.needs}, and {options.encoder.name} is {widths.about}"
    if not skipped and spec.needs_encoder:
        encoder = options.encoder or _found_encoder(adapter)
        skipped = "" if encoder else f"{spec.encoder} is not here"
        command += ["--encoder", str(encoder)]
    if not skipped and spec.needs_face:
        pack = options.face or _found_pack(found)
        if options.image is None or pack is None:
            skipped = "it needs a face: give --image FILE" if pack else "no face pack is here"
        command += ["--face", str(pack)]
    if options.image is not None:
        command += ["--image", str(options.image)]
    return Pair(base[0], adapter.name, () if skipped else tuple(command), skipped)


def _found_encoder(adapter: Adapter) -> str:
    names = adapter.encoders[:1]
    return next((folders.resolve(folders.ENCODERS, name) for name in names), "")


def _found_pack(found: Survey) -> str | None:
    whole = (pack.name for pack in found.face_packs if not pack.problem)
    return next((packs.find(name).folder for name in whole), None)


def bases() -> Iterator[tuple[str, str, Base | str]]:
    """Name and path of each checkpoint, and which model it is or why that cannot be told."""
    for folder in FOLDERS:
        for name in folders.files(folder):
            path = folder_paths.get_full_path(folder, name) or ""
            try:
                base = read_base(path)
                if base is not None and base.layers and path.lower().endswith(SAFETENSORS):
                    whole.require_model(Path(path), stored.read_shapes(Path(path)))
            except CheckError as reason:
                yield name, path, str(reason)
                continue
            except (IPAdapterError, OSError) as reason:
                yield name, path, f"it cannot be read ({without_places(str(reason), [Path(path)])})"
                continue
            except whole.FOREIGN as reason:
                yield name, path, f"ComfyUI cannot tell what it is ({type(reason).__name__})"
                continue
            yield name, path, base if base is not None and base.layers else _untold(path)


def _untold(path: str) -> str:
    ending = Path(path).suffix.lower()
    if ending in SAFETENSORS:
        return "no model that image adapters were made for, as its header says"
    return f"{ending} files do not tell by a header what they are: give it without --all"
