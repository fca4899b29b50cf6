"""ComfyUI's progress bar and its stop button, for work that takes a while."""

from __future__ import annotations

import comfy.model_management
import comfy.utils


class Progress:
    """A progress bar that also stops the work when the user interrupts the prompt.

    Args:
        total: number of steps.
    """

    def __init__(self, total: int) -> None:
        self._bar = comfy.utils.ProgressBar(total)

    def step(self) -> None:
        """Report one step; raises the host's own exception if the prompt was interrupted."""
        comfy.model_management.throw_exception_if_processing_interrupted()
        self._bar.update(1)
