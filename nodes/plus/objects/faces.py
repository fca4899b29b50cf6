"""INSIGHTFACE: insightface's own object where the package is installed, else one like it.

Whoever takes an INSIGHTFACE sets `det_model.input_size` and calls `get` with a BGR picture.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy
from numpy.typing import NDArray
from torch import Tensor

from ....ip_models.errors import BadInput
from ....ip_models.faces.align import norm_crop
from ....ip_models.faces.detect import Face
from ....ip_models.inputs import shown
from ....ip_models.pictures.fit import Picture
from ...host.face import packs
from ...host.face.encode import engine_of
from ...host.face.engine import EngineChoice, FaceEngine, load_engine, require_known

log = logging.getLogger("ipadapter")

SIZE = 640
# What onnxruntime calls them, where it is not the name with the ending.
_PROVIDERS = {"DirectML": "Dml"}
_ENDING = "ExecutionProvider"


def load_faces(provider: str = "CPU", pack: str = "buffalo_l") -> Any:
    """The face models of a pack, ready for pictures.

    Raises:
        MissingModel: the pack is not there; nothing is downloaded.
        BrokenFile, UnsupportedNetwork: a file of it cannot be used.
    """
    found = packs.find(pack)
    root = _root(found.folder, pack)
    if find_spec("insightface") is not None and root is not None:
        try:
            for path in packs.networks(found.folder):  # insightface opens them all
                require_known(path)
            return _insightface(provider, pack, root)
        except Exception as error:  # noqa: BLE001 (it raises whatever its parts raise)
            log.warning("insightface cannot be used (%s): this pack reads the faces", error)
    return Faces(load_engine(found, EngineChoice.AUTO))


def _root(folder: str, pack: str) -> str | None:
    """What insightface finds a pack in, None where it would not look."""
    models, name = os.path.split(folder)
    root, between = os.path.split(models)
    return root if (between, name) == ("models", pack) else None


def _insightface(provider: str, pack: str, root: str) -> Any:
    # onnxruntime reports every session to its makers unless this is set before its first import.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    app = import_module("insightface.app")
    # Without the last, 2.x opens a session for each size of picture; 0.7 takes no notice of it.
    analysis = app.FaceAnalysis(
        name=pack, root=root, providers=[_provider(provider)], static_shape_sessions=False
    )
    analysis.prepare(ctx_id=0, det_size=(SIZE, SIZE))
    return analysis


def _provider(name: str) -> str:
    """The name of an onnxruntime provider that is there."""
    wanted = _PROVIDERS.get(name, name) + _ENDING
    there: list[str] = sys.modules["onnxruntime"].get_available_providers()
    if wanted in there:
        return wanted
    log.warning(
        "provider %s is not in this onnxruntime (%s): face models run on the CPU",
        name,
        ", ".join(one.removesuffix(_ENDING) for one in there),
    )
    return f"CPU{_ENDING}"


class FoundFace(dict[str, Any]):
    """A face, whose values are its attributes too, as insightface has it."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self.get(name)

    @property
    def embedding_norm(self) -> float:
        """Length of the identity vector."""
        return float(numpy.linalg.norm(self["embedding"]))

    @property
    def normed_embedding(self) -> NDArray[numpy.float32]:
        """The identity vector with length 1."""
        return self["embedding"] / self["embedding"].dtype.type(self.embedding_norm)


class _Detector:
    """What is set on a detector."""

    def __init__(self) -> None:
        self.input_size: tuple[int, int] = (SIZE, SIZE)


class Faces:
    """As much of insightface's FaceAnalysis as is used, around this pack's own engine.

    It is such an engine as well, so that this pack's own nodes take it.
    """

    def __init__(self, engine: FaceEngine) -> None:
        self.engine = engine
        self.det_model = _Detector()
        self.pack = getattr(engine, "pack", None)

    def prepare(self, ctx_id: int = 0, det_size: tuple[int, int] = (SIZE, SIZE), **_: Any) -> None:
        """Set the size; the device is the host's choice."""
        self.det_model.input_size = det_size

    def get(self, img: Picture, max_num: int = 0, **_: Any) -> list[FoundFace]:
        """Faces of a BGR picture of 8 bits, the best score first; max_num 0 is all."""
        image = numpy.ascontiguousarray(img[..., ::-1])
        faces = self.engine.detect(image, self._size())
        faces = faces[:max_num] if max_num > 0 else faces
        crops = [norm_crop(image, face.key_points, self.engine.crop_size) for face in faces]
        identities = self.engine.embed(crops).numpy() if faces else []
        return [
            FoundFace(bbox=face.box, kps=face.key_points, det_score=face.score, embedding=identity)
            for face, identity in zip(faces, identities, strict=True)
        ]

    def _size(self) -> int:
        size: Any = self.det_model.input_size
        side = size[0] if isinstance(size, list | tuple) and size else size
        if isinstance(side, int) and side > 0:
            return side
        raise BadInput(
            f"input_size of the face detector is {shown(size)}",
            "two equal numbers, such as (640, 640), are needed",
            "Set one of these",
        )

    @property
    def fixed_size(self) -> int | None:
        return self.engine.fixed_size

    @property
    def crop_size(self) -> int:
        return self.engine.crop_size

    def detect(self, image: Picture, size: int) -> list[Face]:
        """See `FaceEngine`."""
        return self.engine.detect(image, size)

    def embed(self, crops: Sequence[Picture]) -> Tensor:
        """See `FaceEngine`."""
        return self.engine.embed(crops)

    def describe(self) -> str:
        """See `FaceEngine`."""
        return self.engine.describe()

    def is_dynamic(self) -> bool:
        """Whether the host can drop the weights at any time; asked by its output cache."""
        ask: Any = getattr(self.engine, "is_dynamic", None)
        return bool(ask()) if ask is not None else False


def as_insightface(face_models: Any) -> Any:
    """Face models of this pack or of another as INSIGHTFACE.

    Raises:
        BadInput: there is no detector and recogniser of insightface in it.
    """
    if hasattr(face_models, "det_model") and hasattr(face_models, "get"):
        return face_models
    return Faces(engine_of(face_models))
