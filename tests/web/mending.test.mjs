import assert from "node:assert/strict";
import { test } from "node:test";

import { offers, sameNames } from "../../web/mending/offers.js";
import { failed, refused } from "../../web/mending/sentences.js";
import { label } from "../../web/mending/texts.js";
import { humanise } from "../../web/words/refusals.js";
import { placeOf, signature, upstream } from "../../web/mending/upstream.js";
import { graph } from "./editor_graph.mjs";

const GRAPH = {
  checkpoint: { type: "CheckpointLoaderSimple", widgets: { ckpt_name: "xl.safetensors" } },
  adapter: { type: "IPALoadAdapter", widgets: { adapter_file: "plus.safetensors" } },
  vision: { type: "CLIPVisionLoader", widgets: { clip_name: "g.safetensors" } },
  other: { type: "CLIPVisionLoader", widgets: { clip_name: "l.safetensors" } },
  encode: { type: "IPAEncodeFace", inputs: { clip_vision: ["CLIP_VISION", null] } },
  image: { type: "IPAEncodeImage", inputs: { clip_vision: ["CLIP_VISION", "vision:0"] } },
  merge: {
    type: "IPAMergeEmbeds",
    inputs: { embeds0: ["IPA_EMBEDS", "image:0"], embeds1: ["IPA_EMBEDS", "encode:0"] },
  },
  apply: {
    type: "IPAApply",
    inputs: {
      model: ["MODEL", "checkpoint:0"],
      adapter: ["IP_ADAPTER", "adapter:0"],
      embeds: ["IPA_EMBEDS", "merge:0"],
    },
    widgets: { batch_mode: "one per picture, spread" },
  },
  sampler: { type: "KSampler", inputs: { model: ["MODEL", "apply:0"] }, widgets: { seed: 1, cfg: 7 } },
};

function at(whole, id = "apply") {
  return placeOf(whole, id);
}

function set(input, value) {
  return { input, value, source: "" };
}

/** Ids of the nodes whose widgets an offer sets. */
function targets(id, mend) {
  return offers(at(graph(GRAPH), id), [mend]).map(({ widgets }) => widgets.map(({ node }) => node.id));
}

test("a file is chosen on the loader whose file it is, and on no other", () => {
  assert.deepEqual(targets("apply", set("adapter_file", "plus_sdxl.safetensors")), [["adapter"]]);
  assert.deepEqual(targets("apply", set("encoder_file", "h.safetensors")), [["vision"]]);
  assert.deepEqual(targets("apply", set("encoder_file", "g.safetensors")), []); // it is that already
});

test("a run that stops in the sampler is mended on the node before it", () => {
  assert.deepEqual(targets("sampler", set("batch_mode", "one per picture, loop")), [["apply"]]);
});

test("what comes by a link, or is no choice of the list, is not offered", () => {
  const linked = graph({
    ...GRAPH,
    adapter: {
      type: "IPALoadAdapter",
      widgets: { adapter_file: "plus.safetensors" },
      inputs: { adapter_file: ["COMBO", "vision:0", "adapter_file"] },
    },
  });
  assert.deepEqual(offers(at(linked), [set("adapter_file", "a.bin")]), []);
  const whole = graph(GRAPH);
  at(whole, "adapter").node.widgets[0].options = { values: ["plus.safetensors"] };
  assert.deepEqual(offers(at(whole), [set("adapter_file", "a.bin")]), []);
});

test("a free input before the node is connected", () => {
  const whole = graph(GRAPH);
  const [offer] = offers(at(whole), [{ input: "clip_vision", value: null, source: "CLIPVisionLoader" }]);
  assert.equal(offer.connection.place.node.id, "encode");
});

test("the words of a button are short and in three languages", () => {
  const [offer] = offers(at(graph(GRAPH)), [set("adapter_file", "sub\\ip-adapter-plus_sd15.safetensors")]);
  assert.equal(label("en", offer.key, offer.parts), "use ip-adapter-plus_sd15");
  for (const language of ["zh", "zh-TW", "ru", "fr"]) {
    assert.match(label(language, offer.key, offer.parts), /ip-adapter-plus_sd15$/);
  }
});

test("a file of the same name elsewhere is offered", () => {
  const whole = graph({ load: { type: "IPALoadAdapter", widgets: { adapter_file: "old/Plus.bin" } } });
  const { node } = at(whole, "load");
  node.widgets[0].options = { values: ["plus.safetensors", "new/plus.bin", "other.bin"] };
  assert.deepEqual(
    sameNames({ node, path: [] }).map(({ value }) => value),
    ["plus.safetensors", "new/plus.bin"],
  );
});

