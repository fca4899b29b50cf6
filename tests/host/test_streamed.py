"""InstantX for Flux stays in its file: the same keys and values, and never much of it in memory."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import comfy.model_management
import comfy.utils
import psutil
import pytest
import torch
from kit.models import checkpoints, tiny
from kit.models.transformer_adapters import SIGLIP_WIDTH, instantx
from kit.models.transformer_sizes import Sizes
from pack.ip_models.adapter.state_dict import canonical
from pack.ip_models.attention.keyvalue import KeyValues
from pack.ip_models.errors import BrokenFile
from pack.ip_models.references.features import ImageFeatures
from pack.nodes.host.model import streamed
from pack.nodes.host.model.adapter import LoadedAdapter, load, of_weights
from pack.nodes.plus.objects.adapter_dict import form_b
from pack.nodes.plus.objects.pipeline import adapter_of

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
CONTAINERS = {"nested": "a.bin", "flat bin": "a.bin", "flat": "a.safetensors"}
ROOT = Path(__file__).parents[2]
BLOCKS, SLICES = 3, 2**13  # of numbers: each map and both layers of the projection are cut
MOST_MB = 400


def tensors(dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    sizes = Sizes("flux", heads=2, doubles=1, singles=BLOCKS - 1)
    return {key: value.to(dtype) for key, value in instantx(sizes, tokens=5).items()}


def written(folder: Path, container: str, dtype: torch.dtype = torch.float32) -> str:
    return str(checkpoints.write(folder / CONTAINERS[container], tensors(dtype), container))


def in_memory(dtype: torch.dtype = torch.float32) -> LoadedAdapter:
    return of_weights(canonical(tensors(dtype)), "a")


def references(count: int = 2, negative: bool = False, seed: int = 2) -> ImageFeatures:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(2, count, SIGLIP_WIDTH, generator=generator)
    nothing = torch.zeros(count, 1, SIGLIP_WIDTH)
    return ImageFeatures(rows[0], nothing, rows[1], nothing, "SigLIP", negative_given=negative)


def key_values(adapter: LoadedAdapter, features: ImageFeatures) -> KeyValues:
    made = adapter.key_values(features)
    assert isinstance(made, KeyValues)
    return made


def require_close(one: KeyValues, other: KeyValues) -> None:
    for mine, theirs in ((one.cond, other.cond), (one.uncond, other.uncond)):
        assert mine.dtype == theirs.dtype and mine.shape == theirs.shape
        assert tiny.relative(mine, theirs) < 1e-7


@pytest.fixture(params=[SLICES, 2**22], ids=["in slices", "layer by layer"])
def small(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(streamed, "_MOST_VALUES", request.param)
    return request.param


@pytest.mark.parametrize("negative", [False, True], ids=["alone", "with a negative image"])
@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_keys_and_values_are_those_of_the_adapter_in_memory(
    tmp_path: Path, small: int, dtype: torch.dtype, container: str, negative: bool
) -> None:
    adapter, features = load(written(tmp_path, container, dtype)), references(2, negative)
    ours, theirs = key_values(adapter, features), key_values(in_memory(dtype), features)
    require_close(ours, theirs)
    assert ours.cond.norm() > 10 and ours.tokens == 10
    assert (ours.uncond is ours.cond) is not negative


def test_numbers_as_wide_as_the_features(tmp_path: Path) -> None:
    features = references(1)
    assert features.pooled is not None
    rows = features.pooled.half()
    half = dataclasses.replace(features, pooled=rows, negative_pooled=rows)
    ours, theirs = (key_values(one, half) for one in (load(written(tmp_path, "flat")), in_memory()))
    assert ours.cond.dtype == torch.float16
    require_close(ours, theirs)


def test_nothing_of_it_is_in_memory_and_the_node_says_where_it_is(tmp_path: Path) -> None:
    path = written(tmp_path, "nested", torch.float16)
    adapter = load(path)
    assert adapter.patcher.model_size() == 0 and not list(adapter.patcher.model.parameters())
    size = sum(value.nbytes for value in tensors(torch.float16).values()) / 2**20
    assert adapter.describe_size() == f"{size:.0f} MB, read from the file when applied"
    assert f"{in_memory(torch.float16).patcher.model_size() / 2**20:.0f} MB" == f"{size:.0f} MB"


def test_what_other_packs_are_given_can_be_read_and_comes_back(tmp_path: Path) -> None:
    adapter = load(written(tmp_path, "nested"))
    held = form_b(adapter)
    assert adapter_of(held) is adapter
    foreign = {part: dict(held[part]) for part in ("image_proj", "ip_adapter")}
    assert torch.equal(
        foreign["ip_adapter"]["1.to_v_ip.weight"], tensors()["ip_adapter.1.to_v_ip.weight"]
    )
    features = references()
    require_close(key_values(adapter_of(foreign), features), key_values(adapter, features))


@pytest.fixture
def at_step(
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[[Callable[[int, int], object]], None]]:
    """Have something happen whenever the progress bar moves, however soon after it moved before."""
    for limit in ("PROGRESS_THROTTLE_MIN_INTERVAL", "PROGRESS_THROTTLE_MIN_PERCENT"):
        monkeypatch.setattr(comfy.utils, limit, 0, raising=False)

    def begin(happen: Callable[[int, int], object]) -> None:
        comfy.utils.set_progress_bar_global_hook(
            lambda value, total, *_, **__: happen(value, total)
        )

    yield begin
    comfy.utils.set_progress_bar_global_hook(None)


def test_every_slice_moves_the_progress_bar(tmp_path: Path, small: int, at_step: Any) -> None:
    adapter, seen = load(written(tmp_path, "flat")), []
    at_step(lambda value, total: seen.append((value, total)))
    key_values(adapter, references())
    total = len(seen)
    assert seen == [(value, total) for value in range(1, total + 1)]
    assert (total > 50) if small == SLICES else (total == 3 + 2 * BLOCKS)


@pytest.mark.parametrize("step", [1, 40, 68])
def test_it_stops_in_the_middle_and_can_be_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_step: Any, step: int
) -> None:
    monkeypatch.setattr(streamed, "_MOST_VALUES", SLICES)
    adapter, features, seen = load(written(tmp_path, "nested")), references(), []

    def stop(value: int, total: int) -> None:
        seen.append(value)
        comfy.model_management.interrupt_current_processing(value == step < total)

    at_step(stop)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        key_values(adapter, features)
    assert seen[-1] == step
    assert not any("a.bin" in file.path for file in psutil.Process().open_files())
    at_step(lambda *_: None)
    require_close(key_values(adapter, features), key_values(in_memory(), features))


CHANGES: dict[str, Callable[[str], object]] = {
    "written anew": lambda path: checkpoints.write(Path(path), tensors(torch.float16), "flat"),
    "cut": lambda path: os.truncate(path, os.path.getsize(path) // 2),
    "gone": os.unlink,
}


@pytest.mark.parametrize("step", [0, 40], ids=["before", "while it is read"])
@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_is_refused_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_step: Any, change: str, step: int
) -> None:
    monkeypatch.setattr(streamed, "_MOST_VALUES", SLICES)
    path = written(tmp_path, "flat")
    adapter = load(path)
    if step:
        at_step(lambda value, _: value == step and CHANGES[change](path))
    else:
        CHANGES[change](path)
    with pytest.raises(BrokenFile) as refused:
        key_values(adapter, references())
    assert str(refused.value) == (
        "a.safetensors is not the file that was loaded any more; its weights are read from it "
        "while they are needed. Queue the prompt again."
    )


def test_a_file_that_took_its_place_is_another_adapter(tmp_path: Path) -> None:
    path, features = written(tmp_path, "flat"), references()
    first = load(path)
    checkpoints.write(Path(path), {k: 2 * v for k, v in tensors().items()}, "flat")
    second = load(path)
    assert second is not first
    assert (
        tiny.relative(key_values(second, features).cond, key_values(in_memory(), features).cond)
        > 0.1
    )


def test_what_was_projected_is_kept_though_the_file_is_gone(tmp_path: Path) -> None:
    path = written(tmp_path, "nested")
    adapter, features = load(path), references()
    made = key_values(adapter, features)
    os.unlink(path)
    assert key_values(adapter, references()) is made


def test_a_file_of_an_old_torch_stays_on_the_disk_too(tmp_path: Path) -> None:
    path = tmp_path / "old.bin"
    torch.save(checkpoints.nest(tensors()), path, _use_new_zipfile_serialization=False)
    adapter = load(str(path))
    assert adapter.patcher.model_size() == 0
    require_close(key_values(adapter, references()), key_values(in_memory(), references()))


def test_a_file_whose_rows_do_not_follow_is_read_whole_and_that_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "turned.bin"
    turned = {
        key: tensor.T.contiguous().T if tensor.ndim == 2 else tensor
        for key, tensor in tensors().items()
    }
    torch.save(checkpoints.nest(turned), path)
    with caplog.at_level(logging.INFO, "ipadapter"):
        adapter = load(str(path))
    assert "turned.bin: all of it is read into memory" in caplog.text
    assert adapter.patcher.model_size() > 0
    require_close(key_values(adapter, references()), key_values(in_memory(), references()))


SCRIPT = """
import json, sys
sys.path.insert(0, "tests")
import conftest, torch
from pack.ip_models.attention.keyvalue import Row
from pack.ip_models.references.features import ImageFeatures
from pack.nodes.host.model.adapter import load

