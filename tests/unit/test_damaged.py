"""Whatever is recognised can be loaded and run: every published layout, damaged tensor by tensor.

All of it on the meta device, where a wrong shape fails as it does with data.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from kit.models.checkpoints import as_tensors, fill, load_table, tiny_shapes
from pack.ip_models.adapter.module import IPAdapter
from pack.ip_models.adapter.recognise import read_spec
from pack.ip_models.adapter.spec import AdapterSpec, Feature, Kind
from pack.ip_models.adapter.state_dict import canonical
from pack.ip_models.errors import BrokenFile, IPAdapterError, UnknownAdapter
from pack.ip_models.projection.projections import Structure
from torch import Tensor, nn

META = torch.device("meta")
FILE = "some file.safetensors"
PARTS = ("image_proj", "ip_adapter")
STANDARD = "ip-adapter_sd15"
PLUS = "ip-adapter-plus_sd15"
FULL = "ip-adapter-full-face_sd15"
FACE = "ip-adapter-faceid_sd15"
FACE_PLUS = "ip-adapter-faceid-plusv2_sd15"
PORTRAIT = "ip-adapter-faceid-portrait_sd15"
UNNORMED = "ip-adapter-faceid-portrait_sdxl_unnorm"
KOLORS = "kolors_ip_adapter_plus_general"
KOLORS_FACE = "kolors_ipa-faceid-plus"
SDXL = "ip-adapter_sdxl"
XLABS = "xlabs_flux-ip-adapter"
INSTANTX = "instantx_flux.1-dev-ip-adapter"
SD3 = "instantx_sd3.5-large-ip-adapter"
LAYOUTS = (
    STANDARD,
    PLUS,
    FULL,
    FACE,
    FACE_PLUS,
    PORTRAIT,
    UNNORMED,
    KOLORS,
    KOLORS_FACE,
    SDXL,
    XLABS,
    INSTANTX,
    SD3,
)
# Of what there is many times, some: attention layers, LoRA maps, blocks of a resampler.
REPEATED = (
    "ip_adapter.",
    "adapter_modules.",
    "double_blocks.",
    "image_proj.layers.",
    "perceiver_resampler.layers.",
)
SAMPLED = (
    "r.0.norm",
    "s.0.p",
    "s.18.p",
    "r.1.",
    "r.5.",
    "r.31.",
    "r.0.to_k",
    "r.7.to_out",
    "s.1.to_k",
    "s.139.",
    "layers.3.",
)


def empty(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.empty(shape, dtype=dtype, device=META)


def keys(tensors: dict[str, Tensor]) -> list[str]:
    """Every tensor that there is once, and of those that repeat the first, some and the last."""
    return [
        key
        for key in tensors
        if not any(one in key for one in REPEATED) or any(one in key for one in SAMPLED)
    ]


def damaged(tensor: Tensor) -> Iterator[tuple[str, Tensor | None]]:
    """What may become of a tensor; None where it is lost."""
    shape = tuple(tensor.shape)
    yield "lost", None
    yield "without dimensions", empty()
    yield "with a dimension more", empty(1, *shape)
    yield "without rows", empty(0, *shape[1:])
    yield "a row short", empty(shape[0] - 1, *shape[1:])
    yield "a column short", empty(*shape[:-1], shape[-1] - 1)
    yield "half as wide", empty(*shape[:-1], max(1, shape[-1] // 2))
    yield "transposed", empty(*reversed(shape))
    yield "of whole numbers", empty(*shape, dtype=torch.int8)
    yield "of absurd size", empty(2**40, *shape[1:])


def tokens_and_time(adapter: IPAdapter, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Tokens of two references, and the embedding of a timestep where they depend on it."""
    if adapter.spec.timed:
        resampler: Any = adapter.image_proj
        return resampler.at(*inputs, empty(2))
    return (adapter.tokens(*inputs, structure=Structure(shortcut=True)),)


