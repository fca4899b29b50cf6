"""Asks the originals what they are and keeps it: names and numbers, no code, no text.

In tests/: IPADAPTER_PLUS=FOLDER IPADAPTER_PLUS_V1=FOLDER python -m plus.record_contract

The folders are checkouts of ComfyUI_IPAdapter_plus at 9d076a3, and at 6a411dc, the last of version
1.
"""

from __future__ import annotations

import json

import conftest  # noqa: F401 - the pack's alias, and the host on the path
from kit.plus_original import original_nodes, original_titles, version_1
from plus.contract import RECORDED, VERSION_1, Facts, facts


def originals() -> Facts:
    """Facts of both versions, under the names that our nodes have."""
    one = version_1()
    old = facts(
        {name: one.NODE_CLASS_MAPPINGS[name] for name in VERSION_1},
        one.NODE_DISPLAY_NAME_MAPPINGS,
    )
    new = facts(original_nodes(), original_titles())
    return {**new, **{VERSION_1[name]: known for name, known in old.items()}}


def main() -> None:
    lines = [f"{json.dumps(name)}: {json.dumps(known)}" for name, known in originals().items()]
    RECORDED.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
