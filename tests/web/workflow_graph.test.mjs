import assert from "node:assert/strict";
import { test } from "node:test";

import { combinations } from "../../web/workflow_graph.js";
import { graph } from "./editor_graph.mjs";

const LOADERS = {
  checkpoint: {
    type: "CheckpointLoaderSimple",
    outputs: [{ type: "MODEL" }, { type: "CLIP" }, { type: "VAE" }],
    widgets: { ckpt_name: "xl.safetensors" },
  },
  adapter: { type: "IPALoadAdapter", widgets: { adapter_file: "plus.safetensors" } },
  vision: { type: "CLIPVisionLoader", widgets: { clip_name: "g.safetensors" } },
  encode: { type: "IPAEncodeImage", inputs: { clip_vision: ["CLIP_VISION", "vision:0"] } },
};
const APPLY = {
  type: "IPAApply",
  inputs: {
    model: ["MODEL", "checkpoint:0"],
    adapter: ["IP_ADAPTER", "adapter:0"],
    embeds: ["IPA_EMBEDS", "encode:0"],
  },
};
const ALL = {
  adapter: "plus.safetensors",
  checkpoint: "xl.safetensors",
  embeds: "image",
  encoder: "g.safetensors",
};

/** What the node of that id meets. */
function met(nodes, id = "apply", outputs = {}) {
  const whole = graph(nodes, outputs);
  for (const [node, known] of combinations(whole)) if (node.id === id) return known;
  return undefined;
}

function applyWith(inputs) {
  return { ...APPLY, inputs: { ...APPLY.inputs, ...inputs } };
}

test("the files of the loaders come together at Apply", () => {
  assert.deepEqual(met({ ...LOADERS, apply: APPLY }), [ALL]);
  const bind = { ...APPLY, type: "IPABindToConditioning" };
  assert.deepEqual(met({ ...LOADERS, apply: bind }), [ALL]);
});

test("the order of a changed file changes the answer", () => {
  const other = { ...LOADERS.adapter, widgets: { adapter_file: "other.bin" } };
  assert.equal(met({ ...LOADERS, adapter: other, apply: APPLY })[0].adapter, "other.bin");
});

test("a MODEL is followed through LoRAs, other applies and reroutes", () => {
  const lora = {
    type: "LoraLoader",
    inputs: { model: ["MODEL", "checkpoint:0"], clip: ["CLIP", "checkpoint:1"] },
  };
  const reroute = { type: "Reroute", inputs: { "": ["*", "lora:0"] } };
  const first = applyWith({ model: ["MODEL", "reroute:0"] });
  const apply = applyWith({ model: ["MODEL", "first:0"] });
  const found = met({ ...LOADERS, lora, reroute, first, apply });
  assert.deepEqual(found, [ALL]);
});

test("a MODEL merged of two says nothing about the base", () => {
  const merge = {
    type: "ModelMergeSimple",
    inputs: { model1: ["MODEL", "checkpoint:0"], model2: ["MODEL", "checkpoint:0"] },
  };
  const apply = applyWith({ model: ["MODEL", "merge:0"] });
  const { checkpoint, ...rest } = ALL;
  assert.deepEqual(met({ ...LOADERS, merge, apply }), [rest]);
});

test("a UNet alone is named as such", () => {
  const unet = { type: "UNETLoader", widgets: { unet_name: "flux.safetensors" } };
  const apply = applyWith({ model: ["MODEL", "unet:0"] });
  const found = met({ ...LOADERS, unet, apply });
  assert.equal(found[0].unet, "flux.safetensors");
  assert.equal(found[0].checkpoint, undefined);
});

test("a bypassed node hands its MODEL through, a muted one gives nothing", () => {
  const lora = {
    type: "LoraLoader",
    mode: 4,
    inputs: { clip: ["CLIP", "checkpoint:1"], model: ["MODEL", "checkpoint:0"] },
    outputs: [{ type: "MODEL" }, { type: "CLIP" }],
  };
  const apply = applyWith({ model: ["MODEL", "lora:0"] });
  assert.deepEqual(met({ ...LOADERS, lora, apply }), [ALL]);
  const muted = met({ ...LOADERS, lora: { ...lora, mode: 2 }, apply });
  assert.equal(muted[0].checkpoint, undefined);
});

const SECOND = { ...LOADERS.checkpoint, widgets: { ckpt_name: "second.safetensors" } };

/** The checkpoint at Apply behind a bypassed node with these inputs and outputs. */
function behindBypassed(slot, inputs, outputs) {
  const passing = { type: "Other", mode: 4, inputs, outputs: outputs.map((type) => ({ type })) };
  const apply = applyWith({ model: ["MODEL", `passing:${slot}`] });
  return met({ ...LOADERS, second: SECOND, passing, apply })[0].checkpoint;
}

