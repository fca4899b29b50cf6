"""What a check says: lines for whoever waits, one JSON and one picture for an issue."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from check import machine
from check.compare import OURS, PLAIN, THEIRS, Both, Comparison, Side, files_of
from check.question import Question
from check.stored import type_name
from check.theirs import relative
from pack.ip_models.references.features import FaceFeatures
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

# Of the first step, which both begin with the same latent; later ones carry on what is different.
BARS = {"fp32": 1e-3, "fp16": 5e-2, "bf16": 2e-1}
DEAD = 0.01
_LATER, _AS_WITHOUT = 10, 3
_LOUDER = 10
_MARGIN, _LINE, _NARROWEST = 8, 16, 640
_GIB = 2**30

Json = dict[str, Any]


def facts(made: Comparison, question: Question) -> Json:
    """All of it, without a place of this machine and without words of the user's."""
    base, nodes, painting = made.base, made.nodes, made.painting
    precisions = {name: _precision(name, both) for name, both in made.both.items()}
    not_finite = [*_unfit_features(made), *_unfit_steps(made.both)]
    files = files_of(question, nodes)
    found: Json = {
        "report": "IP-Adapter check, 1",
        "made": datetime.now(timezone.utc).date().isoformat(),
        "verdict": verdict(precisions, not_finite),
        "not finite": not_finite,
        "versions": machine.versions(),
        "card": machine.card(made.device),
        "files": [
            {**machine.file_facts(role, path), "holds": dict(made.files.types.get(role, {}))}
            for role, path in files.items()
        ],
        "image encoder": {side: one and one.names() for side, one in made.encoders.items()},
        "base": {
            "name": base.name,
            "layers": len(base.layers),
            "latent": list(painting.noise.shape),
        },
        "adapter": {"about": nodes.spec.describe(), "details": nodes.spec.details()},
        "settings": {
            "prompt": "the user's own" if question.own_prompt else question.prompt,
            "prompts said by": painting.said_by,
            "reference": "the user's own" if question.image else "the one of the pack",
            "scale": question.scale,
            "side": painting.side,
            "steps": painting.steps,
            "cfg": painting.cfg,
            "seed": question.seed,
            "sampler": "euler, the same noise levels for both",
        },
        "precisions": precisions,
        "not compared": [machine.without_places(one, files.values()) for one in made.left_out],
        "pictures drawn by": made.drawn_by,
    }
    return found


def _unfit_steps(both: dict[str, Both]) -> Iterator[str]:
    """Which runs gave what is no number, and from which step."""
    for name, one in both.items():
        for title, side in (("ComfyUI", one.ours), ("diffusers", one.theirs)):
            if side is None:
                continue
            for run, trace in (("with", side.heard), ("without", side.plain)):
                steps = (step for step, made in enumerate(trace, 1) if not _is_finite(made))
                if first := next(steps, 0):
                    yield f"{name}: {title} {run} the adapter, from step {first} of {len(trace)}"


def _unfit_features(made: Comparison) -> Iterator[str]:
    said = made.their_embeds
    heard = None if said is None else said.embeds
    for side, embeds in (("ComfyUI", made.nodes.embeds), ("diffusers", heard)):
        looks = embeds.crops if isinstance(embeds, FaceFeatures) else embeds
        for name in ("pooled", "penultimate"):
            feature = getattr(looks, name, None)
            if feature is not None and not _is_finite(feature):
                yield f"{side}: the {name} feature of the image encoder"


def _is_finite(tensor: Tensor) -> bool:
    return bool(tensor.isfinite().all())


def _number(value: float) -> float | None:
    """What strict JSON has: no NaN, nothing infinite."""
    return value if math.isfinite(value) else None


