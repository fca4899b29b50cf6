"""One pair: compared, said, written down."""

from __future__ import annotations

import re
from pathlib import Path

from check import given, report
from check.compare import compare
from check.question import Question

_OTHERS = re.compile(r"[^A-Za-z0-9_.-]+")
_MOST_NAME = 60


def check(question: Question, folder: Path) -> int:
    """Exit code: 0 where both sides agree, 1 where they do not, 2 where nothing was proved.

    Raises:
        CheckError, IPAdapterError, NotCompared: it cannot be tried.
    """
    made = compare(question, lambda line: print(line, flush=True))
    found = report.facts(made, question)
    print()
    for line in report.lines(found):
        print(line)
    name = name_of(question.checkpoint, question.adapter)
    try:
        text, picture = report.save(found, made, folder, name)
    except OSError as error:
        raise given.unwritable(folder, error) from error
    print(f"\n{text}\n{picture}\nThey hold no paths; the picture shows what was painted.")
    return {"agrees": 0, "differs": 1}.get(found["verdict"], 2)


def name_of(checkpoint: Path, adapter: Path) -> str:
    """By which a report is found again."""
    return "+".join(_named(path) for path in (checkpoint, adapter))


def _named(path: Path) -> str:
    """With its ending: one adapter may lie there as .bin and as .safetensors."""
    return f"{_OTHERS.sub('_', path.stem)[:_MOST_NAME]}{_OTHERS.sub('_', path.suffix)}"
