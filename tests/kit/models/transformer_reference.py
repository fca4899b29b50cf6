"""Image prompts on diffusers' transformers: its own code for XLabs and SD3.5.

InstantX for Flux and masks are not in diffusers: they follow the published processor's arithmetic
and our law for masks, written here once more and plainly on diffusers' modules.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.models.transformers.transformer_flux import FluxAttnProcessor
from kit.models import book, checkpoints
from kit.models.transformers import Call, Pair, run_reference
from torch import Tensor

Step = Callable[[Call], Tensor]

_INSTANTX_EPS = 1e-5


@dataclass(frozen=True)
class Prompt:
    """An adapter and what it hears.

    Attributes:
        tensors: under the published keys.
        positive: (references, ...) what the encoder says of each reference.
        negative: (1 or references, ...) what the negative prompt hears in its place.
        scale: for all blocks, or one for each.
        rows: (patches,) how much each row of the picture hears; None without a mask.
    """

    tensors: Mapping[str, Tensor]
    positive: Tensor
    negative: Tensor
    scale: float | tuple[float, ...] = 1.0
    rows: Tensor | None = None

    def embeds(self, call: Call) -> Tensor:
        """(rows of the call, references, ...)."""
        negative = self.negative.expand_as(self.positive)
        heard = [negative if polarity else self.positive for polarity in call.polarities]
        return torch.stack(heard).repeat_interleave(call.batch, 0)

    def scale_of(self, block: int) -> float:
        """What one block multiplies with, by its number in the file."""
        return self.scale[block] if isinstance(self.scale, tuple) else self.scale


def with_xlabs(pair: Pair, *prompts: Prompt) -> Step:
    """diffusers' own loader, projection and processor; masks are put around the processor."""
    reference = _xlabs_reference(pair, prompts)

    def step(call: Call) -> Tensor:
        embeds = [prompt.embeds(call) for prompt in prompts]
        return run_reference(pair, call, reference, ip_adapter_image_embeds=embeds)

    return step


def _xlabs_reference(pair: Pair, prompts: Sequence[Prompt]) -> Any:
    reference = pair.fresh()
    states = [_xlabs_state(prompt.tensors) for prompt in prompts]
    reference._load_ip_adapter_weights(states, low_cpu_mem_usage=False)
    for block, module in enumerate(reference.transformer_blocks):
        processor = module.attn.processor
        processor.scale = [prompt.scale_of(block) for prompt in prompts]
        if any(prompt.rows is not None for prompt in prompts):
            rows = [prompt.rows for prompt in prompts]
            module.attn.set_processor(_MaskedXLabs(processor, rows))
    return reference


def _xlabs_state(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """The published names as diffusers' pipelines change them."""
    state: dict[str, dict[str, Tensor]] = {"image_proj": {}, "ip_adapter": {}}
    for key, value in tensors.items():
        outer, inner = key.split(".", 1)
        inner = inner.replace("processor.ip_adapter_double_stream_", "")
        inner = inner.replace("k_proj.", "to_k_ip.").replace("v_proj.", "to_v_ip.")
        part = "ip_adapter" if outer == "double_blocks" else "image_proj"
        state[part][inner] = value
    return state


class _MaskedXLabs:
    """One call of diffusers' processor for each adapter, so that each has a mask of its own."""

    def __init__(self, processor: Any, rows: Sequence[Tensor | None]) -> None:
        self.processor, self.rows, self.scales = processor, rows, processor.scale

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_rotary_emb: Any = None,
        ip_hidden_states: Sequence[Tensor] | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        image = text = hidden_states
        total = torch.zeros_like(hidden_states)
        for number, rows in enumerate(self.rows):
            self.processor.scale = [
                scale if place == number else 0.0 for place, scale in enumerate(self.scales)
            ]
            image, text, added = self.processor(
                attn,
                hidden_states,
                encoder_hidden_states,
                attention_mask,
                image_rotary_emb,
                ip_hidden_states,
            )
            total += added if rows is None else added * _image_rows(rows, added.shape[1])
        return image, text, total


def _image_rows(rows: Tensor, length: int) -> Tensor:
    """(length, 1) factors of the image's rows; those of pictures to edit hear nothing."""
    return torch.cat((rows, rows.new_zeros(length - len(rows))))[:, None]


@dataclass(frozen=True)
class _Layer:
    """Keys and values of one adapter in one block, (rows of the call, tokens, heads, channels)."""

    key: Tensor
    value: Tensor
    scale: float
    rows: Tensor | None


def with_instantx(pair: Pair, *prompts: Prompt, beside: Sequence[Prompt] = ()) -> Step:
    """The published processor: keys normed per head, the query before its rotation, all rows.

    Args:
        beside: adapters of XLabs on the same model.
    """
    reference = _xlabs_reference(pair, beside) if beside else pair.fresh()
    blocks = [*reference.transformer_blocks, *reference.single_transformer_blocks]
    below = [block.attn.processor for block in blocks]

    def step(call: Call) -> Tensor:
        tokens = [_mlp_tokens(prompt, prompt.embeds(call)) for prompt in prompts]
        for number, block in enumerate(blocks):
            layers = [
                _instantx_layer(pair, number, prompt, rows)
                for prompt, rows in zip(prompts, tokens, strict=True)
            ]
            processor = _InstantX(layers, call.context.shape[1], below[number])
            block.attn.set_processor(processor)
        if not beside:
            return run_reference(pair, call, reference)
        embeds = [prompt.embeds(call) for prompt in beside]
        return run_reference(pair, call, reference, ip_adapter_image_embeds=embeds)

    return step


def _mlp_tokens(prompt: Prompt, embeds: Tensor) -> Tensor:
    """Tokens of all references in one row."""
    weights = checkpoints.nest(prompt.tensors)["image_proj"]
    tokens = book.face_mlp(embeds.flatten(0, 1), weights).float()
    return tokens.reshape(len(embeds), -1, tokens.shape[-1])


def _instantx_layer(pair: Pair, number: int, prompt: Prompt, tokens: Tensor) -> _Layer:
    name = f"ip_adapter.{number}.to_{{}}_ip.weight"
    key, value = (
        (tokens @ prompt.tensors[name.format(part)].T).unflatten(-1, (pair.heads, pair.head))
        for part in "kv"
    )
    key = key * torch.rsqrt(key.square().mean(-1, keepdim=True) + _INSTANTX_EPS)
    return _Layer(key, value, prompt.scale_of(number), prompt.rows)


class _InstantX:
    """Attention to the image tokens beside diffusers' own, added before the output projection."""

    def __init__(self, layers: Sequence[_Layer], text: int, below: Any) -> None:
        self.layers, self.text, self.below = layers, text, below

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_rotary_emb: Any = None,
        ip_hidden_states: Sequence[Tensor] | None = None,
    ) -> Any:
        plain = isinstance(self.below, FluxAttnProcessor)
        heard = {} if plain else {"ip_hidden_states": ip_hidden_states}
        out = self.below(
            attn, hidden_states, encoder_hidden_states, attention_mask, image_rotary_emb, **heard
        )
        single = encoder_hidden_states is None
        query = attn.norm_q(attn.to_q(hidden_states).unflatten(-1, (attn.heads, attn.head_dim)))
        added = torch.zeros_like(hidden_states)
        for layer in self.layers:
            more = layer.scale * _attention(query, layer.key.to(query), layer.value.to(query))
            if layer.rows is not None:
                more = more * self._rows(layer.rows, more.shape[1], single)
            added = added + more
        if single:
            return out + added
        return (out[0] + added @ attn.to_out[0].weight.T, *out[1:])

    def _rows(self, rows: Tensor, length: int, single: bool) -> Tensor:
        """Text belongs to the whole picture: it hears as much as the picture does on average."""
        if not single:
            return _image_rows(rows, length)
        text = rows.mean().expand(self.text)
        return torch.cat((text[:, None], _image_rows(rows, length - self.text)))


