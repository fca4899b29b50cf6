"""All cases of the comparison, as data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

from pack.nodes.plus.widgets import WEIGHT_TYPES
from plus.comparison.chains import chains
from plus.comparison.data import Case, Mask, Out, Picture

FAMILIES = ("sd1", "sdxl")
COMBINE = ("add", "subtract", "average", "norm average")
SCALING = ("K+V", "K+V w/ C penalty", "K+mean(V) w/ C penalty")
TWO = Picture(2, seed=2)
NEGATIVE = Picture(seed=9)
WEIGHTS = Out("IPAdapterWeights", {"weights": "0.2, 0.9", "timing": "ease_in", "frames": 3})


def cases() -> list[Case]:
    """Those of one model and one adapter after each other."""
    makers = (_types, _mixes, _faces, _kolors, _sockets, _windows, _masks, _batches, _others)
    made = [case for maker in (*makers, _tiles, _version_1, chains) for case in maker()]
    return sorted(made, key=lambda case: (case.family, case.adapter))


def _types() -> Iterator[Case]:
    for kind in WEIGHT_TYPES:
        settings = {"weight": 0.7, "weight_type": kind}
        for adapter, family in (("standard", "sd1"), ("plus", "sd1"), ("plus", "sdxl")):
            yield Case("IPAdapterAdvanced", settings, adapter, family)
    for kind in WEIGHT_TYPES[::4]:
        settings = {"weight": 0.7, "weight_type": kind}
        yield Case("IPAdapterAdvanced", settings, "standard", "sdxl")
    for kind in ("standard", "prompt is more important", "style transfer"):
        settings = {"weight": 0.8, "weight_type": kind}
        yield Case("IPAdapter", settings, "plus", pipeline=True)
        yield Case("IPAdapter", settings, "standard", "sdxl", pipeline=True)
    settings = {"weight": 0.6, "start_at": 0.1, "end_at": 0.9}
    yield Case("IPAdapter", settings, links={"attn_mask": Mask()}, pipeline=True)
    yield Case("IPAdapter", {"weight": 0.6}, "FaceID plus v2", pipeline=True)
    yield Case("IPAdapterAdvanced", {"weight": 1.6}, "plus", pipeline=True)
    for weight in (-0.5, 0.0, 2.5):
        yield Case("IPAdapterAdvanced", {"weight": weight}, "plus", silent=weight == 0)


def _mixes() -> Iterator[Case]:
    for family, adapter in (("sd1", "standard"), ("sd1", "plus"), ("sdxl", "plus")):
        for combine in COMBINE:
            yield Case(
                "IPAdapterAdvanced", {"combine_embeds": combine}, adapter, family, {"image": TWO}
            )
        for scaling in SCALING:
            settings = {"weight": 0.6, "embeds_scaling": scaling}
            yield Case("IPAdapterAdvanced", settings, adapter, family, {"image": TWO})
    settings = {"embeds_scaling": "K+V", "weight_type": "style transfer precise"}
    yield Case("IPAdapterAdvanced", settings, "plus", "sdxl")
    yield Case("IPAdapterAdvanced", {"weight": 0.9}, "full face", "sd1")
    yield Case("IPAdapterAdvanced", {"weight_type": "weak middle"}, "full face")
    yield Case(
        "IPAdapterAdvanced", {"combine_embeds": "average"}, "full face", links={"image": TWO}
    )
    yield Case(
        "IPAdapterAdvanced",
        {"combine_embeds": "subtract"},
        links={"image": Picture()},
        adapter="plus",
    )


KINDS = (
    "FaceID",
    "FaceID plus",
    "FaceID plus v2",
    "FaceID portrait",
    "FaceID portrait unnormed",
)


# For SDXL there is no FaceID plus of version 1; see test_corrections.
_KINDS = [
    (family, kind)
    for family, kind in product(FAMILIES, KINDS)
    if (family, kind) != ("sdxl", "FaceID plus")
]


def _faces() -> Iterator[Case]:
    two = {"image": Picture(2, 90, 90, seed=2)}
    for family, kind in _KINDS:
        yield Case("IPAdapterAdvanced", {"weight": 0.8}, kind, family, two, pipeline=True)
        settings = {"weight": 0.8, "weight_faceidv2": 0.6}
        yield Case("IPAdapterFaceID", settings, kind, family)
        if family == "sdxl":
            continue
        for combine in ("norm average", "subtract"):
            yield Case("IPAdapterFaceID", {"combine_embeds": combine}, kind, family, two)
        settings = {"weight": 0.8, "weight_faceidv2": 0.7}
        yield Case("IPAAdapterFaceIDBatch", settings, kind, family, two)
    v2 = "FaceID plus v2"
    links = {"image_negative": NEGATIVE, "attn_mask": Mask("soft"), **two}
    for name in (
        "IPAdapterFaceID",
        "IPAdapterFaceIDKolors",
        "IPAAdapterFaceIDBatch",
        "IPAdapterMS",
    ):
        settings: dict[str, Any] = {"weight_type": "ease in", "embeds_scaling": "K+V"}
        settings |= {"start_at": 0.1, "end_at": 0.9, "combine_embeds": "average"}
        yield Case(name, {**settings, "weight": 0.7, "weight_faceidv2": 1.3}, v2, links=links)
    yield Case("IPAdapterFaceID", {"weight_type": "style transfer precise"}, v2, "sdxl", two)
    yield Case("IPAdapterFaceID", {"combine_embeds": "add"}, "FaceID", links=two)
    yield Case("IPAdapterFaceID", {"weight": 0.5}, "plus", links={"insightface": None})
    yield Case("IPAdapterFaceID", {"weight": 0.5}, v2, pipeline=True)
    yield Case("IPAAdapterFaceIDBatch", {}, v2, links={"weight": WEIGHTS, **two}, batch=3)
    yield Case("IPAdapterFaceID", {}, v2, links={"weight": WEIGHTS, **two})
    yield Case("IPAdapterMS", {"layer_weights": "0:0.5, 3:1, 5:.2"}, v2)


def _kolors() -> Iterator[Case]:
    name, kind = "IPAdapterFaceIDKolors", "FaceID plus"
    two = {"image": Picture(2, 110, 100, seed=2)}
    yield Case(name, {}, kind, "kolors")
    yield Case(name, {"weight_kolors": 0.6, "weight": 0.9}, kind, "kolors", two)
    yield Case(name, {"weight_faceidv2": 0.5, "weight_type": "ease out"}, kind, "kolors", two)
    settings = {"weight_kolors": 1.5, "combine_embeds": "average"}
    yield Case(name, settings, kind, "kolors", two)
    settings = {"embeds_scaling": "K+V", "weight": 0.4}
    yield Case(name, settings, kind, "kolors", two)
    yield Case("IPAdapterFaceID", {"weight": 0.8}, kind, "kolors")
    # Other adapters do not know the projection of text.
    yield Case(name, {"weight_kolors": 0.6}, "FaceID plus v2", "sdxl")
    yield Case(name, {"weight_kolors": 0.6}, "FaceID")


_APPLY: Mapping[str, Mapping[str, Any]] = {
    "IPAdapterAdvanced": {"combine_embeds": "add"},
    "IPAdapterBatch": {"encode_batch_size": 1},
    "IPAdapterTiled": {"sharpening": 0.4, "combine_embeds": "average"},
    "IPAdapterTiledBatch": {"sharpening": 0.4, "encode_batch_size": 1},
    "IPAdapterMS": {"layer_weights": "1:0.5, 4:1\n,7:.2", "combine_embeds": "average"},
    "IPAdapterClipVisionEnhancer": {
        "combine_embeds": "average",
        "enhance_tiles": 3,
        "enhance_ratio": 0.4,
    },
    "IPAdapterClipVisionEnhancerBatch": {
        "enhance_tiles": 3,
        "enhance_ratio": 0.7,
        "encode_batch_size": 1,
    },
    "IPAdapterPreciseStyleTransfer": {"style_boost": 0.4, "combine_embeds": "norm average"},
    "IPAdapterPreciseStyleTransferBatch": {"style_boost": 0.4, "combine_embeds": "average"},
    "IPAdapterPreciseComposition": {"composition_boost": 0.3, "combine_embeds": "subtract"},
    "IPAdapterPreciseCompositionBatch": {"composition_boost": 0.3, "combine_embeds": "average"},
}
_PRECISE = ("IPAdapterPrecise",)


def _sockets() -> Iterator[Case]:
    """Each of them with its defaults, then with everything moved and everything linked."""
    links = {"image": TWO, "image_negative": NEGATIVE, "attn_mask": Mask("soft", 2)}
    for name, own in _APPLY.items():
        moved = {"start_at": 0.2, "end_at": 0.8, "embeds_scaling": "K+V", "weight": 0.7, **own}
        if not name.startswith(_PRECISE):
            moved["weight_type"] = "ease in"
        yield Case(name, {}, "plus")
        yield Case(name, moved, "plus", links=links)
        yield Case(name, moved, "plus", "sdxl", links)
    for name in ("IPAdapterStyleComposition", "IPAdapterStyleCompositionBatch"):
        both = {"image_style": TWO, "image_composition": Picture(2, seed=4)}
        linked = {**links, **both}
        del linked["image"]
        yield Case(name, {}, "plus", "sdxl", both)
        settings: dict[str, Any] = {"weight_style": 0.7, "weight_composition": 1.2}
        settings |= {"start_at": 0.2, "end_at": 0.8}
        yield Case(name, {**settings, "expand_style": True}, "plus", "sdxl", linked)
        settings |= {"embeds_scaling": "K+V", "combine_embeds": "concat"}
        yield Case(name, settings, "standard", "sdxl", linked)
    for count, adapter in ((1, "plus"), (2, "standard"), (5, "plus")):
        negative = Picture(count, 50, 40, seed=9)
        linked = {"image": TWO, "image_negative": negative}
        yield Case("IPAdapterAdvanced", {}, adapter, links=linked)
        yield Case("IPAdapterAdvanced", {"combine_embeds": "average"}, adapter, links=linked)
    linked = {"image": Picture(3, seed=2), "image_negative": Picture(2, seed=9)}
    yield Case("IPAdapterBatch", {}, "plus", "sdxl", linked, batch=4)


def _windows() -> Iterator[Case]:
    # In the run of three steps.
    for start, end in ((0.2, 0.5), (0.0, 0.4), (0.5, 1.0), (0.5, 0.5)):
        window = {"start_at": start, "end_at": end}
        yield Case("IPAdapterAdvanced", window, "plus", ending="sampler")
    for start, end in ((0.8, 0.5), (0.4, 0.4), (0.0, 0.0), (1.0, 1.0)):
        window = {"start_at": start, "end_at": end}
        yield Case("IPAdapterAdvanced", window, "plus", ending="sampler", silent=True)
    window = {"start_at": 0.2, "end_at": 0.7}
    loud = {**window, "weight": 2.0}
    yield Case("IPAdapterAdvanced", loud, "plus", "sdxl", ending="sampler")
    yield Case("IPAdapterBatch", window, links={"image": TWO}, batch=3, ending="sampler")
    yield Case("IPAdapterAdvanced", {}, "plus", batch=3, ending="three")
    yield Case("IPAdapterBatch", {}, "plus", links={"image": TWO}, batch=3, ending="three")
    yield Case("IPAdapterAdvanced", {}, "standard", "sdxl", batch=3, ending="three")


def _masks() -> Iterator[Case]:
    shapes = (
        Mask(),
        Mask("soft", 1, 61, 77),
        Mask("wild", 1, 61, 77),
        Mask("soft", 2, 100, 40),
        Mask("half", 3, 64, 64),
        Mask("soft", 1, 16, 24),
    )
    for mask, size in product(shapes, ((17, 23), (24, 14))):
        yield Case("IPAdapterAdvanced", {}, links={"attn_mask": mask}, size=size)
    for mask in shapes[:2]:
        yield Case("IPAdapterAdvanced", {}, "plus", "sdxl", {"attn_mask": mask}, size=(9, 14))
    mask = {"attn_mask": Mask("soft", 2), "image": TWO}
    yield Case("IPAdapterBatch", {}, links=mask, batch=4)
    yield Case("IPAdapterBatch", {"weight_type": "composition"}, links=mask, batch=3)


def _batches() -> Iterator[Case]:
    three = {"image": Picture(3, seed=3)}
    for batch in (1, 2, 3, 4):
        yield Case("IPAdapterAdvanced", {}, "plus", links=three, batch=batch)
        yield Case("IPAdapterBatch", {"weight": 0.8}, "plus", links=three, batch=batch)
    yield Case("IPAdapterBatch", {"weight": 0.8}, "plus", "sdxl", three, batch=4)
    listed: dict[str, Any] = {"weight": WEIGHTS, **three}
    for name in (
        "IPAdapterBatch",
        "IPAdapterAdvanced",
        "IPAdapterTiledBatch",
        "IPAdapterClipVisionEnhancerBatch",
        "IPAdapterPreciseStyleTransferBatch",
        "IPAdapterPreciseCompositionBatch",
    ):
        yield Case(name, {}, "standard" if "Batch" in name[-9:] else "plus", links=listed, batch=4)
    for kind in ("ease out", "style transfer precise", "composition", "strong middle"):
        yield Case("IPAdapterBatch", {"weight_type": kind}, "plus", links=listed, batch=3)
    settings = {"weight": [0.0, 0.9, 0.4], "embeds_scaling": "K+V w/ C penalty"}
    yield Case("IPAdapterBatch", settings, links=three, batch=3)
    style = {"image_style": TWO, "image_composition": Picture(2, seed=4), "weight_style": WEIGHTS}
    yield Case("IPAdapterStyleCompositionBatch", {}, "plus", "sdxl", style, batch=3)


def _others() -> Iterator[Case]:
    for size in ((300, 224), (180, 260), (512, 512)):
        yield Case("IPAdapterAdvanced", {}, links={"image": Picture(1, *size)})
    odd = {"image": Picture(2, 97, 131, fine=True)}
    yield Case("IPAdapterAdvanced", {}, "plus", "sdxl", odd)
    for text in ("0:0.5,3:1, 5:.2", "0:-1", "2:1.5,4:.3,15:1"):
        yield Case("IPAdapterMS", {"layer_weights": text, "weight": 0.8}, "plus")
    yield Case("IPAdapterMS", {"layer_weights": "3:0.5,6:1", "weight": 0.8}, "plus", "sdxl")
    for kind in ("style transfer precise", "composition precise", "ease in"):
        settings = {"layer_weights": "3:0.5,6:1", "weight_type": kind}
        yield Case("IPAdapterMS", settings, "standard")
        yield Case("IPAdapterMS", settings, "plus", "sdxl")
    for boost, family in ((-0.5, "sd1"), (0.0, "sd1"), (2.0, "sdxl")):
        settings = {"style_boost": boost, "weight": 0.9}
        yield Case("IPAdapterPreciseStyleTransfer", settings, "plus", family)
        settings = {"composition_boost": boost, "weight": 0.9}
        yield Case("IPAdapterPreciseComposition", settings, "plus", family)
    yield Case("IPAdapterPreciseStyleTransfer", {"weight": 0.0, "style_boost": 0.8}, "plus")
    for count, ratio, tiles in ((1, 0.5, 2), (2, 0.5, 2), (2, 0.0, 4), (1, 1.0, 3), (3, 0.3, 1)):
        settings = {"enhance_ratio": ratio, "enhance_tiles": tiles}
        links = {"image": Picture(count, 150, 100, seed=3)}
        yield Case("IPAdapterClipVisionEnhancer", settings, "standard", links=links)
        yield Case("IPAdapterClipVisionEnhancer", settings, "plus", links=links)
        yield Case("IPAdapterClipVisionEnhancerBatch", settings, "plus", links=links, batch=3)


def _tiles() -> Iterator[Case]:
    for height, width in ((200, 200), (100, 260), (420, 110), (130, 150), (300, 900)):
        links = {"image": Picture(1, height, width)}
        yield Case("IPAdapterTiled", {}, "standard", links=links)
        masked = {**links, "attn_mask": Mask("soft", 1, 60, 90)}
        yield Case("IPAdapterTiled", {"sharpening": 0.5}, "standard", links=masked)
    wide = {"image": Picture(2, 100, 210)}
    yield Case("IPAdapterTiledBatch", {}, "plus", links=wide, batch=3)
    yield Case("IPAdapterTiled", {"combine_embeds": "subtract"}, "plus", links=wide)


def _version_1() -> Iterator[Case]:
    name, types = "IPAdapterApply", ("original", "linear", "channel penalty")
    odd = {"image": Picture(2, 60, 90, seed=2)}
    for kind, noise in product(types, (0.0, 0.4)):
        settings = {"weight_type": kind, "noise": noise, "weight": 0.8}
        yield Case(name, settings, "standard", links=odd)
        yield Case(name, settings, "plus", links=odd)
    for kind in types:
        settings = {"weight_type": kind, "noise": 0.4, "weight": 0.8}
        yield Case(name, settings, "plus", "sdxl", odd)
    links = {"image": TWO}
    for settings in (
        {"unfold_batch": True},
        {"unfold_batch": True, "weight_type": "channel penalty"},
        {"start_at": 0.2, "end_at": 0.6},
    ):
        yield Case(name, settings, "plus", links=links, batch=3)
        yield Case(name, settings, "standard", "sdxl", links, batch=3)
    for mask in (Mask(), Mask("soft", 1, 61, 77), Mask("soft", 2)):
        yield Case(name, {}, "plus", links={"attn_mask": mask}, batch=2)
        yield Case(name, {}, "standard", links={"attn_mask": mask}, batch=2, size=(20, 12))
    for family, kind in _KINDS:
        if kind.endswith("unnormed"):
            continue  # came later
        v2 = kind.endswith("v2")
        settings: dict[str, Any] = {"weight": 0.7, "faceid_v2": v2, "weight_v2": 0.6}
        yield Case("IPAdapterApplyFaceID", settings, kind.removesuffix(" v2"), family)
    settings = {"noise": 0.3, "weight_type": "linear", "start_at": 0.1, "end_at": 0.9}
    links = {"attn_mask": Mask("soft"), "image": Picture(2, 90, 90, seed=2)}
    yield Case("IPAdapterApplyFaceID", settings, "FaceID plus", links=links)
    yield Case("IPAdapterApplyFaceID", {"unfold_batch": True}, "FaceID", links=links, batch=3)
    name = "IPAdapterTilesMasked"
    for tiles, weight, noise in ((1, 0.6, 0.0), (2, 0.5, 0.3), (0, 0.5, 0.3)):
        settings = {"short_side_tiles": tiles, "tile_weight": weight, "noise": noise}
        for height, width in ((90, 60), (60, 150)):
            links = {"image": Picture(1, height, width)}
            yield Case(name, settings, "standard", "sd1", links)
            yield Case(name, settings, "plus", links=links)
    yield Case(name, {"short_side_tiles": 2}, "plus", "sdxl", links)
    settings = {"weight": 0.9, "weight_type": "linear", "start_at": 0.1, "end_at": 0.9}
    yield Case(name, settings, "plus")
