import assert from "node:assert/strict";
import { test } from "node:test";

import { renew } from "../../web/old_graphs.js";

const FLOAT = (name, value = 1) => ({ name, default: value, texts: {} });
const TABLE = {
  pack: "ours",
  packs: ["theirs", "somebody/theirs"],
  forced: "",
  outputs: { Faces: { OLD: "NEW" } },
  renames: [
    {
      old: "Encoder",
      new: "EncoderV1",
      named: ["image_1", "plus"],
      values: [["boolean", "number"]],
      inputs: { image: "image_1", plus: "ipadapter_plus" },
    },
    { old: "Apply", new: "Stranger", named: ["dtype"], values: [["number", "string"]], inputs: {} },
  ],
  widgets: {
    Apply: [
      FLOAT("weight"),
      { name: "weight_type", default: "linear", texts: { "style (SDXL)": "style" } },
      FLOAT("start", 0),
      { name: "file", default: null, texts: {} },
    ],
    Encoder: [FLOAT("weight")],
    EncoderV1: [{ name: "ipadapter_plus", default: false, texts: {} }, FLOAT("noise", 0)],
    Stranger: [FLOAT("weight"), { name: "file", default: null, texts: {} }],
  },
};

/** What becomes of one node. */
function renewed(node) {
  const graph = { nodes: [structuredClone(node)] };
  renew(graph, TABLE);
  return graph.nodes[0];
}

test("texts of early versions become those of today, by place and by name", () => {
  const { widgets_values, widgets_values_named } = renewed({
    type: "Apply",
    widgets_values: [0.5, "style (SDXL)", 0.1, "style (SDXL)"],
    widgets_values_named: { weight: 0.5, weight_type: "style (SDXL)", other: "style (SDXL)" },
  });
  assert.deepEqual(widgets_values, [0.5, "style", 0.1, "style (SDXL)"]);
  const named = { weight: 0.5, weight_type: "style", other: "style (SDXL)" };
  assert.deepEqual(widgets_values_named, named);
});

test("null becomes the default, a short list stays short and what is too much stays", () => {
  const values = (widgets_values) => renewed({ type: "Apply", widgets_values }).widgets_values;
  assert.deepEqual(values([null, null, null, null]), [1, "linear", 0, null]);
  assert.deepEqual(values([0.5]), [0.5]);
  assert.deepEqual(values([0, "ease", 0, "a", null]), [0, "ease", 0, "a", null]);
  assert.deepEqual(values({ weight: null }), { weight: null });
  assert.equal(values(undefined), undefined);
});

test("the old form is told from the new one by its inputs or by its values", () => {
  const by = (node) => renewed({ type: "Encoder", ...node }).type;
  assert.equal(by({ inputs: [{ name: "clip" }, { name: "image_1" }] }), "EncoderV1");
  assert.equal(by({ widgets_values: [true, 0.3] }), "EncoderV1");
  assert.equal(by({ inputs: [{ name: "image" }], widgets_values: [1] }), "Encoder");
  assert.equal(by({ widgets_values: [0.3, true] }), "Encoder");
  assert.equal(by({}), "Encoder");
  assert.equal(renewed({ type: "Apply", widgets_values: [1, "a.bin"] }).type, "Stranger");
  assert.equal(renewed({ type: "Apply", widgets_values: [1, "linear", 0, 1] }).type, "Apply");
});

test("its inputs get their new names and keep their links", () => {
  const node = renewed({
    type: "Encoder",
    inputs: [
      { name: "clip", link: 1 },
      { name: "image", link: 2 },
      { name: "plus", link: 3, widget: { name: "plus" } },
    ],
    widgets_values: [null, 0.3],
    properties: { "Node name for S&R": "Encoder" },
  });
  assert.deepEqual(node, {
    type: "EncoderV1",
    inputs: [
      { name: "clip", link: 1 },
      { name: "image_1", link: 2 },
      { name: "ipadapter_plus", link: 3, widget: { name: "ipadapter_plus" } },
    ],
    widgets_values: [false, 0.3],
    properties: { "Node name for S&R": "EncoderV1" },
  });
});

test("nodes of subgraphs and of groups are treated too", () => {
  const old = () => ({ nodes: [{ type: "Encoder", widgets_values: [true, 0.3] }] });
  const graph = {
    nodes: old().nodes,
    definitions: { subgraphs: [old(), old()] },
    extra: { groupNodes: { one: old() } },
  };
  renew(graph, TABLE);
  const places = [graph, ...graph.definitions.subgraphs, graph.extra.groupNodes.one];
  assert.deepEqual(places.map(({ nodes }) => nodes[0].type), Array(4).fill("EncoderV1"));
});

test("the pack a node came from becomes this one, for nodes that are here alone", () => {
  const properties = (type, given) => renewed({ type, properties: given }).properties;
  const kept = { "Node name for S&R": "Apply" };
  for (const from of [{ cnr_id: "Theirs", ver: "2.0.0" }, { aux_id: "Somebody/theirs", ver: "1" }]) {
    assert.deepEqual(properties("Apply", { ...kept, ...from }), { ...kept, cnr_id: "ours" });
    assert.deepEqual(properties("Other", { ...from }), from);
  }
  const other = { cnr_id: "another-pack", ver: "1" };
  assert.deepEqual(properties("Apply", { ...other }), other);
});

test("nodes without a rule, and what is no graph, stay as they are", () => {
  const other = { type: "KSampler", widgets_values: [null, "style (SDXL)"], inputs: [null] };
  assert.deepEqual(renewed(other), other);
  assert.deepEqual(renewed({ ...other, type: "constructor" }).type, "constructor");
  for (const graph of [null, 3, {}, { nodes: [null, 1, {}] }, { definitions: 1, extra: null }]) {
    const before = structuredClone(graph);
    renew(graph, TABLE);
    assert.deepEqual(graph, before);
  }
});

test("an output that had another type, and the links from it", () => {
  const node = (id, type = "Faces") => ({
    id,
    type,
    outputs: [{ name: "OLD", type: "OLD", links: [1] }],
  });
  const subgraph = {
    nodes: [node(7)],
    links: [
      { id: 1, origin_id: 7, origin_slot: 0, type: "OLD" },
      { id: 2, origin_id: 8, origin_slot: 0, type: "OLD" },
    ],
  };
  const group = { nodes: [node(undefined)], links: [[0, 0, 1, 0, 4]] };
  const graph = {
    nodes: [node(4), node(6, "Theirs")],
    links: [
      [1, 4, 0, 5, 0, "OLD"],
      [2, 6, 0, 5, 1, "OLD"],
    ],
    definitions: { subgraphs: [subgraph] },
    extra: { groupNodes: { group } },
  };
  renew(graph, TABLE);
  for (const part of [graph, subgraph, group]) {
    assert.deepEqual(part.nodes[0].outputs, [{ name: "NEW", type: "NEW", links: [1] }]);
  }
  assert.equal(graph.nodes[1].outputs[0].type, "OLD");
  assert.deepEqual(graph.links.map((link) => link[5]), ["NEW", "OLD"]);
  assert.deepEqual(subgraph.links.map((link) => link.type), ["NEW", "OLD"]);
  assert.deepEqual(group.links, [[0, 0, 1, 0, 4]]);
});