def _precision(name: str, both: Both) -> Json:
    own, other = both.ours, both.theirs
    found: Json = {
        "weights": type_name(both.stored),
        "work": type_name(both.computed),
        "effect of the adapter": _number(relative(own.heard[-1], own.plain[-1])),
        "ComfyUI": _side(own),
    }
    if other is None:
        return found
    with_it = [relative(a, b) for a, b in zip(own.heard, other.heard, strict=True)]
    without = [relative(a, b) for a, b in zip(own.plain, other.plain, strict=True)]
    bar = BARS.get(name, BARS["bf16"])
    first = with_it[0] <= max(bar, _AS_WITHOUT * without[0])
    last = with_it[-1] <= max(_LATER * bar, _AS_WITHOUT * without[-1])
    finite = all(map(math.isfinite, (*with_it, *without)))
    # Where the models themselves are not the same, being as far apart as they are means nothing.
    same = without[0] <= _AS_WITHOUT * bar
    features = {part: _number(far) for part, far in both.features.items()}
    return found | {
        "effect in diffusers": _number(relative(other.heard[-1], other.plain[-1])),
        "diffusers": _side(other),
        "relative L2 per step with the adapter": [*map(_number, with_it)],
        "relative L2 per step without it": [*map(_number, without)],
        "relative L2 of the features": features,
        "bar of the first step": bar,
        "agrees without the adapter": same,
        "agrees": finite and same and first and last,
    }


def _side(side: Side) -> Json:
    seconds = {name: round(value, 3) for name, value in side.seconds.items()}
    return {"seconds": seconds, "peak GiB": round(side.peak / _GIB, 3)}


def verdict(precisions: Json, not_finite: Sequence[str] = ()) -> str:
    """One of: not finite, differs, changes nothing, not compared, agrees."""
    if not_finite:
        return "not finite"
    compared = [one["agrees"] for one in precisions.values() if "agrees" in one]
    if not all(compared):
        return "differs"
    if any(_is_dead(one) for one in precisions.values()):
        return "changes nothing"
    return "agrees" if compared else "not compared"


def _is_dead(one: Json) -> bool:
    effect = one["effect of the adapter"]
    return effect is not None and effect <= DEAD


def lines(found: Json) -> Iterator[str]:
    """The same for people."""
    yield f"{found['adapter']['about']}; on {found['base']['name']}"
    for file in found["files"]:
        if file["holds"]:
            yield f"  {file['role']:13} holds {_shares(file['holds'])}"
    sides = found["image encoder"]
    if sides["ComfyUI"]:
        yield f"  image encoder ran in ComfyUI with {_ran(sides['ComfyUI'])}"
        theirs = sides["diffusers"]
        other = f"transformers with {_ran(theirs)}" if theirs else "no other: both got its features"
        yield f"  {'':13}        in {other}"
    for name, one in found["precisions"].items():
        yield f"\n{name} (weights {one['weights']}, work {one['work']})"
        dead = ": it changes nothing" if _is_dead(one) else ""
        yield f"  effect of the adapter   {_said(one['effect of the adapter'], '.1%')}{dead}"
        yield from _compared(one)
        for side in ("ComfyUI", "diffusers"):
            if side in one:
                seconds = ", ".join(f"{k} {v:.1f}" for k, v in one[side]["seconds"].items())
                yield f"  {side:10} seconds: {seconds}; {one[side]['peak GiB']:.2f} GiB at most"
    for reason in found["not compared"]:
        yield f"\nnot compared: {reason}"
    for place in found["not finite"]:
        yield f"\nnot finite: {place}"
    yield f"\n{_MEANING[found['verdict']]}"


def _shares(counts: dict[str, int]) -> str:
    """Types of numbers, with how much of a file they are where there are several."""
    total = sum(counts.values())
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{name} ({count / total:.1%})" for name, count in counts.items())


def _ran(precision: dict[str, str]) -> str:
    return f"weights in {precision['weights']}, work in {precision['work']}"


def _said(value: float | None, form: str) -> str:
    return "no number" if value is None else format(value, form)


