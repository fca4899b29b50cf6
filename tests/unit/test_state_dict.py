"""Files met in the wild: read back from disk, wrapped, damaged, or no adapter at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from kit.models.checkpoints import (
    CONTAINERS,
    as_tensors,
    contained,
    fill,
    load_table,
    nest,
    tiny_adapter,
    tiny_shapes,
    write,
)
from pack.ip_models.adapter.module import IPAdapter
from pack.ip_models.adapter.recognise import read_spec
from pack.ip_models.adapter.spec import Kind
from pack.ip_models.adapter.state_dict import AdapterWeights, canonical
from pack.ip_models.errors import BrokenFile, IPAdapterError, UnknownAdapter, UnsupportedAdapter
from safetensors.torch import load_file  # pyright: ignore[reportUnknownVariableType]
from torch import Tensor, nn

Tensors = dict[str, Tensor]
Damage = Callable[[Tensors], None]

KINDS = ("standard", "plus", "full face")
STANDARD = "ip-adapter_sd15"
PLUS = "ip-adapter-plus_sd15"
FULL = "ip-adapter-full-face_sd15"
FACE = "ip-adapter-faceid_sd15"
FACE_PLUS = "ip-adapter-faceid-plusv2_sd15"
PORTRAIT = "ip-adapter-faceid-portrait_sd15"
UNNORMED = "ip-adapter-faceid-portrait_sdxl_unnorm"
KOLORS_FACE = "kolors_ipa-faceid-plus"
KOLORS = "kolors_ip_adapter_plus_general"
XLABS = "xlabs_flux-ip-adapter"
INSTANTX = "instantx_flux.1-dev-ip-adapter"
SD3 = "instantx_sd3.5-large-ip-adapter"
FILE = "some file.safetensors"


def tiny(kind: str, seed: int = 0) -> Tensors:
    return tiny_adapter(kind, [64, 128, 64], 768, 80, 4, seed=seed, dim=64, depth=2)


def empty(shapes: Mapping[str, tuple[int, ...]]) -> Tensors:
    return fill(shapes, device="meta")


def load(tensors: Mapping[str, Any]) -> IPAdapter:
    """Everything the loader does with the tensors of a file, on the meta device."""
    weights = canonical(tensors, FILE)
    adapter = IPAdapter(read_spec(weights, FILE), weights, nn, torch.device("meta"))
    adapter.load(weights)
    return adapter


def read_back(path: Path, container: str) -> dict[str, Any]:
    if container == "nested" or container.endswith(" bin"):
        return torch.load(path, weights_only=True)
    return dict(load_file(path))


def flattened(weights: AdapterWeights) -> Tensors:
    """The tensors under the keys of a flat file."""
    found = {f"image_proj.{key}": value for key, value in weights.projection.items()}
    found |= {f"ip_adapter.{key}": value for key, value in weights.layers.items()}
    return cast(Tensors, found)


def is_one_plain_sentence(error: IPAdapterError, name: str = FILE) -> bool:
    """Found, needed and action in one line, the file named first, no Python inside."""
    text = str(error)
    one_line = "\n" not in text and 40 < len(text) < 600
    plain = not any(word in text for word in ("Traceback", "<class", "Error(s)", "tensor("))
    return text.startswith(name) and text.endswith(".") and ".." not in text and one_line and plain


@pytest.mark.parametrize("suffix", [".bin", ".safetensors"])
@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_written_file_gives_the_same_weights(
    tmp_path: Path, kind: str, container: str, suffix: str
) -> None:
    tensors = tiny(kind)
    path = write(tmp_path / f"adapter{suffix}", tensors, container)
    weights = canonical(read_back(path, container))
    back = flattened(weights)
    assert back.keys() == tensors.keys()
    assert all(torch.equal(back[key], tensors[key]) for key in tensors)
    assert weights.lora == {}
    assert weights.ignored == ()


@pytest.mark.parametrize("kind", KINDS)
def test_a_loaded_module_holds_the_values_of_the_file(kind: str) -> None:
    tensors = tiny(kind, seed=3)
    weights = canonical(contained(tensors, "nested"))
    adapter = IPAdapter(read_spec(weights), weights, nn)
    adapter.load(weights)
    state = adapter.state_dict()
    assert all(torch.equal(state[key], value) for key, value in tensors.items())


def test_of_a_file_with_everything_twice_the_first_set_counts() -> None:
    first, second = tiny("standard", seed=1), tiny("standard", seed=2)
    both = {**contained(second, "raw"), **contained(first, "flat")}
    weights = canonical(both)
    assert all(torch.equal(value, first[key]) for key, value in flattened(weights).items())
    assert read_spec(weights).kind is Kind.STANDARD


def test_kolors_keeps_its_layers_under_adapter_modules() -> None:
    tensors = nest(as_tensors(load_table("kolors_ipa-faceid-plus")))
    assert set(tensors) == {"image_proj", "adapter_modules"}
    assert len(canonical(tensors).layers) == 140


WRAPPERS: dict[str, Callable[[Tensors], dict[str, Any]]] = {
    "state_dict": lambda flat: {"state_dict": dict(flat), "epoch": 3, "lr": 1e-4},
    "nested in state_dict": lambda flat: {"state_dict": nest(flat)},
    "module.": lambda flat: {f"module.{key}": value for key, value in flat.items()},
    "module. in state_dict": lambda flat: {
        "state_dict": {f"module.{key}": value for key, value in flat.items()}
    },
    "module in state_dict": lambda flat: {"state_dict": {"module": nest(flat)}},
    "raw in state_dict": lambda flat: {"state_dict": contained(flat, "raw bin")},
    "prefix twice": lambda flat: {f"{key.split('.')[0]}.{key}": v for key, v in flat.items()},
    "training state": lambda flat: {
        **contained(flat, "nested"),
        "optimizer": {"state": {0: {"step": 5}}, "param_groups": [{"lr": 1e-4}]},
        "global_step": 1000,
        "note": "made by hand",
    },
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_wrapped_adapter_is_still_found(wrapper: str) -> None:
    weights = canonical(WRAPPERS[wrapper](tiny("plus")))
    assert read_spec(weights) == read_spec(canonical(tiny("plus")))


def test_a_header_without_data_is_enough_to_recognise_a_file() -> None:
    table = load_table(PLUS)
    header = {
        key: SimpleNamespace(shape=list(shape), dtype=torch.float16)
        for key, shape in table.tensors.items()
    }
    assert read_spec(canonical(header)) == read_spec(canonical(as_tensors(table)))


def test_foreign_tensors_beside_an_adapter_are_listed_and_left_alone() -> None:
    tensors = as_tensors(load_table(STANDARD)) | empty({"logit_scale": (), "vae.w": (2,)})
    assert set(canonical(tensors).ignored) == {"logit_scale", "vae.w"}
    load(tensors)


def test_the_tensors_given_are_not_changed() -> None:
    tensors = nest(as_tensors(load_table(FACE)))
    before = {outer: list(inner) for outer, inner in tensors.items()}
    canonical(tensors)
    assert {outer: list(inner) for outer, inner in tensors.items()} == before


@pytest.mark.parametrize("name", [FACE, FACE_PLUS])
def test_the_lora_of_a_face_file_is_kept_apart_from_the_layers(name: str) -> None:
    weights = canonical(as_tensors(load_table(name)))
    assert len(weights.layers) == 2 * 16
    assert len(weights.lora) == 32 * 4 * 2
    assert all("_lora." in key for key in weights.lora)


@pytest.mark.parametrize("name", [FACE, FACE_PLUS])
def test_a_face_file_without_its_lora_is_still_that_face_file(name: str) -> None:
    tensors = as_tensors(load_table(name))
    stripped = {key: value for key, value in tensors.items() if "_lora." not in key}
    whole, bare = read_spec(canonical(tensors)), read_spec(canonical(stripped))
    assert (whole.has_lora, bare.has_lora) == (True, False)
    assert (whole.kind, whole.tokens, whole.layers) == (bare.kind, bare.tokens, bare.layers)


def drop(*keys: str) -> Damage:
    def damage(tensors: Tensors) -> None:
        for key in keys:
            del tensors[key]

    return damage


def drop_part(part: str) -> Damage:
    def damage(tensors: Tensors) -> None:
        for key in [key for key in tensors if part in key]:
            del tensors[key]

    return damage


def resize(key: str, *shape: int) -> Damage:
    def damage(tensors: Tensors) -> None:
        assert key in tensors
        tensors[key] = torch.empty(shape, device="meta")

    return damage


def add(key: str, *shape: int) -> Damage:
    def damage(tensors: Tensors) -> None:
        tensors[key] = torch.empty(shape, device="meta")

    return damage


LAYER, PROJ = "ip_adapter.9.to_", "image_proj."
PERCEIVER = f"{PROJ}perceiver_resampler."
DAMAGES: dict[str, tuple[str, Damage, type[IPAdapterError]]] = {
    "no key": (STANDARD, drop(f"{LAYER}k_ip.weight"), BrokenFile),
    "no value": (STANDARD, drop(f"{LAYER}v_ip.weight"), BrokenFile),
    "no key, plus": (PLUS, drop(f"{LAYER}k_ip.weight"), BrokenFile),
    "no key, face": (FACE, drop(f"{LAYER}k_ip.weight"), BrokenFile),
    "no key, SDXL": ("ip-adapter_sdxl", drop("ip_adapter.121.to_k_ip.weight"), BrokenFile),
    "no key, InstantX": (INSTANTX, drop("ip_adapter.40.to_v_ip.weight"), BrokenFile),
    "no key, SD3.5": (SD3, drop("ip_adapter.0.to_k_ip.weight"), BrokenFile),
    "a layer left out": (STANDARD, drop_part("ip_adapter.9."), BrokenFile),
    "layers left out, SDXL": ("ip-adapter_sdxl", drop_part("ip_adapter.1"), BrokenFile),
    "a self-attention layer": (STANDARD, add("ip_adapter.2.to_k_ip.weight", 320, 768), BrokenFile),
    "key and value differ": (STANDARD, resize(f"{LAYER}v_ip.weight", 640, 768), BrokenFile),
    "value of another context": (STANDARD, resize(f"{LAYER}v_ip.weight", 1280, 1024), BrokenFile),
    "key with one dimension": (STANDARD, resize(f"{LAYER}k_ip.weight", 768), BrokenFile),
    "key without dimensions": (STANDARD, resize(f"{LAYER}k_ip.weight"), BrokenFile),
    "tokens too narrow": (STANDARD, resize(f"{PROJ}norm.weight", 512), BrokenFile),
    "rows not a multiple": (STANDARD, resize(f"{PROJ}proj.weight", 3000, 1024), BrokenFile),
    "norm without dimensions": (STANDARD, resize(f"{PROJ}norm.weight"), BrokenFile),
    "proj with one dimension": (STANDARD, resize(f"{PROJ}proj.weight", 3072), BrokenFile),
    "no proj bias": (STANDARD, drop(f"{PROJ}proj.bias"), BrokenFile),
    "no norm bias": (STANDARD, drop(f"{PROJ}norm.bias"), BrokenFile),
    "no norm": (STANDARD, drop(f"{PROJ}norm.weight", f"{PROJ}norm.bias"), IPAdapterError),
    "bias of another size": (STANDARD, resize(f"{PROJ}proj.bias", 768), BrokenFile),
    "extra projection": (STANDARD, add(f"{PROJ}extra.weight", 4, 4), BrokenFile),
    "extra layer tensor": (STANDARD, add("ip_adapter.9.extra.weight", 4), BrokenFile),
    "extra unnumbered tensor": (STANDARD, add("ip_adapter.extra.weight", 4), BrokenFile),
    "mixed bases": (STANDARD, add("ip_adapter.33.to_k_ip.weight", 640, 2048), BrokenFile),
    "no resampler norm": (PLUS, drop_part("norm_out"), BrokenFile),
    "no layer norm": (PLUS, drop_part("layers.2.0.norm1"), BrokenFile),
    "no proj_in": (PLUS, drop_part("proj_in"), BrokenFile),
    "no proj_out": (PLUS, drop_part("proj_out"), BrokenFile),
    "no first query": (PLUS, drop_part("layers.0.0.to_q"), BrokenFile),
    "no later query": (PLUS, drop_part("layers.1.0.to_q"), BrokenFile),
    "no first feed forward": (PLUS, drop_part("layers.0.1.1"), BrokenFile),
    "no first block": (PLUS, drop_part("image_proj.layers.0."), BrokenFile),
    "no middle block": (PLUS, drop_part("image_proj.layers.2."), BrokenFile),
    "no blocks": (PLUS, drop_part("image_proj.layers."), BrokenFile),
    "flat latents": (PLUS, resize(f"{PROJ}latents", 768), BrokenFile),
    "narrow latents": (PLUS, resize(f"{PROJ}latents", 1, 16, 512), BrokenFile),
    "odd heads": (PLUS, resize(f"{PROJ}layers.0.0.to_q.weight", 700, 768), BrokenFile),
    "one query smaller": (PLUS, resize(f"{PROJ}layers.1.0.to_q.weight", 704, 768), BrokenFile),
    "resampler for another base": (PLUS, resize(f"{PROJ}proj_out.weight", 2048, 768), BrokenFile),
    "unknown resampler block": (PLUS, add(f"{PROJ}layers.0.3.weight", 4), BrokenFile),
    "position table": (PLUS, add(f"{PROJ}pos_emb.weight", 257, 1280), BrokenFile),
    "no first full face layer": (FULL, drop_part("proj.0."), BrokenFile),
    "no last full face bias": (FULL, drop(f"{PROJ}proj.3.bias"), BrokenFile),
    "full face not square": (FULL, resize(f"{PROJ}proj.0.weight", 640, 1280), BrokenFile),
    "no second face layer": (FACE, drop_part("proj.2."), BrokenFile),
    "face of another base": (FACE, resize(f"{PROJ}norm.weight", 1024), BrokenFile),
    "only the LoRA of a face": (FACE, drop_part("_ip."), IPAdapterError),
    "no perceiver query": (FACE_PLUS, drop(f"{PROJ}norm.weight"), BrokenFile),
    "no perceiver blocks": (FACE_PLUS, drop_part("perceiver_resampler.layers."), BrokenFile),
    "no middle perceiver block": (FACE_PLUS, drop_part(f"{PERCEIVER}layers.2."), BrokenFile),
    "no perceiver norm": (FACE_PLUS, drop_part(f"{PERCEIVER}norm_out"), BrokenFile),
    "odd perceiver": (FACE_PLUS, resize(f"{PERCEIVER}layers.0.0.to_q.weight", 7, 768), BrokenFile),
    "narrow perceiver": (FACE_PLUS, resize(f"{PERCEIVER}proj_in.weight", 64, 1280), BrokenFile),
    "face of another width": (FACE_PLUS, resize(f"{PROJ}proj.0.weight", 512, 256), BrokenFile),
    "no second plus layer": (FACE_PLUS, drop_part("image_proj.proj.2."), BrokenFile),
    "no unnormed block": (UNNORMED, drop_part("image_proj.layers.2."), BrokenFile),
    "no unnormed query": (UNNORMED, drop_part("layers.0.0.to_q"), BrokenFile),
    "no Kolors face norm": (KOLORS_FACE, drop(f"{PROJ}norm.weight"), BrokenFile),
    "no XLabs projection": (XLABS, drop("ip_adapter_proj_model.proj.weight"), BrokenFile),
    "no XLabs value": (
        XLABS,
        drop("double_blocks.3.processor.ip_adapter_double_stream_v_proj.weight"),
        BrokenFile,
    ),
    "no latents, SD3.5": (SD3, drop(f"{PROJ}latents"), BrokenFile),
    "no image half": (STANDARD, drop_part("image_proj."), UnknownAdapter),
    "no attention half": (STANDARD, drop_part("ip_adapter."), UnknownAdapter),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_file_is_refused_in_plain_words(name: str) -> None:
    table, damage, expected = DAMAGES[name]
    tensors = as_tensors(load_table(table))
    damage(tensors)
    with pytest.raises(IPAdapterError) as error:
        read_spec(canonical(tensors, FILE), FILE)
    assert isinstance(error.value, expected)
    assert not isinstance(error.value, UnsupportedAdapter)
    assert is_one_plain_sentence(error.value), str(error.value)


def test_the_message_names_the_missing_tensor() -> None:
    tensors = as_tensors(load_table(STANDARD))
    del tensors[f"{LAYER}k_ip.weight"]
    with pytest.raises(BrokenFile, match=r"9\.to_k_ip\.weight"):
        load(tensors)


def test_an_adapter_for_an_unknown_width_is_refused() -> None:
    with pytest.raises(UnknownAdapter, match="1536") as error:
        load(empty(tiny_shapes("standard", [64, 64], 1536, 80, 4)))
    assert is_one_plain_sentence(error.value)


UNET = {
    "model.diffusion_model.input_blocks.0.0.weight": (320, 4, 3, 3),
    "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (320, 768),
    "first_stage_model.decoder.conv_in.weight": (512, 4, 3, 3),
}
LORA = {
    "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight": (
        128,
        768,
    ),
    "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_up.weight": (
        320,
        128,
    ),
    "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.alpha": (),
}
CLIP = {
    "vision_model.embeddings.class_embedding": (1280,),
    "vision_model.encoder.layers.0.self_attn.q_proj.weight": (1280, 1280),
    "visual_projection.weight": (1024, 1280),
}
FLUX = {
    "double_blocks.0.img_attn.qkv.weight": (9216, 3072),
    "single_blocks.0.linear1.weight": (21504, 3072),
    "img_in.weight": (3072, 64),
}
DIFFUSERS = {
    "encoder_hid_proj.image_projection_layers.0.image_embeds.weight": (3072, 1024),
    "down_blocks.0.attentions.0.transformer_blocks.0.attn2.processor.to_k_ip.0.weight": (320, 768),
}
LAYERS_ONLY = {"ip_adapter.1.to_k_ip.weight": (320, 768), "ip_adapter.1.to_v_ip.weight": (320, 768)}


STRANGERS: dict[str, Mapping[str, Any]] = {
    "empty": {},
    "UNet": empty(UNET),
    "LoRA": empty(LORA),
    "CLIP vision": empty(CLIP),
    "Flux": empty(FLUX),
    "diffusers' own save": empty(DIFFUSERS),
    "half an adapter": empty(LAYERS_ONLY),
    "empty halves": {"image_proj": {}, "ip_adapter": {}},
    "numbers": {"image_proj": 3, "ip_adapter": 4},
    "lists": {"image_proj": {"proj.weight": [1.0, 2.0]}, "ip_adapter": {"1": [0.0]}},
    "text": {"image_proj": "weights", "ip_adapter": None},
    "a step counter": {"epoch": 3, "optimizer": {"state": {}}},
}


@pytest.mark.parametrize("name", STRANGERS)
def test_what_is_no_adapter_is_called_unknown(name: str) -> None:
    with pytest.raises(UnknownAdapter) as error:
        canonical(STRANGERS[name], FILE)
    assert is_one_plain_sentence(error.value), str(error.value)


PROJECTIONS = {
    "two bodies": {"trunk.0.weight": (1024, 1280), "head.weight": (768, 1024)},
    "no name known": {"body.0.weight": (1024, 1280)},
}


@pytest.mark.parametrize("name", PROJECTIONS)
def test_an_unpublished_projection_is_called_unknown_with_its_keys(name: str) -> None:
    projection = empty(PROJECTIONS[name])
    layers = empty({key.removeprefix("ip_adapter."): s for key, s in LAYERS_ONLY.items()})
    with pytest.raises(UnknownAdapter, match=next(iter(projection))) as error:
        read_spec(AdapterWeights(dict(projection), dict(layers)), FILE)
    assert is_one_plain_sentence(error.value)
