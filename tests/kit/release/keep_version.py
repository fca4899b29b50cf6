"""Keeps the workflows and nodes of this version, for tests that they load unchanged for ever.

`python -m kit.release.keep_version`, run in tests/, starts ComfyUI with the pack, builds workflows
with every node in the real front end, everything in them set to something else than its default,
and writes into tests/saved_workflows/VERSION: each workflow as the editor saves it (NAME.json) and
as a program sends it (NAME.prompt.json), and what may not change of each node (nodes.json). Files
of a released version are not written again, unless --replace is given.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[3]
KEPT = ROOT / "tests" / "saved_workflows"
ADAPTER, ENCODER, EMBEDS = "tiny.safetensors", "encoder.safetensors", "saved.safetensors"
CHECKPOINT = "model.safetensors"
FACE_FILES = ("det_10g.onnx", "w600k_r50.onnx")

if TYPE_CHECKING:
    from comfy_page import ComfyPage

# Nodes of ComfyUI that give what ours take; of each type the last one made is taken.
SOURCES = (
    "CheckpointLoaderSimple",
    "CLIPTextEncode",
    "EmptyImage",
    "SolidMask",
    "EmptyLatentImage",
)
# In the order in which one feeds the next; nodes that are not named come after those of Weights.
ORDER = (
    *("IPALoadAdapter", "IPALoadEncoder", "IPALoadForModel", "IPALoadFaceModels"),
    *("IPANoiseImage", "IPAPrepareImage", "IPAEncodeImage", "IPAEncodeFace", "IPALoadEmbeds"),
    *("IPAMergeEmbeds", "IPARegions", "IPABlockWeights", "IPASchedule"),
    None,
    *("IPASaveEmbeds", "IPADoctor", "IPARemove", "IPAApply", "IPABindToConditioning"),
    *("IPAAttentionView", "IPAAttentionMap"),
)
HELPERS = """
  const frames = async (count = 3) => {
    for (let i = 0; i < count; i++) await new Promise(requestAnimationFrame);
  };
  const graph = window.app.graph;
  const sources = {};
  const made = {};
  let column = 0;
  const offer = (node) => (node.outputs ?? []).forEach((output, slot) => {
    (sources[output.type] ??= []).push([node, slot]);
  });
  const add = (type) => {
    const node = window.LiteGraph.createNode(type);
    if (!node) throw new Error(`no node ${type}`);
    node.pos = [(column % 6) * 420, Math.floor(column++ / 6) * 620];
    graph.add(node);
    return node;
  };
  const named = (node, name) => node.inputs.findIndex((each) => each.name === name);
  // Something else than the default that the node takes.
  const other = (node, widget) => {
    const { options, value } = widget;
    if (widget.name === "control_after_generate") return "decrement";
    if (widget.type === "combo") {
      const values = typeof options.values === "function" ? options.values(widget) : options.values;
      return values.filter((each) => each !== value).at(-1) ?? value;
    }
    if (typeof value === "boolean") return !value;
    if (typeof value === "number") {
      const step = options.step2 || (Number.isInteger(value) ? 1 : 0.05);
      const up = value + 3 * step;
      const next = up <= (options.max ?? Infinity) ? up : value - 3 * step;
      return Number(next.toFixed(6));
    }
    if (widget.name === "weights" && node.type === "IPABlockWeights") return "0:0.25, 3:-0.5";
    if (["values", "scales", "weights"].includes(widget.name)) return "0.9, 0.4";
    if (widget.name === "pad_colour") return "#102030";
    return `${widget.name} of a test`;
  };
  const change = (node) => {
    for (const widget of node.widgets ?? []) {
      if (widget.serialize === false || widget.options?.serialize === false) continue;
      widget.value = other(node, widget);
      widget.callback?.(widget.value);
    }
  };
  // Every input that is no widget; of those that grow, three.
  const connect = async (node) => {
    const turn = {};
    const grown = {};
    for (let slot = 0; slot < node.inputs.length; slot++) {
      const input = node.inputs[slot];
      if (input.widget || input.link != null) continue;
      const family = input.name.includes(".") ? input.name.split(".")[0] : null;
      if (family && (grown[family] = (grown[family] ?? 0) + 1) > 3) continue;
      const choice = input.type.split(",").flatMap((type) => sources[type] ?? []);
      if (!choice.length) continue;
      const nth = turn[input.type] = (turn[input.type] ?? 0) + 1;
      const [from, output] = choice.at(-(((nth - 1) % choice.length) + 1));
      from.connect(output, node, slot);
      await frames();
    }
  };