_MEANING = {
    "agrees": "ComfyUI with our nodes and diffusers AGREE.",
    "differs": "They DIFFER by more than rounding: please attach both files to an issue.",
    "changes nothing": "The adapter CHANGES NOTHING (1 % or less), so nothing is proved, even where"
    " both agree: give one that is trained, or a greater --scale; where another program shows its "
    "effect, please attach both files to an issue.",
    "not finite": "There are NUMBERS THAT ARE NOT FINITE (NaN or infinite) where it says so above, "
    "so nothing is proved: try --precision bf16 or fp32; where that does not help, a file is "
    "damaged, or please attach both files to an issue.",
    "not compared": "Nothing could be compared with diffusers; the reasons are above.",
}


def _compared(one: Json) -> Iterator[str]:
    if "agrees" not in one:
        return
    yield f"  the same in diffusers   {_said(one['effect in diffusers'], '.1%')}"
    for name, far in one["relative L2 of the features"].items():
        yield f"  {name:23} {_said(far, '.1e')}"
    known = one["relative L2 per step without it"][0] is not None
    if known and not one["agrees without the adapter"]:
        yield "  the models differ without the adapter already: it need not be the adapter"
    yield "  relative L2, step       with        without the adapter"
    pairs = zip(
        one["relative L2 per step with the adapter"],
        one["relative L2 per step without it"],
        strict=True,
    )
    for step, (with_it, without) in enumerate(pairs, 1):
        yield f"  {step:<23} {_said(with_it, '.1e'):11} {_said(without, '.1e')}"


def save(found: Json, made: Comparison, folder: Path, name: str) -> tuple[Path, Path]:
    """Write both files; a report of the same name is replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    text, picture = folder / f"{name}.json", folder / f"{name}.png"
    written = json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False)
    text.write_text(written + "\n", "utf-8")
    sheet(found, made.pictures).save(picture)
    return text, picture


def sheet(found: Json, pictures: dict[str, Tensor]) -> Image.Image:
    """Both pictures, their difference and the one without the adapter, side by side."""
    pictures = {title: picture.nan_to_num(0, 1, 0) for title, picture in pictures.items()}
    shown = {title: pictures[title] for title in (OURS, THEIRS) if title in pictures}
    if len(shown) == 2:
        difference = (shown[OURS] - shown[THEIRS]).abs() * _LOUDER
        shown[f"difference, {_LOUDER} times"] = difference.clamp(0, 1)
    shown[PLAIN] = pictures[PLAIN]
    height, width = next(iter(shown.values())).shape[:2]
    step = max(width, 200) + _MARGIN
    words = _caption(found)
    size = (
        max(_NARROWEST, step * len(shown) + _MARGIN),
        height + 2 * _MARGIN + _LINE * (len(words) + 1),
    )
    made = Image.new("RGB", size, "white")
    draw, font = ImageDraw.Draw(made), ImageFont.load_default(size=12)
    for number, (title, picture) in enumerate(shown.items()):
        left = _MARGIN + number * step
        draw.text((left, _MARGIN // 2), title, "black", font)
        pixels = (picture * 255).round().byte().numpy()
        made.paste(Image.fromarray(pixels), (left, _MARGIN + _LINE))
    for number, line in enumerate(words, 1):
        place = (_MARGIN, height + _MARGIN + _LINE * number)
        draw.text(place, line, "black", font)
    return made


def _caption(found: Json) -> list[str]:
    versions, card = found["versions"], found["card"]
    words = [
        f"{found['verdict']}: {found['adapter']['about']}; on {found['base']['name']}",
        f"pack {versions['pack']}, ComfyUI {versions['ComfyUI']}, diffusers "
        f"{versions['diffusers']}, torch {versions['torch']}, {card.get('name', card['device'])}",
    ]
    for name, one in found["precisions"].items():
        line = f"{name}: effect {_said(one['effect of the adapter'], '.1%')}"
        if "agrees" in one:
            steps = [_said(one, ".1e") for one in one["relative L2 per step with the adapter"]]
            line += f", relative L2 first step {steps[0]}, last {steps[-1]}"
        words.append(line)
    return words