test("a bypassed node hands through the input in the place of the output, if it is of its type", () => {
  const both = { a: ["MODEL", "checkpoint:0"], b: ["MODEL", "second:0"] };
  assert.equal(behindBypassed(0, both, ["MODEL", "MODEL"]), "xl.safetensors");
  assert.equal(behindBypassed(1, both, ["MODEL", "MODEL"]), "second.safetensors");
});

test("a bypassed node hands through its first input of the type otherwise", () => {
  const clipFirst = { clip: ["CLIP", "second:1"], a: ["MODEL", "checkpoint:0"], b: ["MODEL", "second:0"] };
  assert.equal(behindBypassed(0, clipFirst, ["MODEL", "CLIP"]), "xl.safetensors");
  assert.equal(behindBypassed(3, clipFirst, ["CLIP", "VAE", "VAE", "MODEL"]), "xl.safetensors");
});

test("a bypassed node without an input of the type hands nothing through", () => {
  assert.equal(behindBypassed(0, { clip: ["CLIP", "second:1"] }, ["MODEL"]), undefined);
  assert.equal(behindBypassed(0, { a: ["MODEL", null], b: ["MODEL", "second:0"] }, ["MODEL"]), undefined);
});

/** A subgraph node whose inside has another checkpoint than what is connected outside. */
function boxed(mode) {
  const inner = graph({ second: SECOND }, { model: "second:0" });
  const inputs = { model: ["MODEL", "checkpoint:0"] };
  const box = { type: "u", mode, subgraph: inner, inputs, outputs: [{ type: "MODEL" }] };
  return met({ ...LOADERS, box, apply: applyWith({ model: ["MODEL", "box:0"] }) })[0].checkpoint;
}

test("a bypassed subgraph hands its input through and is not looked into", () => {
  assert.deepEqual([0, 4, 2].map(boxed), ["second.safetensors", "xl.safetensors", undefined]);
});

test("a node in a subgraph that does not run meets nothing", () => {
  for (const [mode, expected] of [[0, 1], [2, 0], [4, 0]]) {
    const inner = graph({ ...LOADERS, apply: APPLY });
    const deep = graph({ box: { type: "u", subgraph: inner } });
    const whole = graph({ outer: { type: "v", mode, subgraph: deep } });
    assert.equal(combinations(whole).get(inner.getNodeById("apply")).length, expected);
  }
});

test("a node that does not run meets nothing", () => {
  for (const mode of [2, 4]) {
    assert.deepEqual(met({ ...LOADERS, apply: { ...APPLY, mode } }), []);
  }
});

test("faces are told from pictures, with and without an encoder", () => {
  const photo = { type: "IPAEncodeFace", inputs: { clip_vision: ["CLIP_VISION", null] } };
  const face = (encode) => met({ ...LOADERS, encode, apply: APPLY })[0];
  assert.deepEqual(face(photo), { adapter: ALL.adapter, checkpoint: ALL.checkpoint, embeds: "face" });
  const seeing = { ...photo, inputs: LOADERS.encode.inputs };
  assert.deepEqual(face(seeing), { ...ALL, embeds: "face and image" });
  const muted = { ...LOADERS.vision, mode: 2 };
  const unclear = met({ ...LOADERS, vision: muted, encode: seeing, apply: APPLY })[0];
  assert.equal(unclear.embeds, undefined);
});

test("joined references are each looked at, each once", () => {
  const second = { type: "CLIPVisionLoader", widgets: { clip_name: "h.safetensors" } };
  const encode2 = { type: "IPAEncodeImage", inputs: { clip_vision: ["CLIP_VISION", "second:0"] } };
  const merge = {
    type: "IPAMergeEmbeds",
    inputs: {
      "embeds.embeds0": ["IPA_EMBEDS", "encode:0"],
      "embeds.embeds1": ["IPA_EMBEDS", "encode2:0"],
      "embeds.embeds2": ["IPA_EMBEDS", "encode:0"],
      "embeds.embeds3": ["IPA_EMBEDS", null],
    },
  };
  const apply = applyWith({ embeds: ["IPA_EMBEDS", "merge:0"] });
  const found = met({ ...LOADERS, second, encode2, merge, apply });
  assert.deepEqual(found, [ALL, { ...ALL, encoder: "h.safetensors" }]);
});

test("embeds of an unknown node leave adapter and base", () => {
  const stored = { type: "SomeoneElses" };
  const apply = applyWith({ embeds: ["IPA_EMBEDS", "stored:0"] });
  const found = met({ ...LOADERS, stored, apply });
  assert.deepEqual(found, [{ adapter: ALL.adapter, checkpoint: ALL.checkpoint }]);
});

