"""What the examples of ComfyUI_IPAdapter_plus show takes no more nodes and links here.

The numbers are those of its files at the last version, notes not counted. Left out: its comparison
of five ways to combine, where each is a node of its own here (28 nodes instead of 25), and the
Kolors examples, whose models come from another pack.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from kit.pages.example_graphs import (
    CAT,
    HOUSE,
    MASK_LEFT,
    PERSON_A,
    PLUS,
    STANDARD,
    WAVES,
    Out,
    Sketch,
)
from kit.pages.help_pages import schemas

OLD = {
    "simple": (10, 13),
    "advanced": (12, 14),
    "faceid": (10, 13),
    "portrait": (10, 13),
    "faceid_batch": (18, 24),
    "ideal_faceid_config": (12, 18),
    "negative_image": (17, 26),
    "noise_injection": (13, 16),
    "clipvision_enhancer": (14, 19),
    "precise_composition": (14, 23),
    "precise_weight_type": (15, 25),
    "regional_conditioning": (24, 37),
    "style_composition": (11, 14),
    "tiled": (11, 13),
    "weight_types": (27, 57),
    "weighted_embeds": (14, 20),
    "weights": (13, 17),
}
Made = tuple[Out, Out, Out]
# The blueprint of this name, as one node.
TILES = "IP-Adapter tiles"


def _run(g: Sketch, model: Out, clip: Out, vae: Out) -> None:
    _again(g, model, g.prompts(clip, "a cat"), g.empty(), vae)


def _again(g: Sketch, model: Out, prompts: tuple[Out, Out], latent: Out, vae: Out) -> None:
    decoded = g.sampled(model, prompts, latent, vae)
    g.add("SaveImage", "result", images=decoded)


def _photo(g: Sketch, file: str = CAT) -> Out:
    return Out(g.picture(file, file), 0)


def simple(g: Sketch, made: Made, kind: str = "standard") -> None:
    model, clip, vae = made
    _run(g, g.simple(model, _photo(g), kind, 0.8), clip, vae)


def advanced(g: Sketch, made: Made) -> None:
    model, clip, vae = made
    prepared = Out(g.add("IPAPrepareImage", "pictures", image=_photo(g)), 0)
    _run(g, g.simple(model, prepared, "plus", 0.8), clip, vae)


def faceid(g: Sketch, made: Made) -> None:
    simple(g, made, "FaceID plus v2")


def portrait(g: Sketch, made: Made) -> None:
    simple(g, made, "FaceID portrait")


def faceid_batch(g: Sketch, made: Made) -> None:
    model, clip, vae = made
    batch = _photo(g, PERSON_A)
    for _ in range(3):
        wires = {"image1": batch, "image2": _photo(g, PERSON_A)}
        batch = Out(g.add("ImageBatch", "pictures", **wires), 0)
    for kind in ("FaceID plus v2", "plus face"):
        model = g.simple(model, batch, kind, 0.7)
    _run(g, model, clip, vae)


def ideal_faceid_config(g: Sketch, made: Made) -> None:
    model, clip, vae = made
    photo = _photo(g, PERSON_A)
    for kind in ("FaceID plus v2", "plus face"):
        model = g.simple(model, photo, kind, 0.7)
    _run(g, model, clip, vae)


def negative_image(g: Sketch, made: Made) -> None:
    model, clip, vae = made
    photo, prompts, latent = _photo(g), g.prompts(clip, "a cat"), g.empty()
    _again(g, g.simple(model, photo, "plus", 0.8), prompts, latent, vae)
    adapter, encoder = g.found(model, "plus")
    wires = {"clip_vision": encoder, "image": photo, "negative_image": _photo(g, WAVES)}
    embeds = Out(g.add("IPAEncodeImage", "encode", **wires), 0)
    _again(g, g.applied(model, adapter, embeds, 0.8), prompts, latent, vae)


def noise_injection(g: Sketch, made: Made) -> None:
    model, clip, vae = made
    adapter, encoder, photo = g.adapter(PLUS), g.encoder(), _photo(g)
    noise = Out(g.add("IPANoiseImage", "pictures", image=photo), 0)
    wires = {"clip_vision": encoder, "image": photo, "negative_image": noise}
    embeds = Out(g.add("IPAEncodeImage", "encode", **wires), 0)
    _run(g, g.applied(model, adapter, embeds, 0.8), clip, vae)


def clipvision_enhancer(g: Sketch, made: Made) -> None:
    model, clip, vae = made
    adapter, encoder = g.found(model, "plus")
    wires = {"clip_vision": encoder, "image": _photo(g)}
    embeds = Out(g.add("IPAEncodeImage", "encode", **wires, tiles=2), 0)
    _run(g, g.applied(model, adapter, embeds, 0.8), clip, vae)


def precise_composition(g: Sketch, made: Made) -> None:
    model, clip, vae = made
    photo, prompts, latent = _photo(g), g.prompts(clip, "a cat"), g.empty()
    for preset in ("composition", "strong style transfer"):
        heard = g.simple(model, photo, "plus", 0.8, preset=preset)
        _again(g, heard, prompts, latent, vae)


def regional_conditioning(g: Sketch, made: Made) -> None:
    model, clip, vae = made
    negative = Out(g.add("CLIPTextEncode", "prompt", clip=clip, text=""), 0)
    before: dict[str, Out] = {"model": model}
    for channel in ("red", "green", "blue"):
        said = Out(g.add("CLIPTextEncode", "prompt", clip=clip, text=channel), 0)
        mask = Out(g.add("LoadImageMask", "masks", image=MASK_LEFT, channel=channel), 0)
        wires = {"image": _photo(g), "positive": said, "negative": negative, "mask": mask}
        node = g.add("IPARegional", "adapter", **wires, **before)
        names = ("model", "more_positive", "more_negative")
        before = {name: Out(node, slot) for slot, name in enumerate(names)}
    prompts = before["more_positive"], before["more_negative"]
    _again(g, before["model"], prompts, g.empty(), vae)


def style_composition(g: Sketch, made: Made) -> None:
    model, clip, vae = made
    wires = {"style_image": _photo(g, WAVES), "composition_image": _photo(g, HOUSE)}
    _run(g, Out(g.add("IPAStyleComposition", "adapter", model=model, **wires), 0), clip, vae)


def tiled(g: Sketch, made: Made) -> None:
    model, clip, vae = made
    _run(g, Out(g.add(TILES, "adapter", model=model, image=_photo(g)), 0), clip, vae)


def weight_types(g: Sketch, made: Made) -> None:
    model, clip, vae = made
    presets = "linear, ease in, ease out, style transfer, composition"
    sweep = g.add("IPASweep", "adapter", scales="0.8", presets=presets)
    _run(g, g.simple(model, _photo(g), "standard", 0.8, preset=Out(sweep, 1)), clip, vae)


def weighted_embeds(g: Sketch, made: Made) -> None:
    model, clip, vae = made
    adapter, encoder = g.found(model, "plus")
    both = (g.encoded(encoder, _photo(g)), g.encoded(encoder, _photo(g, WAVES)))
    wires = {f"embeds.embeds{number}": one for number, one in enumerate(both)}
    merged = Out(g.add("IPAMergeEmbeds", "encode", **wires, weights="1, 0.6"), 0)
    _run(g, g.applied(model, adapter, merged, 0.8), clip, vae)


def weights(g: Sketch, made: Made) -> None:
    model, clip, vae = made
    adapter, encoder = g.found(model, "standard", STANDARD)
    embeds = g.encoded(encoder, _photo(g))
    curve = Out(g.add("IPASchedule", "adapter", over="frames"), 0)
    _run(g, g.applied(model, adapter, embeds, 0.8, block_weights=curve), clip, vae)


HERE: dict[str, Callable[[Sketch, Made], None]] = {
    "simple": simple,
    "advanced": advanced,
    "faceid": faceid,
    "portrait": portrait,
    "faceid_batch": faceid_batch,
    "ideal_faceid_config": ideal_faceid_config,
    "negative_image": negative_image,
    "noise_injection": noise_injection,
    "clipvision_enhancer": clipvision_enhancer,
    "precise_composition": precise_composition,
    "precise_weight_type": precise_composition,
    "regional_conditioning": regional_conditioning,
    "style_composition": style_composition,
    "tiled": tiled,
    "weight_types": weight_types,
    "weighted_embeds": weighted_embeds,
    "weights": weights,
}


@pytest.mark.parametrize("name", OLD)
def test_a_graph_has_at_most_as_many_nodes_and_links(name: str) -> None:
    sketch = Sketch(name, name)
    HERE[name](sketch, sketch.checkpoint())
    for node in sketch.nodes:
        if node.kind in schemas():
            require_known(node.kind, node.widgets, node.wires)
    links = sum(len(node.wires) for node in sketch.nodes)
    assert len(sketch.nodes) <= OLD[name][0]
    assert links <= OLD[name][1]


def require_known(kind: str, widgets: dict[str, Any], wires: dict[str, Out]) -> None:
    """The node has these inputs, and every socket that it needs is connected."""
    groups = schemas()[kind]["input"]
    known = {name for group in groups.values() for name in group}
    assert {name.split(".")[0] for name in (*widgets, *wires)} <= known
    sockets = ("MODEL", "IMAGE", "CLIP_VISION", "CONDITIONING", "IPA_ADAPTER", "IPA_EMBEDS")
    needed = {name for name, (one, *_) in groups.get("required", {}).items() if one in sockets}
    assert needed <= set(wires)
