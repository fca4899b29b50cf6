"""The promises about speed and memory that can be counted; `dev.py bench` counts more of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import comfy.ldm.modules.attention as host_attention
import folder_paths
import pytest
import torch
from bench import counts, memory, reapply
from bench.bed import tiny_bed
from bench.contenders import How, Ours
from bench.counter import OperatorLog, measure
from bench.counts import Case
from bench.report import Check
from kit.models import tiny
from pack.ip_models.attention.call import BatchMode, Call, CondChunk
from pack.ip_models.attention.keyvalue import COND, UNCOND, KeyValues
from pack.ip_models.attention.prompt import ImagePrompt, LayerPlace
from pack.ip_models.weights.schedule import Ramp
from pack.nodes.host.model.backbones import kernel, unet_patch
from torch import Tensor

CASES = [*counts.cases("sd1"), Case("sdxl standard", "sdxl", ("standard",))]
OURS = Ours()


@pytest.fixture(autouse=True, scope="module")
def _counted_attention() -> Iterator[None]:
    """PyTorch's attention, which is one kernel, and one thread, which is faster for tiny work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        for module in (host_attention, unet_patch, kernel):
            patch.setattr(module, "optimized_attention", host_attention.attention_pytorch)
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("adapters")


def broken(checks: list[Check]) -> list[str]:
    """What was promised and is not kept."""
    assert checks
    return [str(check) for check in checks if not check.passed]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_two_kernels_for_each_layer_and_nothing_else(case: Case, folder: Path) -> None:
    assert broken(counts.cost(OURS, case, folder).checks()) == []


def test_patches_of_others_wait_for_the_noise_level_once_in_a_call(folder: Path) -> None:
    bed = tiny_bed("sd1")
    model = counts.patched(OURS, Case("standard", "sd1", ("standard",)), folder)
    heard: list[float] = []

    def callback(out: Tensor, *layer: object, **options: float) -> Tensor:
        heard.append(options["sigma_end"])
        return torch.zeros_like(out)

    for patch in model.model_options["transformer_options"]["patches_replace"]["attn2"].values():
        patch.add(callback, sigma_start=1e9, sigma_end=0.0)
        patch.add(callback, sigma_start=-1.0, sigma_end=-2.0)
    step, _ = counts.profile(bed, model, 1)
    assert step.syncs - counts.profile(bed, bed.model, 1)[0].syncs == step.calls
    assert set(heard) == {0.0}


def test_what_rows_and_layers_count_is_uploaded_once_in_a_run() -> None:
    """On a GPU each of these copies would wait for everything that was asked of it."""
    head = tuple(torch.rand(4) for _ in range(3))
    keys = KeyValues(torch.rand(2, 48), torch.rand(2, 48), (4, 4, 4))
    keys.own_keys = head
    layers = {place: LayerPlace(place) for place in range(3)}
    frames = (Ramp(0.2, 0.9),)
    prompt = ImagePrompt(keys, layers, frames=frames, batch=BatchMode.LOOP)
    call = Call((CondChunk(UNCOND), CondChunk(COND)), (0, 1, 2), 3)
    elsewhere = torch.device("meta")

    def uploads() -> int:
        resolved = prompt.at(call)
        assert resolved is not None
        with OperatorLog() as log:
            entries = dict(resolved.entries(elsewhere, torch.float32))
        assert {entry.own.device for entry in entries.values() if entry.own is not None}
        assert all(entry.cover is not None for entry in entries.values())
        return log.kernels["_to_copy"]

    assert uploads() == 3  # keys and values of all rows, their weights, and own keys
    assert uploads() == 0
    prompt.release()
    assert uploads() == 3


def test_sampling_needs_no_weights(folder: Path) -> None:
    adapter = OURS.load(counts.adapter_file("sd1", "plus", folder))
    model = counts.patched(OURS, Case("plus", "sd1"), folder)
    need = memory.need(tiny_bed("sd1"), model, OURS.module(model, adapter))
    assert broken(need.checks("sd1")) == []
    assert need.held.others > 0


def test_new_embeds_leave_the_weights_where_they_are(folder: Path) -> None:
    again = reapply.second_apply(OURS, "sd1", folder)
    assert broken(again.checks("sd1")) == []
    assert again.work.products > 0


def test_a_new_scale_projects_nothing(folder: Path) -> None:
    bed, features = tiny_bed("sd1"), tiny.random_features(1)
    adapter = OURS.load(counts.adapter_file("sd1", "plus", folder))
    OURS.apply(bed.model, adapter, features, How())
    _, work = reapply.watch(lambda: OURS.apply(bed.model, adapter, features, How(0.5)), [])
    assert (work.products, work.cast, work.files) == (0, [], [])


def test_apply_reads_no_other_model_files(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "page.safetensors").write_text("<html>")
    places = ([str(tmp_path)], {".safetensors"})
    monkeypatch.setitem(folder_paths.folder_names_and_paths, "clip_vision", places)
    bed, features = tiny_bed("sd1"), tiny.random_features(1)
    adapter = OURS.load(counts.adapter_file("sd1", "standard", folder))
    OURS.apply(bed.model, adapter, features, How())
    _, work = reapply.watch(lambda: OURS.apply(bed.model, adapter, features, How()), [])
    assert work.files == []


def test_the_counter_counts_work_and_only_work() -> None:
    left, right = torch.ones(4, 4), torch.ones(4, 4)
    with OperatorLog() as log:
        left.view(2, 8).transpose(0, 1)[1:].to(torch.float32).detach()
        torch.empty(3)
        (left @ right).add_(left)
        left.clone()
        float(left.max())
    assert log.kernels == {"mm": 1, "add_": 1, "clone": 1, "max": 1}
    assert log.reads == {"_local_scalar_dense": 1}


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_composite_operators_count_as_their_parts(mode: type) -> None:
    module = torch.nn.Linear(4, 4)
    query = torch.ones(1, 1, 4, 8)

    def work() -> None:
        with mode():
            torch.nn.functional.scaled_dot_product_attention(query, query, query)
            module(torch.ones(2, 4))

    found = measure(work, module, torch.device("cpu"))
    assert (found.attention, found.products, found.syncs, found.calls) == (1, 1, 0, 1)
    assert found.kernels == 3  # attention, product, and the ones


def test_what_hangs_on_a_model_is_found(folder: Path) -> None:
    model = tiny_bed("sd1").model.clone()
    assert memory.held_by(model) == memory.Held(0, 0)
    adapter = OURS.load(counts.adapter_file("sd1", "standard", folder))
    kept = [adapter]
    model.model_options["model_function_wrapper"] = lambda apply, options: kept
    assert memory.held_by(model).weights == adapter.patcher.model_size()
