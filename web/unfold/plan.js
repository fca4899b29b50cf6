// @ts-check
/** The single nodes that a node stands for, and how they are linked; no app, no DOM. */

/**
 * @typedef {import("../moving/plan.js").Neutral} Neutral
 * @typedef {import("../moving/plan.js").Plan} Plan
 * @typedef {import("../moving/plan.js").Made} Made
 * @typedef {import("../moving/plan.js").From} From
 */

const EVEN = "linear"; // the preset that leaves the scale as it is
const WINDOW = ["start_percent", "end_percent"];
const STYLE = "style transfer";
const COMPOSITION = "composition";

/** @type {Map<string, (parts: Parts) => void>} */
const STANDS_FOR = new Map([
  ["IPASimple", simple],
  ["IPAStyleComposition", styleComposition],
  ["IPARegional", regional],
]);

/** @param {string} type */
export function unfolds(type) {
  return STANDS_FOR.has(type);
}

/**
 * @param {Neutral[]} graph
 * @param {Set<string>} chosen ids of the nodes to unfold
 * @param {Map<string, string>} packs of face models, by id
 * @returns {Plan}
 */
export function unfolded(graph, chosen, packs) {
  /** @type {Plan} */
  const plan = { made: [], outputs: [], removed: [], left: [] };
  for (const node of graph) {
    const build = chosen.has(node.id) ? STANDS_FOR.get(node.type) : undefined;
    if (!build) continue;
    if (node.fed.kind && node.type !== "IPAStyleComposition") {
      plan.left.push({ id: node.id, title: node.title, why: "linkedKind", what: "" });
      continue;
    }
    const parts = new Parts(node, packs.get(node.id) ?? "");
    build(parts);
    plan.made.push(...parts.made);
    plan.outputs.push(...parts.outputs);
    plan.removed.push(node.id);
  }
  return plan;
}

/** The new nodes of one node. */
class Parts {
  /**
   * @param {Neutral} node
   * @param {string} pack of face models
   */
  constructor(node, pack) {
    this.node = node;
    this.pack = pack;
    /** @type {Made[]} */
    this.made = [];
    /** @type {Plan["outputs"]} */
    this.outputs = [];
  }

  /**
   * @param {string} name
   * @param {string} type
   * @param {Record<string, any>} values
   * @param {Record<string, From>} links
   * @param {Record<string, string>} taken inputs that are the old node's, by its names for them
   */
  add(name, type, values, links, taken = {}) {
    const key = `${this.node.id}/${name}`;
    const made = { key, type, values: { ...values }, links: { ...links } };
    for (const [own, old] of Object.entries(taken)) {
      if (this.node.fed[old]) made.links[own] = { of: this.node.id, input: old };
      else if (old in this.node.values) made.values[own] = this.node.values[old];
    }
    this.made.push(made);
    return (/** @type {string} */ output) => ({ made: key, output });
  }

  /** The last of them hands out what the old node did, and is called as that was. */
  heir() {
    this.made[this.made.length - 1].heir = true;
  }

  /** @param {string} name */
  has(name) {
    return name in this.node.fed;
  }

  /**
   * @param {number} slot
   * @param {From} from
   */
  give(slot, from) {
    this.outputs.push({ id: this.node.id, slot, from });
  }
}

/** @typedef {(output: string) => From} Outputs */

/** @param {Parts} parts */
function simple(parts) {
  const load = loaded(parts);
  const links = {
    adapter: load("adapter"),
    embeds: encoded(parts, load, "image"),
    ...weighed(parts),
  };
  const taken = { ...same("model", "scale", ...WINDOW, "attn_mask") };
  const apply = parts.add("apply", "IPAApply", {}, links, taken);
  parts.heir();
  parts.give(0, apply("model"));
}

/** @param {Parts} parts */
function styleComposition(parts) {
  const load = loaded(parts);
  /** @type {Outputs | undefined} */
  let before;
  for (const [name, preset] of [
    ["style", STYLE],
    ["composition", COMPOSITION],
  ]) {
    const links = {
      adapter: load("adapter"),
      embeds: encoded(parts, load, `${name}_image`),
      block_weights: parts.add(`${name} weights`, "IPABlockWeights", { preset }, {})("weights"),
      ...(before ? { model: before("model") } : {}),
    };
    const taken = { scale: `${name}_scale`, ...same(...WINDOW, "attn_mask") };
    const first = before ? {} : same("model");
    before = parts.add(`${name} apply`, "IPAApply", {}, links, { ...first, ...taken });
  }
  parts.heir();
  parts.give(0, /** @type {Outputs} */ (before)("model"));
}

/** @param {Parts} parts */
function regional(parts) {
  const load = loaded(parts);
  const links = {
    adapter: load("adapter"),
    embeds: encoded(parts, load, "image"),
    ...weighed(parts),
  };
  const taken = {
    ...same("model", "negative", "scale", ...WINDOW),
    conditioning: "positive",
    attn_mask: "mask",
  };
  const bind = parts.add("apply", "IPABindToConditioning", {}, links, taken);
  parts.heir();
  parts.give(0, bind("model"));
  parts.give(1, prompt(parts, "positive", bind("conditioning")));
  parts.give(2, prompt(parts, "negative", bind("negative")));
}

/**
 * @param {Parts} parts
 * @param {string} name
 * @param {From} from
 */
function prompt(parts, name, from) {
  let last = from;
  if (parts.has("mask")) {
    const values = { strength: 1, set_cond_area: "default" };
    const links = { conditioning: last };
    const masked = parts.add(`${name} mask`, "ConditioningSetMask", values, links, same("mask"));
    last = masked("CONDITIONING");
  }
  if (parts.has(`more_${name}`)) {
    const taken = { conditioning_1: `more_${name}` };
    const links = { conditioning_2: last };
    last = parts.add(`${name} both`, "ConditioningCombine", {}, links, taken)("CONDITIONING");
  }
  return last;
}

/**
 * @param {Parts} parts
 * @returns {Outputs}
 */
function loaded(parts) {
  return parts.add("load", "IPALoadForModel", {}, {}, same("model", "kind"));
}

/**
 * @param {Parts} parts
 * @param {Outputs} load
 * @param {string} image
 * @returns {From}
 */
function encoded(parts, load, image) {
  const taken = { image };
  if (!readsFaces(parts.node)) {
    const links = { clip_vision: load("clip_vision") };
    return parts.add(`${image} encode`, "IPAEncodeImage", {}, links, taken)("embeds");
  }
  const faces = parts.add("faces", "IPALoadFaceModels", { pack: parts.pack }, {});
  // FaceID plus also looks at the face; the others have no encoder.
  const looks = `${parts.node.values.kind}`.includes("plus");
  const links = {
    face_models: faces("face_models"),
    ...(looks ? { clip_vision: load("clip_vision") } : {}),
  };
  return parts.add(`${image} encode`, "IPAEncodeFace", {}, links, taken)("embeds");
}

/**
 * @param {Parts} parts
 * @returns {Record<string, From>} nothing where the preset changes nothing
 */
function weighed(parts) {
  if (parts.node.values.preset === EVEN && !parts.has("preset")) return {};
  const weights = parts.add("weights", "IPABlockWeights", {}, {}, same("preset"));
  return { block_weights: weights("weights") };
}

/**
 * Whether a node needs face models.
 * @param {Neutral} node
 */
export function readsFaces({ values }) {
  return `${values.kind}`.startsWith("FaceID");
}

/** @param {string[]} names */
function same(...names) {
  return Object.fromEntries(names.map((name) => [name, name]));
}
