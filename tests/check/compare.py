"""One checkpoint with one adapter, painted by both sides, in the chosen precision and in fp32."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import comfy.model_management
import torch
from bench.peak import Peak, settle
from check import ours, theirs, together
from check.base import Base, load_base, read_tensors
from check.machine import require_memory
from check.painting import Painting, decode, paint, paint_by, set_up
from check.problem import NotCompared
from check.question import Question
from check.stored import Precision, type_name
from check.theirs_unet import Heard, Place
from torch import Tensor

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
Say = Callable[[str], None]
Trace = list[Tensor]
OURS, THEIRS, PLAIN = "ComfyUI with our nodes", "diffusers", "ComfyUI without the adapter"


@dataclass
class Side:
    """What one side took, and its estimate of the latent at every step.

    Attributes:
        peak: bytes of the card at most, or of this whole process where there is none.
    """

    seconds: dict[str, float]
    peak: int
    plain: Trace
    heard: Trace


@dataclass
class Both:
    """Both sides in one precision.

    Attributes:
        theirs: None where diffusers cannot do it.
        features: relative L2 of what the encoders say, by part.
    """

    stored: torch.dtype
    computed: torch.dtype
    ours: Side
    theirs: Side | None = None
    features: dict[str, float] = field(default_factory=dict[str, float])


@dataclass
class Comparison:
    """All that was found out about a pair.

    Attributes:
        files: what their headers say.
        both: by the name of the precision, the chosen one first.
        left_out: sentences on what was not compared, and why.
        pictures: of our side, of diffusers and of our side without the adapter.
        their_embeds: what diffusers' side hears, and how far that is from ours.
    """

    base: Base
    nodes: ours.Nodes
    painting: Painting
    device: torch.device
    files: together.Files
    both: dict[str, Both] = field(default_factory=dict[str, Both])
    left_out: list[str] = field(default_factory=list[str])
    pictures: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    drawn_by: str = ""
    their_embeds: theirs.Said | None = None

    @property
    def encoders(self) -> dict[str, Precision | None]:
        """In which precision each side has run the image encoder, None where it did not."""
        other = self.their_embeds
        return {"ComfyUI": self.nodes.precision, "diffusers": other and other.precision}

    def leave_out(self, reason: str) -> None:
        """Note once what was not compared."""
        if reason not in self.left_out:
            self.left_out.append(reason)


@torch.no_grad()
def compare(question: Question, say: Say) -> Comparison:
    """Run everything that memory and diffusers allow.

    Raises:
        CheckError, IPAdapterError: the files cannot be used or do not go together.
        NotCompared: nothing at all can be compared.
    """
    files = together.look(question)
    for note in files.notes:
        say(note)
    device = comfy.model_management.get_torch_device()
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    dtype = DTYPES.get(question.precision)
    require_memory(files.weights, dtype or _smallest(device), device, f"{question.checkpoint.name}")
    say(f"Encoding the reference for {question.adapter.name} ...")
    nodes, encoding = _timed(lambda: ours.set_up(question, files))
    say(f"Loading {question.checkpoint.name} into ComfyUI ...")
    base, seconds = _timed(lambda: load_base(question.checkpoint, dtype))
    together.require_base(question, files.spec, base.layers)
    painting = set_up(base, question, device.type == "cpu")
    base.clip = None  # has said all it had to say
    ours.free()
    made = Comparison(base, nodes, painting, device, files)
    first = type_name(base.stored)
    _one(made, question, first, {"load": seconds, "encode": encoding}, say)
    _draw(made, first)
    base.vae = None
    if first != "fp32":
        _again_in_fp32(made, question, say)
    return made


def _smallest(device: torch.device) -> torch.dtype:
    return torch.float32 if device.type == "cpu" else torch.float16


def _again_in_fp32(made: Comparison, question: Question, say: Say) -> None:
    if question.without_fp32:
        made.leave_out("fp32: it was not wanted")
        return
    try:
        require_memory(made.files.weights, torch.float32, made.device, "fp32")
    except NotCompared as reason:
        made.leave_out(str(reason))
        return
    say("Once more in fp32 ...")
    made.base, seconds = _timed(lambda: load_base(question.checkpoint, torch.float32, whole=False))
    _one(made, question, "fp32", {"load": seconds}, say)


def _one(
    made: Comparison, question: Question, name: str, seconds: dict[str, float], say: Say
) -> None:
    """One precision, first our side, then theirs, so that memory holds one model at a time."""
    base = made.base
    say(f"Painting {made.painting.steps} steps twice in ComfyUI ({name}) ...")
    settle()
    with Peak() as peak:
        plain, heard = _our_runs(made, question.scale, seconds)
    own = Side(seconds, peak.reached, plain, heard)
    _let_go(base)
    both = made.both[name] = Both(base.stored, base.computed, own)
    say(f"The same in diffusers ({name}) ...")
    try:
        both.theirs = _their_side(made, question, both)
    except NotCompared as reason:
        made.leave_out(str(reason))
    except torch.OutOfMemoryError:
        made.leave_out(f"{name}: diffusers ran out of memory, where ComfyUI did not")
    settle()


def _our_runs(made: Comparison, scale: float, seconds: dict[str, float]) -> tuple[Trace, Trace]:
    base, painting = made.base, made.painting
    plain, seconds["without"] = _timed(lambda: paint(base.model, painting))
    model = ours.applied(base, made.nodes, scale)
    heard, seconds["with"] = _timed(lambda: paint(model, painting))
    return plain, heard


def _their_side(made: Comparison, question: Question, both: Both) -> Side:
    seconds: dict[str, float] = {}
    if made.their_embeds is None:
        made.their_embeds = _their_features(made, question, seconds)
    embeds, both.features = made.their_embeds.embeds, made.their_embeds.far
    spec, version_2 = made.nodes.spec, made.nodes.adapter.shortcut
    tensors = theirs.adapter_tensors(question.adapter)
    heard = Heard(tensors, spec, embeds, question.scale, version_2)
    place = Place(made.device, both.stored, both.computed)
    kept = theirs.Reference(made.base.family).kept(place)
    require_memory(made.files.weights, kept, made.device, "the run in diffusers")
    settle()
    with Peak() as peak:
        plain, with_it = _their_runs(made, question, heard, place, seconds)
    return Side(seconds, peak.reached, plain, with_it)


def _their_runs(
    made: Comparison, question: Question, heard: Heard, place: Place, seconds: dict[str, float]
) -> tuple[Trace, Trace]:
    reference, painting = theirs.Reference(made.base.family), made.painting
    module, seconds["load"] = _timed(
        lambda: reference.load(read_tensors(question.checkpoint)[0], made.base.config, place)
    )
    predict = reference.plain(module, painting, place)
    plain, seconds["without"] = _timed(lambda: paint_by(predict, painting))
    hearing = reference.hearing(module, heard, painting, place)
    with_it, seconds["with"] = _timed(lambda: paint_by(hearing, painting))
    return plain, with_it


def _their_features(made: Comparison, question: Question, seconds: dict[str, float]) -> theirs.Said:
    """What diffusers' side hears: of transformers and insightface where they can say it."""
    start = time.perf_counter()
    said = theirs.features(made.nodes, question.face)
    seconds["encode"] = time.perf_counter() - start
    for reason in said.left_out:
        made.leave_out(reason)
    return said


def _draw(made: Comparison, name: str) -> None:
    both = made.both[name]
    drawn = {OURS: both.ours.heard, PLAIN: both.ours.plain}
    if both.theirs is not None:
        drawn[THEIRS] = both.theirs.heard
    for title, trace in drawn.items():
        made.pictures[title], made.drawn_by = decode(made.base, trace[-1])
    ours.free()


def _let_go(base: Base) -> None:
    """The latent's format and the VAE stay, the diffusion model goes."""
    ours.free()
    base.model = None
    gc.collect()
    settle()


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    made = work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return made, time.perf_counter() - start


def files_of(question: Question, nodes: ours.Nodes) -> dict[str, Path]:
    """Which files took part, by their role."""
    named = {
        "checkpoint": question.checkpoint,
        "adapter": question.adapter,
        "encoder": nodes.encoder_path,
        "face pack": question.face if nodes.spec.needs_face else None,
    }
    return {role: path for role, path in named.items() if path is not None}
