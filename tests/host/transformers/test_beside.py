"""Beside the host's own nodes and what other packs do to these models."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import comfy.ldm.flux.model
import comfy_extras.nodes_slg as skip_layers
import pytest
import torch
from comfy_api.torch_helpers import set_torch_compile_wrapper
from kit.models import tiny, transformer_cases, transformers
from kit.models.transformer_cases import INSTANTX, SD3, XLABS, Given, Layout
from kit.models.transformers import Pair, make_call, run_host, sample_host
from pack.ip_models.errors import WrongBase
from pack.nodes.host.model.backbones import transformer
from pack.nodes.host.model.backbones.layers import attention_layers
from torch import Tensor

ROUNDING, EFFECT = 2e-6, 0.01
BEDS = [
    pytest.param(transformers.tiny_flux, XLABS, id="Flux-XLabs"),
    pytest.param(transformers.tiny_flux, INSTANTX, id="Flux-InstantX"),
    pytest.param(transformers.tiny_chroma, XLABS, id="Chroma-XLabs"),
    pytest.param(transformers.tiny_sd3, SD3, id="SD3.5"),
]
every_bed = pytest.mark.parametrize(("build", "layout"), BEDS)


def halved(args: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
    """Another pack's patch around a block: half of what the block does to the picture."""
    before = args["img"].clone()
    out = extra["original_block"](args)
    return {**out, "img": before + (out["img"] - before) / 2}


@every_bed
def test_a_patch_around_a_block_is_kept(build: Callable[[], Pair], layout: Layout) -> None:
    pair, call = build(), make_call()
    for first in (True, False):
        base = pair.model.clone()
        if first:
            base.set_model_patch_replace(halved, "dit", "double_block", 0)
        model = transformer_cases.patched(pair, layout, Given(), model=base)
        if not first:
            model.set_model_patch_replace(halved, "dit", "double_block", 0)
        out = run_host(pair, model, call)
        alone = pair.model.clone()
        alone.set_model_patch_replace(halved, "dit", "double_block", 0)
        assert tiny.relative(out, run_host(pair, alone, call)) > EFFECT
        plain = transformer_cases.patched(pair, layout, Given())
        assert tiny.relative(out, run_host(pair, plain, call)) > EFFECT
        if first:
            expected = out
    assert torch.equal(out, expected)  # the order of the nodes makes no difference


