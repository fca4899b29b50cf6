"""A CLIP that knows a dozen words: the first of them that a text holds is the prompt."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import comfy.sd
import torch
from torch import Tensor, nn

from . import WORDS

Tokens = dict[str, list[list[tuple[int, float]]]]
_KEY = "toy"


class ToyTokenizer:
    """Text -> the number of its word; the one after the last means none."""

    def __init__(self, **_: Any) -> None:
        pass

    def tokenize_with_weights(self, text: str, return_word_ids: bool = False, **_: Any) -> Tokens:
        found = [word for word in re.findall("[a-z]+", text.lower()) if word in WORDS]
        return {_KEY: [[(WORDS.index(found[0]) if found else len(WORDS), 1.0)]]}


class ToyText(nn.Module):
    """What the host asks of a text model; it only looks words up."""

    def __init__(self, words: Tensor, **_: Any) -> None:
        super().__init__()
        self.words = nn.Parameter(words, requires_grad=False)
        self.dtypes = {torch.float32}

    def set_clip_options(self, options: Any) -> None:
        pass

    def reset_clip_options(self) -> None:
        pass

    def encode_token_weights(self, tokens: Tokens) -> tuple[Tensor, Tensor]:
        rows = [row[0][0] for row in tokens[_KEY]]
        return self.words[rows], self.words[rows].mean(1)


def load_text(words: Tensor) -> comfy.sd.CLIP:
    """CLIP of the context (words + 1, tokens, width) of each word and of no word."""

    def build(**options: Any) -> ToyText:
        return ToyText(words, **options)

    return comfy.sd.CLIP(SimpleNamespace(params={}, clip=build, tokenizer=ToyTokenizer))
