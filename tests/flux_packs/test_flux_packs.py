"""Nodes of other packs for Flux and SD3.5: what they are called and what they do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import comfy.samplers
import folder_paths
import pytest
import torch
from kit.models import tiny, transformer_cases, transformers
from kit.models.transformer_cases import INSTANTX, SD3, XLABS, Given, Layout
from kit.models.transformers import GUIDANCE, Pair, make_call, sample_host
from pack.ip_models.errors import BadInput
from pack.ip_models.references.features import ImageFeatures
from pack.ip_models.weights.gains import Weights
from pack.ip_models.weights.schedule import Ramp
from pack.ip_models.weights.xflux_curves import xflux_curve
from pack.nodes.flux_packs import register, widgets
from pack.nodes.flux_packs.widgets import PackAdapter
from pack.nodes.host.files import folders
from pack.nodes.host.late_guidance import LateGuidance
from pack.nodes.host.model.apply import Settings, apply
from torch import Tensor

import nodes as host

ROUNDING, EFFECT = 2e-6, 0.01
FLUX, INSTANT, SD = "IP_ADAPTER_FLUX", "IP_ADAPTER_FLUX_INSTANTX", "IP_ADAPTER_SD3_INSTANTX"
# Name, its inputs in their order, what comes out, the method and the category.
CONTRACT: dict[str, tuple[str, tuple[str, ...], str, str]] = {
    "LoadFluxIPAdapter": ("ipadatper clip_vision provider", (FLUX,), "loadmodel", "XLabsNodes"),
    "ApplyFluxIPAdapter": (
        "model ip_adapter_flux image ip_scale",
        ("MODEL",),
        "applymodel",
        "XLabsNodes",
    ),
    "ApplyAdvancedFluxIPAdapter": (
        "model ip_adapter_flux image begin_strength end_strength smothing_type",
        ("MODEL",),
        "applymodel",
        "XLabsNodes",
    ),
    "XlabsSampler": (
        "model conditioning neg_conditioning noise_seed steps timestep_to_start_cfg true_gs "
        "image_to_image_strength denoise_strength latent_image controlnet_condition",
        ("LATENT",),
        "sampling",
        "XLabsNodes",
    ),
    "IPAdapterFluxLoader": (
        "ipadapter clip_vision provider",
        (INSTANT,),
        "load_model",
        "InstantXNodes",
    ),
    "IPAdapterFluxLoaderAdvanced": (
        "ipadapter clip_vision provider",
        (INSTANT,),
        "load_model_advanced",
        "InstantXNodes",
    ),
    "ApplyIPAdapterFlux": (
        "model ipadapter_flux image weight start_percent end_percent",
        ("MODEL",),
        "apply_ipadapter_flux",
        "InstantXNodes",
    ),
    "ApplyIPAdapterFluxAdvanced": (
        "model ipadapter_flux image weight_start weight_end steps start_percent end_percent",
        ("MODEL",),
        "apply_ipadapter_flux_advanced",
        "InstantXNodes",
    ),
    "IPAdapterFluxChromaLoader": (
        "ipadapter clip_vision provider",
        (INSTANT,),
        "load_model",
        "InstantXNodes",
    ),
    "IPAdapterFluxChromaLoaderAdvanced": (
        "ipadapter clip_vision provider",
        (INSTANT,),
        "load_model_advanced",
        "InstantXNodes",
    ),
    "ApplyIPAdapterFluxChroma": (
        "model ipadapter_flux image weight start_percent end_percent offload_preprocessing",
        ("MODEL",),
        "apply_ipadapter_flux",
        "InstantXNodes",
    ),
    "ApplyIPAdapterFluxChromaAdvanced": (
        "model ipadapter_flux image weight_start weight_end steps start_percent end_percent "
        "offload_preprocessing",
        ("MODEL",),
        "apply_ipadapter_flux_advanced",
        "InstantXNodes",
    ),
    "IPAdapterSD3Loader": ("ipadapter provider", (SD,), "load_model", "InstantXNodes"),
    "ApplyIPAdapterSD3": (
        "model ipadapter image_embed weight start_percent end_percent",
        ("MODEL",),
        "apply_ipadapter",
        "InstantXNodes",
    ),
}
DEFAULTS = {
    ("ApplyFluxIPAdapter", "ip_scale"): 0.93,
    ("ApplyAdvancedFluxIPAdapter", "begin_strength"): 0.0,
    ("ApplyAdvancedFluxIPAdapter", "end_strength"): 1.0,
    ("ApplyIPAdapterFlux", "weight"): 1.0,
    ("ApplyIPAdapterFluxAdvanced", "weight_start"): 0.0,
    ("ApplyIPAdapterFluxAdvanced", "steps"): 10,
    ("XlabsSampler", "true_gs"): 3,
    ("XlabsSampler", "timestep_to_start_cfg"): 20,
}
IMAGE = torch.rand(2, 8, 8, 3, generator=torch.Generator().manual_seed(1))


@pytest.fixture(autouse=True, scope="module")
def _folders() -> None:  # pyright: ignore[reportUnusedFunction]
    folders.register()


@pytest.mark.parametrize("name", CONTRACT)
def test_a_node_is_called_as_ever(name: str) -> None:
    inputs, outputs, method, category = CONTRACT[name]
    node: Any = register.NODES[name]
    groups = node.INPUT_TYPES()
    found = [*groups["required"], *groups.get("optional", {})]
    assert found == inputs.split()
    assert (outputs, method, category) == (node.RETURN_TYPES, node.FUNCTION, node.CATEGORY)
    assert callable(getattr(node(), method)) and name in register.TITLES
    for (whose, widget), default in DEFAULTS.items():
        if whose == name:
            assert groups["required"][widget][1]["default"] == default


def test_every_node_is_in_the_contract() -> None:
    assert set(register.NODES) == set(CONTRACT)


@pytest.fixture
def table() -> Iterator[dict[str, Any]]:
    """The host's table of nodes as it was, afterwards."""
    kept = dict(host.NODE_CLASS_MAPPINGS)
    for name in CONTRACT:
        host.NODE_CLASS_MAPPINGS.pop(name, None)
    yield host.NODE_CLASS_MAPPINGS
    host.NODE_CLASS_MAPPINGS.clear()
    host.NODE_CLASS_MAPPINGS.update(kept)


