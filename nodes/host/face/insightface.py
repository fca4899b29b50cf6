"""insightface as the engine: the client's own package, or an object another pack made with it.

Nothing of it is imported before a face node asks for it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any, cast

import numpy
import torch
from torch import Tensor

from ....ip_models.errors import Action, BadInput, Mend, MissingModel, UnsupportedNetwork
from ....ip_models.faces.detect import Face
from ....ip_models.inputs import shown
from ....ip_models.pictures.fit import Picture
from .packs import FacePack

# Where other packs keep the FaceAnalysis inside what they hand out.
_HOLDERS = ("app", "model", "models", "analyser", "analyzer", "face_analysis", "insightface")
_USE_TORCH = Mend("engine", "torch")
_OTHER_ENGINE = Action(
    "Set engine to torch, or use the original files of buffalo_l or antelopev2", _USE_TORCH
)


class InsightfaceEngine:
    """A detector and a recogniser of insightface, 0.7 or later.

    Args:
        detector: has `detect(image, input_size=...)`.
        recogniser: has `get_feat(crops)`.
        about: the pack, for `describe`.
    """

    def __init__(self, detector: Any, recogniser: Any, about: str) -> None:
        self._detector, self._recogniser, self._about = detector, recogniser, about
        self.pack: FacePack | None = None

    @classmethod
    def from_pack(cls, pack: FacePack) -> InsightfaceEngine:
        """Both files of a pack in the client's insightface.

        Raises:
            MissingModel: insightface or onnxruntime is not installed.
            UnsupportedNetwork: it takes a file for something else.
        """
        zoo = _import_zoo()
        with _explained():
            detector, recogniser = (_open(zoo, path) for path in (pack.detector, pack.recogniser))
        if not hasattr(detector, "detect") or not hasattr(recogniser, "get_feat"):
            raise UnsupportedNetwork(
                f"insightface takes the files of {pack.name} for "
                f"{type(detector).__name__} and {type(recogniser).__name__}",
                "a detector and a recogniser are needed",
                _OTHER_ENGINE,
            )
        with _explained():
            detector.prepare(0, det_thresh=0.5, nms_thresh=0.4)
        engine = cls(detector, recogniser, pack.describe())
        engine.pack = pack
        return engine

    @classmethod
    def from_object(cls, found: Any) -> InsightfaceEngine:
        """What the INSIGHTFACE or FACEANALYSIS socket of another pack carries.

        Raises:
            BadInput: there is no detector and recogniser of insightface in it.
        """
        for one in _candidates(found):
            models = getattr(one, "models", one)
            if not isinstance(models, Mapping):
                continue
            parts = cast("Mapping[str, Any]", models)
            detector = getattr(one, "det_model", None) or parts.get("detection")
            recogniser = parts.get("recognition")
            if hasattr(detector, "detect") and hasattr(recogniser, "get_feat"):
                return cls(detector, recogniser, "face models of another pack")
        raise BadInput(
            f"face_models is {shown(found)} without a detector and a recogniser",
            "the face models of this pack, or a FaceAnalysis with detection and recognition, "
            "are needed",
            "Connect Load Face Models",
        )

    @property
    def fixed_size(self) -> int | None:
        shape = _input_shape(self._detector)
        fixed = len(shape) == 4 and isinstance(shape[2], int) and shape[2] == shape[3]
        return int(shape[2]) if fixed else None

    @property
    def crop_size(self) -> int:
        size = getattr(self._recogniser, "input_size", (112, 112))[0]
        return size if isinstance(size, int) else 112

    def detect(self, image: Picture, size: int) -> list[Face]:
        """Faces in an RGB picture scaled into a square of `size`, the best score first."""
        size = self.fixed_size or size
        short, long = sorted(image.shape[:2])
        if size * short < long:  # nothing is left of the short side, and OpenCV refuses that
            return []
        # The one call that obeys the size in 0.7 and in 2.x; the attribute input_size does not.
        with _explained():
            boxes, points = self._detector.detect(_bgr(image), input_size=(size, size))
        if points is None:
            raise UnsupportedNetwork(
                "the face detector gives boxes without key points",
                "a SCRFD detector with key points is needed",
                "Use det_10g.onnx of buffalo_l or scrfd_10g_bnkps.onnx of antelopev2",
            )
        boxes, points = numpy.asarray(boxes, "f4"), numpy.asarray(points, "f4")
        faces = [Face(box[:4], float(box[4]), at) for box, at in zip(boxes, points, strict=True)]
        return sorted(faces, key=lambda face: -face.score)

    def embed(self, crops: Sequence[Picture]) -> Tensor:
        """(n, 512) identity vectors of RGB crops, not normalised."""
        if not crops:
            return torch.zeros(0, 512)
        with _explained():
            vectors = [self._recogniser.get_feat(_bgr(crop)).reshape(1, -1) for crop in crops]
            return torch.from_numpy(numpy.concatenate(vectors).astype(numpy.float32))

    def describe(self) -> str:
        """Pack, files, licence, engine and the provider really in use."""
        return f"{self._about}\nengine: insightface {_version()} on {self.provider}"

    @property
    def provider(self) -> str:
        """What onnxruntime really runs the detector on; it falls back without an error."""
        session: Any = getattr(self._detector, "session", None)
        providers = session.get_providers() if hasattr(session, "get_providers") else []
        return str(providers[0]) if providers else "an unknown device"


@contextmanager
def _explained() -> Generator[None]:
    """What insightface and onnxruntime stumble over in a file, in a sentence.

    Raises:
        UnsupportedNetwork: whatever error they give.
    """
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:120].rstrip(".")
        raise UnsupportedNetwork(
            f"insightface cannot run the face models ({type(error).__name__}: {reason})",
            "original files of a face pack are needed",
            _OTHER_ENGINE,
        ) from error


def _candidates(found: Any) -> Iterator[Any]:
    yield found
    if isinstance(found, Mapping):
        yield from cast("Mapping[str, Any]", found).values()
    elif isinstance(found, list | tuple):
        yield from cast("Sequence[Any]", found)
    for name in _HOLDERS:
        if hasattr(found, name):
            yield getattr(found, name)


def _open(zoo: Any, path: str) -> Any:
    # Without this, 2.x opens one more session for every detection size; 0.7 takes no notice.
    try:
        return zoo.get_model(path, static_shape_sessions=False)
    except TypeError:
        return zoo.get_model(path)


def _bgr(image: Picture) -> Picture:
    return numpy.ascontiguousarray(image[..., ::-1])


def _input_shape(model: Any) -> tuple[Any, ...]:
    session: Any = getattr(model, "session", None)
    inputs = session.get_inputs() if hasattr(session, "get_inputs") else []
    return tuple(inputs[0].shape) if inputs else ()


def _version() -> str:
    module = sys.modules.get("insightface")
    return str(getattr(module, "__version__", "of another pack"))


def _import_zoo() -> Any:
    # onnxruntime reports every session to its makers unless this is set before its first import.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        return import_module("insightface.model_zoo")
    except ImportError as error:
        raise MissingModel(
            f"insightface cannot be used ({error})",
            "insightface and one onnxruntime are needed for this engine",
            Action(
                f"Set engine to torch, or close ComfyUI and run: {install_command()}", _USE_TORCH
            ),
        ) from error


def install_command() -> str:
    """What installs insightface for this Python with the onnxruntime of its device."""
    pip = f'"{sys.executable}" -m pip install'
    cuda = torch.version.cuda
    if not cuda or sys.platform == "darwin":
        return f"{pip} insightface"
    # insightface asks for onnxruntime, which hides the CUDA build; the last one installed wins.
    limit = "<1.27" if cuda.startswith("12") else ""
    return f'{pip} insightface, then {pip} --force-reinstall --no-deps "onnxruntime-gpu{limit}"'
