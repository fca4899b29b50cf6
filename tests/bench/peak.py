"""The most memory a piece of work takes beyond what was taken before."""

from __future__ import annotations

import ctypes
import gc
import threading
from types import TracebackType

import comfy.model_management
import psutil
import torch

_INTERVAL = 0.01


def settle() -> None:
    """Give back what is free, so that a peak begins at what is really in use."""
    gc.collect()
    if _on_cuda():
        torch.cuda.empty_cache()
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError, TypeError):
        return  # only glibc has it


class Peak:
    """Context manager: allocated memory on CUDA, else the resident set, sampled in a thread.

    Attributes:
        bytes: growth over the beginning, known at the end. The resident set counts pages of a
            model file that is mapped into memory.
    """

    def __init__(self) -> None:
        self.bytes = 0
        self._process = psutil.Process()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._start = self._highest = 0

    def __enter__(self) -> Peak:
        if _on_cuda():
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            self._start = torch.cuda.memory_allocated()
        else:
            self._start = self._highest = self._process.memory_info().rss
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if _on_cuda():
            torch.cuda.synchronize()
            self.bytes = torch.cuda.max_memory_allocated() - self._start
            return
        self._stop.set()
        self._thread.join()
        self.bytes = max(self._highest, self._process.memory_info().rss) - self._start

    @property
    def reached(self) -> int:
        """All that was taken at most, with what was there at the beginning."""
        return self._start + self.bytes

    def kept(self) -> int:
        """What is still taken now, after giving back what is free."""
        settle()
        now = torch.cuda.memory_allocated() if _on_cuda() else self._process.memory_info().rss
        return now - self._start

    def _watch(self) -> None:
        while not self._stop.wait(_INTERVAL):
            self._highest = max(self._highest, self._process.memory_info().rss)


def _on_cuda() -> bool:
    return comfy.model_management.get_torch_device().type == "cuda"
