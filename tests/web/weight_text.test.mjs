import assert from "node:assert/strict";
import { test } from "node:test";

import { RepeatedKey, readLoosely } from "../../web/loose_json.js";
import { Unreadable, readWeights, writeWeights } from "../../web/weight_text.js";

const PARTS = [["down.block_1", 2], ["mid", 10], ["up.block_0", 10], ["up.block_0", 10]].map(
  ([name, layers]) => ({ block: "", name: String(name), layers: Number(layers), pixels: 16 }),
);

test("silence is left out, and layers that differ are named by themselves", () => {
  const factors = [[0, 0], [1, 1, 1], [0, 0.5, 0], [1, 2, 1]];
  assert.equal(writeWeights(factors), "1:1, 2.1:0.5, 3:1, 3.1:2");
});

test("silence everywhere is no empty text, which would be a mistake", () => {
  assert.equal(writeWeights([[0, 0], [0]]), "0:0");
  assert.deepEqual(readWeights("0:0", PARTS).factors.flat(), Array(32).fill(0));
});

test("the reason says what is wrong where", () => {
  for (const [text, words] of [
    ["0:1, x", '"x" is not an index'],
    ["0:1, 4:1", "names 4, and the last one is 3"],
    ["0.2:1", "0 has 2"],
    ['{"up": {"block_2": 1}}', "up.block_2, which has no image attention"],
    ['{"up": [1]', "neither entries like 3:0.5 nor JSON"],
    ['{"up": 1, "up": 1}', '"up" stands twice'],
  ]) {
    assert.throws(() => readWeights(text, PARTS), (error) => {
      return error instanceof Unreadable && error.message.includes(words);
    }, text);
  }
});

test("a text with a factor for each reference shows the first and says so", () => {
  const { factors, references } = readWeights('{"up": {"block_0": [[0.2, 0.8], 1]}}', PARTS);
  assert.equal(references, 2);
  assert.deepEqual(factors.map(([first]) => first), [0, 0, 0.2, 1]);
});

test("deep nesting is a mistake and no crash", () => {
  assert.throws(() => readLoosely("[".repeat(100_000)), SyntaxError);
  assert.throws(() => readWeights("[".repeat(100_000), PARTS), Unreadable);
});

test("a key that stands twice is one only where JSON is written", () => {
  assert.throws(() => readLoosely('{"a": 1, "a": 2}'), RepeatedKey);
  assert.deepEqual(readLoosely("{'a': 1, 'a': 2}"), new Map([["a", 2]]));
});

test("names of every object are no entries", () => {
  assert.throws(() => readWeights('{"__proto__": 1}', PARTS), Unreadable);
  assert.throws(() => readWeights('{"up": {"constructor": 1}}', PARTS), Unreadable);
});
