import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";

import { describe } from "../../web/moving/describe.js";
import { contains, freePlace, overlap } from "../../web/moving/free_place.js";
import { WITHOUT, kindOf } from "../../web/moving/kinds.js";
import { beginning, plan } from "../../web/moving/plan.js";
import { LANGUAGES, keys, leftLines, text } from "../../web/moving/texts.js";

const SHIPPED = { fit: "crop centre (ComfyUI)", unconditional: "black image" };
const PROFILES = {
  1: { ...SHIPPED, mask_rule: "bicubic", middle: true },
  2: { ...SHIPPED, mask_rule: "bilinear", middle: false },
};
const FILE = { file: "a.safetensors", face: false, feature: "pooled" };

/** A graph from nodes with links written as "id:slot". */
function graph(nodes) {
  const entries = Object.entries(nodes);
  const source = (end) => {
    const [id, slot] = end.split(":");
    return { id, slot: Number(slot), type: nodes[id]?.type ?? "subgraph" };
  };
  return entries.map(([id, { type, values = {}, links = {}, ...more }]) => ({
    id,
    type,
    title: id,
    values,
    fed: Object.fromEntries(Object.entries(links).map(([name, end]) => [name, source(end)])),
    uses: entries.flatMap(([taker, other]) =>
      Object.entries(other.links ?? {})
        .filter(([, end]) => end.split(":")[0] === id)
        .map(([name, end]) => ({ id: taker, slot: source(end).slot, type: other.type, name })),
    ),
    ...more,
  }));
}

const BASE = {
  checkpoint: { type: "CheckpointLoaderSimple" },
  encoder: { type: "CLIPVisionLoader" },
  photo: { type: "LoadImage" },
  loader: { type: "IPAdapterModelLoader", values: { ipadapter_file: "a" }, about: FILE },
};
const LINKS = { model: "checkpoint:0", ipadapter: "loader:0", image: "photo:0", clip_vision: "encoder:0" };
const VALUES = {
  weight: 0.7,
  weight_type: "linear",
  combine_embeds: "concat",
  start_at: 0,
  end_at: 1,
  embeds_scaling: "V only",
};
const advanced = (values = {}, links = {}) => ({
  type: "IPAdapterAdvanced",
  values: { ...VALUES, ...values },
  links: { ...LINKS, ...links },
});
const planned = (nodes, chosen) => plan(graph(nodes), PROFILES, chosen);
const types = ({ made }) => made.map(({ type }) => type).sort();

test("the short way: encoder, block weights and apply", () => {
  const found = planned({ ...BASE, old: advanced() });
  assert.deepEqual(types(found), ["IPAApply", "IPABlockWeights", "IPAEncodeImage", "IPALoadAdapter"]);
  assert.deepEqual(found.left, []);
  assert.deepEqual(found.removed, ["loader", "old"]);
  const apply = found.made.find(({ type }) => type === "IPAApply");
  assert.deepEqual(apply.values, {
    scale: 0.7,
    start_percent: 0,
    end_percent: 1,
    kv_scaling: "V only",
    mask_rule: "bilinear",
    face_lora_strength: 0,
  });
});

test("layers that leave out the middle block anyway need no second node for it", () => {
  for (const [weight_type, number] of [["style transfer", 1], ["ease in", 2], ["weak middle", 2]]) {
    const found = planned({ ...BASE, old: advanced({ weight_type }) });
    assert.equal(types(found).filter((type) => type === "IPABlockWeights").length, number, weight_type);
  }
});

test("the corrected profile needs no node for the middle block", () => {
  const found = plan(graph({ ...BASE, old: advanced() }), { ...PROFILES, 2: PROFILES[1] });
  assert.ok(!types(found).includes("IPABlockWeights"));
});

test("one level that has the weight of the node and one that has 1", () => {
  const found = planned({ ...BASE, old: advanced({ weight_type: "style and composition" }) });
  const scales = found.made.filter(({ type }) => type === "IPAApply").map(({ values }) => values.scale);
  assert.deepEqual(scales, [0.7, 1]);
});

test("a weight by a link of a single number goes on by the link, a list does not", () => {
  const number = { ...BASE, number: { type: "PrimitiveFloat" }, old: advanced({}, { weight: "number:0" }) };
  const found = planned(number);
  const apply = found.made.find(({ type }) => type === "IPAApply");
  assert.deepEqual(apply.links.scale, { of: "old", input: "weight" });
  assert.ok(!("scale" in apply.values));
  const list = { ...number, number: { type: "IPAdapterWeights" } };
  assert.equal(planned(list).left.find(({ id }) => id === "old").why, "linkedValue");
});

test("a value that is set on the node of a subgraph stays there", () => {
  const nodes = graph({ ...BASE, old: advanced() });
  nodes.find(({ id }) => id === "old").fed.weight = { id: "-10", slot: 0, type: "PrimitiveFloat" };
  assert.equal(plan(nodes, PROFILES).left.find(({ id }) => id === "old").why, "promoted");
});

test("links go on through nodes that are turned too", () => {
  const first = advanced();
  const second = advanced({}, { model: "first:0" });
  const nodes = graph({ ...BASE, first, second, sampler: { type: "KSampler", links: { model: "second:0" } } });
  const found = plan(nodes, PROFILES);
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const apply = found.made.find(({ key }) => key === "second/apply");
  assert.deepEqual(beginning(apply.links.model, found, byId), { made: "first/apply", output: "model" });
  assert.deepEqual(found.outputs.filter(({ id }) => id === "second"), [
    { id: "second", slot: 0, from: { made: "second/apply", output: "model" } },
  ]);
});

