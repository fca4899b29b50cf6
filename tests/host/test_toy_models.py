"""The toy models do what their bars say: meaning, where other tests have numbers.

`python dev.py bench --demo` measures the same over more than a hundred seeds. Here there are fewer
pictures, so the bars leave the room that so few need, and not every promise with both adapters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor
from train.judge import load_judge
from train.promises import PROMISES, Bench, Result, follows_reference, words_alone
from train.studio import Studio

SLACK = 0.05
COUNTS = {"words": 12, "reference": 12, "parts": 12}
FEW = 4
NewBench = Callable[[str, int], Bench]
Plain = dict[tuple[Studio, int, int, int], Tensor]


@dataclass
class OnceBench(Bench):
    """Makes a picture without a reference once, whichever promises and adapters it is held to."""

    plain: Plain = field(default_factory=dict)

    def pictures(self, word: int, seed: int, embeds: object = None, **settings: object) -> Tensor:
        if embeds is not None:
            return super().pictures(word, seed, embeds, **settings)
        key = (self.studio, word, seed, self.count)
        if key not in self.plain:
            self.plain[key] = super().pictures(word, seed)
        return self.plain[key].clone()


@pytest.fixture(scope="module")
def new_bench() -> NewBench:
    studio, judge = Studio(), load_judge()
    plain: Plain = {}
    return lambda kind, count: OnceBench(studio, judge, kind, count, plain=plain)


def broken(results: list[Result]) -> list[str]:
    return [str(result) for result in results if not result.kept_with(SLACK)]


def test_the_word_alone_gives_the_shape(new_bench: NewBench) -> None:
    assert broken(list(words_alone(new_bench("standard", COUNTS["words"])))) == []


@pytest.mark.parametrize(
    ("kind", "promise"),
    [
        ("standard", "reference"),
        ("standard", "masks"),
        *(("plus", name) for name in PROMISES if name != "words"),
    ],
)
def test_promise_is_kept(new_bench: NewBench, kind: str, promise: str) -> None:
    results = list(PROMISES[promise](new_bench(kind, COUNTS.get(promise, FEW))))
    assert broken(results) == []


def test_an_adapter_that_says_nothing_breaks_its_promise(
    new_bench: NewBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = new_bench("standard", 12)
    apply = bench.studio.apply
    monkeypatch.setattr(
        bench.studio, "apply", lambda kind, embeds, **more: apply(kind, embeds, scale=0.0, **more)
    )
    lines = broken(list(follows_reference(bench)))
    colours, texture = lines
    assert colours.startswith("distance of colours")
    assert texture.startswith("texture of the reference")


def test_a_word_that_is_not_heard_breaks_its_promise(new_bench: NewBench) -> None:
    bench = new_bench("standard", 12)
    deaf = Studio.__new__(Studio)
    deaf.__dict__ |= bench.studio.__dict__ | {"words": torch.zeros_like(bench.studio.words)}
    bench.studio = deaf
    assert len(broken(list(words_alone(bench)))) == 1
