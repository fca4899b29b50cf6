"""Which pilots there are to fly, and the flight of one."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from company.behaviours import rows, slots  # noqa: F401 - enters its pilots
from company.checkout import Checkout, NotImported
from company.meeting import meet
from company.pilot import PILOTS, Pilot
from company.pilots import (  # noqa: F401 - enters its pilots
    attention,
    caches,
    callers,
    models,
    regions,
    samplers,
    tiles,
)
from company.scene import Scene


def chosen(packs: Path | None, only: str = "") -> list[Pilot]:
    """The pilots of the packs in a folder, or those that need none."""
    return [
        pilot
        for pilot in PILOTS
        if bool(pilot.folder) is (packs is not None)
        and only.lower() in pilot.name.lower()
        and (packs is None or (packs / pilot.folder).is_dir())
    ]


def fly(packs: Path | None, name: str) -> list[dict[str, Any]]:
    """What comes of one pilot: outcomes, or why its pack cannot be used."""
    (pilot,) = (pilot for pilot in PILOTS if pilot.name == name)
    folder = (packs or Path()) / pilot.folder  # no pack at all is this folder
    if not folder.is_dir():
        return [{"words": "is not in the folder"}]
    scene = Scene(pilot.family, pilot.size)
    try:
        company = pilot.fly(Checkout(folder), scene)
        return [asdict(outcome) for outcome in meet(scene, company)]
    except NotImported as error:
        return [{"words": f"cannot be imported: {error}"}]
