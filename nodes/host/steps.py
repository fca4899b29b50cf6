"""What a model call needs to know, found out once before its first layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from ...ip_models.keyvalue import NEGATIVE, POSITIVE
from ...ip_models.prompt import ActivePrompts, PromptStack

KEY = "ipadapter"


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
    rows = (POSITIVE if part == 0 else NEGATIVE for part in options.get("cond_or_uncond") or (0,))
    return stack.at(sigma, tuple(rows))
