"""File to picture through the real server: HTTP in, PNG out, and one sentence when it fails."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from kit.models import checkpoints, transformer_adapters
from kit.models.transformers import tiny_flux
from kit.server import live
from kit.server.live import Client, Prompt
from kit.server.live_graph import (
    binding_without_negative,
    changed,
    deeper,
    graph,
    node,
    region_with_mask,
    regional,
    sampling,
    weighted,
    with_tensor,
)
from kit.server.tiny_nodes.adapter import write_tiny_adapter
from PIL import Image

FRAMES = {
    **dict.fromkeys(("frames", "start_frame", "add_starting_frames", "add_ending_frames"), 0),
    "end_frame": 9999,
    "method": "full batch",
}
WIDTHS = [32, 32, 64, 64, *[128] * 5, *[64] * 3, *[32] * 3, 128]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    base = tmp_path_factory.mktemp("comfy base")
    models = base / "shared models"
    write_models(models / "ipadapter")
    # Without the host's cache every node of every prompt really runs.
    with live.running(base, models, "--cache-none") as running:
        yield running


@pytest.fixture(scope="module")
def usual(client: Client) -> bytes:
    """What the graph gives; nothing that was queued before may change it."""
    return client.picture(graph())


def write_models(folder: Path) -> None:
    (folder / "sub").mkdir(parents=True)
    write_tiny_adapter(folder / "tiny.safetensors")
    write_tiny_adapter(folder / "sub" / "second.bin", seed=5)
    for name, width, context in (("for_vit_g", 1280, 768), ("for_sdxl", 1024, 2048)):
        tensors = checkpoints.tiny_adapter("standard", WIDTHS, context, width, 4)
        checkpoints.write(folder / f"{name}.safetensors", tensors, "flat")
    torch.save(transformer_adapters.xlabs(tiny_flux()), folder / "flux.bin")
    torch.save({"pulid_ca.0.norm1.weight": torch.zeros(8)}, folder / "pulid.bin")
    whole = (folder / "tiny.safetensors").read_bytes()
    (folder / "cut.safetensors").write_bytes(whole[:-1000])
    (folder / "page.safetensors").write_text("<!DOCTYPE html><html>Sign in</html>")
    (folder / "pointer.bin").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0")


def test_all_nodes_are_there_with_their_words(client: Client) -> None:
    info = client.get("/object_info")
    ours = {
        "IPALoadAdapter",
        "IPALoadForModel",
        "IPALoadEncoder",
        "IPAPrepareImage",
        "IPANoiseImage",
        "IPAEncodeImage",
        "IPAMergeEmbeds",
        "IPASaveEmbeds",
        "IPALoadEmbeds",
        "IPALoadFaceModels",
        "IPAEncodeFace",
        "IPARegions",
        "IPABlockWeights",
        "IPASchedule",
        "IPAPreviewMask",
        "IPAApply",
        "IPABindToConditioning",
        "IPARemove",
        "IPADoctor",
        "IPAConvertAdapter",
        "IPAConvertEmbeds",
    }
    assert ours <= info.keys()
    for name in ours:
        assert info[name]["description"]
        for group in ("required", "optional"):
            for _, options in info[name]["input"].get(group, {}).values():
                inner = options.get("template", {}).get("input", {})
                assert "tooltip" in options or inner, (name, options)


def test_a_photo_goes_in_and_a_picture_comes_out(client: Client) -> None:
    plain = graph() | sampling(["checkpoint", 0])
    picture = client.picture(graph())
    assert picture != client.picture(plain)
    assert len(set(picture)) > 50
    assert picture == client.picture(graph())


def test_the_loader_says_what_the_file_is(client: Client) -> None:
    entry = client.run(changed(adapter={"adapter_file": "sub/second.bin"}))
    text = entry["outputs"]["adapter"]["text"][0]
    assert "SD1.5, standard, 4 tokens, needs ViT-H" in text


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("tiny.safetensors", "SD1.5, standard, 4 tokens, needs ViT-H"),
        ("flux.bin", "Flux, XLabs, 4 tokens, needs ViT-L"),
        ("pulid.bin", "is a PuLID file for Flux"),
        ("page.safetensors", "is a web page"),
        ("../secret", "is not in"),
        ("", "for both: put https://huggingface.co/"),
    ],
)
def test_a_file_is_described_before_anything_runs(client: Client, file: str, words: str) -> None:
    assert words in client.get(f"/ipadapter/about?file={file}")["text"][0]


def test_merged_and_removed_references_reach_the_picture(client: Client, usual: bytes) -> None:
    prompt = graph()
    prompt["merge"] = node(
        "IPAMergeEmbeds",
        method="average",
        weights="1, 0.5",
        **{"embeds.embeds0": ["encode", 0], "embeds.embeds1": ["encode", 0]},
    )
    prompt["apply"]["inputs"]["embeds"] = ["merge", 0]
    merged = client.picture(prompt)
    assert merged != usual
    removed = graph() | sampling(["remove", 0])
    removed["remove"] = node("IPARemove", model=["apply", 0])
    assert client.picture(removed) == client.picture(graph() | sampling(["checkpoint", 0]))


def test_weights_reach_the_picture(client: Client, usual: bytes) -> None:
    whole = usual
    pictures = [
        weighted("IPABlockWeights", preset="composition"),
        weighted("IPABlockWeights", preset="custom", weights="0:1.0, 3:0.5"),
        weighted("IPABlockWeights", preset="style transfer precise", weights="", boost=2.0),
        weighted("IPASchedule", over="steps", start=1.0, end=0.0, curve="ease_in"),
        weighted("IPASchedule", over="frames", start=0.3, end=0.0, curve="linear"),
    ]
    made = [client.picture(prompt) for prompt in pictures]
    assert len({whole, *made}) == 1 + len(made)
    linear = weighted("IPABlockWeights", preset="linear", weights="")
    assert client.picture(linear) == whole
    chained = weighted("IPASchedule", over="steps", start=1.0, end=0.0, curve="ease_in")
    chained["weights"]["inputs"]["multiply"] = ["first", 0]
    chained["first"] = node("IPABlockWeights", preset="linear", weights="")
    assert client.picture(chained) == made[3]


def test_lists_of_other_packs_are_scales_and_factors(client: Client, usual: bytes) -> None:
    numbers = node("IPAdapterWeights", weights="0.4, 1", timing="custom", **FRAMES)
    listed = changed(apply={"scale": ["numbers", 0]}) | {"numbers": numbers}
    wanted = client.picture(graph(scale=0.4))
    assert client.picture(listed) == wanted != usual
    line = {"start": ["numbers", 0], "end": 1.0, "curve": "linear"}
    scheduled = weighted("IPASchedule", over="frames", **line) | {"numbers": numbers}
    assert client.picture(scheduled) == wanted


def test_a_sweep_makes_each_picture_and_one_sheet_of_them(client: Client) -> None:
    prompt = changed(apply={"scale": ["sweep", 0]})
    unused = dict.fromkeys(("presets", "start_percents", "end_percents"), "")
    prompt["sweep"] = node("IPASweep", scales="0.4, 1", **unused)
    images, labels = {"images.image0": ["decode", 0]}, ["sweep", 4]
    prompt["sheet"] = node("IPASheet", **images, labels=labels, columns=["sweep", 5])
    outputs = client.run(prompt)["outputs"]
    assert [len(outputs[name]["images"]) for name in ("save", "sheet")] == [2, 1]
    assert outputs["sweep"]["text"] == ["2 pictures:\nscale 0.4\nscale 1"]
    for path, scale in zip(client.saved(prompt)["save"], (0.4, 1.0), strict=True):
        with Image.open(path) as made:
            assert made.convert("RGB").tobytes() == client.picture(graph(scale=scale))


def test_regions_reach_the_picture(client: Client, usual: bytes) -> None:
    scaled = client.picture(regional())
    assert scaled not in (usual, client.picture(graph(scale=0.8)))
    whole = regional(masks=())
    assert client.picture(whole) == client.picture(graph(scale=0.8))
    entry = client.run(regional())
    assert "scale 0.8, mask 40 x 60" in entry["outputs"]["regions"]["text"][0]


def test_binding_to_both_prompts_is_applying(client: Client, usual: bytes) -> None:
    prompt = graph()
    inputs = prompt["apply"]["inputs"]
    prompt["apply"] = node(
        "IPABindToConditioning",
        **inputs,
        conditioning=["positive", 0],
        negative=["negative", 0],
    )
    prompt["sampler"]["inputs"] |= {"positive": ["apply", 1], "negative": ["apply", 2]}
    assert client.picture(prompt) == usual
    prompt["sampler"]["inputs"] |= {"positive": ["positive", 0], "negative": ["negative", 0]}
    plain = graph() | sampling(["checkpoint", 0])
    assert client.picture(prompt) == client.picture(plain)


WRONG: dict[str, tuple[Prompt, list[str]]] = {
    "encoder": (
        changed(adapter={"adapter_file": "for_vit_g.safetensors"}),
        ["WrongEncoder", "come from ViT-H", "needs ViT-bigG", "models/clip_vision"],
    ),
    "base": (
        changed(adapter={"adapter_file": "for_sdxl.safetensors"}),
        ["WrongBase", "SDXL", "SD1.5", "Load"],
    ),
    "kind": (
        changed(adapter={"adapter_file": "pulid.bin"}),
        ["UnsupportedAdapter", "pulid.bin", "PuLID", "SD1.5"],
    ),
    "page": (changed(adapter={"adapter_file": "page.safetensors"}), ["BrokenFile", "web page"]),
    "pointer": (changed(adapter={"adapter_file": "pointer.bin"}), ["BrokenFile", "Git LFS"]),
    "cut": (changed(adapter={"adapter_file": "cut.safetensors"}), ["BrokenFile", "cut off"]),
    "model": (
        changed(apply={"model": ["bad", 0]}) | {"bad": node("IPATestHunyuanVideo")},
        ["WrongBase", "HunyuanVideo", "SD1.5, SD2, SDXL, Kolors, Flux.1"],
    ),
    "no picture": (with_tensor("encode", "image", 0, "0x8x8x3"), ["BadInput", "no pixels"]),
    "no pixels": (with_tensor("encode", "image", 0, "1x0x8x3"), ["BadInput", "no pixels"]),
    "not a number": (
        with_tensor("encode", "image", 0, "2x8x8x3", -1e25),
        ["BadInput", "image 1 of 2", "not finite"],
    ),
    "negative not a number": (
        with_tensor("encode", "negative_image", 0, "1x8x8x3", -1e25),
        ["BadInput", "negative_image", "not finite"],
    ),
    "image of rank 3": (with_tensor("encode", "image", 0, "8x8x3"), ["BadInput", "8 x 8 x 3"]),
    "mask of rank 4": (
        with_tensor("apply", "attn_mask", 1, "2x3x8x8"),
        ["BadInput", "attn_mask", "2 x 3 x 8 x 8"],
    ),
    "mask of rank 5": (
        with_tensor("apply", "attn_mask", 1, "1x1x1x8x8"),
        ["BadInput", "attn_mask", "1 x 1 x 1 x 8 x 8"],
    ),
    "block that is not there": (
        weighted("IPABlockWeights", preset="custom", weights='{"up": {"block_0": [0, 1, 0]}}'),
        ["BadInput", "up.block_0", "down.block_0", "up.block_1"],
    ),
    "block weights nobody can read": (
        weighted("IPABlockWeights", preset="custom", weights="3=0.5"),
        ["BadInput", "3=0.5", "0:1.0"],
    ),
    "no block weights": (
        weighted("IPABlockWeights", preset="custom", weights=""),
        ["BadInput", "empty", "preset"],
    ),
    "transformer that is not there": (
        weighted("IPABlockWeights", preset="custom", weights="16: 1"),
        ["BadInput", "transformer 16", "numbers 0 to 15"],
    ),
    "list for more references than there are": (
        weighted("IPABlockWeights", preset="custom", weights='{"mid": [[0.7, 0.3]]}'),
        ["BadInput", "with Regions", "2", "1"],
    ),
    "schedule": (
        weighted("IPASchedule", over="steps", start=1.0, end=0.0, curve="linear", values="1; 2"),
        ["BadInput", "1; 2", "commas"],
    ),
    "mask without its reference": (
        regional(masks=(0, 1)),
        ["BadInput", "mask1", "embeds1"],
    ),
    "more scales than regions": (regional(scales="1, 2, 3"), ["BadInput", "scales", "1, 2, 3"]),
    "regions in regions": (
        regional() | {"apply": graph()["apply"]} | deeper("IPARegions", scales=""),
        ["BadInput", "another Regions node"],
    ),
    "regions merged": (
        regional() | {"apply": graph()["apply"]} | deeper("IPAMergeEmbeds", method="average"),
        ["BadInput", "regions", "Choose concat"],
    ),
    "mask of a region": (
        regional()
        | {"mask": node("IPATestTensor", shape="1x1x1x8x8", value=1.0)}
        | {"regions": region_with_mask(["mask", 1])},
        ["BadInput", "mask0 has shape 1 x 1 x 1 x 8 x 8"],
    ),
    "mask of greys up to 255": (
        with_tensor("apply", "attn_mask", 1, "1x8x8", 255.0),
        ["BadInput", "from 255 to 255", "Divide"],
    ),
    "masks that are one link": (
        regional() | {"regions": region_with_mask(["mask", 0], "masks")},
        ["BadInput", "mask0, mask1"],
    ),
    "weights that are no link": (
        changed(apply={"block_weights": "0:1"}),
        ["BadInput", 'block_weights is "0:1"', "Block Weights"],
    ),
    "factor that is not a number": (
        weighted("IPABlockWeights", preset="style transfer precise", boost=float("nan")),
        ["BadInput", "boost is nan"],
    ),
    "negative of Bind that is not there": (
        binding_without_negative(),
        ["BadInput", "negative of KSampler", "negative input is empty", "Connect the negative"],
    ),
    "two kinds of masks": (
        regional(mask=["mask", 0]),
        ["BadInput", "attn_mask", "Disconnect"],
    ),
    "encoder mask": (
        with_tensor("encode", "mask", 1, "3x8x8"),
        ["BadInput", "mask has shape 3 x 8 x 8", "for 1 image(s)"],
    ),
    "mask to look at of greys up to 255": (
        {
            "bad": node("IPATestTensor", shape="1x8x8", value=255.0),
            "preview": node("IPAPreviewMask", mask=["bad", 1]),
        },
        ["BadInput", "mask holds values from 255 to 255", "Divide"],
    ),
    "mask to look at on a latent that is none": (
        {
            "bad": node("IPATestTensor", shape="1x8x8", value=0.5),
            "preview": node("IPAPreviewMask", mask=["bad", 1], latent=3),
        },
        ["BadInput", "latent is 3", "Connect a node with a LATENT"],
    ),
    "window": (
        changed(apply={"start_percent": 0.8, "end_percent": 0.2}),
        ["BadInput", "0.8", "0.2", "not after the end"],
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_in_one_sentence_and_the_queue_goes_on(
    client: Client, usual: bytes, case: str
) -> None:
    prompt, words = WRONG[case]
    message = live.said_of(client, prompt)
    for word in words:
        assert word in message
    assert "Traceback" not in message and "\n" not in message
    assert client.picture(graph()) == usual


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        (changed(adapter={"adapter_file": "../secret.safetensors"}), "is not in"),
        (changed(adapter={"adapter_file": "gone.safetensors"}), "Choose a file from the list"),
        (changed(apply={"scale": 99}), "bigger than max"),
        (changed(encode={"fit": "stretch"}), "not in list"),
        (changed(encode={"clip_vision": ["adapter", 0]}), "mismatch"),
    ],
)
def test_what_is_wrong_before_the_run_is_refused_with_its_reason(
    client: Client, prompt: Prompt, words: str
) -> None:
    status, answer = client.post("/prompt", {"prompt": prompt})
    assert status == 400
    assert words in str(answer["node_errors"])


def test_an_interrupted_prompt_leaves_no_trace(client: Client, usual: bytes) -> None:
    long = client.queue(graph(steps=5000, scale=0.7))
    while not client.get("/queue")["queue_running"]:
        time.sleep(0.05)
    time.sleep(2)
    client.post("/interrupt", {})
    entry = client.wait(long)
    kinds = [kind for kind, _ in entry["status"]["messages"]]
    assert "execution_interrupted" in kinds
    assert client.picture(graph()) == usual
