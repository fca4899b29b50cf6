"""Face models at work: as torch modules under the host's memory management, or by insightface."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from enum import Enum
from typing import Protocol
from weakref import WeakValueDictionary

import comfy.model_management
import comfy.model_patcher
import numpy
import torch
from torch import Tensor

from ....ip_models.errors import UnsupportedNetwork
from ....ip_models.faces.detect import Detector, Face, decode, letterbox, pixel_scale
from ....ip_models.inputs import sides
from ....ip_models.onnx.file import read_network
from ....ip_models.onnx.module import OnnxModule
from ....ip_models.pictures.fit import Picture
from ..files.checkpoint import identity
from ..files.stored import replaced
from ..progress import Progress
from .insightface import InsightfaceEngine
from .packs import FacePack

log = logging.getLogger("ipadapter")

# What a network's widest steps take beside its weights, per pixel of its input.
_BYTES_PER_PIXEL = 700
_CHUNK = 8
_SIDE = 640  # of the picture that faces are found in first


class EngineChoice(str, Enum):
    """What runs the face models."""

    AUTO = "auto"
    TORCH = "torch"
    INSIGHTFACE = "insightface"


class FaceEngine(Detector, Protocol):
    """A detector and a recogniser."""

    @property
    def crop_size(self) -> int:
        """Side of the upright crops that `embed` takes."""
        ...

    def embed(self, crops: Sequence[Picture]) -> Tensor:
        """(n, 512) identity vectors of RGB crops, not normalised."""
        ...

    def describe(self) -> str:
        """Pack, files, licence, engine and the device really in use."""
        ...


_engines: WeakValueDictionary[tuple[object, ...], TorchEngine | InsightfaceEngine] = (
    WeakValueDictionary()
)


def load_engine(pack: FacePack, choice: EngineChoice) -> FaceEngine:
    """The engine for a pack; the one that is loaded already, if there is one.

    Raises:
        BrokenFile, UnsupportedNetwork: a file cannot be used.
        MissingModel: insightface is chosen and not installed.
    """
    key = (choice, pack.name, identity(pack.detector), identity(pack.recogniser))
    engine = _engines.get(key)
    if engine is None:
        engine = _engines[key] = _load(pack, choice)
        log.info("%s", engine.describe())
    return engine


def _load(pack: FacePack, choice: EngineChoice) -> TorchEngine | InsightfaceEngine:
    files = (pack.detector, pack.recogniser)
    before = [identity(path) for path in files]
    engine = TorchEngine(pack)
    if choice is not EngineChoice.INSIGHTFACE:
        return engine
    # Nobody else gets a file that was refused here; another engine is for other arithmetic.
    engine.weigh()
    del engine
    other = InsightfaceEngine.from_pack(pack)
    if before != [identity(path) for path in files]:
        raise replaced(pack.detector, "it was looked at before another engine got it")
    return other


def require_known(path: str) -> None:
    """Refuse a file that our reader does not know, before anybody else gets it.

    Raises:
        BrokenFile, UnsupportedNetwork: it cannot be read, or takes more than any face model.
    """
    module = OnnxModule(read_network(path))
    shape = module.inputs[0].shape
    module.weigh(torch.Size([1, 3, *(side or _SIDE for side in (*shape, None, None)[2:4])]))


class _Runner:
    """A network as a model of the host's."""

    def __init__(self, path: str) -> None:
        network = read_network(path)
        self.file = os.path.basename(path)
        self.node_names = [node.name for node in network.nodes]
        module = OnnxModule(network).eval()
        # (batch, channels, height, width), None where free.
        self.shape = module.inputs[0].shape if len(module.inputs[0].shape) == 4 else (None,) * 4
        self.patcher = comfy.model_patcher.CoreModelPatcher(
            module,
            load_device=comfy.model_management.get_torch_device(),
            offload_device=comfy.model_management.unet_offload_device(),
        )

    def weigh(self, side: int) -> None:
        """Refuse a network that takes far more than any face model for a picture of this size."""
        self.patcher.model.weigh(torch.Size((1, 3, side, side)))

    def run(self, pixels: Tensor) -> list[Tensor]:
        """Outputs, on the processor."""
        comfy.model_management.throw_exception_if_processing_interrupted()
        needed = pixels.numel() * _BYTES_PER_PIXEL
        comfy.model_management.load_models_gpu([self.patcher], memory_required=needed)
        on_device = pixels.to(self.patcher.load_device)
        cudnn = torch.backends.cudnn
        # Ten bits of a product are too few for what is compared with other machines' vectors.
        with cudnn.flags(
            enabled=cudnn.enabled,
            benchmark=False,
            deterministic=cudnn.deterministic,
            allow_tf32=False,
        ):
            return [output.float().cpu() for output in self.patcher.model(on_device)]


