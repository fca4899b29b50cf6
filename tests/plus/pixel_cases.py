"""What old nodes make of pictures, by us and by the original: the same for each of these cases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any
from unittest.mock import patch

import torch
from kit.plus_original import original_module, original_nodes, version_1
from pack.nodes.plus.pictures import NODES
from pack.nodes.plus.pixels import enhance, tiles
from pack.nodes.plus.pixels.mask import masked_square
from pack.nodes.plus.pixels.noise import KINDS, noisy_negative
from pack.nodes.plus.pixels.prepare import INTERPOLATIONS
from torch import Tensor

NUMBERS = 16
ROUNDING = 1e-6  # of means that are summed in another order


@dataclass(frozen=True)
class Case:
    """One call.

    Attributes:
        theirs: the same by the original; skips where there is none.
        tolerance: 0 where every bit is the same.
    """

    name: str
    ours: Callable[[], Tensor]
    theirs: Callable[[], Tensor]
    tolerance: float = 0.0


def picture(height: int, width: int, channels: int = 3, count: int = 1) -> Tensor:
    """Slopes and grain on the grid of 8 bits, black in one corner; the same on every machine."""
    n, y, x, c = torch.meshgrid(
        *(torch.arange(side) for side in (count, height, width, channels)), indexing="ij"
    )
    values = (x * 5 + y * 3 + c * 41 + n * 17 + (x * y * 31 + c * 7) % 50) % 256
    values[:, : height // 3, : width // 3] = 0
    return values.float() / 255


def mask(height: int, width: int, count: int = 1) -> Tensor:
    return picture(height, width, 1, count)[..., 0]


def sample(made: Tensor) -> dict[str, Any]:
    """What is kept of a result: some values, from places all over it."""
    flat = made.detach().double().flatten()
    places = [index * 2654435761 % len(flat) for index in range(1, NUMBERS + 1)]
    values = [round(float(value), 6) for value in flat[places]]
    return {"shape": list(made.shape), "mean": round(float(flat.mean()), 6), "values": values}


def cases() -> list[Case]:
    makers = (_prepared, _prepared_faces, _noise, _negatives, _cuts, _masked, _enhanced, _squares)
    return [case for maker in makers for case in maker()]


def _node(name: str, method: str, *values: Any, original: Callable[[], Any]) -> Case:
    shown = ", ".join(_shown(value) for value in values)
    return Case(
        f"{name}({shown})",
        lambda: getattr(NODES[name](), method)(*values)[0],
        lambda: getattr(original()(), method)(*values)[0],
    )


def _shown(value: Any) -> str:
    return "x".join(map(str, value.shape)) if isinstance(value, Tensor) else str(value)


def _prepared() -> Iterator[Case]:
    tall, wide = picture(61, 40, count=2), picture(40, 61)
    settings: list[tuple[Any, ...]] = [(wide, method, "top", 0.0) for method in INTERPOLATIONS[1:]]
    crops = ("top", "bottom", "left", "right", "center", "pad")
    settings += [(one, "LANCZOS", crop, 0.0) for one, crop in product((tall, wide), crops)]
    settings += [(wide, "BICUBIC", "left", amount) for amount in (0.05, 0.5, 1.0)]
    settings += [(picture(33, 32), "BICUBIC", "pad", 0.2), (picture(224, 224), "BOX", "top", 0.0)]
    settings += [(picture(50, 30, channels), "LANCZOS", "pad", 0.4) for channels in (1, 2, 4)]
    settings += [(picture(*size), "LANCZOS", "center", 0.0) for size in ((1, 1), (1, 9), (9, 1))]
    name = "PrepImageForClipVision"
    for values in settings:
        yield _node(name, "prep_image", *values, original=lambda: original_nodes()[name])


def _prepared_faces() -> Iterator[Case]:
    name = "PrepImageForInsightFace"
    tall, wide = picture(61, 40), picture(40, 61, 4)
    settings: list[tuple[Any, ...]] = [
        (one, crop, 0.0, True)
        for one, crop in product((tall, wide), ("center", "top", "bottom", "left", "right"))
    ]
    settings += [(tall, "top", 0.0, False), (tall, "center", 0.6, True), (wide, "left", 1.0, False)]
    for values in settings:
        case = _node(
            name, "prep_image", *values, original=lambda: version_1().NODE_CLASS_MAPPINGS[name]
        )
        # Its border holds 255, which is white for whoever cuts it; ours is white already.
        yield replace(case, theirs=lambda theirs=case.theirs: theirs().clamp(max=1))


def _noise() -> Iterator[Case]:
    name = "IPAdapterNoise"
    settings: list[tuple[Any, ...]] = [
        (kind, strength, blur, picture(50, 71))
        for kind, strength, blur in product(KINDS, (0.35, 1.0), (0, 4))
    ]
    settings += [("shuffle", 0.0, 0, picture(224, 300, count=2)), ("fade", 0.0, 32, picture(9, 9))]
    settings += [(kind, 0.5, 1, picture(224, 224, 4)) for kind in KINDS]
    settings += [(kind, 0.5, 0, None) for kind in KINDS]
    for values in settings:
        yield _node(name, "make_noise", *values, original=lambda: original_nodes()[name])


def _negatives() -> Iterator[Case]:
    for image, noise in product((picture(64, 50, count=2), picture(1, 1)), (0.01, 0.4, 1.0)):
        yield Case(
            f"noisy_negative({_shown(image)}, {noise})",
            lambda image=image, noise=noise: noisy_negative(image, noise),
            # The host cuts it to 0..1 on the way to the encoder.
            lambda image=image, noise=noise: version_1().image_add_noise(image, noise).clamp(0, 1),
        )


def _cuts() -> Iterator[Case]:
    sizes = ((60, 50), (30, 61), (100, 30), (30, 140), (512, 512), (131, 30))
    settings: list[tuple[Any, ...]] = [(picture(*size), None, 0.0) for size in sizes]
    settings += [(picture(60, 50, count=2), mask(60, 50), 0.0)]
    settings += [(picture(30, 61), mask(64, 64, 2), 0.5), (picture(140, 30, 4), mask(9, 80), 1.0)]
    for (image, seen, amount), output in product(settings, (0, 1)):
        yield Case(
            f"cut({_shown(image)}, {_shown(seen)}, {amount})[{output}]",
            lambda values=(image, seen, amount), at=output: tiles.joined(tiles.cut(*values))[at],
            lambda values=(image, seen, amount), at=output: _original_cut(*values)[1 + at],
        )


class _NoModel:
    """Where tiles are cut only, nothing is applied to it."""

    def clone(self) -> _NoModel:
        return self


def _original_cut(image: Tensor, seen: Tensor | None, amount: float) -> tuple[Any, Tensor, Tensor]:
    node = original_nodes()["IPAdapterTiled"]()

    def apply(model: _NoModel, *_: object, **__: object) -> tuple[_NoModel, None]:
        return model, None

    with patch.object(original_module("IPAdapterPlus"), "ipadapter_execute", apply):
        return node.apply_tiled(
            _NoModel(), {}, image, 1.0, "linear", 0.0, 1.0, amount, clip_vision=1, attn_mask=seen
        )


def _masked() -> Iterator[Case]:
    settings = [((60, 50), 1, 0.6, 0), ((60, 50), 2, 0.6, 0), ((60, 50), 3, 1.0, 0)]
    settings += [((30, 41), 1, 0.3, 0), ((30, 41), 2, 0.3, 0), ((20, 67), 1, 0.6, 0)]
    settings += [
        ((32, 40), 1, 0.6, 0),
        ((64, 64), 2, 0.6, 0),
        ((45, 50), 2, 0.0, 3),
        ((1, 1), 1, 0.6, 0),
    ]
    for (size, *values), output in product(settings, (0, 1)):
        image = picture(*size, count=2)
        yield Case(
            f"masked_tiles({_shown(image)}, {', '.join(map(str, values))})[{output}]",
            lambda i=image, v=values, at=output: tiles.masked_tiles(i, *v)[at],
            lambda i=image, v=values, at=output: version_1().masked_tiling(i, *v)[at],
        )


def _enhanced() -> Iterator[Case]:
    for count, (pictures, size) in product((2, 3, 16), ((1, (64, 64)), (2, (61, 90)))):
        image, rows = picture(*size, count=pictures), pictures * count**2
        hidden, pooled = picture(rows, 17, 24)[0], picture(rows, 36, 1)[0, ..., 0]
        yield Case(
            f"split({_shown(image)}, {count})",
            lambda i=image, n=count: enhance.split(i, n),
            lambda i=image, n=count: original_module("utils").split_tiles(i, n).flatten(0, 1),
        )
        yield Case(
            f"merged_hidden({_shown(hidden)}, {count})",
            lambda r=hidden, n=count: enhance.merged_hidden(r, n),
            lambda r=hidden, n=count: original_module("utils").merge_hiddenstates(r, n),
            ROUNDING,
        )
        yield Case(
            f"merged_pooled({_shown(pooled)}, {count})",
            lambda r=pooled, n=count: enhance.merged_pooled(r, n),
            lambda r=pooled, n=count: original_module("utils").merge_embeddings(r, n),
        )


class _Sight:
    """In the place of an encoder: keeps the mask that is laid on its pixels."""

    def __init__(self) -> None:
        self.mask = torch.empty(0)

    def __call__(self, _: object, __: object, mask: Tensor, **___: object) -> Any:
        self.mask = mask
        return type("Rows", (), {"image_embeds": torch.zeros(1, 4)})


def _squares() -> Iterator[Case]:
    for seen in (mask(50, 31), mask(300, 301, 3), mask(224, 224), mask(1, 1)):
        yield Case(
            f"masked_square({_shown(seen)}, 224)",
            lambda m=seen: masked_square(m, 224),
            lambda m=seen: _original_square(m),
        )


def _original_square(seen: Tensor) -> Tensor:
    node, sight = original_nodes()["IPAdapterEncoder"](), _Sight()
    with patch.object(original_module("IPAdapterPlus"), "encode_image_masked", sight):
        node.encode({"image_proj": {}}, picture(30, 30), 1.0, seen, clip_vision=1)
    return sight.mask
