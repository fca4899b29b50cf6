// @ts-check
/** Block weights as text: what a text makes of each layer, and the text of given factors. */

import { RepeatedKey, readLoosely } from "./loose_json.js";

/**
 * @typedef {{ block: string, name: string, layers: number, pixels: number }} Part a transformer
 * @typedef {number | number[]} Level one factor, or one for each masked reference
 * @typedef {{ number: number, layer: number | null, factor: number }} Entry
 * @typedef {{ key: string, levels: Level[] }} Named
 * @typedef {{ all: Level } | { entries: Entry[] } | { named: Named[] }} Rule
 * @typedef {object} Reading what a text makes of each layer of a model
 * @property {number[][]} factors by transformer and layer
 * @property {number} references with more than one, the factors are those of the first
 */

/** A text that cannot be shown as bars; the message says why. */
export class Unreadable extends Error {}

const LARGEST = 1e6;
const NUMBER = "[-+]?(?:[0-9]+\\.?[0-9]*|\\.[0-9]+)(?:[eE][-+]?[0-9]+)?";
const ENTRY = new RegExp(`^([0-9]{1,9})(?:\\.([0-9]{1,9}))?\\s*:\\s*(${NUMBER})$`);
const BLOCK = /^block_(0|[1-9][0-9]{0,8})$/;
const STAGES = new Set(["down", "mid", "up"]);

/**
 * @param {string} text
 * @param {Part[]} parts
 * @returns {Reading}
 * @throws {Unreadable}
 */
export function readWeights(text, parts) {
  return spread(parse(text), parts);
}

/**
 * The shortest text: layers that differ from their transformer by themselves, silence left out.
 * @param {number[][]} factors by transformer and layer
 */
export function writeWeights(factors) {
  const entries = factors.flatMap((layers, number) => {
    const common = mostCommon(layers);
    const odd = layers.flatMap((factor, layer) =>
      factor === common ? [] : [`${number}.${layer}:${factor}`],
    );
    return common === 0 ? odd : [`${number}:${common}`, ...odd];
  });
  // An empty text is a mistake to the node; this one is silence.
  return entries.join(", ") || "0:0";
}

/** @param {number[]} layers */
function mostCommon(layers) {
  const count = (/** @type {number} */ value) => layers.filter((each) => each === value).length;
  return layers.reduce((best, value) => (count(value) > count(best) ? value : best));
}

/**
 * @param {string} text
 * @returns {Rule}
 */
export function parse(text) {
  const trimmed = text.trim();
  if (trimmed.replaceAll(",", " ").trim() === "") throw new Unreadable("no weights are written");
  if ("{[".includes(trimmed[0]) || !trimmed.includes(":")) return fromScale(readJson(trimmed));
  return { entries: entriesOf(trimmed) };
}

/** @param {string} text */
function entriesOf(text) {
  /** @type {Map<string, Entry>} */
  const found = new Map();
  const words = text.split(/[,\n]/).map((word) => word.trim());
  for (const word of words.filter((each) => each !== "")) {
    const match = ENTRY.exec(word);
    if (!match) throw new Unreadable(`${shown(word)} is not an index, a colon and a number`);
    const number = Number(match[1]);
    const layer = match[2] === undefined ? null : Number(match[2]);
    const place = layer === null ? `${number}` : `${number}.${layer}`;
    if (found.has(place)) throw new Unreadable(`${place} is named twice`);
    found.set(place, { number, layer, factor: factorOf(Number(match[3]), word) });
  }
  return [...found.values()];
}

/** @param {string} text */
function readJson(text) {
  try {
    return readLoosely(text);
  } catch (error) {
    if (error instanceof RepeatedKey) throw new Unreadable(`${shown(error.message)} stands twice`);
    if (!(error instanceof SyntaxError)) throw error;
    throw new Unreadable(`${shown(text)} is neither entries like 3:0.5 nor JSON`);
  }
}

/**
 * @param {unknown} scale
 * @returns {Rule}
 */
function fromScale(scale) {
  if (scale instanceof Map) return { named: [...scale].flatMap(([key, of]) => namedLevels(key, of)) };
  if (!Array.isArray(scale)) return { all: factorOf(scale, "the factor for all blocks") };
  if (scale.length === 1) {
    // One adapter in a list of adapters: diffusers takes the list to mean what is in it.
    const [inner] = scale;
    return inner instanceof Map ? fromScale(inner) : { all: levelOf(inner, "the list") };
  }
  if (scale.some((entry) => entry instanceof Map || Array.isArray(entry))) {
    throw new Unreadable("the list has an entry for each adapter; a node has one adapter");
  }
  return { all: levelOf(scale, "the list") };
}

