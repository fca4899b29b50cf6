// @ts-check
/** Draws the bars: groups of sliders with their names and resolutions. */

import { REACH, groupsOf, nameOf, placeOf, shownValue } from "./bars.js";
import { attributes, element } from "./dom.js";

/**
 * @typedef {import("./bars.js").Bar} Bar
 * @typedef {import("./bars.js").Part} Part
 */

/**
 * New elements for the bars, in the order of the bars.
 * @param {HTMLElement} plot emptied
 * @param {Bar[]} bars
 * @param {Part[]} parts
 * @param {number} side of the pictures, in pixels
 */
export function buildBars(plot, bars, parts, side) {
  /** @type {HTMLElement[]} */
  const made = [];
  const groups = groupsOf(bars, parts).map(({ part, bars: members }) => {
    const group = element("div", "ipa-group");
    group.style.flex = `${members.length} 1 0`;
    const row = element("div", "ipa-bars");
    for (const bar of members) made.push(row.appendChild(buildBar(bar, part, side)));
    const tokens = side / part.pixels;
    const kind = isWhole(part) ? part.name : part.block;
    const foot = element("span", "", `${tokens}²`);
    const head = element("span", "", members.length > 1 ? kind : kind.slice(0, 3));
    head.title = foot.title = `${part.name}: ${sizeOf(part, side)} in a picture of ${side} pixels`;
    group.append(head, row, foot);
    return group;
  });
  plot.replaceChildren(...groups);
  return made;
}

/**
 * @param {Bar} bar
 * @param {Part} part
 * @param {number} side
 */
function buildBar(bar, part, side) {
  const made = element("div", "ipa-bar");
  // The fill, the line of zero, the line of one, the number.
  made.append(element("u"), element("u"), element("i"), element("b", "", nameOf(bar).split(".").at(-1)));
  attributes(made, {
    role: "slider",
    "aria-orientation": "vertical",
    "aria-label": placeName(bar, part, side),
  });
  return made;
}

/**
 * @param {Part} part
 * @param {number} side
 */
function sizeOf(part, side) {
  return `${side / part.pixels}×${side / part.pixels}`;
}

/**
 * Whether it is all that its part of the model has.
 * @param {Part} part
 */
function isWhole(part) {
  return !part.name.includes(".");
}

/**
 * @param {Bar} bar
 * @param {Part} part
 * @param {number} side
 */
export function placeName(bar, part, side) {
  const name = isWhole(part) ? part.block : `${part.block} ${part.name}`;
  return `${nameOf(bar)} ${name} ${sizeOf(part, side)}`;
}

/**
 * @param {HTMLElement} made one of buildBars
 * @param {Bar} bar
 * @param {[number, number]} axis
 * @param {boolean} chosen
 */
export function paintBar(made, bar, axis, chosen) {
  const { value, range, flipped } = bar;
  const [zeroLine, oneLine, fill] = /** @type {HTMLElement[]} */ ([...made.children]);
  const zero = placeOf(0, axis);
  const top = placeOf(Math.max(value, 0), axis);
  const bottom = placeOf(Math.min(value, 0), axis);
  zeroLine.style.top = percent(zero);
  oneLine.style.top = percent(placeOf(1, axis));
  fill.style.top = percent(top);
  fill.style.height = percent(bottom - top);
  attributes(made, {
    tabindex: chosen ? 0 : -1,
    "data-chosen": chosen ? "" : null,
    "data-flipped": flipped ? "" : null,
    "data-mixed": range ? "" : null,
    "aria-valuemin": Math.min(-REACH, Math.floor(value)),
    "aria-valuemax": Math.max(REACH, Math.ceil(value)),
    "aria-valuenow": shownValue(value),
    "aria-valuetext": meaningOf(bar),
    title: `${made.getAttribute("aria-label")}: ${meaningOf(bar)}`,
  });
}

/** @param {Bar} bar */
function meaningOf({ value, range, flipped }) {
  if (range) return `layers from ${shownValue(range[0])} to ${shownValue(range[1])}`;
  return flipped ? `${shownValue(value)}, pushes away` : shownValue(value);
}

/** @param {number} share */
function percent(share) {
  return `${(share * 100).toFixed(3)}%`;
}
