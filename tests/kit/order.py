"""Which tests run together on one worker, and in which order, so that all workers end together."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

# From the slowest on; minutes of work must not begin when the other workers are done.
SLOW = (
    *("tests/browser", "test_toy_models.py", "test_toy_examples.py", "test_full_size.py"),
    *("test_comparison.py", "test_turned.py", "test_clients.py", "test_proof.py", "test_check.py"),
    *("test_run.py", "test_maker.py", "test_servers.py"),
    *("test_demo.py", "test_server.py", "test_stored_server.py", "test_toy_training.py"),
    *("test_precision.py", "test_control_parity.py", "test_works_together.py", "test_parity.py"),
    *("test_toy_pictures.py", "test_control_laws.py", "test_face_server.py", "test_faceid.py"),
    *("test_run_folder.py", "test_queue_prompts.py", "test_conditioning.py", "test_examples.py"),
    *("test_refused_when_queued.py", "test_failing_adapters.py", "test_failing_references.py"),
    *("test_hostile_prompts.py", "test_unchecked.py", "test_streamed.py", "test_soak.py"),
    *("test_beside.py", "test_laws.py", "test_routes.py", "test_hostile_files.py"),
)
NO_TAB = 2
# A page that has seen a picture offers it to new nodes even when it is gone.
LAST_IN_A_TAB = (
    "tests/browser/test_examples.py",
    "tests/browser/test_readable_examples.py",
    "tests/browser/test_toy_workflow.py",
)


def key(item: pytest.Item) -> tuple[int, int, bool]:
    """What the tests are sorted by: how slow, and which tab of the browser they work in."""
    callspec = getattr(item, "callspec", None)
    slow, last = place(item.nodeid)
    return slow, int(callspec.params.get("tab", NO_TAB) if callspec else NO_TAB), last


def place(nodeid: str) -> tuple[int, bool]:
    """Where a test comes; those that are not slow stay as they are, at the end."""
    part = unit(nodeid)
    names = (part, PurePosixPath(part).name)
    slow = next((SLOW.index(name) for name in names if name in SLOW), len(SLOW))
    return slow, nodeid.split("::", 1)[0] in LAST_IN_A_TAB


def unit(nodeid: str) -> str:
    """What goes to one worker: a file, or all files that share the editor's server and browser."""
    file = nodeid.split("::", 1)[0]
    return "tests/browser" if file.startswith("tests/browser/") else file


class SlowFirst(LoadFileScheduling):
    """As `--dist loadfile`, in the order of the tests and with the editor's tests in one piece."""

    def __init__(self, config: Any, log: Any) -> None:
        super().__init__(config, log)
        config.option.loadscopereorder = False

    def _split_scope(self, nodeid: str) -> str:
        return unit(nodeid)
