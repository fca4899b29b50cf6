"""Values of the farm's options."""

from __future__ import annotations

import argparse
from urllib.parse import urlsplit

PORT = 8188  # of ComfyUI, where it is told of none


def addresses(text: str) -> list[str]:
    """Of servers, each once; one written as a name alone is at ComfyUI's port."""
    found = [part.strip() for part in text.split(",") if part.strip()]
    wrong = next((one for one in found if not is_address(one)), None if found else text)
    if wrong is not None:
        raise argparse.ArgumentTypeError(f"{wrong!r} is no address such as http://gpu1:8188")
    once: dict[tuple[str, str, int, str], str] = {}
    for one in map(_whole, found):
        once.setdefault(_place(one), one)
    return list(once.values())


def _whole(address: str) -> str:
    address = address.rstrip("/")
    if "://" in address:
        return address
    parts = urlsplit(f"http://{address}")
    alone = parts.port is None and not parts.path
    return f"http://{address.rstrip(':')}:{PORT}" if alone else f"http://{address}"


def _place(address: str) -> tuple[str, str, int, str]:
    """The same for the same server."""
    parts = urlsplit(address)
    host = (parts.hostname or "").replace("localhost", "127.0.0.1")
    return parts.scheme, host, parts.port or (443 if parts.scheme == "https" else 80), parts.path


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
