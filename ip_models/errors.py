"""The errors a user reads: each says what was found, what is needed and what to do."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from . import limits

TYPES = "ipadapter"
"""What the type of an error begins with, wherever the pack lies: "ipadapter.WrongBase"."""
_LEFT_OUT, _LEAST = " … ", 120  # characters that are left of each part
_MAIN_MEMORY = "DefaultCPUAllocator"  # in what torch says, which has no class for it


@dataclass(frozen=True)
class Mend:
    """What an editor can do by itself about an error: set an input, or connect one.

    Attributes:
        input: of the node that failed or of a node before it, e.g. "adapter_file".
        value: what the input, or that of the new node, is set to; None to leave it.
        source: class of the node that is to be connected to the input, "" to set it.
    """

    input: str
    value: str | int | float | bool | None = None
    source: str = ""


class Action(str):
    """What to do, in words, and those parts of it that an editor can do by itself."""

    mends: tuple[Mend, ...]

    def __new__(cls, words: str, *mends: Mend) -> Action:
        made = super().__new__(cls, words)
        made.mends = mends
        return made


class IPAdapterError(ValueError):
    """Something the user can put right, in one line of at most `limits.MESSAGE` characters.

    Args:
        found: what is there, e.g. "ip-adapter_sdxl.safetensors is an adapter for SDXL".
        needed: what has to be there, e.g. "this model is SD1.5".
        action: what to do about it, an imperative without the full stop.

    Attributes:
        mends: what an editor can do about it by itself.
    """

    # The host tells programs a class by its module, which has the name of the pack's folder in it.
    __module__ = TYPES

    def __init_subclass__(cls, **options: object) -> None:
        super().__init_subclass__(**options)
        cls.__module__ = TYPES

    def __init__(self, found: str, needed: str, action: str) -> None:
        self.found, self.needed, self.action = found, needed, action
        self.mends = action.mends if isinstance(action, Action) else ()
        parts = [_one_line(part) for part in (found, needed, action)]
        for at in range(len(parts)):
            over = sum(map(len, parts)) + len("; . .") - limits.MESSAGE
            if over > 0:  # what to do is shortened last
                length = len(parts[at])
                parts[at] = _shortened(parts[at], min(length, max(length - over, _LEAST)))
        super().__init__(f"{parts[0]}; {parts[1]}. {parts[2]}.")


def _one_line(part: str) -> str:
    """Without characters that nobody sees or that end a line; the ends of a text without end."""
    if len(part) > 2 * limits.MESSAGE:
        part = _shortened(part, 2 * limits.MESSAGE)
    if part.isprintable():
        return part
    return "".join(c if c.isprintable() else " " if c.isspace() else ascii(c)[1:-1] for c in part)


def _shortened(part: str, length: int) -> str:
    """Both ends of a text."""
    if length >= len(part):
        return part
    kept = length - len(_LEFT_OUT)
    return f"{part[: kept - kept // 2]}{_LEFT_OUT}{part[len(part) - kept // 2 :]}"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory was short, which is the host's own matter and says nothing of a file."""
    short = isinstance(error, MemoryError | torch.OutOfMemoryError)
    return short or _MAIN_MEMORY in str(error)


class BrokenFile(IPAdapterError):
    """The bytes are not a whole model file: a web page, a pointer, a cut download."""


class UnknownAdapter(IPAdapterError):
    """A whole model file, but not an IP-Adapter in a layout known here."""


class UnsupportedAdapter(IPAdapterError):
    """An IP-Adapter that was recognised and cannot be applied by this version."""


class WrongEncoder(IPAdapterError):
    """The features do not come from the image encoder the adapter was trained with."""


class WrongBase(IPAdapterError):
    """The MODEL is not of the family, width or depth the adapter was trained for."""


class MissingModel(IPAdapterError):
    """A file that is needed is in none of the model folders."""


class BadInput(IPAdapterError):
    """An image, mask, list or number that no adapter could use."""


class WrongBatch(IPAdapterError):
    """A layer or the model gets a batch of which nothing says what its rows are."""


class UnknownPlace(IPAdapterError):
    """A call is for a part of the picture or of the batch, and nothing says for which."""


class UnsupportedNetwork(IPAdapterError):
    """A whole ONNX file that asks for something the pack's own runner does not do."""


class RefusedRequest(IPAdapterError):
    """A question of the editor, or of a program, that is not answered.

    Args:
        status: the one of HTTP for it.
    """

    def __init__(self, found: str, needed: str, action: str, status: int) -> None:
        super().__init__(found, needed, action)
        self.status = status


class NoSuchFace(IPAdapterError):
    """A picture shows faces, but not as many as were asked for."""

    def __init__(self, index: int, count: int, faces: int, wanted: int) -> None:
        shown = "1 face" if faces == 1 else f"{faces} faces"
        super().__init__(
            f"image {index + 1} of {count} shows {shown} and face_index is {wanted}",
            f"face_index counts from 0, so {faces - 1} is the last one",
            Action("Lower face_index, or choose the largest face", Mend("face_index", faces - 1)),
        )


class NoFace(IPAdapterError):
    """No face was found in a picture.

    Args:
        index: of the picture in its batch, from 0.
        count: of pictures in the batch.
        size: (width, height) of the picture.
        tried: what was tried, e.g. "detection sizes 640 to 128".
        skipped: photos without a face are left out already, and none is left; None where photos
            cannot be left out.
    """

    def __init__(
        self,
        index: int,
        count: int,
        size: tuple[int, int],
        tried: str,
        skipped: bool | None = False,
    ) -> None:
        way_out = f", or set on_no_face to {'pass' if skipped else 'skip or pass'}"
        words = [] if skipped is None else ["pass"] if skipped else ["skip", "pass"]
        mends = [Mend("on_no_face", word) for word in words]
        super().__init__(
            f"no face was found in image {index + 1} of {count}, {size[0]} x {size[1]} pixels "
            f"(tried {tried})",
            "a face with both eyes, nose and mouth in view is needed",
            Action(f"Use another photo{'' if skipped is None else way_out}", *mends),
        )
        self.index = index
