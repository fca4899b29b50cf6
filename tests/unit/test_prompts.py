"""demo/prompts.py against what the editor itself makes of such workflows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pack.demo import prompts

HERE = Path(__file__).parent
# Recorded from GET /object_info of ComfyUI 0.33; tooltips and most combo values are cut.
OBJECT_INFO = json.loads((HERE / "data" / "object_info.json").read_text("utf-8"))


def node(id: int, type: str, values: Any = (), mode: int = 0, **slots: Any) -> dict[str, Any]:
    """A node as the editor saves it; `slots` are input names with the link on each, or None."""
    info = OBJECT_INFO.get(type, {"output": ["*"]})
    return {
        "id": id,
        "type": type,
        "mode": mode,
        "inputs": [
            {"name": name, "type": kind_of(info, name), "link": link}
            for name, link in slots.items()
        ],
        "outputs": [{"name": kind, "type": kind} for kind in info["output"]],
        "widgets_values": values if isinstance(values, dict) else list(values),
    }


def kind_of(info: dict[str, Any], name: str) -> str:
    kind = info.get("input", {}).get("required", {}).get(name, ["*"])[0]
    return kind if isinstance(kind, str) else "COMBO"


def convert(nodes: list[dict[str, Any]], links: list[Any] | None = None) -> dict[str, Any]:
    return prompts.to_prompt({"nodes": nodes, "links": links or []}, OBJECT_INFO)


def inputs_of(*arguments: Any, **slots: Any) -> dict[str, Any]:
    return convert([node(1, *arguments, **slots)])["1"]["inputs"]


def test_node_has_its_class_its_title_and_a_text_id() -> None:
    entitled = node(7, "SaveImage", ["picture"]) | {"title": "Keep this"}
    prompt = convert([entitled, node(8, "VAEDecode")])
    assert prompt["7"]["class_type"] == "SaveImage"
    assert prompt["7"]["_meta"] == {"title": "Keep this"}
    assert prompt["8"]["_meta"] == {"title": "VAE Decode"}


def test_values_go_to_widgets_in_order_and_the_seed_control_is_skipped() -> None:
    values = [42, "randomize", 20, 7.5, "euler", "simple", 1.0]
    assert inputs_of("KSampler", values) == {
        "seed": 42,
        "steps": 20,
        "cfg": 7.5,
        "sampler_name": "euler",
        "scheduler": "simple",
        "denoise": 1.0,
    }


def test_seed_control_in_the_middle() -> None:
    values = ["enable", 5, "fixed", 20, 8.0, "euler", "simple", 0, 10000, "disable"]
    inputs = inputs_of("KSamplerAdvanced", values)
    assert inputs["noise_seed"] == 5
    assert inputs["steps"] == 20
    assert inputs["return_with_leftover_noise"] == "disable"


def test_button_after_the_last_widget_is_not_an_input() -> None:
    assert inputs_of("LoadImage", ["cat.jpg", "image"]) == {"image": "cat.jpg"}


def test_missing_and_null_values_are_defaults() -> None:
    assert inputs_of("EmptyLatentImage", [768]) == {"width": 768, "height": 512, "batch_size": 1}
    assert inputs_of("EmptyLatentImage", [None, 64])["width"] == 512


def test_values_by_name_are_taken_without_those_the_node_lacks() -> None:
    assert inputs_of("SaveImage", {"filename_prefix": "x", "preview": 3}) == {
        "filename_prefix": "x"
    }


def test_a_link_wins_over_the_value_of_a_widget() -> None:
    prompt = convert(
        [node(1, "EmptyLatentImage", [64, 64, 1], width=9), node(2, "LoadImage", ["a", "image"])],
        [[9, 2, 0, 1, 0, "INT"]],
    )
    assert prompt["1"]["inputs"] == {"width": ["2", 0], "height": 64, "batch_size": 1}


def test_links_may_be_saved_as_objects() -> None:
    link = {"id": 9, "origin_id": 2, "origin_slot": 1, "target_id": 1, "target_slot": 0}
    prompt = convert([node(1, "SaveImage", ["x"], images=9), node(2, "LoadImage")], [link])
    assert prompt["1"]["inputs"]["images"] == ["2", 1]


def test_growing_inputs_keep_their_dotted_names() -> None:
    slots = {"images.image0": 1, "images.image1": 2, "images.image2": None}
    prompt = convert(
        [node(1, "BatchImagesNode", **slots), node(2, "LoadImage"), node(3, "LoadImage")],
        [[1, 2, 0, 1, 0, "IMAGE"], [2, 3, 0, 1, 1, "IMAGE"]],
    )
    assert prompt["1"]["inputs"] == {"images.image0": ["2", 0], "images.image1": ["3", 0]}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (
            ["scale dimensions", 640, 480, "disabled", "area"],
            {"width": 640, "height": 480, "crop": "disabled"},
        ),
        (["scale by multiplier", 2.0, "area"], {"multiplier": 2.0}),
    ],
)
def test_widgets_of_a_dynamic_combo(values: list[Any], expected: dict[str, Any]) -> None:
    assert inputs_of("ResizeImageMaskNode", values) == {
        "resize_type": values[0],
        **{f"resize_type.{name}": value for name, value in expected.items()},
        "scale_method": "area",
    }


def test_lists_are_wrapped_because_a_bare_one_is_a_link() -> None:
    assert inputs_of("SaveImage", [["a", 0]]) == {"filename_prefix": {"__value__": ["a", 0]}}


def test_notes_are_left_out() -> None:
    assert convert([node(1, "Note", ["text"]), node(2, "MarkdownNote", ["text"])]) == {}


def test_muted_node_is_left_out_with_the_links_from_it() -> None:
    prompt = convert(
        [node(1, "SaveImage", ["x"], images=9), node(2, "LoadImage", mode=prompts.MUTED)],
        [[9, 2, 0, 1, 0, "IMAGE"]],
    )
    assert prompt == {"1": {**prompt["1"], "inputs": {"filename_prefix": "x"}}}


def test_bypassed_node_passes_on_its_input_of_the_same_type() -> None:
    prompt = convert(
        [
            node(1, "CheckpointLoaderSimple", ["a.safetensors"]),
            node(2, "LoraLoader", mode=prompts.BYPASSED, model=1, clip=2),
            node(3, "CLIPTextEncode", ["text"], clip=3),
            node(4, "KSampler", [1, "fixed"], model=4),
        ],
        [
            [1, 1, 0, 2, 0, "MODEL"],
            [2, 1, 1, 2, 1, "CLIP"],
            [3, 2, 1, 3, 0, "CLIP"],
            [4, 2, 0, 4, 0, "MODEL"],
        ],
    )
    assert "2" not in prompt
    assert prompt["3"]["inputs"]["clip"] == ["1", 1]
    assert prompt["4"]["inputs"]["model"] == ["1", 0]


def test_bypassed_node_without_such_an_input_passes_on_nothing() -> None:
    prompt = convert(
        [node(1, "SaveImage", ["x"], images=1), node(2, "VAEDecode", mode=prompts.BYPASSED)],
        [[1, 2, 0, 1, 0, "IMAGE"]],
    )
    assert prompt["1"]["inputs"] == {"filename_prefix": "x"}


def test_reroutes_and_primitives_are_seen_through() -> None:
    prompt = convert(
        [
            node(1, "LoadImage", ["a.jpg", "image"]),
            node(2, "Reroute", source=1),
            node(3, "Reroute", source=2),
            node(4, "PrimitiveNode", ["a name", "fixed"]),
            node(5, "SaveImage", ["x"], images=3, filename_prefix=4),
        ],
        [
            [1, 1, 0, 2, 0, "*"],
            [2, 2, 0, 3, 0, "*"],
            [3, 3, 0, 5, 0, "*"],
            [4, 4, 0, 5, 1, "STRING"],
        ],
    )
    assert list(prompt) == ["1", "5"]
    assert prompt["5"]["inputs"] == {"images": ["1", 0], "filename_prefix": "a name"}


def test_unknown_node_is_named() -> None:
    with pytest.raises(prompts.WorkflowError, match="the node IPANothing; this ComfyUI has no"):
        convert([node(1, "IPANothing")])
