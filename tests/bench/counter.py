"""What a piece of work makes the device do, counted at PyTorch's dispatcher or by its profiler.

What counts as a kernel on the CPU: every operator below the composite ones that writes memory, that
is, one that changes an argument or returns memory none of its arguments had. Views and other
changes of shape only, allocations that write nothing (`empty`) and questions about a tensor are no
kernels. A fused attention is one. What reads a value back to the host is a synchronisation.
On CUDA kernels, copies and fills are counted by the profiler and synchronisations by PyTorch's own
synchronisation warnings.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

ATTENTION = "_scaled_dot_product"
PRODUCTS = frozenset(
    {"mm", "addmm", "bmm", "baddbmm", "addbmm", "mv", "addmv", "_scaled_mm", "mkldnn_linear"}
)
_ALLOCATIONS = frozenset(
    {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "resize_"}
)
_READS = frozenset(
    {"_local_scalar_dense", "is_nonzero", "item", "equal", "nonzero", "masked_select", "_unique2"}
)


@dataclass(frozen=True)
class Counts:
    """Work of one run, or the difference between two.

    Attributes:
        kernels: see the module's first lines.
        attention: fused attentions among them.
        products: matrix products among them, which projections are made of.
        syncs: times the host had to wait for the device.
        calls: times the UNet was called.
    """

    kernels: float = 0
    attention: float = 0
    products: float = 0
    syncs: float = 0
    calls: float = 0

    def __sub__(self, other: Counts) -> Counts:
        return self._with(other, lambda a, b: a - b)

    def __truediv__(self, divisor: float) -> Counts:
        return self._with(self, lambda a, _: a / divisor)

    def __mul__(self, factor: float) -> Counts:
        return self._with(self, lambda a, _: a * factor)

    def _with(self, other: Counts, combine: Callable[[float, float], float]) -> Counts:
        mine, theirs = vars(self), vars(other)
        return Counts(**{name: combine(mine[name], theirs[name]) for name in mine})


class OperatorLog(TorchDispatchMode):
    """Counts operators by name while it is entered."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels: Counter[str] = Counter()
        self.reads: Counter[str] = Counter()
        self._lowest: set[Any] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        options = dict(kwargs or {})
        if func not in self._lowest:
            # In inference mode composite operators arrive whole: they are seen again as parts.
            with self:
                parts = func.decompose(*args, **options)
            if parts is not NotImplemented:
                return parts
            self._lowest.add(func)
        result = func(*args, **options)
        self.record(func, list(tensors_in((args, options))), list(tensors_in(result)))
        return result

    def record(self, func: Any, inputs: list[Tensor], outputs: list[Tensor]) -> None:
        """Note one operator of the lowest level."""
        name = func.overloadpacket.__name__
        if name in _READS or _crosses_to_host(func, inputs, outputs):
            self.reads[name] += 1
        if name in _READS or name in _ALLOCATIONS:
            return
        known = {storage_of(tensor) for tensor in inputs}
        fresh = any(storage_of(tensor) not in known for tensor in outputs)
        if fresh or func._schema.is_mutable:
            self.kernels[name] += 1


def tensors_in(value: Any) -> Iterator[Tensor]:
    """All tensors of nested arguments."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from tensors_in(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from tensors_in(item)


def storage_of(tensor: Tensor) -> int:
    """Identity of the memory behind a tensor, shared by all its views."""
    return int(tensor.untyped_storage()._cdata)


def _crosses_to_host(func: Any, inputs: list[Tensor], outputs: list[Tensor]) -> bool:
    target = outputs[0] if outputs else None
    copies = func.overloadpacket.__name__ in ("_to_copy", "copy_")
    if target is None or not copies or target.device.type != "cpu":
        return False
    return any(tensor.device.type != "cpu" for tensor in inputs)


def measure(work: Callable[[], object], unet: nn.Module, device: torch.device) -> Counts:
    """Counts of one piece of work, which is done several times on CUDA."""
    log = OperatorLog()
    calls: list[int] = []
    hook = unet.register_forward_pre_hook(lambda module, args: calls.append(1))
    try:
        with torch.no_grad(), log:
            work()
    finally:
        hook.remove()
    on_cuda = device.type == "cuda"
    return Counts(
        kernels=_cuda_kernels(work) if on_cuda else log.kernels.total(),
        attention=sum(n for name, n in log.kernels.items() if name.startswith(ATTENTION)),
        products=sum(n for name, n in log.kernels.items() if name in PRODUCTS),
        syncs=_cuda_syncs(work) if on_cuda else log.reads.total(),
        calls=len(calls),
    )


def _cuda_kernels(work: Callable[[], object]) -> int:
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.no_grad(), torch.profiler.profile(activities=activities) as profile:
        work()
        torch.cuda.synchronize()
    on_device = torch.autograd.DeviceType.CUDA
    return sum(
        event.device_type == on_device and not event.is_user_annotation
        for event in profile.events() or ()
    )


def _cuda_syncs(work: Callable[[], object]) -> int:
    with torch.no_grad(), _sync_warnings() as caught:
        work()
    return sum("synchronizing CUDA operation" in str(warning.message) for warning in caught)


@contextmanager
def _sync_warnings() -> Iterator[list[warnings.WarningMessage]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield caught
        finally:
            torch.cuda.set_sync_debug_mode("default")
