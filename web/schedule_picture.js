// @ts-check
/** The lines that picture a schedule, and the same in words. */

/**
 * @typedef {object} Drawn what the node makes of its widgets, see ip_models
 * @property {number[]} values one for each step or frame, if they are listed
 * @property {number[]} samples from first to last, if they are not
 * @property {string} wrong why there is neither
 * @property {number} [count] steps or frames that are drawn, where it matters how many
 * @property {number[]} [other] values or samples of the other reference, if one is connected
 * @typedef {{ kind: "curve" | "other" | "goes-on" | "axis", points: number[][] }} Line
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
export function picture({ values, samples, wrong, count = 0, other = [] }, over, curve) {
  if (wrong) return nothing(`Run will refuse this: ${wrong}`);
  const drawn = values.length > 0 ? ofList(values, other, over) : ofRamp(samples, other, over, curve, count);
  if (other.length === 0) return drawn;
  const both = `${drawn.text}; dashed: the other reference`;
  return { ...drawn, text: both, label: `${drawn.label}; ${both.slice(drawn.text.length + 2)}` };
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
 * @param {number[]} other
 * @param {string} over
 * @param {string} curve
 * @param {number} count
 */
function ofRamp(samples, other, over, curve, count) {
  const last = samples.length - 1;
  const toY = scaleOf([...samples, ...other]);
  // Where it matters which step or frame it is, each has its own piece of the line.
  const line = (/** @type {number[]} */ list) =>
    count > 0 ? stair(list, WIDTH / list.length, toY) : list.map((y, i) => [(i / last) * WIDTH, toY(y)]);
  const places = Array.from({ length: LISTED }, (_, i) => Math.round((last * i) / (LISTED - 1)));
  const listed = places.map((place) => samples[place].toFixed(2)).join(", ");
  const where = count > 0 ? counted(count, over) : `first to last of the ${over}`;
  const text = `${where}: ${listed}`;
  return { lines: linesOf(line, samples, other, toY), text, label: `${curve}, ${text}` };
}

/**
 * @param {(list: number[]) => number[][]} line
 * @param {number[]} list
 * @param {number[]} other
 * @param {(value: number) => number} toY
 * @returns {Line[]}
 */
function linesOf(line, list, other, toY) {
  /** @type {Line[]} */
  const second = other.length > 0 ? [{ kind: "other", points: line(other) }] : [];
  return [...axes(toY), ...second, { kind: "curve", points: line(list) }];
}

/**
 * @param {number[]} list
 * @param {number} width of a step
 * @param {(value: number) => number} toY
 */
function stair(list, width, toY) {
  return list.flatMap((y, i) => [[i * width, toY(y)], [(i + 1) * width, toY(y)]]);
}

/** Written out, so that each has its words in other languages. @param {number} n @param {string} over */
function counted(n, over) {
  if (over === "frames") return n === 1 ? "1 frame" : `${n} frames`;
  return n === 1 ? "1 step" : `${n} steps`;
}

/**
 * @param {number[]} list
 * @param {number[]} other
 * @param {string} over
 */
function ofList(list, other, over) {
  const toY = scaleOf(other.length > 0 ? list.concat(other) : list);
  // Each holds for one place; one more shows that the last goes on.
  const width = WIDTH / (list.length + 1);
  const last = toY(list[list.length - 1]);
  const text = `${counted(list.length, over)}, then ${list[list.length - 1]} goes on`;
  const few = list.slice(0, LISTED).join(", ");
  /** @type {Line[]} */
  const lines = [
    ...linesOf((each) => stair(each, width, toY), list, other, toY),
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
