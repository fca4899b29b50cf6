"""Names of modules to addresses, and addresses in the order of adapter files."""

from __future__ import annotations

import random

import pytest
from kit.models.checkpoints import HIDDEN_SD1, HIDDEN_SDXL, load_table
from pack.ip_models.unet.address import LayerAddress, checkpoint_order, parse_address

# (block, number, layers), in the order of the index in the file: specification, section 3.1.
SD1 = [
    *(("input", number, 1) for number in (1, 2, 4, 5, 7, 8)),
    *(("output", number, 1) for number in (3, 4, 5, 6, 7, 8, 9, 10, 11)),
    ("middle", 0, 1),
]
SDXL = [
    ("input", 4, 2),
    ("input", 5, 2),
    ("input", 7, 10),
    ("input", 8, 10),
    ("output", 0, 10),
    ("output", 1, 10),
    ("output", 2, 10),
    ("output", 3, 2),
    ("output", 4, 2),
    ("output", 5, 2),
    ("middle", 0, 10),
]
TABLES = {"SD1.5": SD1, "SDXL": SDXL}


def addresses(table: list[tuple[str, int, int]]) -> list[LayerAddress]:
    return [
        LayerAddress(block, number, layer)
        for block, number, count in table
        for layer in range(count)
    ]


def module_name(address: LayerAddress) -> str:
    """The name of ComfyUI's module; the middle block's transformer is its module number 1."""
    block, number, layer = address
    where = "middle_block.1" if block == "middle" else f"{block}_blocks.{number}.1"
    return f"{where}.transformer_blocks.{layer}.attn2"


@pytest.mark.parametrize("family", TABLES)
def test_every_published_layer_is_found_by_the_name_of_its_module(family: str) -> None:
    for address in addresses(TABLES[family]):
        assert parse_address(module_name(address)) == address


@pytest.mark.parametrize(("family", "count"), [("SD1.5", 16), ("SDXL", 70)])
def test_layers_come_in_the_order_of_the_file_whatever_order_they_are_met_in(
    family: str, count: int
) -> None:
    expected = addresses(TABLES[family])
    assert len(set(expected)) == count
    for seed in range(5):
        met = random.Random(seed).sample(expected, count)
        assert met != expected
        assert checkpoint_order(met) == expected


@pytest.mark.parametrize(
    ("family", "file", "hidden"),
    [("SD1.5", "ip-adapter_sd15", HIDDEN_SD1), ("SDXL", "ip-adapter_sdxl", HIDDEN_SDXL)],
)
def test_the_widths_of_a_published_file_are_those_of_its_layers(
    family: str, file: str, hidden: tuple[int, ...]
) -> None:
    tensors = load_table(file).tensors
    order = checkpoint_order(addresses(TABLES[family]))
    widths = [tensors[f"ip_adapter.{2 * i + 1}.to_k_ip.weight"][0] for i in range(len(order))]
    assert widths == list(hidden)
    by_address = dict(zip(order, widths, strict=True))
    assert by_address[LayerAddress("middle", 0, 0)] == 1280
    assert by_address[addresses(TABLES[family])[0]] == (320 if family == "SD1.5" else 640)


def test_numbers_are_ordered_as_numbers() -> None:
    order = checkpoint_order(LayerAddress("output", number, 0) for number in (10, 9, 11, 2))
    assert [address.number for address in order] == [2, 9, 10, 11]


def test_the_middle_block_has_number_zero_and_comes_last() -> None:
    middle = parse_address("middle_block.1.transformer_blocks.3.attn2")
    assert middle == LayerAddress("middle", 0, 3)
    assert checkpoint_order([middle, LayerAddress("output", 11, 9)])[-1] is middle


@pytest.mark.parametrize(
    "name",
    [
        "",
        "attn2",
        "input_blocks.4.1.transformer_blocks.0.attn1",
        "input_blocks.4.1.transformer_blocks.0.attn2.to_k",
        "input_blocks.4.1.transformer_blocks.0.norm2",
        "input_blocks.4.1.time_stack.0.attn2",
        "input_blocks.4.1.time_mixer.attn2",
        "input_blocks.4.1.motion_modules.transformer_blocks.0.attn2",
        "diffusion_model.input_blocks.4.1.transformer_blocks.0.attn2",
        "down_blocks.1.attentions.0.transformer_blocks.0.attn2",
        "input_blocks.x.1.transformer_blocks.0.attn2",
        "other_input_blocks.4.1.transformer_blocks.0.attn2",
        "joint_blocks.0.x_block.attn2",
    ],
)
def test_other_modules_have_no_address(name: str) -> None:
    assert parse_address(name) is None


@pytest.mark.parametrize(
    "place",
    [
        "input_blocks.{}.1.transformer_blocks.0.attn2",
        "input_blocks.4.1.transformer_blocks.{}.attn2",
    ],
)
def test_numbers_without_end_are_no_address(place: str) -> None:
    assert parse_address(place.format(1)) is not None
    assert parse_address(place.format("9" * 5000)) is None
