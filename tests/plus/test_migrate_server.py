"""Prompts of early versions through the real server: the picture of the same prompt as of today."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from typing import Any

import pytest
from kit.server import live
from kit.server.live import Client, Prompt
from kit.server.live_graph import graph, node, sampling
from kit.server.tiny_nodes.adapter import write_tiny_adapter

FILE = os.path.join("sub", "tiny.safetensors")
NUMBERS = itertools.count()
PICTURE = {"clip_vision": ["encoder", 0], "image": ["photo", 0]}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    base = tmp_path_factory.mktemp("comfy base")
    models = base / "shared models"
    (models / "ipadapter" / "sub").mkdir(parents=True)
    write_tiny_adapter(models / "ipadapter" / FILE)
    with live.running(base, models) as running:
        yield running


def old(kind: str, **inputs: Any) -> Prompt:
    """Text to picture with an old node between the MODEL and the sampler."""
    whole = graph()
    kept = {name: whole[name] for name in ("checkpoint", "encoder", "photo")}
    loader = node("IPAdapterModelLoader", ipadapter_file=FILE)
    apply = node(kind, model=["checkpoint", 0], **inputs)
    prompt = {**kept, "adapter": loader, "apply": apply, **sampling(["apply", 0])}
    # A host of early 2026 lists nothing for a prompt that it has run already, and a prompt of early
    # versions becomes just that.
    prompt["save"]["inputs"]["filename_prefix"] = f"test {next(NUMBERS)}"
    return prompt


def with_embeds(kind: str, **inputs: Any) -> Prompt:
    """The same from rows of the encoder of version 1."""
    prompt = old(
        "IPAdapterApplyEncoded",
        ipadapter=["adapter", 0],
        embeds=["rows", 0],
        weight=0.7,
        weight_type="original",
        start_at=0.0,
        end_at=1.0,
        unfold_batch=False,
    )
    prompt["rows"] = node(kind, clip_vision=["encoder", 0], **inputs)
    return prompt


def test_inputs_that_came_later_and_texts_of_early_versions(client: Client) -> None:
    early = {"weight": 0.7, "start_at": 0.0, "end_at": 1.0, "combine_embeds": "concat"}
    early |= {"ipadapter": ["adapter", 0], **PICTURE}
    now = {"weight_type": "style transfer", "embeds_scaling": "V only"}
    expected = client.picture(old("IPAdapterAdvanced", **early | now))
    sent = old("IPAdapterAdvanced", **early, weight_type="style transfer (SDXL)")
    assert client.picture(sent) == expected
    linear = old("IPAdapterAdvanced", **early | now | {"weight_type": "linear"})
    assert client.picture(linear) != expected


def test_the_first_encoder_of_version_1(client: Client) -> None:
    rows = {"ipadapter_plus": False, "noise": 0.3, "weight_1": 1.0}
    now = with_embeds("IPAdapterEncoderV1", image_1=["photo", 0], **rows)
    expected = client.picture(now)
    assert client.picture(with_embeds("IPAdapterEncoder", image_1=["photo", 0], **rows)) == expected
    september = {"image": ["photo", 0], "plus": False, "noise": 0.3}
    assert client.picture(with_embeds("IPAdapterEncoder", **september)) == expected


def test_the_node_of_laksjdjf(client: Client) -> None:
    version_1 = {"weight_type": "original", "noise": 0.0, "start_at": 0.0, "end_at": 1.0}
    expected = client.picture(
        old(
            "IPAdapterApply",
            ipadapter=["adapter", 0],
            weight=0.7,
            unfold_batch=False,
            **version_1,
            **PICTURE,
        )
    )
    sent = old("IPAdapter", **PICTURE, weight=0.7, model_name=r"sub\tiny.safetensors", dtype="fp16")
    assert client.picture(sent) == expected
    sent["second output"] = node("IPAdapterLaksjdjf", **sent["apply"]["inputs"])
    sent["styled"] = node(
        "unCLIPConditioning",
        conditioning=["positive", 0],
        clip_vision_output=["second output", 1],
        strength=1.0,
        noise_augmentation=0.0,
    )
    sent["sampler"]["inputs"]["positive"] = ["styled", 0]
    assert client.picture(sent)


def test_a_broken_prompt_is_still_refused_by_the_host(client: Client) -> None:
    prompt = old("IPAdapterAdvanced", weight=0.7)
    status, answer = client.post("/prompt", {"prompt": prompt})
    assert status == 400
    errors = {each["extra_info"]["input_name"] for each in answer["node_errors"]["apply"]["errors"]}
    assert errors == {"ipadapter", "image"}


def test_the_editor_gets_the_table(client: Client) -> None:
    table = client.get("/ipadapter/old_nodes")
    assert table["widgets"]["IPAdapterEncoderV1"][0]["name"] == "ipadapter_plus"
    assert table["forced"] == ""


def test_the_setting_is_told_in_all_languages(client: Client) -> None:
    told = client.get("/i18n")
    english = told["en"]["settings"]["IPAdapter_OldNodes"]
    assert english["options"].keys() == {"as shipped", "corrected", "off"}
    for language in ("zh", "ru"):
        words = told[language]["settings"]["IPAdapter_OldNodes"]
        assert (
            words.keys() == english.keys() and words["options"].keys() == english["options"].keys()
        )
        assert words["name"] != english["name"] and words["tooltip"] != english["tooltip"]
        categories = told[language]["settingsCategories"]
        assert categories.keys() >= told["en"]["settingsCategories"].keys() & {"Old nodes"}
