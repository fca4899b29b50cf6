"""Makes the pictures that stand beside *Save Image* in the examples: what came out, and of what.

`python -m kit.pages.example_results` runs each example with the toy models on drawings, or with
random weights where there are no toys for it, and leaves the pictures in example_workflows/results.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kit.pages.example_graphs import (
    BY_TOYS,
    CAT,
    EMBEDS,
    HOUSE,
    PANORAMA,
    PERSON_B,
    ROOM,
    STEMS,
    WAVES,
)
from PIL import Image

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = ROOT / "example_workflows"
RESULTS = EXAMPLES / "results"
HEIGHT, GAP, SEED, FRAME = 128, 6, 900, 16
RANDOM_SIZE, STEPS, FRAMES = 128, 4, 4
LOADERS = ("LoadImage",)
MOST = 9_000


def drawn() -> dict[str, Image.Image]:
    """Drawings as the toys know them, by the names of the inputs of the examples."""
    from train.studio import references

    names = (CAT, HOUSE, WAVES, ROOM, PERSON_B, PANORAMA)
    seen, _ = references(len(names), SEED)
    made = {
        name: Image.fromarray((picture * 255).round().byte().numpy())
        for name, picture in zip(names, seen, strict=True)
    }
    alpha = Image.new("L", made[ROOM].size, 255)
    alpha.paste(0, (FRAME, FRAME, alpha.width - FRAME, alpha.height - FRAME))
    made[ROOM].putalpha(alpha)
    return made


def references_of(workflow: dict[str, Any]) -> list[str]:
    loaders = [node for node in workflow["nodes"] if node["type"] in LOADERS]
    return [node["widgets_values"][0] for node in loaders]


def strip(pictures: list[Image.Image]) -> Image.Image:
    """References on the left, what was made of them on the right."""
    same = [
        one.convert("RGB").resize((round(one.width * HEIGHT / one.height), HEIGHT))
        for one in pictures
    ]
    width = sum(one.width for one in same) + GAP * (len(same) - 1)
    made, left = Image.new("RGB", (width, HEIGHT), "#333"), 0
    for one in same:
        made.paste(one, (left, 0))
        left += one.width + GAP
    return made


def made(names: list[str], toys: bool) -> Iterator[tuple[str, Image.Image]]:
    """One server for all of them."""
    from kit.models.stand_ins import random_models, toy_models
    from kit.server import example_models, live
    from pack.demo.prompts import to_prompt
    from stand_ins import fitted
    from toys import put_files

    models = toy_models() if toys else random_models(RANDOM_SIZE, steps=STEPS, frames=FRAMES)
    with tempfile.TemporaryDirectory() as place:
        base = Path(place)
        put_files(base / "models", base / "input")
        for path in (EXAMPLES / "inputs").iterdir():
            (base / "input" / path.name).write_bytes(path.read_bytes())
        if toys:
            for name, picture in drawn().items():
                picture.save(base / "input" / name, quality=95)
        else:
            example_models.write_models(base / "models")
            example_models.write_encoders(base / "models")
        with live.running(base, base / "models") as client:
            known = client.get("/object_info")
            for name in names:
                workflow = json.loads((EXAMPLES / f"{STEMS[name]}.json").read_text("utf-8"))
                prompt = to_prompt(fitted(workflow, models), known)
                if not toys:
                    prompt = example_models.by_hand(name, prompt, known)
                saved = client.saved(prompt)
                path = [path for paths in saved.values() for path in paths][0]
                shown = [Image.open(base / "input" / one) for one in references_of(workflow)]
                yield name, strip([*shown, Image.open(path)])


def write_embeds() -> None:
    """An encoder's answer of nothing but zeros: where nobody has saved a reference yet."""
    import torch
    from pack.ip_models.references import ipadpt
    from pack.ip_models.references.features import ImageFeatures

    nothing = torch.zeros(1, 1024, dtype=torch.float16)
    features = ImageFeatures(nothing, None, nothing.clone(), None, "ViT-H")
    path = EXAMPLES / "embeds" / EMBEDS
    path.parent.mkdir(exist_ok=True)
    torch.save([ipadpt.write(features, None, "", "")], path)


def main() -> None:
    write_embeds()
    RESULTS.mkdir(exist_ok=True)
    wanted = set(sys.argv[1:]) or set(STEMS)
    for toys in (True, False):
        names = [name for name in STEMS if (name in BY_TOYS) is toys and name in wanted]
        for name, picture in made(names, toys):
            picture.save(RESULTS / f"{name}.jpg", quality=80, optimize=True)


if __name__ == "__main__":
    import conftest  # noqa: F401  # puts the host on the path and names the pack `pack`

    main()
