import assert from "node:assert/strict";
import { test } from "node:test";

import { writeWeights } from "../../web/weight_text.js";

test("silence is left out, and layers that differ are named by themselves", () => {
  const factors = [[0, 0], [1, 1, 1], [0, 0.5, 0], [1, 2, 1]];
  assert.equal(writeWeights(factors), "1:1, 2.1:0.5, 3:1, 3.1:2");
});

test("of layers that differ by halves the first says what is common", () => {
  assert.equal(writeWeights([[0.5, 1]]), "0:0.5, 0.1:1");
});

test("silence everywhere is no empty text, which would be a mistake", () => {
  assert.equal(writeWeights([[0, 0], [0]]), "0:0");
});
