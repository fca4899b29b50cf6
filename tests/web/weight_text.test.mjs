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

test("neighbours that are equal are one entry", () => {
  const factors = [...Array(6).fill([0]), ...Array(13).fill([0.5]), [1], [0.25], [0.25]];
  assert.equal(writeWeights(factors), "6-18:0.5, 19:1, 20-21:0.25");
  assert.equal(writeWeights(Array(57).fill([1])), "0-56:1");
  assert.equal(writeWeights(Array(38).fill([0])), "0:0");
  const deep = [...Array(16).fill([1, 1]), [1, 0.5]];
  assert.equal(writeWeights(deep), "0-16:1, 16.1:0.5");
});

test("for programs that know no ranges each transformer is named", () => {
  assert.equal(writeWeights([...Array(6).fill([0]), ...Array(10).fill([1])]), "6-15:1");
  const all = Array(16).fill([1]);
  assert.equal(writeWeights(all, true), Array.from({ length: 16 }, (_, i) => `${i}:1`).join(", "));
});
