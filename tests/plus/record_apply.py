"""Runs the originals on all cases of the comparison and keeps fingerprints of their pictures.

In tests/: IPADAPTER_PLUS=FOLDER IPADAPTER_PLUS_V1=FOLDER python -m plus.record_apply

The folders are checkouts of ComfyUI_IPAdapter_plus at 9d076a3, and at 6a411dc, the last of version
1. With --more only cases are run that are not recorded. Our own results are not looked at.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import conftest  # noqa: F401 - the pack's alias, and the host on the path
import torch
from kit.models import tiny
from plus.comparison import fingerprint, original
from plus.comparison.cases import cases
from plus.comparison.data import Case
from plus.comparison.fingerprint import RECORDED
from plus.comparison.run import plain, run


@torch.no_grad()
def main(more: bool) -> None:
    torch.set_num_threads(1)
    before: dict[str, Any] = json.loads(RECORDED.read_text("utf-8")) if more else {}
    classes = original.classes()
    lines: list[str] = []
    with original.single_precision():
        for case in cases():
            kept = before.get(str(case)) or _kept(case, classes)
            lines.append(f"{json.dumps(str(case))}: {json.dumps(kept, separators=(',', ':'))}")
            RECORDED.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def _kept(case: Case, classes: dict[str, Any]) -> dict[str, Any]:
    result = run(case, classes)
    return fingerprint.of(result, tiny.relative(result.output, plain(case, classes)))


if __name__ == "__main__":
    main("--more" in sys.argv)
