"""The LoRA inside a FaceID file: which attention each number means, and damaged ones."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import torch
from kit.models.checkpoints import as_tensors, load_table
from pack.ip_models.adapter.lora import renamed, require_whole
from pack.ip_models.adapter.state_dict import canonical
from pack.ip_models.errors import BrokenFile
from pack.ip_models.unet.address import LayerAddress, processor_names
from torch import Tensor

Blocks = list[tuple[str, int, int]]
# (block, number, layers) of the UNets, in any order.
TABLES: dict[str, Blocks] = {
    "SD1.5": [
        ("middle", 0, 1),
        *(("output", number, 1) for number in range(3, 12)),
        *(("input", number, 1) for number in (1, 2, 4, 5, 7, 8)),
    ],
    "SDXL": [
        *(("output", number, 10 if number < 3 else 2) for number in range(6)),
        ("middle", 0, 10),
        *(("input", number, 2 if number < 7 else 10) for number in (4, 5, 7, 8)),
    ],
}
FILES = {"SD1.5": "ip-adapter-faceid_sd15", "SDXL": "ip-adapter-faceid-plusv2_sdxl"}
# Specification, section 3.1: some numbers and what they mean.
EXPECTED = {
    "SD1.5": {
        0: "down_blocks.0.attentions.0.transformer_blocks.0.attn1",
        3: "down_blocks.0.attentions.1.transformer_blocks.0.attn2",
        11: "down_blocks.2.attentions.1.transformer_blocks.0.attn2",
        12: "up_blocks.1.attentions.0.transformer_blocks.0.attn1",
        29: "up_blocks.3.attentions.2.transformer_blocks.0.attn2",
        30: "mid_block.attentions.0.transformer_blocks.0.attn1",
        31: "mid_block.attentions.0.transformer_blocks.0.attn2",
    },
    "SDXL": {
        0: "down_blocks.1.attentions.0.transformer_blocks.0.attn1",
        7: "down_blocks.1.attentions.1.transformer_blocks.1.attn2",
        47: "down_blocks.2.attentions.1.transformer_blocks.9.attn2",
        49: "up_blocks.0.attentions.0.transformer_blocks.0.attn2",
        119: "up_blocks.1.attentions.2.transformer_blocks.1.attn2",
        120: "mid_block.attentions.0.transformer_blocks.0.attn1",
        139: "mid_block.attentions.0.transformer_blocks.9.attn2",
    },
}


def addresses(blocks: Blocks) -> list[LayerAddress]:
    return [LayerAddress(*block, i) for *block, count in blocks for i in range(count)]  # pyright: ignore


def lora_of(family: str) -> dict[str, Tensor]:
    return dict(canonical(as_tensors(load_table(FILES[family]))).lora)  # pyright: ignore


@pytest.mark.parametrize("family", TABLES)
def test_every_number_means_the_attention_of_the_specification(family: str) -> None:
    names = processor_names(addresses(TABLES[family]))
    assert len(names) == len(set(names)) == 2 * len(addresses(TABLES[family]))
    for number, name in EXPECTED[family].items():
        assert names[number] == f"{name}.processor"


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_the_numbers_are_those_of_diffusers(family: str) -> None:
    diffusers = pytest.importorskip("diffusers")
    settings = {
        "sd1": dict(block_out_channels=(32,) * 4, cross_attention_dim=8, attention_head_dim=2),
        "sdxl": dict(
            block_out_channels=(32,) * 3,
            down_block_types=("DownBlock2D",) + ("CrossAttnDownBlock2D",) * 2,
            up_block_types=("CrossAttnUpBlock2D",) * 2 + ("UpBlock2D",),
            transformer_layers_per_block=[1, 2, 10],
            cross_attention_dim=8,
            attention_head_dim=2,
        ),
    }
    unet = diffusers.UNet2DConditionModel(**settings[family])
    table = TABLES["SD1.5" if family == "sd1" else "SDXL"]
    assert processor_names(addresses(table)) == list(unet.attn_processors)


@pytest.mark.parametrize("family", FILES)
def test_every_tensor_is_renamed_and_none_is_lost(family: str) -> None:
    lora = lora_of(family)
    where = addresses(TABLES[family])
    named = renamed(lora, processor_names(where), "a")
    assert len(named) == len(lora) == 2 * len(where) * 8
    first = processor_names(where)[0]
    assert named[f"unet.{first}.to_out_lora.up.weight"] is lora["0.to_out_lora.up.weight"]


def drop(key: str) -> Callable[[dict[str, Tensor]], object]:
    return lambda lora: lora.pop(key)


def put(key: str, *shape: int) -> Callable[[dict[str, Tensor]], object]:
    return lambda lora: lora.update({key: torch.empty(shape, device="meta")})


DAMAGES = {
    "a half missing": (drop("7.to_k_lora.up.weight"), "7.to_k_lora.up.weight"),
    "the last one missing": (drop("31.to_out_lora.down.weight"), "31.to_out_lora.down.weight"),
    "one too many": (put("32.to_q_lora.down.weight", 128, 320), "32.to_q_lora.down.weight"),
    "an unknown part": (put("3.to_q_lora.alpha", 1), "3.to_q_lora.alpha"),
    "ranks that differ": (put("5.to_v_lora.up.weight", 640, 64), "5.to_v_lora"),
    "one dimension": (put("5.to_v_lora.up.weight", 640), "5.to_v_lora"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_lora_is_refused_with_the_name_of_the_tensor(name: str) -> None:
    damage, word = DAMAGES[name]
    lora = lora_of("SD1.5")
    damage(lora)
    with pytest.raises(BrokenFile) as error:
        require_whole(lora, 16, "face.bin")
    assert error.value.found.startswith("face.bin has a LoRA") and word in error.value.found
    assert json.dumps(str(error.value)).count("\\n") == 0
    with pytest.raises(BrokenFile):
        renamed(lora, processor_names(addresses(TABLES["SD1.5"])), "face.bin")


def test_a_lora_for_another_number_of_layers_is_refused() -> None:
    with pytest.raises(BrokenFile):
        renamed(lora_of("SD1.5"), processor_names([LayerAddress("middle", 0, 0)]), "face.bin")
