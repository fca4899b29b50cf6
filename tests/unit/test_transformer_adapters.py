"""Tokens, keys and values of the adapters for Flux and SD3.5: as in diffusers, by the book."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from kit.models import book, transformer_adapters
from kit.models.checkpoints import CONTAINERS, contained, nest
from kit.models.transformer_adapters import SEQUENCE, SIGLIP_WIDTH, XLABS_WIDTH
from kit.models.transformer_sizes import CONTEXT, FLUX_HEAD, SD3_HEAD, Sizes
from pack.ip_models.adapter.module import IPAdapter, NormPair
from pack.ip_models.adapter.recognise import read_spec
from pack.ip_models.adapter.state_dict import canonical
from pack.ip_models.attention.keyvalue import KeyValues
from pack.ip_models.errors import BrokenFile, WrongBase
from torch import Tensor, nn

FLUX = Sizes("flux", heads=2, doubles=3, singles=2)
SD3 = Sizes("sd3", heads=3, doubles=3, singles=0)
ADAPTERS = {
    "XLabs": transformer_adapters.xlabs(FLUX),
    "InstantX": transformer_adapters.instantx(FLUX),
    "SD3.5": transformer_adapters.sd3(SD3),
}
XLABS, INSTANTX, TIMED = ADAPTERS.values()
LEVELS = (1.0, 0.611, 0.25, 0.003)
SINGLE, DOUBLE = 1e-6, 1e-12


def rows(*shape: int, seed: int = 3) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def build(flat: Mapping[str, Tensor], dtype: torch.dtype = torch.float32) -> IPAdapter:
    weights = canonical(flat)
    adapter = IPAdapter(read_spec(weights), weights, nn)
    adapter.load(weights)
    return adapter.to(dtype).requires_grad_(False)


def relative(ours: Tensor, theirs: Tensor) -> float:
    assert ours.shape == theirs.shape
    return float((ours.double() - theirs.double()).norm() / theirs.double().norm())


def nothing() -> None:
    """No progress is reported."""


def as_diffusers_names(flat: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """XLabs' file under the names of diffusers."""
    names = {
        "ip_adapter_proj_model.": "image_proj.",
        "double_blocks.": "ip_adapter.",
        "processor.ip_adapter_double_stream_k_proj": "to_k_ip",
        "processor.ip_adapter_double_stream_v_proj": "to_v_ip",
    }
    renamed: dict[str, Tensor] = {}
    for key, value in flat.items():
        for published, theirs in names.items():
            key = key.replace(published, theirs)
        renamed[key] = value
    return renamed


EXPECTED = {
    "XLabs": ("Flux", "XLabs", FLUX.doubles, ("double",)),
    "InstantX": ("Flux", "InstantX", FLUX.blocks, ("double", "single")),
    "SD3.5": ("SD3.5", "InstantX", SD3.blocks, ("joint",)),
}


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("name", EXPECTED)
def test_small_adapters_are_told_by_the_names_of_their_tensors(name: str, container: str) -> None:
    spec = read_spec(canonical(contained(ADAPTERS[name], container)))
    found = (spec.family.value, spec.kind.value, len(spec.layers), spec.stages)
    assert found == EXPECTED[name] and spec.supported
    assert spec.layers == tuple(range(len(spec.layers))) and spec.tokens == 4
    assert set(spec.layer_widths) == {SD3.hidden if name == "SD3.5" else FLUX.hidden}


def test_the_names_of_diffusers_are_the_same_adapter() -> None:
    renamed = as_diffusers_names(XLABS)
    assert not renamed.keys() & XLABS.keys()
    ours, theirs = build(XLABS), build(renamed)
    assert ours.spec == theirs.spec
    other = theirs.state_dict()
    assert all(torch.equal(value, other[key]) for key, value in ours.state_dict().items())


BLOCK_1 = {"XLabs": "double_blocks.1.", "InstantX": "ip_adapter.1.", "SD3.5": "ip_adapter.1."}


