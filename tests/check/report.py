"""What a check says: lines for whoever waits, one JSON and one picture for an issue."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from check import machine
from check.compare import OURS, PLAIN, THEIRS, Both, Comparison, Side, files_of
from check.question import Question
from check.theirs import relative
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
    files = files_of(question, nodes)
    found = {
        "report": "IP-Adapter check, 1",
        "made": datetime.now(timezone.utc).date().isoformat(),
        "verdict": verdict(precisions),
        "versions": machine.versions(),
        "card": machine.card(made.device),
        "files": [machine.file_facts(role, path) for role, path in files.items()],
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


def _precision(name: str, both: Both) -> Json:
    own, other = both.ours, both.theirs
    found: Json = {
        "weights": str(both.stored).removeprefix("torch."),
        "work": str(both.computed).removeprefix("torch."),
        "effect of the adapter": relative(own.heard[-1], own.plain[-1]),
        "ComfyUI": _side(own),
    }
    if other is None:
        return found
    with_it = [relative(a, b) for a, b in zip(own.heard, other.heard, strict=True)]
    without = [relative(a, b) for a, b in zip(own.plain, other.plain, strict=True)]
    bar = BARS.get(name, BARS["bf16"])
    first = with_it[0] <= max(bar, _AS_WITHOUT * without[0])
    last = with_it[-1] <= max(_LATER * bar, _AS_WITHOUT * without[-1])
    return found | {
        "effect in diffusers": relative(other.heard[-1], other.plain[-1]),
        "diffusers": _side(other),
        "relative L2 per step with the adapter": with_it,
        "relative L2 per step without it": without,
        "relative L2 of the features": both.features,
        "bar of the first step": bar,
        "agrees": first and last,
    }


def _side(side: Side) -> Json:
    seconds = {name: round(value, 3) for name, value in side.seconds.items()}
    return {"seconds": seconds, "peak GiB": round(side.peak / _GIB, 3)}


def verdict(precisions: Json) -> str:
    """One of: agrees, differs, dead patch, not compared."""
    if any(one["effect of the adapter"] <= DEAD for one in precisions.values()):
        return "dead patch"
    compared = [one["agrees"] for one in precisions.values() if "agrees" in one]
    if not compared:
        return "not compared"
    return "agrees" if all(compared) else "differs"


def lines(found: Json) -> Iterator[str]:
    """The same for people."""
    yield f"{found['adapter']['about']}; on {found['base']['name']}"
    for name, one in found["precisions"].items():
        yield f"\n{name} (weights {one['weights']}, work {one['work']})"
        effect = one["effect of the adapter"]
        dead = ": a dead patch, it does nothing" if effect <= DEAD else ""
        yield f"  effect of the adapter   {effect:.1%}{dead}"
        yield from _compared(one)
        for side in ("ComfyUI", "diffusers"):
            if side in one:
                seconds = ", ".join(f"{k} {v:.1f}" for k, v in one[side]["seconds"].items())
                yield f"  {side:10} seconds: {seconds}; {one[side]['peak GiB']:.2f} GiB at most"
    for reason in found["not compared"]:
        yield f"\nnot compared: {reason}"
    yield f"\n{_MEANING[found['verdict']]}"


_MEANING = {
    "agrees": "ComfyUI with our nodes and diffusers AGREE.",
    "differs": "They DIFFER by more than rounding: please attach both files to an issue.",
    "dead patch": "The adapter has NO EFFECT (1 % or less): please attach both files to an issue.",
    "not compared": "Nothing could be compared with diffusers; the reasons are above.",
}


def _compared(one: Json) -> Iterator[str]:
    if "agrees" not in one:
        return
    yield f"  the same in diffusers   {one['effect in diffusers']:.1%}"
    for name, far in one["relative L2 of the features"].items():
        yield f"  {name:23} {far:.1e}"
    yield "  relative L2, step       with        without the adapter"
    pairs = zip(
        one["relative L2 per step with the adapter"],
        one["relative L2 per step without it"],
        strict=True,
    )
    for step, (with_it, without) in enumerate(pairs, 1):
        yield f"  {step:<23} {with_it:.1e}     {without:.1e}"


def save(found: Json, made: Comparison, folder: Path, name: str) -> tuple[Path, Path]:
    """Write both files; a report of the same name is replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    text, picture = folder / f"{name}.json", folder / f"{name}.png"
    text.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", "utf-8")
    sheet(found, made.pictures).save(picture)
    return text, picture


def sheet(found: Json, pictures: dict[str, Tensor]) -> Image.Image:
    """Both pictures, their difference and the one without the adapter, side by side."""
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
        line = f"{name}: effect {one['effect of the adapter']:.1%}"
        if "agrees" in one:
            steps = one["relative L2 per step with the adapter"]
            line += f", relative L2 first step {steps[0]:.1e}, last {steps[-1]:.1e}"
        words.append(line)
    return words
