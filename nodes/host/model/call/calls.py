"""What a call of the model is: its chunks, pictures, frames and step, read from its options."""

from __future__ import annotations

from dataclasses import dataclass
from operator import is_

from torch import Tensor

from .....ip_models.attention.call import Call, CondChunk
from .....ip_models.attention.shared import Shared
from .....ip_models.attention.stack import ActivePrompts, PromptStack
from .....ip_models.errors import WrongBatch
from ...protocols import CondLists, TransformerOptions
from .conditions import CondChunks, Conditions
from .place import Latents, StepLatent, place
from .record import call_record, run_record
from .run_part import RunPart

KEY = "ipadapter"
RUN = "ipadapter_run"
STEP = "ipadapter_step"


@dataclass(eq=False)
class Run(Shared):
    """What holds for a whole sampling run.

    Attributes:
        sigmas: the sampler's schedule.
        part: what the run is a part of.
        measured: whether it is known what may be held on the device.
    """

    conditions: Conditions
    sigmas: tuple[float, ...]
    part: RunPart
    measured: bool = False


@dataclass(frozen=True, eq=False)
class Step(Shared):
    """What the present step of the sampler gives to the model.

    Attributes:
        chunks: its conditionings, by their place and uuid.
        latent: what they are about.
        conds: the conditionings themselves, as the host has prepared them.
    """

    chunks: CondChunks
    latent: StepLatent
    conds: CondLists = ()


def active_prompts(
    stack: PromptStack,
    options: TransformerOptions,
    sigmas: Tensor | None,
    rows: int,
    x: Tensor | None = None,
) -> ActivePrompts:
    """The image prompts of a model call; reads the noise level only if one depends on it.

    Args:
        options: the host's transformer options.
        rows: of the latents that are passed to the model, all conditionings and tiles together.
        x: these latents, None where the model is called around the host's wrappers.

    Raises:
        UnknownPlace: the image prompts depend on the place of a tile that cannot be known.
        WrongBatch: the rows are not as many for each conditioning.
    """
    now, run = options.get(STEP), options.get(RUN)
    latents = Latents(
        x,
        now.latent if isinstance(now, Step) else None,
        run.part if isinstance(run, Run) else RunPart(),
    )
    chunks = _chunks_of_call(options)
    pictures, tiles = _pictures(options, rows, len(chunks))
    within, total = _frames(options, pictures)
    frames, total = _in_batch(within, total, latents.run)
    chunks = place(stack, chunks * tiles, within, latents, options)
    sigma, step, steps = None, 0, 1
    record = run_record(options)
    if sigmas is not None and (stack.needs_sigma or (record and record.needs_step)):
        sigma = float(sigmas.max())
        step, steps = _step(sigma, options)
    places = list(options["cond_or_uncond"]) if "cond_or_uncond" in options else None
    call = Call(chunks, frames, total, sigma, step, steps, within)
    if record is None:
        return stack.at(call, places)
    conds = now.conds if isinstance(now, Step) else ()
    noted = call_record(record, stack, call, latents, options, conds)
    return stack.at(call, places, noted)


def active_in_layer(stack: PromptStack, options: TransformerOptions, rows: int) -> ActivePrompts:
    """The same, where the model was called around the host's wrappers; read once for all layers.

    Args:
        rows: of the query of a layer.
    """
    places, known, sigmas = call_places(options), _known_pictures(options), options.get("sigmas")
    rows = len(places) * known[0] if known else rows
    # The host makes these anew for each call; another caller may write into them.
    window = options.get("context_window")
    own = (sigmas, options.get(STEP), options.get("uuids"), window)
    shown = tuple((options.get("ad_params") or {}).get("sub_idxs") or ())
    sure, last = isinstance(options.get(RUN), Run) or not stack.needs_sigma, stack.last
    if sure and last.active and last.of == (places, rows, shown) and all(map(is_, last.own, own)):
        return last.active
    active = active_prompts(stack, options, sigmas, rows)
    last.of, last.own = (places, rows, shown), own
    return active


def call_places(options: TransformerOptions) -> tuple[int, ...]:
    """The place in the lists of conditionings of each chunk; a pack may write into the list."""
    return tuple(options.get("cond_or_uncond") or (0,))