@pytest.mark.parametrize("name", BLOCK_1)
def test_a_block_missing_between_others_is_named(name: str) -> None:
    flat = {key: v for key, v in ADAPTERS[name].items() if not key.startswith(BLOCK_1[name])}
    with pytest.raises(BrokenFile, match=r"has no tensor 1\.to_k_ip\.weight"):
        read_spec(canonical(flat))


def test_a_timestep_has_as_many_sines_as_cosines() -> None:
    name = "image_proj.time_embedding.linear_1.weight"
    with pytest.raises(BrokenFile, match="linear_1.weight has 128 x 63 values, not 128 x 62"):
        read_spec(canonical({**TIMED, name: TIMED[name][:, :-1]}))


@pytest.mark.parametrize("tokens", [4, 16])
def test_what_xlabs_hears_is_that_of_diffusers(tokens: int) -> None:
    embeddings = pytest.importorskip("diffusers.models.embeddings")
    flux = pytest.importorskip("diffusers.models.transformers.transformer_flux")
    flat = transformer_adapters.xlabs(FLUX, tokens=tokens)
    file = nest(as_diffusers_names(flat))
    projection = embeddings.ImageProjection(XLABS_WIDTH, CONTEXT, tokens)
    renamed = {key.replace("proj", "image_embeds"): v for key, v in file["image_proj"].items()}
    projection.load_state_dict(renamed)
    adapter, pooled = build(flat), rows(3, XLABS_WIDTH)
    theirs = projection.requires_grad_(False)(pooled)
    assert relative(adapter.tokens(pooled), theirs) < SINGLE
    found = adapter.key_values((pooled,), 2, nothing)
    for block in range(FLUX.doubles):
        processor = flux.FluxIPAdapterAttnProcessor(FLUX.hidden, CONTEXT, (tokens,))
        maps = {
            f"to_{half}_ip.0.{part}": file["ip_adapter"][f"{block}.to_{half}_ip.{part}"]
            for half in "kv"
            for part in ("weight", "bias")
        }
        processor.load_state_dict(maps)
        processor.requires_grad_(False)
        _same_pairs(found, block, theirs, processor.to_k_ip[0], processor.to_v_ip[0])


def _same_pairs(
    found: KeyValues,
    block: int,
    tokens: Tensor,
    key: Callable[[Tensor], Tensor],
    value: Callable[[Tensor], Tensor],
    limit: float = SINGLE,
) -> None:
    """Two references joined, then what is heard without them."""
    for buffer, heard in ((found.cond, tokens[:2]), (found.uncond, tokens[2:])):
        joined = heard.flatten(0, 1)[None]
        ours = found.pairs(buffer)[block]
        assert relative(ours[0], key(joined)) < limit
        assert relative(ours[1], value(joined)) < limit


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, SINGLE), (torch.float64, DOUBLE)])
def test_what_instantx_hears_is_that_of_the_book(dtype: torch.dtype, limit: float) -> None:
    file, pooled = nest(INSTANTX), rows(3, SIGLIP_WIDTH)
    adapter = build(INSTANTX, dtype)
    tokens = book.face_mlp(pooled, file["image_proj"])
    assert relative(adapter.tokens(pooled.to(dtype)), tokens) < limit
    found = adapter.key_values((pooled.to(dtype),), 2, nothing)
    for block in range(FLUX.blocks):

        def key(joined: Tensor, block: int = block) -> Tensor:
            mapped = book.linear(joined, file["ip_adapter"], f"{block}.to_k_ip")
            heads = mapped.reshape(1, -1, FLUX.heads, FLUX_HEAD)
            return (heads / (heads.square().mean(-1, keepdim=True) + 1e-5).sqrt()).flatten(2)

        def value(joined: Tensor, block: int = block) -> Tensor:
            return book.linear(joined, file["ip_adapter"], f"{block}.to_v_ip")

        _same_pairs(found, block, tokens, key, value, limit)


