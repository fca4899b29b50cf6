// @ts-check
/** The nodes of ours that do what an old apply node does; no app, no DOM. */

import { APPLY, Stays, kindOf, levels, scaling } from "./kinds.js";
import { adapterFrom, adapterOf, encoderFrom } from "./loader_plan.js";
import { embedsOf } from "./embeds_plan.js";
import { samePictures } from "./pictures.js";

/** @typedef {import("./plan.js").Neutral} Neutral */
/** @typedef {import("./plan.js").Context} Context */
/** @typedef {import("./plan.js").From} From */
/** @typedef {import("./plan.js").Made} Made */

/** Widgets that may get their value by a link, for ours take the same. */
const SCALES = new Set(["weight", "weight_style", "weight_composition"]);
const ONE_EACH = "one per picture, last repeats";
const LARGEST_BATCH = 256;
/** Nodes that give a single number, never a list. */
const NUMBERS = /^(Primitive(Float|Int|Node)|subgraph)$/;
const INPUTS = "-10"; // of a subgraph

/**
 * @param {Neutral} node
 * @param {Context} context
 * @returns {{ made: Made[], outputs: { slot: number, from: From }[] }}
 * @throws {Stays}
 */
export function applied(node, context) {
  const kind = kindOf(node.type);
  const { version, images, embeds } = APPLY[kind];
  for (const name of ["model", ...images]) {
    if (!node.fed[name]) throw new Stays("notLinked", name);
  }
  checkValues(node);
  const loader = adapterOf(node, context);
  if (APPLY[kind].pipeline && loader.type.startsWith("IPAdapterModelLoader")) {
    throw new Stays("noEncoder");
  }
  if (APPLY[kind].boosted && node.fed.weight) throw new Stays("linkedValue", "weight");
  const base = loader.about?.base ?? "";
  const heard = levels(kind, node.values, context.profiles[version].middle, base);
  /** @type {Made[]} */
  const made = [];
  const references = embeds
    ? [embedsOf(node, context, made)]
    : images.map((image, place) => encoded(node, context, image, place, made));
  /** @type {From} */
  let model = { of: node.id, input: "model" };
  for (const [place, level] of heard.entries()) {
    const weights = weighted(node, level.weights, place, made);
    const key = `${node.id}/apply${place || ""}`;
    const links = { model, adapter: adapterFrom(node, context), embeds: references[level.image] };
    made.push(appliedOnce(node, context, key, level.scale, { ...links, ...weights }));
    model = { made: key, output: "model" };
  }
  made[made.length - 1].heir = true;
  return { made, outputs: [{ slot: 0, from: model }] };
}

/**
 * @param {Neutral} node
 * @throws {Stays} a value is not known, or the picture would be another one
 */
function checkValues({ type, values, fed }) {
  const kind = kindOf(type);
  const linked = Object.keys(values).filter((name) => fed[name]);
  for (const name of linked) {
    if (!SCALES.has(name) || !NUMBERS.test(fed[name].type)) throw new Stays("linkedValue", name);
    // The host keeps the range of the old widget on the outside, which is not that of ours.
    if (fed[name].id === INPUTS) throw new Stays("promoted", name);
  }
  if (!(values.start_at < values.end_at)) throw new Stays("emptyWindow");
  if (APPLY[kind].version === 1 && values.noise > 0) throw new Stays("noise");
}

/**
 * @param {Neutral} node
 * @param {Context} context
 * @param {string} image
 * @param {number} place
 * @param {Made[]} made gets the new nodes
 * @returns {From}
 */
function encoded(node, context, image, place, made) {
  const { version } = APPLY[kindOf(node.type)];
  const { fit, unconditional } = context.profiles[version];
  /** @type {Record<string, From>} */
  const links = {
    clip_vision: encoderFrom(node, context),
    image: { of: node.id, input: image },
  };
  if (node.fed.image_negative) {
    const { one, same } = samePictures(node.fed[image], node.fed.image_negative, context.nodes);
    if (!one && !same) throw new Stays("negativeCount");
    links.negative_image = { of: node.id, input: "image_negative" };
  }
  const batch_size = Math.min(node.values.encode_batch_size ?? 0, LARGEST_BATCH);
  const key = `${node.id}/encode${place || ""}`;
  const values = { fit, unconditional, ...(batch_size > 0 ? { batch_size } : {}) };
  made.push({ key, type: "IPAEncodeImage", values, links });
  return mixed(node, context, image, place, { made: key, output: "embeds" }, made);
}

/**
 * Several pictures as one reference, where the node does that.
 * @param {Neutral} node
 * @param {Context} context
 * @param {string} image
 * @param {number} place
 * @param {From} embeds
 * @param {Made[]} made gets the new nodes
 * @returns {From}
 */
function mixed(node, context, image, place, embeds, made) {
  const method = node.values.combine_embeds ?? "concat";
  if (APPLY[kindOf(node.type)].perPicture || method === "concat") return embeds;
  // That of a single picture is not the picture itself, which old nodes hear then.
  if (method === "norm average" && !samePictures(node.fed[image], undefined, context.nodes).several) {
    throw new Stays("normAverage");
  }
  const key = `${node.id}/merge${place || ""}`;
  made.push({ key, type: "IPAMergeEmbeds", values: { method }, links: { embeds0: embeds } });
  return { made: key, output: "embeds" };
}

/**
 * @param {Neutral} node
 * @param {Record<string, any>[]} weights
 * @param {number} place
 * @param {Made[]} made gets the new nodes
 * @returns {Record<string, From>}
 */
function weighted(node, weights, place, made) {
  /** @type {From | undefined} */
  let last;
  for (const [number, values] of [...weights].reverse().entries()) {
    const key = `${node.id}/weights${place}.${number}`;
    /** @type {Record<string, From>} */
    const links = last ? { multiply: last } : {};
    made.push({ key, type: "IPABlockWeights", values, links });
    last = { made: key, output: "weights" };
  }
  return last ? { block_weights: last } : {};
}

/**
 * @param {Neutral} node
 * @param {Context} context
 * @param {string} key
 * @param {string | number} scale
 * @param {Record<string, From>} links
 * @returns {Made}
 */
function appliedOnce(node, context, key, scale, links) {
  const kind = kindOf(node.type);
  const { version, perPicture } = APPLY[kind];
  const { values } = node;
  const each = perPicture || values.unfold_batch;
  const byLink = typeof scale === "string" && node.fed[scale];
  if (byLink) links.scale = { of: node.id, input: scale };
  if (node.fed.attn_mask) links.attn_mask = { of: node.id, input: "attn_mask" };
  return {
    key,
    type: "IPAApply",
    links,
    values: {
      ...(byLink ? {} : { scale: typeof scale === "string" ? values[scale] : scale }),
      start_percent: values.start_at,
      end_percent: values.end_at,
      ...(each ? { batch_mode: ONE_EACH } : {}),
      kv_scaling: scaling(values, version),
      mask_rule: context.profiles[version].mask_rule,
      face_lora_strength: 0,
    },
  };
}
