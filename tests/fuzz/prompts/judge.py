"""What may come of a prompt: a picture, a refusal of the host's, or one of the pack's sentences."""

from __future__ import annotations

from pathlib import Path

from .bed import Outcome

MESSAGE = 500  # characters of a sentence
_OURS = "ipadapter."
_SECONDS, _A_MEGABYTE = 2.0, 1.0  # of the processor: for any prompt, and for each megabyte of it
_GROWTH, _TIMES = 256.0, 20.0  # MB for any prompt, and so many times its own size
_ANSWER = 4_000_000  # characters; the host shows what is on the links of a node that failed

_SEARCHERS = (
    "UnifiedLoader",
    "IPALoadForModel",
    "IPASimple",
    "IPAStyleComposition",
    "IPARegional",
    "(auto",
)


def fault(outcome: Outcome, text: str, models: Path) -> str:
    """What is wrong with an outcome, its kind first; nothing if all is well."""
    size = len(text) / 1e6
    if outcome.kind in ("ended", "hung", "died"):
        return f"{outcome.kind}: {outcome.error}"
    if outcome.error and not (outcome.kind == "failed" and _OURS in outcome.error):
        return f"raw: {outcome.error}"
    if len(outcome.words) > MESSAGE or "\n" in outcome.words:
        return f"long: {len(outcome.words)} characters"
    slow, big = _SECONDS + _A_MEGABYTE * size, _GROWTH + _TIMES * size
    # Looked for only where it may excuse something.
    named = _named(text, models) if outcome.seconds > slow or outcome.growth > big else 0.0
    if outcome.seconds > slow + named / 100:
        return f"slow: {outcome.seconds:.1f} seconds"
    if outcome.growth > big + 2 * named:
        return f"big: {outcome.growth:.0f} MB"
    if outcome.answer > _ANSWER + 6 * len(text):
        return f"big answer: {outcome.answer} characters"
    return ""


def _named(text: str, models: Path) -> float:
    """MB of the model files whose names a prompt holds, of all where it has one found by itself."""
    files = [path for path in models.rglob("*") if path.is_file()]
    found = [path for path in files if path.name in text]
    searched = any(word in text for word in _SEARCHERS)
    return sum(path.stat().st_size for path in (files if searched else found)) / 1e6
