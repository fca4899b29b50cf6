"""Types of weights, attention kernels, little memory and compiled models change no picture."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import comfy.ldm.modules.attention as host_attention
import comfy.model_management as memory
import comfy.sample
import comfy.sd
import pytest
import torch
from comfy_api.torch_helpers import set_torch_compile_wrapper
from comfy_extras.nodes_torch_compile import TorchCompileModel, skip_torch_compile_dict
from kit.models import companions, tiny
from kit.models.companions import Reference
from kit.models.tiny import Twins
from kit.unet import parse_blocks
from pack.ip_models.weights.gains import Weights
from pack.ip_models.weights.schedule import Ramp
from pack.nodes.host.model import patches
from pack.nodes.host.model.adapter import LoadedAdapter
from pack.nodes.host.model.apply import Settings, apply
from pack.nodes.host.model.backbones import kernel as kernels
from pack.nodes.host.model.backbones import unet_patch
from torch import Tensor

ROUNDING, EFFECT = 1e-5, 0.01
FEATURES = tiny.random_features(1, seed=51)
MIDDLE = "diffusion_model.middle_block.1.transformer_blocks.0"


@cache
def twin() -> Twins:
    return tiny.twins("sd1")


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> LoadedAdapter:
    tensors = tiny.adapter_tensors(twin(), "plus", seed=1)
    return tiny.load_tensors(tmp_path_factory.mktemp("a"), tensors)


def applied(model: Any, adapter: LoadedAdapter, **settings: Any) -> Any:
    return apply(model, adapter, FEATURES, Settings(**settings))


def sample(model: Any, steps: int = 3, callback: Callable[..., None] | None = None) -> Tensor:
    generator = torch.Generator().manual_seed(4)
    positive, negative = ([[torch.randn(1, 8, 768, generator=generator), {}]] for _ in range(2))
    noise = torch.randn(1, 4, 16, 16, generator=generator)
    return comfy.sample.sample(
        model,
        noise,
        steps,
        4.0,
        "euler",
        "normal",
        positive,
        negative,
        torch.zeros_like(noise),
        disable_pbar=True,
        callback=callback,
        seed=1,
    )


# Types of weights

HALF, BRAIN, EIGHT = torch.float16, torch.bfloat16, torch.float8_e4m3fn


@pytest.mark.parametrize(
    ("storage", "compute"),
    [
        (HALF, None),
        (BRAIN, None),
        (HALF, torch.float32),
        (BRAIN, torch.float32),
        (EIGHT, torch.float32),
        (EIGHT, BRAIN),
        (EIGHT, HALF),
        (torch.float8_e5m2, torch.float32),
    ],
    ids=str,
)
def test_the_adapter_loses_no_more_precision_than_the_model_itself(
    adapter: LoadedAdapter, storage: torch.dtype, compute: torch.dtype | None
) -> None:
    model = companions.rebuilt(twin().model, storage, compute)
    exact = companions.rebuilt(twin().model, rounded=storage)
    together, alone = sample(applied(model, adapter)), sample(model)
    assert torch.isfinite(together).all()
    assert tiny.relative(together, alone) > EFFECT
    error = tiny.relative(together, sample(applied(exact, adapter)))
    if compute is torch.float32:
        assert error < ROUNDING
    else:
        assert error < 2 * tiny.relative(alone, sample(exact))
    assert torch.equal(sample(model), alone)


@pytest.mark.parametrize("dtype", [HALF, BRAIN], ids=str)
def test_an_adapter_of_any_type_is_used_as_precisely_as_it_is_stored(
    tmp_path: Path, dtype: torch.dtype
) -> None:
    tensors = tiny.adapter_tensors(twin(), "plus", seed=1)
    rounded = {key: value.to(dtype) for key, value in tensors.items()}
    widened = {key: value.float() for key, value in rounded.items()}
    model = twin().model
    narrow = sample(applied(model, tiny.load_tensors(tmp_path, rounded, "narrow")))
    wide = sample(applied(model, tiny.load_tensors(tmp_path, widened, "wide")))
    assert tiny.relative(narrow, wide) < ROUNDING
    assert tiny.relative(narrow, sample(model)) > EFFECT


# Attention kernels


def test_an_override_by_another_node_is_for_text_and_self_attention_only(
    adapter: LoadedAdapter,
) -> None:
    model = twin().model
    lengths: list[int] = []

    def louder(function: Any, *args: Any, **kwargs: Any) -> Tensor:
        lengths.append(args[1].shape[1])
        return function(*args, **kwargs) * 1.3

    def overridden(patched: Any) -> Any:
        patched = patched.clone()
        patched.model_options["transformer_options"]["optimized_attention_override"] = louder
        return patched

    alone = sample(overridden(model))
    expected, lengths[:] = list(lengths), []
    together = sample(overridden(applied(model, adapter)))
    assert lengths == expected  # as many, of the same lengths, in the same order
    assert torch.equal(sample(applied(overridden(model), adapter)), together)

    def text(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
        return companions.plain_attention(q, k, v, heads) * 1.3

    oracle = companions.oracle(model, Reference(adapter, FEATURES), text=text)
    assert tiny.relative(together, sample(overridden(oracle))) < ROUNDING
    assert tiny.relative(together, alone) > EFFECT
    assert tiny.relative(together, sample(applied(model, adapter))) > EFFECT


def use_kernel(patch: pytest.MonkeyPatch, kernel: Any) -> None:
    """What the host's command line does when it picks an attention."""
    patch.setattr(host_attention, "optimized_attention", kernel)
    patch.setattr(unet_patch, "optimized_attention", kernel)
    patch.setattr(kernels, "optimized_attention", kernel)


