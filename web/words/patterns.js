// @ts-check
/**
 * Sentences with gaps, and which of them a text is. No app, no DOM.
 *
 * `{1}`, `{2}` … stand for what was filled in. A sentence is recognised by its fixed parts from left
 * to right, without going back, so that the time is that of reading the text once.
 */

/**
 * @typedef {object} Pattern
 * @property {string[]} fixed what stands before, between and behind the gaps
 * @property {number[]} gaps their numbers
 * @property {string} made the translation
 * @property {number} weight letters that are fixed
 */

const GAP = /\{(\d)\}/;
const NO_LETTERS = /[^A-Za-z]/g;
/** Letters by which patterns are sorted. */
const KEY = 4;

/** How many there are in an English text. @param {string} text */
export function letters(text) {
  return text.replace(NO_LETTERS, "").length;
}

/**
 * @param {string} english with gaps
 * @param {string} made
 * @returns {Pattern}
 */
export function pattern(english, made) {
  const [first, ...rest] = english.split(GAP);
  const fixed = [first];
  const gaps = [];
  for (let i = 0; i < rest.length; i += 2) {
    // Side by side nothing says where one gap ends and the next begins: the first holds both.
    if (i > 0 && rest[i - 1] === "") fixed.pop();
    else gaps.push(Number(rest[i]));
    fixed.push(rest[i + 1]);
  }
  return { fixed, gaps, made, weight: letters(fixed.join("")) };
}

/**
 * What stands in the gaps of a text, nothing if it has not the fixed parts.
 * @param {Pattern} one with a gap at least
 * @param {string} text
 * @returns {string[] | null}
 */
export function filledIn({ fixed }, text) {
  const [first, last] = [fixed[0], fixed[fixed.length - 1]];
  if (!text.startsWith(first) || !text.endsWith(last)) return null;
  const end = text.length - last.length;
  const found = [];
  let at = first.length;
  for (const part of fixed.slice(1, -1)) {
    // A gap holds something.
    const next = text.indexOf(part, at + 1);
    if (next < 0 || next + part.length > end) return null;
    found.push(text.slice(at, next));
    at = next + part.length;
  }
  return at < end ? [...found, text.slice(at, end)] : null;
}

/**
 * A translation with its gaps filled.
 * @param {string} made
 * @param {(number: number) => string} what
 */
export function fill(made, what) {
  return made
    .split(GAP)
    .map((part, i) => (i % 2 === 0 ? part : what(Number(part))))
    .join("");
}

/** Patterns, sorted by how they begin or end, so that few are tried. */
export class Patterns {
  /** @param {Pattern[]} all */
  constructor(all) {
    /** @type {Map<string, Pattern[]>} */
    this.sorted = new Map();
    for (const one of all) {
      const key = keyOf(one);
      const known = this.sorted.get(key);
      if (known) known.push(one);
      else this.sorted.set(key, [one]);
    }
  }

  /**
   * Those that a text is, the most telling first, with what is in their gaps.
   * @param {string} text
   * @returns {[Pattern, string[]][]}
   */
  of(text) {
    const keys = [`^${text.slice(0, KEY)}`, `${text.slice(-KEY)}$`, ""];
    /** @type {[Pattern, string[]][]} */
    const found = [];
    for (const one of keys.flatMap((key) => this.sorted.get(key) ?? [])) {
      const gaps = filledIn(one, text);
      if (gaps) found.push([one, gaps]);
    }
    return found.sort(([one], [other]) => other.weight - one.weight);
  }
}

/** @param {Pattern} one */
function keyOf({ fixed }) {
  const [first, last] = [fixed[0], fixed[fixed.length - 1]];
  if (first.length >= KEY) return `^${first.slice(0, KEY)}`;
  return last.length >= KEY ? `${last.slice(-KEY)}$` : "";
}
