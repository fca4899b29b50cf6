"""A result in a few numbers by which another one can be told to be near it.

The numbers are sums of the output times random normal values, 24 of them. A difference of length d
between two outputs makes differences between their numbers whose squares add up to d * d on
average, and the sum is hardly ever far from that: less than a ninth of it once in some ten million
times. So numbers that are within a limit stand for outputs that are within three times the limit at
the very worst, and most likely within it. The seed is fixed: nobody can choose the values so that
they fit.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
from plus.comparison.run import Result
from plus.pixel_cases import sample
from torch import Tensor

RECORDED = Path(__file__).parents[1] / "recorded" / "apply.json"
SUMS = 24
DIGITS = 9


def of(result: Result, effect: float) -> dict[str, Any]:
    """What is kept of a result.

    Args:
        effect: how far it is from that without an adapter.
    """
    assert result.output.isfinite().all()
    return {
        "norm": _rounded(float(result.output.double().norm())),
        "effect": float(f"{effect:.3g}"),
        "sums": [_rounded(float(one)) for one in sums(result.output)],
        "length": result.length,
        "others": [None if one is None else sample(one) for one in result.others],
    }


def distance(output: Tensor, kept: dict[str, Any]) -> float:
    """About the relative L2 distance from what was kept."""
    difference = sums(output) - torch.tensor(kept["sums"], dtype=torch.float64)
    return float(difference.norm()) / kept["norm"]


def sums(output: Tensor) -> Tensor:
    """The numbers of an output."""
    flat = output.detach().cpu().double().flatten()
    return _values(len(flat)) @ flat


@cache
def _values(length: int) -> Tensor:
    generator = torch.Generator().manual_seed(length)
    made = torch.randn(SUMS, length, generator=generator, dtype=torch.float64)
    return made / SUMS**0.5


def _rounded(number: float) -> float:
    return float(f"{number:.{DIGITS - 1}e}")
