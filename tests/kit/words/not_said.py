"""Texts of the code that look like sentences and are none."""

from __future__ import annotations

# Names of keys and of nodes, style sheets, selectors, values that are compared.
_WEB = {
    "12px/18px sans-serif",
    "3px solid #e0a000",
    "Backspace",
    "Delete",
    "Enter",
    "Escape",
    "Node name for S&R",
    "Note",
    "Reroute",
    "Tab",
    "var(--descrip-text, var(--input-text))",
    '{1} [data-ipadapter="{2}"]',
}

NOT_SAID = frozenset(_WEB)
