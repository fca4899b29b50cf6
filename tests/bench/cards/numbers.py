"""Whether a device gives diffusers' numbers: what the parity tests ask on a processor."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import comfy.model_management
import comfy.model_patcher
import comfy.samplers
import torch
from bench.report import Check
from kit.models import tiny
from kit.models.tiny import Twins
from pack.ip_models.references.features import ImageFeatures
from pack.nodes.host.model.apply import Settings, apply
from torch import Tensor

HEADER = ("six steps, a narrow UNet", "unpatched off", "with two references", "their effect")
LEGEND = (
    "off: relative distance from the same steps on the processor in single precision; with "
    "references:\nfrom diffusers there, at most twice as far as the unpatched"
)
_ROUNDING = 5e-6
_STEPS, _GUIDANCE, _SCALE = 6, 5.0, 0.8


@dataclass(frozen=True)
class Numbers:
    """Relative distances.

    Attributes:
        plain: of the unpatched MODEL from itself on the processor in single precision.
        patched: of the MODEL with references from diffusers.
        effect: of the references.
    """

    plain: float
    patched: float
    effect: float

    def row(self, name: str) -> list[str]:
        """Cells under `HEADER`."""
        return [name, *(f"{number:.1e}" for number in (self.plain, self.patched, self.effect))]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def checks(self, name: str) -> list[Check]:
        """The adapter loses no more than the model itself."""
        most = 2 * self.plain + _ROUNDING
        return [Check(f"{name}: distance from diffusers", self.patched, most)]


def numbers(family: str, dtype: torch.dtype, folder: Path) -> Numbers:
    """On ComfyUI's device, against diffusers in single precision on the processor."""
    device = comfy.model_management.get_torch_device()
    twin, reference, alone = _exact(family, folder)
    base = tiny.twins(family, dtype).model.model
    model = comfy.model_patcher.ModelPatcher(base, device, torch.device("cpu"))
    sampling = twin.model.get_model_object("model_sampling")
    sigmas = comfy.samplers.calculate_sigmas(sampling, "normal", _STEPS)
    call = tiny.make_call(twin)

    def sampled(one: Any) -> Tensor:
        noise = call.x[:1].float()
        return tiny.sample_comfy(twin, one, call, noise, sigmas, _GUIDANCE).cpu()

    with torch.inference_mode():
        plain, patched = sampled(model), sampled(_patched(twin, model, folder))
    return Numbers(
        plain=tiny.relative(plain, alone),
        patched=tiny.relative(patched, reference),
        effect=tiny.relative(reference, alone),
    )


@cache
@torch.inference_mode()
def _exact(family: str, folder: Path) -> tuple[Twins, Tensor, Tensor]:
    """Both UNets, and their pictures: with references by diffusers, without by the host."""
    twin = tiny.twins(family)
    results = tiny.sample_both(
        twin,
        _patched(twin, twin.model, folder),
        tiny.make_call(twin),
        tiny.adapter_tensors(twin, "plus"),
        _features(),
        (0.0, 1.0),
        _SCALE,
        _GUIDANCE,
    )
    return twin, results[1], results[2]


def _patched(twin: Twins, model: Any, folder: Path) -> Any:
    tensors = tiny.adapter_tensors(twin, "plus")
    adapter = tiny.load_tensors(folder, tensors, f"numbers-{twin.family}")
    return apply(model, adapter, _features(), Settings(_SCALE))


def _features() -> ImageFeatures:
    return tiny.random_features(2)
