"""Cases in which several old nodes stand in a row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from plus.comparison.data import Case, Mask, Out, Picture, Prompt, Rows

METHODS = ("concat", "add", "subtract", "average", "norm average", "max", "min")
ONE = Picture()
ODD = Picture(1, 90, 70, seed=3)


def chains() -> Iterator[Case]:
    for maker in (_embeds, _combined, _regions, _frames, _version_1):
        yield from maker()


def _encoded(index: int = 0, image: Picture = ONE, **more: Any) -> Out:
    links = {name: more.pop(name) for name in list(more) if isinstance(more[name], (Mask, Out))}
    return Out("IPAdapterEncoder", more, {"image": image, **links}, index)


def _pair(**more: Any) -> Mapping[str, Out]:
    return {"pos_embed": _encoded(0, **more), "neg_embed": _encoded(1, **more)}


def _embeds() -> Iterator[Case]:
    for name, family in (
        ("IPAdapterEmbeds", "sd1"),
        ("IPAdapterEmbeds", "sdxl"),
        ("IPAdapterEmbedsBatch", "sd1"),
    ):
        several = {"image": Picture(2, seed=2)}
        for adapter in ("standard", "plus"):
            yield Case(name, {}, adapter, family, _pair())
            yield Case(name, {}, adapter, family, {"pos_embed": _encoded(**several)}, batch=3)
        settings = {"weight": 0.7, "weight_type": "ease in", "start_at": 0.2, "end_at": 0.8}
        links = {**_pair(weight=0.6, **several), "attn_mask": Mask("soft")}
        yield Case(name, {**settings, "embeds_scaling": "K+V"}, "plus", family, links, batch=3)
    links = {"pos_embed": Rows(2), "neg_embed": Rows(1, seed=7)}
    yield Case("IPAdapterEmbeds", {}, links=links)
    yield Case("IPAdapterEmbeds", {}, links={**links, "neg_embed": Rows(3, seed=7)}, pipeline=True)
    yield Case("IPAdapterEmbeds", {}, "full face", links=_pair())
    yield Case("IPAdapterEmbeds", {}, "plus", links={"pos_embed": _encoded()}, pipeline=True)
    for mask in (Mask(), Mask("soft", 1, 70, 50)):
        image = Picture(1, 90, 130)
        for adapter in ("standard", "plus"):
            yield Case("IPAdapterEmbeds", {}, adapter, links=_pair(image=image, mask=mask))
    weights = Out("IPAdapterWeights", {"weights": "1.0, 0.3, 0.5", "timing": "custom"})
    yield Case("IPAdapterEmbedsBatch", {}, "plus", links={**_pair(), "weight": weights}, batch=3)
    noise = Out("IPAdapterNoise", {"type": "shuffle", "strength": 0.7, "blur": 3})
    links = {"image_negative": noise}
    yield Case("IPAdapterAdvanced", {}, "plus", links=links)
    prepared = Out("PrepImageForClipVision", {"crop_position": "top"}, {"image": ODD})
    yield Case("IPAdapterAdvanced", {}, links={"image": prepared})


def _combined() -> Iterator[Case]:
    for method in METHODS:
        for adapter in ("standard", "plus"):
            made = {
                name: Out(
                    "IPAdapterCombineEmbeds",
                    {"method": method},
                    {
                        "embed1": _encoded(index),
                        "embed2": _encoded(index, Picture(2, seed=2), weight=0.5),
                        "embed3": _encoded(index, ODD),
                    },
                )
                for name, index in (("pos_embed", 0), ("neg_embed", 1))
            }
            # Rows of "no reference" are the same black picture: their mixes can be NaN or nothing.
            if method in ("subtract", "norm average"):
                made["neg_embed"] = _encoded(1)
            yield Case("IPAdapterEmbeds", {}, adapter, links=made)
    five = {f"embed{i}": _encoded(0, Picture(seed=i)) for i in range(1, 6)}
    mixed = Out("IPAdapterCombineEmbeds", {"method": "average"}, five)
    yield Case("IPAdapterEmbeds", {}, "plus", "sdxl", {"pos_embed": mixed})
    alone = Out("IPAdapterCombineEmbeds", {}, {"embed1": _encoded()})
    yield Case("IPAdapterEmbeds", {}, links={"pos_embed": alone})


def _region(number: int, **more: Any) -> Out:
    settings = {"image_weight": 0.5 + 0.2 * number, "prompt_weight": 1.0 + 0.3 * number, **more}
    links = {
        "image": Picture(1 + number % 2, seed=number),
        "mask": Mask("half" if number == 1 else "soft", seed=number),
        "positive": Prompt(number),
        "negative": Prompt(10 + number),
    }
    return Out("IPAdapterRegionalConditioning", settings, links)


def _together(*regions: Out) -> Out:
    links = {f"params_{i}": region for i, region in enumerate(regions, 1)}
    return Out("IPAdapterCombineParams", {}, links)


def _regions() -> Iterator[Case]:
    name = "IPAdapterFromParams"
    late = _region(2, start_at=0.2, end_at=0.7, weight_type="ease in")
    two = {"ipadapter_params": _together(_region(1), late)}
    yield Case(name, {}, "plus", links=two)
    yield Case(name, {}, "plus", links=two, ending="sampler")
    yield Case(name, {}, "standard", "sdxl", two, ending="sampler")
    settings = {"combine_embeds": "average", "embeds_scaling": "K+V"}
    yield Case(name, settings, "plus", links={**two, "image_negative": Picture(seed=9)})
    yield Case(name, {}, "plus", links={"ipadapter_params": _region(1)}, pipeline=True)
    five = _together(*(_region(i, weight_type="style transfer") for i in range(1, 6)))
    yield Case(name, {}, "plus", "sdxl", {"ipadapter_params": five})
    bare = Out("IPAdapterRegionalConditioning", {}, {"image": Picture(2, seed=2)})
    yield Case(name, {"combine_embeds": "add"}, links={"ipadapter_params": bare}, ending="sampler")


def _frames() -> Iterator[Case]:
    images = {"image": Picture(2, seed=2)}
    settings: dict[str, Any] = {"weights": "0.2, 1.0", "timing": "ease_in_out", "frames": 4}
    for method in ("full batch", "shift batches", "alternate batches"):
        made = {**settings, "method": method, "start_frame": 1, "add_ending_frames": 1}
        links = {
            "weight": Out("IPAdapterWeights", made, images, 0),
            "image": Out("IPAdapterWeights", made, images, 3),
        }
        yield Case("IPAdapterBatch", {}, "plus", links=links, batch=4)
    strategy = Out("IPAdapterWeights", settings, images, 5)
    links = {
        "weight": Out("IPAdapterWeightsFromStrategy", {}, {"weights_strategy": strategy}, 1),
        "image": Picture(3, seed=2),
    }
    yield Case("IPAdapterBatch", {}, "standard", "sdxl", links, batch=4)
    both = {f"weights_{i}": Out("IPAdapterWeights", settings, index=i - 1) for i in (1, 2)}
    combined = Out("IPAdapterCombineWeights", {}, both)
    yield Case("IPAdapterBatch", {}, "plus", links={"weight": combined}, batch=4)


def _old(**more: Any) -> Out:
    settings = {name: value for name, value in more.items() if not isinstance(value, Picture)}
    links = {name: value for name, value in more.items() if isinstance(value, Picture)}
    return Out("IPAdapterEncoderV1", settings, links)


def _version_1() -> Iterator[Case]:
    several = {f"image_{i}": Picture(1, 50 + 10 * i, 80, seed=i) for i in range(2, 5)}
    shares = {f"weight_{i}": 0.9 - 0.1 * i for i in range(1, 5)}
    for adapter, plus in (("standard", False), ("plus", True)):
        one = _old(ipadapter_plus=plus, image_1=Picture())
        loud = _old(ipadapter_plus=plus, noise=0.3, weight_1=0.7, image_1=ODD)
        all_four = _old(ipadapter_plus=plus, **shares, image_1=ODD, **several)
        both = Out("IPAdapterBatchEmbeds", {}, {"embed1": loud, "embed2": all_four})
        for embeds in (one, loud, all_four, both):
            yield Case("IPAdapterApplyEncoded", {}, adapter, links={"embeds": embeds})
        yield Case("IPAdapterApplyEncoded", {}, adapter, "sdxl", {"embeds": both})
        settings = {"weight": 0.7, "weight_type": "linear", "start_at": 0.1, "end_at": 0.9}
        links = {"embeds": both, "attn_mask": Mask("soft")}
        moved = {**settings, "unfold_batch": True}
        yield Case("IPAdapterApplyEncoded", moved, adapter, links=links, batch=3)
    squared = Out("PrepImageForInsightFace", {"crop_position": "top"}, {"image": ODD})
    yield Case("IPAdapterApplyFaceID", {}, "FaceID plus", links={"image": squared})
