"""References for one conditioning only: it and they carry the same mark."""

from __future__ import annotations

from typing import cast
from uuid import uuid4

import node_helpers

from ....ip_models.errors import BadInput
from ....ip_models.inputs import require
from ....ip_models.references.digest import digest, tensors_of
from ....ip_models.references.features import Features, Regions
from ..protocols import Conditioning, NodesById
from .call.conditions import BINDINGS


def binding_of(hidden: object, adapter_name: str, embeds: Features | Regions) -> str:
    """What a Bind node marks its conditionings with.

    It says what the node is and what it was given, so that a conditioning that was saved, copied or
    made in another session means the same references, and no others.

    Args:
        hidden: what the host tells a node of itself, None where another node calls it.
    """
    node_id = getattr(hidden, "unique_id", None)
    if node_id is None:  # called by another node, perhaps twice for the same references
        return uuid4().hex
    return f"{node_id} {adapter_name} {digest(*tensors_of(embeds)).hex()}"


def mark(conditioning: object, binding: str, name: str = "conditioning") -> Conditioning:
    """A new CONDITIONING whose prompts get the image prompts applied with this binding.

    Raises:
        BadInput: it is no CONDITIONING.
    """
    require(name, conditioning, list, "CLIP Text Encode")
    return [
        part
        for one in cast("Conditioning", conditioning)
        for part in node_helpers.conditioning_set_values(
            [one], {BINDINGS: (*one[1].get(BINDINGS, ()), binding)}
        )
    ]


def require_unused(hidden: object, output: int) -> None:
    """Refuse that an output is used whose input is not connected.

    Args:
        hidden: what the host tells a node of itself and of all nodes of the prompt by id; None
            where another node calls it.

    Raises:
        BadInput: another node is linked to it.
    """
    prompt: NodesById = getattr(hidden, "prompt", None) or {}
    node_id = getattr(hidden, "unique_id", None)
    for node in prompt.values():
        for name, value in node.get("inputs", {}).items():
            if isinstance(value, list) and [str(part) for part in value] == [
                str(node_id),
                str(output),
            ]:
                raise BadInput(
                    f"{name} of {node.get('class_type')} is linked to the negative output of Bind "
                    "IP-Adapter to Conditioning, whose negative input is empty",
                    "a negative prompt is needed there",
                    "Connect the negative prompt to Bind, or straight to that node",
                )