test("the search of Load for Model is checked on that node, its files at Apply if chosen", () => {
  const unified = (adapter_file, encoder_file) => ({
    type: "IPALoadForModel",
    inputs: { model: ["MODEL", "checkpoint:0"] },
    widgets: { kind: "plus", adapter_file, encoder_file },
  });
  const encode = { type: "IPAEncodeImage", inputs: { clip_vision: ["CLIP_VISION", "adapter:1"] } };
  const nodes = (adapter) => ({ ...LOADERS, adapter, encode, apply: APPLY });
  const searched = { kind: "plus", adapter: "auto", encoder: "auto", checkpoint: ALL.checkpoint };
  assert.deepEqual(met(nodes(unified("auto", "auto")), "adapter"), [searched]);
  const blind = met(nodes(unified("auto", "auto")));
  assert.deepEqual(blind, [{ checkpoint: ALL.checkpoint, embeds: "image" }]);
  const chosen = met(nodes(unified("plus.safetensors", "g.safetensors")));
  assert.deepEqual(chosen, [ALL]);
});

test("Encode Image meets its encoder", () => {
  assert.deepEqual(met(LOADERS, "encode"), [{ encoder: "g.safetensors" }]);
});

test("widgets that come by a link are not known", () => {
  const adapter = {
    ...LOADERS.adapter,
    inputs: { adapter_file: ["COMBO", "text:0", "adapter_file"] },
  };
  const found = met({ ...LOADERS, text: { type: "PrimitiveNode" }, adapter, apply: APPLY });
  assert.equal(found[0].adapter, undefined);
});

test("nothing connected is nothing to say, and nothing throws", () => {
  assert.deepEqual(met({ apply: { type: "IPAApply" } }), []);
  assert.deepEqual(met({ apply: { type: "IPAApply", inputs: { model: ["MODEL", "gone:0"] } } }), []);
  assert.equal(combinations(undefined).size, 0);
  assert.equal(combinations({ nodes: [] }).size, 0);
});

test("links in a circle end", () => {
  const one = { type: "Reroute", inputs: { "": ["*", "two:0"] } };
  const two = { type: "Reroute", inputs: { "": ["*", "one:0"] } };
  const apply = applyWith({ model: ["MODEL", "one:0"] });
  assert.equal(met({ ...LOADERS, one, two, apply })[0].checkpoint, undefined);
  const itself = ["IPA_EMBEDS", "merge:0"];
  const merge = { type: "IPAMergeEmbeds", inputs: { a: itself, b: itself, c: itself } };
  const circling = applyWith({ embeds: ["IPA_EMBEDS", "merge:0"] });
  assert.equal(met({ ...LOADERS, merge, apply: circling })[0].embeds, undefined);
});

test("subgraphs are looked into, out of, and through", () => {
  const inside = graph(
    { adapter: LOADERS.adapter, lora: { type: "L", inputs: { model: ["MODEL", "-10:0"] } } },
    { adapter: "adapter:0", model: "lora:0" },
  );
  const box = { type: "uuid", subgraph: inside, inputs: { model: ["MODEL", "checkpoint:0"] } };
  const apply = applyWith({ adapter: ["IP_ADAPTER", "box:0"], model: ["MODEL", "box:1"] });
  const { adapter, ...rest } = LOADERS;
  assert.deepEqual(met({ ...rest, box, apply }), [ALL]);
});

test("a node in a subgraph meets what is connected outside, for each use", () => {
  const { adapter, ...within } = LOADERS;
  const inner = graph({
    ...within,
    apply: applyWith({ adapter: ["IP_ADAPTER", "-10:0"] }),
  });
  const box = (from) => ({ type: "u", subgraph: inner, inputs: { a: ["IP_ADAPTER", from] } });
  const second = { ...adapter, widgets: { adapter_file: "second.bin" } };
  const whole = graph({ adapter, second, one: box("adapter:0"), two: box("second:0") });
  const found = combinations(whole).get(inner.getNodeById("apply"));
  assert.deepEqual(found, [ALL, { ...ALL, adapter: "second.bin" }]);
});

test("a widget shown on the subgraph node is read there", () => {
  const inner = graph(
    {
      adapter: { ...LOADERS.adapter, inputs: { adapter_file: ["COMBO", "-10:0", "adapter_file"] } },
    },
    { adapter: "adapter:0" },
  );
  const box = {
    type: "u",
    subgraph: inner,
    inputs: { file: ["COMBO", null, "file"] },
    widgets: { file: "outside.bin" },
  };
  const apply = applyWith({ adapter: ["IP_ADAPTER", "box:0"] });
  const { adapter, ...rest } = LOADERS;
  assert.equal(met({ ...rest, box, apply })[0].adapter, "outside.bin");
});
