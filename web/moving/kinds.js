// @ts-check
/** What each node of ComfyUI_IPAdapter_plus is, and what its widgets mean here; no app, no DOM. */

/** The reason why a node stays as it is: a key of texts.js and what goes into that text. */
export class Stays extends Error {
  /**
   * @param {string} why
   * @param {string} [what]
   */
  constructor(why, what = "") {
    super(why);
    this.why = why;
    this.what = what;
  }
}

/**
 * What an apply node has besides the common inputs.
 * @typedef {object} ApplyKind
 * @property {1 | 2} version
 * @property {string[]} images sockets of pictures
 * @property {boolean} [perPicture]
 * @property {boolean} [pipeline] takes an adapter with its encoder only
 * @property {"style" | "composition"} [boosted] what it adds a boost to
 * @property {boolean} [embeds] takes rows and no pictures
 */

/** @type {Record<string, ApplyKind>} */
export const APPLY = {
  IPAdapter: { version: 2, images: ["image"], pipeline: true },
  IPAdapterAdvanced: { version: 2, images: ["image"] },
  IPAdapterBatch: { version: 2, images: ["image"], perPicture: true },
  IPAdapterMS: { version: 2, images: ["image"] },
  IPAdapterStyleComposition: { version: 2, images: ["image_style", "image_composition"] },
  IPAdapterStyleCompositionBatch: {
    version: 2,
    images: ["image_style", "image_composition"],
    perPicture: true,
  },
  IPAdapterPreciseStyleTransfer: { version: 2, images: ["image"], boosted: "style" },
  IPAdapterPreciseStyleTransferBatch: {
    version: 2,
    images: ["image"],
    boosted: "style",
    perPicture: true,
  },
  IPAdapterPreciseComposition: { version: 2, images: ["image"], boosted: "composition" },
  IPAdapterPreciseCompositionBatch: {
    version: 2,
    images: ["image"],
    boosted: "composition",
    perPicture: true,
  },
  IPAdapterEmbeds: { version: 2, images: [], embeds: true },
  IPAdapterEmbedsBatch: { version: 2, images: [], embeds: true, perPicture: true },
  IPAdapterApply: { version: 1, images: ["image"] },
  IPAdapterApplyEncoded: { version: 1, images: [], embeds: true },
};

/** Loaders of adapters; those for a MODEL bring an encoder. */
export const LOADERS = new Map([
  ["IPAdapterModelLoader", { forModel: false, output: 0 }],
  ["IPAdapterUnifiedLoader", { forModel: true, output: 1 }],
  ["IPAdapterUnifiedLoaderCommunity", { forModel: true, output: 1 }],
]);

/** Nodes that make or mix EMBEDS. */
export const EMBEDS = new Set([
  "IPAdapterEncoder",
  "IPAdapterEncoderV1",
  "IPAdapterCombineEmbeds",
  "IPAdapterBatchEmbeds",
]);

/** Nodes that have no counterpart with the same picture, and why. @type {Record<string, string>} */
export const WITHOUT = {
  IPAdapterFaceID: "faces",
  IPAdapterFaceIDKolors: "faces",
  IPAAdapterFaceIDBatch: "faces",
  IPAdapterApplyFaceID: "faces",
  IPAdapterUnifiedLoaderFaceID: "faces",
  IPAdapterInsightFaceLoader: "faces",
  InsightFaceLoader: "faces",
  IPAdapterTiled: "tiles",
  IPAdapterTiledBatch: "tiles",
  IPAdapterTilesMasked: "tiles",
  IPAdapterClipVisionEnhancer: "enhancer",
  IPAdapterClipVisionEnhancerBatch: "enhancer",
  IPAdapterFromParams: "regions",
  IPAdapterRegionalConditioning: "regions",
  IPAdapterCombineParams: "regions",
  IPAdapterSaveEmbeds: "files",
  IPAdapterLoadEmbeds: "files",
  IPAdapterWeights: "frames",
  IPAdapterCombineWeights: "frames",
  IPAdapterWeightsFromStrategy: "frames",
  IPAdapterPromptScheduleFromWeightsStrategy: "frames",
};

const FORK = "V2";

/**
 * The name of an old node, without what the fork puts behind it; "" for all others.
 * @param {string} type
 */
export function kindOf(type) {
  const known = (/** @type {string} */ name) =>
    name in APPLY || LOADERS.has(name) || EMBEDS.has(name) || name in WITHOUT;
  if (known(type)) return type;
  const short = type.endsWith(FORK) ? type.slice(0, -FORK.length) : "";
  return known(short) ? short : "";
}

