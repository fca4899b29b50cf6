"""Tables of text: how their characters are written."""

from __future__ import annotations

import io

from ..work import FarmError

UTF_16 = (b"\xff\xfe", b"\xfe\xff")
HEAD = 64


def decoded(file: io.BufferedReader, source: str) -> io.TextIOWrapper:
    """The lines of a table of text, with their ends as they are.

    Raises:
        FarmError: its first bytes are no text.
    """
    head = file.peek(HEAD)[:HEAD]
    wide = head.startswith(UTF_16) and not head.startswith(b"\xff\xfe\0\0")
    if b"\0" in head and not wide:
        raise FarmError(
            f"{source} has bytes in it that no text has, as spreadsheets and packed files have, "
            'and a table of text is needed. Save it as UTF-8 ("CSV UTF-8" in Excel)'
        )
    return io.TextIOWrapper(file, "utf-16" if wide else "utf-8-sig", newline="")