def megabytes(name):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(name)) / 1024

torch.set_grad_enabled(False)
rows = torch.randn(1, 1152)
torch.nn.functional.linear(rows, torch.randn(64, 1152))  # what the first product needs for itself
features = ImageFeatures(rows, rows[:, None], rows, rows[:, None], "SigLIP")
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # the peak begins here
before, code = megabytes("VmRSS"), megabytes("RssFile")
made = load(sys.argv[1]).key_values(features)
applied = megabytes("VmHWM") - before
made.on((Row(1), Row(0)), torch.device("cpu"), torch.bfloat16)  # as a model's call takes them
peaks = applied, megabytes("VmHWM") - before
read = megabytes("RssFile") - code  # pages of libraries that were not used before are no memory
peaks = [peak - read for peak in peaks]
print(json.dumps([*peaks, made.nbytes / 2**20, list(made.cond.shape)]))
"""


def full_size(path: Path) -> None:
    """The published file with holes for data, which are read as noughts."""
    table = checkpoints.load_table("instantx_flux.1-dev-ip-adapter")
    shapes = table.tensors.items()
    held = {key: torch.empty(shape, dtype=torch.float16) for key, shape in shapes}
    with torch.serialization.skip_data():
        torch.save(checkpoints.nest(held), path)


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="Linux tells the peak")
def test_the_published_file_needs_little_more_than_what_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "ip-adapter.bin"
    full_size(path)
    assert path.stat().st_size > 5.2e9
    run = [sys.executable, "-c", SCRIPT, str(path)]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    applied, sampling, kept, shape = json.loads(done.stdout.splitlines()[-1])
    assert shape == [1, 57 * 2 * 128 * 3072] and kept == pytest.approx(171, abs=1)
    assert kept < applied < kept + 100  # a layer in half precision is 50 MB
    on_device = 3 * kept / 2  # what is uploaded, and that for both prompts, in half precision
    assert applied <= sampling < kept + on_device + 100
    assert max(applied, on_device) < MOST_MB
