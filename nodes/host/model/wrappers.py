"""Image prompts resolved for each call of the UNet, once before its first layer, in wrappers."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import cast

import comfy.model_management
import torch
from torch import Tensor
from torch.nn import Module

from ....ip_models.attention.stack import PromptStack
from ..protocols import CondLists, GuiderExecutor, ModelExecutor, ModelOptions, TransformerOptions
from ..server import telling
from .backbones.backbone import Backbone
from .call.calls import KEY, RUN, STEP, Run, Step, active_prompts
from .call.conditions import Conditions
from .call.place import StepLatent
from .call.run_part import run_part

BACKBONE = "ipadapter_backbone"
_SHARE = 4  # of the memory that is free when a run begins, this part may hold keys and values
_LEAST_BYTES = 64 * 2**20


@telling
def begin(executor: GuiderExecutor, *args: object, **kwargs: object) -> Tensor:
    """OUTER_SAMPLE wrapper: puts what the whole run needs into its options, drops it after.

    Windows are made anew from the noise schedule that is really used: the MODEL may have been given
    another one after the references were applied.
    """
    guider = executor.class_obj
    # The guider's options are a copy that lives for this run only.
    options = guider.model_options["transformer_options"]
    stack = options.get(KEY)
    if isinstance(stack, PromptStack):
        sampling = guider.model_patcher.get_model_object("model_sampling")
        of_run = stack.under(sampling.percent_to_sigma)
        if any(prompt.keys.timed for prompt in stack.prompts):  # a later node may have set norms
            of_run = of_run.on(_backbone(options).norms(guider.model_patcher))
        options[KEY] = of_run
        sigmas = cast("Tensor | None", args[3] if len(args) > 3 else kwargs.get("sigmas"))
        levels = tuple(sigmas.tolist()) if stack.needs_sigma and sigmas is not None else ()
        conditions = Conditions(guider)
        conditions.warn_of_lost(stack.bindings)
        noise = args[0] if args else kwargs.get("noise")
        seed = args[7] if len(args) > 7 else kwargs.get("seed")
        options[RUN] = Run(conditions, levels, run_part(stack, noise, seed))
        try:
            of_run.prepare(levels[:-1])  # at the last one nothing is left to do
            return executor(*args, **kwargs)
        finally:
            of_run.cleanup()
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

    Slots are seen to here too: some packs run the layers of the UNet by themselves, and the other
    wrappers are then passed by. The options are copied, so that nothing is left in a MODEL whose
    own options were passed.
    """
    options = model_options.get("transformer_options", {})
    stack = options.get(KEY)
    if isinstance(stack, PromptStack):
        run = options.get(RUN)
        conditions = run.conditions if isinstance(run, Run) else Conditions(None)
        options = _backbone(options).hook_call(options, stack.slots)
        options[STEP] = Step(conditions.chunks(conds, tuple(x.shape[2:])), StepLatent(x), conds)
        model_options = {**model_options, "transformer_options": options}
    return executor(model, conds, x, timestep, model_options)


def resolve(
    executor: ModelExecutor,
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
        _measure(options, stack, x.device)
        options[KEY] = active_prompts(stack, options, t, len(x), x)
        network = cast("Module", executor.class_obj.diffusion_model)
        size = int(x.shape[-2]), int(x.shape[-1])
        calling = _backbone(options).calling(network, options, stack.slots, size)
        with _separate_graphs(), calling as options:
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


def _backbone(options: TransformerOptions) -> Backbone:
    return cast("Backbone", options[BACKBONE])


def _measure(options: TransformerOptions, stack: PromptStack, device: torch.device) -> None:
    """At the first call of a run, when the host has loaded all models: how much may be held."""
    run = options.get(RUN)
    if isinstance(run, Run) and not run.measured:
        run.measured = True
        free = comfy.model_management.get_free_memory(device)
        stack.allow(max(_LEAST_BYTES, int(free) // _SHARE))
