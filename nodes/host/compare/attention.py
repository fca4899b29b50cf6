"""A MODEL whose attention to references is looked at, and the maps of its runs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import comfy.patcher_extension
from torch import Tensor

from ....ip_models.attention.record import RunRecord, Selection
from ....ip_models.attention_maps.canvas import means
from ....ip_models.attention_maps.picture import coloured, laid_over, resized
from ....ip_models.attention_maps.view import AttentionView
from ....ip_models.errors import BadInput
from ....ip_models.weights.block_weights import parse_blocks
from ..model.backbones.layers import VOCABULARY, found
from ..model.call.record import RECORD
from ..protocols import GuiderExecutor, Model

VIEWS = "ipadapter_views"
_OUTER = comfy.patcher_extension.WrappersMP.OUTER_SAMPLE
_PIXELS = 8  # of the picture for one of the latent, along each side
_SHOWN = 16  # maps in words


class Brightness(str, Enum):
    """What white stands for."""

    STRONGEST = "strongest is white"
    CONTRAST = "weakest is black"
    SHARE = "share as it is"


@dataclass(frozen=True)
class Wanted:
    """What of a run is to be shown.

    Attributes:
        picture: to lay the maps over, None for the maps alone.
        reference: its number from 1, 0 for all.
    """

    picture: Tensor | None
    reference: int
    brightness: Brightness


def select(model: Model, blocks: str, first: int, last: int | None) -> Selection:
    """The layers and steps that a user has chosen.

    Args:
        blocks: as block weights are written; what is not 0 is looked at. "" for all.

    Raises:
        BadInput: the text is wrong, names what this MODEL does not have or nothing at all, or
            there is no step between the two.
        WrongBase: no reference works in this MODEL.
    """
    if last is not None and last <= first:
        raise BadInput(
            f"start_at_step is {first} and end_at_step is {last}",
            "the end lies after the start",
            "Swap or correct the two",
        )
    backbone, layers = found(model)
    if not blocks.strip():
        return Selection(None, first, last)
    try:
        gains = parse_blocks(blocks, VOCABULARY).gains(layers, 0, 1)
    except BadInput as error:
        raise BadInput(f"blocks: {error.found}", error.needed, error.action) from None
    slots = {
        slot
        for layer, gain in zip(layers, gains, strict=True)
        if gain.factor
        for slot in backbone.places(layer)
    }
    if not slots:
        raise BadInput(
            "the text of the blocks gives 0 to every block",
            "what is not 0 is looked at",
            "Write 1 for a block, like 4:1, or leave it empty for all",
        )
    return Selection(frozenset(slots), first, last)


def view(model: Model, selection: Selection) -> tuple[Model, AttentionView]:
    """A new MODEL whose runs are looked at, and what will be seen in them."""
    seen, patched = AttentionView(selection), model.clone()
    options = patched.model_options["transformer_options"]
    options[VIEWS] = (*options.get(VIEWS, ()), seen)
    options.setdefault("wrappers", {}).setdefault(_OUTER, {})[VIEWS] = [record_run]
    return patched, seen


def record_run(executor: GuiderExecutor, *args: object, **kwargs: object) -> Tensor:
    """OUTER_SAMPLE wrapper: a new record for each run, kept if the run comes to its end."""
    # The guider's options are a copy that lives for this run only.
    options = executor.class_obj.model_options["transformer_options"]
    views: tuple[AttentionView, ...] = options.get(VIEWS, ())
    record = options[RECORD] = RunRecord([one.selection for one in views])
    try:
        latent = executor(*args, **kwargs)
    finally:
        options.pop(RECORD, None)
    for one, seen in zip(views, record.seen, strict=True):
        one.keep(record, seen, latent)
    return latent


def attention_maps(seen: AttentionView, latent: Any, wanted: Wanted) -> tuple[Tensor, Tensor, str]:
    """Pictures (n, height, width, 3), masks (n, height, width), and what they show in words.

    There is one for each reference and picture, all pictures of the first reference first.

    Raises:
        BadInput: the latent is of no run of this MODEL, or there is no such reference or picture.
        UnknownPlace: the run cannot be shown.
    """
    run = seen.run_of(latent["samples"])
    assert run.maps is not None
    maps, numbers = run.maps, list(range(1, len(run.maps) + 1))
    if wanted.reference:
        if wanted.reference not in numbers:
            raise BadInput(
                f"reference is {wanted.reference}",
                f"the MODEL has {len(numbers)}, one for each region of each Apply",
                "Choose one of them, or 0 for all",
            )
        numbers = [wanted.reference]
        maps = maps[wanted.reference - 1 :][:1]
    text = _text(maps, numbers, run.layers)
    if not len(maps):  # a MODEL without references: nothing is heard anywhere
        maps = run.maps.new_zeros(1, *run.maps.shape[1:])
    pictures = maps.shape[1]
    flat, over = maps.flatten(0, 1), _over(wanted.picture, pictures)
    flat = _bright(flat, wanted.brightness)
    sides = (_PIXELS * flat.shape[1], _PIXELS * flat.shape[2])
    height, width = sides if over is None else (int(side) for side in over.shape[1:3])
    masks = resized(flat, height, width)
    if over is None:
        return coloured(masks), masks, text
    return laid_over(masks, over.repeat(len(maps), 1, 1, 1)), masks, text


def _bright(maps: Tensor, brightness: Brightness) -> Tensor:
    if brightness is Brightness.SHARE:
        return maps
    if brightness is Brightness.CONTRAST:
        maps = maps - maps.amin()
    return maps / maps.amax().clamp_min(1e-12)


def _over(picture: Tensor | None, count: int) -> Tensor | None:
    """A picture for each of a run."""
    if picture is None:
        return None
    if len(picture) not in (1, count):
        raise BadInput(
            f"image holds {len(picture)} pictures and the latent {count}",
            "one for each, or one for all, is needed",
            "Connect the decoded latent",
        )
    picture = picture.cpu()
    return picture if len(picture) == count else picture.expand(count, -1, -1, -1)


def _text(maps: Tensor, numbers: list[int], layers: int) -> str:
    """How loud each reference is."""
    if not len(maps):
        return "no reference is heard: the MODEL has none. Connect the MODEL of Apply IP-Adapter."
    pictures = maps.shape[1]
    if not layers:
        return "no layer of those looked at has heard a reference in this run"
    lines = [f"share of the output of {layers} {'layer' if layers == 1 else 'layers'}"]
    for at, (mean, most) in enumerate(means(maps)[:_SHOWN]):
        name = f"reference {numbers[at // pictures]}"
        if pictures > 1:
            name += f", picture {at % pictures + 1}"
        lines.append(f"{name}: {100 * mean:.1f} % on average, {100 * most:.1f} % at most")
    if maps.shape[0] * pictures > _SHOWN:
        lines.append(f"and {maps.shape[0] * pictures - _SHOWN} more")
    return "\n".join(lines)
