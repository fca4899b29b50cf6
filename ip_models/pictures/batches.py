"""Pictures and their tiles as an image encoder gets them, a few at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from torch import Tensor

from .fit import Fit, fit_bytes, fit_images, square_side
from .tiles import Tiling, cut

CHUNK = 8


@dataclass(frozen=True)
class EncodeOptions:
    """How pictures go through an encoder.

    Attributes:
        tiling: closer looks at parts of each picture.
        batch_size: squares that the encoder gets together, 0 for the usual number.
    """

    fit: Fit
    tiling: Tiling = Tiling()
    batch_size: int = 0

    @property
    def chunk(self) -> int:
        """Squares that the encoder gets together."""
        return self.batch_size or CHUNK

    @property
    def tile_steps(self) -> int:
        """Runs for the tiles of one picture."""
        return -(-(self.tiling.count**2) // self.chunk) if self.tiling.used else 0

    def steps(self, count: int) -> int:
        """Runs for pictures without their tiles."""
        return -(-count // self.chunk)


@dataclass(frozen=True)
class Squares:
    """Makes what the encoder gets, (n, size, size, 3) in 0..1.

    Attributes:
        size: side of what the encoder gets, in pixels.
        colour: of bars, in 0..1.
    """

    options: EncodeOptions
    size: int
    colour: tuple[float, ...]

    def pictures(self, images: Tensor) -> Iterator[Tensor]:
        """Each picture as one square, chunk by chunk."""
        for chunk in images.split(self.options.chunk):
            yield fit_images(chunk, self.size, self.options.fit, self.colour)

    def large(self, image: Tensor) -> Tensor:
        """The square that the tiles of a picture are cut from, (side, side, 3) of 8 bits."""
        (height, width), fit = image.shape[:2], self.options.fit
        side = square_side((width, height), fit, self.options.tiling.count * self.size)
        return fit_bytes(image[None], side, fit, self.colour)[0]

    def tiles(self, square: Tensor) -> Iterator[Tensor]:
        """Its tiles, chunk by chunk."""
        boxes = iter(self.options.tiling.boxes)
        while some := list(islice(boxes, self.options.chunk)):
            yield cut(square, some, self.size)

    def every(self, images: Tensor) -> Iterator[Tensor]:
        """One by one in the order in which the encoder gets them: pictures, then all tiles."""
        for chunk in self.pictures(images):
            yield from chunk
        if self.options.tiling.used:
            for image in images:
                for chunk in self.tiles(self.large(image)):
                    yield from chunk