def test_only_free_names_are_taken(table: dict[str, Any]) -> None:
    table["ApplyFluxIPAdapter"] = theirs = type("Theirs", (), {})
    register.register("pack")
    assert table["ApplyFluxIPAdapter"] is theirs
    assert table["ApplyIPAdapterFlux"] is register.NODES["ApplyIPAdapterFlux"]


def test_no_name_is_taken_where_old_nodes_are_off(
    table: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IPADAPTER_OLD_NODES", "off")
    register.register("pack")
    assert not set(CONTRACT) & set(table)


def picture(pair: Pair, model: Any, cfg: float = 3.0) -> Tensor:
    return sample_host(pair, model, make_call(), cfg, 4)


def encoded(monkeypatch: pytest.MonkeyPatch, layout: Layout, count: int = 2) -> ImageFeatures:
    """References in place of an encoder, whose own numbers are tested elsewhere."""
    features = transformer_cases.features(layout, Given(references=count, seed=3))
    seen: list[Any] = []

    def encode(encoder: Any, reference: Any) -> ImageFeatures:
        assert encoder == "encoder"
        assert torch.equal(reference.images, IMAGE)
        seen.append(reference)
        return features

    monkeypatch.setattr(widgets, "encode", encode)
    return features


@pytest.mark.parametrize(
    ("name", "layout", "values", "settings"),
    [
        ("ApplyFluxIPAdapter", XLABS, {"ip_scale": 0.6}, Settings(0.6)),
        (
            "ApplyAdvancedFluxIPAdapter",
            XLABS,
            {"begin_strength": 0.2, "end_strength": 0.9, "smothing_type": "Second half"},
            Settings(weights=Weights(blocks=(xflux_curve("Second half", 0.2, 0.9),))),
        ),
        (
            "ApplyIPAdapterFlux",
            INSTANTX,
            {"weight": 0.7, "start_percent": 0.0, "end_percent": 0.6},
            Settings(0.7, 0.0, 0.6),
        ),
        (
            "ApplyIPAdapterFluxAdvanced",
            INSTANTX,
            {"weight_start": 0.1, "weight_end": 0.9, "steps": 3},
            Settings(weights=Weights(steps=(Ramp(values=(0.1, 0.5, 0.9)),))),
        ),
        ("ApplyIPAdapterFluxChroma", INSTANTX, {"offload_preprocessing": False}, Settings()),
    ],
)
def test_apply_gives_the_picture_of_our_own_node(
    name: str,
    layout: Layout,
    values: dict[str, Any],
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    chroma = "Chroma" in name
    pair = transformers.tiny_chroma() if chroma else transformers.tiny_flux()
    adapter = transformer_cases.loaded(pair, layout, 1)
    features = encoded(monkeypatch, layout)
    node: Any = register.NODES[name]()
    socket = "ip_adapter_flux" if layout is XLABS else "ipadapter_flux"
    held = {socket: PackAdapter(adapter, "encoder")}
    (model,) = getattr(node, node.FUNCTION)(model=pair.model, image=IMAGE, **held, **values)
    out = picture(pair, model)
    own = picture(pair, apply(pair.model, adapter, features, settings))
    assert tiny.relative(out, own) < ROUNDING
    assert tiny.relative(out, picture(pair, pair.model)) > EFFECT


def test_sd3_goes_by_noise_levels() -> None:
    pair = transformers.tiny_sd3()
    adapter = transformer_cases.loaded(pair, SD3, 1)
    features = transformer_cases.features(SD3, Given(seed=3))
    embed = SimpleNamespace(penultimate_hidden_states=features.penultimate)
    node: Any = register.NODES["ApplyIPAdapterSD3"]()
    sigmas = transformers.schedule(pair, 4)
    middle = float(1 - (sigmas[1] + sigmas[2]) / 2)

    def run(**values: Any) -> Tensor:
        (model,) = node.apply_ipadapter(pair.model, PackAdapter(adapter), embed, **values)
        return picture(pair, model)

    whole, early = run(weight=0.8), run(weight=0.8, end_percent=middle)
    assert (
        tiny.relative(whole, picture(pair, apply(pair.model, adapter, features, Settings(0.8))))
        < ROUNDING
    )
    levels = Settings(0.8, levels=(1.0, float(sigmas[1])))
    assert (
        tiny.relative(early, picture(pair, apply(pair.model, adapter, features, levels))) < ROUNDING
    )
    assert tiny.relative(early, whole) > EFFECT


def test_an_adapter_of_another_pack_is_refused() -> None:
    node: Any = register.NODES["ApplyFluxIPAdapter"]()
    with pytest.raises(BadInput, match="another pack's loader"):
        node.applymodel(transformers.tiny_flux().model, {"double_blocks": []}, IMAGE)


def test_a_name_is_looked_up_in_the_packs_own_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """InstantID's file and InstantX' have one name."""
    monkeypatch.setattr(folder_paths, "models_dir", str(tmp_path))
    monkeypatch.setattr(folder_paths, "folder_names_and_paths", {})
    for folder in ("ipadapter", "ipadapter-flux"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "ip-adapter.bin").write_bytes(b"x")
    paths = [str(tmp_path / folder) for folder in ("ipadapter", "ipadapter-flux")]
    folder_paths.folder_names_and_paths["ipadapter"] = (paths, {".bin"})
    path_of = register.NODES["IPAdapterFluxLoader"].path_of  # pyright: ignore
    assert path_of("ip-adapter.bin") == str(tmp_path / "ipadapter-flux" / "ip-adapter.bin")
    path_of = register.NODES["IPAdapterSD3Loader"].path_of  # pyright: ignore
    assert path_of("ip-adapter.bin") == str(tmp_path / "ipadapter" / "ip-adapter.bin")


def conditionings(pair: Pair) -> tuple[Any, Any]:
    call = make_call()
    positive, negative = (
        [[half.context, {"pooled_output": half.pooled, "guidance": GUIDANCE}]]
        for half in (call.positive(), call.negative())
    )
    return positive, negative


@pytest.mark.parametrize(("first", "steps"), [(0, 4), (2, 4), (4, 4)])
def test_the_sampler_is_euler_with_guidance_from_a_step_on(first: int, steps: int) -> None:
    pair = transformers.tiny_flux()
    model = transformer_cases.patched(pair, XLABS, Given())
    positive, negative = conditionings(pair)
    latent = {"samples": torch.zeros(1, 16, 16, 12)}
    node: Any = register.NODES["XlabsSampler"]()
    (out,) = node.sampling(model, positive, negative, 7, steps, first, 3.0, 0.0, 1.0, latent)
    sigmas = LateGuidance(3.0, first, steps).sigmas(latent["samples"])
    assert sigmas[0] == 1 and sigmas[-1] == 0 and len(sigmas) == steps + 1

    def expected(until: int, cfg: float, begin: int) -> comfy.samplers.CFGGuider:
        guider = comfy.samplers.CFGGuider(model)
        guider.set_conds(positive, negative)
        guider.set_cfg(cfg)
        return guider

    noise = comfy.sample.prepare_noise(latent["samples"], 7)
    euler = comfy.samplers.sampler_object("euler")
    if first == 0:
        whole = expected(steps, 3.0, 0).sample(noise, latent["samples"], euler, sigmas, seed=7)
    elif first >= steps:
        whole = expected(steps, 1.0, 0).sample(noise, latent["samples"], euler, sigmas, seed=7)
    else:  # two runs of the host, one after the other
        half = expected(first, 1.0, 0).sample(
            noise, latent["samples"], euler, sigmas[: first + 1], seed=7
        )
        whole = expected(steps, 3.0, first).sample(
            torch.zeros_like(noise), half, euler, sigmas[first:], seed=7
        )
    assert tiny.relative(out["samples"], whole) < 1e-5
    (other,) = node.sampling(model, positive, negative, 7, steps, first + 1, 3.0, 0.0, 1.0, latent)
    same = first >= steps
    assert (tiny.relative(other["samples"], out["samples"]) < ROUNDING) is same


def test_the_sampler_leaves_a_picture_alone_as_far_as_its_strength_says() -> None:
    pair = transformers.tiny_flux()
    positive, negative = conditionings(pair)
    latent = {"samples": torch.randn(1, 16, 16, 12)}
    node: Any = register.NODES["XlabsSampler"]()

    def run(strength: float) -> Tensor:
        (out,) = node.sampling(pair.model, positive, negative, 7, 8, 20, 3.0, strength, 1.0, latent)
        return out["samples"]

    near, far = (tiny.relative(run(strength), latent["samples"]) for strength in (0.3, 0.9))
    assert torch.equal(run(0.0), latent["samples"])
    assert 0 < near < far


def test_its_own_control_net_is_refused_with_what_to_connect() -> None:
    pair = transformers.tiny_flux()
    positive, negative = conditionings(pair)
    node: Any = register.NODES["XlabsSampler"]()
    with pytest.raises(BadInput, match="Connect Apply ControlNet"):
        node.sampling(
            pair.model,
            positive,
            negative,
            latent_image={"samples": torch.zeros(1, 16, 8, 8)},
            controlnet_condition=[{}],
        )


def test_the_noise_that_is_left_stays_in_as_in_that_pack() -> None:
    """By its own loop over the host's model: steps of Euler that end before the last level."""
    pair = transformers.tiny_flux()
    positive, negative = conditionings(pair)
    latent = {"samples": torch.zeros(1, 16, 16, 12)}
    node: Any = register.NODES["XlabsSampler"]()
    (out,) = node.sampling(pair.model, positive, negative, 7, 8, 20, 3.0, 0.0, 0.6, latent)
    sigmas = LateGuidance(3.0, 20, 8, 0.6).sigmas(latent["samples"])
    assert len(sigmas) == int(9 * 0.6) and sigmas[-1] > 0
    x = comfy.sample.prepare_noise(latent["samples"], 7)
    call = make_call()
    half = call.positive()
    for now, then in zip(sigmas[:-1], sigmas[1:], strict=True):
        step = transformers.Call(x, float(now), half.context, half.pooled, (0,))
        x = x + (then - now) * transformers.run_host(pair, pair.model, step)
    expected = pair.model.model.latent_format.process_out(x)
    assert tiny.relative(out["samples"], expected) < 1e-5


def test_steps_are_counted_from_where_a_picture_begins() -> None:
    pair = transformers.tiny_flux()
    positive, negative = conditionings(pair)
    latent = {"samples": torch.randn(1, 16, 16, 12)}
    node: Any = register.NODES["XlabsSampler"]()

    def run(first: int) -> Tensor:
        (out,) = node.sampling(pair.model, positive, negative, 7, 10, first, 3.0, 0.5, 1.0, latent)
        return out["samples"]

    # Half of the schedule is run: guidance from the third of its steps on is neither all nor none.
    assert tiny.relative(run(2), run(0)) > 1e-4
    assert tiny.relative(run(2), run(20)) > 1e-4
