// @ts-check
/** Places for new nodes beside the old one that cover no other node; no app, no DOM. */

/** @typedef {[number, number, number, number]} Box x, y, width and height */

/** Height of a title, which is above the place of a node. */
export const TITLE = 30;
/** Nodes 2.0 draws a node by so much higher than the host computes. */
export const TALLER = 40;
/** Of a new node, where it needs no more. */
export const WIDTH = 270;
const MARGIN = 20;
const STEP = 40;
const FARTHEST = 100; // steps

/**
 * The nearest free place, where possible inside the groups that the old node is in.
 * @param {[number, number]} wanted
 * @param {[number, number]} size
 * @param {Box[]} taken
 * @param {Box[]} inside
 * @returns {[number, number]}
 */
export function freePlace(wanted, size, taken, inside) {
  const all = candidates();
  const fits = (/** @type {[number, number]} */ shift) => {
    const box = boxAt(wanted, shift, size);
    return !taken.some((one) => overlap(box, one));
  };
  const isInside = (/** @type {[number, number]} */ shift) =>
    inside.every((group) => contains(group, boxAt(wanted, shift, size)));
  const near = inside.length > 0 ? all.find((shift) => isInside(shift) && fits(shift)) : undefined;
  const [x, y] = near ?? all.find(fits) ?? [0, 0];
  return [wanted[0] + x, wanted[1] + y];
}

/** A node with its title. @param {any} node @returns {Box} */
export function boxOf(node) {
  const [x, y] = node.pos;
  const folded = node.flags?.collapsed;
  const [width, height] = folded ? [160, 0] : node.size;
  return [x, y - TITLE, width, height + TITLE];
}

/** @type {[number, number][] | undefined} */
let known;

/** Shifts, the nearest first; to the left before to the right, for links come from there. */
function candidates() {
  if (known) return known;
  known = [];
  for (let x = -FARTHEST; x <= FARTHEST; x++) {
    for (let y = -FARTHEST; y <= FARTHEST; y++) known.push([x * STEP, y * STEP]);
  }
  const far = ([x, y]) => Math.hypot(x > 0 ? 1.5 * x : x, y);
  return known.sort((one, other) => far(one) - far(other));
}

/**
 * @param {[number, number]} wanted
 * @param {[number, number]} shift
 * @param {[number, number]} size
 * @returns {Box}
 */
function boxAt([x, y], [right, down], [width, height]) {
  return [x + right, y + down, width, height];
}

/**
 * @param {Box} one
 * @param {Box} other
 */
export function overlap([x, y, width, height], [left, top, wide, high]) {
  return (
    x < left + wide + MARGIN &&
    left < x + width + MARGIN &&
    y < top + high + MARGIN &&
    top < y + height + MARGIN
  );
}

/**
 * @param {Box} outer
 * @param {Box} inner
 */
export function contains([x, y, width, height], [left, top, wide, high]) {
  return left >= x && top >= y && left + wide <= x + width && top + high <= y + height;
}

/**
 * The smallest box around both.
 * @param {Box} one
 * @param {Box} other
 * @returns {Box}
 */
export function around([x, y, width, height], [left, top, wide, high]) {
  const [west, north] = [Math.min(x, left - MARGIN), Math.min(y, top - MARGIN)];
  const east = Math.max(x + width, left + wide + MARGIN);
  const south = Math.max(y + height, top + high + MARGIN);
  return [west, north, east - west, south - north];
}
