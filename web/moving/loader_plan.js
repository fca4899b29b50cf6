// @ts-check
/** Loaders of adapters, and where a node gets its adapter and its encoder from; no app, no DOM. */

import { LOADERS, Stays, kindOf } from "./kinds.js";

/** @typedef {import("./plan.js").Neutral} Neutral */
/** @typedef {import("./plan.js").Context} Context */
/** @typedef {import("./plan.js").From} From */

/**
 * The loader whose adapter an old node has.
 * @param {Neutral} node
 * @param {Context} context
 * @returns {Neutral}
 */
export function adapterOf(node, context) {
  const source = node.fed.ipadapter;
  if (!source) throw new Stays("notLinked", "ipadapter");
  const loader = context.nodes.get(source.id);
  const kind = loader ? kindOf(loader.type) : "";
  if (!loader || !kind) throw new Stays("foreignAdapter", loader?.title ?? "");
  if (!LOADERS.has(kind)) throw new Stays("faces");
  const about = loader.about ?? {};
  const { forModel } = /** @type {any} */ (LOADERS.get(kind));
  if (about.face) throw new Stays("faces");
  if (!forModel && about.why) throw new Stays(about.why, about.said);
  return loader;
}

/**
 * Where the adapter of a new node comes from.
 * @param {Neutral} node
 * @param {Context} context
 * @returns {From}
 */
export function adapterFrom(node, context) {
  return fromLoader(adapterOf(node, context), "adapter", context);
}

/**
 * Where the encoder of a new node comes from: what is connected, else the loader's.
 * @param {Neutral} node
 * @param {Context} context
 * @returns {From}
 */
export function encoderFrom(node, context) {
  if (node.fed.clip_vision) return { of: node.id, input: "clip_vision" };
  const loader = adapterOf(node, context);
  if (!LOADERS.get(kindOf(loader.type))?.forModel) throw new Stays("noEncoder");
  return fromLoader(loader, "clip_vision", context);
}

/**
 * @param {Neutral} loader
 * @param {string} output
 * @param {Context} context
 * @returns {From}
 */
function fromLoader({ id }, output, context) {
  return { made: `${id}/${context.turned.has(id) ? "load" : "convert"}`, output };
}

/**
 * @param {Neutral} node
 * @param {Context} context
 * @throws {Stays}
 */
export function turnsLoader(node, context) {
  const { forModel, output } = /** @type {any} */ (LOADERS.get(kindOf(node.type)));
  if (node.fed.ipadapter_file || node.fed.preset) throw new Stays("linkedValue");
  if (forModel && !node.fed.model) throw new Stays("notLinked", "model");
  const { why, said, face, encoder } = node.about ?? { why: "noAnswer" };
  if (why) throw new Stays(why, said);
  if (face) throw new Stays("faces");
  if (forModel && !encoder) throw new Stays("noEncoder");
  const takers = node.uses.filter(({ slot }) => slot === output);
  const stranger = takers.find(({ type }) => !kindOf(type) && !type.startsWith("IPA"));
  if (stranger) throw new Stays("strangerBehind", stranger.title || stranger.type);
  const behind = takers.filter(({ id }) => context.turned.has(id));
  if (context.whole && takers.length > 0 && behind.length === 0) throw new Stays("nothingBehind");
}

/**
 * @param {Neutral} node
 * @param {Context} context
 */
export function loaderNodes(node, context) {
  const { forModel, output } = /** @type {any} */ (LOADERS.get(kindOf(node.type)));
  const { file, encoder, kind } = node.about;
  const key = `${node.id}/load`;
  /** @type {import("./plan.js").Made[]} */
  const made = [
    forModel
      ? {
          key,
          type: "IPALoadForModel",
          values: { kind, adapter_file: file, encoder_file: encoder },
          links: { model: { of: node.id, input: "model" } },
          heir: true,
        }
      : { key, type: "IPALoadAdapter", values: { adapter_file: file }, links: {}, heir: true },
  ];
  /** @type {{ slot: number, from: From }[]} */
  const outputs = forModel ? [{ slot: 0, from: { of: node.id, input: "model" } }] : [];
  if (node.uses.some(({ id, slot }) => slot === output && !context.turned.has(id))) {
    const back = `${node.id}/convert`;
    const adapter = { made: key, output: "adapter" };
    const clip_vision = { made: key, output: "clip_vision" };
    const links = forModel ? { adapter, clip_vision } : { adapter };
    made.push({ key: back, type: "IPAConvertAdapter", values: {}, links });
    outputs.push({ slot: output, from: { made: back, output: "ipadapter" } });
  }
  return { made, outputs };
}
