"""Preview Mask shows what attention gets: the very weights of a run, for every size and family."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import comfy.cli_args
import comfy.sample
import folder_paths
import numpy
import pytest
import torch
from kit.models import tiny, transformers
from kit.models.tiny import Twins
from kit.models.transformers import Pair
from kit.server.live_nodes import tiny_hunyuan_video
from pack.ip_models.attention.attend import Cover
from pack.ip_models.attention.call import BatchMode
from pack.ip_models.attention.masks import MaskRule
from pack.ip_models.errors import BadInput, WrongBase
from pack.ip_models.unet.address import LayerAddress
from pack.nodes.host.model.apply import Settings, apply
from pack.nodes.host.model.backbones.layers import attention_layers
from pack.nodes.host.model.backbones.unet_patch import LayerPatch
from pack.nodes.masks import PreviewMask
from PIL import Image
from torch import Tensor

GAP, LABEL = 8, 20


@cache
def twin(family: str) -> Twins:
    return tiny.twins(family)


@cache
def adapter(family: str, folder: Path) -> Any:
    return tiny.load_tensors(folder, tiny.adapter_tensors(twin(family), "standard"), family)


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.getbasetemp()


def soft(*shape: int) -> Tensor:
    """Blobs of all greys."""
    count, height, width = shape
    coarse = torch.rand(1, count, 4, 5, generator=torch.Generator().manual_seed(4))
    return torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")[0].clamp(0, 1)


class Spy:
    """What every layer of a run multiplies its image attention with."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.weights: dict[LayerAddress, tuple[tuple[int, int], Tensor]] = {}
        self._at: tuple[LayerAddress, tuple[int, int]] | None = None
        grid_of, cover_on = LayerPatch._grid, Cover.on

        def noted(layer: LayerPatch, q: Tensor, extra: Any) -> tuple[int, int]:
            grid = grid_of(layer, q, extra)
            self._at = LayerAddress(*layer.slot), grid[:2]
            assert q.shape[1] == grid[0] * grid[1]
            return grid

        def kept(cover: Cover, grid: Any, like: Tensor) -> Tensor:
            mask = cover_on(cover, grid, like)
            assert self._at is not None and self._at[1] == grid[:2]
            self.weights[self._at[0]] = grid[:2], mask
            return mask

        patch.setattr(LayerPatch, "_grid", noted)
        patch.setattr(Cover, "on", kept)

    @property
    def grids(self) -> dict[tuple[int, int], Tensor]:
        """Weights by grid, the finest first; all layers of a grid have to agree."""
        found: dict[tuple[int, int], Tensor] = {}
        for grid, mask in sorted(self.weights.values(), key=lambda one: -one[1].shape[1]):
            assert torch.equal(found.setdefault(grid, mask), mask)
        return found

    @property
    def layers(self) -> list[int]:
        """Number of layers on each of these grids."""
        return [sum(grid == one for one, _ in self.weights.values()) for grid in self.grids]


def run(
    family: str, folder: Path, latent: tuple[int, int, int], mask: Tensor, rule: MaskRule
) -> None:
    """One call of the patched model, both prompts at once."""
    features = tiny.random_features(1)
    settings = Settings(mask=mask, mask_rule=rule, batch=BatchMode.LOOP)
    model = apply(twin(family).model, adapter(family, folder), features, settings)
    for layer in attention_layers(model):
        # Of pixels among themselves, which is most of the work and knows no masks.
        model.set_model_attn1_replace(lambda q, k, v, extra: v, *layer.slot)
    tiny.run_comfy(model, tiny.make_call(twin(family), *latent))


def preview(mask: Any, **inputs: Any) -> tuple[Tensor, str, list[dict[str, Any]]]:
    out = PreviewMask.execute(mask, **inputs)
    assert out.args is not None and isinstance(out.ui, dict)
    (text,) = out.ui["text"]
    return out.args[0], text, out.ui["images"]


