"""PNG files without what tells one machine from another, so that equal rows are equal files."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"
TEXT = b"tEXt"
PROMPT = b"prompt\0"
# When the files of a node's models were written; the host keeps it with the prompt.
OF_THE_MACHINE = "is_changed"


def same_everywhere(content: bytes) -> bytes:
    """A picture as ComfyUI saved it, its prompt without the times of model files.

    What is no PNG, or has no such prompt, stays as it is. Pixels are not touched.
    """
    if not content.startswith(SIGNATURE):
        return content
    try:
        return SIGNATURE + b"".join(_chunk(kind, data) for kind, data in _chunks(content))
    except (struct.error, ValueError):
        return content


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = len(SIGNATURE)
    while place < len(content):
        size, kind = struct.unpack_from(">I4s", content, place)
        data = content[place + 8 : place + 8 + size]
        (checksum,) = struct.unpack_from(">I", content, place + 8 + size)
        if checksum != zlib.crc32(kind + data):
            raise ValueError("it is damaged")
        yield kind, data
        place += size + 12


def _chunk(kind: bytes, data: bytes) -> bytes:
    if kind == TEXT and data.startswith(PROMPT):
        data = PROMPT + _plain(data[len(PROMPT) :])
    return struct.pack(">I4s", len(data), kind) + data + struct.pack(">I", zlib.crc32(kind + data))


def _plain(text: bytes) -> bytes:
    prompt = json.loads(text)
    if isinstance(prompt, dict):
        for node in prompt.values():
            if isinstance(node, dict):
                node.pop(OF_THE_MACHINE, None)
    return json.dumps(prompt).encode("latin-1")
