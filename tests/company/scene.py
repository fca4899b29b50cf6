"""What every pack is met with: a tiny UNet, a reference, two prompts, the host's KSampler."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from kit.models import tiny
from kit.models.companions import Reference
from pack.ip_models.attention.prompt import BatchMode
from pack.nodes.host.model.apply import Settings, apply
from torch import Tensor

import nodes

PIXELS = 8  # of the picture for one of the latent
WIDTHS = {"sd1": 768, "sdxl": 2048}
Patch = Callable[[Any], Any]


class Box(NamedTuple):
    """A part of the picture in latent pixels."""

    top: int
    left: int
    height: int
    width: int


class Way(NamedTuple):
    """How a reference is applied and a picture made.

    Attributes:
        cfg: 1 leaves out the negative prompt.
        masked: whether the reference is for a part of the picture only.
        each: whether each picture of the batch has a reference of its own.
    """

    cfg: float = 4.0
    masked: bool = False
    each: bool = False

    def __str__(self) -> str:
        where = "mask" if self.masked else "one per picture" if self.each else "whole"
        return f"cfg {self.cfg:g}, {where}"


WAYS = tuple(
    Way(cfg, masked, each)
    for masked, each in ((False, False), (True, False), (False, True))
    for cfg in (4.0, 1.0)
)


class Scene:
    """Models, prompts and a reference, all from fixed seeds."""

    def __init__(self, family: str = "sd1", size: tuple[int, int, int] = (2, 16, 24)) -> None:
        self.family, self.size = family, size
        self.twin = tiny.twins(family)
        with tempfile.TemporaryDirectory() as folder:
            tensors = tiny.adapter_tensors(self.twin, "plus", seed=1)
            adapter = tiny.load_tensors(Path(folder), tensors)
        self.reference = Reference(adapter, tiny.random_features(2, seed=20))
        rows, columns = (PIXELS * side for side in size[1:])
        self.mask = torch.linspace(1.5, -0.5, columns).clamp(0, 1).expand(1, rows, columns)
        self.positive, self.negative = self.prompt(41), self.prompt(42)

    @property
    def model(self) -> Any:
        """The MODEL as a loader gives it."""
        return self.twin.model

    @property
    def latent(self) -> dict[str, Tensor]:
        """An empty latent of two pictures."""
        pictures, rows, columns = self.size
        return {"samples": torch.zeros(pictures, 4, rows, columns)}

    def prompt(self, seed: int) -> list[list[Any]]:
        """A CONDITIONING of random text."""
        generator = torch.Generator().manual_seed(seed)
        text = torch.randn(1, 8, WIDTHS[self.family], generator=generator)
        pooled = torch.randn(1, 1280, generator=generator)
        return [[text, {"pooled_output": pooled}]]

    def halves(self) -> tuple[Tensor, Tensor]:
        """Masks of the left and of the right part of the picture."""
        left = torch.zeros(1, *self.mask.shape[1:])
        left[..., : left.shape[-1] // 3] = 1
        return left, 1 - left

    def mine(self, model: Any, way: Way) -> Any:
        """Our Apply."""
        mask = self.mask if way.masked else None
        batch = BatchMode.REPEAT_LAST if way.each else BatchMode.ALL
        settings = Settings(self.reference.scale, mask=mask, batch=batch)
        return apply(model, self.reference.adapter, self.reference.features, settings)

    def inputs(self, way: Way) -> dict[str, Any]:
        """Inputs of a KSampler, and of nodes that are called like one."""
        return {
            "seed": 1,
            "steps": 2,
            "cfg": way.cfg,
            "sampler_name": "euler",
            "scheduler": "normal",
            "positive": self.positive,
            "negative": self.negative,
        }

    def sample(self, model: Any, way: Way, **other: Any) -> Tensor:
        """A run of the host's KSampler."""
        options = self.inputs(way) | {"latent": self.latent}
        torch.manual_seed(0)
        (out,) = nodes.common_ksampler(model, **options | other)
        return out["samples"]


class Vae:
    """A stand-in on a node's VAE socket: four channels, an eighth of the size."""

    def encode(self, pixels: Tensor) -> Tensor:
        """Pixels (pictures, height, width, 3) to latents."""
        small = torch.nn.functional.avg_pool2d(pixels.movedim(-1, 1), PIXELS)
        return torch.cat([small, small.mean(1, keepdim=True)], dim=1) * 4 - 2

    def decode(self, latent: Tensor) -> Tensor:
        """The way back."""
        large = torch.nn.functional.interpolate(latent[:, :3], scale_factor=PIXELS)
        return large.movedim(1, -1).sigmoid()


@dataclass(frozen=True)
class Company:
    """What a node of another pack does, and what it does to the rows of a layer.

    Attributes:
        patch: what it does with a MODEL.
        sample: how the picture is made, where the node is a sampler or changes the prompts.
        sampler_only: whether it leaves the MODEL alone, so that there is only one order.
        regions: how many rows it makes of each row of the positive prompt inside a layer.
        boxes: the tiles of the present call, if it works in tiles.
        in_batch: whether its tiles are the pictures of a batch, all cut from one picture.
        frames: the numbers of the pictures of the present call, if it works in windows.
        on_top: whether it works on what the layer gives below it, so that the order counts.
        right: the right picture, where the oracle is not the one to say.
        ways: what can be asked of it.
        rounding: how far from the right picture is right.
        may_refuse: whether a sentence of ours is as right as the picture.
    """

    patch: Patch = field(default=lambda model: model)
    sample: Callable[[Any, Way], Tensor] | None = None
    sampler_only: bool = False
    regions: int = 1
    boxes: Callable[[], Sequence[Box]] | None = None
    in_batch: bool = False
    frames: Callable[[], Sequence[int]] | None = None
    on_top: bool = False
    right: Callable[[Way], Tensor] | None = None
    ways: tuple[Way, ...] = WAYS
    rounding: float = 1e-5
    may_refuse: bool = False