def tiles(sheet: Tensor, finest: tuple[int, int], count: int) -> list[Tensor]:
    """Grey tiles in bytes; a cell of the finest grid is a square of whole pixels."""
    scale = -(-256 // max(finest))
    height, width = (side * scale for side in finest)
    columns = (sheet.shape[1] - GAP) // (width + GAP)
    found: list[Tensor] = []
    for number in range(count):
        row, column = divmod(number, columns)
        y, x = GAP + row * (height + LABEL + GAP) + LABEL, GAP + column * (width + GAP)
        found.append((sheet[y : y + height, x : x + width, 0] * 255).round())
    return found


def cells(tile: Tensor, grid: tuple[int, int]) -> Tensor:
    """The byte in the middle of each cell."""
    rows, columns = (
        [int((2 * i + 1) * side / (2 * count)) for i in range(count)]
        for side, count in zip(tile.shape, grid, strict=True)
    )
    return tile[rows][:, columns]


SIZES = [
    ("sd1", (520, 392), (1, 512, 512), MaskRule.AREA),
    ("sd1", (72, 136), (3, 100, 77), MaskRule.DIFFUSERS),
    ("sd1", (192, 64), (2, 61, 83), MaskRule.AREA),
    ("sdxl", (136, 104), (2, 64, 80), MaskRule.AREA),
    ("sdxl", (104, 136), (1, 64, 80), MaskRule.DIFFUSERS),
]


@pytest.mark.parametrize(("family", "size", "shape", "rule"), SIZES, ids=str)
def test_the_sheet_shows_the_weights_of_attention(
    family: str,
    size: tuple[int, int],
    shape: tuple[int, int, int],
    rule: MaskRule,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mask, (width, height), count = soft(*shape), size, shape[0]
    spy = Spy(monkeypatch)
    run(family, folder, (count, height // 8, width // 8), mask, rule)
    sheets, text, _ = preview(
        mask, model=twin(family).model, width=width, height=height, mask_rule=rule.value
    )
    grids = spy.grids
    told = [line.split(", ")[0] for line in text.splitlines()[1:]]
    assert told == [f"{across} x {down}" for down, across in grids]
    assert [
        f", {n} layer{'' if n == 1 else 's'}: " in line
        for n, line in zip(spy.layers, text.splitlines()[1:], strict=True)
    ] == [True] * len(grids)
    assert len(spy.weights) == len(attention_layers(twin(family).model))
    finest = next(iter(grids))
    for i, sheet in enumerate(sheets):
        shown = tiles(sheet, finest, 1 + len(grids))[1:]
        for tile, (grid, on_grid) in zip(shown, grids.items(), strict=True):
            # (1 or 2 * count, queries, 1): the negative prompt's pictures, then the positive's.
            weights = on_grid.expand(2 * count, -1, 1)[i].view(grid)
            assert torch.equal(weights, on_grid.expand(2 * count, -1, 1)[count + i].view(grid))
            assert torch.equal(cells(tile, grid), (weights.clamp(0, 1) * 255).round())
    last = grids[finest]
    assert last.std() > 0.05 and (count == 1 or not torch.equal(last[0], last[1]))


def test_a_whole_run_of_the_sampler_uses_them_too(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mask, spy = soft(1, 90, 70), Spy(monkeypatch)
    settings = Settings(mask=mask)
    model = apply(twin("sd1").model, adapter("sd1", folder), tiny.random_features(1), settings)
    latent = {"samples": torch.zeros(1, 4, 17, 13)}
    words = [[torch.randn(1, 8, 768), {}]]
    noise = torch.randn(1, 4, 17, 13)
    comfy.sample.sample(
        model, noise, 1, 5.0, "euler", "normal", words, words, latent["samples"],
        disable_pbar=True, seed=1,
    )  # fmt: skip
    (sheet,), text, _ = preview(mask, latent=latent)
    assert text.splitlines()[0] == "104 x 136 pixels, layers of SD1.5, mask_rule area"
    assert list(spy.grids) == [(17, 13), (9, 7), (5, 4), (3, 2)]
    for tile, (grid, on_grid) in zip(tiles(sheet, (17, 13), 5)[1:], spy.grids.items(), strict=True):
        assert torch.equal(cells(tile, grid), (on_grid[0].view(grid) * 255).round())


def test_without_a_model_the_layers_are_those_of_sd15() -> None:
    mask = soft(2, 64, 64)
    model = twin("sd1").model
    depths = sorted(layer.depth for layer in attention_layers(model))
    assert depths == [0] * 5 + [1] * 5 + [2] * 5 + [3]
    own, without = preview(mask, model=model), preview(mask)
    assert torch.equal(own[0], without[0])
    assert own[1].splitlines()[1:] == without[1].splitlines()[1:]
    assert "layers of this MODEL" in own[1] and "layers of SD1.5" in without[1]
    assert not torch.equal(preview(mask, model=twin("sdxl").model)[0][0, :20], own[0][0, :20])


def test_the_latent_goes_before_width_and_height() -> None:
    mask = soft(1, 64, 64)
    by_latent = preview(mask, latent={"samples": torch.zeros(3, 4, 49, 65)}, width=64, height=64)
    assert torch.equal(by_latent[0], preview(mask, width=520, height=392)[0])
    assert torch.equal(by_latent[0], preview(mask, width=527, height=399)[0])
    video = preview(mask, latent={"samples": torch.zeros(1, 4, 5, 49, 65)})
    assert torch.equal(by_latent[0], video[0])


def test_the_pictures_on_the_node_are_the_sheets() -> None:
    sheets, _, images = preview(soft(20, 40, 40), width=64, height=64)
    assert len(sheets) == len(images) == 16
    for sheet, one in zip(sheets, images, strict=True):
        folder = Path(folder_paths.get_temp_directory()) / one["subfolder"]
        assert one["type"] == "temp"
        with Image.open(io.BytesIO((folder / one["filename"]).read_bytes())) as opened:
            assert numpy.array_equal(numpy.array(opened), (sheet * 255).round().byte().numpy())


def test_every_rank_of_a_mask_is_shown() -> None:
    stack = soft(3, 9, 7)
    expected = preview(stack)[0]
    for same in (stack[:, None], stack[None], stack[..., None], stack.half().float()):
        assert preview(same)[0].shape == expected.shape
    assert torch.equal(preview(stack[None])[0], expected)
    assert torch.equal(preview(stack[0])[0], expected[:1])


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"mask": None}, "mask is nothing; a link from a node with a MASK is needed"),
        ({"mask": torch.ones(8)}, "mask has shape 8"),
        ({"mask": torch.ones(1, 0, 8)}, "mask is empty"),
        ({"mask": torch.full((4, 4), float("nan"))}, "not finite"),
        ({"mask": torch.full((4, 4), 255.0)}, "from 255 to 255"),
        ({"mask_rule": "nearest"}, 'mask_rule is "nearest"'),
        ({"mask_rule": None}, "mask_rule is nothing"),
        ({"width": None}, "width is nothing; a number from 16 to 16384"),
        ({"height": 8}, "height is 8"),
        ({"height": "tall"}, 'height is "tall"'),
        ({"width": 100.5}, "width is 100.5; a whole number is needed"),
        ({"width": float("nan")}, "width is nan"),
        ({"latent": 4}, "latent is 4; a link from a node with a LATENT"),
        ({"latent": {}}, "latent holds none; samples of batch"),
        ({"latent": {"samples": "x"}}, "latent holds none"),
        ({"latent": {"samples": torch.zeros(4, 8)}}, "samples of shape 4 x 8"),
        ({"latent": {"samples": torch.zeros(1, 4, 0, 8)}}, "samples of shape 1 x 4 x 0 x 8"),
        ({"model": "sd15"}, 'model is "sd15"; a link from Load Checkpoint'),
    ],
)
def test_what_is_wrong_is_one_sentence(inputs: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput) as caught:
        PreviewMask.execute(**{"mask": torch.ones(4, 4), **inputs})
    text = str(caught.value)
    assert words in text and text.endswith(".") and "\n" not in text


@pytest.mark.parametrize("make", [transformers.tiny_flux, transformers.tiny_sd3])
def test_a_transformer_has_one_grid_of_patches(make: Callable[[], Pair]) -> None:
    pair = make()
    latent = {"samples": torch.zeros(1, 16, 65, 48)}
    out = PreviewMask.execute(soft(1, 60, 50), model=pair.model, latent=latent)
    said = out.ui["text"][0].split("\n")
    assert said[0].startswith("384 x 520 pixels, layers of this MODEL")
    assert [line for line in said if "layers" in line][1:] == [said[1]]
    assert said[1].startswith(f"24 x 33, {pair.blocks} layers")


def test_a_model_without_cross_attention_says_so() -> None:
    with pytest.raises(WrongBase, match="is HunyuanVideo, for which there is no IP-Adapter"):
        PreviewMask.execute(torch.ones(4, 4), model=tiny_hunyuan_video())