test("a sentence holds as long as nothing that it depends on is another", () => {
  const whole = graph(GRAPH);
  const before = signature(at(whole, "sampler"));
  at(whole, "sampler").node.widgets[0].value = 2; // the host chooses another seed after each run
  at(whole, "other").node.widgets[0].value = "elsewhere.safetensors";
  assert.equal(signature(at(whole, "sampler")), before);
  at(whole, "vision").node.widgets[0].value = "h.safetensors";
  assert.notEqual(signature(at(whole, "sampler")), before);
});

test("a circle of nodes has an end", () => {
  const whole = graph({
    a: { type: "X", inputs: { model: ["MODEL", "b:0"] } },
    b: { type: "X", inputs: { model: ["MODEL", "a:0"] } },
  });
  assert.equal(upstream(at(whole, "a")).length, 2);
});

test("a node of a subgraph is found, and one that does not run is not", () => {
  const inner = graph({ apply: { type: "IPAApply" }, off: { type: "IPAApply", mode: 4 } });
  const whole = graph({ box: { type: "box", subgraph: inner } });
  const { node, path } = placeOf(whole, "box:apply");
  assert.deepEqual([node.id, ...path.map(({ id }) => id)], ["apply", "box"]);
  assert.equal(placeOf(whole, "box:off"), undefined);
  assert.equal(placeOf(whole, "gone:apply"), undefined);
});

test("the sentence is that of the error, without tips of the host", () => {
  const detail = {
    node_id: 5,
    node_type: "KSampler",
    exception_type: "ipadapter.UnknownPlace",
    exception_message: "this; that. Do it.\n\ntip",
  };
  const said = { id: "5", kind: "KSampler", text: "this; that. Do it.", ofFiles: false, refused: false };
  assert.deepEqual(failed(detail), said);
  assert.equal(failed({ ...detail, exception_type: "RuntimeError" }), undefined);
  assert.equal(failed({ ...detail, exception_type: "RuntimeError", node_type: "IPAApply" }).id, "5");
  assert.ok(failed({ ...detail, exception_type: "ipadapter.MissingModel" }).ofFiles);
  for (const wrong of [undefined, {}, { ...detail, exception_message: 5 }]) {
    assert.equal(failed(wrong), undefined);
  }
});

test("a refusal is said once, and of this pack's nodes", () => {
  const error = (input) => ({
    type: "custom_validation_failed",
    message: "Custom validation failed for node",
    details: `${input} - ipadapter.WrongBase: a; b. C - d.`,
  });
  const of = (class_type) => ({ class_type, errors: [error("adapter"), error("embeds")] });
  const found = refused({ 3: of("IPAApply"), 4: of("KSampler") });
  assert.deepEqual(found.map(({ id, text }) => [id, text]), [["3", "a; b. C - d."]]);
  const missing = { type: "x", message: "Required input is missing", details: "embeds" };
  const [one] = refused({ 3: { class_type: "IPAApply", errors: [missing] } });
  assert.equal(one.text, "Required input is missing: embeds");
  assert.deepEqual(refused(undefined), []);
});

test("a refusal names the input it is about, and no type", () => {
  const told = (input, said, inputs) => {
    const error = { details: `${input} - ${said}`, extra_info: { input_name: input } };
    humanise(error, inputs, (text) => text.toUpperCase());
    return [error.details, error.extra_info.input_name];
  };
  const apply = ["model", "adapter", "embeds", "scale", "start_percent", "end_percent"];
  const base = told("adapter", "ipadapter.WrongBase: a; b - c. D.", apply);
  assert.deepEqual(base, ["adapter - A; B - C. D.", "adapter"]);
  const encoder = told("adapter", "ipadapter.WrongEncoder: a; b. C.", apply);
  assert.deepEqual(encoder, ["embeds - A; B. C.", "embeds"]);
  const missing = told("model", "ipadapter.MissingModel: a; b. C.", ["model", "kind"]);
  assert.equal(missing[1], "kind");
  const bad = told("adapter", "ipadapter.BadInput: start_percent is 0.9; b. C.", apply);
  assert.equal(bad[1], "start_percent");
  assert.deepEqual(told("steps", "no type - at all", apply), ["steps - NO TYPE - AT ALL", "steps"]);
});
