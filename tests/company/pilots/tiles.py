"""Packs that make a large picture of tiles.

The law of all: a tile is a picture of its own to the UNet, so each tile hears the reference once,
with the part of a mask that lies in it and, with one reference per picture, that of the picture it
is cut from. Where a tile lies, the pilot sees at the functions that cut it out.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from company.checkout import Checkout
from company.pilot import pilot
from company.scene import PIXELS, Box, Company, Scene, Vae, Way
from torch import Tensor


def _tiled(method: str, together: int) -> Callable[[Checkout, Scene], Company]:
    def fly(pack: Checkout, scene: Scene) -> Company:
        """The tiles of a call come one after the other, each with all rows of the call."""
        now: list[Box] = []

        def patch(model: Any) -> Any:
            return pack.call(
                "TiledDiffusion",
                model=model,
                method=method,
                tile_width=128,
                tile_height=128,
                tile_overlap=32,
                tile_batch_size=together,
            )[0]

        def sample(model: Any, way: Way) -> Tensor:
            kind = type(model.model_options["model_function_wrapper"])
            original = kind.__call__
            try:
                kind.__call__ = lambda tiler, apply, given: original(
                    tiler, _noting(tiler, apply, given["input"], now), given
                )
                return scene.sample(model, way, steps=2)
            finally:
                kind.__call__ = original

        return Company(patch, sample, boxes=lambda: now)

    return fly


def _noting(tiler: Any, apply: Any, whole: Tensor, now: list[Box]) -> Any:
    """The model's function, which notes the tiles of each call as it comes."""
    numbers = itertools.count()

    def one(tiles: Tensor, *arguments: Any, **named: Any) -> Any:
        boxes = tiler.batched_bboxes[next(numbers)]
        down, right = _shift(whole, boxes[0], tiles)
        now[:] = [Box(box.y - down, box.x - right, box.h, box.w) for box in boxes]
        return apply(tiles, *arguments, **named)

    return one


def _shift(whole: Tensor, box: Any, tiles: Tensor) -> tuple[int, int]:
    """How far the picture was rolled along one side before it was cut."""
    rows, columns = whole.shape[-2:]
    for shift in [(0, 0), *((i, 0) for i in range(rows)), *((0, i) for i in range(columns))]:
        part = whole.roll(shift, (-2, -1))[box.slicer]
        if torch.equal(part, tiles[: len(part)]):
            return shift
    raise AssertionError("the tile is nowhere in the picture")


_METHODS = {"MultiDiffusion": 2, "Mixture of Diffusers": 1, "SpotDiffusion": 2}
for _method, _together in _METHODS.items():
    _node = f"Tiled Diffusion, {_method}, {_together} at once"
    pilot("ComfyUI-TiledDiffusion", _node, size=(2, 16, 40))(_tiled(_method, _together))


@pilot("ComfyUI_TiledKSampler", "Tiled KSampler, padded", size=(1, 40, 48))
def tiled_ksampler(pack: Checkout, scene: Scene) -> Company:
    """Each tile is a run of the host's KSampler; its place is known to the node alone."""
    tiling = pack.module("tiling")
    now: dict[str, Box] = {}

    def sample(model: Any, way: Way) -> Tensor:
        cut = tiling.get_slice

        def noted(tensor: Tensor, top: int, height: int, left: int, width: int) -> Tensor:
            if tensor.shape[1] == 4:
                now["box"] = Box(top, left, height, width)
            return cut(tensor, top, height, left, width)

        tiling.get_slice = noted
        try:
            (out,) = pack.call(
                "BNK_TiledKSampler",
                model=model,
                tile_width=256,
                tile_height=256,
                tiling_strategy="padded",
                **scene.inputs(way),
                latent_image=scene.latent,
                denoise=1.0,
            )
        finally:
            tiling.get_slice = cut
        return out["samples"]

    return Company(sample=sample, sampler_only=True, boxes=lambda: [now["box"]])


@pilot("tiled_ksampler", "Tiled KSampler (seamless)")
def seamless(pack: Checkout, scene: Scene) -> Company:
    """No tiles: the picture's borders meet. The reference is heard as in any run."""

    def sample(model: Any, way: Way) -> Tensor:
        (out,) = pack.call(
            "Tiled KSampler",
            model=model,
            tiling=1,
            **scene.inputs(way),
            latent_image=scene.latent,
        )
        return out["samples"]

    return Company(sample=sample, sampler_only=True)


class _WatchedVae(Vae):
    """Sees which tiles it is given: nothing but variables of functions that called it tell."""

    def __init__(self) -> None:
        self.boxes: list[Box] = []

    def encode(self, pixels: Tensor) -> Tensor:
        """What is cut out is told by nothing else."""
        frame = sys._getframe()
        while not {"crop_region", "batch_crop_regions"} & set(frame.f_locals):
            assert frame.f_back is not None
            frame = frame.f_back
        known = frame.f_locals
        regions = known.get("batch_crop_regions") or [known["crop_region"]]
        self.boxes = [
            Box(top // PIXELS, left // PIXELS, (bottom - top) // PIXELS, (right - left) // PIXELS)
            for left, top, right, bottom in regions
        ]
        return super().encode(pixels)


@pilot("ComfyUI_UltimateSDUpscale", "Ultimate SD Upscale", size=(1, 24, 32))
def ultimate(pack: Checkout, scene: Scene, together: int = 1) -> Company:
    """Each tile is a run of the host's KSampler; its place is known to the node alone.

    It gives pictures of 8 bits, so what was rounded otherwise is seen more than elsewhere.
    """
    rows, columns = (8 * side for side in scene.size[1:])
    image = torch.rand(1, rows, columns, 3, generator=torch.Generator().manual_seed(5))
    vae = _WatchedVae()
    tiles = {"tile_width": 128, "tile_height": 96, "tile_padding": 0, "mask_blur": 0}
    seams = {f"seam_fix_{name}": 0 for name in ("mask_blur", "padding")}

    def sample(model: Any, way: Way) -> Tensor:
        return pack.call(
            "UltimateSDUpscaleNoUpscale",
            upscaled_image=image,
            model=model,
            vae=vae,
            **scene.inputs(way),
            denoise=1.0,
            mode_type="Linear",
            seam_fix_mode="None",
            seam_fix_denoise=1.0,
            seam_fix_width=64,
            force_uniform_tiles=together > 1,
            tiled_decode=False,
            batch_size=together,
            **tiles,
            **seams,
        )[0]

    return Company(sample=sample, sampler_only=True, boxes=lambda: vae.boxes, rounding=1e-3)


@pilot("ComfyUI_UltimateSDUpscale", "Ultimate SD Upscale, 2 at once", size=(1, 24, 32))
def ultimate_in_batches(pack: Checkout, scene: Scene) -> Company:
    """Here the tiles of a run are the pictures of its batch, of one picture all."""
    return replace(ultimate(pack, scene, together=2), in_batch=True)