/** Texts that early versions had. @type {Record<string, string>} */
const EARLIER = {
  "style transfer (SDXL)": "style transfer",
  "style transfer (SDXL only)": "style transfer",
  "composition (SDXL)": "composition",
  "style transfer and composition": "style and composition",
  original: "linear",
};
/** Of the node called IPAdapter. @type {Record<string, string>} */
const SHORT = { standard: "linear", "prompt is more important": "ease out" };
/** What version 1 called the weight type. @type {Record<string, string>} */
const SCALING = {
  original: "V only",
  linear: "K+V",
  "channel penalty": "K+mean(V) w/ C penalty",
};
/** Presets that leave out the middle block by themselves. */
const BESIDE_MIDDLE = new Set(["style transfer", "composition", "style transfer precise"]);
const WITHOUT_MIDDLE = { preset: "custom", weights: '{"down": 1, "up": 1}' };
/** The numbers of transformers that SDXL and SD1.5 have. */
const LAYERS = { SDXL: 11, "SD1.5": 16 };
const LARGEST_FACTOR = 5;

/**
 * A set of layers with a scale of its own.
 * @typedef {object} Level
 * @property {string | number} scale a number, or the name of the widget that has it
 * @property {Record<string, any>[]} weights widgets of Block Weights, the first nearest to Apply
 * @property {number} image which of the node's pictures it hears
 */

/**
 * Which layers of an apply node have which scale; each is one Apply of ours.
 * @param {string} kind
 * @param {Record<string, any>} values
 * @param {boolean} middle whether the middle block is to hear the reference
 * @param {"SDXL" | "SD1.5" | ""} base "" where it is not known
 * @returns {Level[]}
 */
export function levels(kind, values, middle, base) {
  const { version, boosted } = APPLY[kind];
  if (kind.startsWith("IPAdapterStyleComposition")) return twoPictures(values, middle, base);
  if (values.layer_weights) return [listed(values, middle, base)];
  if (boosted) return [precise(kind, values, boosted, middle)];
  const type = version === 1 ? "linear" : weightType(kind, values.weight_type);
  if (type === "style and composition") return both("weight", 1, middle, 0);
  return [level("weight", type, middle)];
}

/**
 * @param {Record<string, any>} values
 * @param {number} version
 */
export function scaling(values, version) {
  if (version === 2) return values.embeds_scaling ?? "V only";
  const known = SCALING[values.weight_type];
  if (!known) throw new Stays("unknownValue", "weight_type");
  return known;
}

/**
 * @param {string} kind
 * @param {string} type
 */
function weightType(kind, type) {
  if (kind !== "IPAdapter") return EARLIER[type] ?? type;
  return type.startsWith("style") ? "style transfer" : (SHORT[type] ?? "linear");
}

/**
 * @param {string | number} scale
 * @param {string} type
 * @param {boolean} middle
 * @param {Record<string, number>} [more] factors of the preset
 * @returns {Level}
 */
function level(scale, type, middle, more = {}) {
  const weights = type === "linear" ? [] : [{ preset: type, ...more }];
  const heard = middle || BESIDE_MIDDLE.has(type);
  return { scale, weights: heard ? weights : [...weights, WITHOUT_MIDDLE], image: 0 };
}

/**
 * @param {string} scale
 * @param {string | number} composition
 * @param {boolean} middle
 * @param {number} image of the composition
 * @returns {Level[]}
 */
function both(scale, composition, middle, image) {
  return [
    level(scale, "style transfer", middle),
    { ...level(composition, "composition", middle), image },
  ];
}

/**
 * @param {Record<string, any>} values
 * @param {boolean} middle
 * @param {string} base
 */
function twoPictures(values, middle, base) {
  const found = both("weight_style", "weight_composition", middle, 1);
  if (!values.expand_style) return found;
  // SD1.5 has layers of the composition that no preset of ours weighs like this.
  if (base !== "SDXL") throw new Stays("onlySdxl");
  return [level("weight_style", "strong style transfer", middle), found[1]];
}

const PLAIN = /^\s*(\d+)\s*:\s*[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[-+]?\d+)?\s*$/i;

/**
 * @param {Record<string, any>} values
 * @param {boolean} middle
 * @param {"SDXL" | "SD1.5" | ""} base
 * @returns {Level}
 */
function listed(values, middle, base) {
  if (/precise$/.test(values.weight_type)) throw new Stays("preciseList");
  const text = String(values.layer_weights);
  const entries = text.split(/[,\n]/).filter((entry) => entry.trim());
  const numbers = new Set(entries.map((entry) => PLAIN.exec(entry)?.[1]));
  // Block Weights is stricter: each layer once, and none that the model does not have.
  const strange = numbers.has(undefined) || numbers.size < entries.length;
  if (strange || [...numbers].some((number) => Number(number) >= LAYERS[base || "SDXL"])) {
    throw new Stays("layers");
  }
  const custom = { preset: "custom", weights: text };
  return { scale: "weight", weights: middle ? [custom] : [custom, WITHOUT_MIDDLE], image: 0 };
}

/**
 * @param {string} kind
 * @param {Record<string, any>} values
 * @param {string} boosted
 * @param {boolean} middle
 */
function precise(kind, values, boosted, middle) {
  const type = boosted === "style" ? "style transfer precise" : "composition precise";
  const wanted = values[`${boosted}_boost`];
  if (!values.weight) throw new Stays("noWeight");
  const boost = wanted / values.weight;
  if (!(Math.abs(boost) <= LARGEST_FACTOR)) throw new Stays("largeBoost");
  return level("weight", type, middle, { boost });
}
