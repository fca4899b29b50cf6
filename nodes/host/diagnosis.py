"""The Doctor's report, for its node, its web address and the log."""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

from ...ip_models import survey_text
from .survey import survey

log = logging.getLogger("ipadapter")


class Report(NamedTuple):
    """The same findings twice."""

    lines: list[str]
    data: dict[str, Any]


def report(model: Any = None, clip_vision: Any = None, logged: bool = False) -> Report:
    """Look through all folders."""
    found = survey(model, clip_vision)
    made = Report(survey_text.lines(found), survey_text.data(found))
    if logged:
        log.info("%s", "\n".join(made.lines))
    return made
