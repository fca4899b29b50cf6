"""Encoders, faces and embeds on the disk, and all that is done with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import torch
import transformers
from kit.faults.beds import renewed
from kit.faults.trial import Bed, Operation
from kit.models import encoders, face_packs, tiny
from kit.models.encoders import Pair
from pack.ip_models.references import embeds_file
from pack.ip_models.references.features import Features, Regions
from pack.nodes.encode import EncodeImage
from pack.nodes.faces import EncodeFace, LoadFaceModels
from pack.nodes.host.encoder import row_cache
from pack.nodes.host.face.packs import FOLDER
from pack.nodes.host.files import folders
from pack.nodes.load import LoadEncoder
from pack.nodes.stored import LoadEmbeds, SaveEmbeds
from torch import Tensor

_OLD = "reference.safetensors"


def _features(embeds: Features | Regions) -> Any:
    return embeds_file.pack(embeds)


def _pictures() -> Tensor:
    return encoders.batch(encoders.picture(70, 60), encoders.picture(70, 60, 1))


def _encoded(encoder: Any) -> Callable[..., Features]:
    """What a node makes of two pictures; nothing is remembered."""

    def encode(_: Any = None, **options: Any) -> Any:
        made = EncodeImage.execute(clip_vision=encoder, image=_pictures(), **options)
        return made.args[0]

    return encode


def encoder_bed(root: Path, make: Callable[[Path], Pair]) -> Bed:
    """An encoder of the host's class: pictures in squares, in tiles, at another size."""
    encoder = make(root).ours
    encode = _encoded(encoder)
    mask = torch.linspace(0, 1, 70 * 60).reshape(1, 70, 60)
    asked: dict[str, dict[str, Any]] = {
        "encode": {"mask": mask, "unconditional": "black image"},
        "encode in tiles": {"tiles": 2, "tile_overlap": 0.2, "tile_merge": "blend"},
        "encode at another size": {"encoder_size": 2 * encoders.SIZE, "batch_size": 1},
    }

    def operation(options: dict[str, Any]) -> Operation:
        return Operation(row_cache.forget, lambda _: encode(**options), _features)

    def picture() -> Any:
        row_cache.forget()
        return encoders.pooled_of(encode()) if make is encoders.make_pair else encode().penultimate

    operations = {name: operation(options) for name, options in asked.items()}
    return Bed(root, (encoder.patcher,), picture, operations)


def folder_bed(root: Path) -> Bed:
    """A folder of Hugging Face as an encoder."""
    config = transformers.CLIPVisionConfig(projection_dim=encoders.POOLED, **encoders.CONFIG)
    model = transformers.CLIPVisionModelWithProjection(config).eval()
    with torch.no_grad():
        encoders.randomise(model)
    home = root / folders.ENCODERS / "folder"
    model.save_pretrained(home)

    def load(_: Any = None) -> Any:
        LoadEncoder.validate_inputs(encoder_file="folder")
        LoadEncoder.fingerprint_inputs(encoder_file="folder")
        return LoadEncoder.execute(encoder_file="folder").args[0]

    encoder = load()
    operations = {
        "load": Operation(lambda: renewed(*home.iterdir()), load, lambda made: made.get_sd()),
        "encode": Operation(row_cache.forget, _encoded(encoder), _features),
    }
    encode = _encoded(encoder)
    return Bed(root, (encoder.patcher,), lambda: _features(encode())[0], operations)


def face_bed(root: Path) -> Bed:
    """A pack of face models, with and without an encoder."""
    home = face_packs.make_pack(root / FOLDER / "models" / "buffalo_l")
    photo = numpy.full((640, 640, 3), 90, numpy.uint8)
    face_packs.paint(photo, 8, 10, 30)
    image = torch.from_numpy(photo)[None].float() / 255
    encoder = encoders.make_pair(root).ours

    def load(_: Any = None) -> Any:
        LoadFaceModels.fingerprint_inputs(pack="buffalo_l")
        return LoadFaceModels.execute(pack="buffalo_l").args[0]

    def weights(engine: Any) -> Any:
        runners = (engine._detector, engine._recogniser)
        return engine.describe(), [one.patcher.model.state_dict() for one in runners]

    models = load()

    def encode(_: Any = None) -> Any:
        made = EncodeFace.execute(face_models=models, image=image, clip_vision=encoder)
        return made.args[:2]

    def value(made: Any) -> Any:
        return _features(made[0]), made[1]

    operations = {
        "load": Operation(lambda: renewed(*home.iterdir()), load, weights),
        "encode": Operation(row_cache.forget, encode, value),
    }
    patchers = (models._detector.patcher, models._recogniser.patcher, encoder.patcher)
    return Bed(root, patchers, lambda: value(encode()), operations)


def embeds_bed(root: Path) -> Bed:
    """Saved embeds, new ones beside them and in their place, in both formats."""
    home = root / folders.EMBEDS
    features, other = (  # an .ipadpt holds one sort of features
        replace(tiny.random_features(1, seed), penultimate=None, negative_penultimate=None)
        for seed in (2, 9)
    )

    def save(embeds: Features, **options: Any) -> str:
        made = SaveEmbeds.execute(embeds={"embeds0": embeds}, name="reference", **options)
        return made.ui["ipadapter_embeds"][0]

    def load(name: str) -> Any:
        LoadEmbeds.validate_inputs(embeds_file=name)
        LoadEmbeds.fingerprint_inputs(embeds_file=name)
        return LoadEmbeds.execute(embeds_file=name).args[0]

    def emptied(*saved: str) -> None:
        for path in list(home.rglob("*")):
            path.unlink()
        for file_format in saved:
            save(other, file_format=file_format)

    def saving(**options: Any) -> Operation:
        return Operation(
            lambda: emptied("safetensors"),
            lambda _: save(features, **options),
            lambda name: (home / name).read_bytes(),
        )

    def loading(file_format: str) -> Operation:
        def prepare() -> str:
            emptied(file_format)
            return next(path.name for path in home.iterdir())

        return Operation(prepare, load, _features)

    def picture() -> Any:
        return _features(other)[0]

    return Bed(
        root,
        (),
        picture,
        {
            "save beside": saving(),
            "save in its place": saving(if_exists="replace"),
            "save ipadpt": saving(file_format="ipadpt"),
            "load": loading("safetensors"),
            "load ipadpt": loading("ipadpt"),
        },
    )
