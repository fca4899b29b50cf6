"""Prompts of client programs, as data: what they need, how they run, what came of them."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from kit.server import named_models
from kit.server.live import Client, Prompt, failure
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

FOLDER = Path(__file__).parent / "prompts"
IMAGES = FOLDER / "images"
FINGERPRINTS = FOLDER / "fingerprints.json"
NUMBERS, SEED = 64, 16
# Inputs that name a file, and the folder of ComfyUI's `models` it is in.
FILES = {
    "ckpt_name": "checkpoints",
    "clip_name": "clip_vision",
    "ipadapter_file": "ipadapter",
    "lora_name": "loras",
    "model_name": "ipadapter",
}
# What the presets of the unified loaders look for, under the names that SwarmUI saves them by.
PRESETS = {
    "clip_vision": [
        "CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors",
        "CLIP-ViT-bigG-14-laion2B-39B-b160k.safetensors",
    ],
    "ipadapter": [
        "sd15_light_v11.bin",
        "ip-adapter_sd15.safetensors",
        "ip-adapter-plus_sd15.safetensors",
        "full_face_sd15.safetensors",
        "ip-adapter-plus-face_sd15.safetensors",
        "ip_plus_composition_sd15.safetensors",
        "ip-adapter-plus_sdxl_vit-h.safetensors",
        "ip-adapter_sdxl_vit-h.safetensors",
        "ip-adapter_sdxl.safetensors",
        "ip-adapter-faceid-plusv2_sd15.bin",
        "ip-adapter-faceid_sdxl.bin",
        "ip-adapter-faceid-portrait-v11_sd15.bin",
    ],
    "loras": [
        "ipadapter/ip-adapter-faceid-plusv2_sd15_lora.safetensors",
        "ipadapter/ip-adapter-faceid_sdxl_lora.safetensors",
    ],
}
IMAGE_CACHE, IMAGE_SAVE, REGIONS = "ETN_LoadImageCache", "ETN_SaveImageCache", "ETN_AttentionMask"
SAVERS = (IMAGE_SAVE, "SaveImage")
SAMPLERS = ("KSampler", "KSamplerAdvanced", "SamplerCustomAdvanced", "SamplerCustom")
LOADERS = ("IPAdapterUnifiedLoader", "IPAdapterUnifiedLoaderFaceID")


@dataclass(frozen=True)
class Record:
    """A prompt as a client made it.

    Attributes:
        images: file of each picture that it names.
    """

    name: str
    about: str
    prompt: Prompt
    images: dict[str, str]

    @classmethod
    def read(cls, name: str) -> Record:
        data = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
        return cls(name, **data)

    @property
    def has_regions(self) -> bool:
        """Whether its regions are those of comfyui-tooling-nodes."""
        return any(node["class_type"] == REGIONS for node in self.prompt.values())


def names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.json") if path != FINGERPRINTS)


def prepare(base: Path) -> None:
    """Models and pictures that the prompts name, in a server's folder."""
    wanted = {folder: list(files) for folder, files in PRESETS.items()}
    for name in names():
        for node in Record.read(name).prompt.values():
            for key, folder in FILES.items():
                file = node["inputs"].get(key)
                if isinstance(file, str) and "." in file:
                    wanted.setdefault(folder, []).append(file)
    named_models.write(base / "models", wanted)
    named_models.write_faces(base / "models")
    (base / "input").mkdir(exist_ok=True)
    for path in IMAGES.iterdir():
        # Hosts read pictures of other modes in other ways.
        with Image.open(path) as image:
            image.convert("RGB").save(base / "input" / path.name)


def reduced(record: Record) -> Prompt:
    """The prompt with the host's own nodes for pictures, and with no regions for prompts.

    Masks of references stay. Clients bring pictures into the server's memory by nodes of a pack of
    theirs; the pictures are the same.
    """
    prompt = copy.deepcopy(record.prompt)
    masks: Prompt = {}
    for number, node in prompt.items():
        kind, inputs = node["class_type"], node["inputs"]
        if kind == IMAGE_CACHE:
            file = record.images[inputs["id"]]
            prompt[number] = {"class_type": "LoadImage", "inputs": {"image": file}}
            mask = {"image": file, "channel": "red"}
            masks[f"{number}m"] = {"class_type": "LoadImageMask", "inputs": mask}
        elif kind == IMAGE_SAVE:
            node["class_type"] = "SaveImage"
            node["inputs"] = {"images": inputs["images"], "filename_prefix": "client"}
    for number, node in record.prompt.items():
        if node["class_type"] == IMAGE_CACHE:
            relink(prompt, [number, 1], [f"{number}m", 0])
        elif node["class_type"] == REGIONS:
            relink(prompt, [number, 0], prompt[number]["inputs"]["model"])
    return {n: node for n, node in (prompt | masks).items() if not _is_region(node)}


def _is_region(node: Mapping[str, Any]) -> bool:
    return node["class_type"] in (REGIONS, "ETN_BackgroundRegion", "ETN_DefineRegion")


def relink(prompt: Prompt, old: list[Any], new: list[Any]) -> None:
    """Everything that has one link gets another."""
    for node in prompt.values():
        for name, value in node["inputs"].items():
            if value == old:
                node["inputs"][name] = new


def silent(prompt: Prompt) -> Prompt:
    """The prompt with all references left out."""
    prompt = copy.deepcopy(prompt)
    for number, node in prompt.items():
        given = node["inputs"].get("model")
        applies = node["class_type"].startswith(("IPAdapter", "IPAA")) and given is not None
        if applies and node["class_type"] not in LOADERS:
            relink(prompt, [number, 0], given)
    return prompt


def latent(client: Client, prompt: Prompt) -> Tensor:
    """What the sampler of a prompt gives, on a real server; the picture is not decoded."""
    prompt = {n: node for n, node in prompt.items() if node["class_type"] not in SAVERS}
    (sampler,) = (n for n, node in prompt.items() if node["class_type"] in SAMPLERS)
    inputs = {"samples": [sampler, 0], "filename_prefix": "fingerprint"}
    entry = client.run(prompt | {"latent": {"class_type": "SaveLatent", "inputs": inputs}})
    assert entry["status"]["status_str"] == "success", failure(entry)
    (file,) = entry["outputs"]["latent"]["latents"]
    path = client.base / "output" / file["subfolder"] / file["filename"]
    return load_file(path)["latent_tensor"].float()


def fingerprint(tensor: Tensor) -> list[float]:
    """A few numbers whose distance is that of the tensors, to a tenth of it."""
    generator = torch.Generator().manual_seed(SEED)
    values = tensor.double().flatten()
    rows = torch.randn(NUMBERS, len(values), generator=generator, dtype=torch.float64)
    return (rows @ values / NUMBERS**0.5).tolist()


def distance(recorded: list[float], tensor: Tensor) -> float:
    """Relative distance of a tensor from one whose fingerprint is recorded."""
    then = torch.tensor(recorded, dtype=torch.float64)
    now = torch.tensor(fingerprint(tensor), dtype=torch.float64)
    return float((now - then).norm() / then.norm())