@every_bed
def test_a_block_that_is_left_out_has_nothing_to_add_to(
    build: Callable[[], Pair], layout: Layout
) -> None:
    pair, call = build(), make_call()
    model = transformer_cases.patched(pair, layout, Given())

    def skip(args: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
        return args

    skipping = model.clone()
    for number in range(pair.doubles):
        skipping.set_model_patch_replace(skip, "dit", "double_block", number)
    for number in range(pair.singles):
        skipping.set_model_patch_replace(skip, "dit", "single_block", number)
    plain = pair.model.clone()
    for number in range(pair.doubles):
        plain.set_model_patch_replace(skip, "dit", "double_block", number)
    for number in range(pair.singles):
        plain.set_model_patch_replace(skip, "dit", "single_block", number)
    assert torch.equal(run_host(pair, skipping, call), run_host(pair, plain, call))


def test_skip_layer_guidance_runs_beside() -> None:
    pair, call = transformers.tiny_sd3(), make_call()
    model = transformer_cases.patched(pair, SD3, Given())
    node = skip_layers.SkipLayerGuidanceDiT
    guided = node.execute(model, 3.0, 0.0, 1.0, double_layers="1", single_layers="1").args[0]
    out = sample_host(pair, guided, call, 3.0)
    assert bool(out.isfinite().all())
    assert tiny.relative(out, sample_host(pair, model, call, 3.0)) > EFFECT


@pytest.mark.parametrize("layout", [XLABS, INSTANTX], ids=["XLabs", "InstantX"])
def test_residuals_of_a_control_net_are_added_as_ever(layout: Layout) -> None:
    """The host adds them after each block; patches that add the same are the oracle."""
    pair, call = transformers.tiny_flux(), make_call()
    generator = torch.Generator().manual_seed(8)
    residuals = [torch.randn(2, 48, pair.hidden, generator=generator) for _ in range(5)]
    model = transformer_cases.patched(pair, layout, Given())

    def adding(residual: Tensor, kind: str) -> Callable[..., dict[str, Any]]:
        def patch(args: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
            out = extra["original_block"](args)
            text = out["img"].shape[1] - residual.shape[1] if kind == "single" else 0
            out["img"][:, text:] += residual
            return out

        return patch

    by_hand = model.clone()
    for number, residual in enumerate(residuals):
        kind, place = ("double", number) if number < 3 else ("single", number - 3)
        by_hand.set_model_patch_replace(adding(residual, kind), "dit", f"{kind}_block", place)
    control = {"input": residuals[:3], "output": residuals[3:]}
    with pytest.MonkeyPatch.context() as patch:
        network, apply_model = (
            pair.model.model.diffusion_model,
            type(pair.model.model.diffusion_model),
        )
        original = apply_model.forward
        patch.setattr(
            network,
            "forward",
            lambda *args, **kwargs: original(network, *args, **{**kwargs, "control": control}),
        )
        out, plain = run_host(pair, model, call), run_host(pair, pair.model, call)
    assert tiny.relative(out, run_host(pair, by_hand, call)) < ROUNDING
    assert tiny.relative(out, plain) > EFFECT
    assert tiny.relative(out, run_host(pair, model, call)) > EFFECT


def test_a_replaced_forward_is_told_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pair, call = transformers.tiny_flux(), make_call()
    model = transformer_cases.patched(pair, XLABS, Given())
    network = pair.model.model.diffusion_model

    def forward_orig(img: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        kwargs["transformer_options"] = {}
        return comfy.ldm.flux.model.Flux.forward_orig(network, img, *args, **kwargs)

    forward_orig.__module__ = "custom_nodes.ComfyUI-TeaCache.nodes"
    monkeypatch.setattr(network, "forward_orig", forward_orig)
    monkeypatch.setattr(transformer, "_warned", set())
    with caplog.at_level(logging.WARNING, "ipadapter"):
        for _ in range(3):
            out = run_host(pair, model, call)
    assert torch.equal(out, run_host(pair, pair.model, call))
    told = [record.getMessage() for record in caplog.records if "forward" in record.getMessage()]
    assert len(told) == 1
    assert told[0].startswith("ComfyUI-TeaCache has replaced the forward function")


def test_a_nunchaku_model_is_refused_by_name() -> None:
    class ComfyFluxWrapper(torch.nn.Module):
        """The class of that name takes the place of the network."""

    pair = transformers.tiny_flux()
    model = pair.model.clone()
    model.add_object_patch("diffusion_model", ComfyFluxWrapper())
    with pytest.raises(WrongBase, match="Nunchaku"):
        attention_layers(model)


@pytest.mark.parametrize("layout", [XLABS, INSTANTX], ids=["XLabs", "InstantX"])
def test_rows_of_other_pictures_hear_without_a_mask_only(layout: Layout) -> None:
    """Kontext appends its pictures' rows to the stream."""
    pair, call = transformers.tiny_flux(), make_call()
    reference = [torch.randn(1, 16, 8, 8, generator=torch.Generator().manual_seed(6))]

    def run(model: Any) -> Tensor:
        seen: list[Tensor] = []
        hook = pair.model.model.diffusion_model.register_forward_hook(
            lambda _module, _inputs, output: seen.append(output)
        )
        sigma = torch.full((2,), call.sigma)
        try:
            model.model.apply_model(
                call.x,
                sigma,
                c_crossattn=call.context,
                y=call.pooled,
                ref_latents=[one.repeat(2, 1, 1, 1) for one in reference],
                guidance=torch.full((2,), 3.5),
                transformer_options={
                    **model.model_options["transformer_options"],
                    "cond_or_uncond": [1, 0],
                    "sigmas": sigma[:1],
                },
            )
        finally:
            hook.remove()
        return seen[0]

    plain = run(pair.model)
    silent = transformer_cases.patched(pair, layout, Given(grid=torch.zeros(8, 6)))
    assert torch.equal(run(silent), plain)
    everywhere = run(transformer_cases.patched(pair, layout, Given()))
    own_rows = run(transformer_cases.patched(pair, layout, Given(grid=torch.ones(8, 6))))
    assert tiny.relative(everywhere, plain) > EFFECT
    assert 1e-4 < tiny.relative(own_rows, everywhere) < tiny.relative(everywhere, plain)


@every_bed
def test_a_compiled_model_hears_what_is_put_on_it_later(
    build: Callable[[], Pair], layout: Layout
) -> None:
    """The host's compile node drops guards on the options; a graph without an adapter exists."""
    pair = build()
    call = make_call()
    compiled = pair.model.clone()
    set_torch_compile_wrapper(compiled, backend="eager")
    closing = {"start_percent": 0.0, "end_percent": 0.5}
    try:
        plain = sample_host(pair, compiled, call, 3.0)
        for settings in ({}, closing):
            model = transformer_cases.patched(pair, layout, Given(), model=compiled, **settings)
            out = sample_host(pair, model, call, 3.0)
            uncompiled = transformer_cases.patched(pair, layout, Given(), **settings)
            assert tiny.relative(out, sample_host(pair, uncompiled, call, 3.0)) < ROUNDING
            assert tiny.relative(out, plain) > EFFECT
        assert tiny.relative(sample_host(pair, compiled, call, 3.0), plain) < ROUNDING
    finally:
        torch.compiler.reset()
