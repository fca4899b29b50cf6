"""Weights for the frames of a video, and the pictures that fade into each other with them."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypedDict

import torch
from torch import Tensor

from ....ip_models.errors import BadInput
from ....ip_models.inputs import listed, no_link, parse_numbers
from ....ip_models.weights.schedule import Curve, Ramp

CUSTOM, RANDOM, REVERSE = "custom", "random", "reverse_in_out"
TIMINGS = [CUSTOM, "linear", "ease_in_out", "ease_in", "ease_out", RANDOM]
FULL, SHIFT, ALTERNATE = "full batch", "shift batches", "alternate batches"
METHODS = [FULL, SHIFT, ALTERNATE]
_MOST = 1_000_000  # frames


class Strategy(TypedDict):
    """What the WEIGHTS_STRATEGY socket carries: the node's widgets and the number of pictures."""

    weights: str
    timing: str
    frames: int
    start_frame: int
    end_frame: int
    add_starting_frames: int
    add_ending_frames: int
    method: str
    frame_count: int


_WORDS, _NUMBERS = ("weights", "timing", "method"), ("frames", "start_frame", "end_frame")
_KINDS: dict[str, type] = {
    **dict.fromkeys(_WORDS, str),
    **dict.fromkeys((*_NUMBERS, "add_starting_frames", "add_ending_frames", "frame_count"), int),
}


class Frames(NamedTuple):
    """A weight for each frame, and its pictures if there are any."""

    weights: list[float]
    image_1: Tensor | None = None
    image_2: Tensor | None = None


class _Fade(NamedTuple):
    """From which pictures to which, and the weights of all these."""

    weights: list[float]
    first: Tensor
    second: Tensor | None


def require_strategy(strategy: Any) -> None:
    """Refuse what is not what IPAdapter Weights gives.

    Raises:
        BadInput: it is not.
    """
    held: Any = strategy if isinstance(strategy, Mapping) else {}
    if any(not isinstance(held.get(name), kind) for name, kind in _KINDS.items()):
        raise no_link("weights_strategy", strategy, "IPAdapter Weights")


def plan(strategy: Mapping[str, Any], image: Tensor | None) -> Frames:
    """Weights and pictures of all frames.

    Raises:
        BadInput: the text holds something else than numbers, a word is not known, or there are too
            few pictures for the method.
    """
    listed("method", strategy["method"], METHODS)
    weights = _curve(strategy) or [0.0]
    if image is None:
        return Frames(weights)
    fade = _METHODS[strategy["method"]](weights, image)
    frames = len(weights)
    first = fade.first.repeat_interleave(frames, 0)
    second = None if fade.second is None else fade.second.repeat_interleave(frames, 0)
    before, after = strategy["add_starting_frames"], strategy["add_ending_frames"]
    added = [fade.weights[0]] * before + fade.weights + [fade.weights[-1]] * after
    return Frames(added, *(_added(one, image, before, after) for one in (first, second)))


def prompt_schedule(strategy: Mapping[str, Any], prompt: str) -> str:
    """A line of the text for each picture, at its first frame, as prompt schedules are written."""
    count, frames = strategy["frame_count"], strategy["frames"]
    before, after = strategy["add_starting_frames"], strategy["add_ending_frames"]
    lines = [line for line in prompt.split("\n") if line.strip()][:count]
    if not lines or count <= 0:
        return ""
    lines += lines[-1:] * (count - len(lines))
    entries = [(i * frames + before, line) for i, line in enumerate(lines)]
    if before > 0:
        entries.insert(0, (0, lines[0]))
    if after > 0:
        entries.append((count * frames + before, lines[-1]))
    return "".join(f'"{frame}": "{line}",\n' for frame, line in entries)


def _curve(strategy: Mapping[str, Any]) -> list[float]:
    words = strategy["weights"].replace("\n", ",").split(",")
    numbers = parse_numbers(",".join(word for word in words if word.strip()), "weights")
    timing = strategy["timing"]
    listed("timing", timing, (*TIMINGS, REVERSE))
    if timing == CUSTOM:
        return numbers
    first, last = (numbers[0], numbers[-1]) if numbers else (0.0, 1.0)
    frames = min(max(strategy["frames"], 2), _MOST)
    start, end = strategy["start_frame"], min(strategy["end_frame"], frames)
    moving = _moving(timing, first, last, max(end - start, 0))
    if not moving and start > 0 and timing != RANDOM:
        return [first] * (start - 1) + [last] * (1 + frames - end)
    return [first] * start + moving + [last] * (frames - end)


def _moving(timing: str, first: float, last: float, count: int) -> list[float]:
    """From the first value to the last."""
    if timing == RANDOM:
        numbers = random.Random()  # its own, so that the seeds of others stay as they are
        return [numbers.uniform(first, last) for _ in range(count)]
    if count == 1:
        return [first]
    if timing == REVERSE:
        shares = (1 - math.sin((1 - i / (count - 1)) * math.pi / 2) for i in range(count))
        weights = [first + (last - first) * share for share in shares]
    else:
        ramp = Ramp(first, last, Curve(timing))
        weights = [ramp.at(i, count) for i in range(count)]
    return [*weights[:-1], last] if weights else []


def _full(weights: list[float], image: Tensor) -> _Fade:
    return _Fade(weights * len(image), image, None)


def _shifted(weights: list[float], image: Tensor) -> _Fade:
    _require_two(image, SHIFT)
    return _Fade(weights * (len(image) - 1), image[:-1], image[1:])


def _alternating(weights: list[float], image: Tensor) -> _Fade:
    """Even pictures and odd ones, so that each stays while the other changes."""
    _require_two(image, ALTERNATE)
    low, high = min(weights), max(weights)
    back = [high - (weight - low) for weight in weights]
    fades = len(image) - 1
    there_and_back = [back if i % 2 else weights for i in range(fades)]
    even = image[::2].repeat_interleave(2, 0)[1:][:fades]
    odd = image[1::2].repeat_interleave(2, 0)[:fades]
    return _Fade([weight for part in there_and_back for weight in part], even, odd)


_METHODS: dict[str, Callable[[list[float], Tensor], _Fade]] = {
    FULL: _full,
    SHIFT: _shifted,
    ALTERNATE: _alternating,
}


def _added(made: Tensor | None, image: Tensor, before: int, after: int) -> Tensor | None:
    """With the first picture in front and the last one behind."""
    if made is None or not (before or after):
        return made
    shape = image.shape[1:]
    return torch.cat((image[:1].expand(before, *shape), made, image[-1:].expand(after, *shape)))


def _require_two(image: Tensor, method: str) -> None:
    if len(image) < 2:
        raise BadInput(
            f"{len(image)} picture is connected and method is {method}",
            "there have to be two pictures to go from one to the other",
            f"Connect a batch of pictures, or choose {FULL}",
        )