def sd3_of_diffusers(dtype: torch.dtype = torch.float32) -> tuple[Any, list[Any]]:
    """The projection, by diffusers' own loader, and the processor of each block."""
    loaders = pytest.importorskip("diffusers.loaders.transformer_sd3")
    processors = pytest.importorskip("diffusers.models.attention_processor")
    file = nest(TIMED)
    convert = loaders.SD3Transformer2DLoadersMixin()._convert_ip_adapter_image_proj_to_diffusers
    projection = convert(file["image_proj"], low_cpu_mem_usage=False)
    width = len(file["image_proj"]["time_embedding.linear_2.bias"])
    made: list[Any] = []
    for block in range(SD3.blocks):
        processor = processors.SD3IPAdapterJointAttnProcessor2_0(
            SD3.hidden, SD3.hidden, SD3_HEAD, width, scale=1.0
        )
        beginning = f"{block}."
        own = {
            key.removeprefix(beginning): value
            for key, value in file["ip_adapter"].items()
            if key.startswith(beginning)
        }
        processor.load_state_dict(own)
        made.append(processor.to(dtype).requires_grad_(False))
    return projection.to(dtype).requires_grad_(False), made


def base_norms() -> list[NormPair]:
    """Norms of queries and keys of a base, some of them negative."""
    sign = torch.ones(SD3_HEAD)
    sign[::5] = -1
    return [
        (sign * (1 + 0.2 * rows(SD3_HEAD, seed=n)), 1 + 0.2 * rows(SD3_HEAD, seed=50 + n))
        for n in range(SD3.blocks)
    ]


def at_levels(features: Tensor, norms: list[NormPair]) -> list[KeyValues]:
    return build(TIMED, features.dtype).key_values_at((features,), 2, LEVELS, norms, nothing)


def test_the_resampler_reads_the_noise_level_as_in_diffusers() -> None:
    projection, _ = sd3_of_diffusers()
    resampler: Any = build(TIMED).image_proj
    features = rows(len(LEVELS), SEQUENCE, SIGLIP_WIDTH)
    times = 1000 * torch.tensor(LEVELS)
    ours, theirs = resampler.at(features, times), projection(features, times)
    assert relative(ours[0], theirs[0]) < SINGLE
    assert relative(ours[1], theirs[1]) < SINGLE
    assert relative(resampler.at(features, times + 1)[0], theirs[0]) > 100 * SINGLE


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 2 * SINGLE), (torch.float64, SINGLE)])
def test_what_sd3_hears_at_a_level_is_that_of_diffusers(dtype: torch.dtype, limit: float) -> None:
    """Timesteps are in single precision in diffusers, whatever the rest is in."""
    projection, processors = sd3_of_diffusers(dtype)
    features, norms = rows(3, SEQUENCE, SIGLIP_WIDTH).to(dtype), base_norms()
    for level, found in zip(LEVELS, at_levels(features, norms), strict=True):
        tokens, time = projection(features, torch.full((3,), 1000 * level))
        for block, processor in enumerate(processors):
            normed = processor.norm_ip(tokens, temb=time)
            heads = processor.to_k_ip(normed).unflatten(-1, (SD3.heads, SD3_HEAD))
            # What the adapter's norm would make of the query is in the key.
            factor = processor.norm_q.weight / norms[block][0]
            key = (processor.norm_ip_k(heads) * factor).flatten(-2)
            pair = (key, processor.to_v_ip(normed))
            for half, theirs in enumerate(pair):
                for buffer, part in ((found.cond, theirs[:2]), (found.uncond, theirs[2:])):
                    ours = found.pairs(buffer)[block][half]
                    assert relative(ours, part.flatten(0, 1)[None]) < limit


def test_levels_taken_together_are_those_taken_one_by_one() -> None:
    """More than are computed at once, so that they come in several parts."""
    adapter, norms = build(TIMED), base_norms()
    features = rows(3, SEQUENCE, SIGLIP_WIDTH)
    levels = [number / 10 for number in range(11)]
    together = adapter.key_values_at((features,), 2, levels, norms, nothing)
    assert len(together) == len(levels)
    for level, found in zip(levels, together, strict=True):
        (alone,) = adapter.key_values_at((features,), 2, [level], norms, nothing)
        assert relative(found.cond, alone.cond) < 5 * SINGLE
        assert relative(found.uncond, alone.uncond) < 5 * SINGLE


