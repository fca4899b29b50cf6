"""Image prompts resolved for each call of the UNet, once before its first layer, in wrappers."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from ....ip_models.attention.prompt import ActivePrompts, Call, CondChunk, PromptStack
from ....ip_models.unet.address import LayerAddress
from ..protocols import AttentionPatch, CondLists, GuiderExecutor, ModelOptions, TransformerOptions
from .conditions import CondChunks, Conditions

KEY = "ipadapter"
_RUN = "ipadapter_run"
_SLOTS = "ipadapter_slots"
_CHUNKS = "ipadapter_chunks"


@dataclass(frozen=True, eq=False)
class _Run:
    """What holds for a whole sampling run.

    Attributes:
        sigmas: the sampler's schedule.
    """

    conditions: Conditions
    sigmas: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class _CallChunks:
    """The conditionings of the present call, by their place and uuid."""

    chunks: CondChunks


def begin(executor: GuiderExecutor, *args: object, **kwargs: object) -> Tensor:
    """OUTER_SAMPLE wrapper: puts the conditionings and the sigmas of the run into its options.

    Windows are made anew from the noise schedule that is really used: the MODEL may have been given
    another one after the references were applied.
    """
    guider = executor.class_obj
    # The guider's options are a copy that lives for this run only.
    options = guider.model_options["transformer_options"]
    stack = options.get(KEY)
    if isinstance(stack, PromptStack):
        sampling = guider.model_patcher.get_model_object("model_sampling")
        options[KEY] = stack.under(sampling.percent_to_sigma)
        sigmas = cast("Tensor | None", args[3] if len(args) > 3 else kwargs.get("sigmas"))
        levels = tuple(sigmas.tolist()) if stack.needs_sigma and sigmas is not None else ()
        options[_RUN] = _Run(Conditions(guider), levels)
    return executor(*args, **kwargs)


def describe(
    executor: Callable[..., list[Tensor]],
    model: object,
    conds: CondLists,
    x: Tensor,
    timestep: Tensor,
    model_options: ModelOptions,
) -> list[Tensor]:
    """CALC_COND_BATCH wrapper: puts what each conditioning is into the options of the call.

    The options are copied, so that nothing is left in a MODEL whose own options were passed.
    """
    options = model_options.get("transformer_options", {})
    if isinstance(options.get(KEY), PromptStack):
        run = options.get(_RUN)
        conditions = run.conditions if isinstance(run, _Run) else Conditions(None)
        described = _CallChunks(conditions.chunks(conds, tuple(x.shape[2:])))
        model_options = {**model_options, "transformer_options": {**options, _CHUNKS: described}}
    return executor(model, conds, x, timestep, model_options)


def resolve(
    executor: Callable[..., Tensor],
    x: Tensor,
    t: Tensor,
    c_concat: object = None,
    c_crossattn: object = None,
    control: object = None,
    transformer_options: TransformerOptions | None = None,
    **kwargs: object,
) -> Tensor:
    """APPLY_MODEL wrapper: replaces the stack by the image prompts of this call.

    The options are copied, so that nothing is left in a MODEL whose own options were passed.
    """
    options = dict(transformer_options or {})
    stack = options.get(KEY)
    if isinstance(stack, PromptStack):
        options[KEY] = active_prompts(stack, options, t, len(x))
        options[_SLOTS] = options.get("patches_replace", {}).get("attn2", {})
        with _separate_graphs():
            return executor(x, t, c_concat, c_crossattn, control, options, **kwargs)
    return executor(x, t, c_concat, c_crossattn, control, options, **kwargs)


@contextmanager
def _separate_graphs() -> Generator[None]:
    """Keeps torch.compile from using graphs made without image prompts.

    The host's compile node drops all guards on its options, so that patches put on a model that
    has been compiled once are not seen. Outside of autocast this flag does nothing, but graphs are
    guarded on it.
    """
    before = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        yield
    finally:
        torch.set_autocast_cache_enabled(before)


def active_prompts(
    stack: PromptStack, options: TransformerOptions, sigmas: Tensor | None, batch: int
) -> ActivePrompts:
    """The image prompts of a model call; reads the noise level only if one depends on it.

    Args:
        options: the host's transformer options.
        batch: number of pictures, all conditionings together.
    """
    chunks = _chunks_of_call(options)
    frames, total = _frames(options, batch // len(chunks))
    sigma, step, steps = None, 0, 1
    if stack.needs_sigma and sigmas is not None:
        sigma = float(sigmas.max())
        step, steps = _step(sigma, options)
    return stack.at(Call(chunks, frames, total, sigma, step, steps))


def patch_of_block(options: TransformerOptions, address: LayerAddress) -> AttentionPatch | None:
    """The patch that owns all layers of a block, None if there is none."""
    return options.get(_SLOTS, {}).get((address.block, address.number))


def without_image_prompts(options: TransformerOptions) -> TransformerOptions:
    """Options for a patch below ours, so that no image prompt is added a second time."""
    return {**options, KEY: None, _SLOTS: {}}


def _chunks_of_call(options: TransformerOptions) -> tuple[CondChunk, ...]:
    places = options.get("cond_or_uncond") or (0,)
    ids = options.get("uuids") or ()
    if len(ids) != len(places):
        ids = (None,) * len(places)
    described, run = options.get(_CHUNKS), options.get(_RUN)
    known = described.chunks if isinstance(described, _CallChunks) else {}
    conditions = run.conditions if isinstance(run, _Run) else Conditions(None)
    return tuple(
        known.get((place, uuid)) or CondChunk(conditions.cond_or_uncond(uuid, place))
        for place, uuid in zip(places, ids, strict=True)
    )


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
    run = options.get(_RUN)
    levels = run.sigmas if isinstance(run, _Run) else ()
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
