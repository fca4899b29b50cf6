"""What a pickle of torch says: tables, numbers and where tensors are. Nothing of it is run.

`pickletools` takes the pickle apart; the few operations that tables of tensors need are done here,
and a pickle with any other is refused. A name in it is looked up among the names below and never
imported. Formats as in torch/_utils.py and torch/serialization.py of torch 2.11.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import torch

from ....ip_models import limits

_MOST_VALUES = 2**62  # of a tensor or a storage, as far as torch counts

STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
    "UntypedStorage": torch.uint8,
}
_TYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        *STORAGES.values(),
        *(torch.float8_e4m3fn, torch.float8_e5m2, torch.uint16, torch.uint32, torch.uint64),
    )
}


class Storage(NamedTuple):
    """Numbers of one or more tensors.

    Attributes:
        key: by which they are found in the file.
        size: how many numbers of this type.
    """

    dtype: torch.dtype
    key: str
    size: int


class Place(NamedTuple):
    """A tensor: numbers of a storage, by steps in each dimension."""

    storage: Storage
    dtype: torch.dtype
    first: int
    shape: tuple[int, ...]
    steps: tuple[int, ...]


def _storage(pid: object) -> Storage:
    _, dtype, key, _, count, *_ = cast("tuple[Any, ...]", pid)
    known = isinstance(dtype, torch.dtype) and type(key) is str and type(count) is int
    if not known or not 0 <= count <= _MOST_VALUES or len(key) > limits.TENSOR_NAME:
        raise pickle.UnpicklingError("a storage of an unknown kind")
    return Storage(dtype, key, count)


def _rebuilt(storage: Any, first: Any, shape: Any, steps: Any, *_: object) -> Place:
    return _rebuilt_as(storage, first, shape, steps, None, None, storage.dtype)


def _rebuilt_as(storage: Any, first: Any, shape: Any, steps: Any, *others: Any) -> Place:
    _needs_gradient, _hooks, dtype, *_ = others
    if not isinstance(storage, Storage) or not isinstance(dtype, torch.dtype):
        raise pickle.UnpicklingError("a tensor without its numbers")
    # Looked at before anything is done with them: one tuple may be the shape of many tensors.
    if type(shape) is not tuple or type(steps) is not tuple or len(shape) > limits.RANK:
        raise pickle.UnpicklingError("a tensor of an impossible shape")
    if len(shape) != len(steps):
        raise pickle.UnpicklingError("a tensor of an impossible shape")
    numbers = (first, *shape, *steps)
    known = all(type(one) is int and 0 <= one <= _MOST_VALUES for one in numbers)
    if not known or math.prod(shape) > _MOST_VALUES:
        raise pickle.UnpicklingError("a tensor of an impossible shape")
    place = Place(storage, dtype, first, tuple(shape), tuple(steps))
    reach = first + sum((size - 1) * step for size, step in zip(shape, steps, strict=True)) + 1
    room = storage.size * storage.dtype.itemsize
    if math.prod(shape) and reach * dtype.itemsize > room:
        raise pickle.UnpicklingError("a tensor beyond its numbers")
    return place


def _parameter(place: Any, *_: object) -> Any:
    return place


def _table() -> dict[Any, Any]:
    return {}


def _size(parts: Any) -> tuple[Any, ...]:
    if type(parts) not in (tuple, list) or len(parts) > limits.RANK:
        raise pickle.UnpicklingError("a size of far too many dimensions")
    return tuple(parts)


def _device(*_: object) -> None:
    """Where a tensor was is of no meaning where it is read."""


def _key(key: object) -> object:
    """As keys of a table, numbers can be chosen so that filling it takes for ever."""
    if type(key) is str or (type(key) is int and 0 <= key <= limits.ELEMENTS):
        return key
    raise pickle.UnpicklingError(f"a {type(key).__name__} as a name")


_NAMES: dict[str, Any] = {
    "collections OrderedDict": _table,
    "torch._utils _rebuild_tensor": _rebuilt,
    "torch._utils _rebuild_tensor_v2": _rebuilt,
    "torch._utils _rebuild_tensor_v3": _rebuilt_as,
    "torch._utils _rebuild_parameter": _parameter,
    "torch Size": _size,
    "torch device": _device,
    **{f"torch {name}": dtype for name, dtype in STORAGES.items()},
    **{f"torch.storage {name}": dtype for name, dtype in STORAGES.items()},
    **{f"torch {name}": dtype for name, dtype in _TYPES.items()},
}
_CALLED = (_table, _size, _device, _rebuilt, _rebuilt_as, _parameter)


class _Mark:
    """Where on the stack the parts of what comes next begin."""


class _Stack:
    """The values of a pickle that is taken apart."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self.memo: dict[int, Any] = {}

    def push(self, value: object) -> None:
        self.values.append(value)

    def pop(self) -> Any:
        value = self.values.pop()
        if isinstance(value, _Mark):
            raise pickle.UnpicklingError("a mark where a value belongs")
        return value

    def top(self) -> Any:
        self.push(value := self.pop())
        return value

    def above_mark(self) -> list[Any]:
        above: list[Any] = []
        while not isinstance(value := self.values.pop(), _Mark):
            above.append(value)
        return above[::-1]

    def keep(self, number: int | None = None) -> None:
        number = len(self.memo) if number is None else number
        if not 0 <= number <= limits.ELEMENTS:  # numbers chosen for it fill a table slowly
            raise pickle.UnpicklingError("a value kept under an impossible number")
        self.memo[number] = self.top()

    def tuple_of(self, count: int) -> None:
        parts = [self.pop() for _ in range(count)]
        self.push(tuple(parts[::-1]))

    def named(self, name: str) -> None:
        if name not in _NAMES:
            raise pickle.UnpicklingError(f"{name[:80]} is not known")
        self.push(_NAMES[name])

    def named_by_stack(self) -> None:
        name, module = self.pop(), self.pop()
        if type(name) is not str or type(module) is not str:
            raise pickle.UnpicklingError("a name that is no text")
        self.named(f"{module} {name}")

    def call(self) -> None:
        given, function = self.pop(), self.pop()
        if not any(function is one for one in _CALLED) or type(given) is not tuple:
            raise pickle.UnpicklingError("something that is called and makes no tensor")
        self.push(function(*cast("tuple[Any, ...]", given)))

    def set_items(self, items: list[Any]) -> None:
        table: Any = self.top()
        if type(table) is not dict or len(items) % 2:
            raise pickle.UnpicklingError("entries of something that is no table")
        for key, value in zip(items[::2], items[1::2], strict=True):
            table[_key(key)] = value

    def extend(self, items: list[Any]) -> None:
        listed: Any = self.top()
        if type(listed) is not list:
            raise pickle.UnpicklingError("entries of something that is no list")
        listed += items

    def table_of_items(self) -> None:
        items = self.above_mark()
        self.push({})
        self.set_items(items)

    def build(self) -> None:
        self.pop()  # attributes of a table, as modules add to theirs
        if type(self.top()) is not dict:
            raise pickle.UnpicklingError("an object that is no table")


