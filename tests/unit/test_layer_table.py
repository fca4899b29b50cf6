"""The table of what each layer adds is whole, or there is none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from pack.ip_models.attention.stack import ActivePrompts


class Short:
    """An image prompt for two layers; memory is short when it is asked for the first time."""

    def __init__(self) -> None:
        self.asked = 0

    def entries(self, device: torch.device, dtype: torch.dtype) -> Iterator[tuple[str, str]]:
        self.asked += 1
        yield "first", "one"
        if self.asked == 1:
            raise torch.OutOfMemoryError
        yield "second", "other"


def test_half_a_table_is_not_used_by_the_next_call() -> None:
    prompts: Any = (Short(),)
    call: Any = None
    active, where = ActivePrompts(prompts, call), (torch.device("cpu"), torch.float32)
    with pytest.raises(torch.OutOfMemoryError):
        active.table(*where)
    assert active.table(*where) == {"first": ["one"], "second": ["other"]}
    active.table(*where)
    assert prompts[0].asked == 2
