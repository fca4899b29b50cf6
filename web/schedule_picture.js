// @ts-check
/** The lines that picture a schedule, and the same in words. */

import { CURVES, factorAt, parseNumbers } from "./ramp.js";

/**
 * @typedef {{ kind: "curve" | "goes-on" | "axis", points: number[][] }} Line
 * @typedef {object} Picture
 * @property {Line[]} lines in a box 100 wide and 50 high
 * @property {string} text for the eye
 * @property {string} label for those who do not see it
 */

export const WIDTH = 100;
export const BOX_HEIGHT = 50;
const SAMPLES = 33;
const TOLD = 5;

/**
 * @param {Record<string, any>} widgets values of the node's widgets by name
 * @param {boolean} linked whether one of them comes through a connection
 * @returns {Picture}
 */
export function drawnSchedule({ over, start, end, curve, values }, linked) {
  if (linked) return nothing("A part comes through a connection, so there is no picture.");
  const list = parseNumbers(String(values ?? ""));
  if (!list) return nothing("The values are no numbers separated by commas; Run will refuse them.");
  const ramp = { start: Number(start), end: Number(end), curve, values: list };
  if (!CURVES.includes(curve) || !Number.isFinite(ramp.start + ramp.end)) {
    return nothing("Start, end or curve cannot be read.");
  }
  return list.length > 0 ? ofList(list, over) : ofRamp(ramp, over);
}

/**
 * @param {string} text
 * @returns {Picture}
 */
function nothing(text) {
  return { lines: [], text, label: text };
}

/**
 * @param {import("./ramp.js").Ramp} ramp
 * @param {string} over
 */
function ofRamp(ramp, over) {
  const samples = Array.from({ length: SAMPLES }, (_, i) => factorAt(ramp, i, SAMPLES));
  const toY = scaleOf(samples);
  const points = samples.map((y, i) => [(i / (SAMPLES - 1)) * WIDTH, toY(y)]);
  const told = Array.from({ length: TOLD }, (_, i) => factorAt(ramp, i, TOLD).toFixed(2)).join(", ");
  const text = `first to last of the ${over}: ${told}`;
  /** @type {Line[]} */
  const lines = [...axes(toY), { kind: "curve", points }];
  return { lines, text, label: `${ramp.curve}, ${text}` };
}

/**
 * @param {number[]} list
 * @param {string} over
 */
function ofList(list, over) {
  const toY = scaleOf(list);
  // Each holds for one place; one more shows that the last goes on.
  const width = WIDTH / (list.length + 1);
  const points = list.flatMap((y, i) => [[i * width, toY(y)], [(i + 1) * width, toY(y)]]);
  const last = toY(list[list.length - 1]);
  const many = `${list.length} ${list.length === 1 ? over.replace(/s$/, "") : over}`;
  const text = `${many}, then ${list[list.length - 1]} goes on`;
  const few = list.slice(0, TOLD).join(", ");
  /** @type {Line[]} */
  const lines = [
    ...axes(toY),
    { kind: "curve", points },
    { kind: "goes-on", points: [[WIDTH - width, last], [WIDTH, last]] },
  ];
  const more = list.length > TOLD ? " and so on" : "";
  return { lines, text, label: `${few}${more}: ${text}` };
}

/**
 * @param {number[]} values
 * @returns {(value: number) => number} height in the box, from the top
 */
function scaleOf(values) {
  const least = Math.min(0, ...values);
  const greatest = Math.max(1, ...values);
  return (value) => ((greatest - value) / (greatest - least)) * BOX_HEIGHT;
}

/**
 * @param {(value: number) => number} toY
 * @returns {Line[]}
 */
function axes(toY) {
  return [0, 1].map((value) => ({ kind: "axis", points: [[0, toY(value)], [WIDTH, toY(value)]] }));
}
