"""The adapter in company: every mode of sampling and every patch people use beside it.

The host's own nodes make the company. The oracle is a MODEL of independent attention patches that
goes through the same nodes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from itertools import permutations
from typing import Any

import comfy.sd
import comfy.utils
import pytest
import torch
from comfy_extras.nodes_freelunch import FreeU_V2
from comfy_extras.nodes_hypertile import HyperTile
from comfy_extras.nodes_model_advanced import ModelSamplingContinuousEDM, ModelSamplingDiscrete
from comfy_extras.nodes_model_merging import ModelMergeSimple
from comfy_extras.nodes_pag import PerturbedAttentionGuidance
from kit.models import companions, tiny
from kit.models.companions import Reference
from kit.models.tiny import Twins
from pack.nodes.host.model.adapter import LoadedAdapter
from pack.nodes.host.model.apply import Settings, apply
from torch import Tensor

import nodes

ROUNDING, AUDIBLE, EFFECT = 1e-5, 1e-3, 0.01
Patch = Callable[[Any], Any]
Conditioning = list[list[Any]]
KINDS = ("standard", "plus", "full face")
PICTURES = {kind: tiny.random_features(i + 1, seed=20 + i) for i, kind in enumerate(KINDS)}


@cache
def twin() -> Twins:
    return tiny.twins("sd1")


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> dict[str, LoadedAdapter]:
    folder = tmp_path_factory.mktemp("adapters")
    return {
        kind: tiny.load_tensors(folder, tiny.adapter_tensors(twin(), kind, seed=i), kind)
        for i, kind in enumerate(KINDS)
    }


@pytest.fixture(scope="module")
def reference(adapters: dict[str, LoadedAdapter]) -> Reference:
    return Reference(adapters["plus"], PICTURES["plus"])


def applied(model: Any, *references: Reference, **settings: Any) -> Any:
    for one in references:
        model = apply(model, one.adapter, one.features, Settings(scale=one.scale, **settings))
    return model


# How a picture is made


@dataclass(frozen=True)
class Run:
    """One run of the host's KSampler."""

    positive: Conditioning
    negative: Conditioning
    latent: dict[str, Tensor]
    steps: int = 3
    cfg: float = 4.0
    sampler: str = "euler"
    scheduler: str = "normal"
    denoise: float = 1.0

    def __call__(self, model: Any) -> Tensor:
        torch.manual_seed(0)
        (out,) = nodes.common_ksampler(
            model,
            1,
            self.steps,
            self.cfg,
            self.sampler,
            self.scheduler,
            self.positive,
            self.negative,
            self.latent,
            denoise=self.denoise,
        )
        return out["samples"]


