"""What ends a check, and what it only leaves out; both are sentences for whoever asked."""

from __future__ import annotations


class CheckError(Exception):
    """Nothing can be compared: what was found, what is needed, what to do."""


class NotCompared(Exception):
    """One part cannot be compared, the others go on: which, and why."""
