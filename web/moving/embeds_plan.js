// @ts-check
/** Chains of EMBEDS as chains of our embeds; no app, no DOM. */

import { APPLY, EMBEDS, Stays, kindOf } from "./kinds.js";
import { adapterOf, encoderFrom } from "./loader_plan.js";

/** @typedef {import("./plan.js").Neutral} Neutral */
/** @typedef {import("./plan.js").Context} Context */
/** @typedef {import("./plan.js").From} From */
/** @typedef {import("./plan.js").Made} Made */
/** @typedef {import("./plan.js").Source} Source */

/** Methods that leave equal rows as they are. */
const KEEPING = new Set(["concat", "average", "max", "min"]);
const MIXERS = new Set(["IPAdapterCombineEmbeds", "IPAdapterBatchEmbeds"]);
const ENCODERS = new Set(["IPAdapterEncoder", "IPAdapterEncoderV1"]);
const PARTS = ["embed1", "embed2", "embed3", "embed4", "embed5"];

/**
 * Where an apply node for embeds has them from; those of old nodes that stay are converted.
 * @param {Neutral} node
 * @param {Context} context
 * @param {Made[]} made gets a new node, if one is needed
 * @returns {From}
 */
export function embedsOf(node, context, made) {
  const [positive, negative] = rowsOf(node);
  if (!positive) throw new Stays("notLinked", "embeds");
  const own = hears(node, context);
  if (own) return own;
  const old = kindOf(node.type) === "IPAdapterApplyEncoded";
  // Without rows of their own, plus adapters hear a black picture, which only an encoder can make.
  const { about } = adapterOf(node, context);
  if (!old && !negative && about?.feature !== "pooled") throw new Stays("noNegative");
  const key = `${node.id}/rows`;
  /** @type {Record<string, From>} */
  const links = { embeds: { of: node.id, input: old ? "embeds" : "pos_embed" } };
  if (negative) links.neg_embed = { of: node.id, input: "neg_embed" };
  made.push({ key, type: "IPAConvertEmbeds", values: {}, links });
  return { made: key, output: "embeds" };
}

/**
 * @param {Neutral} node
 * @returns {(Source | undefined)[]}
 */
function rowsOf({ type, fed }) {
  return kindOf(type) === "IPAdapterApplyEncoded" ? [fed.embeds] : [fed.pos_embed, fed.neg_embed];
}

/**
 * Our embeds for an apply node, if all that is before it is turned.
 * @param {Neutral} node
 * @param {Context} context
 * @returns {From | undefined}
 */
function hears(node, context) {
  const [positive, negative] = rowsOf(node);
  const blank = !negative || isBlank(negative, context, 0);
  return positive && blank ? ours(positive, context) : undefined;
}

/**
 * @param {Source} source
 * @param {Context} context
 * @returns {From | undefined} nothing for rows of an old node that stays
 */
function ours({ id, slot }, context) {
  const node = context.nodes.get(id);
  const kind = node ? kindOf(node.type) : "";
  if (!node || slot !== 0 || !EMBEDS.has(kind) || !context.turned.has(id)) return undefined;
  const parts = partsOf(node);
  if (MIXERS.has(kind) && parts.some((part) => !ours(part, context))) return undefined;
  const key = isMixed(node) ? "merge" : "encode";
  return { made: `${id}/${key}`, output: "embeds" };
}

/**
 * Whether rows are what is heard without a picture, however many of them.
 * @param {Source} source
 * @param {Context} context
 * @param {number} hops
 * @returns {boolean}
 */
function isBlank({ id, slot }, context, hops) {
  const node = context.nodes.get(id);
  const kind = node ? kindOf(node.type) : "";
  if (!node || hops > PARTS.length) return false;
  if (kind === "IPAdapterEncoder") return slot === 1 && context.turned.has(id);
  if (kind !== "IPAdapterCombineEmbeds" || !context.turned.has(id)) return false;
  return KEEPING.has(node.values.method) && partsOf(node).every((one) => isBlank(one, context, hops + 1));
}

/** @param {Neutral} node */
function partsOf({ fed }) {
  return PARTS.filter((name) => fed[name]).map((name) => fed[name]);
}

/** @param {Neutral} node */
function isMixed(node) {
  return MIXERS.has(kindOf(node.type)) || weightOf(node) !== 1;
}

