"""The transformers the editor draws, against the published tables."""

from __future__ import annotations

import pytest
from kit.models.checkpoints import HIDDEN_SD1, HIDDEN_SDXL
from kit.unet import OUTLINES
from pack.ip_models.layer import Layer, stacks
from pack.ip_models.weights.outline import transformer_infos

# Side of the latent at each transformer, worked out by hand: it halves at every level.
SIDES = {
    "SD1.5": [64, 64, 32, 32, 16, 16, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64],
    "SDXL": [64, 64, 32, 32, 32, 32, 32, 32, 64, 64, 64],
}
NAMES = {
    "SD1.5": "0 0 1 1 2 2 mid 1 1 1 2 2 2 3 3 3",
    "SDXL": "1 1 2 2 mid 0 0 0 1 1 1",
}


HIDDEN = {"SD1.5": HIDDEN_SD1, "SDXL": HIDDEN_SDXL}
WIDTH = {8: 320, 16: 640, 32: 1280, 64: 1280}


@pytest.mark.parametrize("family", OUTLINES)
def test_the_layers_are_those_of_the_published_files(family: str) -> None:
    wide: dict[Layer, int] = {}
    layers = OUTLINES[family].layers
    for info, stack in zip(transformer_infos(OUTLINES[family]), stacks(layers), strict=True):
        assert info["layers"] == len(stack)
        wide |= dict.fromkeys(stack, WIDTH[info["pixels"]])
    assert [wide[layer] for layer in layers] == list(HIDDEN[family])
    assert [layer.width for layer in layers] == list(HIDDEN[family])


@pytest.mark.parametrize("family", OUTLINES)
def test_transformers_are_named_and_sized(family: str) -> None:
    infos = transformer_infos(OUTLINES[family])
    assert [OUTLINES[family].side // info["pixels"] for info in infos] == SIDES[family]
    assert [info["name"].split("_")[-1] for info in infos] == NAMES[family].split()
    kinds = [info["block"] for info in infos]
    assert kinds == sorted(kinds, key=["input", "middle", "output"].index)
