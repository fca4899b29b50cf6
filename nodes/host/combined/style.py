"""On which models style and layout are known to have blocks of their own."""

from __future__ import annotations

from ....ip_models.adapter.published import RULES, base_name
from ....ip_models.adapter.spec import FACE_KINDS, Kind
from ....ip_models.errors import BadInput
from ..model.backbones.layers import attention_layers
from ..model.search import shape_of
from ..protocols import Model

# Those that read pictures and are for UNets.
_OTHERS = (*FACE_KINDS, Kind.XLABS, Kind.INSTANTX)
KINDS = tuple(choice for choice, rule in RULES.items() if rule.kind not in _OTHERS)


def require_known_blocks(model: Model) -> None:
    """Refuse a transformer, before files are looked for that were never published.

    Raises:
        BadInput: it is one.
    """
    layers = attention_layers(model)
    if not layers[0].context:
        raise BadInput(
            f"this MODEL is {base_name(shape_of(layers))}",
            "SD1.5, SD2, SDXL or Kolors is needed, whose blocks for style and layout are known",
            "Use IPAdapter Simple",
        )
