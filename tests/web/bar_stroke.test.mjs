import assert from "node:assert/strict";
import { test } from "node:test";

import { Stroke } from "../../web/bar_stroke.js";

/** Four bars of 20 pixels, 200 high from -0.5 to 1.5, with a gap of 10 in the middle. */
const LEFTS = [0, 20, 50, 70];
const boxOf = (index) => ({ left: LEFTS[index], right: LEFTS[index] + 20, top: 0, height: 200 });
const at = (clientX, value, shiftKey = false) => ({ clientX, clientY: (1.5 - value) * 100, shiftKey });
const stroke = (index, value) => new Stroke(at(LEFTS[index] + 10, value), index, [0, 1, 2, 3], [-0.5, 1.5]);

test("a press that hardly moves draws nothing", () => {
  assert.equal(stroke(1, 0.5).to(at(31, 0.51), boxOf), null);
});

test("bars that are jumped over lie on the line to the hand", () => {
  const drawn = stroke(0, 0.2).to(at(80, 0.8), boxOf);
  assert.deepEqual(drawn, { touched: [0, 1, 2, 3], values: [0.2, 0.4, 0.6, 0.8] });
});

test("what was drawn before is left as it is", () => {
  const one = stroke(0, 0.2);
  one.to(at(10, 0.5), boxOf);
  assert.deepEqual(one.to(at(30, 0.7), boxOf), { touched: [1], values: [0.7] });
  assert.deepEqual(one.to(at(10, 0.3), boxOf), { touched: [0], values: [0.3] });
});

test("a hand that wavers stays with its bar; outside of all it is with the last one", () => {
  const one = stroke(1, 0.5);
  assert.deepEqual(one.to(at(16, 0.4), boxOf)?.touched, [1]);
  assert.deepEqual(one.to(at(47, 0.3), boxOf)?.touched, [1]);
  assert.deepEqual(one.to(at(400, 0.3), boxOf)?.touched, [2, 3]);
  assert.deepEqual(one.to(at(-50, 0.3), boxOf)?.touched, [2, 1, 0]);
});

test("near 0 and 1 a bar is drawn there, by a fine hand it is not", () => {
  const drawn = (value, fine) => stroke(0, 0.5).to(at(10, value, fine), boxOf)?.values[0];
  assert.deepEqual([0.07, -0.07, 0.93, 1.07].map((each) => drawn(each, false)), [0, 0, 1, 1]);
  assert.deepEqual([0.07, 0.93].map((each) => drawn(each, true)), [0.07, 0.93]);
  assert.equal(drawn(0.1, false), 0.1);
});
