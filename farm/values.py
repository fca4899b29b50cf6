"""Values of the farm's options."""

from __future__ import annotations

import argparse
from urllib.parse import urlsplit


def addresses(text: str) -> list[str]:
    """Of servers, each once."""
    found = [part.strip() for part in text.split(",") if part.strip()]
    wrong = next((one for one in found if not is_address(one)), None if found else text)
    if wrong is not None:
        raise argparse.ArgumentTypeError(f"{wrong!r} is no address such as http://gpu1:8188")
    whole = (one if "://" in one else f"http://{one}" for one in found)
    return list(dict.fromkeys(one.rstrip("/") for one in whole))


def is_address(text: str) -> bool:
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        usable = parts.port != 0  # which raises where it is no number
    except ValueError:
        return False
    plain = not (parts.query or parts.fragment or any(map(str.isspace, text)))
    return usable and plain and parts.scheme in ("http", "https") and bool(parts.hostname)


def count(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 100_000:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on")
    return int(text)
