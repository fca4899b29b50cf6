"""One fingerprint for one encoder, however it was loaded."""

from __future__ import annotations

import copy
import gc
import math
import weakref
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pack.nodes.host.encoder import identity
from pack.nodes.host.encoder.identity import fingerprint


class Encoder:
    """As much of a CLIP_VISION as is read."""

    def __init__(self, model: Any) -> None:
        self.model = model


def network(seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(7, 30), torch.nn.LayerNorm(30))
    model.register_buffer("count", torch.arange(3))
    return model


def test_a_fingerprint_is_16_digits_and_the_same_in_any_precision_and_order() -> None:
    single = fingerprint(Encoder(network()))
    assert len(single) == 16 and int(single, 16) >= 0
    assert fingerprint(Encoder(network().half())) == single
    assert fingerprint(Encoder(network().double())) == single
    turned = network()
    weight = turned[0].weight  # pyright: ignore[reportIndexIssue]
    weight.data = weight.data.T.contiguous().T  # as files of OpenAI's layout are read
    assert not weight.is_contiguous() and fingerprint(Encoder(turned)) == single


def test_another_encoder_another_name_and_another_shape_are_told_apart() -> None:
    plain = network()
    renamed = torch.nn.ModuleDict({"a": network()[0], "b": network()[1]})  # pyright: ignore
    nudged = network()
    nudged[1].bias.data[3] += 1e-3  # pyright: ignore
    flat = network()
    flat[0].weight.data = flat[0].weight.data.reshape(7, 30)  # pyright: ignore
    models = [plain, network(1), renamed, nudged, flat]
    assert len({fingerprint(Encoder(model)) for model in models}) == len(models)


def test_the_weights_are_read_once_and_the_encoder_is_not_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    encoder, reads = Encoder(network()), list[int]()
    original = identity._digest

    def counted(model: Any) -> str:
        reads.append(1)
        return original(model)

    monkeypatch.setattr(identity, "_digest", counted)
    assert fingerprint(encoder) == fingerprint(copy.copy(encoder)) and len(reads) == 1
    gone = weakref.ref(encoder.model)
    del encoder
    gc.collect()
    assert gone() is None


def test_written_weights_are_read_again() -> None:
    encoder = Encoder(network())
    before = fingerprint(encoder)
    with torch.no_grad():
        encoder.model[1].bias[3] += 1
    assert fingerprint(encoder) != before
    with torch.inference_mode():
        uncounted = Encoder(network())
        assert fingerprint(uncounted) == fingerprint(uncounted) == before


@pytest.mark.parametrize("shape", [(1280, 1280), (5120, 1280), (1024, 3, 14, 14), (257, 1280)])
def test_values_are_read_in_all_parts_of_a_matrix(shape: tuple[int, ...]) -> None:
    length, places = math.prod(shape), identity._places(shape)
    assert len(set(places.tolist())) == 256 and places.min() >= 0 and places.max() < length
    row = length // shape[0]
    for part, whole in ((places % row, row), (places // row, shape[0])):
        counts = torch.histc(part.double(), 8, 0, whole)
        assert counts.min() > 24  # 32 is even


@pytest.mark.parametrize("length", [0, 1, 2, 3, 30, 256])
def test_all_values_of_a_short_tensor_are_read(length: int) -> None:
    assert sorted(identity._places((length,)).tolist()) == list(range(length))


def test_weights_that_were_rounded_more_coarsely_are_not_compared() -> None:
    coarse = network().bfloat16()
    assert fingerprint(Encoder(coarse)) == ""
    assert fingerprint(Encoder(coarse.half())) == ""  # as the host reads such a file
    partly = network()
    partly[0].weight.data = partly[0].weight.data.to(torch.float8_e4m3fn)  # pyright: ignore
    assert fingerprint(Encoder(partly)) == ""


def test_a_patched_encoder_is_not_compared() -> None:
    encoder: Any = Encoder(network())
    encoder.patcher = SimpleNamespace(patches={}, object_patches={})
    assert fingerprint(encoder) == fingerprint(Encoder(network()))
    for change in ("patches", "object_patches"):
        encoder.patcher = SimpleNamespace(**{change: {"1.bias": ()}})
        assert fingerprint(encoder) == ""


@pytest.mark.parametrize("thing", [None, object(), Encoder(None), Encoder("weights")])
def test_an_object_without_weights_has_none(thing: Any) -> None:
    assert fingerprint(thing) == ""
