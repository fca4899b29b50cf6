"""Features of pictures and their tiles, encoded a few at a time and none twice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import comfy.model_management
import torch
from torch import Tensor

from ....ip_models.pictures.batches import EncodeOptions, Squares
from ....ip_models.pictures.tiles import Rows, TileMerge, merge_tiles
from ....ip_models.references.digest import digest
from ..progress import Progress
from .row_cache import KnownRows
from .siglip import published_norms


class Runner:
    """Runs an encoder over pictures, except those it has seen lately.

    Args:
        known: rows of pictures it has seen, or None if none are kept.
        progress: one step for each run, also for those that need not be made.
    """

    def __init__(
        self,
        encoder: Any,
        options: EncodeOptions,
        known: KnownRows | None,
        progress: Progress,
    ) -> None:
        self._encoder, self._options, self._progress = encoder, options, progress
        self._squares = Squares(options, int(encoder.image_size), tuple(encoder.image_mean))
        self._known = known

    def references(self, images: Tensor) -> Rows:
        """Features of all pictures and of their tiles, as they are to be merged."""
        tiling = self._options.tiling
        if not tiling.used:
            return self.plain(images)
        blend = tiling.merge is TileMerge.BLEND
        table = _Table(len(images) * (1 if blend else 2))
        for rows in self._pictures(images, 2 * len(images)):
            table.add(rows)
        for i, image in enumerate(images):
            rows = self._tiles(image, 2 * len(images))
            if blend:
                table.blend(i, rows, tiling.ratio)
            else:
                table.add(rows)
        return table.rows

    def plain(self, images: Tensor) -> Rows:
        """Features of pictures without their tiles."""
        table = _Table(len(images))
        for rows in self._pictures(images, len(images)):
            table.add(rows)
        return table.rows

    def _pictures(self, images: Tensor, count: int) -> Iterator[Rows]:
        for squares in self._squares.pictures(images):
            self._progress.step()
            if self._known is None:
                yield run(self._encoder, squares)
            else:
                yield from self._recall(squares, self._known, count)

    def _recall(self, squares: Tensor, known: KnownRows, count: int) -> Iterator[Rows]:
        pixels = [digest(square) for square in squares]
        found = {key: rows for key in pixels if (rows := known.get(key)) is not None}
        missing = {key: i for i, key in enumerate(pixels) if key not in found}
        if missing:
            pooled, hidden = run(self._encoder, squares[list(missing.values())])
            made = {
                key: (None if pooled is None else pooled[i : i + 1], hidden[i : i + 1])
                for i, key in enumerate(missing)
            }
            known.put_all({(key,): rows for key, rows in made.items()}, count)
            found |= made
        yield from (found[key] for key in pixels)

    def _tiles(self, image: Tensor, count: int) -> Rows:
        tiling, square = self._options.tiling, self._squares.large(image)
        if self._known is None:
            return merge_tiles(self._run_tiles(square), tiling)
        key = tiling.count, tiling.overlap, digest(square)
        rows = self._known.get(*key)
        if rows is None:
            rows = merge_tiles(self._run_tiles(square), tiling)
            self._known.put(rows, *key, count=count)
        else:
            for _ in range(self._options.tile_steps):
                self._progress.step()
        return rows

    def _run_tiles(self, square: Tensor) -> Iterator[Rows]:
        for squares in self._squares.tiles(square):
            self._progress.step()
            yield run(self._encoder, squares)


def run(encoder: Any, squares: Tensor) -> Rows:
    """One run of the encoder, (n, size, size, 3) in 0..1."""
    with published_norms(encoder):
        out = encoder.encode_image(squares, crop=False)
    pooled, hidden = out["image_embeds"], out["penultimate_hidden_states"]
    return _single(pooled) if pooled.ndim == 2 else None, _single(hidden)


def run_normalised(encoder: Any, pixels: Tensor) -> Rows:
    """One run over pixels that are normalised already, (n, 3, size, size).

    The host's own encoding rounds pixels to 8 bits, so that it cannot take these.
    """
    comfy.model_management.load_model_gpu(encoder.patcher)
    pixels = pixels.to(encoder.load_device)
    with published_norms(encoder):
        out = encoder.model(pixel_values=pixels, intermediate_output=-2)
    device = comfy.model_management.intermediate_device()
    return _single(out[2]).to(device), _single(out[1]).to(device)


def _single(feature: Tensor) -> Tensor:
    """At least single precision: projecting once in it costs nothing."""
    return feature if feature.dtype == torch.float64 else feature.float()


class _Table:
    """Rows of all references in one piece, written as they come.

    Args:
        count: of references.
    """

    def __init__(self, count: int) -> None:
        self._count, self._filled = count, 0
        self._pooled: Tensor | None = None
        self._hidden: Tensor | None = None

    @property
    def rows(self) -> Rows:
        """What was added."""
        assert self._hidden is not None
        return self._pooled, self._hidden

    def add(self, rows: Rows) -> None:
        """The next ones."""
        pooled, hidden = rows
        if self._hidden is None:
            self._hidden = self._room(hidden)
            self._pooled = None if pooled is None else self._room(pooled)
        place = slice(self._filled, self._filled + len(hidden))
        self._hidden[place] = hidden
        if self._pooled is not None and pooled is not None:
            self._pooled[place] = pooled
        self._filled += len(hidden)

    def blend(self, index: int, rows: Rows, ratio: float) -> None:
        """Leave `ratio` of a row and make it up with another."""
        for table, row in zip(self.rows, rows, strict=True):
            if table is not None and row is not None:
                table[index] = table[index] * ratio + row[0].to(table) * (1 - ratio)

    def _room(self, rows: Tensor) -> Tensor:
        device = comfy.model_management.intermediate_device()
        return torch.empty(self._count, *rows.shape[1:], dtype=rows.dtype, device=device)