class TorchEngine:
    """Both networks as torch modules in single precision.

    Raises:
        BrokenFile, UnsupportedNetwork: a file cannot be used.
    """

    def __init__(self, pack: FacePack) -> None:
        progress = Progress(2)
        self.pack = pack
        self._detector = _Runner(pack.detector)
        progress.step()
        height, width = self._detector.shape[2:]
        if height and width and height != width:
            raise UnsupportedNetwork(
                f"{self._detector.file} takes pictures of {width} x {height} pixels",
                "a detector of free size, or of a square one, is needed",
                "Use det_10g.onnx of buffalo_l or scrfd_10g_bnkps.onnx of antelopev2",
            )
        self._recogniser = _Runner(pack.recogniser)
        progress.step()
        self._mean, self._deviation = pixel_scale(self._recogniser.node_names)

    def is_dynamic(self) -> bool:
        """Whether the host can drop the weights at any time; asked by its output cache."""
        return bool(self._detector.patcher.is_dynamic())

    def weigh(self) -> None:
        """Refuse networks that take far more than any face model, before anybody runs them.

        Raises:
            UnsupportedNetwork: one does.
        """
        self._detector.weigh(self.fixed_size or _SIDE)
        self._recogniser.weigh(self.crop_size)

    @property
    def fixed_size(self) -> int | None:
        height, width = self._detector.shape[2:]
        return height if height == width else None

    @property
    def crop_size(self) -> int:
        return self._recogniser.shape[2] or 112

    def detect(self, image: Picture, size: int) -> list[Face]:
        """Faces in an RGB picture scaled into a square of `size`, the best score first."""
        size = self.fixed_size or size
        canvas, scale = letterbox(image, size)
        outputs = self._detector.run(_pixels([canvas], 127.5, 128.0))
        return decode([one.numpy() for one in outputs], size, scale, self._detector.file)

    def embed(self, crops: Sequence[Picture]) -> Tensor:
        """(n, 512) identity vectors of RGB crops, not normalised."""
        several = self._recogniser.shape[0] is None
        step = _CHUNK if several else 1
        parts = [self._embed(crops[at : at + step]) for at in range(0, len(crops), step)]
        return torch.cat(parts) if parts else torch.zeros(0, 512)

    def _embed(self, crops: Sequence[Picture]) -> Tensor:
        pixels = _pixels(crops, self._mean, self._deviation)
        vectors = self._recogniser.run(pixels)[0]
        if vectors.shape != (len(crops), 512) and len(crops) > 1:
            return torch.cat([self._embed([crop]) for crop in crops])
        if vectors.numel() != 512 * len(crops):
            raise UnsupportedNetwork(
                f"{self._recogniser.file} gives {sides(vectors.shape)} numbers for a face",
                "an ArcFace recogniser gives 512",
                "Use w600k_r50.onnx of buffalo_l or glintr100.onnx of antelopev2",
            )
        return vectors.reshape(-1, 512)

    def describe(self) -> str:
        """Pack, files, licence, engine and device."""
        device = self._detector.patcher.load_device
        return f"{self.pack.describe()}\nengine: torch on {device}, single precision"


def _pixels(pictures: Sequence[Picture], mean: float, deviation: float) -> Tensor:
    """(n, 3, height, width), as insightface feeds its networks: RGB, whatever it reads."""
    stacked = torch.from_numpy(numpy.stack(pictures)).movedim(-1, 1).float()
    return (stacked - mean) / deviation
