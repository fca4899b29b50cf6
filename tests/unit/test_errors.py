"""What every message is, whatever somebody sends: one line that can be printed, and not long."""

from __future__ import annotations

import re

import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st
from pack.ip_models import errors, limits
from pack.ip_models.errors import BadInput

README = ROOT / "README.md"
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


def test_types_have_short_names_that_stay() -> None:
    """Programs know errors by these, as the host's execution_error has them."""
    kinds = {kind for kind in vars(errors).values() if isinstance(kind, type)}
    ours = {kind for kind in kinds if issubclass(kind, errors.IPAdapterError)}
    names = {f"{kind.__module__}.{kind.__qualname__}" for kind in ours}
    assert names == {f"ipadapter.{kind.__name__}" for kind in ours}
    rows = re.findall(r"^\| `ipadapter\.(\w+)` \|", README.read_text("utf-8"), re.MULTILINE)
    # A refused request is the answer of a route, and no run ends with it.
    assert sorted(rows) == sorted(
        {kind.__name__ for kind in ours} - {"IPAdapterError", "RefusedRequest"}
    )


def test_what_an_editor_can_do_goes_with_the_words() -> None:
    mend = errors.Mend("batch_mode", "loop")
    error = BadInput("it is there", "it is needed", errors.Action("Set it", mend))
    assert str(error) == "it is there; it is needed. Set it." and error.mends == (mend,)
    assert BadInput("it is there", "it is needed", "Set it").mends == ()
