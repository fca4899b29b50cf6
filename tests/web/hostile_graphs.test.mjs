import assert from "node:assert/strict";
import { test } from "node:test";

import { describe } from "../../web/moving/describe.js";
import { renew } from "../../web/old_graphs.js";
import { places } from "../../web/places.js";
import { weighedFiles } from "../../web/weighed_files.js";
import { combinations } from "../../web/workflow_graph.js";
import { graph } from "./editor_graph.mjs";

/** Steps that a walk may take for each node of a graph of hostile size. */
const AGAIN = 20_000;

/** A graph that counts how often its nodes are listed. */
function counted(nodes) {
  const made = graph(nodes);
  const { nodes: list } = made;
  made.looks = 0;
  Object.defineProperty(made, "nodes", {
    get() {
      made.looks += 1;
      return list;
    },
  });
  return made;
}

/** Subgraphs in one another, each used `uses` times in the one around it. */
function nested(levels, uses, inmost) {
  let inside = counted(inmost);
  const all = [inside];
  for (let level = 0; level < levels; level++) {
    const boxes = Array.from({ length: uses }, (_, i) => [`box${i}`, { type: "u", subgraph: inside }]);
    inside = counted(Object.fromEntries(boxes));
    all.push(inside);
  }
  return { root: inside, all };
}

const LOADER = { adapter: { type: "IPALoadAdapter", widgets: { adapter_file: "a.bin" } } };
const APPLY = {
  ...LOADER,
  blocks: { type: "IPABlockWeights" },
  apply: {
    type: "IPAApply",
    inputs: { adapter: ["IP_ADAPTER", "adapter:0"], block_weights: ["IPA_WEIGHTS", "blocks:0"] },
  },
};

test("subgraphs that double at each level are each looked into, and not each way", () => {
  const { root, all } = nested(40, 2, APPLY);
  const seen = [...places(root)];
  assert.ok(seen.length < AGAIN + 200, `${seen.length}`);
  assert.ok(all.every(({ looks }) => looks > 0));
  const inmost = all[0].getNodeById("apply");
  assert.deepEqual(combinations(root).get(inmost), [{ adapter: "a.bin" }]);
  assert.deepEqual(weighedFiles(root).get(all[0].getNodeById("blocks")), { adapter: "a.bin" });
  assert.ok(describe(root).graphs.length === all.length);
});

test("a subgraph that is used a thousand times is looked at in each place", () => {
  const inner = graph({ apply: { ...APPLY.apply, inputs: { adapter: ["IP_ADAPTER", "-10:0"] } } });
  const loaders = Array.from({ length: 1000 }, (_, i) => [
    `load${i}`,
    { type: "IPALoadAdapter", widgets: { adapter_file: `${i}.bin` } },
  ]);
  const boxes = loaders.map(([name], i) => [
    `box${i}`,
    { type: "u", subgraph: inner, inputs: { a: ["IP_ADAPTER", `${name}:0`] } },
  ]);
  const root = graph(Object.fromEntries([...loaders, ...boxes]));
  root.getNodeById = byId(root);
  assert.equal(combinations(root).get(inner.getNodeById("apply")).length, 1000);
});

test("a thousand uses inside of a thousand uses end", () => {
  const { root, all } = nested(3, 1000, APPLY);
  assert.ok([...places(root)].length <= AGAIN + 4000);
  assert.ok(all.every(({ looks }) => looks > 0));
});

test("levels without end end, and so does a subgraph in itself", () => {
  const { root } = nested(5000, 1, APPLY);
  assert.ok([...places(root)].length < 100);
  const itself = graph({ box: { type: "u" } });
  itself.getNodeById("box").subgraph = itself;
  assert.ok([...places(itself)].length < 5);
});

/** As the host does it, without looking through all. */
function byId(made) {
  const known = new Map(made.nodes.map((node) => [node.id, node]));
  return (id) => known.get(`${id}`);
}

test("all editors of weights together take one walk", () => {
  const blocks = Array.from({ length: 500 }, (_, i) => [`b${i}`, { type: "IPABlockWeights" }]);
  const root = counted(Object.fromEntries([...blocks, ...Object.entries(APPLY)]));
  root.getNodeById = byId(root);
  root.looks = 0;
  const files = weighedFiles(root);
  assert.equal(root.looks, 1);
  assert.equal(files.size, 1);
});

test("a chain of joins without end is left, and no error comes of it", () => {
  const chain = Array.from({ length: 30_000 }, (_, i) => [
    `m${i}`,
    { type: "IPAMergeEmbeds", inputs: { a: ["IPA_EMBEDS", `m${i + 1}:0`] } },
  ]);
  const inputs = { ...APPLY.apply.inputs, embeds: ["IPA_EMBEDS", "m0:0"] };
  const root = graph({ ...APPLY, ...Object.fromEntries(chain), apply: { ...APPLY.apply, inputs } });
  root.getNodeById = byId(root);
  assert.deepEqual(combinations(root).get(root.getNodeById("apply")), [{ adapter: "a.bin" }]);
});

test("reroutes that meet again are each counted once", () => {
  const nodes = { load: { type: "IPAdapterModelLoader", outputs: [{ type: "IPADAPTER", links: [] }] } };
  for (let i = 0; i < 60; i++) {
    nodes[`r${i}`] = { type: "Reroute", outputs: [{ type: "*", links: [] }] };
  }
  const root = graph(nodes);
  const order = root.nodes;
  for (let i = 0; i + 1 < order.length; i++) {
    for (const id of [`${i}a`, `${i}b`]) {
      root.links.set(id, { origin_id: order[i].id, origin_slot: 0, target_id: order[i + 1].id, target_slot: 0 });
      order[i].outputs[0].links.push(id);
    }
  }
  const [{ nodes: described }] = describe(root).graphs;
  assert.equal(described.length, 61);
});

test("names of types that every object has are no types of ours", () => {
  for (const type of ["constructor", "__proto__", "toString", "hasOwnProperty"]) {
    const odd = { type, widgets: { adapter_file: "a.bin", clip_name: "b" } };
    const eyes = { type: "IPAEncodeImage", inputs: { clip_vision: ["CLIP_VISION", "odd:0"] } };
    const inputs = { adapter: ["IP_ADAPTER", "odd:0"], model: ["MODEL", "odd:0"] };
    const root = graph({ odd, eyes, apply: { type: "IPAApply", inputs } });
    assert.deepEqual([...combinations(root).values()].flat(), []);
  }
});

test("links of a saved graph are found without looking through all for each node", () => {
  let reads = 0;
  const links = Array.from({ length: 3000 }, (_, i) => ({
    get origin_id() {
      reads += 1;
      return i;
    },
    origin_slot: 0,
    type: "CLIP_VISION",
  }));
  const nodes = links.map((_, id) => ({
    id,
    type: "InsightFaceLoader",
    outputs: [{ name: "CLIP_VISION", type: "CLIP_VISION" }],
  }));
  const outputs = { InsightFaceLoader: { CLIP_VISION: "INSIGHTFACE" } };
  const table = { pack: "", packs: [], renames: [], outputs, widgets: {}, forced: "" };
  renew({ nodes, links }, table);
  assert.ok(links.every(({ type }) => type === "INSIGHTFACE"));
  assert.ok(reads <= 2 * links.length, `${reads}`);
});