test("a loader keeps what strangers need", () => {
  const stranger = { type: "SetNode", links: { value: "loader:0" } };
  const found = planned({ ...BASE, old: advanced(), stranger });
  assert.deepEqual(found.left.map(({ id, why }) => [id, why]), [["loader", "strangerBehind"]]);
  assert.ok(types(found).includes("IPAConvertAdapter"));
});

test("an adapter of another graph is converted where it comes in", () => {
  const port = { id: "-10", slot: 1 };
  const outer = { type: "IPAdapterModelLoader", about: FILE, fixed: "elsewhere", port };
  const old = advanced({}, { ipadapter: "-10/1:0" });
  const { loader: _, ...rest } = BASE;
  const found = planned({ ...rest, "-10/1": outer, old });
  const convert = found.made.find(({ type }) => type === "IPAConvertAdapter");
  assert.deepEqual(convert.links.adapter, port);
  assert.deepEqual(found.left, []);
});

test("of an adapter from anywhere nothing is known", () => {
  const found = planned({ ...BASE, get: { type: "GetNode" }, old: advanced({}, { ipadapter: "get:0" }) });
  assert.deepEqual(
    found.left.map(({ id, why }) => [id, why]),
    [["old", "foreignAdapter"]],
  );
});

test("nothing is said about nodes of others", () => {
  const found = planned({ ...BASE, prep: { type: "PrepImageForClipVision" }, old: advanced() });
  assert.deepEqual(found.left, []);
  assert.equal(kindOf("PrepImageForClipVision"), "");
});

test("names of the fork", () => {
  assert.equal(kindOf("IPAdapterAdvancedV2"), "IPAdapterAdvanced");
  assert.equal(kindOf("KSamplerV2"), "");
});

test("every reason has a text in every language", () => {
  const folder = new URL("../../web/moving/", import.meta.url);
  const code = readdirSync(folder).map((name) => readFileSync(new URL(name, folder), "utf-8")).join("");
  const used = [...code.matchAll(/new Stays\("(\w+)"/g)].map(([, key]) => key);
  assert.ok(used.length > 15);
  used.push(...Object.values(WITHOUT), "said", "noBase", "otherBase", "bypassed", "notLoaded");
  for (const language of LANGUAGES) {
    assert.deepEqual(keys(language), keys("en"));
    for (const key of used) assert.notEqual(text(language, key, "x"), key, `${language} ${key}`);
  }
  assert.equal(text("ru-RU", "title"), text("ru", "title"));
  assert.equal(text("fr", "title"), text("en", "title"));
});

test("equal reasons are said once", () => {
  const one = { title: "a", why: "notLinked", what: "model" };
  assert.deepEqual(leftLines("en", [one, one]), ["2 × a: model is not connected"]);
});

test("new nodes cover nothing and stay in their group where there is room", () => {
  const taken = [[0, 0, 300, 300], [320, 0, 300, 300]];
  const group = [0, 0, 700, 1000];
  const [x, y] = freePlace([0, 0], [250, 250], taken, [group]);
  const box = [x, y, 250, 250];
  assert.ok(contains(group, box));
  assert.ok(taken.every((one) => !overlap(box, one)));
  assert.deepEqual(freePlace([1000, 0], [100, 100], taken, []), [1000, 0]);
  const full = freePlace([0, 0], [250, 250], taken, [[0, 0, 620, 300]]);
  assert.ok(taken.every((one) => !overlap([...full, 250, 250], one)));
});

test("an adapter behind reroutes is the loader's", () => {
  const links = new Map([
    [1, { origin_id: 1, origin_slot: 0, target_id: 2, target_slot: 0 }],
    [2, { origin_id: 2, origin_slot: 0, target_id: 3, target_slot: 0 }],
  ]);
  const root = { links, getLink: (id) => links.get(id) };
  const loaded = { constructor: { nodeData: {} }, mode: 0, graph: root };
  root.nodes = [
    {
      ...loaded,
      id: 1,
      type: "IPAdapterModelLoader",
      widgets: [{ name: "ipadapter_file", value: "a" }],
      outputs: [{ links: [1] }],
    },
    { ...loaded, id: 2, type: "Reroute", inputs: [{ type: "*", link: 1 }], outputs: [{ links: [2] }] },
    {
      ...loaded,
      id: 3,
      type: "IPAdapterAdvanced",
      title: "mine",
      widgets: [],
      inputs: [{ name: "ipadapter", type: "IPADAPTER", link: 2 }],
    },
  ];
  root.getNodeById = (id) => root.nodes.find((node) => node.id === Number(id));
  const { graphs, questions } = describe(root);
  const [loader, , old] = graphs[0].nodes;
  assert.deepEqual(old.fed.ipadapter, { id: "1", slot: 0, type: "IPAdapterModelLoader" });
  assert.deepEqual(loader.uses, [
    { id: "3", slot: 0, type: "IPAdapterAdvanced", name: "ipadapter", title: "mine" },
  ]);
  assert.deepEqual(questions.map(({ name }) => name), ["a"]);
});
