"""A prompt for each node of the pack, made from what the server says of its inputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kit.server.live import Prompt
from kit.server.live_graph import node
from kit.server.tiny_nodes import RANDOM_SD3, RANDOM_WEIGHTS
from pack.nodes.plus.migrate.rules import FORK
from soak.bed import PERSON, ROWS, TINY, VIT_L

PACK = "ip-adapter-pack"
# Where there is more than one choice, the first is not the one that suits the tiny models.
CHOICES: Mapping[str, str] = {
    "ipadatper": "xlabs.safetensors",
    "adapter_file": TINY,
    "ipadapter_file": "ip-adapter_sd15.safetensors",
    "clip_vision": VIT_L,
    "embeds_file": ROWS,
    "provider": "CPU",
}
SOURCES: Mapping[str, tuple[dict[str, Any], int]] = {
    "MODEL": (node("IPADemoCheckpoint", ckpt_name=RANDOM_WEIGHTS), 0),
    "CLIP": (node("IPADemoCheckpoint", ckpt_name=RANDOM_WEIGHTS), 1),
    "VAE": (node("IPADemoCheckpoint", ckpt_name=RANDOM_WEIGHTS), 2),
    "CLIP_VISION": (node("IPADemoCLIPVision", clip_name=RANDOM_WEIGHTS), 0),
    "IMAGE": (node("LoadImage", image=PERSON), 0),
    "MASK": (node("SolidMask", value=0.5, width=64, height=64), 0),
    "LATENT": (node("EmptyLatentImage", width=64, height=64, batch_size=1), 0),
    "INSIGHTFACE": (
        node("IPAdapterInsightFaceLoader", provider="CPU", model_name="buffalo_l"),
        0,
    ),
}
PLAIN: Mapping[str, Any] = {"INT": 1, "FLOAT": 0.5, "STRING": "a cat", "BOOLEAN": False}
# The MODEL of the nodes whose names say what they are for.
FAMILIES: Mapping[str, dict[str, Any]] = {
    "Flux": node("IPADemoFlux"),
    "Xlabs": node("IPADemoFlux"),
    "SD3": node("IPADemoCheckpoint", ckpt_name=RANDOM_SD3),
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
        self.under_way: set[str] = set()

    def names(self) -> list[str]:
        """All of them; a node that is there under a second name for a fork's workflows once."""
        ours = [name for name, info in self.known.items() if PACK in info["python_module"]]
        return [name for name in ours if not name.endswith(FORK)]

    def prompt(self, name: str) -> Prompt:
        """The node with something on each input, and its outputs shown."""
        made: Prompt = {}
        self._add(made, name, "node")
        for place in range(len(self.known[name]["output"])):
            made[f"show {place}"] = node("PreviewAny", source=["node", place])
        return made

    def _add(self, made: Prompt, name: str, key: str) -> None:
        inputs = self.known[name]["input"]
        made[key] = node(name)
        for group in ("required", "optional"):
            for socket, given in inputs.get(group, {}).items():
                kind = given[0]
                passed_on = isinstance(kind, str) and kind in self.known[name]["output"]
                if passed_on and kind not in PLAIN:
                    source = self._of_its_kind(made, name, given[0], group)
                else:
                    source = self._value(made, socket, given)
                grown = given[0] == "COMFY_AUTOGROW_V3"
                if source is not None:
                    made[key]["inputs"][f"{socket}.{_first(given)}" if grown else socket] = source

    def _of_its_kind(self, made: Prompt, name: str, kind: str, group: str) -> Any:
        """What a node passes on comes from another node, or from nowhere."""
        family = next((one for word, one in FAMILIES.items() if word in name), None)
        if kind == "MODEL" and family:
            made["MODEL"] = family
            return ["MODEL", 0]
        needed = group == "required" or kind in SOURCES
        return self._linked(made, kind) if needed else None

    def _value(self, made: Prompt, socket: str, given: list[Any]) -> Any:
        kind, options = given[0], given[1] if len(given) > 1 else {}
        if kind == "COMFY_AUTOGROW_V3":
            (inner,) = options["template"]["input"]["required"].values()
            return self._value(made, socket, inner)
        choices = kind if isinstance(kind, list) else options.get("options")
        if choices:
            wanted = CHOICES.get(socket, options.get("default"))
            return wanted if wanted in choices else choices[0]
        if "default" in options:
            return options["default"]
        return PLAIN[kind] if kind in PLAIN else self._linked(made, kind)

    def _linked(self, made: Prompt, kinds: str) -> Any:
        for kind in kinds.split(","):
            if kind in SOURCES:
                source, output = SOURCES[kind]
                made[f"{kind} {source['class_type']}"] = source
                return [f"{kind} {source['class_type']}", output]
            if kind in self.makers:
                return self._made(made, *self.makers[kind])
        return None

    def _made(self, made: Prompt, name: str, output: int) -> Any:
        key = f"a {name}"
        if key in self.under_way:
            return None
        if key not in made:
            self.under_way.add(key)
            self._add(made, name, key)
            self.under_way.remove(key)
        return [key, output]

    def _makers(self) -> dict[str, tuple[str, int]]:
        """The first node that gives each kind of output and needs nothing of that kind."""
        found = dict(SOURCES_BY_NODE)
        for name in self.names():
            info = self.known[name]
            given = [inputs[0] for inputs in info["input"].get("required", {}).values()]
            for place, kind in enumerate(info["output"]):
                if kind not in given:
                    found.setdefault(kind, (name, place))
        return found


def _first(given: list[Any]) -> str:
    """The name of the first input of one that grows."""
    return f"{given[1]['template']['prefix']}0"
