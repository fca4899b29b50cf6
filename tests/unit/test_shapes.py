"""Every published adapter file is recognised from its shapes, in every container."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from kit.models.checkpoints import (
    CONTAINERS,
    HIDDEN_SD1,
    HIDDEN_SDXL,
    Expectation,
    Table,
    all_tables,
    as_published,
    as_tensors,
    contained,
    flat_keys,
    load_table,
    lora_shapes,
    tiny_shapes,
)
from pack.ip_models.adapter.module import IPAdapter
from pack.ip_models.adapter.recognise import read_spec
from pack.ip_models.adapter.spec import AdapterSpec, Family, require_supported
from pack.ip_models.adapter.state_dict import canonical
from pack.ip_models.errors import UnsupportedAdapter
from torch import nn

TABLES = all_tables()
FOREIGN = ("Instruct", "PuLID")  # adapters of another kind, refused before they are read
READABLE = [table for table in TABLES if table.expect.kind not in FOREIGN]
SUPPORTED = [table for table in TABLES if table.expect.supported]
REJECTED = [table for table in TABLES if table.expect.kind in FOREIGN]
CONTEXT = {"SD1.5": 768, "SD2": 1024, "SDXL": 2048, "Kolors": 2048}
HIDDEN = {"SD1.5": HIDDEN_SD1, "SD2": HIDDEN_SD1, "SDXL": HIDDEN_SDXL, "Kolors": HIDDEN_SDXL}
RESAMPLER = {"SD1.5": (768, 12), "SD2": (1024, 12), "SDXL": (1280, 20), "Kolors": (2048, 12)}
FACE_RESAMPLER = {"SD1.5": (768, 12), "SDXL": (2048, 32), "Kolors": (4096, 64)}
META = torch.device("meta")


def name_of(value: Table | str) -> str:
    return value if isinstance(value, str) else value.name


def found(spec: AdapterSpec) -> Expectation:
    return Expectation(
        family=spec.family.value,
        kind=spec.kind.value,
        tokens=spec.tokens,
        layers=len(spec.layers),
        encoder=spec.encoder,
        feature=spec.feature.value,
        lora=spec.has_lora,
        supported=spec.supported,
    )


def kv_rows(table: Table) -> list[int]:
    """Rows of every key map, in the order of the layer numbers."""
    keys = [key for key in table.tensors if "k_ip.weight" in key or "k_proj.weight" in key]
    layers = {next(int(p) for p in key.split(".") if p.isdigit()): key for key in keys}
    return [table.tensors[layers[number]][0] for number in sorted(layers)]


def shapes(state: dict[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in state.items()}


def test_there_is_a_table_for_every_published_file() -> None:
    assert len(TABLES) == 35
    assert len(SUPPORTED) == 33


@pytest.mark.parametrize("table", [t for t in TABLES if t.size_mb], ids=name_of)
def test_the_table_adds_up_to_the_published_size(table: Table) -> None:
    assert table.size_mb is not None
    assert table.computed_mb == pytest.approx(table.size_mb, rel=0.006)


@pytest.mark.parametrize("table", READABLE, ids=name_of)
def test_a_published_file_is_recognised_as_what_it_is(table: Table) -> None:
    assert found(read_spec(canonical(as_published(table)), table.file)) == table.expect


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("table", READABLE, ids=name_of)
def test_the_container_makes_no_difference(table: Table, container: str) -> None:
    weights = canonical(contained(as_tensors(table), container))
    assert found(read_spec(weights)) == table.expect
    assert weights.ignored == ()


@pytest.mark.parametrize("table", READABLE, ids=name_of)
def test_layers_are_listed_in_ascending_order_with_their_widths(table: Table) -> None:
    spec = read_spec(canonical(as_published(table)))
    assert list(spec.layers) == sorted(spec.layers)
    assert list(spec.layer_widths) == kv_rows(table)
    on_unet = table.expect.family in ("SD1.5", "SD2", "SDXL", "Kolors")
    step, first = (2, 1) if on_unet else (1, 0)
    assert list(spec.layers) == [first + step * i for i in range(len(spec.layers))]


@pytest.mark.parametrize("table", READABLE, ids=name_of)
def test_the_order_of_the_keys_makes_no_difference(table: Table) -> None:
    tensors = as_tensors(table)
    backwards = {key: tensors[key] for key in reversed(tensors)}
    weights, same = canonical(backwards), canonical(tensors)
    assert read_spec(weights) == read_spec(same)
    assert weights.projection.keys() == same.projection.keys()
    assert weights.layers.keys() == same.layers.keys()


@pytest.mark.parametrize("table", SUPPORTED, ids=name_of)
def test_a_supported_file_fills_its_module_exactly(table: Table) -> None:
    weights = canonical(as_published(table))
    spec = read_spec(weights, table.file)
    require_supported(spec, table.file)
    adapter = IPAdapter(spec, weights, nn, META)
    needed = {f"image_proj.{key}": tuple(value.shape) for key, value in weights.projection.items()}
    needed |= {f"ip_adapter.{key}": tuple(value.shape) for key, value in weights.layers.items()}
    assert shapes(adapter.state_dict()) == needed
    # Nothing of the file is left out, but for a second copy of all of it.
    kept = {*needed.values(), *(tuple(value.shape) for value in weights.lora.values())}
    assert {tuple(shape) for shape in table.tensors.values()} == kept
    assert len(needed) + len(weights.lora) + len(weights.ignored) >= len(table.tensors) / 2
    adapter.load(weights)
    adapter.load(weights, assign=True)


@pytest.mark.parametrize("table", SUPPORTED, ids=name_of)
def test_a_module_keeps_the_type_of_its_file(table: Table) -> None:
    weights = canonical(as_tensors(table, dtype=torch.float16))
    adapter = IPAdapter(read_spec(weights), weights, nn, META)
    assert {value.dtype for value in adapter.state_dict().values()} == {torch.float16}


def refused(refuse: Callable[[], object]) -> str:
    with pytest.raises(UnsupportedAdapter) as error:
        refuse()
    return str(error.value)


def test_a_kind_that_no_family_has_is_refused_with_both() -> None:
    table = load_table("xlabs_flux-ip-adapter")
    weights = canonical(as_published(table))
    spec = replace(read_spec(weights, table.file), family=Family.SD3)
    by_name = refused(lambda: require_supported(spec, table.file))
    on_building = refused(lambda: IPAdapter(spec, weights, nn, META))
    assert by_name.startswith(table.file)
    for message in (by_name, on_building):
        assert "SD3.5" in message and "XLabs" in message


@pytest.mark.parametrize("table", REJECTED, ids=name_of)
@pytest.mark.parametrize("container", CONTAINERS)
def test_a_relative_of_the_ip_adapter_is_rejected_by_name(table: Table, container: str) -> None:
    tensors = contained(as_tensors(table), container)
    message = refused(lambda: canonical(tensors, table.file))
    assert message.startswith(table.file)
    assert table.expect.kind in message


@pytest.mark.parametrize("table", READABLE, ids=name_of)
def test_the_description_tells_what_a_user_has_to_know(table: Table) -> None:
    spec = read_spec(canonical(as_published(table)))
    text = spec.describe()
    expect = table.expect
    words = (expect.family, expect.kind, expect.encoder, f"{expect.tokens} tokens")
    assert all(word in text for word in words)
    # Numbers that no artist wires by are for whoever points at the text.
    assert f"{expect.layers} layers" in spec.details() and "layers" not in text


@pytest.mark.parametrize("table", [t for t in SUPPORTED if t.expect.family in HIDDEN], ids=name_of)
def test_small_random_adapters_have_the_published_layout(table: Table) -> None:
    family, kind = table.expect.family, table.expect.kind
    spec = read_spec(canonical(as_published(table)))
    dim, heads = (FACE_RESAMPLER if kind == "FaceID plus" else RESAMPLER)[family]
    sizes = HIDDEN[family], CONTEXT[family], spec.feature_width, spec.tokens
    published = shapes(flat_keys(as_tensors(table)))
    lora = lora_shapes(HIDDEN[family], CONTEXT[family]) if spec.has_lora else {}
    assert tiny_shapes(kind, *sizes, dim=dim, heads=heads) | lora == published


@pytest.mark.parametrize("table", SUPPORTED, ids=name_of)
def test_a_file_tells_whether_a_face_and_an_encoder_are_needed(table: Table) -> None:
    spec = read_spec(canonical(as_published(table)))
    face = "FaceID" in spec.kind.value
    assert spec.needs_face is face
    assert (spec.identity is not None) is face
    assert spec.needs_encoder is (spec.encoder != "face")
    assert spec.needs.endswith("a face") is face
    assert f"needs {spec.needs}" in spec.describe()


@pytest.mark.parametrize("name", ["ip-adapter-faceid-portrait_sdxl_unnorm", "instantid_ip-adapter"])
def test_the_description_admits_that_instant_id_looks_the_same(name: str) -> None:
    assert "InstantID" in read_spec(canonical(as_published(load_table(name)))).describe()


@pytest.mark.parametrize("table", TABLES, ids=name_of)
def test_every_container_holds_the_same_tensors(table: Table) -> None:
    flat = flat_keys(as_tensors(table))
    assert contained(flat, "flat").keys() == flat.keys()
    for container in ("flat bin", "raw", "doubled"):
        assert flat_keys(contained(flat, container)).keys() == flat.keys()
    doubled = len(contained(flat, "doubled"))
    assert doubled in (2 * len(flat), len(flat))  # XLabs names have no raw form
