// @ts-check
/** The lines that picture a schedule, and the same in words. */

/**
 * @typedef {object} Drawn what the node makes of its widgets, see ip_models
 * @property {number[]} values one for each step or frame, if they are listed
 * @property {number[]} samples from first to last, if they are not
 * @property {string} wrong why there is neither
 * @typedef {{ kind: "curve" | "goes-on" | "axis", points: number[][] }} Line
 * @typedef {object} Picture
 * @property {Line[]} lines in a box 100 wide and 50 high
 * @property {string} text for the eye
 * @property {string} label for those who do not see it
 */

export const WIDTH = 100;
export const BOX_HEIGHT = 50;
const LISTED = 5;

/**
 * @param {Drawn} drawn
 * @param {string} over
 * @param {string} curve
 * @returns {Picture}
 */
export function picture({ values, samples, wrong }, over, curve) {
  if (wrong) return nothing(`Run will refuse this: ${wrong}`);
  return values.length > 0 ? ofList(values, over) : ofRamp(samples, over, curve);
}

/**
 * @param {string} text
 * @returns {Picture}
 */
export function nothing(text) {
  return { lines: [], text, label: text };
}

/**
 * @param {number[]} samples
 * @param {string} over
 * @param {string} curve
 */
function ofRamp(samples, over, curve) {
  const last = samples.length - 1;
  const toY = scaleOf(samples);
  const points = samples.map((y, i) => [(i / last) * WIDTH, toY(y)]);
  const listed = Array.from({ length: LISTED }, (_, i) => samples[(last * i) / (LISTED - 1)].toFixed(2));
  const text = `first to last of the ${over}: ${listed.join(", ")}`;
  /** @type {Line[]} */
  const lines = [...axes(toY), { kind: "curve", points }];
  return { lines, text, label: `${curve}, ${text}` };
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
  const few = list.slice(0, LISTED).join(", ");
  /** @type {Line[]} */
  const lines = [
    ...axes(toY),
    { kind: "curve", points },
    { kind: "goes-on", points: [[WIDTH - width, last], [WIDTH, last]] },
  ];
  const more = list.length > LISTED ? " and so on" : "";
  return { lines, text, label: `${few}${more}: ${text}` };
}

/**
 * @param {number[]} values
 * @returns {(value: number) => number} height in the box, from the top
 */
function scaleOf(values) {
  const least = values.reduce((one, other) => Math.min(one, other), 0);
  const greatest = values.reduce((one, other) => Math.max(one, other), 1);
  return (value) => ((greatest - value) / (greatest - least)) * BOX_HEIGHT;
}

/**
 * @param {(value: number) => number} toY
 * @returns {Line[]}
 */
function axes(toY) {
  return [0, 1].map((value) => ({ kind: "axis", points: [[0, toY(value)], [WIDTH, toY(value)]] }));
}
