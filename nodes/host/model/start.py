"""What to get first, for whoever has no adapter or no image encoder yet."""

from __future__ import annotations

import os

from ....ip_models.adapter.published import ADAPTER_ADDRESSES, ENCODER_ADDRESSES, Choice
from ....ip_models.adapter.spec import Family
from ....ip_models.errors import MissingModel
from ..files import folders

FAMILIES = (Family.SD1, Family.SDXL)
ENCODER = "ViT-H"  # of the standard adapters of both


def first_files() -> list[str]:
    """The files to begin with that are not there, a line each: what for, address, folder, name.

    Whoever has an adapter is told by it which encoder it needs.
    """
    lines: list[str] = []
    if not folders.files(folders.ADAPTERS):
        for family in FAMILIES:
            address = ADAPTER_ADDRESSES[family, Choice.STANDARD]
            lines.append(f"for {family.value}: put {address} into models/{folders.ADAPTERS}")
    if not folders.files(folders.ENCODERS) and not folders.model_folders(folders.ENCODERS):
        name, address = ENCODER_ADDRESSES[ENCODER]
        lines.append(f"for both: put {address} into models/{folders.ENCODERS} as {name}")
    return lines


def nothing_there(folder: str) -> MissingModel:
    """What to say of an empty folder of adapters or of image encoders."""
    if folder == folders.ADAPTERS:
        addresses = [ADAPTER_ADDRESSES[family, Choice.STANDARD] for family in FAMILIES]
        families = [family.value for family in FAMILIES]
        action = (
            f"Put {addresses[0]} into models/{folder} for {families[0]}, or "
            f"{os.path.basename(addresses[1])} of the same page for {families[1]}, and press R"
        )
        return MissingModel(f"there is no adapter in models/{folder} yet", "one is needed", action)
    name, address = ENCODER_ADDRESSES[ENCODER]
    action = f"Put {address} into models/{folder} as {name}, and press R"
    return MissingModel(
        f"there is no image encoder in models/{folder} yet",
        f"{ENCODER} is needed by most adapters",
        action,
    )
