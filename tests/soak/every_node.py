"""A prompt for each node of the pack, made from what the server says of its inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kit.server.live import Prompt
from kit.server.live_graph import node
from kit.server.tiny_nodes import RANDOM_WEIGHTS
from soak.bed import TINY, VIT_L

PACK = "ip-adapter-pack"
# Where there is more than one choice, the first is not the one that suits the tiny models.
CHOICES: Mapping[str, str] = {
    "ipadatper": "xlabs.safetensors",
    "adapter_file": TINY,
    "ipadapter_file": "ip-adapter_sd15.safetensors",
    "clip_vision": VIT_L,
    "embeds_file": "rows.ipadpt",
    "provider": "CPU",
    "lora_name": "tiny.safetensors",
}
SOURCES: Mapping[str, tuple[dict[str, Any], int]] = {
    "MODEL": (node("IPADemoCheckpoint", ckpt_name=RANDOM_WEIGHTS), 0),
    "CLIP": (node("IPADemoCheckpoint", ckpt_name=RANDOM_WEIGHTS), 1),
    "VAE": (node("IPADemoCheckpoint", ckpt_name=RANDOM_WEIGHTS), 2),
    "CLIP_VISION": (node("IPADemoCLIPVision", clip_name=RANDOM_WEIGHTS), 0),
    "IMAGE": (node("LoadImage", image="person.png"), 0),
    "MASK": (node("SolidMask", value=0.5, width=64, height=64), 0),
    "LATENT": (node("EmptyLatentImage", width=64, height=64, batch_size=1), 0),
    "INSIGHTFACE": (
        node("IPAdapterInsightFaceLoader", provider="CPU", model_name="buffalo_l"),
        0,
    ),
}
SOURCES_BY_NODE: Mapping[str, tuple[str, int]] = {
    "IPADAPTER": ("IPAdapterModelLoader", 0),
    "CONDITIONING": ("CLIPTextEncode", 0),
}


class Cast:
    """Puts something on every input of a node.

    Args:
        known: what the server says of its nodes.
    """

    def __init__(self, known: Mapping[str, Any]) -> None:
        self.known = known
        self.makers = self._makers()

    def names(self) -> list[str]:
        return [name for name, info in self.known.items() if PACK in info["python_module"]]

    def prompt(self, name: str) -> Prompt:
        """The node with something on each input, and its outputs shown."""
        made: Prompt = {}
        self._add(made, name, "node", depth=4)
        for place in range(len(self.known[name]["output"])):
            made[f"show {place}"] = node("PreviewAny", source=["node", place])
        return made

    def _add(self, made: Prompt, name: str, key: str, depth: int) -> None:
        inputs = self.known[name]["input"]
        made[key] = node(name)
        for group in ("required", "optional"):
            for socket, given in inputs.get(group, {}).items():
                value = self._value(made, socket, given, depth)
                if value is not None:
                    made[key]["inputs"][socket] = value

    def _value(self, made: Prompt, socket: str, given: list[Any], depth: int) -> Any:
        kind, options = given[0], given[1] if len(given) > 1 else {}
        choices = kind if isinstance(kind, list) else options.get("options")
        if choices:
            wanted = CHOICES.get(socket, options.get("default"))
            return wanted if wanted in choices else choices[0]
        if "default" in options:
            return options["default"]
        if kind in SOURCES:
            source, output = SOURCES[kind]
            made[f"{kind} {source['class_type']}"] = source
            return [f"{kind} {source['class_type']}", output]
        if kind in self.makers and depth:
            name, output = self.makers[kind]
            if f"a {name}" not in made:
                self._add(made, name, f"a {name}", depth - 1)
            return [f"a {name}", output]
        return "a cat" if kind == "STRING" else None

    def _makers(self) -> dict[str, tuple[str, int]]:
        """The first node that gives each kind of output and needs none of its kind."""
        found = dict(SOURCES_BY_NODE)
        for name, info in self.known.items():
            needed = {given[0] for given in info["input"].get("required", {}).values() if given
                      and isinstance(given[0], str)}
            for place, kind in enumerate(info["output"]):
                if PACK in info["python_module"] and kind not in needed:
                    found.setdefault(kind, (name, place))
        return found
