"""How old nodes make their picture: as they always did, or better.

What differs are options of the core. A profile is chosen for each node by its version, and for all
of them by a setting.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from ....ip_models.adapter.spec import AdapterSpec, Family, Identity, Kind
from ....ip_models.attention.masks import MaskRule
from ....ip_models.faces.detect import SIZES
from ....ip_models.pictures.fit import Fit
from ...host.encoder.encode import Unconditional
from ...host.settings import old_nodes


class Version(Enum):
    """Which ComfyUI_IPAdapter_plus a node is of."""

    ONE = 1
    TWO = 2


@dataclass(frozen=True)
class Profile:
    """How references are prepared and where they are heard.

    Attributes:
        middle: whether the middle block hears them.
        fit: how pictures become the encoder's squares.
        unconditional: what plus adapters hear without a reference.
        mask_rule: how a mask gets to the grid of a layer.
        crops: side of the cut out face for each family, others 224.
        sizes: of the face detector's input, tried one after the other.
        raw: kinds of adapters that read identities as they are, not normalised.
    """

    middle: bool
    fit: Fit
    unconditional: Unconditional
    mask_rule: MaskRule
    crops: tuple[tuple[Family, int], ...]
    sizes: tuple[int, ...]
    raw: tuple[Identity, ...] = ()

    def crop_side(self, family: Family) -> int:
        """Side in pixels of the square that is cut out around a face."""
        return dict(self.crops).get(family, 224)

    def reads_raw(self, spec: AdapterSpec) -> bool:
        """Whether an adapter gets the identity as it is, not normalised."""
        return spec.kind is Kind.PORTRAIT_UNNORMED or spec.identity in self.raw


_AS_SHIPPED = Profile(
    middle=False,
    fit=Fit.COMFYUI,
    unconditional=Unconditional.BLACK_IMAGE,
    mask_rule=MaskRule.BILINEAR,
    crops=((Family.SDXL, 256), (Family.KOLORS, 336)),
    sizes=tuple(range(640, 256, -64)),
)
_VERSION_1 = Profile(
    middle=True,
    fit=Fit.COMFYUI,
    unconditional=Unconditional.BLACK_IMAGE,
    mask_rule=MaskRule.BICUBIC,
    crops=tuple((family, 256) for family in Family),
    sizes=tuple(range(640, 128, -64)),
)
CORRECTED = Profile(
    middle=True,
    fit=Fit.CROP_CENTRE,
    unconditional=Unconditional.ZERO_PIXELS,
    mask_rule=MaskRule.AREA,
    crops=((Family.KOLORS, 336),),
    sizes=SIZES,
    raw=(Identity.RAW,),
)
_SHIPPED = {Version.ONE: _VERSION_1, Version.TWO: _AS_SHIPPED}


def profile_of(version: Version) -> Profile:
    """The profile of a node, as the setting has it now."""
    return CORRECTED if old_nodes() == "corrected" else _SHIPPED[version]
