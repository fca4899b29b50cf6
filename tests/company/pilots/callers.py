"""Packs that call the nodes of ComfyUI_IPAdapter_plus, which this pack stands in for.

The law of all: what such a pack makes of a MODEL with our classes in the host's table is what it
makes of it with the original's, and a reference of ours is added to that. So the original's
checkout has to lie beside the others.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import comfy.clip_vision
import torch
from company.checkout import Checkout, NotImported
from company.meeting import EFFECT
from company.oracle import heard
from company.pilot import pilot
from company.pilots import attention
from company.scene import Company, Scene, Way
from kit.models import checkpoints, encoders, tiny
from pack.nodes.plus.register import NODES
from torch import Tensor

import nodes

ORIGINAL = "ComfyUI_IPAdapter_plus"
Table = Mapping[str, type]
Call = Callable[[Any], Any]


@contextmanager
def installed(table: Table) -> Iterator[None]:
    """The classes are the host's for these names."""
    mine, theirs = nodes.NODE_CLASS_MAPPINGS, dict(nodes.NODE_CLASS_MAPPINGS)
    mine.update(table)
    try:
        yield
    finally:
        mine.clear()
        mine.update(theirs)


@cache
def original(folder: Path) -> Table:
    """The original's classes."""
    if not (folder / ORIGINAL).is_dir():
        raise NotImported(f"needs {ORIGINAL} beside it")
    return Checkout(folder / ORIGINAL).nodes()


def as_original(pack: Checkout, scene: Scene, call: Call) -> Company:
    """A pack whose work with our classes has to be that with the original's."""
    theirs = original(pack.folder.parent)

    def with_table(table: Table) -> Call:
        def patch(model: Any) -> Any:
            with installed(table):
                return call(model)

        return patch

    company = Company(with_table(NODES))

    def right(way: Way) -> Tensor:
        changed = with_table(theirs)(scene.model)
        effect = tiny.relative(scene.sample(changed, way), scene.sample(scene.model, way))
        assert effect > EFFECT, "what the pack applies should be seen"
        with heard(scene, company, way):
            return scene.sample(changed, way)

    return Company(with_table(NODES), right=right)


class Parts:
    """What stands on the sockets of such a pack.

    Attributes:
        photo: a picture that is no square.
        other: another one.
    """

    def __init__(self, scene: Scene) -> None:
        self.tensors = tiny.adapter_tensors(scene.twin, "standard", seed=8)
        self.encoder = _encoder()
        self.photo = encoders.batch(encoders.picture(150, 190, seed=1))
        self.other = encoders.batch(encoders.picture(150, 190, seed=2))

    @property
    def file(self) -> dict[str, Any]:
        """The adapter as the original reads it from a file: while nodes run, which torch marks."""
        return checkpoints.nest({key: value.clone() for key, value in self.tensors.items()})

    @property
    def pipeline(self) -> dict[str, Any]:
        """The same with an encoder, as the original's unified loaders give it."""
        return {
            "clipvision": {"file": "vit_h.safetensors", "model": self.encoder},
            "ipadapter": {"file": "ip-adapter_sd15.safetensors", "model": self.file},
            "insightface": {"provider": None, "model": None},
        }

    def pipe(self, model: Any) -> tuple[Any, ...]:
        """The pipe of Inspire and Impact, whose last part loads a LoRA."""
        return self.file, model, self.encoder, None, lambda given: given


