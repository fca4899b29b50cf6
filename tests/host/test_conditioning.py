"""Which prompt is cond and which is uncond is decided by the prompt, in every mode of the sampler.

The oracle is a patch of its own for each layer. It knows a prompt by its text: each picture of a
batch is recognised by the first key of its text, and gets the image tokens meant for its prompt.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import comfy.context_windows
import comfy.hooks
import comfy.model_management
import comfy.sample
import comfy.samplers
import node_helpers
import pytest
import torch
from comfy_extras.nodes_custom_sampler import Guider_DualCFG
from comfy_extras.nodes_pag import PerturbedAttentionGuidance
from comfy_extras.nodes_perpneg import Guider_PerpNeg, PerpNeg
from comfy_extras.nodes_sag import SelfAttentionGuidance
from comfy_extras.nodes_slg import SkipLayerGuidanceDiT, SkipLayerGuidanceDiTSimple
from kit.models import tiny
from kit.models.tiny import Twins
from pack.nodes.host.model.adapter import LoadedAdapter
from pack.nodes.host.model.apply import Settings, apply
from pack.nodes.host.model.backbones.layers import attention_layers
from pack.nodes.host.model.call.conditions import Conditions
from torch import Tensor

ROUNDING, EFFECT = 1e-5, 0.01
COND, UNCOND = 0, 1
FEATURES = tiny.random_features(2, seed=31)
Conditioning = list[list[Any]]


@cache
def twin() -> Twins:
    return tiny.twins("sd1")


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> LoadedAdapter:
    tensors = tiny.adapter_tensors(twin(), "standard", seed=5)
    return tiny.load_tensors(tmp_path_factory.mktemp("a"), tensors)


def prompt(seed: int, tokens: int = 8) -> Conditioning:
    generator = torch.Generator().manual_seed(100 + seed)
    return [[torch.randn(1, tokens, 768, generator=generator), {}]]


YES, NO, THIRD, EMPTY = prompt(1), prompt(2), prompt(3), prompt(4)


def oracle(
    model: Any, adapter: LoadedAdapter, meaning: Mapping[int, Conditioning | list[Conditioning]]
) -> Any:
    """A MODEL whose layers recognise prompts by their text."""
    module, pooled = adapter.patcher.model, FEATURES.pooled
    assert pooled is not None
    tokens = module.image_proj(torch.cat([pooled, torch.zeros_like(pooled)]))
    tokens = tokens.unflatten(0, (2, -1)).flatten(1, 2)
    unet = model.get_model_object("diffusion_model")
    patched = model.clone()
    maps = list(module.ip_adapter.values())
    names = {
        address: name
        for name, part in unet.named_modules()
        if name.endswith("attn2") and (address := _address(name))
    }
    for layer, of_layer in zip(attention_layers(model), maps, strict=True):
        to_k = unet.get_submodule(names[layer.slot]).to_k
        known = {
            tuple(to_k(part[0])[0, 0].tolist()): kind
            for kind, prompts in meaning.items()
            for one in prompts
            for part in (one if isinstance(one[0], list) else [one])
        }
        pair = of_layer.to_k_ip(tokens), of_layer.to_v_ip(tokens)
        patched.set_model_attn2_replace(_oracle_patch(known, pair), *layer.slot)
    return patched


def _address(name: str) -> tuple[str, int, int]:
    parts = name.split(".")
    block = parts[0].split("_")[0]
    return block, 0 if block == "middle" else int(parts[1]), int(parts[-2])


def _oracle_patch(known: Mapping[tuple[float, ...], int], pair: tuple[Tensor, Tensor]) -> Any:
    texts = torch.tensor(list(known))
    kinds = list(known.values())

    def patch(q: Tensor, k: Tensor, v: Tensor, extra: dict[str, Any]) -> Tensor:
        distance = torch.cdist(k[:, 0].float(), texts)
        assert float(distance.min(1).values.max()) < 1e-2, "a prompt nobody knows"
        rows = [kinds[i] for i in distance.argmin(1).tolist()]
        heads = extra["n_heads"]
        return plain(q, k, v, heads) + plain(q, pair[0][rows], pair[1][rows], heads)

    return patch


def plain(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    q, k, v = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (q, k, v))
    weights = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1)
    return (weights @ v).transpose(1, 2).flatten(2)


def noise(batch: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(4)
    return torch.randn(batch, 4, 16, 24, generator=generator)


def sample(
    model: Any, positive: Conditioning, negative: Conditioning, cfg: float = 4.0, batch: int = 1
) -> Tensor:
    start = noise(batch)
    return comfy.sample.sample(
        model,
        start,
        3,
        cfg,
        "euler",
        "normal",
        positive,
        negative,
        torch.zeros_like(start),
        disable_pbar=True,
        seed=1,
    )


def guided(guider: Any) -> Tensor:
    start = noise()
    sigmas = comfy.samplers.calculate_sigmas(
        guider.model_patcher.get_model_object("model_sampling"), "normal", 3
    )
    sampler = comfy.samplers.sampler_object("euler")
    return guider.sample(start, torch.zeros_like(start), sampler, sigmas, disable_pbar=True, seed=1)


def agree(ours: Tensor, theirs: Tensor, without: Tensor) -> None:
    assert tiny.relative(ours, without) > EFFECT
    assert tiny.relative(ours, theirs) < ROUNDING


def check(adapter: LoadedAdapter, meaning: Mapping[int, Any], run: Any) -> None:
    """`run` gives the same with our MODEL and with the oracle's, and another picture without."""
    model = twin().model
    ours = run(apply(model, adapter, FEATURES, Settings()))
    agree(ours, run(oracle(model, adapter, meaning)), run(model))


