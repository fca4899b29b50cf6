// @ts-check
/** Arithmetic of the bars: which there are, what one of them changes, where a value stands. */

/**
 * @typedef {{ block: string, name: string, layers: number, pixels: number }} Part a transformer
 * @typedef {{ word: string, numbers: number[], source: string, finder: string }} Known what some transformers carry
 * @typedef {object} Bar
 * @property {number} number of the transformer
 * @property {number | null} layer of it, or null for all of them
 * @property {number} value of a bar for layers that differ, their mean
 * @property {[number, number] | null} range least and greatest where the layers differ
 * @property {boolean} flipped whether it pushes away from the reference
 */

export const STEP = 0.05;
export const FINE_STEP = 0.01;
export const COARSE_STEP = 0.25;
/** As far as dragging and the arrow keys go; the text knows no such limit. */
export const REACH = 5;
/** A whole picture's worth: what a bar is reset to. */
export const NEUTRAL = 1;

/**
 * @param {number[][]} factors by transformer and layer
 * @param {boolean[]} flipped by transformer
 * @param {number | null} detail the transformer whose layers are wanted, or null for transformers
 * @returns {Bar[]}
 */
export function barsOf(factors, flipped, detail) {
  if (detail !== null) {
    return factors[detail].map((value, layer) => {
      return { number: detail, layer, value, range: null, flipped: flipped[detail] };
    });
  }
  return factors.map((layers, number) => {
    const least = Math.min(...layers);
    const greatest = Math.max(...layers);
    const range = /** @type {[number, number] | null} */ (least < greatest ? [least, greatest] : null);
    const mean = layers.reduce((sum, factor) => sum + factor, 0) / layers.length;
    return { number, layer: null, value: range ? mean : least, range, flipped: flipped[number] };
  });
}

/**
 * The factors with other values for some bars.
 * @param {number[][]} factors
 * @param {Bar[]} bars
 * @param {number[]} values one for each bar
 */
export function withValues(factors, bars, values) {
  const changed = factors.map((layers) => [...layers]);
  bars.forEach(({ number, layer }, i) => {
    if (layer === null) changed[number].fill(values[i]);
    else changed[number][layer] = values[i];
  });
  return changed;
}

/**
 * @param {number} value
 * @param {number} step
 */
export function snapped(value, step) {
  const reached = Math.min(Math.max(value, -REACH), REACH);
  return tidy(Math.round(reached / step) * step);
}

/**
 * Without the last digits of binary arithmetic, and without a zero below zero.
 * @param {number} value
 */
export function tidy(value) {
  return Number(value.toFixed(4)) + 0;
}

/**
 * Least and greatest value of the picture, which has room for what is usual and for all there is.
 * @param {number[]} values
 * @returns {[number, number]}
 */
export function axisOf(values) {
  const least = Math.min(-0.5, ...values);
  const greatest = Math.max(1.5, ...values);
  return [Math.floor(least * 2) / 2, Math.ceil(greatest * 2) / 2];
}

/**
 * Place of a value as a share of the height, from the top.
 * @param {number} value
 * @param {[number, number]} axis
 */
export function placeOf(value, [least, greatest]) {
  return (greatest - value) / (greatest - least);
}

/**
 * @param {number} place share of the height, from the top; beyond 0 and 1 outside of the picture
 * @param {[number, number]} axis
 */
export function valueAt(place, [least, greatest]) {
  return greatest - place * (greatest - least);
}

/** Drawn under the hand, so that the server is not asked; the names are those of the schedule's curves. */
const SHAPES = {
  linear: (/** @type {number} */ x) => x,
  ease_in: (/** @type {number} */ x) => Math.sin((Math.PI * x) / 2),
  ease_out: (/** @type {number} */ x) => 1 - Math.cos((Math.PI * x) / 2),
  ease_in_out: (/** @type {number} */ x) => (1 - Math.cos(Math.PI * x)) / 2,
};

/** @type {[string, (values: number[]) => number[]][]} */
const FILLS = [
  ["All 1", (values) => values.map(() => 1)],
  ["All 0", (values) => values.map(() => 0)],
  ["Line from first to last", along(SHAPES.linear)],
  ["Ease in from first to last", along(SHAPES.ease_in)],
  ["Ease out from first to last", along(SHAPES.ease_out)],
  ["Ease in and out from first to last", along(SHAPES.ease_in_out)],
  ["Reverse the order", (values) => [...values].reverse()],
  ["1 minus each", (values) => values.map((value) => 1 - value)],
];
export const FILL_NAMES = FILLS.map(([name]) => name);

/** @param {(x: number) => number} shape from 0 to 1 */
function along(shape) {
  return (/** @type {number[]} */ values) => {
    const start = values[0];
    const way = values[values.length - 1] - start;
    return values.map((_, i) => start + way * shape(i / Math.max(values.length - 1, 1)));
  };
}

/**
 * @param {string} name one of FILL_NAMES
 * @param {number[]} values
 */
export function filled(name, values) {
  const fill = FILLS.find(([each]) => each === name)?.[1] ?? ((same) => same);
  return fill(values).map(tidy);
}

/**
 * Bars side by side that share block and resolution.
 * @param {Bar[]} bars
 * @param {Part[]} parts
 */
export function groupsOf(bars, parts) {
  /** @type {{ part: Part, bars: Bar[] }[]} */
  const groups = [];
  for (const bar of bars) {
    const part = parts[bar.number];
    const last = groups.at(-1);
    if (last?.part.name === part.name) last.bars.push(bar);
    else groups.push({ part, bars: [bar] });
  }
  return groups;
}

/**
 * Bars side by side of which the same is known, or nothing.
 * @param {Bar[]} bars
 * @param {Known[]} known
 */
export function knownRuns(bars, known) {
  /** @type {{ known: Known | undefined, length: number }[]} */
  const runs = [];
  for (const { number, layer } of bars) {
    const found = known.find(({ numbers }) => layer === null && numbers.includes(number));
    const last = runs.at(-1);
    if (last && last.known === found) last.length += 1;
    else runs.push({ known: found, length: 1 });
  }
  return runs;
}

/** Bars of one name that are more than these have a line to themselves, in fives. */
const CROWD = 12;
const FIVE = 5;

/**
 * Whether a transformer is one of so many of its name that they are counted by themselves too.
 * @param {Part} part
 * @param {Part[]} parts
 */
export function isOfCrowd(part, parts) {
  return parts.filter(({ name }) => name === part.name).length > CROWD;
}

/**
 * The groups in lines, one above the other; most models need one.
 * @param {Bar[]} bars
 * @param {Part[]} parts
 * @returns {{ crowded: boolean, groups: { part: Part, bars: Bar[] }[] }[]}
 */
export function linesOf(bars, parts) {
  const groups = groupsOf(bars, parts);
  if (groups.every(({ bars: members }) => members.length <= CROWD)) return [{ crowded: false, groups }];
  return groups.map(({ part, bars: members }) => {
    return { crowded: true, groups: inFives(members).map((five) => ({ part, bars: five })) };
  });
}

/**
 * Cut before every number that five divides, as rulers are.
 * @param {Bar[]} bars
 */
function inFives(bars) {
  /** @type {Bar[][]} */
  const fives = [];
  for (const bar of bars) {
    if (fives.length === 0 || bar.number % FIVE === 0) fives.push([]);
    fives[fives.length - 1].push(bar);
  }
  return fives;
}

/** @param {Bar} bar */
export function nameOf({ number, layer }) {
  return layer === null ? `${number}` : `${number}.${layer}`;
}

/** @param {number} value */
export function shownValue(value) {
  return `${tidy(value)}`;
}