def _chunks_of_call(options: TransformerOptions) -> tuple[CondChunk, ...]:
    places = call_places(options)
    ids = options.get("uuids") or ()
    if len(ids) != len(places):
        ids = (None,) * len(places)
    now, run = options.get(STEP), options.get(RUN)
    known = now.chunks if isinstance(now, Step) else {}
    conditions = run.conditions if isinstance(run, Run) else Conditions(None)
    return tuple(
        known.get((place, uuid)) or CondChunk(conditions.cond_or_uncond(uuid, place))
        for place, uuid in zip(places, ids, strict=True)
    )


def _pictures(options: TransformerOptions, rows: int, chunks: int) -> tuple[int, int]:
    """Pictures of a chunk, and how often the chunks are repeated: once for each tile of a picture.

    Packs that tile a latent pass all rows of one tile, then all rows of the next.
    """
    known = [pictures * chunks for pictures in _known_pictures(options)]
    for whole in known:
        if whole == rows:
            return whole // chunks, 1
    for whole in known:
        if rows % whole == 0:
            return whole // chunks, rows // whole
    if rows % chunks == 0:
        return rows // chunks, 1
    wholes = " or ".join(str(whole) for whole in dict.fromkeys(known))
    expected = wholes or f"a multiple of {chunks}"
    raise WrongBatch(
        f"another node passes {rows} pictures to the model for {chunks} conditionings",
        f"{expected} of them are needed to know which is the positive and which the negative",
        "Take out the node that changes the batch",
    )


def _known_pictures(options: TransformerOptions) -> list[int]:
    """How many pictures a chunk has, from those who know it."""
    now, sigmas = options.get(STEP), options.get("sigmas")
    known = [len(now.latent.latent)] if isinstance(now, Step) else []
    # The host has one noise level for each picture; others may have one for all.
    if isinstance(sigmas, Tensor) and sigmas.ndim and (known or len(sigmas) > 1):
        known.append(len(sigmas))
    return [pictures for pictures in known if pictures]


def _in_batch(within: tuple[int, ...], total: int, run: RunPart) -> tuple[tuple[int, ...], int]:
    """The same places in the batch that the run is a part of, or of the pictures it is tiles of."""
    if not run.pictures or max(within) >= len(run.pictures):
        return within, total
    return tuple(run.pictures[place] for place in within), max(run.pictures) + 1


def _frames(options: TransformerOptions, count: int) -> tuple[tuple[int, ...], int]:
    """Places in the run of the pictures of a chunk, and how many the run has."""
    window = options.get("context_window")
    if window is not None and getattr(window, "dim", 0) == 0:
        places = [int(place) for place in window.index_list]
        anchor = getattr(window, "causal_anchor_index", None)
        if anchor is not None and anchor >= 0:  # a frame before the window, dropped afterwards
            places.insert(0, int(anchor))
        if len(places) == count:
            return tuple(places), int(window.total_frames)
    # AnimateDiff-Evolved announces its windows in a table of its own.
    motion = options.get("ad_params") or {}
    places = motion.get("sub_idxs")
    if places is not None and len(places) == count:
        return tuple(int(place) for place in places), int(motion.get("full_length") or count)
    return tuple(range(count)), count


def _step(sigma: float, options: TransformerOptions) -> tuple[int, int]:
    """Place of a noise level in the schedule; what lies between two steps belongs to the first."""
    run = options.get(RUN)
    levels = run.sigmas if isinstance(run, Run) else ()
    if not levels and options.get("sample_sigmas") is not None:
        levels = tuple(options["sample_sigmas"].tolist())
    if len(levels) < 2:
        return 0, 1
    tolerance = 1e-4 * abs(sigma)
    if levels[0] > levels[-1]:
        passed = [i for i, level in enumerate(levels[:-1]) if level >= sigma - tolerance]
    else:  # noise is put in instead of taken out
        passed = [i for i, level in enumerate(levels[:-1]) if level <= sigma + tolerance]
    return (passed[-1] if passed else 0), len(levels) - 1