/**
 * @param {string} stage
 * @param {unknown} value
 * @returns {Named[]}
 */
function namedLevels(stage, value) {
  if (!STAGES.has(stage)) throw new Unreadable(`${shown(stage)} is not down, mid or up`);
  if (!(value instanceof Map) || stage === "mid") {
    return [{ key: stage, levels: levelsOf(value, stage) }];
  }
  return [...value].map(([key, inner]) => {
    if (!BLOCK.test(key)) throw new Unreadable(`${shown(key)} is not block_0 or the like`);
    return { key: `${stage}.${key}`, levels: levelsOf(inner, `${stage}.${key}`) };
  });
}

/**
 * @param {unknown} value
 * @param {string} where
 */
function levelsOf(value, where) {
  if (!Array.isArray(value)) return [factorOf(value, where)];
  if (value.length === 0) throw new Unreadable(`${where} is an empty list`);
  if (where === "mid" && value.length > 1) throw new Unreadable("mid has one transformer");
  return value.map((each) => levelOf(each, where));
}

/**
 * @param {unknown} value
 * @param {string} where
 * @returns {Level}
 */
function levelOf(value, where) {
  if (!Array.isArray(value)) return factorOf(value, where);
  if (value.length === 0) throw new Unreadable(`${where} is an empty list`);
  return value.map((each) => factorOf(each, where));
}

/**
 * @param {unknown} value
 * @param {string} where
 */
function factorOf(value, where) {
  if (typeof value !== "number") throw new Unreadable(`${where} has no number`);
  if (!(Math.abs(value) <= LARGEST)) throw new Unreadable(`${where} has a number that is too large`);
  return value;
}

/**
 * @param {Rule} rule
 * @param {Part[]} parts
 * @returns {Reading}
 */
function spread(rule, parts) {
  if ("entries" in rule) return { factors: numbered(rule.entries, parts), references: 1 };
  const levels = "all" in rule ? [rule.all] : rule.named.flatMap((each) => each.levels);
  const references = referencesOf(levels);
  if ("all" in rule) {
    const { all } = rule;
    return { factors: parts.map(({ layers }) => Array(layers).fill(first(all))), references };
  }
  const factors = silence(parts);
  for (const { key, levels } of rule.named) nameBlocks(key, levels, parts, factors);
  return { factors, references };
}

/** @param {Part[]} parts */
export function silence(parts) {
  return parts.map(({ layers }) => /** @type {number[]} */ (Array(layers).fill(0)));
}

/** @param {Level} level */
function first(level) {
  return Array.isArray(level) ? level[0] : level;
}

/** @param {Level[]} levels */
function referencesOf(levels) {
  const counts = new Set(levels.flatMap((level) => (Array.isArray(level) ? [level.length] : [])));
  if (counts.size > 1) throw new Unreadable("its lists are for different numbers of references");
  return [...counts][0] ?? 1;
}

/**
 * @param {Entry[]} entries
 * @param {Part[]} parts
 */
function numbered(entries, parts) {
  const factors = silence(parts);
  // Whole transformers first, so that single layers have the last word.
  const ordered = [
    ...entries.filter(({ layer }) => layer === null),
    ...entries.filter(({ layer }) => layer !== null),
  ];
  for (const { number, layer, factor } of ordered) {
    const layers = factors[number];
    if (!layers) throw new Unreadable(`it names ${number}, and the last one is ${parts.length - 1}`);
    if (layer === null) layers.fill(factor);
    else if (layer < layers.length) layers[layer] = factor;
    else throw new Unreadable(`it names layer ${number}.${layer}, and ${number} has ${layers.length}`);
  }
  return factors;
}

/**
 * @param {string} key
 * @param {Level[]} levels
 * @param {Part[]} parts
 * @param {number[][]} factors changed in place
 */
function nameBlocks(key, levels, parts, factors) {
  const names = new Set(parts.map(({ name }) => name));
  const named = [...names].filter((name) => name === key || name.startsWith(`${key}.`));
  if (named.length === 0) throw new Unreadable(`it names ${key}, which has no image attention`);
  for (const name of named) {
    const numbers = parts.flatMap((part, number) => (part.name === name ? [number] : []));
    if (levels.length !== 1 && levels.length !== numbers.length) {
      throw new Unreadable(`it has ${levels.length} numbers for ${name}, which has ${numbers.length}`);
    }
    numbers.forEach((number, i) => factors[number].fill(first(levels[levels.length === 1 ? 0 : i])));
  }
}

/** @param {string} text */
function shown(text) {
  return JSON.stringify(text.length <= 40 ? text : `${text.slice(0, 36)} ...`);
}