def _pair(stack: _Stack) -> list[Any]:
    value, key = stack.pop(), stack.pop()
    return [key, value]


def _nothing(_stack: _Stack, _argument: Any) -> None:
    """Operations without a value."""


_PLAIN = (
    *("BININT", "BININT1", "BININT2", "INT", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
)
_DO: dict[str, Callable[[_Stack, Any], object]] = {
    **dict.fromkeys(_PLAIN, _Stack.push),
    **dict.fromkeys(("PROTO", "FRAME", "STOP"), _nothing),
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _Stack.keep),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), lambda s, number: s.push(s.memo[number])),
    "MEMOIZE": lambda s, _: s.keep(),
    "NONE": lambda s, _: s.push(None),
    "NEWTRUE": lambda s, _: s.push(True),
    "NEWFALSE": lambda s, _: s.push(False),
    "MARK": lambda s, _: s.push(_Mark()),
    "POP": lambda s, _: s.pop(),
    "EMPTY_DICT": lambda s, _: s.push({}),
    "EMPTY_LIST": lambda s, _: s.push([]),
    "EMPTY_TUPLE": lambda s, _: s.push(()),
    "TUPLE": lambda s, _: s.push(tuple(s.above_mark())),
    "TUPLE1": lambda s, _: s.tuple_of(1),
    "TUPLE2": lambda s, _: s.tuple_of(2),
    "TUPLE3": lambda s, _: s.tuple_of(3),
    "LIST": lambda s, _: s.push(s.above_mark()),
    "DICT": lambda s, _: s.table_of_items(),
    "SETITEM": lambda s, _: s.set_items(_pair(s)),
    "SETITEMS": lambda s, _: s.set_items(s.above_mark()),
    "APPEND": lambda s, _: s.extend([s.pop()]),
    "APPENDS": lambda s, _: s.extend(s.above_mark()),
    "GLOBAL": _Stack.named,
    "STACK_GLOBAL": lambda s, _: s.named_by_stack(),
    "REDUCE": lambda s, _: s.call(),
    "BUILD": lambda s, _: s.build(),
    "BINPERSID": lambda s, _: s.push(_storage(s.pop())),
}


def read(file: io.BytesIO) -> Any:
    """The next pickle of a file: dicts, lists, tuples, plain values and `Place` for tensors.

    Raises:
        pickle.UnpicklingError: it holds something else, or more than any published file.
        ValueError, IndexError, KeyError, TypeError: it is damaged.
    """
    stack = _Stack()
    for count, (operation, argument, _) in enumerate(pickletools.genops(file)):
        do = _DO.get(operation.name)
        if do is None or count > limits.OPERATIONS:
            raise pickle.UnpicklingError(f"{operation.name} is not known, or far too much of it")
        do(stack, argument)
    return stack.pop()
