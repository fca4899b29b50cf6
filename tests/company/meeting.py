"""One company, met in both orders and in every way, and what came of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from company.checkout import NotImported
from company.oracle import heard
from company.scene import Company, Scene, Way
from kit.models import tiny
from kit.models.companions import oracle
from pack.ip_models.errors import IPAdapterError
from torch import Tensor

EFFECT = 0.01
AFTER, BEFORE, ALONE = "Apply, then theirs", "theirs, then Apply", "their sampler"
RIGHT, REFUSED, SILENT, WRONG = "right", "refused", "not heard", "not right"
CRASH, THEIRS = "stops", "stops without us too"


@dataclass(frozen=True)
class Outcome:
    """What came of one order and one way.

    Attributes:
        distance: of the picture from the right one, relative; None where there is no picture.
        words: what was said instead.
    """

    order: str
    way: str
    verdict: str
    distance: float | None = None
    words: str = ""


def meet(scene: Scene, company: Company) -> Iterator[Outcome]:
    """Every order and way in turn."""
    orders = (ALONE,) if company.sampler_only else (AFTER, BEFORE)
    for way in company.ways:
        alone = _try(scene, company, company.patch, way)
        for order in orders:
            if isinstance(alone, str):
                yield Outcome(order, str(way), THEIRS, None, alone)
                continue
            if order != BEFORE or company.on_top:
                right = _right(scene, company, way, order)
            assert tiny.relative(right, alone) > EFFECT, "the reference should be seen"
            yield _outcome(scene, company, way, order, (right, alone))


def _outcome(
    scene: Scene, company: Company, way: Way, order: str, pictures: tuple[Tensor, Tensor]
) -> Outcome:
    """What our picture is beside the right one and the one without us."""

    def put(model: Any) -> Any:
        if order == BEFORE:
            return scene.mine(company.patch(model), way)
        return company.patch(scene.mine(model, way))

    picture = _try(scene, company, put, way)
    if isinstance(picture, str):
        ours = picture.startswith(REFUSED)
        words = picture.removeprefix(f"{REFUSED}: ")
        return Outcome(order, str(way), REFUSED if ours else CRASH, None, words)
    right, alone = pictures
    distance = tiny.relative(picture, right)
    silent = tiny.relative(picture, alone) < company.rounding
    verdict = RIGHT if distance < company.rounding else SILENT if silent else WRONG
    return Outcome(order, str(way), verdict, distance)


def _try(scene: Scene, company: Company, put: Any, way: Way) -> Tensor | str:
    """The picture, or what was said instead of it; without gradients, as the host runs nodes."""
    try:
        with torch.inference_mode():
            return _sample(scene, company, put(scene.model), way)
    except NotImported:
        raise
    except IPAdapterError as error:
        return f"{REFUSED}: {error}"
    except Exception as error:  # noqa: BLE001 - whatever another pack raises
        return f"{type(error).__name__}: {error}"


def _sample(scene: Scene, company: Company, model: Any, way: Way) -> Tensor:
    run = company.sample or scene.sample
    return run(model, way).clone()


def _right(scene: Scene, company: Company, way: Way, order: str) -> Tensor:
    """The picture of the independent oracle; a slot patch where the order is to count."""
    with torch.inference_mode():
        if company.right is not None:
            return company.right(way).clone()
        if company.on_top and order == AFTER:
            assert not (way.masked or way.each), "the oracle of slots knows the whole picture only"
            model = oracle(scene.model, scene.reference)
            return _sample(scene, company, company.patch(model), way)
        with heard(scene, company, way):
            return _sample(scene, company, company.patch(scene.model), way)
