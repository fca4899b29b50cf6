"""Whether a picture file is whole, which hosts do not ask: half of one is a picture to them."""

from __future__ import annotations

import io
import struct
import warnings
from pathlib import PurePosixPath

from PIL import Image, ImageSequence, UnidentifiedImageError

# What decoders raise where a file is damaged.
DAMAGED = (OSError, SyntaxError, ValueError, LookupError, EOFError, TypeError, struct.error)
# Pillow reads fewer kinds than hosts do, and says so in these ways; then it is for the host to say.
UNREAD = (Image.DecompressionBombError, MemoryError, RuntimeError)
NO_DECODER = "not available"


def fault(name: str, content: bytes) -> str:
    """What is wrong with a picture file by its name; empty where nothing is, or nobody here knows.

    All of it is decoded. Damage inside a JPEG that leaves its length is not seen.
    """
    if not content:
        return "it is empty"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _decode(content)
    except UnidentifiedImageError:
        kind = Image.registered_extensions().get(PurePosixPath(name).suffix.lower())
        return f"it is no {kind}, or the beginning of one" if kind in Image.OPEN else ""
    except UNREAD:
        return ""
    except DAMAGED as error:
        found = f"{error}"[:200] or type(error).__name__
        return "" if NO_DECODER in found else found
    return ""


def _decode(content: bytes) -> None:
    with Image.open(io.BytesIO(content)) as image:
        for frame in ImageSequence.Iterator(image):
            frame.load()
