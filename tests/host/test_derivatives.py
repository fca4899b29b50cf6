"""Advice is checked against the MODEL: whatever is named would be accepted by it, or none is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import comfy.model_base
import comfy.model_detection
import comfy.model_patcher
import comfy.supported_models
import folder_paths
import pytest
import torch
from kit.models.checkpoints import HIDDEN_SD1, HIDDEN_SDXL, Table, all_tables
from kit.models.sparse_files import write_sparse
from pack.ip_models.adapter.published import (
    ADAPTER_ADDRESSES,
    Choice,
    Layers,
    base_name,
    published_family,
)
from pack.ip_models.adapter.spec import AdapterSpec, Family
from pack.ip_models.errors import MissingModel, WrongBase
from pack.ip_models.layer import Layer
from pack.ip_models.transformer.vocabulary import FLUX, SD3
from pack.nodes.host.doctor.base_model import read_base
from pack.nodes.host.doctor.compatibility import Combination, problems
from pack.nodes.host.doctor.survey import report
from pack.nodes.host.files import folders
from pack.nodes.host.model import search
from pack.nodes.host.model.adapter import read_file_spec
from pack.nodes.host.model.backbones.layers import attention_layers

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Variant:
    """A base model as ComfyUI builds it.

    Attributes:
        family: whose published adapters fit it, None where none does.
        action: words of what is advised where none does.
        host: the class it is of in ComfyUI, BASE for none.
    """

    settings: Mapping[str, Any]
    family: Family | None = None
    called: str = ""
    action: str = ""
    host: str = "SDXL"


def unet(
    depth: list[int], out: list[int], middle: int, context: int, **more: Any
) -> dict[str, Any]:
    """What the host's detection reads from a checkpoint, as far as it tells attention layers."""
    levels = more.pop("levels", 3)
    return {
        "image_size": 32,
        "in_channels": 4,
        "out_channels": 4,
        "model_channels": 320,
        "num_res_blocks": [len(depth) // levels] * levels,
        "channel_mult": [1, 2, 4, 4][:levels],
        "transformer_depth": depth,
        "transformer_depth_output": out,
        "transformer_depth_middle": middle,
        "context_dim": context,
        "num_heads": -1,
        "num_head_channels": 64,
        "use_spatial_transformer": True,
        "use_linear_in_transformer": True,
        "use_temporal_attention": False,
        "use_temporal_resblock": False,
        "legacy": False,
        "adm_in_channels": None,
        **more,
    }


XL = {"num_classes": "sequential", "adm_in_channels": 2816}
WHOLE_XL = ([0, 0, 2, 2, 10, 10], [0, 0, 0, 2, 2, 2, 10, 10, 10], 10, 2048)
WHOLE_SD = ([1] * 6 + [0] * 2, [1] * 9 + [0] * 3, 1)
SD = {"levels": 4, "num_heads": 8, "num_head_channels": -1, "use_linear_in_transformer": False}
FROM_SDXL = "load a whole SDXL checkpoint instead"
VARIANTS = {
    # Turbo, Lightning, Hyper, LCM, Pony, Illustrious and Playground have all layers of SDXL.
    "SDXL": Variant(unet(*WHOLE_XL, **XL), Family.SDXL, "SDXL"),
    "SDXL inpainting": Variant(unet(*WHOLE_XL, **XL | {"in_channels": 9}), Family.SDXL, "SDXL"),
    "SDXL instruct": Variant(
        unet(*WHOLE_XL, **XL | {"in_channels": 8}), Family.SDXL, "SDXL", host="SDXL_instructpix2pix"
    ),
    "SD1.5": Variant(unet(*WHOLE_SD, 768, **SD), Family.SD1, "SD1.5", host="SD15"),
    "SD1.5 inpainting": Variant(
        unet(*WHOLE_SD, 768, **SD | {"in_channels": 9}), Family.SD1, "SD1.5", host="SD15"
    ),
    "SSD-1B": Variant(
        unet([0, 0, 2, 2, 4, 4], [0, 0, 0, 1, 1, 2, 10, 4, 4], -1, 2048, **XL),
        called="SSD-1B",
        host="SSD1B",
        action=FROM_SDXL,
    ),
    "Segmind Vega": Variant(
        unet([0, 0, 1, 1, 2, 2], [0, 0, 0, 1, 1, 1, 2, 2, 2], -1, 2048, **XL),
        called="Segmind Vega",
        host="Segmind_Vega",
        action=FROM_SDXL,
    ),
    "KOALA 700M": Variant(
        unet([0, 2, 5], [0, 0, 2, 2, 5, 5], -2, 2048, **XL),
        called="KOALA 700M",
        host="KOALA_700M",
        action=FROM_SDXL,
    ),
    "KOALA 1B": Variant(
        unet([0, 2, 6], [0, 0, 2, 2, 6, 6], 6, 2048, **XL),
        called="KOALA 1B",
        host="KOALA_1B",
        action=FROM_SDXL,
    ),
    "the SDXL refiner": Variant(
        unet(
            [0, 0, 4, 4, 4, 4, 0, 0],
            [0, 0, 0, 4, 4, 4, 4, 4, 4, 0, 0, 0],
            4,
            1280,
            **XL | {"levels": 4, "model_channels": 384, "adm_in_channels": 2560},
        ),
        called="the SDXL refiner",
        host="SDXLRefiner",
        action="apply it to the SDXL base model, which runs before it",
    ),
    "SDXS": Variant(
        unet([0, 1, 1], [0, 0, 1, 1, 1, 1], -2, 768),
        called="SDXS",
        host="BASE",
        action="load a whole SD1.5 checkpoint instead",
    ),
    "SDXS 0.9": Variant(
        unet([1, 1, 1], [1] * 6, -2, 1024),
        called="SDXS 0.9",
        host="SD20",
        action="load an SD1.5 or SDXL",
    ),
    "SD2": Variant(
        unet(*WHOLE_SD, 1024, levels=4), called="SD2", action="load an SD1.5 or SDXL", host="SD20"
    ),
    "an unknown one": Variant(
        unet([0, 0, 2, 2, 3, 3], [0, 0, 0, 2, 2, 2, 3, 3, 3], 3, 2048, **XL),
        called="SDXL",
        action=f"for a MODEL with these layers: {FROM_SDXL}",
        host="BASE",
    ),
}


def model_of(variant: Variant) -> Any:
    """The MODEL as the host's own classes build it, on the meta device."""
    settings = dict(variant.settings)
    supported = comfy.supported_models.SDXL(settings)
    supported.unet_config = settings
    supported.set_inference_dtype(torch.float16, None)
    base = comfy.model_base.BaseModel(supported, device=torch.device("meta"))
    return comfy.model_patcher.ModelPatcher(base, CPU, CPU)


@pytest.fixture(params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> Variant:
    return VARIANTS[request.param]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Model folders without a file."""
    names = ("custom_nodes", "checkpoints", "diffusion_models")
    names += (folders.ADAPTERS, folders.ENCODERS, folders.EMBEDS)
    for name in names:
        (tmp_path / name).mkdir()
    table = {name: ([str(tmp_path / name)], {".safetensors", ".bin"}) for name in names}
    monkeypatch.setattr(folder_paths, "models_dir", str(tmp_path))
    monkeypatch.setattr(folder_paths, "folder_names_and_paths", table)
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    return tmp_path


def published() -> Iterator[tuple[Table, str]]:
    """The tables of the published files, and the addresses at which they are."""
    for table in all_tables():
        for name in (table.file, *(file for file, _ in table.also)):
            for address in ADAPTER_ADDRESSES.values():
                same = address.rsplit("/", 1)[1].rsplit(".", 1)[0] == name.rsplit(".", 1)[0]
                # Some names are given again in another repository.
                if same and (table.repository is None or f"/{table.repository}/" in address):
                    yield table, address


def specs(home: Path) -> dict[str, AdapterSpec]:
    """What each address gives, read from a file of its shapes."""
    found: dict[str, AdapterSpec] = {}
    for table, address in published():
        path = write_sparse(home / "elsewhere" / "a.safetensors", table.tensors)
        found[address] = read_file_spec(str(path))
        path.unlink()
    return found


def test_the_host_knows_what_it_built_by_its_tensors(variant: Variant) -> None:
    state = {f"m.{k}": v for k, v in model_of(variant).model.diffusion_model.state_dict().items()}
    found = comfy.model_detection.model_config_from_unet(state, "m.", use_base_if_no_match=True)
    assert type(found).__name__ == variant.host


def test_every_address_gives_an_adapter_for_its_family(home: Path) -> None:
    found = specs(home)
    assert found.keys() == set(ADAPTER_ADDRESSES.values())
    for (family, _), address in ADAPTER_ADDRESSES.items():
        if found[address].stages:
            outlines = {Family.FLUX: FLUX.outlines[0], Family.SD3: SD3.outlines[0]}
            assert search.suits(found[address], outlines[family].layers)
            continue
        widths = HIDDEN_SD1 if family is Family.SD1 else HIDDEN_SDXL
        shape = Layers(found[address].context_width, tuple(widths), family is Family.KOLORS)
        assert found[address].layer_widths == shape.widths and published_family(shape) is family


def advice(layers: Sequence[Layer], spec: AdapterSpec) -> Iterator[str]:
    """All that is said of files to somebody with such a MODEL and an adapter that is not for it."""
    for choice in Choice:
        with pytest.raises(MissingModel) as refused:
            search.find_adapter(layers, choice)
        yield str(refused.value)
    if not search.suits(spec, layers):
        with pytest.raises(WrongBase) as wrong:
            search.require_base("mine.bin", spec, layers)
        yield str(wrong.value)


def test_what_is_advised_for_a_model_would_be_accepted_by_it(home: Path, variant: Variant) -> None:
    layers = attention_layers(model_of(variant))
    assert published_family(search.shape_of(layers)) is variant.family
    assert base_name(search.shape_of(layers)) == variant.called
    found = specs(home)
    named = 0
    for spec in found.values():
        for sentence in advice(layers, spec):
            for address in re.findall(r"https://\S+?\.(?:bin|safetensors)", sentence):
                assert search.suits(found[address], layers), (sentence, address)
                named += 1
            if variant.family is None:
                assert "No adapter was published for" in sentence and variant.action in sentence
                assert "https://" not in sentence and sentence.endswith(".")
    assert bool(named) is (variant.family is not None)


def test_the_doctor_lists_for_a_model_only_what_it_can_use(home: Path, variant: Variant) -> None:
    for number, table in enumerate({table.name: table for table, _ in published()}.values()):
        write_sparse(home / folders.ADAPTERS / f"{number}.safetensors", table.tensors)
    lines = report(model_of(variant))
    about = next(line for line in lines if line.startswith("The connected MODEL is"))
    kinds = [line for line in lines if line.startswith("What can be done with")]
    if variant.family is None:
        assert kinds == [] and variant.action in about and variant.called in about
        assert not any(line.startswith(("✓", "✗")) and ".safetensors:" in line for line in lines)
        assert not any("https://" in line for line in lines)
    else:
        assert kinds == [f"What can be done with {variant.family.value}:"]
        assert "No adapter" not in about


def test_an_adapter_of_ones_own_for_a_variant_is_found_and_advised(
    home: Path, variant: Variant
) -> None:
    layers = attention_layers(model_of(variant))
    context = layers[0].context
    shapes: dict[str, tuple[int, ...]] = {
        "image_proj.proj.weight": (4 * context, 1024),
        "image_proj.proj.bias": (4 * context,),
        "image_proj.norm.weight": (context,),
        "image_proj.norm.bias": (context,),
    }
    for number, layer in enumerate(layers):
        for half in "kv":
            shapes[f"ip_adapter.{2 * number + 1}.to_{half}_ip.weight"] = (layer.width, context)
    write_sparse(home / folders.ADAPTERS / "own.safetensors", shapes)
    if context == 1280:  # the refiner's text is of no family of adapters
        with pytest.raises(MissingModel, match="attends to a context 1280 wide|context 1280"):
            search.find_adapter(layers, Choice.STANDARD)
        return
    assert search.find_adapter(layers, Choice.STANDARD) == "own.safetensors"
    own = read_file_spec(str(home / folders.ADAPTERS / "own.safetensors"))
    hint = search.adapter_hint(layers, own.kind)
    assert hint == "Load own.safetensors, which is in models/ipadapter and fits"


def test_layers_in_another_order_are_told_from_other_layers(home: Path) -> None:
    """tencent-ailab/IP-Adapter#172: scripts that list the middle or the upper blocks first."""
    layers = attention_layers(model_of(VARIANTS["SDXL"]))
    table = next(table for table, _ in published() if table.name == "ip-adapter_sdxl_vit-h")
    shapes = dict(table.tensors)
    widths = HIDDEN_SDXL[24:60] + HIDDEN_SDXL[60:] + HIDDEN_SDXL[:24]
    for number, width in enumerate(widths):
        for half in "kv":
            shapes[f"ip_adapter.{2 * number + 1}.to_{half}_ip.weight"] = (width, 2048)
    path = write_sparse(home / folders.ADAPTERS / "up_mid_down.safetensors", shapes)
    with pytest.raises(WrongBase) as refused:
        search.require_base(path.name, read_file_spec(str(path)), layers)
    assert "in another order" in refused.value.found and "Convert it again" in refused.value.action
    assert "https://" not in str(refused.value)


def write_checkpoint(home: Path, variant: Variant) -> str:
    """A checkpoint of the variant's real shapes, which the browser's question finds by its name."""
    state = model_of(variant).model.diffusion_model.state_dict()
    shapes = {f"model.diffusion_model.{key}": tuple(value.shape) for key, value in state.items()}
    write_sparse(home / "checkpoints" / "base.safetensors", shapes)
    return "base.safetensors"


def test_the_browser_is_told_the_same_of_a_checkpoint(home: Path, variant: Variant) -> None:
    name = write_checkpoint(home, variant)
    base = read_base(str(home / "checkpoints" / name))
    layers = attention_layers(model_of(variant))
    assert base is not None and base.layers == layers
    said = problems(Combination(checkpoint=name, kind="standard", adapter="auto"))
    assert len(said) == 1
    if variant.family is None:
        assert variant.action in said[0] and "https://" not in said[0]
    else:
        assert ADAPTER_ADDRESSES[variant.family, Choice.STANDARD] in said[0]
