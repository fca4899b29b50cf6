// @ts-check
/** Draws the bars: groups of sliders with their names and resolutions. */

import { REACH, isOfCrowd, knownRuns, linesOf, nameOf, placeOf, shownValue } from "./bars.js";
import { attributes, element } from "./dom.js";

/**
 * @typedef {import("./bars.js").Bar} Bar
 * @typedef {import("./bars.js").Known} Known
 * @typedef {import("./bars.js").Part} Part
 */

/**
 * New elements for the bars, in the order of the bars.
 * @param {HTMLElement} plot emptied
 * @param {Bar[]} bars
 * @param {Part[]} parts
 * @param {number} side of the pictures, in pixels
 * @param {Known[]} known
 */
export function buildBars(plot, bars, parts, side, known) {
  /** @type {HTMLElement[]} */
  const made = [];
  /** @param {Bar} bar @param {string} number */
  const add = (bar, number) => {
    const name = placeName(bar, parts, side);
    made.push(buildBar(number, name));
    return made[made.length - 1];
  };
  const lines = linesOf(bars, parts).map(({ crowded, groups }) => {
    return crowded ? buildCrowd(groups, side, add) : buildLine(groups, side, add, known);
  });
  plot.replaceChildren(...lines);
  return made;
}

/**
 * @typedef {{ part: Part, bars: Bar[] }} Group
 * @typedef {(bar: Bar, number: string) => HTMLElement} Add
 */

/**
 * Groups with their names above and their resolutions below.
 * @param {Group[]} groups
 * @param {number} side
 * @param {Add} add
 * @param {Known[]} known
 */
function buildLine(groups, side, add, known) {
  const has = groups.some(({ bars }) => knownRuns(bars, known).some((run) => run.known));
  const line = element("div", "ipa-line");
  line.classList.toggle("ipa-known", has);
  for (const { part, bars } of groups) {
    const kind = isWhole(part) ? part.name : part.block;
    const head = element("span", "", bars.length > 1 ? kind : kind.slice(0, 3));
    const foot = element("span", "", `${side / part.pixels}²`);
    for (const name of [head, foot]) attributes(name, { title: meaningOfGroup(part, side) });
    const members = bars.map((bar) => add(bar, nameOf(bar).split(".").at(-1) ?? ""));
    const words = has ? [buildWords(knownRuns(bars, known))] : [];
    line.append(buildGroup(members, head, ...words, foot));
  }
  nameFinder(line, groups.flatMap(({ bars }) => knownRuns(bars, known)));
  return line;
}

/**
 * Many blocks of one name, said once with their numbers; the first of each five has its own below.
 * @param {Group[]} groups
 * @param {number} side
 * @param {Add} add
 */
function buildCrowd(groups, side, add) {
  const { part } = groups[0];
  const last = groups[groups.length - 1].bars.slice(-1)[0];
  const crowd = element("div", "ipa-crowd");
  const head = crowd.appendChild(
    element("span", "", `${part.name} ${groups[0].bars[0].number}–${last.number}, ${side / part.pixels}²`),
  );
  attributes(head, { title: meaningOfGroup(part, side) });
  const line = crowd.appendChild(element("div", "ipa-line"));
  for (const { bars } of groups) {
    // That of a block alone would run into the next one's.
    const foot = element("span", "", bars.length > 1 ? `${bars[0].number}` : "\u00a0");
    line.append(buildGroup(bars.map((bar) => add(bar, "")), foot));
  }
  return crowd;
}

/**
 * Words over the bars, each with a line along those it is said of.
 * @param {ReturnType<typeof knownRuns>} runs
 */
function buildWords(runs) {
  const words = element("div", "ipa-words");
  for (const { known, length } of runs) {
    const word = words.appendChild(element("span", "", known?.word));
    word.style.flex = `${length} 1 0`;
    if (known) attributes(word, { title: `${known.word}: ${known.source}`, "data-known": "" });
  }
  return words;
}

/**
 * Who says so, beside the last word of a line, if bars without one give it room.
 * @param {HTMLElement} line
 * @param {ReturnType<typeof knownRuns>} runs
 */
function nameFinder(line, runs) {
  const last = runs.findLastIndex((run) => run.known);
  const word = last < runs.length - 1 ? [...line.querySelectorAll("[data-known]")].at(-1) : undefined;
  word?.append(element("i", "", `\u00a0· ${runs[last].known?.finder}`));
}

/**
 * @param {HTMLElement[]} members
 * @param {HTMLElement[]} names those above the bars, and the one below
 */
function buildGroup(members, ...names) {
  const group = element("div", "ipa-group");
  group.style.flex = `${members.length} 1 0`;
  const row = element("div", "ipa-bars");
  row.append(...members);
  group.append(...names.slice(0, -1), row, ...names.slice(-1));
  return group;
}

/**
 * @param {Part} part
 * @param {number} side
 */
function meaningOfGroup(part, side) {
  return `${part.name}: ${sizeOf(part, side)} in a picture of ${side} pixels`;
}

/**
 * @param {string} number shown in it
 * @param {string} name
 */
function buildBar(number, name) {
  const made = element("div", "ipa-bar");
  // The fill, the line of zero, the line of one, the number.
  made.append(element("u"), element("u"), element("i"), element("b", "", number));
  attributes(made, { role: "slider", "aria-orientation": "vertical", "aria-label": name });
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
 * @param {Part[]} parts
 * @param {number} side
 */
export function placeName(bar, parts, side) {
  const part = parts[bar.number];
  let name = isWhole(part) ? part.block : `${part.block} ${part.name}`;
  // People speak of block 7 of the single ones.
  if (isOfCrowd(part, parts)) name += ` ${bar.number - parts.findIndex((one) => one.name === part.name)}`;
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
