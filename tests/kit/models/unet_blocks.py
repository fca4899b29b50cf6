"""The blocks of UNets with cross-attention, written down by hand from the published models."""

from __future__ import annotations

# Blocks in the order in which they run, which is that of `transformer_index`, with their layers.
SD1 = [
    *(("input", number, 1) for number in (1, 2, 4, 5, 7, 8)),
    ("middle", 0, 1),
    *(("output", number, 1) for number in (3, 4, 5, 6, 7, 8, 9, 10, 11)),
]
SDXL = [
    ("input", 4, 2),
    ("input", 5, 2),
    ("input", 7, 10),
    ("input", 8, 10),
    ("middle", 0, 10),
    ("output", 0, 10),
    ("output", 1, 10),
    ("output", 2, 10),
    ("output", 3, 2),
    ("output", 4, 2),
    ("output", 5, 2),
]
TABLES = {"SD1.5": SD1, "SDXL": SDXL}