def _encoder() -> Any:
    """A small encoder whose values are as many as the adapter takes."""
    config = {
        **encoders.CONFIG,
        "projection_dim": tiny.POOLED_WIDTH,
        "image_size": 224,
        "model_type": "clip_vision_model",
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.json"
        path.write_text(json.dumps(config), "utf-8")
        encoder = comfy.clip_vision.ClipVisionModel(str(path))
    encoders.randomise(encoder.model)
    return encoder


def _easy(name: str, more: Callable[[Parts], dict[str, Any]]) -> Callable[..., Company]:
    def fly(pack: Checkout, scene: Scene) -> Company:
        """See the module; it calls some by position, and takes results apart by their number."""
        pack.module()
        parts = Parts(scene)

        def call(model: Any) -> Any:
            given = more(parts)
            return pack.call(name, model=model, **given)[0]

        return as_original(pack, scene, call)

    return fly


LOADED = {"lora_strength": 0.0, "provider": "CPU", "cache_mode": "none"}
PRESET = {"preset": "STANDARD (medium strength)"}
WINDOW = {"start_at": 0.0, "end_at": 1.0}
MORE = {
    "weight_faceidv2": 1.0,
    "combine_embeds": "average",
    "embeds_scaling": "K+V",
    "sharpening": 0.1,
}


def _simple(tiled: bool) -> Callable[[Parts], dict[str, Any]]:
    def given(parts: Parts) -> dict[str, Any]:
        return {
            **(LOADED | PRESET | WINDOW),
            "image": parts.photo,
            "weight": 0.8,
            "weight_faceidv2": 1.0,
            "use_tiled": tiled,
            "optional_ipadapter": parts.pipeline,
        }

    return given


def _advanced(**other: Any) -> Callable[[Parts], dict[str, Any]]:
    def given(parts: Parts) -> dict[str, Any]:
        both = torch.cat([parts.photo, parts.other])
        options = {"use_tiled": False, "use_batch": False, "weight_type": "ease out"} | other
        return {
            **(LOADED | PRESET | WINDOW | MORE | options),
            "image": both,
            "image_negative": parts.other,
            "weight": 0.8,
            "optional_ipadapter": parts.pipeline,
        }

    return given


def _from_params(parts: Parts) -> dict[str, Any]:
    regions = nodes.NODE_CLASS_MAPPINGS["IPAdapterRegionalConditioning"]()
    both = [
        regions.conditioning(picture, weight, 1.0, "linear", 0.0, 1.0)[0]
        for picture, weight in ((parts.photo, 0.8), (parts.other, 0.5))
    ]
    params = {key: both[0][key] + both[1][key] for key in both[0]}
    return {
        **PRESET,
        "ipadapter_params": params,
        "combine_embeds": "concat",
        "embeds_scaling": "V only",
        "cache_mode": "none",
        "optional_ipadapter": parts.pipeline,
    }


EASY = "ComfyUI-Easy-Use"
pilot(EASY, "easy ipadapterApply")(_easy("easy ipadapterApply", _simple(tiled=False)))
pilot(EASY, "easy ipadapterApply, tiled")(_easy("easy ipadapterApply", _simple(tiled=True)))
pilot(EASY, "easy ipadapterApplyADV")(_easy("easy ipadapterApplyADV", _advanced()))
pilot(EASY, "easy ipadapterApplyADV, one per picture")(
    _easy("easy ipadapterApplyADV", _advanced(use_batch=True))
)
pilot(EASY, "easy ipadapterApplyADV, layer weights")(
    _easy("easy ipadapterApplyADV", _advanced(layer_weights="3:1.5, 6:0.4, 9:1"))
)
pilot(EASY, "easy ipadapterApplyFromParams")(_easy("easy ipadapterApplyFromParams", _from_params))


@pilot(EASY, "easy ipadapterApplyEncoder, easy ipadapterApplyEmbeds")
def easy_embeds(pack: Checkout, scene: Scene) -> Company:
    """It mixes the tensors on EMBEDS itself."""
    pack.module()
    parts = Parts(scene)

    def call(model: Any) -> Any:
        made = pack.call(
            "easy ipadapterApplyEncoder",
            model=model,
            clip_vision=parts.encoder,
            preset=PRESET["preset"],
            num_embeds=2,
            image1=parts.photo,
            image2=parts.other,
            weight2=0.6,
            mask1=torch.ones(1, 150, 190),
            combine_method="average",
            optional_ipadapter=parts.pipeline,
        )
        return pack.call(
            "easy ipadapterApplyEmbeds",
            model=model,
            clip_vision=made[1],
            ipadapter=made[2],
            pos_embed=made[3],
            neg_embed=made[4],
            weight=0.8,
            weight_type="linear",
            embeds_scaling="V only",
            **WINDOW,
        )[0]

    return as_original(pack, scene, call)


@pilot("ComfyUI-Inspire-Pack", "Regional IPAdapter (mask, encoded)")
def inspire(pack: Checkout, scene: Scene) -> Company:
    """Two masks, one with a picture and one with EMBEDS."""
    pack.module()
    parts = Parts(scene)
    left, right = scene.halves()

    def call(model: Any) -> Any:
        encode = nodes.NODE_CLASS_MAPPINGS["IPAdapterEncoder"]()
        pos, neg = encode.encode(parts.file, parts.other, 1.0, clip_vision=parts.encoder)
        (one,) = pack.call(
            "RegionalIPAdapterMask //Inspire",
            mask=left,
            image=parts.photo,
            weight=0.8,
            noise=0.5,
            weight_type="linear",
        )
        (two,) = pack.call(
            "RegionalIPAdapterEncodedMask //Inspire",
            mask=right,
            embeds=pos,
            neg_embeds=neg,
            weight=0.7,
            weight_type="ease in",
        )
        return pack.call(
            "ApplyRegionalIPAdapters //Inspire",
            ipadapter_pipe=parts.pipe(model),
            regional_ipadapter1=one,
            regional_ipadapter2=two,
        )[0]

    return as_original(pack, scene, call)


@pilot("ComfyUI-Impact-Pack", "IPAdapterApply (SEGS), its wrapper")
def impact(pack: Checkout, scene: Scene) -> Company:
    """The wrapper that hangs on a SEG is called as the detailer calls it.

    Its start wants a second pack and loads all that it has, so that only what its node needs is
    imported, by the name by which its modules import each other.
    """
    pack.bare()
    sys.path.append(str(pack.folder / "modules"))
    module = pack.module("modules.impact.segs_nodes")
    parts = Parts(scene)

    def call(model: Any) -> Any:
        region = (0, 0, 190, 150)
        segs = ((150, 190), [module.SEG(None, None, 1.0, region, region, "face", None)])
        ((_, found),) = module.IPAdapterApplySEGS.doit(
            segs,
            ipadapter_pipe=parts.pipe(model),
            weight=0.8,
            noise=0.4,
            weight_type="linear",
            unfold_batch=False,
            faceid_v2=False,
            weight_v2=1.0,
            context_crop_factor=1.2,
            reference_image=parts.photo,
            **WINDOW,
        )
        return found[0].control_net_wrapper.doit_ipadapter(model)[0]

    return as_original(pack, scene, call)


def _beside(theirs: Any, theirs_first: bool) -> Callable[[Checkout, Scene], Company]:
    def fly(pack: Checkout, scene: Scene) -> Company:
        """Its patch and the old apply node on one MODEL."""
        patch, parts = theirs(pack, scene).patch, Parts(scene)

        def old(model: Any) -> Any:
            node = nodes.NODE_CLASS_MAPPINGS["IPAdapterAdvanced"]()
            return node.apply_ipadapter(
                model, parts.pipeline, image=parts.photo, weight=0.8, weight_type="linear"
            )[0]

        def call(model: Any) -> Any:
            return old(patch(model)) if theirs_first else patch(old(model))

        return as_original(pack, scene, call)

    return fly


pilot("ComfyUI_InstantID", "InstantID, then IPAdapter Advanced", family="sdxl")(
    _beside(attention.instant_id, theirs_first=True)
)
pilot("ComfyUI_InstantID", "IPAdapter Advanced, then InstantID", family="sdxl")(
    _beside(attention.instant_id, theirs_first=False)
)
# After us its part at right angles is asked of the text alone, as it says of itself.
pilot("PuLID_ComfyUI", "PuLID (its patches), then IPAdapter Advanced", family="sdxl")(
    _beside(attention.pulid, theirs_first=True)
)
