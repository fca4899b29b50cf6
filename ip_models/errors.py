"""The errors a user reads: each says what was found, what is needed and what to do."""

from __future__ import annotations


class IPAdapterError(ValueError):
    """Something the user can put right.

    Args:
        found: what is there, e.g. "ip-adapter_sdxl.safetensors is an adapter for SDXL".
        needed: what has to be there, e.g. "this model is SD1.5".
        action: what to do about it, an imperative without the full stop.
    """

    def __init__(self, found: str, needed: str, action: str) -> None:
        super().__init__(f"{found}; {needed}. {action}.")
        self.found, self.needed, self.action = found, needed, action


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
