"""The blocks of diffusion transformers as users write them, and the families to draw."""

from __future__ import annotations

from ..weights.vocabulary import Outline, Stage, Vocabulary
from .layers import DOUBLE, JOINT, SINGLE, layers_of_counts

FLUX = Vocabulary(
    stages=(Stage(DOUBLE), Stage(SINGLE)),
    scale='{"double": 1.0, "single": 0.5}',
    block='{"double": 1.0}',
    by_stage={
        "weak double": {DOUBLE: 0.2, SINGLE: 1.0},
        "weak single": {DOUBLE: 1.0, SINGLE: 0.2},
    },
    by_number={},
    # XLabs' adapters have no layers for the single blocks, and weights count without these.
    outlines=tuple(
        Outline(name, 1024, layers_of_counts(counts, 3072))
        for name, counts in (
            ("Flux", ((DOUBLE, 19), (SINGLE, 38))),
            ("Flux, XLabs", ((DOUBLE, 19),)),
        )
    ),
)
SD3 = Vocabulary(
    stages=(Stage(JOINT),),
    scale='{"joint": 1.0}',
    block='{"joint": 1.0}',
    by_stage={},
    by_number={},
    outlines=(Outline("SD3.5 Large", 1024, layers_of_counts(((JOINT, 38),), 2432)),),
)
"""What weights, masks and the editor know of them."""
