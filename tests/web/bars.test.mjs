import assert from "node:assert/strict";
import { test } from "node:test";

import { meaningOfKey } from "../../web/bar_keys.js";
import {
  FILL_NAMES, axisOf, barsOf, filled, groupsOf, isOfCrowd, linesOf, nameOf, placeOf, snapped, tidy, valueAt, withValues,
} from "../../web/bars.js";

const FACTORS = [[1, 1], [0, 0.5, 1], [0.25]];
const PLAIN = [false, false, true];
const PARTS = ["down.block_1", "mid", "mid"].map((name, i) => ({
  block: i === 0 ? "input" : "middle", name, layers: FACTORS[i].length, pixels: 16,
}));

test("a transformer whose layers differ has their mean and says how far they differ", () => {
  const bars = barsOf(FACTORS, PLAIN, null);
  assert.deepEqual(bars.map(({ value }) => value), [1, 0.5, 0.25]);
  assert.deepEqual(bars.map(({ range }) => range), [null, [0, 1], null]);
  assert.deepEqual(bars.map(({ flipped }) => flipped), PLAIN);
});

test("the layers of one transformer are bars of their own", () => {
  const bars = barsOf(FACTORS, PLAIN, 1);
  assert.deepEqual(bars.map(nameOf), ["1.0", "1.1", "1.2"]);
  assert.deepEqual(withValues(FACTORS, [bars[2]], [-1]), [[1, 1], [0, 0.5, -1], [0.25]]);
});

test("to change a transformer changes all its layers, and not what was there before", () => {
  const bars = barsOf(FACTORS, PLAIN, null);
  assert.deepEqual(withValues(FACTORS, [bars[1]], [2]), [[1, 1], [2, 2, 2], [0.25]]);
  assert.deepEqual(FACTORS[1], [0, 0.5, 1]);
});

test("values go in steps, no further than they may, and never to minus zero", () => {
  assert.equal(snapped(0.13, 0.05), 0.15);
  assert.equal(snapped(0.13, 0.01), 0.13);
  assert.equal(snapped(-9, 0.05), -5);
  assert.ok(Object.is(snapped(-0.01, 0.05), 0));
  assert.equal(tidy(0.1 + 0.2), 0.3);
});

test("the picture has room for what is usual and for what there is", () => {
  assert.deepEqual(axisOf([0, 1]), [-0.5, 1.5]);
  assert.deepEqual(axisOf([-0.6, 2.1]), [-1, 2.5]);
});

test("place and value are each other's inverse", () => {
  const axis = /** @type {[number, number]} */ ([-0.5, 1.5]);
  assert.equal(placeOf(1.5, axis), 0);
  assert.equal(placeOf(-0.5, axis), 1);
  for (const value of [-0.5, 0, 0.3, 1, 2.5]) {
    assert.ok(Math.abs(valueAt(placeOf(value, axis), axis) - value) < 1e-12);
  }
});

test("every way to fill keeps the number of bars; curves keep the ends", () => {
  const values = [1, 0.2, 0.7, 0];
  for (const name of FILL_NAMES) assert.equal(filled(name, values).length, 4);
  for (const name of FILL_NAMES.filter((each) => each.includes("first to last"))) {
    const made = filled(name, values);
    assert.deepEqual([made[0], made[3]], [1, 0]);
    assert.ok(made[1] > made[2] && made[2] > 0, name);
  }
  assert.deepEqual(filled("Reverse the order", values), [0, 0.7, 0.2, 1]);
  assert.deepEqual(filled("1 minus each", values), [0, 0.8, 0.3, 1]);
});

test("bars of one block stand together", () => {
  const groups = groupsOf(barsOf(FACTORS, PLAIN, null), PARTS);
  assert.deepEqual(groups.map(({ bars }) => bars.length), [1, 2]);
});

test("keys change, move, type and reset", () => {
  const press = (/** @type {string} */ key, shiftKey = false) => meaningOfKey({ key, shiftKey }, 0.913636, 3);
  assert.deepEqual(press("ArrowUp"), { value: 0.96 });
  assert.deepEqual(press("ArrowDown", true), { value: 0.9 });
  assert.deepEqual(press("ArrowLeft"), { place: 2 });
  assert.deepEqual(press("Delete"), { value: 1 });
  assert.deepEqual(press("-"), { typed: "-" });
  for (const key of ["a", "F5", "constructor", "Shift"]) assert.equal(press(key), null);
});

/** Blocks of these names, as many of each as said. */
function blocks(counts) {
  const parts = Object.entries(counts).flatMap(([name, count]) =>
    Array.from({ length: count }, () => ({ block: name, name, layers: 1, pixels: 16 })),
  );
  return { parts, bars: barsOf(parts.map(() => [1]), parts.map(() => false), null) };
}

test("many blocks of one name have a line to themselves, cut before what five divides", () => {
  const { parts, bars } = blocks({ double: 19, single: 38 });
  const lines = linesOf(bars, parts);
  const firsts = lines.map(({ groups }) => groups.map((group) => group.bars[0].number));
  assert.deepEqual(firsts, [[0, 5, 10, 15], [19, 20, 25, 30, 35, 40, 45, 50, 55]]);
  assert.deepEqual(lines.flatMap(({ groups }) => groups.flatMap((group) => group.bars)), bars);
  assert.ok(lines.every(({ crowded, groups }, i) => {
    return crowded && groups.every(({ part }) => part.name === ["double", "single"][i]);
  }));
  assert.ok(isOfCrowd(parts[0], parts) && isOfCrowd(parts[56], parts));
  assert.equal(linesOf(...Object.values(blocks({ joint: 38 })).reverse()).length, 1);
});

test("few blocks of each name stay in one line, whole", () => {
  const { parts, bars } = blocks({ down: 2, mid: 1, up: 12 });
  const [line, ...others] = linesOf(bars, parts);
  assert.deepEqual(others, []);
  assert.deepEqual([line.crowded, line.groups.map((group) => group.bars.length)], [false, [2, 1, 12]]);
  assert.ok(!isOfCrowd(parts[3], parts));
});
