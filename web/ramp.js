// @ts-check
/** A factor over steps or frames: the same arithmetic as the node's. */

/**
 * @typedef {object} Ramp
 * @property {number} start
 * @property {number} end
 * @property {string} curve
 * @property {number[]} values if any, one for each place instead; the last one goes on
 */

/** @type {Record<string, (x: number) => number>} */
const SHAPES = {
  linear: (x) => x,
  ease_in_out: (x) => (1 - Math.cos(Math.PI * x)) / 2,
  ease_in: (x) => Math.sin((Math.PI * x) / 2),
  ease_out: (x) => 1 - Math.cos((Math.PI * x) / 2),
};

export const CURVES = Object.keys(SHAPES);

/**
 * The factor at a place from 0 to count - 1.
 * @param {Ramp} ramp
 * @param {number} place
 * @param {number} count
 */
export function factorAt(ramp, place, count) {
  const { start, end, curve, values } = ramp;
  if (values.length > 0) {
    return values[Math.min(Math.max(Math.trunc(place), 0), values.length - 1)];
  }
  const share = count > 1 ? Math.min(Math.max(place / (count - 1), 0), 1) : 0;
  return start + (end - start) * SHAPES[curve](share);
}

const NUMBER = /^[-+]?(?:[0-9]+(?:_[0-9]+)*\.?(?:[0-9]+(?:_[0-9]+)*)?|\.[0-9]+(?:_[0-9]+)*)(?:[eE][-+]?[0-9]+)?$/;
const MOST = 1e6;

/**
 * Numbers separated by commas or line breaks; null where the node would refuse the text.
 * @param {string} text
 * @returns {number[] | null}
 */
export function parseNumbers(text) {
  let rest = text.trim();
  if (rest === "None" || rest === "null") rest = "";
  if (["[]", "()"].includes(rest.slice(0, 1) + rest.slice(-1))) rest = rest.slice(1, -1);
  if (rest === "") return [];
  const words = rest.replace(/,$/, "").replaceAll("\n", ",").split(",");
  const numbers = words.map((word) => word.trim()).map((word) => {
    return NUMBER.test(word) ? Number(word.replaceAll("_", "")) : NaN;
  });
  return numbers.every((number) => Math.abs(number) < MOST) ? numbers : null;
}
