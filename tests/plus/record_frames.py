"""Runs the original on all cases of test_weights and keeps what it gives.

In tests/: IPADAPTER_PLUS=FOLDER python -m plus.record_frames
"""

from __future__ import annotations

import json
from pathlib import Path

import conftest  # noqa: F401 - the pack's alias, and the host on the path
from kit.plus_original import original_nodes

RECORDED = Path(__file__).parent / "recorded" / "frames.json"


def main() -> None:
    if not RECORDED.is_file():
        RECORDED.write_text("{}", encoding="utf-8")
    from plus.test_weights import cases, made

    nodes = original_nodes()
    lines = [f"{json.dumps(json.dumps(one))}: {json.dumps(made(nodes, one))}" for one in cases()]
    RECORDED.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
