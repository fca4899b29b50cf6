/** Which pictures and masks a node shows of what is connected to it. */

import assert from "node:assert/strict";
import test from "node:test";
import { cells } from "../../web/thumbnails/pictures.js";
import { graph } from "./editor_graph.mjs";

const image = (from) => ["IMAGE", from];
const mask = (from) => ["MASK", from];
const load = (file) => ({ type: "LoadImage", inputs: {}, widgets: { image: file } });
const file = (filename, subfolder = "", type = "input") => ({ filename, type, subfolder });

function shown(nodes, outputs = {}) {
  const made = graph(nodes);
  const place = { node: made.getNodeById("node"), path: [] };
  return cells(place, ({ node }) => outputs[node.id] ?? []);
}

test("a picture is shown with the mask that is loaded with it", () => {
  const node = { type: "IPASimple", inputs: { image: image("photo:0"), attn_mask: mask("photo:1") } };
  const picture = file("cat.png", "pets/old");
  assert.deepEqual(shown({ photo: load("pets/old/cat.png"), node }), [
    { pictures: [picture], mask: { ...picture, channel: "alpha" } },
  ]);
});

test("folders of the host and colours of a mask are told", () => {
  const nodes = {
    photo: load("clipspace/a.png [temp]"),
    red: { type: "LoadImageMask", inputs: {}, widgets: { image: "m.png", channel: "red" } },
    node: { type: "IPARegional", inputs: { image: image("photo:0"), mask: mask("red:0") } },
  };
  assert.deepEqual(shown(nodes), [
    {
      pictures: [file("a.png", "clipspace", "temp")],
      mask: { ...file("m.png"), channel: "red" },
    },
  ]);
});

test("what made one picture of another is looked through, or shows its own", () => {
  const nodes = {
    photo: load("cat.png"),
    scale: { type: "ImageScale", inputs: { image: image("photo:0") } },
    both: { type: "ImageBatch", inputs: { image1: image("photo:0"), image2: image("photo:0") } },
    node: {
      type: "IPAStyleComposition",
      inputs: { style_image: image("scale:0"), composition_image: image("both:0") },
    },
  };
  const picture = file("cat.png");
  const cell = (...pictures) => ({ pictures, mask: undefined });
  assert.deepEqual(shown(nodes), [cell(picture), cell()]);
  const made = file("made.png", "", "temp");
  assert.deepEqual(shown(nodes, { scale: [made], both: [made, made] }), [
    cell(made),
    cell(made, made),
  ]);
});

test("each region has its reference and its mask, and an unknown mask is no picture", () => {
  const encode = (from) => ({ type: "IPAEncodeImage", inputs: { image: image(from) } });
  const nodes = {
    cat: load("cat.png"),
    house: load("house.png"),
    drawn: { type: "SolidMask", inputs: {} },
    first: encode("cat:0"),
    second: encode("house:0"),
    node: {
      type: "IPARegions",
      inputs: {
        "embeds.embeds0": ["IPA_EMBEDS", "first:0"],
        "embeds.embeds2": ["IPA_EMBEDS", "second:0"],
        "masks.mask0": mask("drawn:0"),
        "masks.mask2": mask("house:1"),
      },
    },
  };
  assert.deepEqual(shown(nodes), [
    { pictures: [file("cat.png")], mask: "unknown" },
    { pictures: [file("house.png")], mask: { ...file("house.png"), channel: "alpha" } },
  ]);
});

test("the opposite of a mask is shown, and one that the page has a preview of", () => {
  const invert = (from) => ({ type: "InvertMask", inputs: { mask: mask(from) } });
  const nodes = {
    cat: load("cat.png"),
    drawn: { type: "SolidMask", inputs: {} },
    other: invert("cat:1"),
    again: invert("other:0"),
    of_drawn: invert("drawn:0"),
    seen: { type: "MaskPreview", inputs: { mask: mask("drawn:0") } },
    elsewhere: { type: "MaskPreview", inputs: { mask: mask("cat:1") } },
  };
  const made = file("drawn.png", "", "temp");
  const maskOf = (from, outputs) => {
    const node = { type: "IPASimple", inputs: { image: image("cat:0"), attn_mask: mask(from) } };
    return shown({ ...nodes, node }, outputs)[0].mask;
  };
  const alpha = { ...file("cat.png"), channel: "alpha" };
  assert.deepEqual(maskOf("other:0", {}), { ...alpha, inverted: true });
  assert.deepEqual(maskOf("again:0", {}), { ...alpha, inverted: false });
  assert.equal(maskOf("of_drawn:0", { elsewhere: [made] }), "unknown");
  const run = { seen: [made], elsewhere: [file("no.png")] };
  assert.deepEqual(maskOf("drawn:0", run), { ...made, channel: "rgb" });
  assert.deepEqual(maskOf("of_drawn:0", run), { ...made, channel: "rgb", inverted: true });
});

test("nothing is shown of what is not known", () => {
  assert.deepEqual(shown({ node: { type: "IPASimple", inputs: { image: ["IMAGE"] } } }), []);
  assert.deepEqual(shown({ node: { type: "IPAApply", inputs: {} } }), []);
});
