// @ts-check
/** JSON as people and programs write it: with Python's quotes, tuples and trailing commas too. */

/** A key stands twice. */
export class RepeatedKey extends Error {}

const SPACE = /[ \t\r\n]*/y;
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?/y;
const STRING = /"(?:[^"\\\u0000-\u001f]|\\.)*"/y;
const WORD = /NaN|-?Infinity|true|false|null/y;
const LOOSE_NUMBER = /[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?/y;
const LOOSE_STRING = /"[^"\\\n]*"|'[^'\\\n]*'/y;
const LOOSE_WORD = /True|False|None/y;
const PADDED = /^[-+]?0+[1-9][0-9]*$/;
const DEEPEST = 100;

/**
 * Objects as maps, lists, strings and numbers; a word such as null as undefined.
 *
 * The strict grammar is tried first, because only there a repeated key is a mistake; the loose one
 * is the part of Python's that writes such data.
 * @param {string} text
 * @returns {unknown}
 * @throws {SyntaxError} it is neither
 * @throws {RepeatedKey}
 */
export function readLoosely(text) {
  try {
    return new Reader(text, false).whole();
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return new Reader(text, true).whole();
  }
}

class Reader {
  /**
   * @param {string} text
   * @param {boolean} loose
   */
  constructor(text, loose) {
    this.text = text;
    this.loose = loose;
    this.place = 0;
  }

  whole() {
    const value = this.value(0);
    if (this.place < this.text.length) throw this.wrong();
    return value;
  }

  /** @param {RegExp} pattern a sticky one */
  match(pattern) {
    pattern.lastIndex = this.place;
    const found = pattern.exec(this.text)?.[0];
    if (found !== undefined) this.place += found.length;
    return found;
  }

  /** @param {string} mark */
  take(mark) {
    this.match(SPACE);
    if (this.text[this.place] !== mark) return false;
    this.place += 1;
    this.match(SPACE);
    return true;
  }

  wrong() {
    return new SyntaxError(`at character ${this.place + 1}`);
  }

  /**
   * @param {number} depth
   * @returns {unknown}
   */
  value(depth) {
    if (depth > DEEPEST) throw new SyntaxError("nested too deeply");
    let value;
    if (this.take("{")) value = this.entries(depth);
    else if (this.take("[")) value = this.items("]", depth).list;
    else if (this.loose && this.take("(")) value = this.inBrackets(depth);
    else value = this.scalar();
    this.match(SPACE);
    return value;
  }

  scalar() {
    const word = this.match(WORD) ?? (this.loose ? this.match(LOOSE_WORD) : undefined);
    if (word !== undefined) return undefined;
    const string = this.string();
    if (string !== undefined) return string;
    const number = this.match(this.loose ? LOOSE_NUMBER : NUMBER);
    if (number === undefined || (this.loose && PADDED.test(number))) throw this.wrong();
    return Number(number);
  }

  string() {
    if (this.loose) return this.match(LOOSE_STRING)?.slice(1, -1);
    const found = this.match(STRING);
    return found === undefined ? undefined : String(JSON.parse(found));
  }

  /** @param {number} depth */
  entries(depth) {
    /** @type {Map<string, unknown>} */
    const found = new Map();
    let repeated;
    if (this.take("}")) return found;
    do {
      if (this.loose && found.size > 0 && this.take("}")) return found;
      const key = this.string();
      if (key === undefined || !this.take(":")) throw this.wrong();
      if (found.has(key)) repeated = key;
      found.set(key, this.value(depth + 1));
    } while (this.take(","));
    if (!this.take("}")) throw this.wrong();
    if (repeated !== undefined && !this.loose) throw new RepeatedKey(repeated);
    return found;
  }

  /**
   * @param {string} end
   * @param {number} depth
   */
  items(end, depth) {
    /** @type {unknown[]} */
    const list = [];
    if (this.take(end)) return { list, commas: 0 };
    let commas = 0;
    for (;;) {
      list.push(this.value(depth + 1));
      if (!this.take(",")) break;
      commas += 1;
      if (this.loose && this.take(end)) return { list, commas };
    }
    if (!this.take(end)) throw this.wrong();
    return { list, commas };
  }

  /**
   * A tuple, or one value in brackets.
   * @param {number} depth
   */
  inBrackets(depth) {
    const { list, commas } = this.items(")", depth);
    return list.length === 1 && commas === 0 ? list[0] : list;
  }
}
