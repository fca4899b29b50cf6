"""What a model call needs to know, found out once before its first layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from torch import Tensor

from ...ip_models.keyvalue import NEGATIVE, POSITIVE
from ...ip_models.prompt import ActivePrompts, PromptStack

KEY = "ipadapter"
_NEGATIVES = "ipadapter_negatives"


def remember_negatives(executor: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
    """OUTER_SAMPLE wrapper: notes which conditionings are negative, for passes of their own.

    Self-attention guidance and others run the negative prompt alone, so at the place of the
    positive one. A conditioning of both lists (the host copies those with an area) counts by place.
    """
    guider = cast("Any", executor).class_obj
    conditions = getattr(guider, "conds", {})  # other packs have guiders of their own
    ids = {
        name: {part["uuid"] for part in conditions.get(name) or () if "uuid" in part}
        for name in ("positive", "negative")
    }
    # The guider's options are a copy that lives for this run only.
    options = guider.model_options["transformer_options"]
    options[_NEGATIVES] = frozenset(ids["negative"] - ids["positive"])
    return executor(*args, **kwargs)


def resolve(
    executor: Callable[..., Tensor],
    x: Tensor,
    t: Tensor,
    c_concat: Any = None,
    c_crossattn: Any = None,
    control: Any = None,
    transformer_options: Mapping[str, Any] | None = None,
    **kwargs: Any,
) -> Tensor:
    """APPLY_MODEL wrapper: replaces the stack by what is heard in this call.

    The options are copied, so that nothing is left in a MODEL whose own options were passed.
    """
    options = dict(transformer_options or {})
    stack = options.get(KEY)
    if isinstance(stack, PromptStack):
        options[KEY] = active_prompts(stack, options, t)
    return executor(x, t, c_concat, c_crossattn, control, options, **kwargs)


def active_prompts(
    stack: PromptStack, options: Mapping[str, Any], sigmas: Tensor | None
) -> ActivePrompts:
    """Read the noise level, only if a window asks for it, and the polarity of each part."""
    sigma = float(sigmas.max()) if stack.windowed and sigmas is not None else None
    places = options.get("cond_or_uncond") or (0,)
    negatives = options.get(_NEGATIVES) or frozenset()
    ids = options.get("uuids") or ()
    if len(ids) != len(places):
        ids = (None,) * len(places)
    rows = (
        POSITIVE if place == 0 and uuid not in negatives else NEGATIVE
        for place, uuid in zip(places, ids, strict=True)
    )
    return stack.at(sigma, tuple(rows))
