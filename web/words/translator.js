// @ts-check
/**
 * What the pack says, in another language: sentences as wholes, with what is filled into them.
 *
 * The server speaks English, to programs too. A text of it is looked up among the sentences of a
 * table; what is in their gaps is looked up in turn, and a text that is several sentences, or a
 * list, is taken apart. What is not known stays as it is. No app, no DOM.
 */

import { Patterns, fill, letters, pattern } from "./patterns.js";

/**
 * @typedef {import("./patterns.js").Pattern} Pattern
 * @typedef {object} Made
 * @property {string} text
 * @property {number} weight letters of it that were known, less those of sentences that were not
 * @typedef {object} Table
 * @property {Record<string, string>} sentences by the English ones; gaps are `{1}`, `{2}` …
 * @property {Record<string, string>} choices what combo boxes show for their values
 * @property {Record<string, string>} names of nodes and inputs
 * @property {Record<string, string>} notes of the examples: lines, titles
 * @property {Record<string, string>} joints what stands between two texts
 */

/** Texts in texts in texts. */
const DEEPEST = 4;
/** Sentences that a text may be, of which the best is taken. */
const TRIED = 3;
/** Places where a text is taken apart, for each joint. */
const PLACES = 6;
/** Parts of a text that are looked up, and its letters; what is longer is no sentence. */
const MOST_PARTS = 400;
const LONGEST = 4000;
/** What was translated before: the host shows the same nodes again and again. */
const REMEMBERED = 500;
/** A word that is written small. */
const SMALL = /^[a-z]+[,;:.)]?$/;
/** Letters of Chinese, and its marks, are behind this one. */
const CHINESE = "\u2e80";
/** What needs no space before it. */
const MARKS = " ,;.:()，。；：、（";
/** Texts that are said of something else, or go on after it. */
const LED = /^[a-z ,;(]/;
/** Between sentences and clauses, of which each can be one by itself. */
const CLAUSES = [". ", "; ", ": "];
/** Between the items of a list. */
const COMMA = ", ";
const LISTS = [COMMA, " and ", " or "];
/** Other languages have no article, or none before a name. */
const ARTICLE = /^(?:an?|the) (?=\S)/;
/** An adapter by its model and its kind, which is one of the choices. */
const ADAPTER = /^(SD1\.5|SD2|SDXL|Kolors|Flux|SD3\.5) (\S.*)$/;
/** What is to be typed as it stands. */
const CODE = /^(?:[[{]|"[^"]*"$)/;
/** Names of files stay as they are. */
const FILE = /\.(safetensors|bin|ckpt|pth?|gguf|onnx|zip|json|yaml|ipadpt|png|jpe?g|webp)$/i;

export class Translator {
  /** @param {Table} table */
  constructor({ sentences, choices, names, joints }) {
    this.joints = joints;
    this.exact = new Map(Object.entries({ ...names, ...choices, ...sentences }));
    const all = Object.entries(sentences).flatMap(([english, made]) => {
      const one = pattern(english, made);
      // Part of a sentence: "… has a damaged header", "…, from a file".
      const said = LED.test(english) ? [pattern(`{0}${lead(english)}`, `{0}${lead(made)}`)] : [];
      return one.gaps.length > 0 ? [one, ...said] : said;
    });
    this.patterns = new Patterns(all.filter(({ weight }) => weight > 0));
    /** @type {Map<string, string>} */
    this.known = new Map();
  }

  /**
   * The text in the language of the table.
   * @param {string} english
   */
  translate(english) {
    const known = this.known.get(english);
    if (known !== undefined) return known;
    if (english.length > LONGEST) return english;
    const made = new Attempt(this).made(english, DEEPEST);
    // Nothing of it was known: not even its commas are others.
    const text = made.weight > 0 || this.exact.has(english) ? close(made.text) : english;
    if (this.known.size >= REMEMBERED) this.known.clear();
    this.known.set(english, text);
    return text;
  }
}

/** One text and its parts. */
class Attempt {
  /** @param {Translator} translator */
  constructor({ exact, patterns, joints }) {
    this.exact = exact;
    this.patterns = patterns;
    this.joints = joints;
    /** @type {Map<string, Made>} */
    this.tried = new Map();
  }

  /**
   * @param {string} text
   * @param {number} deep how many texts it may have in one another
   * @returns {Made}
   */
  made(text, deep) {
    const exact = this.exact.get(text);
    if (exact !== undefined) return { text: exact, weight: letters(text) };
    const key = `${deep}${text}`;
    const known = this.tried.get(key);
    if (known) return known;
    let best = { text: this.listed(text), weight: unknown(text) };
    if (deep === 0 || this.tried.size >= MOST_PARTS || letters(text) < 2) return best;
    this.tried.set(key, best);
    for (const one of this.alternatives(text, deep)) {
      if (one.weight > Math.max(best.weight, 0)) best = one;
    }
    this.tried.set(key, best);
    return best;
  }

  /**
   * @param {string} text what is filled into another, or is one of a list
   * @param {number} deep
   * @param {boolean} [ofPath] whether it is the rest of a path, which may be called as an input is
   * @returns {Made}
   */
  inside(text, deep, ofPath = false) {
    if (CODE.test(text)) return { text, weight: 0 };
    if (ofPath || FILE.test(text)) return { text: this.listed(text), weight: 0 };
    return this.made(text, deep);
  }

  /**
   * Names as they are, with the commas of the language; one of a file may hold a comma itself.
   * @param {string} text
   */
  listed(text) {
    const names = text.split(COMMA);
    const isFile = FILE.test(text) && !names.every((name) => FILE.test(name));
    return isFile || text.includes('"') ? text : names.join(this.joints[COMMA]);
  }

  /**
   * @param {string} text
   * @param {number} deep
   * @returns {Iterable<Made>}
   */
  *alternatives(text, deep) {
    for (const [one, gaps] of this.patterns.of(text).slice(0, TRIED)) {
      const filled = gaps.map((gap, i) => this.inside(gap, deep - 1, one.fixed[i].endsWith("/")));
      const made = fill(one.made, (number) => filled[one.gaps.indexOf(number)]?.text ?? "");
      yield { text: made, weight: one.weight + weigh(filled) - gaps.filter(isMore).length };
    }
    yield* this.named(text, deep);
    for (const joint of CLAUSES) yield* this.clauses(text, joint, deep);
    for (const joint of LISTS) {
      const parts = text.split(joint);
      if (parts.length === 1) continue;
      const all = parts.map((part) => this.inside(part, deep - 1));
      const weight = weigh(all);
      // A list is one rather than two names that happen to fit a sentence.
      const known = weight > 0 ? weight + letters(joint) * (parts.length - 1) : weight;
      yield { text: all.map((one) => one.text).join(this.joints[joint]), weight: known };
    }
    yield* this.ended(text, deep);
  }

  /**
   * A name with an article, and an adapter by its model and kind.
   * @param {string} text
   * @param {number} deep
   * @returns {Iterable<Made>}
   */
  *named(text, deep) {
    const article = ARTICLE.exec(text)?.[0];
    if (article && !FILE.test(text)) {
      const rest = this.inside(text.slice(article.length), deep - 1);
      if (rest.weight >= 0) yield { text: rest.text, weight: rest.weight + letters(article) };
    }
    const [, family, kind] = ADAPTER.exec(text) ?? [];
    const made = this.exact.get(kind);
    if (made !== undefined) yield { text: `${family} ${made}`, weight: letters(kind) };
  }

  /**
   * The text in two parts, before and behind a joint.
   * @param {string} text
   * @param {string} joint
   * @param {number} deep
   * @returns {Iterable<Made>}
   */
  *clauses(text, joint, deep) {
    let at = text.indexOf(joint);
    for (let places = 0; at > 0 && places < PLACES; places++) {
      // Sentences follow one another, so that the second is as deep as the first.
      const both = [this.made(text.slice(0, at), deep - 1), this.made(text.slice(at + joint.length), deep)];
      // Behind a key of JSON no clause begins.
      if (joint !== ": " || text[at - 1] !== '"') yield { text: both.map((one) => one.text).join(this.joints[joint]), weight: weigh(both) };
      at = text.indexOf(joint, at + 1);
    }
  }

  /**
   * A full stop, or brackets, behind what is known.
   * @param {string} text
   * @param {number} deep
   * @returns {Iterable<Made>}
   */
  *ended(text, deep) {
    if (text.endsWith(".")) {
      const body = this.made(text.slice(0, -1), deep);
      yield { ...body, text: `${body.text}${this.joints["."]}` };
    }
    const at = text.indexOf(" (");
    if (at > 0 && text.endsWith(")")) {
      const both = [this.made(text.slice(0, at), deep), this.made(text.slice(at + 2, -1), deep - 1)];
      const [open, close] = this.joints["()"].split("|");
      yield { text: `${both[0].text}${open}${both[1].text}${close}`, weight: weigh(both) };
    }
  }
}

/** What speaks against a text that stays as it is: words that are no name. @param {string} text */
function unknown(text) {
  const words = text.split(" ");
  const small = words.map((word) => SMALL.test(word));
  const isProse = small.some((one, i) => one && small[i + 1] && !words[i].endsWith(","));
  return isProse && !FILE.test(text) ? -letters(text) / 2 : 0;
}

/** Between Chinese words there is no space, which is around names and numbers. @param {string} text */
function close(text) {
  return text.split(" ").reduce((before, word) => {
    const isClose = isChinese(before.at(-1)) && isChinese(word[0]);
    return isClose ? `${before}${word}` : `${before} ${word}`;
  });
}

/** @param {string | undefined} letter */
function isChinese(letter) {
  return letter !== undefined && (letter > CHINESE || "“”".includes(letter));
}

/** A text behind another. @param {string} text */
function lead(text) {
  return MARKS.includes(text[0]) ? text : ` ${text}`;
}

/** Whether what is filled in seems to be more than a name. @param {string} gap */
function isMore(gap) {
  return /[;.:] |[;,]$/.test(gap);
}

/** @param {Made[]} all */
function weigh(all) {
  return all.reduce((sum, { weight }) => sum + weight, 0);
}
