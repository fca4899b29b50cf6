/** Which nodes a node that stands for several becomes, and where they are put. */

import assert from "node:assert/strict";
import test from "node:test";
import { unfolded, unfolds } from "../../web/unfold/plan.js";
import { columns, spread } from "../../web/unfold/spread.js";

const VALUES = { kind: "standard", scale: 0.8, preset: "linear", start_percent: 0, end_percent: 1 };

function folded(type, values = {}, fed = {}) {
  const source = { id: "1", slot: 0, type: "Any" };
  const linked = ["model", "image", ...Object.keys(fed)];
  return {
    id: "7",
    type,
    title: "mine",
    values: { ...VALUES, ...values },
    fed: Object.fromEntries(linked.map((name) => [name, source])),
    uses: [],
  };
}

const planOf = (node, pack = "buffalo_l") =>
  unfolded([node], new Set([node.id]), new Map([[node.id, pack]]));
const types = ({ made }) => made.map(({ type }) => type);
const one = ({ made }, type) => made.find((node) => node.type === type);

test("a picture is encoded for the adapter that is found", () => {
  const plan = planOf(folded("IPASimple"));
  assert.deepEqual(types(plan), ["IPALoadForModel", "IPAEncodeImage", "IPAApply"]);
  assert.deepEqual(one(plan, "IPALoadForModel").values, { kind: "standard" });
  assert.deepEqual(one(plan, "IPAApply").values, { scale: 0.8, start_percent: 0, end_percent: 1 });
  assert.deepEqual(one(plan, "IPAApply").links.model, { of: "7", input: "model" });
  assert.deepEqual(plan.outputs, [{ id: "7", slot: 0, from: { made: "7/apply", output: "model" } }]);
  assert.deepEqual(plan.removed, ["7"]);
});

test("faces are read, with an encoder where the adapter looks at them too", () => {
  for (const [kind, looks] of [
    ["FaceID", false],
    ["FaceID portrait unnormed", false],
    ["FaceID plus", true],
    ["FaceID plus v2", true],
  ]) {
    const plan = planOf(folded("IPASimple", { kind }), "antelopev2");
    assert.equal(one(plan, "IPAEncodeImage"), undefined);
    assert.deepEqual(one(plan, "IPALoadFaceModels").values, { pack: "antelopev2" });
    assert.equal("clip_vision" in one(plan, "IPAEncodeFace").links, looks, kind);
  }
});

test("a preset becomes Block Weights, and so does one that comes by a link", () => {
  const chosen = planOf(folded("IPASimple", { preset: "ease in" }));
  assert.deepEqual(one(chosen, "IPABlockWeights").values, { preset: "ease in" });
  const linked = planOf(folded("IPASimple", {}, { preset: true, scale: true }));
  assert.deepEqual(one(linked, "IPABlockWeights").links.preset, { of: "7", input: "preset" });
  assert.deepEqual(one(linked, "IPAApply").links.scale, { of: "7", input: "scale" });
  assert.equal("scale" in one(linked, "IPAApply").values, false);
});

test("a kind that comes by a link leaves the node as it is, and says why", () => {
  const plan = planOf(folded("IPASimple", {}, { kind: true }));
  assert.deepEqual([plan.made, plan.removed], [[], []]);
  assert.deepEqual(plan.left, [{ id: "7", title: "mine", why: "linkedKind", what: "" }]);
});

test("a region sets masks and joins prompts only where there are some", () => {
  const alone = planOf(folded("IPARegional", {}, { positive: true, negative: true }));
  assert.deepEqual(types(alone).slice(2), ["IPABindToConditioning"]);
  const fed = { positive: true, negative: true, mask: true, more_positive: true };
  const chained = planOf(folded("IPARegional", {}, fed));
  const after = types(chained).slice(3);
  assert.deepEqual(after, ["ConditioningSetMask", "ConditioningCombine", "ConditioningSetMask"]);
  assert.deepEqual(one(chained, "ConditioningCombine").links, {
    conditioning_1: { of: "7", input: "more_positive" },
    conditioning_2: { made: "7/positive mask", output: "CONDITIONING" },
  });
});

test("the nodes stand in columns, each before what takes it", () => {
  const images = { style_image: true, composition_image: true };
  const plan = planOf(folded("IPAStyleComposition", {}, images));
  const keys = columns(plan.made).map((column) => column.map(({ key }) => key.split("/")[1]));
  assert.deepEqual(keys, [
    ["load"],
    ["style_image encode", "style weights"],
    ["style apply", "composition_image encode", "composition weights"],
    ["composition apply"],
  ]);
});

test("what is to the right and below makes room, what is to the left stays", () => {
  const box = (id, pos) => ({ id, pos, size: [200, 100], setSize() {}, computeSize: () => [200, 300] });
  const old = box("7", [300, 0]);
  const [left, right, below] = [box("a", [0, 0]), box("b", [600, 0]), box("c", [300, 200])];
  const group = { pos: [280, -60], size: [240, 180] };
  const nodes = [old, left, right, below];
  const graph = { nodes, groups: [group], getNodeById: (id) => nodes.find((node) => node.id === id) };
  const plan = planOf(folded("IPASimple"));
  const made = new Map(plan.made.map(({ key }) => [key, box(key, [0, 0])]));
  nodes.push(...made.values());
  spread(graph, plan, made);
  assert.deepEqual(left.pos, [0, 0]);
  const across = right.pos[0] - 600;
  const last = made.get("7/apply");
  assert.ok(last.pos[0] + last.size[0] <= 300 + 200 + across);
  assert.ok(below.pos[1] >= 300 + 30);
  assert.deepEqual(group.size, [240 + across, 180 + below.pos[1] - 200]);
});

test("no other node is offered to be unfolded", () => {
  assert.deepEqual(["IPASimple", "IPAApply", "KSampler"].map(unfolds), [true, false, false]);
});