def test_a_timestep_is_not_rounded_with_the_adapter() -> None:
    """In bfloat16 two noise levels beside each other would be the same one."""
    adapter, norms = build(TIMED, torch.bfloat16), base_norms()
    features = rows(2, SEQUENCE, SIGLIP_WIDTH).bfloat16()
    one, other = adapter.key_values_at((features,), 2, (0.611, 0.612), norms, nothing)
    assert not torch.equal(one.cond, other.cond)
    resampler: Any = adapter.image_proj
    maps: Any = adapter.ip_adapter["0"]
    _, value = maps(*resampler.at(features, torch.full((2,), 1000 * 0.611)))
    assert torch.equal(one.pairs(one.cond)[0][1], value.flatten(0, 1)[None])


def test_factors_at_the_keys_stand_for_norms_of_queries_and_keys() -> None:
    """diffusers' processor norms the raw query and key; we only see what the base's norms left."""
    processing = pytest.importorskip("diffusers.models.attention_processor")
    projection, processors = sd3_of_diffusers()
    norms, features = base_norms(), rows(2, SEQUENCE, SIGLIP_WIDTH)
    own = build(TIMED).own_keys(norms)
    (found,) = at_levels(features, norms)[1:2]
    tokens, time = projection(features, torch.full((2,), 1000 * LEVELS[1]))
    image, text = rows(1, 7, SD3.hidden, seed=5), rows(1, 3, SD3.hidden, seed=6)
    for block, processor in enumerate(processors):
        attention = processing.Attention(
            SD3.hidden,
            heads=SD3.heads,
            dim_head=SD3_HEAD,
            added_kv_proj_dim=SD3.hidden,
            context_pre_only=False,
            bias=True,
            processor=processor,
            qk_norm="rms_norm",
            eps=1e-6,
        ).requires_grad_(False)
        attention.norm_q.weight.copy_(norms[block][0])
        attention.norm_k.weight.copy_(norms[block][1])
        plain, _ = attention(image, text)
        heard, _ = attention(
            image, text, ip_hidden_states=tokens.flatten(0, 1)[None], temb=time[:1]
        )
        query, key, value = (
            to(image).unflatten(-1, (SD3.heads, SD3_HEAD))
            for to in (attention.to_q, attention.to_k, attention.to_v)
        )
        query, key = attention.norm_q(query), attention.norm_k(key) * own[block]
        pair = found.pairs(found.cond)[block]
        added = book.attention(
            query.flatten(2).double(),
            torch.cat((key.flatten(2), pair[0]), dim=1).double(),
            torch.cat((value.flatten(2), pair[1]), dim=1).double(),
            SD3.heads,
        )
        expected = (heard - plain).double()
        assert relative(added @ attention.to_out[0].weight.double().T, expected) < 5 * SINGLE


@pytest.mark.parametrize("place", [0, 1])
def test_a_base_that_norms_a_channel_away_is_refused(place: int) -> None:
    adapter, norms = build(TIMED), base_norms()
    norms[1][place][9] = 0
    with pytest.raises(WrongBase, match="nearly nothing"):
        adapter.own_keys(norms)
    with pytest.raises(WrongBase, match="nearly nothing"):
        adapter.key_values_at((rows(1, SEQUENCE, SIGLIP_WIDTH),), 1, LEVELS, norms, nothing)


def test_every_block_is_announced_before_it_is_projected() -> None:
    calls: list[int] = []
    build(INSTANTX).key_values((rows(1, SIGLIP_WIDTH),), 1, lambda: calls.append(0))
    assert len(calls) == FLUX.blocks
    features, norms = rows(1, SEQUENCE, SIGLIP_WIDTH), base_norms()
    build(TIMED).key_values_at((features,), 1, LEVELS, norms, lambda: calls.append(0))
    assert len(calls) == FLUX.blocks + SD3.blocks