/** @param {Neutral} node */
function weightOf({ type, values }) {
  // Version 1 multiplied twice.
  return kindOf(type) === "IPAdapterEncoderV1" ? values.weight_1 ** 2 : values.weight;
}

/**
 * @param {Neutral} node
 * @param {Context} context
 * @throws {Stays}
 */
export function turnsEmbeds(node, context) {
  const kind = kindOf(node.type);
  for (const name of Object.keys(node.values)) {
    if (node.fed[name]) throw new Stays("linkedValue", name);
  }
  if (ENCODERS.has(kind)) checkEncoder(node, context);
  else if (!node.fed.embed1) throw new Stays("notLinked", "embed1");
  const neighbours = node.uses.map(({ id }) => id);
  if (neighbours.length === 0) throw new Stays("nothingBehind");
  for (const id of neighbours) {
    const taker = context.nodes.get(id);
    if (!taker || !context.turned.has(id) || !takesOurs(taker, context)) {
      throw new Stays("embedsBehind", taker?.title ?? "");
    }
  }
  if (MIXERS.has(kind)) checkParts(node, context);
}

/**
 * @param {Neutral} taker
 * @param {Context} context
 */
function takesOurs(taker, context) {
  const kind = kindOf(taker.type);
  return kind in APPLY ? hears(taker, context) !== undefined : MIXERS.has(kind);
}

/**
 * @param {Neutral} node
 * @param {Context} context
 */
function checkEncoder(node, context) {
  const old = kindOf(node.type) === "IPAdapterEncoderV1";
  if (old) {
    if (node.values.noise > 0) throw new Stays("noise");
    if (!node.fed.clip_vision) throw new Stays("notLinked", "clip_vision");
    if (["image_2", "image_3", "image_4"].some((name) => node.fed[name])) throw new Stays("sizes");
  } else {
    if (node.fed.mask) throw new Stays("mask");
    encoderFrom(node, context);
    adapterOf(node, context);
  }
  const image = old ? "image_1" : "image";
  if (!node.fed[image]) throw new Stays("notLinked", image);
}

/**
 * All parts are pictures, or all of them are what is heard without one.
 * @param {Neutral} node
 * @param {Context} context
 */
function checkParts(node, context) {
  const parts = partsOf(node);
  const pictures = parts.every((part) => ours(part, context));
  const blank = parts.every((part) => isBlank(part, context, 0)) && KEEPING.has(node.values.method);
  if (!pictures && !blank) throw new Stays("embedsBefore");
}

/**
 * @param {Neutral} node
 * @param {Context} context
 * @returns {{ made: Made[], outputs: { slot: number, from: From }[] }}
 */
export function embedsNodes(node, context) {
  if (MIXERS.has(kindOf(node.type))) return { made: mixer(node, context), outputs: [] };
  const old = kindOf(node.type) === "IPAdapterEncoderV1";
  const { fit, unconditional } = context.profiles[old ? 1 : 2];
  const encode = `${node.id}/encode`;
  /** @type {Made[]} */
  const made = [
    {
      key: encode,
      type: "IPAEncodeImage",
      values: { fit, unconditional },
      links: {
        clip_vision: old ? { of: node.id, input: "clip_vision" } : encoderFrom(node, context),
        image: { of: node.id, input: old ? "image_1" : "image" },
      },
      heir: true,
    },
  ];
  if (isMixed(node)) {
    made.push({
      key: `${node.id}/merge`,
      type: "IPAMergeEmbeds",
      values: { method: "concat", weights: `${weightOf(node)}` },
      links: { embeds0: { made: encode, output: "embeds" } },
    });
  }
  return { made, outputs: [] };
}

/**
 * @param {Neutral} node
 * @param {Context} context
 * @returns {Made[]} nothing where only what is heard without a picture was mixed
 */
function mixer(node, context) {
  const parts = partsOf(node).map((part) => ours(part, context));
  if (parts.some((part) => !part)) return [];
  const method = node.values.method ?? "concat";
  const links = Object.fromEntries(parts.map((part, place) => [`embeds${place}`, part]));
  const type = "IPAMergeEmbeds";
  return [{ key: `${node.id}/merge`, type, values: { method }, links, heir: true }];
}
