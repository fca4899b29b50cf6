"""The key and value maps an adapter has for one attention layer, in the module tree of its file."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .resampler import Modulation

FLUX_HEAD = 128
"""Width of a head of Flux and Chroma, which their adapters' files do not tell."""

_FLUX_EPS, _SD3_EPS = 1e-5, 1e-6


class LayerMaps(nn.Module):
    """The decoupled cross-attention's own key and value map of one layer.

    Args:
        bias: as XLabs' adapters have it.
        head: width of the heads whose keys are normed, 0 for keys as they are.
    """

    def __init__(
        self,
        context: int,
        width: int,
        operations: Any,
        bias: bool = False,
        head: int = 0,
        **where: Any,
    ) -> None:
        super().__init__()
        self.to_k_ip = operations.Linear(context, width, bias=bias, **where)
        self.to_v_ip = operations.Linear(context, width, bias=bias, **where)
        self._head = head

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """(n, tokens, context) -> key and value, both (n, tokens, width)."""
        key = self.to_k_ip(tokens)
        return _normed(key, self._head, _FLUX_EPS) if self._head else key, self.to_v_ip(tokens)


class _Weight(nn.Module):
    """The weight of a norm, (width,)."""

    def __init__(self, width: int, **where: Any) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, **where))


class _Linear(nn.Module):
    """A linear layer one level further down, as the file has it."""

    def __init__(self, inputs: int, outputs: int, operations: Any, **where: Any) -> None:
        super().__init__()
        self.linear = operations.Linear(inputs, outputs, **where)


class TimedMaps(nn.Module):
    """Those of a joint block of SD3.5, with norms of its own and tokens that the time modulates.

    Arithmetic of diffusers 0.42, `SD3IPAdapterJointAttnProcessor2_0` (Apache-2.0).

    Args:
        time: width of the embedding of a timestep.
        head: width of a head.
    """

    def __init__(
        self, context: int, width: int, time: int, head: int, operations: Any, **where: Any
    ) -> None:
        super().__init__()
        self.norm_ip = _Linear(time, 2 * context, operations, **where)
        self.to_k_ip = operations.Linear(context, width, bias=False, **where)
        self.to_v_ip = operations.Linear(context, width, bias=False, **where)
        self.norm_q = _Weight(head, **where)
        self.norm_k = _Weight(head, **where)
        self.norm_ip_k = _Weight(head, **where)

    def forward(self, tokens: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
        """(n, tokens, context), (n, time) -> key and value, both (n, tokens, width)."""
        plain = nn.functional.layer_norm(tokens, tokens.shape[-1:], eps=_SD3_EPS)
        modulation = self.norm_ip.linear(nn.functional.silu(time))
        rows = Modulation(*modulation.chunk(2, dim=1)).of(plain)
        weight = self.norm_ip_k.weight.to(rows)
        key = _normed(self.to_k_ip(rows), len(weight), _SD3_EPS, weight)
        return key, self.to_v_ip(rows)


def _normed(key: Tensor, head: int, eps: float, weight: Tensor | None = None) -> Tensor:
    """Each head divided by its root mean square, (n, tokens, width)."""
    heads = key.unflatten(-1, (-1, head))
    return nn.functional.rms_norm(heads, (head,), weight, eps).flatten(-2)
