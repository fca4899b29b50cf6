"""Files as torch wrote them before 1.6, the same bytes each time.

Torch itself numbers the storages in them by where they are in memory, which is never the same.
"""

from __future__ import annotations

import io
import pickle
import struct
from typing import Any

import torch

_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_MACHINE = {
    "protocol_version": _PROTOCOL,
    "little_endian": True,
    "type_sizes": {"short": 2, "int": 4, "long": 4},
}


class _Pickler(pickle.Pickler):
    """Leaves the numbers of tensors for later."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, protocol=2)
        self.storages: dict[int, tuple[Any, int]] = {}

    def persistent_id(self, obj: Any) -> tuple[Any, ...] | None:
        if not isinstance(obj, torch.storage.TypedStorage):
            return None
        place, count = obj.data_ptr(), obj.size()
        if place not in self.storages:
            self.storages[place] = obj, len(self.storages)
        kind = getattr(torch, obj.pickle_storage_type())
        return "storage", kind, str(self.storages[place][1]), "cpu", count, None


def saved(content: Any) -> bytes:
    """What the old `torch.save` wrote."""
    file = io.BytesIO()
    for part in (_MAGIC, _PROTOCOL, _MACHINE):
        pickle.dump(part, file, protocol=2)
    pickler = _Pickler(file)
    pickler.dump(content)
    pickle.dump([str(number) for _, number in pickler.storages.values()], file, protocol=2)
    for storage, _ in pickler.storages.values():
        file.write(struct.pack("<q", storage.size()))
        values = torch.empty(0, dtype=torch.uint8).set_(storage.untyped())
        file.write(values.numpy().tobytes())
    return file.getvalue()
