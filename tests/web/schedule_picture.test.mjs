import assert from "node:assert/strict";
import { test } from "node:test";

import { BOX_HEIGHT, WIDTH, drawnSchedule } from "../../web/schedule_picture.js";

const FADE = { over: "steps", start: 1, end: 0, curve: "linear", values: "" };

/** @param {any} picture @param {string} kind */
const points = (picture, kind) => picture.lines.find((/** @type {any} */ line) => line.kind === kind)?.points;

test("a fade goes from the upper left to the lower right", () => {
  const line = points(drawnSchedule(FADE, false), "curve");
  assert.deepEqual(line[0], [0, 0]);
  assert.deepEqual(line.at(-1), [WIDTH, BOX_HEIGHT]);
});

test("values beyond 0 and 1 stay in the picture", () => {
  const line = points(drawnSchedule({ ...FADE, start: 3, end: -1 }, false), "curve");
  const heights = line.map((/** @type {number[]} */ point) => point[1]);
  assert.deepEqual([Math.min(...heights), Math.max(...heights)], [0, BOX_HEIGHT]);
});

test("a list is a stair, and the last value goes on", () => {
  const picture = drawnSchedule({ ...FADE, values: "1, 0" }, false);
  assert.equal(points(picture, "curve").length, 4);
  assert.equal(points(picture, "goes-on").at(-1)[0], WIDTH);
  assert.match(picture.text, /2 steps, then 0 goes on/);
  assert.match(drawnSchedule({ ...FADE, values: "1" }, false).text, /1 step, /);
});

test("what cannot be drawn is said and not drawn", () => {
  for (const [widgets, linked] of [
    [{ ...FADE, values: "loud" }, false],
    [{ ...FADE, curve: "wild" }, false],
    [{ ...FADE, start: undefined }, false],
    [FADE, true],
  ]) {
    const picture = drawnSchedule(widgets, linked);
    assert.deepEqual(picture.lines, []);
    assert.ok(picture.text.length > 10 && picture.label === picture.text);
  }
});
