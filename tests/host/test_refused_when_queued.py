"""Files that do not go together are refused when a prompt is sent, before any of them is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from kit.server import live
from kit.server.live import Client, Prompt
from kit.server.live_graph import changed, node
from test_compatibility import PREFIX, unet_shapes
from test_search import shapes_of_encoder, write_sparse


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    base, models = live.base_with_adapter(tmp_path_factory)
    for folder in ("checkpoints", "clip_vision"):
        (models / folder).mkdir()
    for family in ("sd1", "sdxl"):
        shapes = {f"{PREFIX}{key}": shape for key, shape in unet_shapes(family, 1).items()}
        write_sparse(models / "checkpoints" / f"{family}.safetensors", shapes)
    (models / "ipadapter" / "page.safetensors").write_bytes(b"<!doctype html><html></html>")
    write_sparse(models / "clip_vision" / "large.safetensors", shapes_of_encoder("L"))
    with live.running(base, models) as running:
        yield running


def with_checkpoint(family: str, **more: Any) -> Prompt:
    loader = node("CheckpointLoaderSimple", ckpt_name=f"{family}.safetensors")
    return changed() | {"checkpoint": loader} | more


def through(family: str) -> Prompt:
    """A node of the host between loader and Apply."""
    sampling = node("ModelSamplingDiscrete", model=["checkpoint", 0], sampling="eps", zsnr=False)
    prompt = with_checkpoint(family, sampling=sampling)
    prompt["apply"]["inputs"]["model"] = ["sampling", 0]
    return prompt


def simple(kind: str, family: str = "sdxl") -> Prompt:
    values = {"scale": 1.0, "preset": "linear", "start_percent": 0.0, "end_percent": 1.0}
    made = node("IPASimple", model=["checkpoint", 0], image=["photo", 0], kind=kind, **values)
    prompt = with_checkpoint(family, simple=made)
    prompt["sampler"]["inputs"]["model"] = ["simple", 0]
    return prompt


def joined() -> Prompt:
    """Embeds of an encoder through a node that joins them."""
    encoder = node("IPALoadEncoder", encoder_file="large.safetensors")
    merge = node("IPAMergeEmbeds", method="concat", weights="", **{"embeds.embeds0": ["encode", 0]})
    return changed(apply={"embeds": ["merge", 0]}) | {"encoder": encoder, "merge": merge}


def weighted(kind: str, **values: Any) -> Prompt:
    return changed(apply={"block_weights": ["weights", 0]}) | {"weights": node(kind, **values)}


def regions(scales: str) -> Prompt:
    made = node("IPARegions", scales=scales, **{"embeds.embeds0": ["encode", 0]})
    return changed(apply={"embeds": ["regions", 0]}) | {"regions": made}


def swept(**values: str) -> Prompt:
    made = node("IPASweep", start_percents="", end_percents="", order="each with each", **values)
    return changed(apply={"scale": ["sweep", 0]}) | {"sweep": made}


OTHER_BASE = "tiny.safetensors is an adapter for SD1.5; this MODEL is SDXL"
REFUSED: dict[str, tuple[Prompt, str, str]] = {
    "another base": (
        with_checkpoint("sdxl"),
        "apply",
        f"adapter - ipadapter.WrongBase: {OTHER_BASE}",
    ),
    "another base, through a node": (through("sdxl"), "apply", OTHER_BASE),
    "another encoder": (
        joined(),
        "apply",
        "ipadapter.WrongEncoder: the embeds come from ViT-L; tiny.safetensors needs ViT-H",
    ),
    "nothing of the kind": (
        simple("plus"),
        "simple",
        "kind - ipadapter.MissingModel: models/ipadapter has adapters for SD1.5, none for this "
        "MODEL; page.safetensors is a web page",
    ),
    "no face models": (simple("FaceID", "sd1"), "simple", "kind - ipadapter.MissingModel: "),
    "an end before the start": (
        changed(apply={"start_percent": 0.9, "end_percent": 0.1}),
        "apply",
        "ipadapter.BadInput: start_percent is 0.9 and end_percent is 0.1",
    ),
    "block weights": (
        weighted("IPABlockWeights", preset="custom", weights="0:x"),
        "weights",
        "weights - ipadapter.BadInput: ",
    ),
    "a schedule": (
        weighted("IPASchedule", over="steps", start=1.0, end=1.0, curve="linear", values="1, loud"),
        "weights",
        "values - ipadapter.BadInput: ",
    ),
    "regions": (regions("loud"), "regions", "scales - ipadapter.BadInput: "),
    "a sweep": (
        swept(scales="0, x", presets=""),
        "sweep",
        "scales - ipadapter.BadInput: ",
    ),
    "a preset of a sweep": (
        swept(scales="", presets="linaer"),
        "sweep",
        'ipadapter.BadInput: "linaer" in presets is not known',
    ),
    "a web page": (
        changed(adapter={"adapter_file": "page.safetensors"}),
        "adapter",
        "adapter_file - ipadapter.BrokenFile: page.safetensors is a web page",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_go_together_is_refused_at_once(client: Client, case: str) -> None:
    prompt, place, words = REFUSED[case]
    status, answer = client.post("/prompt", {"prompt": prompt})
    assert status == 400, answer
    said = [error["details"] for error in answer["node_errors"][place]["errors"]]
    assert len(said) == 1 and words in said[0]


def test_what_is_not_known_or_right_is_queued(client: Client) -> None:
    for prompt in (changed(), with_checkpoint("sd1"), through("sd1")):
        client.wait(client.queue(prompt))  # the checkpoints hold no weights, which is for the run
