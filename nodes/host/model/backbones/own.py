"""What belongs to one MODEL, though its network is shared with other branches of the workflow.

Clones share one network. While a MODEL is loaded the host keeps its objects and weights in it, and
what they replaced it keeps beside; with the next MODEL it puts all of that back.
"""

from __future__ import annotations

import comfy.lora
import torch
from torch import Tensor

from ...protocols import Model


def own_object(model: Model, path: str) -> object | None:
    """What is at a path of the network while this MODEL runs, None for what cannot be seen."""
    found: object = model.model
    place = ""
    for name in path.split("."):
        place = f"{place}.{name}" if place else name
        for table in (model.object_patches, model.object_patches_backup):
            if place in table:
                found = table[place]
                break
        else:
            found = getattr(found, name, None)
        if found is None:
            return None
    return found


def own_weight(model: Model, path: str, present: Tensor) -> Tensor:
    """A weight as it is while this MODEL runs.

    Args:
        present: what is at the path now, with the patches of whichever MODEL is loaded.
    """
    kept = model.backup.get(path)
    weight = present if kept is None else kept.weight
    patches = model.patches.get(path)
    if not patches:
        return weight
    return comfy.lora.calculate_weight(patches, weight.to(torch.float32, copy=True), path)
