"""Every moment at which the host may stop a prompt: its progress bar, and where it is asked."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import comfy.model_management
import comfy.utils
from kit.faults.trips import Trip, replaced


def stopped(_: str) -> BaseException:
    """What the host raises where the user has stopped the prompt."""
    return comfy.model_management.InterruptProcessingException()


@contextmanager
def progress_calls(trip: Trip) -> Generator[None]:
    """While this lasts, each of these moments is counted."""
    places = [
        (comfy.model_management, "throw_exception_if_processing_interrupted", lambda: trip("ask")),
        (comfy.utils.ProgressBar, "update_absolute", lambda *_, **__: trip("update")),
    ]
    with replaced(places):
        yield
