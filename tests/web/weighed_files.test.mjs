import assert from "node:assert/strict";
import { test } from "node:test";

import { weighedFiles } from "../../web/weighed_files.js";
import { graph } from "./editor_graph.mjs";

const MODEL = {
  model: { type: "UNETLoader", widgets: { unet_name: "flux.safetensors" } },
  adapter: { type: "IPALoadAdapter", widgets: { adapter_file: "xlabs.safetensors" } },
};
const BOTH = { adapter: "xlabs.safetensors", unet: "flux.safetensors" };

function apply(weights, inputs = {}) {
  const all = { model: ["MODEL", "model:0"], adapter: ["IP_ADAPTER", "adapter:0"], ...inputs };
  return { type: "IPAApply", inputs: { ...all, block_weights: ["IPA_WEIGHTS", weights] } };
}

/** What the weights of a node are for. */
function files(nodes, id = "blocks") {
  const made = graph({ blocks: { type: "IPABlockWeights" }, ...MODEL, ...nodes });
  return weighedFiles(made).get(made.getNodeById(id)) ?? {};
}

test("weights are for the adapter and the model of their Apply", () => {
  assert.deepEqual(files({ apply: apply("blocks:0") }), BOTH);
});

test("they may come by way of others that they are multiplied with", () => {
  const schedule = (from) => ({ type: "IPASchedule", inputs: { multiply: ["IPA_WEIGHTS", from] } });
  const nodes = { one: schedule("blocks:0"), two: schedule("one:0"), apply: apply("two:0") };
  assert.deepEqual(files(nodes), BOTH);
});

test("weights that go nowhere, or that a circle holds, are for nothing", () => {
  assert.deepEqual(files({}), {});
  assert.deepEqual(files({ apply: apply(undefined) }), {});
  const circle = { type: "IPASchedule", inputs: { multiply: ["IPA_WEIGHTS", "round:0"] } };
  assert.deepEqual(files({ round: circle, apply: apply("round:0") }), {});
});

test("where nothing is known of one Apply the next one says it", () => {
  const empty = apply("blocks:0", { model: ["MODEL"], adapter: ["IP_ADAPTER"] });
  assert.deepEqual(files({ empty, apply: apply("blocks:0") }), BOTH);
  assert.deepEqual(files({ empty }), {});
});

test("a file that is searched is not known, and the model tells the family", () => {
  const auto = { type: "IPALoadForModel", widgets: { adapter_file: "auto" } };
  assert.deepEqual(files({ adapter: auto, apply: apply("blocks:0") }), { unet: "flux.safetensors" });
});
