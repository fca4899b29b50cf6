"""Which file answers which choice: shapes decide, and names only where shapes are the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePosixPath

import pytest
from kit.models.checkpoints import Table, all_tables, as_published, load_table
from pack.ip_models.adapter.published import (
    ADAPTER_ADDRESSES,
    ENCODER_ADDRESSES,
    RULES,
    Choice,
    rank,
    shortcut,
)
from pack.ip_models.adapter.recognise import read_spec
from pack.ip_models.adapter.spec import AdapterSpec, Family
from pack.ip_models.adapter.state_dict import canonical
from pack.ip_models.errors import IPAdapterError

PLAIN = "model.safetensors"


def spec_of(name: str) -> AdapterSpec:
    return read_spec(canonical(as_published(load_table(name)), name), name)


def stem(address: str) -> str:
    return PurePosixPath(address).stem


def read(table: Table) -> AdapterSpec | None:
    """What a published file is, None for those that are refused."""
    try:
        return read_spec(canonical(as_published(table), table.file), table.file)
    except IPAdapterError:
        return None


STANDARD, VIT_G = spec_of("ip-adapter_sd15"), spec_of("ip-adapter_sd15_vit-G")
PLUS, FULL = spec_of("ip-adapter-plus_sd15"), spec_of("ip-adapter-full-face_sd15")
SUPPORTED = [(table, spec) for table in all_tables() if (spec := read(table)) and spec.supported]


@pytest.mark.parametrize(
    ("choice", "name", "place"),
    [
        (Choice.PLUS, "ip-adapter-plus_sd15.safetensors", 0),
        (Choice.PLUS, "ip-adapter-plus-face_sd15.safetensors", None),
        (Choice.PLUS, "ip_plus_composition_sd15.safetensors", None),
        (Choice.PLUS, PLAIN, 0),
        (Choice.PLUS, "huggingface-ip-adapter-plus_sd15.safetensors", 0),
        (Choice.PLUS_FACE, "huggingface-ip-adapter-plus_sd15.safetensors", None),
        (Choice.PLUS_FACE, "ip-adapter-plus_sd15.safetensors", None),
        (Choice.PLUS_FACE, "IP-Adapter-Plus-FACE_sd15.bin", 0),
        (Choice.PLUS_FACE, "ip_plus_composition_sd15.safetensors", None),
        (Choice.PLUS_FACE, PLAIN, None),
        (Choice.COMPOSITION, "ip-adapter-plus_sd15.safetensors", None),
        (Choice.COMPOSITION, "ip-adapter-plus-face_sd15.safetensors", None),
        (Choice.COMPOSITION, "ip_plus_Composition_sd15.safetensors", 0),
        (Choice.STANDARD, "ip-adapter-plus_sd15.safetensors", None),
        (Choice.FULL_FACE, "ip-adapter-full-face_sd15.safetensors", None),
    ],
)
def test_names_tell_apart_files_of_the_plus_layout(
    choice: Choice, name: str, place: int | None
) -> None:
    assert rank(choice, PLUS, name) == place


@pytest.mark.parametrize(
    ("choice", "name", "place"),
    [
        (Choice.STANDARD, "ip-adapter_sd15.safetensors", 0),
        (Choice.STANDARD, "ip-adapter_sd15_light.bin", None),
        (Choice.LIGHT, "ip-adapter_sd15.safetensors", None),
        (Choice.LIGHT, "ip-adapter_sd15_Light_v11.bin", 0),
        (Choice.VIT_G, "ip-adapter_sd15_vit-G.safetensors", None),
        (Choice.PLUS, "ip-adapter-plus_sd15.safetensors", None),
    ],
)
def test_names_tell_apart_files_of_the_standard_layout(
    choice: Choice, name: str, place: int | None
) -> None:
    assert rank(choice, STANDARD, name) == place


@pytest.mark.parametrize("name", [PLAIN, "ip-adapter_sd15.bin", "ip-adapter_sd15_vit-G.bin"])
def test_the_encoder_is_read_from_the_shapes_and_not_from_the_name(name: str) -> None:
    assert rank(Choice.VIT_G, VIT_G, name) == 0
    assert rank(Choice.VIT_G, STANDARD, name) is None
    assert rank(Choice.STANDARD, STANDARD, name) == 0
    stand_in = rank(Choice.STANDARD, VIT_G, name)
    assert stand_in is not None and stand_in > 0


def test_of_two_light_files_the_one_for_the_usual_encoder_is_better() -> None:
    usual, unusual = (rank(Choice.LIGHT, spec, "sd15_light.bin") for spec in (STANDARD, VIT_G))
    assert usual is not None and unusual is not None
    assert usual < unusual


@pytest.mark.parametrize(
    ("choice", "spec", "name"),
    [
        (Choice.STANDARD, STANDARD, "ip_plus_composition_sd15.bin"),
        (Choice.STANDARD, STANDARD, "my face.bin"),
        (Choice.VIT_G, VIT_G, "ip-adapter-full-face_sd15.bin"),
        (Choice.PLUS, PLUS, "ip-adapter_sd15_light.bin"),
    ],
)
def test_words_for_files_of_another_shape_mean_nothing(
    choice: Choice, spec: AdapterSpec, name: str
) -> None:
    assert rank(choice, spec, name) == 0


@pytest.mark.parametrize("name", ["full-face.bin", "face.bin", "light composition.bin", PLAIN])
def test_a_full_face_file_needs_no_name(name: str) -> None:
    assert rank(Choice.FULL_FACE, FULL, name) == 0
    assert rank(Choice.PLUS_FACE, FULL, name) is None


FACE_V1, FACE_V2 = "ip-adapter-faceid-plus_sd15.bin", "ip-adapter-faceid-plusv2_sd15.bin"
FACE = spec_of("ip-adapter-faceid-plus_sd15")
FACE_XL, FACE_KOLORS = spec_of("ip-adapter-faceid-plusv2_sdxl"), spec_of("kolors_ipa-faceid-plus")
UNNORMED = spec_of("ip-adapter-faceid-portrait_sdxl_unnorm")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (FACE_V1, False),
        (FACE_V2, True),
        ("IP-Adapter-FaceID-PlusV2_SD15.bin", True),
        ("faceid plus v2.safetensors", True),
        ("faceid-v2.bin", True),
        ("FaceIDPlusV2_sd15.bin", True),
        ("ip_adapter_faceidplusv2.bin", True),
        ("ip-adapter-faceid-plusv2sd15.bin", True),
        ("faceid-plus_v20.bin", False),
        ("rev2-faceid-plus.bin", False),
        (PLAIN, False),
    ],
)
def test_the_version_of_face_id_plus_is_read_from_the_name(name: str, expected: bool) -> None:
    assert shortcut(FACE, name) is expected
    assert rank(Choice.FACEID_PLUS, FACE, name) == (None if expected else 0)
    assert rank(Choice.FACEID_PLUS_V2, FACE, name) == (0 if expected else None)


@pytest.mark.parametrize("spec", [FACE_XL, FACE_KOLORS], ids=["SDXL", "Kolors"])
@pytest.mark.parametrize("name", [PLAIN, FACE_V1, FACE_V2])
def test_other_families_have_version_2_only(spec: AdapterSpec, name: str) -> None:
    assert shortcut(spec, name)
    assert rank(Choice.FACEID_PLUS_V2, spec, name) == 0
    assert rank(Choice.FACEID_PLUS, spec, name) == 1


def test_only_face_id_plus_has_versions() -> None:
    assert not any(shortcut(spec, FACE_V2) for spec in (PLUS, UNNORMED, spec_of("ip-adapter_sdxl")))


@pytest.mark.parametrize(
    "name", ["ip-adapter_instant_id_sdxl.bin", "InstantID.bin", "instantid-ip.bin"]
)
def test_an_instant_id_file_is_no_portrait(name: str) -> None:
    assert rank(Choice.PORTRAIT_UNNORMED, UNNORMED, name) is None
    assert (
        rank(Choice.PORTRAIT_UNNORMED, UNNORMED, "ip-adapter-faceid-portrait_sdxl_unnorm.bin") == 0
    )


@pytest.mark.parametrize(
    ("family", "choice", "address"),
    [(*key, address) for key, address in ADAPTER_ADDRESSES.items()],
    ids=lambda value: value.value if isinstance(value, Family | Choice) else "",
)
def test_each_choice_finds_its_published_file_among_all_of_them(
    family: Family, choice: Choice, address: str
) -> None:
    best = {
        stem(table.file)
        for table, spec in SUPPORTED
        if spec.family is family and rank(choice, spec, table.file) == 0
    }
    # Some names are given again for another family.
    own = {stem(other) for (whose, _), other in ADAPTER_ADDRESSES.items() if whose is family}
    assert best & own == {stem(address)}


def test_every_choice_has_a_rule_and_a_file() -> None:
    assert set(RULES) == set(Choice)
    for_sd1 = {choice for family, choice in ADAPTER_ADDRESSES if family is Family.SD1}
    for_transformers = {Choice.XLABS, Choice.XLABS_V2, Choice.INSTANTX}
    assert for_sd1 == set(Choice) - {Choice.PORTRAIT_UNNORMED} - for_transformers
    on_flux = {choice for family, choice in ADAPTER_ADDRESSES if family is Family.FLUX}
    assert on_flux == for_transformers
    assert (Family.SD3, Choice.INSTANTX) in ADAPTER_ADDRESSES
    assert (Family.SDXL, Choice.PORTRAIT_UNNORMED) in ADAPTER_ADDRESSES


def test_every_encoder_of_a_supported_file_can_be_had() -> None:
    assert {spec.encoder for _, spec in SUPPORTED if spec.needs_encoder} <= set(ENCODER_ADDRESSES)


@pytest.mark.parametrize("choice", Choice)
def test_a_kind_of_another_shape_is_never_taken(choice: Choice) -> None:
    for spec in (STANDARD, VIT_G, PLUS, FULL):
        if spec.kind is not RULES[choice].kind:
            assert rank(choice, spec, f"{choice.value}.bin") is None
            assert rank(choice, replace(spec, encoder="ViT-bigG"), PLAIN) is None
