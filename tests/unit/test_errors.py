"""What every message is, whatever somebody sends: one line that can be printed, and not long."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pack.ip_models import limits
from pack.ip_models.errors import BadInput

TEXT = st.text(st.characters(), max_size=2000)


@given(TEXT, TEXT, TEXT)
def test_a_message_is_one_printable_line_that_is_not_long(found: str, needed: str, do: str) -> None:
    error = BadInput(found, needed, do)
    assert len(str(error)) <= limits.MESSAGE and str(error).isprintable()
    assert (error.found, error.needed, error.action) == (found, needed, do)


@pytest.mark.parametrize("length", [10, 100, 1000, 1_000_000])
@pytest.mark.parametrize("place", range(3))
def test_both_ends_of_what_is_long_are_shown(place: int, length: int) -> None:
    parts = ["it is there", "it is needed", "Do it"]
    parts[place] = f"begins {'x' * length} ends"
    said = str(BadInput(*parts))
    assert "begins xx" in said and "xx ends" in said and len(said) <= limits.MESSAGE
    assert all(part in said for at, part in enumerate(parts) if at != place)
    assert (" … " in said) == (length >= 1000)


def test_short_messages_are_as_they_were() -> None:
    assert str(BadInput("scale is 'x'", "a number is needed", "Enter 1")) == (
        "scale is 'x'; a number is needed. Enter 1."
    )
