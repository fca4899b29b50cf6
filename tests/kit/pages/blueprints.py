"""The pack's subgraph blueprints: what is inside, and which values stand outside.

`python -m kit.pages.example_pages` writes them into subgraphs/, where the host reads them. What is
wired to a node that is no part of it becomes an input or output.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from kit.pages.example_graphs import (
    CAT,
    FACE_PACK,
    FACE_PLUS,
    HOUSE,
    MODELS,
    PLUS,
    STANDARD,
    STANDARD_SDXL,
    VIT_H,
    WAVES,
    Out,
    Sketch,
)


@dataclass
class Blueprint:
    """A sketch of which some nodes go inside.

    Attributes:
        outside: number and widget of a node inside, by the name that it has outside.
        names: what its inputs are called, by the names that the editor gives them.
    """

    sketch: Sketch
    inside: list[int] = field(default_factory=list)
    outside: dict[str, tuple[int, str]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)


def _ends(g: Sketch, model: Out, clip: Out, vae: Out) -> None:
    g.sampled(model, g.prompts(clip, ""), g.empty(), vae)


def reference_style(g: Sketch) -> Blueprint:
    model, clip, vae = g.checkpoint()
    picture = Out(g.picture(WAVES, "Reference"), 0)
    made = g.simple(model, picture, "standard", 1.0, STANDARD, VIT_H, preset="style transfer")
    _ends(g, made, clip, vae)
    shown = {name: (made.node, name) for name in ("kind", "scale", "end_percent")}
    return Blueprint(g, [made.node], shown)


def face(g: Sketch) -> Blueprint:
    model, clip, vae = g.checkpoint()
    photo = Out(g.picture(CAT, "Photo"), 0)
    made = g.simple(model, photo, "FaceID plus v2", 0.9, FACE_PLUS, VIT_H, FACE_PACK)
    _ends(g, made, clip, vae)
    shown = {name: (made.node, name) for name in ("kind", "scale", "start_percent", "end_percent")}
    return Blueprint(g, [made.node], shown)


def two_regions(g: Sketch) -> Blueprint:
    model, clip, vae = g.checkpoint()
    pictures = [Out(g.picture(file, file), 0) for file in (CAT, HOUSE)]
    masks = g.sides()
    inside, shown = [masks[1].node], {}
    for number, (picture, mask) in enumerate(zip(pictures, masks, strict=True), start=1):
        model = g.simple(model, picture, "plus", 0.8, PLUS, VIT_H, attn_mask=mask)
        inside.append(model.node)
        shown["scale in the mask" if number == 1 else "scale elsewhere"] = (model.node, "scale")
    _ends(g, model, clip, vae)
    names = {"image": "image in the mask", "image_1": "image elsewhere"}
    return Blueprint(g, inside, shown, names)


def style_and_composition(g: Sketch) -> Blueprint:
    model, clip, vae = g.checkpoint()
    names = ("style_image", "composition_image")
    wires = {
        name: Out(g.picture(file, name), 0)
        for name, file in zip(names, (WAVES, HOUSE), strict=True)
    }
    files = (STANDARD_SDXL, VIT_H)
    made = Out(g.add("IPAStyleComposition", MODELS, files=files, model=model, **wires), 0)
    _ends(g, made, clip, vae)
    shown = {name: (made.node, name) for name in ("style_scale", "composition_scale")}
    return Blueprint(g, [made.node], shown)


def tiles(g: Sketch) -> Blueprint:
    model, clip, vae = g.checkpoint()
    wide = Out(g.picture(HOUSE, "Reference"), 0)
    adapter, encoder = g.found(model, "plus", PLUS, VIT_H)
    cut = Out(g.add("IPATiles", MODELS, clip_vision=encoder, image=wide), 0)
    made = g.applied(model, adapter, cut, 0.8)
    _ends(g, made, clip, vae)
    shown = {"kind": (adapter.node, "kind"), "tiles": (cut.node, "tiles")}
    return Blueprint(
        g, [adapter.node, cut.node, made.node], shown | {"scale": (made.node, "scale")}
    )


MAKERS: dict[str, Callable[[Sketch], Blueprint]] = {
    "IP-Adapter reference style": reference_style,
    "IP-Adapter face": face,
    "IP-Adapter two regions": two_regions,
    "IP-Adapter style and composition": style_and_composition,
    "IP-Adapter tiles": tiles,
}


# In the search, below the name.
ABOUT = {
    "IP-Adapter reference style": "The style of one picture, for SD1.5 and SDXL.",
    "IP-Adapter face": "The likeness of a person from one photo, by FaceID.",
    "IP-Adapter two regions": "One picture is heard inside the mask, another one elsewhere.",
    "IP-Adapter style and composition": "The style of one picture and the composition of another, "
    "for SDXL.",
    "IP-Adapter tiles": "A large reference, also one that is not square, seen in tiles.",
}


def blueprints() -> list[Blueprint]:
    return [make(Sketch(name, name)) for name, make in MAKERS.items()]
