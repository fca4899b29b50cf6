"""What is right: the reference is added where each layer's result leaves it, whoever made it.

Hooks on the modules know nothing of slots, patches and wrappers. Which rows are whose is told by
the pilot, which knows what its node does, and never read from a list that the node writes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from company.scene import PIXELS, Box, Company, Scene, Way
from kit.models.companions import plain_attention
from pack.ip_models.unet.address import checkpoint_order, parse_address
from torch import Tensor
from torch.nn.functional import interpolate


class _Row(NamedTuple):
    uncond: int
    frame: int
    box: Box | None


class _Layer:
    """A cross-attention layer with its keys and values of the reference."""

    def __init__(self, attention: Any, maps: Any, oracle: _Oracle) -> None:
        self.attention, self.oracle = attention, oracle
        self.key, self.value = maps.to_k_ip(oracle.tokens), maps.to_v_ip(oracle.tokens)
        self.query: Tensor | None = None

    def asked(self, module: Any, arguments: Any, query: Tensor) -> None:
        """After `to_q`."""
        self.query = query

    def answered(self, module: Any, arguments: tuple[Tensor]) -> tuple[Tensor]:
        """Before `to_out`."""
        assert self.query is not None
        query, rows = self.query, self.oracle.rows(len(self.query))
        places = torch.tensor([[row.uncond, row.frame] for row in rows])
        key, value = self.key[places[:, 0]], self.value[places[:, 0]]
        if self.oracle.way.each:
            key, value = (
                t.unflatten(1, (self.oracle.pictures, -1))[torch.arange(len(rows)), places[:, 1]]
                for t in (key, value)
            )
        image = plain_attention(query, key, value, self.attention.heads)
        if self.oracle.way.masked:
            image = image * self.oracle.mask(rows, query.shape[1])
        return (arguments[0] + image * self.oracle.scene.reference.scale,)


class _Oracle:
    def __init__(self, scene: Scene, company: Company, way: Way) -> None:
        self.scene, self.company, self.way = scene, company, way
        reference = scene.reference
        positive = reference.features.penultimate
        negative = reference.features.negative_penultimate
        assert positive is not None and negative is not None
        self.pictures = len(positive)
        made = reference.adapter.patcher.model.image_proj(
            torch.cat([positive, negative.expand_as(positive)])
        )
        self.tokens = made.unflatten(0, (2, -1)).flatten(1, 2)
        self.chunks: tuple[int, ...] = ()
        self.count = 1

    def entered(self, module: Any, arguments: Any, named: dict[str, Any]) -> None:
        """Before a transformer block: what the host says of its rows, before others change it."""
        options = named.get("transformer_options") or arguments[2]
        self.chunks, self.count = tuple(options["cond_or_uncond"]), len(options["sigmas"])

    def rows(self, total: int) -> list[_Row]:
        """Whose each row of a layer is."""
        company = self.company
        entries = [c for c in self.chunks for _ in range(1 if c == 1 else company.regions)]
        frames = company.frames() if company.frames else range(self.count)
        boxes = company.boxes() if company.boxes else [None]
        last = self.pictures - 1
        if company.boxes and company.in_batch:
            return [_Row(c, 0, b) for c in entries for b in boxes]
        rows = [_Row(c, min(f, last), b) for b in boxes for c in entries for f in frames]
        if company.boxes is None:
            rows *= total // len(rows)
        assert len(rows) == total, f"{len(rows)} rows are explained, {total} found"
        return rows

    def mask(self, rows: list[_Row], queries: int) -> Tensor:
        """(rows, queries, 1): the mean of the mask over the cell of each query."""
        whole = Box(0, 0, *self.scene.size[1:])
        return torch.stack([self._plane(row.box or whole, queries) for row in rows])

    def _plane(self, box: Box, queries: int) -> Tensor:
        top, left, height, width = (side * PIXELS for side in box)
        # A part that begins before the picture's border comes in again at the other side.
        part = self.scene.mask.roll((-top, -left), (-2, -1))[:, None, :height, :width]
        rows, columns = box.height, box.width
        while rows * columns > queries:
            rows, columns = (rows + 1) // 2, (columns + 1) // 2
        return interpolate(part, size=(rows, columns), mode="area").reshape(queries, 1)


@contextmanager
def heard(scene: Scene, company: Company, way: Way) -> Iterator[None]:
    """While it lasts, every layer of the scene's UNet hears the reference."""
    oracle = _Oracle(scene, company, way)
    modules = dict(scene.model.model.diffusion_model.named_modules())
    found = {a: n for n in modules if (a := parse_address(n)) is not None}
    maps = list(scene.reference.adapter.patcher.model.ip_adapter.values())
    with ExitStack() as stack:

        def hook(register: Callable[..., Any], call: Any, **options: Any) -> None:
            stack.callback(register(call, **options).remove)

        for address, part in zip(checkpoint_order(found), maps, strict=True):
            attention = modules[found[address]]
            layer = _Layer(attention, part, oracle)
            block = modules[found[address].removesuffix(".attn2")]
            hook(block.register_forward_pre_hook, oracle.entered, with_kwargs=True)
            hook(attention.to_q.register_forward_hook, layer.asked)
            hook(attention.to_out.register_forward_pre_hook, layer.answered)
        yield