PAIR = {COND: [YES], UNCOND: [NO]}


@pytest.mark.parametrize("cfg", [1.0, 4.0])
@pytest.mark.parametrize("batch", [1, 3])
def test_guidance_on_and_off(adapter: LoadedAdapter, cfg: float, batch: int) -> None:
    check(adapter, PAIR, lambda model: sample(model, YES, NO, cfg, batch))


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("cfgs", [(3.0, 2.0), (3.0, 1.0)])
def test_dual_guidance(adapter: LoadedAdapter, nested: bool, cfgs: tuple[float, float]) -> None:
    """Both conditionings are positive; the negative one comes first in the host's list."""

    def run(model: Any) -> Tensor:
        guider = Guider_DualCFG(model)
        guider.set_conds(YES, THIRD, NO)
        guider.set_cfg(*cfgs, nested=nested)
        return guided(guider)

    check(adapter, {COND: [YES, THIRD], UNCOND: [NO]}, run)


def test_perpendicular_guidance(adapter: LoadedAdapter) -> None:
    def run(model: Any) -> Tensor:
        guider = Guider_PerpNeg(model)
        guider.set_conds(YES, NO, EMPTY)
        guider.set_cfg(4.0, 0.7)
        return guided(guider)

    check(adapter, {COND: [YES], UNCOND: [NO, EMPTY]}, run)


def test_perpendicular_guidance_of_the_older_node(adapter: LoadedAdapter) -> None:
    """Its empty prompt is not one of the guider's and runs alone."""

    def run(model: Any) -> Tensor:
        return sample(PerpNeg.execute(model, EMPTY, 0.7).result[0], YES, NO)

    check(adapter, {COND: [YES], UNCOND: [NO, EMPTY]}, run)


@pytest.mark.parametrize(
    "patch",
    [
        lambda model: PerturbedAttentionGuidance.execute(model, 2.0).result[0],
        lambda model: SelfAttentionGuidance.execute(model, 0.5, 2.0).result[0],
        lambda model: SkipLayerGuidanceDiT.execute(model, 2.0, 0.0, 1.0, "1", "1").result[0],
        lambda model: SkipLayerGuidanceDiTSimple.execute(model, 0.0, 1.0, "1", "1").result[0],
    ],
    ids=["PAG", "SAG", "SLG", "SLG simple"],
)
def test_guidance_with_passes_of_its_own(adapter: LoadedAdapter, patch: Any) -> None:
    check(adapter, PAIR, lambda model: sample(patch(model), YES, NO))


def test_several_positive_prompts(adapter: LoadedAdapter) -> None:
    check(
        adapter,
        {COND: [YES, THIRD], UNCOND: [NO, EMPTY]},
        lambda model: sample(model, YES + THIRD, NO + EMPTY),
    )


@pytest.mark.parametrize("tokens", [16, 7, 77])
def test_prompts_of_different_length(adapter: LoadedAdapter, tokens: int) -> None:
    long = prompt(9, tokens)
    check(adapter, {COND: [long], UNCOND: [NO]}, lambda model: sample(model, long, NO))


