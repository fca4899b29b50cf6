"""A Hugging Face folder as CLIP_VISION: transformers' network, our reader, the host's memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

import comfy.clip_model
import comfy.clip_vision
import comfy.model_management
import comfy.model_patcher
import comfy.ops
import torch
from torch import Tensor

from ....ip_models.errors import BrokenFile
from ....ip_models.inputs import sides
from ..files import checkpoint, folders
from ..progress import Progress
from .config import EncoderConfig, read_config, read_json

_FILE, _INDEX = "model.safetensors", "model.safetensors.index.json"
_VISION, _LAYERS = "vision_model.", "encoder.layers."
_PATCHES, _PROJECTION = "embeddings.patch_embedding.weight", "visual_projection.weight"
_HOST_LAYERS: dict[type[torch.nn.Module], Any] = {
    torch.nn.Linear: comfy.ops.manual_cast.Linear,
    torch.nn.LayerNorm: comfy.ops.manual_cast.LayerNorm,
}


class Tower(torch.nn.Module):
    """The picture's half of a CLIP or SigLIP, named and called as ComfyUI's own.

    Linear layers and norms are the host's, which cast and move their weights whenever they run.
    What transformers reads by itself (class and position embeddings, SigLIP's pooling head) the
    host does not load with the rest, so it is brought along at each call.
    """

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        for module in network.modules():
            # Not subclasses: torch's own attention reads the weights inside its layers itself.
            module.__class__ = _HOST_LAYERS.get(type(module), type(module))
        # Before transformers 5 the vision model is one level further down in every kind.
        self.vision_model: Any = getattr(network, "vision_model", network)
        self.visual_projection: Any = getattr(network, "visual_projection", torch.nn.Identity())

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Last hidden state, penultimate one, and pooled feature of normalised pixels."""
        kept: list[Any] = []
        layer: torch.nn.Module = self.vision_model.encoder.layers[-2]
        brought = self._brought_along(pixel_values)
        hook = layer.register_forward_hook(lambda _module, _inputs, out: kept.append(out))
        try:
            out = torch.func.functional_call(self.vision_model, brought, (pixel_values,))
        finally:
            hook.remove()
        penultimate = kept[0][0] if isinstance(kept[0], tuple) else kept[0]
        # Without a pooling head there is nothing but the sequence, as from ComfyUI's own SigLIP.
        pooled = out.last_hidden_state if out.pooler_output is None else out.pooler_output
        return out.last_hidden_state, penultimate, self.visual_projection(pooled)

    def _brought_along(self, pixels: Tensor) -> dict[str, Tensor]:
        return {
            f"{name}.{key}": parameter.to(pixels)
            for name, module in self.vision_model.named_modules()
            if not hasattr(module, "comfy_cast_weights")
            for key, parameter in module.named_parameters(recurse=False)
        }


class FolderEncoder:
    """What the CLIP_VISION socket carries, with the attributes of ComfyUI's own object.

    Attributes:
        image_size: of the square the encoder sees, in pixels.
        image_mean, image_std: of the pixels it was trained with, for red, green and blue.
        model: a `Tower`.
        patcher: the model under the host's memory management.
    """

    def __init__(self, config: EncoderConfig, tower: Tower) -> None:
        self.image_size = int(config.vision.image_size)
        self.image_mean, self.image_std = config.image_mean, config.image_std
        self.model_type = config.model_type
        self.load_device = comfy.model_management.text_encoder_device()
        self.dtype = comfy.model_management.text_encoder_dtype(self.load_device)
        offload = comfy.model_management.text_encoder_offload_device()
        self.model = tower.to(offload, self.dtype).eval()
        self.patcher = comfy.model_patcher.CoreModelPatcher(
            self.model, load_device=self.load_device, offload_device=offload
        )

    def get_sd(self) -> Mapping[str, Tensor]:
        """Weights under the names of ComfyUI's own encoders."""
        return self.model.state_dict()

    def encode_image(self, image: Tensor, crop: bool = True) -> Any:
        """Encode (n, height, width, channels) pictures in 0..1, of any size."""
        comfy.model_management.load_models_gpu([self.patcher])
        pixels = comfy.clip_model.clip_preprocess(
            image.to(self.load_device),
            size=self.image_size,
            mean=self.image_mean,
            std=self.image_std,
            crop=crop,
        ).float()
        away = comfy.model_management.intermediate_device()
        last, penultimate, pooled = (feature.to(away) for feature in self.model(pixels))
        out = comfy.clip_vision.Output()
        out["last_hidden_state"], out["penultimate_hidden_states"] = last, penultimate
        out["image_embeds"], out["mm_projected"] = pooled, None
        out["image_sizes"] = [pixels.shape[1:]] * len(pixels)
        return out


def identity(path: str) -> tuple[Any, ...]:
    """Changes when a file of the folder is replaced.

    Raises:
        BrokenFile: the folder cannot be read.
    """
    files = (os.path.join(path, name) for name in sorted(_names(path)))
    return tuple(checkpoint.identity(file) for file in files if os.path.isfile(file))


def _names(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise _broken(path, f"cannot be read ({reason})", "Check its permissions") from error


def read_shapes(path: str) -> dict[str, Any]:
    """Shapes of all tensors of a folder, from the headers of its files, as single files name them.

    Raises:
        BrokenFile: the folder holds no CLIP or SigLIP with whole weights in safetensors.
    """
    _require_own(path)
    read_config(path)
    shapes = _read_all(path, _weight_files(path), checkpoint.read_shapes)
    start = _start(shapes)
    if start in (None, _VISION):
        return shapes
    return {
        key if key == _PROJECTION else _VISION + key.removeprefix(start): shape
        for key, shape in shapes.items()
    }


def load(path: str) -> FolderEncoder:
    """Build the network a folder describes and fill it; nothing in it is run or downloaded.

    Raises:
        BrokenFile: the folder holds no CLIP or SigLIP with whole weights in safetensors.
    """
    progress = Progress(3)
    _require_own(path)
    config = read_config(path)
    tensors = _read_all(path, _weight_files(path), checkpoint.read_tensors)
    progress.step()
    prefix = _start(tensors)
    if prefix is None:
        raise _broken(path, f"holds no {_PATCHES}")
    with torch.device("meta"):
        tower = Tower(config.build(f"{prefix}head.probe" in tensors, tensors.get(_PROJECTION)))
    _fill(path, tower, tensors, prefix)
    progress.step()
    encoder = FolderEncoder(config, tower)
    progress.step()
    return encoder


def _start(tensors: Mapping[str, Any]) -> str | None:
    """What the names of the image part begin with: nothing where transformers 5 saved it alone."""
    found = next((key for key in sorted(tensors) if key.endswith(_PATCHES)), None)
    return None if found is None else found.removesuffix(_PATCHES)


def _require_own(path: str) -> None:
    """Refuse a folder with a link that leads out of it, before anything in it is read."""
    for name in _names(path):
        folders.require_inside(os.path.join(path, name), folders.homes(folders.ENCODERS))


def _weight_files(path: str) -> list[str]:
    if os.path.isfile(os.path.join(path, _FILE)):
        return [os.path.join(path, _FILE)]
    names = _names(path)
    if _INDEX not in names:
        only = "only .bin weights" if any(name.endswith(".bin") for name in names) else "no weights"
        raise _broken(path, f"holds {only}", f"Download {_FILE} into the folder too")
    index = read_json(os.path.join(path, _INDEX)).get("weight_map")
    table = cast("dict[str, Any]", index) if isinstance(index, dict) else {}
    parts = sorted({str(part) for part in table.values()})
    missing = [part for part in parts if part not in names]  # paths to elsewhere are missing too
    if missing or not parts:
        what = f"{missing[0]} is not in it" if missing else "it names no files"
        raise _broken(path, f"has {_INDEX} and {what}")
    return [os.path.join(path, part) for part in parts]


def _read_all(
    path: str, files: Iterable[str], read: Callable[[str], Mapping[str, Any]]
) -> dict[str, Any]:
    try:
        return {key: value for file in files for key, value in read(file).items()}
    except BrokenFile as error:  # which begins with a name that every such folder has
        found = f"{os.path.basename(path)}/{error.found}"
        raise BrokenFile(found, error.needed, error.action) from error


def _fill(path: str, tower: Tower, tensors: Mapping[str, Any], prefix: str) -> None:
    """Put the tensors in as they are; whatever else the folder holds is left."""
    wanted = {
        key if key == _PROJECTION else prefix + key.removeprefix(_VISION): (key, empty.shape)
        for key, empty in tower.state_dict().items()
    }
    missing = sorted(wanted.keys() - tensors.keys())
    if missing:
        raise _broken(path, f"holds no {missing[0]} ({len(missing)} tensors are missing)")
    layers = (key for key in tensors if key.startswith(f"{prefix}{_LAYERS}"))
    if more := sorted(set(layers) - wanted.keys()):
        raise _broken(path, f"holds {more[0]}, which its config.json knows nothing of")
    for key, (_, shape) in wanted.items():
        tensor = tensors[key]
        if tensor.shape != shape or not tensor.is_floating_point():
            have, need = map(sides, (tensor.shape, shape))
            what = f"holds {key} as {tensor.dtype} of {have}"
            raise _broken(path, f"{what}, its config.json wants floating point of {need}")
    tower.load_state_dict({own: tensors[key] for key, (own, _) in wanted.items()}, assign=True)
    tower.requires_grad_(False)
    embeddings = tower.vision_model.embeddings
    embeddings.position_ids = torch.arange(len(embeddings.position_embedding.weight))[None]


def _broken(path: str, what: str, action: str = "Download the whole folder again") -> BrokenFile:
    return BrokenFile(
        f"the folder {os.path.basename(path)} {what}",
        f"config.json with all its weights in {_FILE} is needed",
        action,
    )
