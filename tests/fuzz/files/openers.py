"""Everything that opens a file of somebody else's, by what the file is for."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import folder_paths
import torch
from kit.models import tiny
from pack.ip_models.adapter.published import Choice
from pack.ip_models.adapter.spec import AdapterSpec, Feature
from pack.ip_models.layer import Layer
from pack.ip_models.pictures.fit import Fit
from pack.ip_models.references.features import FaceFeatures, Features, ImageFeatures
from pack.ip_models.unet.address import LayerAddress
from pack.nodes import load, stored
from pack.nodes.doctor import Doctor
from pack.nodes.faces import EncodeFace, LoadFaceModels
from pack.nodes.flux_packs import loaders as flux
from pack.nodes.host.doctor.compatibility import Combination, drawn_family, problems
from pack.nodes.host.embeds import bare
from pack.nodes.host.encoder.encode import Reference, encode
from pack.nodes.host.face.engine import EngineChoice
from pack.nodes.host.model import lora, search
from pack.nodes.host.model.adapter import LoadedAdapter
from pack.nodes.host.requests.shown_paths import shortened
from pack.nodes.host.routes import describe
from pack.nodes.plus import loaders as plus
from torch import Tensor

from .bed import good_name
from .corpus import CONTEXT, WIDTHS, Sort
from .served import tensors_in


@dataclass
class Opened:
    """What one of them gave.

    Attributes:
        tensors: those that it handed out.
        lost: what it did not find although it is there.
    """

    tensors: list[Tensor] = field(default_factory=list[Tensor])
    lost: str = ""


Opener = Callable[[str], Opened]
_LAYERS = [
    Layer(LayerAddress("input", number, 0), width, CONTEXT, (number, 0), "down.block_0", "input")
    for number, width in enumerate(WIDTHS)
]
_PICTURE = torch.full((1, 64, 64, 3), 0.5)
_SEQUENCE = 5


def _doctor(_name: str) -> Opened:
    (text,) = Doctor.execute()[:1]
    lines = text if isinstance(text, str) else "\n".join(text)
    names = (good_name(sort) for sort in (Sort.ADAPTER, Sort.ENCODER, Sort.EMBEDS, Sort.FACES))
    missing = [name for name in names if name not in shortened(lines)]
    return Opened(lost=", ".join(missing))


def _routes(name: str) -> Opened:
    text = describe(name)
    if len(text) > _LONGEST:
        return Opened(lost=f"a short answer: there are {len(text)} characters")
    roles = ("adapter", "encoder", "checkpoint", "unet")
    for given in ({role: name} for role in roles):
        asked = Combination.read(given)
        problems(asked)
        drawn_family(asked)
    problems(Combination.read({"adapter": "auto", "encoder": "auto", "kind": "standard"}))
    return Opened()


_LONGEST = 500


def _adapter(name: str) -> Opened:
    adapter = load.LoadAdapter.execute(name)[0]
    adapter.key_values(_features(adapter.spec))
    return Opened(_weights(adapter))


def _weights(adapter: LoadedAdapter) -> list[Tensor]:
    held = list(adapter.patcher.model.state_dict().values())
    return [*held, *adapter.lora.values()]


def _features(spec: AdapterSpec) -> Features:
    """References as wide as an adapter wants them."""
    if spec.needs_face:
        looks = _looks(spec) if spec.needs_encoder else None
        return FaceFeatures(torch.ones(1, 512), looks, "buffalo_l")
    return _looks(spec)


def _looks(spec: AdapterSpec) -> ImageFeatures:
    width = spec.feature_width
    rows, hidden = torch.ones(1, width), torch.ones(1, _SEQUENCE, width)
    if spec.feature is Feature.POOLED:
        return ImageFeatures(rows, None, rows * 0, None, spec.encoder, black_pooled=rows * 0)
    return ImageFeatures(None, hidden, None, hidden * 0, spec.encoder)


def _search(name: str) -> Opened:
    found = search.find_adapter(_LAYERS, Choice.STANDARD)
    return Opened(lost="" if found in (name, good_name(Sort.ADAPTER)) else f"{found} was found")


def _old_adapter(name: str) -> Opened:
    (held,) = plus.ModelLoader().load_ipadapter_model(name)
    parts = [dict(held[part]) for part in ("image_proj", "ip_adapter")]
    return Opened(list(tensors_in(parts)))


def _sd3(name: str) -> Opened:
    flux.IPAdapterSD3Loader().load_model(name)
    return Opened()


def _xlabs(name: str) -> Opened:
    flux.LoadFluxIPAdapter().loadmodel(name, good_name(Sort.ENCODER))
    return Opened()


def _unified(sort: Sort, preset: str) -> Opener:
    """By the name that a preset looks for."""

    def opener(name: str) -> Opened:
        path = Path(_path(sort, name))
        link = path.with_name(f"{preset}{path.suffix}")
        if path.is_file() and not link.exists():
            os.link(path, link)
            folder_paths.filename_list_cache.clear()
        try:
            plus.UnifiedLoader().load_models(_model(), plus.UnifiedLoader.PRESETS[1])
        finally:
            link.unlink(missing_ok=True)
            folder_paths.filename_list_cache.clear()
        return Opened()

    return opener


@cache
def _model() -> Any:
    return tiny.twins("sd1").model


def _encoder(name: str) -> Opened:
    encoder = load.LoadEncoder.execute(name)[0]
    held = list(encoder.model.state_dict().values())
    encode(encoder, Reference(_PICTURE, Fit.SQUASH))
    return Opened(held)


def _encoder_of_old_pack(name: str) -> Opened:
    flux.LoadFluxIPAdapter().loadmodel(good_name(Sort.ADAPTER), name)
    return Opened()


def _embeds(name: str) -> Opened:
    return Opened(list(tensors_in(stored.LoadEmbeds.execute(name)[0])))


def _entry(name: str) -> Opened:
    stored.LoadEmbeds.execute(name, entry=1)
    return Opened()


def _negative(name: str) -> Opened:
    stored.LoadEmbeds.execute(good_name(Sort.EMBEDS), negative_file=name)
    return Opened()


def _old_embeds(name: str) -> Opened:
    return Opened([bare.read(_path(Sort.EMBEDS, name))])


def _faces(engine: EngineChoice) -> Opener:
    def opener(name: str) -> Opened:
        models = LoadFaceModels.execute(name, engine.value)[0]
        EncodeFace.execute(models, _PICTURE, on_no_face="pass")
        return Opened()

    return opener


def _old_faces(name: str) -> Opened:
    plus.FaceModelsLoader().load_insightface("CPU", name)
    return Opened()


def _lora(name: str) -> Opened:
    return Opened(list(lora.read_lora(_path(Sort.LORA, name)).values()))


def _path(sort: Sort, name: str) -> str:
    path = folder_paths.get_full_path(sort.value, name)
    if path is None:
        raise Absent(name)
    return path


class Absent(Exception):
    """A case that the host does not list, so that nobody can choose it."""


_EVERY: dict[str, Opener] = {"Doctor": _doctor, "routes": _routes}
_BY_SORT: dict[Sort, dict[str, Opener]] = {
    Sort.ADAPTER: {
        "search": _search,
        "Load IP-Adapter": _adapter,
        "IPAdapter Model Loader": _old_adapter,
        "Load IPAdapter SD3 Model": _sd3,
        "Load Flux IPAdatpter": _xlabs,
        "IPAdapter Unified Loader": _unified(Sort.ADAPTER, "ip-adapter_sd15"),
    },
    Sort.ENCODER: {
        "search": _search,
        "Load Image Encoder": _encoder,
        "Load Flux IPAdatpter": _encoder_of_old_pack,
        "IPAdapter Unified Loader": _unified(Sort.ENCODER, "CLIP-ViT-H-14-laion2B-s32B-b79K"),
    },
    Sort.EMBEDS: {
        "Load Embeds": _embeds,
        "Load Embeds, entry 1": _entry,
        "Load Embeds, as the negative": _negative,
        "IPAdapter Load Embeds": _old_embeds,
    },
    Sort.FACES: {
        **{f"Load Face Models, {one.value}": _faces(one) for one in EngineChoice},
        "IPAdapter InsightFace Loader": _old_faces,
    },
    Sort.BASE: {},
    Sort.LORA: {"LoRA of a unified loader": _lora},
}


def openers(sort: Sort) -> dict[str, Opener]:
    """By what a user calls them."""
    return {**_EVERY, **_BY_SORT[sort]}
