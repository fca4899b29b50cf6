"""The folders of tests that pytest puts on the path, for what is started without it."""

from __future__ import annotations

import sys

import conftest  # the pack's alias, and the host on the path

sys.path += [str(conftest.ROOT / "tests" / name) for name in ("host", "browser", "unit")]
