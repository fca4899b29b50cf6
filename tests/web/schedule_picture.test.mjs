import assert from "node:assert/strict";
import { test } from "node:test";

import { BOX_HEIGHT, WIDTH, picture } from "../../web/schedule_picture.js";

/** @param {Partial<import("../../web/schedule_picture.js").Drawn>} said @param {string} [over] */
const drawn = (said, over = "steps") =>
  picture({ values: [], samples: [], wrong: "", ...said }, over, "linear");

/** @param {any} picture @param {string} kind */
const points = (picture, kind) => picture.lines.find((/** @type {any} */ line) => line.kind === kind)?.points;

test("a fade goes from the upper left to the lower right", () => {
  const fade = drawn({ samples: [1, 0.75, 0.5, 0.25, 0] });
  assert.deepEqual(points(fade, "curve")[0], [0, 0]);
  assert.deepEqual(points(fade, "curve").at(-1), [WIDTH, BOX_HEIGHT]);
  assert.equal(fade.label, "linear, first to last of the steps: 1.00, 0.75, 0.50, 0.25, 0.00");
});

test("of many samples five are told", () => {
  const samples = Array.from({ length: 33 }, (_, i) => i / 32);
  assert.match(drawn({ samples }, "frames").text, /of the frames: 0.00, 0.25, 0.50, 0.75, 1.00$/);
});

test("values beyond 0 and 1 stay in the picture", () => {
  const line = points(drawn({ samples: [3, 2, 1, 0, -1] }), "curve");
  const heights = line.map((/** @type {number[]} */ point) => point[1]);
  assert.deepEqual([Math.min(...heights), Math.max(...heights)], [0, BOX_HEIGHT]);
});

test("0 and 1 are in the picture, whatever the values are", () => {
  assert.deepEqual(points(drawn({ values: [0.5] }), "curve").map(([, y]) => y), [25, 25]);
  assert.deepEqual(points(drawn({ values: [2] }), "axis").map(([, y]) => y), [BOX_HEIGHT, BOX_HEIGHT]);
});

test("a list is a stair, and the last value goes on", () => {
  const stair = drawn({ values: [1, 0] });
  assert.equal(points(stair, "curve").length, 4);
  assert.equal(points(stair, "goes-on").at(-1)[0], WIDTH);
  assert.match(stair.text, /2 steps, then 0 goes on/);
  assert.match(drawn({ values: [1] }).text, /1 step, /);
});

test("a list for a whole film has a picture too", () => {
  const values = Array.from({ length: 300_000 }, (_, i) => i % 2);
  assert.equal(points(drawn({ values }, "frames"), "curve").length, 600_000);
});

test("where places matter each has its own piece of the line, and says how many there are", () => {
  const alternating = drawn({ samples: [1, 0, 0, 1, 1], count: 5 }, "frames");
  assert.deepEqual(points(alternating, "curve").slice(1, 3), [[20, 0], [20, BOX_HEIGHT]]);
  assert.equal(alternating.label, "linear, 5 frames: 1.00, 0.00, 0.00, 1.00, 1.00");
});

test("the other reference is a line of its own, in the same scale", () => {
  const fade = drawn({ samples: [3, 0], other: [0, 3] });
  assert.deepEqual([points(fade, "curve"), points(fade, "other")], [[[0, 0], [WIDTH, BOX_HEIGHT]], [[0, BOX_HEIGHT], [WIDTH, 0]]]);
  assert.match(fade.text, /; dashed: the other reference$/);
  assert.equal(points(drawn({ values: [1, 0], other: [0, 1] }), "other")[0][1], BOX_HEIGHT);
  assert.equal(points(drawn({ samples: [1, 0] }), "other"), undefined);
});

test("what cannot be drawn is said and not drawn", () => {
  const refused = drawn({ wrong: "values is 'loud'; numbers are needed. Write some." });
  assert.deepEqual(refused.lines, []);
  assert.equal(refused.text, "Run will refuse this: values is 'loud'; numbers are needed. Write some.");
  assert.equal(refused.label, refused.text);
});
