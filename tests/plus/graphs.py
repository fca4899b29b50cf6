"""Saved graphs with old nodes: what the editor made of them, and prompts that can be run."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kit.server import named_models
from kit.server.live import Prompt
from pack.nodes.plus.migrate.rules import TEXTS
from plus.recorded import PRESETS
from test_saved_workflows import graphs, links, node_lost

Graph = dict[str, Any]
OURS = re.compile(r"(IPAdapter|IPAAdapter|PrepImageFor|InsightFaceLoader)\w*$")
# What stands on a node's `properties` and names its pack.
OWNERS = ("cnr_id", "aux_id", "ver")
# Nodes that are another node now, as the editor or the server takes them.
RENAMED = {"IPAdapterEncoder": "IPAdapterEncoderV1", "IPAdapter": "IPAdapterLaksjdjf"}
EARLY = {old: new for texts in TEXTS.values() for old, new in texts.items()}
FOLDERS = {
    "IPAdapterModelLoader": "ipadapter",
    "CLIPVisionLoader": "clip_vision",
    "CheckpointLoaderSimple": "checkpoints",
    "LoraLoader": "loras",
    "LoraLoaderModelOnly": "loras",
    "VAELoader": "vae",
}
MISSING = """() => {
  const seen = [];
  const look = (graph) => {
    for (const node of graph._nodes) {
      const known = window.LiteGraph.registered_node_types[node.type];
      if (!known && !node.subgraph) seen.push(node.type);
      if (node.subgraph) look(node.subgraph);
    }
  };
  look(window.app.graph);
  return seen;
}"""
MODEL_FILE = re.compile(r"\.(safetensors|bin|ckpt|pth|pt)$")


def is_old(kind: Any) -> bool:
    """Whether a node of this name is one that stands in for ComfyUI_IPAdapter_plus."""
    return isinstance(kind, str) and OURS.fullmatch(kind) is not None


def old_nodes(graph: Graph) -> Iterator[Graph]:
    """All of them, in subgraphs and in group nodes too."""
    groups = (graph.get("extra") or {}).get("groupNodes") or {}
    for part in (*graphs(graph).values(), *groups.values()):
        yield from (node for node in part["nodes"] if is_old(node.get("type")))


def faults(old: Graph, new: Graph) -> list[str]:
    """What a graph lost around its old nodes when it was opened and saved again."""
    found: list[str] = []
    now = graphs(new)
    for name, graph in graphs(old).items():
        mine = {str(node["id"]) for node in graph["nodes"] if is_old(node["type"])}
        nodes = {str(node["id"]): node for node in now[name]["nodes"]}
        for node in graph["nodes"]:
            if str(node["id"]) in mine:
                found += _node_faults(node, nodes.get(str(node["id"])))
        then, today = (_touching(links(part), mine) for part in (graph, now[name]))
        if then != today:
            found.append(f"links {sorted(then ^ today)}")
    return found


def _node_faults(old: Graph, new: Graph | None) -> list[str]:
    if new is None:
        return [f"{old['type']} is gone"]
    before, after = copy.deepcopy(old), copy.deepcopy(new)
    if after["type"] == RENAMED.get(before["type"]):
        before["type"] = after["type"]
    if isinstance(before.get("widgets_values"), list):
        # Texts of early versions are what they are called now.
        before["widgets_values"] = [EARLY.get(str(v), v) for v in before["widgets_values"]]
    for node in (before, after):
        for name in OWNERS:
            (node.get("properties") or {}).pop(name, None)
        for slot in node.get("inputs") or []:
            # Early editors wrote a widget's choices as its type.
            if "widget" in slot or slot.get("link") is None:
                slot["type"] = "any"
        for slot in node.get("outputs") or []:
            # An unlinked output is saved as null or as an empty list.
            slot["links"] = slot.get("links") or None
    found = node_lost(before, after)
    kept = before.get("properties") or {}
    lost = {k: v for k, v in kept.items() if (after.get("properties") or {}).get(k) != v}
    lost.pop("Node name for S&R", None)
    return found + ([f"{old['type']} lost the properties {lost}"] if lost else [])


def _touching(all_links: set[tuple[str, ...]], nodes: set[str]) -> set[tuple[str, ...]]:
    return {link for link in all_links if link[0] in nodes or link[2] in nodes}


def named_files(graph: Graph) -> dict[str, list[str]]:
    """Model files that its loaders name, by folder."""
    found: dict[str, list[str]] = {}
    for kind, values in _values(graph):
        for value in values:
            if kind in FOLDERS and isinstance(value, str) and MODEL_FILE.search(value):
                found.setdefault(FOLDERS[kind], []).append(value.replace("\\", "/"))
    return found


def _values(graph: Graph) -> Iterator[tuple[str, list[Any]]]:
    if "nodes" not in graph:
        for node in graph.values():
            yield node["class_type"], list(node.get("inputs", {}).values())
        return
    for part in graphs(graph).values():
        for node in part["nodes"]:
            values = node.get("widgets_values") or []
            yield node["type"], list(values.values()) if isinstance(values, dict) else values


class Cast:
    """Puts what a small server has in the place of what a prompt asks for."""

    SIZE, STEPS = 256, 2
    STAND_INS: Mapping[str, tuple[str, int, dict[str, Any]]] = {
        "IMAGE": ("RepeatImageBatch", 0, {"image": ["LoadImage", 0], "amount": 2}),
        "MASK": ("SolidMask", 0, {"value": 0.5, "width": 64, "height": 64}),
        "INT": ("PrimitiveInt", 0, {"value": 16}),
        "FLOAT": ("PrimitiveFloat", 0, {"value": 0.5}),
        "STRING": ("PrimitiveString", 0, {"value": "a cat"}),
        "INSIGHTFACE": (
            "IPAdapterInsightFaceLoader",
            0,
            {"provider": "CPU", "model_name": "buffalo_l"},
        ),
    }

    def __init__(self, known: Mapping[str, Any], prompt: Prompt) -> None:
        self.known = known
        for node in prompt.values():
            # One public file was published without its pictures.
            node.setdefault("inputs", {"image": "person.png"})
        texts = [v for node in prompt.values() for v in node["inputs"].values()]
        files = [v for v in texts if isinstance(v, str) and MODEL_FILE.search(v)]
        faces = any("FaceID" in (node["class_type"] or "") for node in prompt.values())
        self.sdxl = any(named_models.is_sdxl(file) for file in files)
        self.adapter = "ip-adapter-faceid_{}.bin" if faces else "ip-adapter_{}.safetensors"

    def fitted(self, prompt: Prompt) -> Prompt:
        """The same graph with small files, few steps and small pictures."""
        made = copy.deepcopy(prompt)
        for node in made.values():
            if node["class_type"] == "ControlNetLoader":
                node["class_type"] = "IPADemoControlNet"
                node["inputs"] = {"control_net_name": "random weights (demo)"}
            for name, value in node["inputs"].items():
                node["inputs"][name] = self._value(node["class_type"], name, value)
        return made

    def _value(self, kind: str, name: str, value: Any) -> Any:
        if name == "steps" and isinstance(value, int):
            return min(value, self.STEPS)
        if name in ("width", "height") and isinstance(value, int) and kind.startswith("Empty"):
            return min(value, self.SIZE)
        options = self._options(kind, name)
        if not isinstance(value, str) or value in options or not options:
            return value
        if name == "image":
            return "person.png"
        there = value.replace("\\", "/")
        if there in options:
            return there
        if kind == "CLIPVisionLoader":
            return "tiny_vit_h.safetensors"
        if MODEL_FILE.search(value):
            family = "sdxl" if self.sdxl else "sd15"
            return next((one for one in options if one.startswith("tiny") and family in one), value)
        return value

    def _options(self, kind: str, name: str) -> list[Any]:
        inputs = self.known.get(kind, {}).get("input", {})
        given = (inputs.get("required", {}) | inputs.get("optional", {})).get(name)
        if not given:
            return []
        more = given[1].get("options", []) if len(given) > 1 else []
        return given[0] if isinstance(given[0], list) else more

    def alone(self, prompt: Prompt) -> Prompt:
        """Its old nodes and what the host has of the nodes before them; the rest is replaced."""
        needed: dict[str, None] = {}
        made: Prompt = {}

        def keep(number: str) -> bool:
            node = prompt.get(number)
            if node is None or node["class_type"] not in self.known:
                return False
            if number not in needed:
                needed[number] = None
                inputs = dict(node["inputs"])
                for name, value in node["inputs"].items():
                    if _is_link(value) and not keep(str(value[0])):
                        stand_in = self._stand_in(made, node["class_type"], name)
                        inputs[name] = stand_in
                        if stand_in is None:
                            del inputs[name]
                made[number] = {"class_type": node["class_type"], "inputs": inputs}
            return True

        for number, node in prompt.items():
            if is_old(node["class_type"]) and keep(number):
                for place in range(self._outputs(node)):
                    shown = {"source": [number, place]}
                    made[f"show {number} {place}"] = {"class_type": "PreviewAny", "inputs": shown}
        return self.fitted(made)

    def _outputs(self, node: Mapping[str, Any]) -> int:
        """How many there are; a node of a later name has those of that node."""
        kind = node["class_type"]
        form = "image_1" if kind == "IPAdapterEncoder" else "model_name"
        later = RENAMED.get(kind, kind) if form in node["inputs"] else kind
        return len(self.known[later]["output"])

    def _stand_in(self, made: Prompt, kind: str, name: str) -> list[Any] | None:
        inputs = self.known[kind]["input"]
        given = (inputs.get("required", {}) | inputs.get("optional", {})).get(name)
        wanted = given[0] if given and isinstance(given[0], str) else None
        family = "sdxl" if self.sdxl else "sd15"
        checkpoint = ("CheckpointLoaderSimple", {"ckpt_name": f"tiny_{family}.safetensors"})
        loaders = {
            "MODEL": (checkpoint[0], 0, checkpoint[1]),
            "CLIP": (checkpoint[0], 1, checkpoint[1]),
            "VAE": (checkpoint[0], 2, checkpoint[1]),
            "CLIP_VISION": ("CLIPVisionLoader", 0, {"clip_name": "tiny_vit_h.safetensors"}),
            "IPADAPTER": (
                "IPAdapterModelLoader",
                0,
                {"ipadapter_file": self.adapter.format("sdxl_vit-h" if self.sdxl else "sd15")},
            ),
            **self.STAND_INS,
        }
        if wanted == "CONDITIONING":
            clip = self._stand_in(made, "CLIPTextEncode", "clip")
            made["text"] = {"class_type": "CLIPTextEncode", "inputs": {"clip": clip, "text": "a"}}
            return ["text", 0]
        if wanted not in loaders:
            return None
        class_type, output, values = loaders[wanted]
        made[class_type] = {"class_type": class_type, "inputs": dict(values)}
        if class_type == "RepeatImageBatch":
            # Two pictures, because some nodes go from one to the next.
            made["LoadImage"] = {"class_type": "LoadImage", "inputs": {"image": "person.png"}}
        return [class_type, output]


def _is_link(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[1], int)


def refused(status: int, answer: Any) -> list[str]:
    """What the server found wrong with a prompt that it was sent."""
    if status == 200 and not answer.get("node_errors"):
        return []
    said = answer.get("node_errors") or {}
    words = [
        f"{entry['class_type']}: {error['message']} ({error['details']})"
        for entry in said.values()
        for error in entry["errors"]
    ]
    return words or [json.dumps(answer.get("error"))[:300]]


def write_common(base: Path) -> None:
    """Models that stand in for what nobody has."""
    named_models.write(
        base / "models",
        {
            "checkpoints": ["tiny_sd15.safetensors", "tiny_sdxl.safetensors"],
            "clip_vision": ["tiny_vit_h.safetensors"],
            "vae": ["tiny_sd15_sdxl.safetensors"],
            "loras": ["tiny_sd15.safetensors", "tiny_sdxl.safetensors"],
            "ipadapter": [
                "ip-adapter_sdxl_vit-h.safetensors",
                "ip-adapter-faceid_sd15.bin",
                "ip-adapter-faceid_sdxl_vit-h.bin",
            ],
        },
    )
    named_models.write(base / "models", PRESETS)
    named_models.write_faces(base / "models")
    named_models.write_faces(base / "models", "antelopev2")