def randn(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


YES, NO = [[randn(1, 8, 768, seed=41), {}]], [[randn(1, 8, 768, seed=42), {}]]
PHOTO = {"samples": randn(1, 4, 16, 16, seed=43)}
PIXELS = randn(1, 128, 128, 3, seed=44).sigmoid()
MASK = torch.zeros(1, 128, 128)
MASK[:, 32:, :80] = 1


def text_to_image(height: int = 16, width: int = 16, **options: Any) -> Run:
    return Run(YES, NO, {"samples": torch.zeros(1, 4, height, width)}, **options)


def image_to_image(masked: bool) -> Run:
    latent = nodes.SetLatentNoiseMask().set_mask(PHOTO, MASK)[0] if masked else PHOTO
    return Run(YES, NO, latent, steps=4, denoise=0.6)


def inpaint(pixels: Tensor, keep: bool) -> Run:
    node = nodes.InpaintModelConditioning()
    return Run(*node.encode(YES, NO, pixels, companions.Vae(), MASK, noise_mask=keep))


def controlled(*nets: Any) -> Run:
    positive, negative = YES, NO
    for net in nets:
        positive, negative = nodes.ControlNetApplyAdvanced().apply_controlnet(
            positive, negative, net, PIXELS, 0.8, 0.0, 0.7
        )
    return Run(positive, negative, {"samples": torch.zeros(1, 4, 16, 16)})


@cache
def control_net() -> Any:
    return companions.control_net(twin().model)


@cache
def t2i_adapter() -> Any:
    return companions.t2i_adapter()


# What is put on a MODEL


def with_lora(model: Any, seed: int = 5) -> Any:
    tensors = companions.lora(twin().model, seed)
    patched, _ = comfy.sd.load_lora_for_models(model, None, tensors, 0.8, 0.0)
    assert len(patched.patches) == len(tensors) // 3
    return patched


def lcm(model: Any) -> Any:
    return ModelSamplingDiscrete().patch(with_lora(model), "lcm", False)[0]


@cache
def relative_of() -> Any:
    return companions.relative_of(twin().model)


@cache
def inpaint_model() -> Any:
    return companions.rebuilt(twin().model, channels=9)


def merge(model: Any) -> Any:
    return ModelMergeSimple().merge(model, relative_of(), 0.6)[0]


def free_u(model: Any) -> Any:
    return FreeU_V2.execute(model, 1.3, 1.4, 0.9, 0.2).result[0]


def hyper_tile(model: Any) -> Any:
    out = HyperTile.execute(model, 256, 2, 0, False)
    return getattr(out, "result", out)[0]


def pag(model: Any) -> Any:
    return PerturbedAttentionGuidance.execute(model, 6.0).result[0]


def everything(model: Any) -> Any:
    return pag(hyper_tile(free_u(with_lora(model))))


PATCHES: dict[str, tuple[Patch, Run]] = {
    "LoRA": (with_lora, text_to_image()),
    "two LoRAs": (lambda model: with_lora(with_lora(model), 9), text_to_image()),
    "LCM": (
        lcm,
        text_to_image(steps=4, cfg=1.0, sampler="lcm", scheduler="sgm_uniform"),
    ),
    "merge": (merge, text_to_image()),
    "FreeU": (free_u, text_to_image()),
    "HyperTile": (hyper_tile, text_to_image(64, 32, steps=2)),
    "PAG": (pag, text_to_image()),
    "everything": (everything, text_to_image(64, 32, steps=2)),
}


@dataclass(frozen=True)
class Company:
    """A feature: how a picture is made with it and without it.

    Attributes:
        patch: what it puts on the MODEL.
        without: the run that lacks it, if it is no patch.
        model: the MODEL it is about.
    """

    run: Run
    without: Run
    patch: Patch = field(default=lambda model: model)
    model: Callable[[], Any] = field(default=lambda: twin().model)


COMPANY: dict[str, Callable[[], Company]] = {
    "text to image": lambda: Company(text_to_image(), text_to_image(cfg=1.0)),
    "image to image": lambda: Company(image_to_image(masked=False), text_to_image(steps=4)),
    "noise mask": lambda: Company(image_to_image(masked=True), image_to_image(masked=False)),
    "inpaint model": lambda: Company(
        inpaint(PIXELS, keep=False), inpaint(1 - PIXELS, keep=False), model=inpaint_model
    ),
    "inpaint model and noise mask": lambda: Company(
        inpaint(PIXELS, keep=True), inpaint(PIXELS, keep=False), model=inpaint_model
    ),
    "ControlNet": lambda: Company(controlled(control_net()), text_to_image()),
    "T2I-Adapter": lambda: Company(controlled(t2i_adapter()), text_to_image()),
    "ControlNet and T2I-Adapter": lambda: Company(
        controlled(control_net(), t2i_adapter()), controlled(control_net())
    ),
} | {
    name: (lambda patch=patch, run=run: Company(run, run, patch))
    for name, (patch, run) in PATCHES.items()
}


@pytest.mark.parametrize("name", COMPANY)
def test_adapter_and_company_are_both_heard_as_the_oracle_says(
    reference: Reference, name: str
) -> None:
    company = COMPANY[name]()
    model, patch, run = company.model(), company.patch, company.run
    untouched = text_to_image(steps=1)(model)
    mine = applied(model, reference)
    together, alone = run(patch(mine)), run(patch(model))
    assert torch.isfinite(together).all()
    assert tiny.relative(together, alone) > EFFECT
    assert tiny.relative(together, company.without(mine)) > AUDIBLE
    assert tiny.relative(together, run(patch(companions.oracle(model, reference)))) < ROUNDING
    off = apply(model, reference.adapter, reference.features, Settings(scale=0.0))
    assert torch.equal(run(patch(off)), alone)
    assert torch.equal(run(patch(mine)), together)
    assert torch.equal(text_to_image(steps=1)(model), untouched)


@pytest.mark.parametrize("name", PATCHES)
def test_it_does_not_matter_who_comes_first(reference: Reference, name: str) -> None:
    patch, run = PATCHES[name]
    model = twin().model
    assert torch.equal(run(patch(applied(model, reference))), run(applied(patch(model), reference)))


def test_what_a_noise_mask_keeps_is_kept(reference: Reference) -> None:
    picture = image_to_image(masked=True)(applied(twin().model, reference))
    kept = torch.nn.functional.max_pool2d(MASK[None], 8)[0, 0] == 0
    assert 0.2 < float(kept.float().mean()) < 0.8
    photo = PHOTO["samples"]
    assert tiny.relative(picture[..., kept], photo[..., kept]) < ROUNDING
    assert tiny.relative(picture[..., ~kept], photo[..., ~kept]) > EFFECT


def test_a_merge_keeps_the_adapters_of_its_first_model(reference: Reference) -> None:
    first, second, run = twin().model, relative_of(), text_to_image()
    (plain,) = ModelMergeSimple().merge(first, second, 0.6)
    (adapted,) = ModelMergeSimple().merge(first, applied(second, reference), 0.6)
    assert torch.equal(run(adapted), run(plain))


def test_a_control_net_has_an_attention_of_its_own(reference: Reference) -> None:
    """It sees the same text but no references, though it is a UNet too."""
    net, seen = control_net(), []
    run = controlled(net)
    handle = net.control_model.register_forward_hook(
        lambda module, args, output: seen.append([part.clone() for part in output["output"]])
    )
    try:
        once = Run(run.positive, run.negative, run.latent, steps=1)
        once(twin().model)
        once(applied(twin().model, reference))
    finally:
        handle.remove()
    plain, adapted = seen
    assert all(torch.equal(one, other) for one, other in zip(plain, adapted, strict=True))


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("patch", [lambda model: model, everything], ids=["alone", "in company"])
def test_adapters_of_several_kinds(
    adapters: dict[str, LoadedAdapter], count: int, patch: Patch
) -> None:
    scales = (0.9, 0.6, 0.4)[:count]
    references = [
        Reference(adapters[kind], PICTURES[kind], scale)
        for kind, scale in zip(KINDS, scales, strict=False)
    ]
    model, run = twin().model, text_to_image(steps=2)
    untouched = run(model)
    together = run(patch(applied(model, *references)))
    assert tiny.relative(together, run(patch(companions.oracle(model, *references)))) < ROUNDING
    for i in range(count):
        others = references[:i] + references[i + 1 :]
        assert tiny.relative(together, run(patch(applied(model, *others)))) > EFFECT
    for order in list(permutations(references))[1::2]:
        assert tiny.relative(run(patch(applied(model, *order))), together) < ROUNDING
    assert torch.equal(run(model), untouched)


# Start and end belong to the noise schedule that is used, not to the one there was


SCHEDULES: dict[str, tuple[Patch, Run]] = {
    "lcm": (
        lambda model: ModelSamplingDiscrete().patch(model, "lcm", False)[0],
        text_to_image(steps=6, cfg=1.5, sampler="lcm", scheduler="sgm_uniform"),
    ),
    "zsnr": (
        lambda model: ModelSamplingDiscrete().patch(model, "v_prediction", True)[0],
        text_to_image(steps=6, cfg=2.0),
    ),
    "EDM": (
        lambda model: ModelSamplingContinuousEDM().patch(model, "edm", 80.0, 0.01)[0],
        text_to_image(steps=6, scheduler="karras"),
    ),
}
WINDOW = (0.15, 0.62)


def within(model: Any) -> Callable[[float], bool]:
    """Whether a noise level lies in the window, by the MODEL's own schedule."""
    to_sigma = model.get_model_object("model_sampling").percent_to_sigma
    start, end = (float(to_sigma(percent)) for percent in WINDOW)
    return lambda sigma: end <= sigma <= start


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_noise_schedule_set_later_moves_the_window_along(reference: Reference, name: str) -> None:
    schedule, run = SCHEDULES[name]
    model = twin().model
    window = {"start_percent": WINDOW[0], "end_percent": WINDOW[1]}
    after = run(schedule(applied(model, reference, **window)))
    assert torch.equal(after, run(applied(schedule(model), reference, **window)))
    asked: list[float] = []
    inside = within(schedule(model))

    def ask(sigma: float) -> bool:
        asked.append(sigma)
        return inside(sigma)

    expected = run(schedule(companions.oracle(model, reference, active=ask)))
    assert tiny.relative(after, expected) < ROUNDING
    assert {inside(sigma) for sigma in asked} == {True, False}
    assert tiny.relative(after, run(schedule(applied(model, reference)))) > EFFECT
    assert tiny.relative(after, run(schedule(model))) > EFFECT
    if name != "lcm":  # whose schedule is the usual one, only coarser
        stale = within(model)
        assert any(stale(sigma) != inside(sigma) for sigma in asked)