@pytest.mark.parametrize("name", ["basic", "sub_quad", "split", "pytorch"])
def test_every_exact_kernel_gives_the_same_picture(
    adapter: LoadedAdapter, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = sample(applied(twin().model, adapter))
    use_kernel(monkeypatch, getattr(host_attention, f"attention_{name}"))
    assert tiny.relative(sample(applied(twin().model, adapter)), expected) < ROUNDING


def coarse(q: Tensor, k: Tensor, v: Tensor, heads: int, *args: Any, **kwargs: Any) -> Tensor:
    """Attention on numbers rounded as visibly as an 8 bit kernel's never are."""
    q, k, v = ((t * 4).round() / 4 for t in (q, k, v))
    return host_attention.attention_pytorch(q, k, v, heads)


def coarse_unless_told(*args: Any, **kwargs: Any) -> Tensor:
    """A stand-in for the host's `attention_sage`, which can be told to be exact."""
    if kwargs.pop("low_precision_attention", True) is False:
        return host_attention.attention_pytorch(*args, **kwargs)
    return coarse(*args, **kwargs)


@pytest.mark.parametrize(
    ("name", "kernel"),
    [
        ("attention_sage", coarse_unless_told),
        ("attention3_sage", coarse),
        ("attention_comfy_kitchen_int8", coarse),
    ],
)
def test_the_image_is_never_attended_to_in_low_precision(
    adapter: LoadedAdapter, name: str, kernel: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The latter two kernels of the host cannot be told to be exact."""
    model = twin().model
    exact = sample(applied(model, adapter))
    wrapped = host_attention.wrap_attn(kernel)
    monkeypatch.setattr(host_attention, name, wrapped, raising=False)
    use_kernel(monkeypatch, wrapped)
    together = sample(applied(model, adapter))
    assert tiny.relative(together, exact) > EFFECT
    reference = Reference(adapter, FEATURES)
    precise = host_attention.attention_pytorch
    oracle = companions.oracle(model, reference, text=coarse, image=precise)
    assert tiny.relative(together, sample(oracle)) < ROUNDING
    damaged = companions.oracle(model, reference, text=coarse, image=coarse)
    assert tiny.relative(together, sample(damaged)) > EFFECT


def test_every_kernel_of_the_host_takes_the_arguments_of_ours() -> None:
    names = [name for name in vars(host_attention) if name.startswith("attention_")]
    assert {"attention_basic", "attention_sub_quad", "attention_sage"} <= set(names)
    for name in names:
        signature = inspect.signature(getattr(host_attention, name))
        for more in ("low_precision_attention", "transformer_options"):
            signature.bind(0, 0, 0, 0, attn_precision=None, **{more: None})


# Little memory: the flags themselves need a GPU to start, so the CPU is taken for one


def pretend_little_memory(patch: pytest.MonkeyPatch, state: Any, share: float) -> None:
    """The host's `vram_state` with room for a share of the tiny model."""
    room = int(twin().model.model_size() * share)

    def free(device: Any = None, torch_free_too: bool = False) -> Any:
        return (room, room) if torch_free_too else room

    memory.unload_all_models()
    patch.setattr(memory, "vram_state", state)
    patch.setattr(memory, "is_device_cpu", lambda device: False)
    patch.setattr(memory, "get_free_memory", free)
    patch.setattr(memory, "minimum_inference_memory", lambda: 0)
    patch.setattr(memory, "MIN_WEIGHT_MEMORY_RATIO", 1.0)


@pytest.mark.parametrize(
    ("state", "share"),
    [(memory.VRAMState.LOW_VRAM, 0.5), (memory.VRAMState.NO_VRAM, 0.5)],
    ids=["--lowvram", "--novram"],
)
def test_weights_that_are_brought_layer_by_layer_give_the_same_picture(
    tmp_path: Path, state: Any, share: float
) -> None:
    base = twin().model
    lora = companions.lora(base)
    model, _ = comfy.sd.load_lora_for_models(base, None, lora, 0.8, 0.0)
    tensors = tiny.adapter_tensors(twin(), "plus", seed=3)
    alone, untouched = sample(model), sample(base)
    together = sample(applied(model, tiny.load_tensors(tmp_path, tensors, "ample")))
    with pytest.MonkeyPatch.context() as patch:
        pretend_little_memory(patch, state, share)
        adapter = tiny.load_tensors(tmp_path, tensors, "scarce")
        tight = sample(applied(model, adapter))
        everywhere = len(lora) // 3
        assert 0 < base.model.lowvram_patch_counter <= everywhere
        if state is memory.VRAMState.LOW_VRAM:
            assert base.model.lowvram_patch_counter < everywhere
        else:
            assert adapter.patcher.model.model_lowvram
        memory.unload_all_models()
        assert tiny.relative(sample(model), alone) < ROUNDING
        memory.unload_all_models()
    assert tiny.relative(tight, together) < ROUNDING
    assert tiny.relative(tight, alone) > EFFECT
    assert torch.equal(sample(base), untouched)


# torch.compile


class Counting:
    """A compiler that counts the graphs it is given and runs them as they are."""

    def __init__(self) -> None:
        self.graphs = 0

    def __call__(self, graph: Any, inputs: list[Any], **options: Any) -> Any:
        self.graphs += 1
        return graph.forward

    def compile(self, model: Any, key: str = "diffusion_model") -> Any:
        """As the host's compile node does it."""
        compiled = model.clone(disable_dynamic=True)
        options: Any = {"guard_filter_fn": skip_torch_compile_dict}
        set_torch_compile_wrapper(compiled, self, options, keys=[key])
        return compiled

    def sample(self, model: Any, steps: int = 6) -> tuple[Tensor, list[int]]:
        """The picture, and the number of graphs after each step."""
        after: list[int] = []
        picture = sample(model, steps, lambda *args: after.append(self.graphs))
        return picture, after


@pytest.fixture
def compiler(caplog: pytest.LogCaptureFixture) -> Iterator[Counting]:
    torch.compiler.reset()
    for name in ("torch.__trace", "torch._dynamo"):
        caplog.set_level(logging.ERROR, name)
    yield Counting()
    torch.compiler.reset()


WINDOW = {"start_percent": 0.3, "end_percent": 0.7}
FADE = {"weights": Weights(steps=(Ramp(0.0, 1.0),))}


def test_compiled_models_obey_start_end_and_steps_and_are_compiled_once(
    adapter: LoadedAdapter, compiler: Counting
) -> None:
    base = twin().model
    models = [applied(base, adapter, **how) for how in (WINDOW, FADE, {"scale": 0.4}, {})]
    expected = [sample(model, 6) for model in models]
    whole, plain = expected[-1], sample(base, 6)
    for picture in expected[:-1]:
        assert tiny.relative(picture, whole) > EFFECT
        assert tiny.relative(picture, plain) > EFFECT
    picture, after = compiler.sample(compiler.compile(models[0]))
    assert tiny.relative(picture, expected[0]) < ROUNDING
    assert after[0] > 10
    assert after[1:] == [after[1]] * 5
    for model, eager in zip(models, expected, strict=True):
        picture, later = compiler.sample(compiler.compile(model))
        assert tiny.relative(picture, eager) < ROUNDING
        assert set(later) == {after[-1]}
    picture, _ = compiler.sample(applied(compiler.compile(base), adapter, **WINDOW))
    assert tiny.relative(picture, expected[0]) < ROUNDING
    assert tiny.relative(compiler.sample(compiler.compile(base))[0], plain) < ROUNDING
    assert torch.equal(sample(base, 6), plain)


@pytest.mark.parametrize("order", ["plain first", "adapter first"])
def test_graphs_of_the_plain_model_are_not_taken_for_those_with_an_adapter(
    adapter: LoadedAdapter, compiler: Counting, order: str
) -> None:
    """The host's compile node does not look whether the patches of a model have changed."""
    base = twin().model
    middle = applied(base, adapter, weights=Weights(blocks=(parse_blocks("6: 1"),)))
    models = [base, middle] if order == "plain first" else [middle, base]
    expected = {id(model): sample(model, 2) for model in models}
    assert tiny.relative(*expected.values()) > 1e-3
    for _ in range(2):
        for model in models:
            picture, _ = compiler.sample(compiler.compile(model, MIDDLE), 2)
            assert tiny.relative(picture, expected[id(model)]) < ROUNDING
    assert compiler.graphs > 0


def test_the_compile_node_of_the_host_takes_a_model_with_an_adapter(
    adapter: LoadedAdapter,
) -> None:
    """It is not run here: inductor takes minutes for a UNet."""
    model = applied(twin().model, adapter, **WINDOW)
    compiled = TorchCompileModel.execute(model, "inductor").result[0]
    assert patches.prompts_of(compiled) == patches.prompts_of(model)


def test_graphs_of_all_layers_are_not_taken_for_those_of_a_few(
    adapter: LoadedAdapter, compiler: Counting
) -> None:
    """Which layers are used can change from run to run; the graphs stay the same."""
    base = twin().model
    weights = [Weights(blocks=(parse_blocks(text),)) for text in ("5: 1", "0: 1, 9: 0.5", "6: 1")]
    models = [applied(base, adapter), *(applied(base, adapter, weights=one) for one in weights)]
    expected = [sample(model, 2) for model in models]
    for model, eager in zip([*models, *models], [*expected, *expected], strict=True):
        picture, graphs = compiler.sample(compiler.compile(model), 2)
        assert tiny.relative(picture, eager) < ROUNDING
    assert graphs[-1] == graphs[0]
