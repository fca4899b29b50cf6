"""Wrong inputs at the nodes, progress, and the stop button."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import comfy.model_management
import comfy.utils
import pytest
import torch
from kit.models import tiny
from kit.models.tiny import Twins
from kit.server.live_nodes import tiny_hunyuan_video
from pack.ip_models.errors import BadInput, IPAdapterError, WrongBase, WrongEncoder
from pack.ip_models.references.features import ImageFeatures
from pack.nodes.apply import ApplyIPAdapter
from pack.nodes.embeds import MergeEmbeds, parse_weights
from pack.nodes.host.files import folders
from pack.nodes.host.model import adapter as adapters
from pack.nodes.host.model.adapter import LoadedAdapter
from pack.nodes.host.model.apply import Settings, apply

FEATURES = tiny.random_features(1)


@pytest.fixture(scope="module")
def twin() -> Twins:
    folders.register()
    return tiny.twins("sd1")


@pytest.fixture(scope="module")
def adapter(twin: Twins, tmp_path_factory: pytest.TempPathFactory) -> LoadedAdapter:
    return tiny.load_tensors(tmp_path_factory.mktemp("a"), tiny.adapter_tensors(twin, "plus"))


def is_sentence(error: IPAdapterError) -> bool:
    text = str(error)
    return "\n" not in text and text.endswith(".") and text.count(";") >= 1 and len(text) < 600


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (Settings(scale=float("nan")), "scale is nan"),
        (Settings(scale=float("inf")), "scale is inf"),
        (Settings(start_percent=0.6, end_percent=0.5), "not after the end"),
        (Settings(start_percent=-0.1), "between 0 and 1"),
        (Settings(end_percent=1.5), "between 0 and 1"),
        (Settings(mask=torch.ones(8)), "attn_mask has shape 8"),
        (Settings(mask=torch.ones(2, 3, 8, 8)), "attn_mask has shape 2 x 3 x 8 x 8"),
        (Settings(mask=torch.ones(1, 0, 8)), "empty"),
        (Settings(mask=torch.full((1, 8, 8), float("nan"))), "not finite"),
    ],
)
def test_settings_out_of_range(
    twin: Twins, adapter: LoadedAdapter, settings: Settings, words: str
) -> None:
    with pytest.raises(BadInput) as caught:
        apply(twin.model, adapter, FEATURES, settings)
    assert words in str(caught.value)
    assert is_sentence(caught.value)


def test_features_of_another_encoder(twin: Twins, adapter: LoadedAdapter) -> None:
    other = ImageFeatures(
        pooled=torch.randn(1, 1280),
        penultimate=torch.randn(1, 17, 1664),
        negative_pooled=torch.zeros(1, 1280),
        negative_penultimate=torch.randn(1, 17, 1664),
        source="ViT-bigG",
    )
    with pytest.raises(WrongEncoder, match="ViT-bigG.*needs ViT-H") as caught:
        apply(twin.model, adapter, other, Settings())
    assert is_sentence(caught.value)


def test_a_model_without_cross_attention_is_refused_by_name(adapter: LoadedAdapter) -> None:
    with pytest.raises(WrongBase, match="is HunyuanVideo") as caught:
        apply(tiny_hunyuan_video(), adapter, FEATURES, Settings())
    assert is_sentence(caught.value)


def test_an_adapter_for_another_base_or_depth(twin: Twins, tmp_path: Path) -> None:
    sdxl = tiny.twins("sdxl")
    for_sdxl = tiny.load_tensors(tmp_path, tiny.adapter_tensors(sdxl, "standard"), "xl")
    with pytest.raises(WrongBase, match="adapter for SDXL; this MODEL is SD1.5"):
        apply(twin.model, for_sdxl, FEATURES, Settings())
    fewer = tiny.adapter_tensors(twin, "standard")
    fewer = {key: value for key, value in fewer.items() if not key.startswith("ip_adapter.31.")}
    short = tiny.load_tensors(tmp_path, fewer, "short")
    with pytest.raises(WrongBase, match="has 15 attention layers; this MODEL has 16"):
        apply(twin.model, short, FEATURES, Settings())


def test_a_refused_adapter_leaves_the_model_as_it_was(twin: Twins, adapter: LoadedAdapter) -> None:
    before = tiny.run_comfy(twin.model, tiny.make_call(twin))
    with pytest.raises(BadInput):
        apply(twin.model, adapter, FEATURES, Settings(mask=torch.ones(8)))
    assert twin.model.model_options == {"transformer_options": {}}
    assert torch.equal(tiny.run_comfy(twin.model, tiny.make_call(twin)), before)


@pytest.mark.parametrize("text", ["a", "1,,2", "1;2", "nan", "inf", "1,2,3", ","])
def test_weights_that_cannot_be_read(text: str) -> None:
    with pytest.raises(BadInput, match="weights is") as caught:
        parse_weights(text, 2)
    assert is_sentence(caught.value)


def test_weights_are_filled_up_with_one() -> None:
    assert parse_weights("", 2) == [1.0, 1.0]
    assert parse_weights(" 0.5 ", 2) == [0.5, 1.0]
    assert parse_weights("-1, 2e-1", 2) == [-1.0, 0.2]


def test_merging_nothing_is_refused() -> None:
    with pytest.raises(BadInput, match="no embeds"):
        MergeEmbeds.execute({}, "concat")


class Bar:
    """Collects what the host's progress bar shows."""

    def __init__(self) -> None:
        self.values: list[tuple[int, int]] = []

    def __call__(self, value: int, total: int, *_: Any, **__: Any) -> None:
        self.values.append((value, total))


@pytest.fixture
def bar() -> Iterator[Bar]:
    collected = Bar()
    comfy.utils.set_progress_bar_global_hook(collected)
    yield collected
    comfy.utils.set_progress_bar_global_hook(None)


def test_loading_and_projecting_move_the_progress_bar(
    twin: Twins, tmp_path: Path, bar: Bar
) -> None:
    adapter = tiny.load_tensors(tmp_path, tiny.adapter_tensors(twin, "plus"), "fresh")
    assert bar.values[0] == (1, 3) and bar.values[-1] == (3, 3)
    bar.values.clear()
    apply(twin.model, adapter, tiny.random_features(1, seed=5), Settings())
    assert bar.values[0] == (1, 16) and bar.values[-1] == (16, 16)
    assert bar.values == sorted(bar.values)


def test_projecting_can_be_interrupted_and_tried_again(twin: Twins, adapter: LoadedAdapter) -> None:
    features = tiny.random_features(2, seed=6)
    comfy.model_management.interrupt_current_processing(True)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        apply(twin.model, adapter, features, Settings())
    patched = apply(twin.model, adapter, features, Settings())
    call = tiny.make_call(twin)
    plain = tiny.run_comfy(twin.model, call)
    assert tiny.relative(tiny.run_comfy(patched, call), plain) > 0.01


def test_one_file_is_loaded_once_and_let_go(twin: Twins, tmp_path: Path) -> None:
    first = tiny.load_tensors(tmp_path, tiny.adapter_tensors(twin, "standard"), "same")
    assert adapters.load(str(tmp_path / "same.safetensors")) is first
    key = next(key for key, value in adapters._loaded.items() if value is first)
    del first
    assert key not in adapters._loaded


def test_the_main_node_has_at_most_eight_widgets_and_every_input_a_tooltip() -> None:
    schema = ApplyIPAdapter.define_schema()
    widgets = [
        one
        for one in schema.inputs
        if hasattr(one, "default") and not getattr(one, "advanced", False)
    ]
    assert len(widgets) <= 8
    assert all(one.tooltip for one in schema.inputs)
