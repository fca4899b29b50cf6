"""The originals' classes under the names that ours have, and what makes them run as they should."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import comfy.cli_args
import torch
from insightface.utils import face_align
from kit.plus_original import original_module, original_nodes, version_1
from plus.comparison import rig
from plus.contract import VERSION_1


def classes() -> dict[str, Any]:
    """All 37 + 8; a test without the checkouts is left out."""
    old = version_1().NODE_CLASS_MAPPINGS
    return {**original_nodes(), **{ours: old[theirs] for theirs, ours in VERSION_1.items()}}


@contextmanager
def single_precision() -> Iterator[None]:
    """They project in the precision that they guess for a UNet, not in that of the MODEL."""
    for family in ("sd1", "sdxl", "kolors"):  # these draw their weights, so before the change below
        rig.twin(family), rig.encoder(family)
    with ExitStack() as changed:
        changed.enter_context(patch.object(comfy.cli_args.args, "fp32_unet", True))
        changed.enter_context(_small_kolors())
        # Its loader of face models does so; the cases bring faces of their own.
        changed.enter_context(patch.object(version_1(), "insightface_face_align", face_align))
        # Their weights come out of the adapter; to draw others before takes most of the time.
        changed.enter_context(patch.object(torch.nn.Linear, "reset_parameters", _nothing))
        yield


def _nothing(_: torch.nn.Linear) -> None: ...


@contextmanager
def _small_kolors() -> Iterator[None]:
    """The resampler of Kolors FaceID with one narrow layer: the published one has 800 million
    weights, all of whose numbers but the outer width are in the original's code."""
    module = original_module("image_proj_models")
    real = module.FacePerceiverResampler

    def small(**widths: Any) -> Any:
        if widths["dim"] == 4096:
            widths |= {"depth": 1, "heads": 1, "ff_mult": 1}
        return real(**widths)

    with patch.object(module, "FacePerceiverResampler", small):
        yield
