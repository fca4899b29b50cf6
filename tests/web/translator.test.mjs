/** Sentences with what is filled in, in another language; and that no text takes long. */

import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { translateNotes } from "../../web/words/example_notes.js";
import { filledIn, pattern } from "../../web/words/patterns.js";
import { hasWords, labelOf, speak, translated } from "../../web/words/spoken.js";
import { Translator } from "../../web/words/translator.js";

const TABLE = {
  joints: { ". ": "。", "; ": "；", ": ": "：", ", ": "，", " and ": "和", " or ": "或", ".": "。", "()": "（|）" },
  sentences: {
    "the file {1} is an adapter for {2}": "文件 {1} 是用于 {2} 的适配器",
    "this model is {1}": "此模型是 {1}",
    "Choose another file": "请选择其他文件",
    "has a damaged header": "的文件头已损坏",
    "no face was found in image {1} of {2}": "共 {2} 张图像，在第 {1} 张中没有找到人脸",
    "{1} faces": "{1} 张人脸",
    "image {1} shows {2}": "第 {1} 张图像有 {2}",
    "{1}, {2} tokens": "{1}，{2} 个 token",
    "face pack": "人脸包",
    "{1} {2} of it": "其中的 {1} {2}",
    "put it into models/{1}": "放入 models/{1}",
  },
  choices: { pad: "填充" },
  names: { IPARegions: "区域", scale: "强度", "Apply IP-Adapter": "应用 IP-Adapter" },
  notes: { "1. Models": "1. 模型", "**Run.**": "**运行。**", "saved as": "另存为" },
};
const zh = (text) => new Translator(TABLE).translate(text);

afterEach(() => speak());

test("a sentence is found with what is filled in, in another order too", () => {
  assert.equal(zh("no face was found in image 3 of 12"), "共 12 张图像，在第 3 张中没有找到人脸");
});

test("an error is three sentences, each with its own names", () => {
  assert.equal(
    zh("the file a; b.safetensors is an adapter for SDXL; this model is SD1.5. Choose another file."),
    "文件 a; b.safetensors 是用于 SDXL 的适配器；此模型是 SD1.5。请选择其他文件。",
  );
});

test("what is filled in is translated in turn, and names of files are not", () => {
  assert.equal(zh("image 2 shows 3 faces"), "第 2 张图像有 3 张人脸");
  assert.equal(zh("this model is scale"), "此模型是强度");
  const name = "image 2 shows 3 faces.png";
  assert.equal(zh(`this model is ${name}`), `此模型是 ${name}`);
});

test("a folder that is called as an input stays one", () => {
  assert.equal(zh("put it into models/scale"), "放入 models/scale");
});

test("what was found is said of a name in front of it", () => {
  assert.equal(zh("my file.bin has a damaged header"), "my file.bin 的文件头已损坏");
  assert.equal(zh("face pack and IPARegions (scale)"), "人脸包和区域（强度）");
});

test("names lose their article, kinds are called alike, and commas are of one width", () => {
  assert.equal(zh("this model is a SD1.5 pad"), "此模型是 SD1.5 填充");
  assert.equal(zh("this model is SDXL, ViT-H"), "此模型是 SDXL，ViT-H");
  assert.equal(zh("this model is a.bin, b.bin"), "此模型是 a.bin，b.bin");
  assert.equal(zh("this model is cat, dog.bin"), "此模型是 cat, dog.bin");
  assert.equal(zh('this model is {"pad": 1, "scale": 2}'), '此模型是 {"pad": 1, "scale": 2}');
});

test("what is not known stays as it is", () => {
  assert.equal(zh("Nobody has translated this one."), "Nobody has translated this one.");
  assert.equal(zh("3 x 4"), "3 x 4");
  assert.equal(zh(""), "");
});

test("a gap holds something, and fixed parts do not overlap", () => {
  assert.deepEqual(filledIn(pattern("a {1} b {2} c", ""), "a x b y c"), ["x", "y"]);
  assert.equal(filledIn(pattern("ab{1}ba", ""), "aba"), null);
  assert.equal(filledIn(pattern("{1} is {2}", ""), "x is "), null);
  assert.deepEqual(filledIn(pattern("{1} is {2}", ""), "x is is"), ["x", "is"]);
});

test("lines, signs in front and spaces are kept; without a table all is English", () => {
  assert.equal(translated("Choose another file"), "Choose another file");
  speak(TABLE);
  assert.equal(translated("⚠ Choose another file\n\n  face pack"), "⚠ 请选择其他文件\n\n  人脸包");
  assert.equal(translated("0.55"), "0.55");
  assert.equal(labelOf("pad"), "填充");
  assert.equal(labelOf("squash"), undefined);
  assert.ok(hasWords("IPARegions") && !hasWords("KSampler"));
  speak();
  assert.ok(!hasWords("IPARegions"));
});

/** Steps are counted by what is looked up, for a clock says little on a busy machine. */
function looked(text) {
  let count = 0;
  const translator = new Translator(TABLE);
  const { of } = translator.patterns;
  translator.patterns.of = (part) => {
    count += 1;
    return of.call(translator.patterns, part);
  };
  translator.translate(text);
  return count;
}

test("a text made to take long is looked up a bounded number of times", () => {
  const bad = ["; ", ". ", ": ", ", ", " and "].map((joint) => `x${joint}`.repeat(400));
  for (const text of [...bad, bad.join(""), "{1} of it ".repeat(300), "(".repeat(3000)]) {
    assert.ok(looked(text.slice(0, 3900)) <= 401, text.slice(0, 20));
  }
  assert.equal(looked("x; ".repeat(2000)), 0); // longer than any sentence of the pack
  assert.ok(looked("this model is SD1.5") <= 6);
});

test("notes, groups and titles of an example are translated line by line", () => {
  const note = { type: "MarkdownNote", widgets_values: ["## Mine\n**Run.**\n[a](b), saved as **c** → d"] };
  const graph = () => ({
    extra: { ipadapter_inputs: [] },
    groups: [{ title: "1. Models" }],
    nodes: [structuredClone(note), { type: "IPAApply", title: "1. Models", widgets_values: ["**Run.**"] }],
  });
  const made = graph();
  translateNotes(made, TABLE.notes);
  assert.equal(made.groups[0].title, "1. 模型");
  assert.equal(made.nodes[0].widgets_values[0], "## Mine\n**运行。**\n[a](b), 另存为 **c** → d");
  assert.deepEqual([made.nodes[1].title, made.nodes[1].widgets_values[0]], ["1. 模型", "**Run.**"]);
  const own = { ...graph(), extra: {} };
  translateNotes(own, TABLE.notes);
  assert.equal(own.groups[0].title, "1. Models");
});
