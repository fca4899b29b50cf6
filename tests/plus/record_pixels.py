"""Runs the original on all cases and keeps some values of each result.

In tests/: IPADAPTER_PLUS=FOLDER IPADAPTER_PLUS_V1=FOLDER python -m plus.record_pixels

The folders are checkouts of ComfyUI_IPAdapter_plus at 9d076a3, and at 6a411dc, the last of version
1. Our own results are not looked at.
"""

from __future__ import annotations

import json
from pathlib import Path

import conftest  # noqa: F401 - the pack's alias, and the host on the path
import torch
from plus.pixel_cases import cases, sample

RECORDED = Path(__file__).parent / "recorded" / "pixels.json"


@torch.no_grad()
def main() -> None:
    torch.set_num_threads(1)
    lines = [f"{json.dumps(case.name)}: {json.dumps(sample(case.theirs()))}" for case in cases()]
    RECORDED.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
