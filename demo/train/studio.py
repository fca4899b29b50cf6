"""Makes pictures with the toy models through ComfyUI's sampler and the pack's own nodes."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from comfy_host import pack
from PIL import Image
from stand_ins import TOY_CFG, TOY_SIZE, TOY_STEPS
from torch import Tensor
from toys import NODES, stored

from .drawings import WORDS, Style, draw, random_styles

GRID = TOY_SIZE // 8  # latents along an edge


class Studio:
    """All toy models, loaded once; with a guidance of `cfg`."""

    def __init__(self, weights: Path = NODES / "weights", cfg: float = TOY_CFG) -> None:
        from toy_nodes import models

        self.cfg = cfg
        self.weights = weights
        self.model, self.words = models.load_base(weights / "base.safetensors")
        self.vae = models.load_vae(weights / "vae.safetensors")
        self.encoder = models.load_encoder(weights / "encoder.safetensors")
        self._published = tempfile.TemporaryDirectory()  # adapters, as the pack loads them

    def adapter(self, kind: str) -> Any:
        path = Path(self._published.name) / f"{kind}.safetensors"
        if not path.is_file():
            stored().expand(self.weights / f"adapter_{kind}.safetensors", path)
        return pack("nodes.host.model.adapter").load(str(path))

    def embeds(self, pictures: Tensor) -> Any:
        """Embeds of pictures (n, height, width, 3)."""
        return pack("nodes.encode").EncodeImage.execute(self.encoder, pictures).args[0]

    def apply(self, kind: str, embeds: Any, **settings: Any) -> Any:
        """The MODEL with references; settings are the inputs of Apply IP-Adapter."""
        node = pack("nodes.apply").ApplyIPAdapter
        values = {"scale": 1.0, "start_percent": 0.0, "end_percent": 1.0} | settings
        return node.execute(self.model, self.adapter(kind), embeds, **values).args[0]

    def pictures(self, model: Any, word: int, count: int, seed: int, **more: Any) -> Tensor:
        """(count, height, width, 3) in 0..1.

        Args:
            word: index into `WORDS`.
            more: see `latents`.
        """
        return self.vae.decode(self.latents(model, word, count, seed, **more))

    def latents(
        self,
        model: Any,
        word: int,
        count: int,
        seed: int,
        start: Tensor | None = None,
        denoise: float = 1.0,
        mask: Tensor | None = None,
    ) -> Tensor:
        """As KSampler makes them; `start` and `mask` as image-to-image and inpainting have them."""
        import comfy.sample
        from toy_nodes.models import conditioning

        image = torch.zeros(count, 4, GRID, GRID) if start is None else start
        return comfy.sample.sample(
            model,
            comfy.sample.prepare_noise(image, seed),
            TOY_STEPS,
            self.cfg,
            "euler",
            "normal",
            conditioning(self.words, word),
            conditioning(self.words, len(WORDS)),
            image,
            denoise=denoise,
            noise_mask=mask,
            disable_pbar=True,
            seed=seed,
        )


def references(
    count: int, seed: int, word: int | None = None, without: int | None = None
) -> tuple[Tensor, Style]:
    """Drawings (count, height, width, 3) and their styles.

    Args:
        word: of all drawings, else random ones.
        without: a word that none of them shows.
    """
    generator = torch.Generator().manual_seed(seed)
    styles = random_styles(count, generator)
    words = torch.randint(len(WORDS), (count,), generator=generator)
    if without is not None:
        words = (without + 1 + words % (len(WORDS) - 1)) % len(WORDS)
    if word is not None:
        words = torch.full_like(words, word)
    return draw(words, styles, generator).movedim(1, -1).contiguous(), styles


def sheet(rows: list[Tensor]) -> Image.Image:
    """One picture of rows of pictures, each (n, height, width, 3)."""
    lines = [torch.cat(list(row), 1) for row in rows]
    widest = max(line.shape[1] for line in lines)
    lines = [torch.nn.functional.pad(x, (0, 0, 0, widest - x.shape[1]), value=1.0) for x in lines]
    return Image.fromarray((torch.cat(lines) * 255).clamp(0, 255).byte().cpu().numpy())