def test_chunks_that_run_one_by_one_for_lack_of_memory(
    adapter: LoadedAdapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def little(device: Any = None, torch_free_too: bool = False) -> Any:
        return (1, 1) if torch_free_too else 1

    monkeypatch.setattr(comfy.model_management, "get_free_memory", little)
    positives = {COND: [YES, THIRD], UNCOND: [NO]}
    check(adapter, positives, lambda model: sample(model, YES + THIRD, NO, batch=2))


def test_prompts_with_hooks(adapter: LoadedAdapter) -> None:
    """A prompt with a hook runs in a batch of its own."""

    def hooked() -> Conditioning:
        hook = comfy.hooks.TransformerOptionsHook({"some_pack": 1})
        group = comfy.hooks.HookGroup()
        group.add(hook)
        return node_helpers.conditioning_set_values(YES, {"hooks": group})

    meaning = {COND: [YES, THIRD], UNCOND: [NO]}
    check(adapter, meaning, lambda model: sample(model, hooked() + THIRD, NO))


def test_prompts_for_a_part_of_the_run(adapter: LoadedAdapter) -> None:
    early = node_helpers.conditioning_set_values(YES, {"start_percent": 0.0, "end_percent": 0.5})
    late = node_helpers.conditioning_set_values(THIRD, {"start_percent": 0.5, "end_percent": 1.0})
    meaning = {COND: [YES, THIRD], UNCOND: [NO]}
    check(adapter, meaning, lambda model: sample(model, early + late, NO))


@pytest.mark.parametrize("cfg", [1.0, 4.0])
def test_prompts_with_areas(adapter: LoadedAdapter, cfg: float) -> None:
    """The host gives the negative prompt a copy of each area, under the uuid of the positive."""
    left = node_helpers.conditioning_set_values(YES, {"area": (16, 12, 0, 0)})
    right = node_helpers.conditioning_set_values(THIRD, {"area": (16, 12, 0, 12)})
    meaning = {COND: [YES, THIRD, EMPTY], UNCOND: [NO]}
    check(adapter, meaning, lambda model: sample(model, left + right + EMPTY, NO, cfg))


def test_a_negative_prompt_with_an_area(adapter: LoadedAdapter) -> None:
    corner = node_helpers.conditioning_set_values(EMPTY, {"area": (8, 12, 4, 8)})
    meaning = {COND: [YES], UNCOND: [NO, EMPTY]}
    check(adapter, meaning, lambda model: sample(model, YES, NO + corner))


def test_prompts_that_are_dealt_out_to_windows(adapter: LoadedAdapter) -> None:
    """A window can be left with nothing but a copy of another list's prompt."""
    windows = comfy.context_windows
    areas = [(16, 12, 0, 0), (16, 12, 0, 12)]
    left, right = (
        node_helpers.conditioning_set_values(one, {"area": area})
        for one, area in zip((YES, THIRD), areas, strict=True)
    )

    def run(model: Any) -> Tensor:
        windowed = model.clone()
        windowed.model_options["context_handler"] = windows.IndexListContextHandler(
            context_schedule=windows.get_matching_context_schedule("standard_static"),
            fuse_method=windows.get_matching_fuse_method("flat"),
            context_length=2,
            context_overlap=0,
            dim=0,
            split_conds_to_windows=True,
        )
        return sample(windowed, left + right, NO, batch=4).nan_to_num()

    check(adapter, {COND: [YES, THIRD], UNCOND: [NO]}, run)


def test_prompts_with_masks(adapter: LoadedAdapter) -> None:
    mask = torch.zeros(1, 128, 192)
    mask[:, :, :90] = 1
    left = node_helpers.conditioning_set_values(YES, {"mask": mask, "mask_strength": 1.0})
    bounds = {"mask": 1 - mask, "mask_strength": 1.0, "set_area_to_bounds": True}
    right = node_helpers.conditioning_set_values(THIRD, bounds)
    meaning = {COND: [YES, THIRD], UNCOND: [NO]}
    check(adapter, meaning, lambda model: sample(model, left + right, NO))


def test_a_copy_in_another_list_is_what_that_list_is() -> None:
    """The host's copies of areas keep the uuid of the other list; here no text tells whose."""
    guider = comfy.samplers.CFGGuider(twin().model)
    guider.conds = {"positive": [{"uuid": 1}], "negative": [{"uuid": 2}]}
    chunks = Conditions(guider).chunks([[{"uuid": 1}, {"uuid": 2}], [{"uuid": 2}, {"uuid": 1}]], ())
    found = {place: chunk.cond_or_uncond for place, chunk in chunks.items()}
    assert found == {(0, 1): COND, (0, 2): COND, (1, 2): UNCOND, (1, 1): UNCOND}


def test_the_oracle_tells_cond_from_uncond(adapter: LoadedAdapter) -> None:
    swapped = {COND: [NO], UNCOND: [YES]}
    with pytest.raises(AssertionError):
        check(adapter, swapped, lambda model: sample(model, YES, NO))