"""
EVERY_NODE = f"""async ([core, ours]) => {{
  {HELPERS}
  for (const type of core) {{
    const node = made[type] = add(type);
    change(node);
    await connect(node);
    offer(node);
  }}
  for (const type of ours) {{
    const node = made[type] = add(type);
    change(node);
    await frames();
    await connect(node);
    offer(node);
  }}
  // A link on a widget, and a node that is bypassed.
  const number = add("PrimitiveFloat");
  number.widgets[0].value = 0.35;
  number.connect(0, made.IPAApply, named(made.IPAApply, "scale"));
  const bypassed = add("IPAApply");
  change(bypassed);
  await connect(bypassed);
  bypassed.mode = 4;
  offer(bypassed);
  for (const type of ["KSampler", "VAEDecode", "PreviewImage"]) {{
    const node = add(type);
    change(node);
    await connect(node);
    offer(node);
  }}
  // What nothing listens to would not be part of a prompt.
  for (const node of Object.values(made)) {{
    if (node.constructor.nodeData?.output_node) continue;
    if (node.outputs.some((output) => output.links?.length)) continue;
    const shown = add("PreviewAny");
    node.connect(0, shown, 0);
  }}
  await frames();
}}"""
SUBGRAPH = f"""async ([core]) => {{
  {HELPERS}
  for (const type of [...core, "IPALoadAdapter", "IPALoadEmbeds"]) {{
    const node = made[type] = add(type);
    change(node);
    await connect(node);
    offer(node);
  }}
  const inner = [];
  for (const type of ["IPABlockWeights", "IPASchedule", "IPAApply"]) {{
    const node = made[type] = add(type);
    change(node);
    await connect(node);
    offer(node);
    inner.push(node);
  }}
  for (const type of ["KSampler", "VAEDecode", "PreviewImage"]) {{
    const node = add(type);
    change(node);
    await connect(node);
    offer(node);
  }}
  const {{ subgraph, node: host }} = graph.convertToSubgraph(new Set(inner));
  await frames();
  const promoted = [
    ["IPABlockWeights", "preset"], ["IPABlockWeights", "weights"], ["IPASchedule", "end"],
    ["IPAApply", "scale"], ["IPAApply", "batch_mode"],
  ];
  for (const [type, name] of promoted) {{
    const node = subgraph.nodes.find((each) => each.type === type);
    const slot = named(node, name);
    const input = subgraph.addInput(`${{type.slice(3)}} ${{name}}`, String(node.inputs[slot].type));
    input.connect(node.inputs[slot], node);
    await frames();
  }}
  const values = ["ease out", "1:0.75", 0.15, 0.45, "one per picture, loop"];
  const shown = host.widgets.slice(-values.length);
  if (shown.length !== values.length) throw new Error(`promoted: ${{host.widgets.length}}`);
  shown.forEach((widget, place) => {{ widget.value = values[place]; }});
  await frames();
}}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replace", action="store_true", help="also those of a released version")
    replace = parser.parse_args().replace
    version = current()
    if is_released(version) and (KEPT / version).exists() and not replace:
        sys.exit(
            f"{version} is released: its workflows stay as they are. "
            "Raise the version in pyproject.toml first, or give --replace"
        )
    sys.path += [str(ROOT / "tests" / "browser")]
    write(KEPT / version)


def current() -> str:
    """The version in pyproject.toml."""
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    (version,) = re.findall(r'^version = "(.+)"$', text, re.MULTILINE)
    return version


def is_released(version: str, changelog: Path = ROOT / "CHANGELOG.md") -> bool:
    """Whether the changelog has a heading for it; before, it is "Unreleased"."""
    heading = rf"^## \[?v?{re.escape(version)}\b"
    return re.search(heading, changelog.read_text("utf-8"), re.MULTILINE) is not None


def write(folder: Path) -> None:
    from comfy_page import ComfyPage, launch
    from kit.pages.help_pages import schemas
    from kit.release.append_only import kept
    from kit.server import live
    from playwright.sync_api import sync_playwright

    files = {"nodes.json": {node: kept(info) for node, info in schemas().items()}}
    with (
        tempfile.TemporaryDirectory() as base,
        running_with_files(live, Path(base)) as client,
        sync_playwright() as playwright,
    ):
        browser = launch(playwright)
        page = ComfyPage(client, browser, vue=False)
        for name, (workflow, prompt) in built(page, sorted(files["nodes.json"])).items():
            files |= {f"{name}.json": workflow, f"{name}.prompt.json": prompt}
        assert page.complaints == [], page.complaints
        browser.close()
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def running_with_files(live: Any, base: Path) -> Any:
    write_files(base / "models")
    return live.running(base, base / "models")


def write_files(models: Path) -> None:
    """What the workflows name; that they exist is all that is asked before a run."""
    names = {
        "ipadapter": (ADAPTER,),
        "clip_vision": (ENCODER,),
        "ipadapter_embeds": (EMBEDS,),
        "checkpoints": (CHECKPOINT,),
        "insightface/models/buffalo_l": FACE_FILES,
    }
    for folder, files in names.items():
        (models / folder).mkdir(parents=True, exist_ok=True)
        for name in files:
            (models / folder / name).touch()


def built(page: ComfyPage, ours: list[str]) -> dict[str, tuple[Any, Any]]:
    """Workflow and prompt of each kept workflow, by its name."""
    rest = [node for node in ours if node not in ORDER]
    order = [one for name in ORDER for one in ([name] if name else rest)]
    made: dict[str, tuple[Any, Any]] = {}
    for name, script, arguments in (
        ("every_node", EVERY_NODE, [SOURCES, order]),
        ("subgraph", SUBGRAPH, [SOURCES]),
    ):
        page.clear()
        page.page.evaluate(script, arguments)
        page.settle()
        made[name] = (page.saved(), page.prompt())
    return made


if __name__ == "__main__":
    main()
