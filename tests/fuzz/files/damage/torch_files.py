"""Hostile files of torch's: contents, pickles and archives that `torch.save` would not write."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from datetime import datetime
from pathlib import PurePosixPath
from random import Random
from typing import Any

import numpy
import torch

from ..corpus import saved
from . import hostile, plain_bytes


class Evil:
    """What a pickle with code in it does when it is opened."""

    def __reduce__(self) -> Any:
        return exec, ("raise SystemExit('code of a model file was run')",)


def damaged(data: bytes, random: Random) -> bytes:
    """The file with another content, another pickle or as another archive.

    Raises:
        ValueError: it is none of torch's.
    """
    if not data.startswith((b"PK", b"\x80")):
        raise ValueError("no file of torch's")
    way = random.random()
    if way < 0.5 or not data.startswith(b"PK"):
        return _of_content(data, random)
    return (_of_pickle if way < 0.8 else _of_archive)(data, random)


def _of_content(data: bytes, random: Random) -> bytes:
    try:
        content = torch.load(io.BytesIO(data), weights_only=True)
    except Exception as error:
        raise ValueError("no whole file of torch's") from error
    made = random.choice(_CONTENTS)(content, random)
    return saved(made, old=random.random() < (0.2 if data.startswith(b"PK") else 0.8))


def _somewhere(content: Any, random: Random, change: Callable[[Any], Any]) -> Any:
    """The same content with one value in it changed."""
    if isinstance(content, dict) and content and random.random() < 0.9:
        key = random.choice(list(content))
        return {**content, key: _somewhere(content[key], random, change)}
    if isinstance(content, list) and content and random.random() < 0.9:
        place = random.randrange(len(content))
        return [*content[:place], _somewhere(content[place], random, change), *content[place + 1 :]]
    return change(content)


def _odd_value(content: Any, random: Random) -> Any:
    odd: list[Any] = [None, 1, 2**70, "x", b"bytes", 1.5, [], {}, (), {1: 2}, {None: 1}, Evil()]
    odd += [torch.nn.Parameter(torch.ones(3)), numpy.ones(3), datetime(2020, 1, 1), {1, 2}]
    odd += [PurePosixPath("/etc/passwd"), torch.float16, torch.Size([3]), torch.device("cpu"), 2j]
    return _somewhere(content, random, lambda _: random.choice(odd))


def _odd_tensor(content: Any, random: Random) -> Any:
    changes: list[Callable[[torch.Tensor], Any]] = [
        lambda one: one[:0],
        lambda one: one.flatten()[:1].expand(2**20),
        lambda one: one.flatten()[:1].expand(2**50),
        lambda one: one.flatten()[:1].expand(2, 1, 2**40),
        lambda one: one.t() if one.ndim == 2 else one[None],
        lambda one: one.flatten()[1:],
        lambda one: one.reshape(*[1] * 30, *one.shape),
        lambda one: one.to(torch.complex64),
        lambda one: one.double(),
        lambda one: one.to(torch.int8),
        lambda one: one.bool(),
        lambda one: one.to(torch.float8_e4m3fn),
        lambda one: torch.quantize_per_tensor(one.float(), 0.1, 0, torch.qint8),
        lambda one: one.float().to_sparse(),
        lambda one: torch.empty(one.shape, device="meta"),
        lambda one: one.float().requires_grad_(),
        lambda one: torch.full_like(one, random.choice((torch.nan, torch.inf, -torch.inf))),
        lambda one: one.as_strided((1000, 1000), (0, 1)) if one.numel() > 1000 else one,
        lambda one: [one, one],
        lambda one: torch.stack([one] * 3),
        lambda one: one.storage(),
        lambda one: torch._neg_view(one.float()),
    ]
    change = random.choice(changes)

    def changed(one: Any) -> Any:
        return change(one) if isinstance(one, torch.Tensor) and one.numel() else one

    return _somewhere(content, random, changed)


def _odd_table(content: Any, random: Random) -> Any:
    if not isinstance(content, dict) or not content:
        return [content] * random.choice((1, 2, 51, 300))
    key = random.choice(list(content))
    made = dict(content)
    way = random.randrange(7)
    if way == 0:
        made.pop(key)
    elif way == 1:
        made[hostile.text(random)] = made.pop(key)
    elif way == 2:
        made["self"] = made
    elif way == 3:
        made |= {f"{key}.{number}": made[key] for number in range(random.choice((2, 500, 20_000)))}
    elif way == 4:
        made = {"state_dict": {"state_dict": made}, hostile.text(random): made}
    elif way == 5:
        made[random.choice((1, None, True, 1.5, b"key", (1, 2)))] = made[key]
    else:
        inner = made[key] if isinstance(made[key], dict) else made
        made[key] = {name: one for name, one in inner.items() if random.random() < 0.7}
    return made


def _shared_tables(content: Any, random: Random) -> Any:
    """Twice as many at each level, and all of them the same two."""
    made = content
    for _ in range(random.choice((3, 20, 40))):
        made = {"a": made, "b": made}
    return made


def _deep(content: Any, random: Random) -> Any:
    for _ in range(random.choice((5, 33, 200))):
        content = random.choice(({"state_dict": content}, [content], {"image_proj": content}))
    return content


_CONTENTS = (_odd_value, _odd_tensor, _odd_tensor, _odd_table, _odd_table, _shared_tables, _deep)


def _of_pickle(data: bytes, random: Random) -> bytes:
    """The archive as it was around a pickle that is damaged."""
    damage = random.choice((plain_bytes.flipped, *_PICKLES))

    def change(name: str, held: bytes) -> bytes:
        return damage(held, random) if name.endswith("data.pkl") else held

    return _rewritten(data, change)


def _renumbered(held: bytes, random: Random) -> bytes:
    """A small number of a shape, step, offset or storage is large, or none."""
    marks = [at for at in range(len(held) - 1) if held[at : at + 1] in (b"K", b"M")]
    if not marks:
        return held
    at = random.choice(marks)
    size = 2 if held[at : at + 1] == b"K" else 3
    new = random.choice((b"K\x00", b"J\xff\xff\xff\xff", b"J\xff\xff\xff\x7f", b"N", b"]", b"}"))
    big = b"\x8a" + bytes([9]) + b"\xff" * 8 + b"\x00"
    return held[:at] + random.choice((new, new, big)) + held[at + size :]


def _renamed(held: bytes, random: Random) -> bytes:
    old = random.choice((b"HalfStorage", b"FloatStorage", b"_rebuild_tensor_v2", b"torch._utils"))
    new = random.choice((b"os\nsystem\n", b"ByteStorage", b"x" * 300, b"torch.save", b"eval"))
    return held.replace(old, new[: len(old)].ljust(len(old), b"_"))


def _repeated(held: bytes, random: Random) -> bytes:
    """Operations again and again, as a bomb has them."""
    bomb = random.choice((b"2", b"]", b"}", b"(", b"0", b"K\x01\x85", b"]2a", b"}q\x01h\x01h\x01s"))
    return held[:2] + bomb * random.choice((10, 5000, 1_000_000)) + held[2:]


_PICKLES = (_renumbered, _renumbered, _renamed, _repeated, plain_bytes.cut, plain_bytes.numbered)


def _rewritten(
    data: bytes, change: Callable[[str, bytes], bytes], packed: bool = False, more: int = 0
) -> bytes:
    """An archive with other members, whose checksums are right."""
    made = io.BytesIO()
    how = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(made, "w", how) as new:
            for member in old.infolist():
                held = change(member.filename, old.read(member))
                new.writestr(zipfile.ZipInfo(member.filename), held, how)
            for number in range(more):  # without a time, so that it is the same each time
                new.writestr(zipfile.ZipInfo(f"archive/data/x{number}"), b"", how)
    except (zipfile.BadZipFile, OSError, NotImplementedError) as error:
        raise ValueError("no whole archive") from error
    return made.getvalue()


def _of_archive(data: bytes, random: Random) -> bytes:
    way = random.randrange(6)
    if way == 0:
        return _rewritten(data, lambda _, held: held, packed=True)
    if way == 1:
        more = random.choice((3, 3000, 20_000))
        return _rewritten(data, lambda _, held: held, more=more)
    if way == 2:
        return _rewritten(
            data, lambda name, held: held[: len(held) // 2] if "/data/" in name else held
        )
    if way == 3:
        return _rewritten(
            data, lambda name, held: b"big" if name.endswith(("byteorder", "version")) else held
        )
    place = data.rfind(b"PK\x01\x02") if way == 4 else data.rfind(b"PK\x05\x06")
    tail = plain_bytes.numbered(data[place:], random)
    return data[:place] + (tail if way == 4 else plain_bytes.flipped(tail, random))