def _attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """softmax(q kᵀ / √d) v of (rows, length, heads, channels), heads side by side."""
    weights = torch.einsum("bqhd,bkhd->bhqk", query, key) / query.shape[-1] ** 0.5
    return torch.einsum("bhqk,bkhd->bqhd", weights.softmax(-1), value).flatten(2)


def with_sd3(pair: Pair, *prompts: Prompt) -> Step:
    """diffusers' own loader, resampler and processor; several adapters and masks around them."""
    sources: list[tuple[Any, list[Any]]] = []
    for prompt in prompts:
        reference = pair.fresh()  # its loader knows plain processors only
        reference._load_ip_adapter_weights(
            checkpoints.nest(prompt.tensors), low_cpu_mem_usage=False
        )
        processors = [block.attn.processor for block in reference.transformer_blocks]
        for number, processor in enumerate(processors):
            processor.scale = prompt.scale_of(number)
        sources.append((reference.image_proj, processors))
    reference = pair.fresh()

    def step(call: Call) -> Tensor:
        time = torch.full((len(call.x),), 1000 * call.sigma)
        heard = [
            _timed_tokens(projection, prompt.embeds(call), time)
            for (projection, _), prompt in zip(sources, prompts, strict=True)
        ]
        for number, block in enumerate(reference.transformer_blocks):
            own = [processors[number] for _, processors in sources]
            rows = [prompt.rows for prompt in prompts]
            one = len(own) == 1 and rows[0] is None
            block.attn.set_processor(own[0] if one else _SD3Sum(own, heard, rows))
        tokens, embedding = heard[0]
        return run_reference(pair, call, reference, ip_hidden_states=tokens, temb=embedding)

    return step


def _timed_tokens(projection: Any, embeds: Tensor, time: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens of all references in one row, and the embedding of the noise level."""
    each = [projection(embeds[:, reference], time) for reference in range(embeds.shape[1])]
    return torch.cat([tokens for tokens, _ in each], dim=1), each[0][1]


class _SD3Sum:
    """What each of diffusers' processors adds to the image, summed up after the projection."""

    def __init__(
        self,
        processors: Sequence[Any],
        heard: Sequence[tuple[Tensor, Tensor]],
        rows: Sequence[Tensor | None],
    ) -> None:
        self.sources = list(zip(processors, heard, rows, strict=True))

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        ip_hidden_states: Tensor | None = None,
        temb: Tensor | None = None,
    ) -> Any:
        image, *text = self.sources[0][0](attn, hidden_states, encoder_hidden_states)
        total = image
        for processor, (tokens, embedding), rows in self.sources:
            heard = processor(
                attn,
                hidden_states,
                encoder_hidden_states,
                ip_hidden_states=tokens,
                temb=embedding,
            )[0]
            more = heard - image
            total = total + (more if rows is None else more * _image_rows(rows, more.shape[1]))
        return (total, *text)