def run(tensors: dict[str, Tensor]) -> AdapterSpec:
    """Load and project what the spec asks for; any refusal must come from `read_spec`."""
    weights = canonical(tensors, FILE)
    spec = read_spec(weights, FILE)
    adapter = IPAdapter(spec, weights, nn, META)
    adapter.load(weights, assign=True)
    pooled = spec.feature is Feature.POOLED or spec.kind in (Kind.FACEID, Kind.PORTRAIT)
    sequence: list[int] = [] if pooled else [257 if spec.needs_encoder else 1]
    wide = empty(2, *sequence, spec.feature_width)
    inputs = (empty(2, 512), wide) if spec.kind is Kind.FACEID_PLUS else (wide,)
    heard = tokens_and_time(adapter, inputs)
    tokens = heard[0]
    assert tokens.shape == (2, spec.tokens, spec.token_width)
    if not spec.through_text_projection:
        pairs = [maps(*heard) for maps in adapter.ip_adapter.values()]
        assert tuple(k.shape[-1] for k, _ in pairs) == spec.layer_widths
        assert all(k.shape == v.shape for k, v in pairs)
    return spec


# Where features come in: fewer columns are an adapter for another encoder, and said to be one.
INPUT = {
    STANDARD: "image_proj.proj.weight",
    SDXL: "image_proj.proj.weight",
    PLUS: "image_proj.proj_in.weight",
    UNNORMED: "image_proj.proj_in.weight",
    KOLORS: "image_proj.proj_in.weight",
    FACE_PLUS: "image_proj.perceiver_resampler.proj_in.weight",
    KOLORS_FACE: "image_proj.perceiver_resampler.proj_in.weight",
    XLABS: "ip_adapter_proj_model.proj.weight",
    INSTANTX: "image_proj.proj.0.weight",
    SD3: "image_proj.proj_in.weight",
}
# Half as many sines and cosines of the timestep are none the less some of each.
TIME = {(SD3, "image_proj.time_embedding.linear_1.weight", "half as wide")}


@pytest.mark.parametrize("name", LAYOUTS)
def test_what_is_recognised_can_be_loaded_and_run(name: str) -> None:
    whole = as_tensors(load_table(name))
    spec, accepted, refused = run(whole), set[tuple[str, str]](), 0
    for key in keys(whole):
        for what, tensor in damaged(whole[key]):
            if tensor is not None and (tensor.shape, tensor.dtype) == (
                whole[key].shape,
                whole[key].dtype,
            ):
                continue  # a square one transposed
            tensors = {other: value for other, value in whole.items() if other != key}
            try:
                found = run(tensors if tensor is None else {**tensors, key: tensor})
            except IPAdapterError as error:
                assert isinstance(error, BrokenFile), (key, what)
                assert error.found.startswith(FILE) and 40 < len(str(error)) < 400, (key, what)
                refused += 1
            else:
                assert (found.layers, found.layer_widths) == (spec.layers, spec.layer_widths)
                assert found.feature_width <= spec.feature_width
                accepted.add((key, what))
    # Whether the LoRA's maps are those of a MODEL is asked when it is put there, or left out.
    fitting = {(key, what) for key, what in accepted if "_lora." in key}
    assert {what for _, what in fitting} <= {"a row short", "a column short", "half as wide"}
    narrow = ("a column short", "half as wide") if name in INPUT else ()
    fewer = {(key, what) for file, key, what in TIME if file == name}
    assert accepted - fitting == fewer | {(INPUT[name], what) for what in narrow}
    assert refused > 80


