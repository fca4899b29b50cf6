"""Prompts for the tests' server: text to picture with one reference, on the tiny random models."""

from __future__ import annotations

import copy
from typing import Any

from kit.server.live import Prompt
from kit.server.tiny_nodes import RANDOM_WEIGHTS as RANDOM


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": class_type, "inputs": inputs}


def graph(steps: int = 2, **apply: Any) -> Prompt:
    """Text to picture with one reference, on the tiny random models."""
    return {
        "checkpoint": node("IPADemoCheckpoint", ckpt_name=RANDOM),
        "encoder": node("IPADemoCLIPVision", clip_name=RANDOM),
        "adapter": node("IPALoadAdapter", adapter_file="tiny.safetensors"),
        "photo": node("LoadImage", image="reference.jpg"),
        "encode": node(
            "IPAEncodeImage", clip_vision=["encoder", 0], image=["photo", 0], fit="crop centre"
        ),
        "apply": node(
            "IPAApply",
            model=["checkpoint", 0],
            adapter=["adapter", 0],
            embeds=["encode", 0],
            **{"scale": 1.0, "start_percent": 0.0, "end_percent": 1.0} | apply,
        ),
        **sampling(["apply", 0], steps),
    }


def sampling(model: list[Any], steps: int = 2, size: int = 128) -> Prompt:
    return {
        "positive": node("CLIPTextEncode", clip=["checkpoint", 1], text="a cat"),
        "negative": node("CLIPTextEncode", clip=["checkpoint", 1], text=""),
        "latent": node("EmptyLatentImage", width=size, height=size, batch_size=1),
        "sampler": node(
            "KSampler",
            model=model,
            positive=["positive", 0],
            negative=["negative", 0],
            latent_image=["latent", 0],
            seed=1,
            steps=steps,
            cfg=5.0,
            sampler_name="euler",
            scheduler="normal",
            denoise=1.0,
        ),
        "decode": node("VAEDecode", samples=["sampler", 0], vae=["checkpoint", 2]),
        "save": node("SaveImage", images=["decode", 0], filename_prefix="test"),
    }


def changed(**inputs: dict[str, Any]) -> Prompt:
    """The graph with some inputs of some nodes replaced."""
    prompt = copy.deepcopy(graph())
    for name, values in inputs.items():
        prompt[name]["inputs"] |= values
    return prompt


def with_tensor(name: str, socket: str, output: int, shape: str, value: float = 0.5) -> Prompt:
    """The graph with a tensor of any shape on one socket."""
    bad = {"bad": node("IPATestTensor", shape=shape, value=value)}
    return changed(**{name: {socket: ["bad", output]}}) | bad


def weighted(class_type: str, **inputs: Any) -> Prompt:
    """The graph with weights from a node."""
    prompt = changed(apply={"block_weights": ["weights", 0]})
    return prompt | {"weights": node(class_type, **inputs)}


def regional(
    masks: tuple[int, ...] = (0,), scales: str = "0.8", mask: list[Any] | None = None
) -> Prompt:
    """The graph with its reference in a region of its own."""
    prompt = changed(apply={"embeds": ["regions", 0]} | ({"attn_mask": mask} if mask else {}))
    prompt["mask"] = node("SolidMask", value=0.7, width=40, height=60)
    prompt["regions"] = node(
        "IPARegions",
        scales=scales,
        **{"embeds.embeds0": ["encode", 0]},
        **{f"masks.mask{number}": ["mask", 0] for number in masks},
    )
    return prompt


def region_with_mask(link: list[Any], socket: str = "masks.mask0") -> dict[str, Any]:
    """A Regions node with something on its mask."""
    inputs = {"embeds.embeds0": ["encode", 0], socket: link}
    return node("IPARegions", scales="", **inputs)


def binding_without_negative() -> Prompt:
    """Bind with its third output used and nothing on the input it belongs to."""
    prompt = graph()
    inputs = prompt["apply"]["inputs"]
    prompt["apply"] = node("IPABindToConditioning", **inputs, conditioning=["positive", 0])
    prompt["sampler"]["inputs"] |= {"positive": ["apply", 1], "negative": ["apply", 2]}
    return prompt


def deeper(class_type: str, **inputs: Any) -> Prompt:
    """Nodes that take the output of Regions as if it were plain embeds."""
    again = node(class_type, **{"embeds.embeds0": ["regions", 0]}, **inputs)
    applied = changed(apply={"embeds": ["again", 0]})["apply"]
    return {"again": again, "apply": applied}
