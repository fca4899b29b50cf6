"""Says why a version cannot be published: `python .github/release.py v0.1.0`."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
UNRELEASED = "Unreleased"


def only(pattern: str, path: Path) -> str:
    """The one thing in a file that the pattern finds, empty if there is none."""
    found = re.search(pattern, path.read_text("utf-8"), re.MULTILINE)
    return found.group(1) if found else ""


def version(root: Path = ROOT) -> str:
    """The version in pyproject.toml."""
    return only(r'^version = "(.*)"$', root / "pyproject.toml")


def differences(root: Path = ROOT) -> list[str]:
    """What must hold at any time, a sentence for each fault."""
    wanted = version(root)
    found: list[str] = []
    if not re.fullmatch(r"\d+\.\d+\.\d+", wanted):
        found.append(f"pyproject.toml has the version {wanted!r}, which is not X.Y.Z")
    top = changelog(root)
    if top not in (UNRELEASED, wanted):
        found.append(f"the changelog begins with {top!r} and pyproject.toml has {wanted}")
    return found


def problems(tag: str, root: Path = ROOT) -> list[str]:
    """What keeps a tag from being published, a sentence for each."""
    wanted = version(root)
    found = differences(root)
    if tag != f"v{wanted}":
        found.append(f"the tag is {tag!r} and pyproject.toml has {wanted}")
    if changelog(root) == UNRELEASED:
        found.append(f"the changelog still says {UNRELEASED} where {wanted} belongs")
    if not only(r'^PublisherId = "(.*)"$', root / "pyproject.toml"):
        found.append("pyproject.toml has no PublisherId: make one on registry.comfy.org")
    return found


def changelog(root: Path) -> str:
    """The topmost heading of the changelog, without brackets, v and date."""
    return only(r"^## \[?v?([^\]\s]+)", root / "CHANGELOG.md")


if __name__ == "__main__":
    faults = problems(*sys.argv[1:2] or [""])
    sys.stderr.writelines(f"{fault}.\n" for fault in faults)
    sys.exit(1 if faults else 0)