SAID = {
    "a lost tensor": (PLUS, "image_proj.proj_out.bias", None, "has no tensor proj_out.bias"),
    "a transposed map": (
        STANDARD,
        "ip_adapter.5.to_v_ip.weight",
        empty(768, 640),
        "to_v_ip.weight has 768 x 640 values, not 640 x 768",
    ),
    "transposed latents": (PLUS, "image_proj.latents", empty(1, 768, 16), "latents has"),
    "a map of Flux": (
        INSTANTX,
        "image_proj.proj.0.weight",
        None,
        "has no tensor proj.0.weight",
    ),
    "a norm of SD3.5": (SD3, "ip_adapter.9.norm_ip_k.weight", None, "9.norm_ip_k.weight"),
    "a bias of XLabs": (
        XLABS,
        "double_blocks.3.processor.ip_adapter_double_stream_v_proj.bias",
        None,
        "has no tensor 3.to_v_ip.bias",
    ),
    "heads": (
        PLUS,
        "image_proj.layers.0.0.to_q.weight",
        empty(700, 768),
        "layers.0.0.to_q.weight has 700 x 768 values, not 640 x 768",
    ),
    "an unknown layer": (STANDARD, "ip_adapter.2.to_k_ip.weight", empty(9, 768), "unknown tensor"),
    "a layer too many": (STANDARD, "ip_adapter.33.to_k_ip.weight", empty(9, 768), "33.to_v_ip"),
    "half a LoRA": (FACE, "ip_adapter.9.to_q_lora.up.weight", None, "9.to_q_lora.up.weight"),
    "whole numbers": (
        FACE,
        "ip_adapter.8.to_v_lora.down.weight",
        empty(128, 640, dtype=torch.uint8),
        "has weights of type torch.uint8; floating point weights are needed",
    ),
    "a width without end": (FULL, "image_proj.proj.0.weight", empty(1, 2**40), "of 1 x 1099511627"),
    "a number without end": (
        STANDARD,
        f"ip_adapter.{'9' * 5000}.to_k_ip.weight",
        empty(2, 768),
        "has an unknown tensor 999",
    ),
    "a key without end": (PLUS, f"image_proj.{'x' * 5000}", empty(2), "has an unknown tensor xxx"),
}


@pytest.mark.parametrize("case", SAID)
def test_the_sentence_names_what_is_wrong(case: str) -> None:
    name, key, tensor, words = SAID[case]
    tensors = {k: v for k, v in as_tensors(load_table(name)).items() if k != key}
    if tensor is not None:
        tensors[key] = tensor
    with pytest.raises(BrokenFile) as refused:
        run(tensors)
    text = str(refused.value)
    assert words in text and text.startswith(f"{FILE} ") and len(text) < 400


def test_most_layers_decide_which_context_is_meant() -> None:
    tensors = as_tensors(load_table(STANDARD))
    tensors["ip_adapter.1.to_k_ip.weight"] = empty(320, 767)
    with pytest.raises(BrokenFile, match="1.to_k_ip.weight has 320 x 767 values, not 320 x 768"):
        run(tensors)


def test_layers_by_the_names_of_their_modules_are_another_layout() -> None:
    tensors = as_tensors(load_table(STANDARD))
    names = {
        key: key.replace("ip_adapter.", "ip_adapter.down_blocks.0.attn2.processor.")
        for key in tensors
    }
    with pytest.raises(UnknownAdapter, match="number their layers") as refused:
        run({names[key]: value for key, value in tensors.items()})
    assert "down_blocks.0.attn2" in refused.value.found
    assert "ownload" not in str(refused.value)


def test_the_latents_of_face_id_plus_are_as_wide_as_its_tokens() -> None:
    sizes = [64, 64], 768, 80, 4
    face = tiny_shapes("FaceID plus", *sizes)
    inner = tiny_shapes("plus", *sizes, dim=64)  # whole and of one width, but for other tokens
    narrow = {
        key: shape
        for key, shape in face.items()
        if not key.startswith("image_proj.perceiver_resampler.")
    } | {
        key.replace("image_proj.", "image_proj.perceiver_resampler."): shape
        for key, shape in inner.items()
        if key.startswith("image_proj.") and "latents" not in key
    }
    run(fill(face, "meta"))
    with pytest.raises(BrokenFile, match="proj_in.weight has 64 x 80 values, not 768 x 80"):
        run(fill(narrow, "meta"))


def test_a_file_of_several_types_is_kept_in_the_widest() -> None:
    tensors = as_tensors(load_table(PLUS), dtype=torch.float16)
    tensors["image_proj.norm_out.bias"] = empty(768)
    weights = canonical(tensors, FILE)
    adapter = IPAdapter(read_spec(weights, FILE), weights, nn, META)
    kept = {part: {p.dtype for p in getattr(adapter, part).parameters()} for part in PARTS}
    assert kept == {"image_proj": {torch.float32}, "ip_adapter": {torch.float16}}
