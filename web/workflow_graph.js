// @ts-check
/**
 * Which files a workflow puts together, read from the graph before anything runs; no app, no DOM,
 * so that Node can test it.
 *
 * What cannot be told from the graph is left out, so that nothing is said about it.
 */

import { places } from "./places.js";

/**
 * @typedef {import("./places.js").Place} Place
 * @typedef {Record<string, string>} Combination
 */

const SUBGRAPH_INPUT = -10;
export const MUTED = 2;
export const BYPASSED = 4;
const MOST_HOPS = 200;
const MOST_JOINTS = 500;
const AUTO = "auto";
const JOINING = new Set(["IPAMergeEmbeds", "IPARegions"]);
const ADAPTER_LOADERS = new Set(["IPALoadAdapter", "IPALoadForModel"]);
/** Which widget names the file. */
const ENCODER_LOADERS = new Map([
  ["CLIPVisionLoader", "clip_name"],
  ["IPALoadEncoder", "encoder_file"],
  ["IPALoadForModel", "encoder_file"],
]);

/**
 * The combinations of files that each of the pack's nodes will meet.
 * @param {any} graph
 * @returns {Map<any, Combination[]>} none for a node about which nothing is known
 */
export function combinations(graph) {
  /** @type {Map<any, Map<string, Combination>>} each once, by its text */
  const found = new Map();
  for (const place of places(graph)) {
    const read = READERS.get(place.node.comfyClass ?? place.node.type);
    if (!read) continue;
    const mute = [place.node, ...place.path].some(({ mode }) => mode === MUTED || mode === BYPASSED);
    const known = mute ? [] : read(place).map(withoutUnknown).filter((one) => hasFiles(one));
    // A node of a subgraph that is used twice meets the files of both.
    const met = found.get(place.node) ?? new Map();
    for (const one of known) met.set(JSON.stringify(one), one);
    found.set(place.node, met);
  }
  return new Map([...found].map(([node, met]) => [node, [...met.values()]]));
}

/** @type {Map<string, (place: Place) => Combination[]>} */
const READERS = new Map([
  ["IPAApply", applied],
  ["IPABindToConditioning", applied],
  ["IPALoadForModel", searched],
  ["IPASimple", byKind],
  ["IPAStyleComposition", byKind],
  ["IPARegional", byKind],
  ["IPAEncodeImage", encoded],
  ["IPAEncodeFace", encoded],
]);

/** @param {Place} place */
function searched(place) {
  const [adapter, encoder] = ["adapter_file", "encoder_file"].map((name) => value(place, name));
  return [{ kind: value(place, "kind"), adapter, encoder, ...base(origin(place, "model")) }];
}

/** @param {Place} place */
function byKind(place) {
  const kind = value(place, "kind");
  return kind ? [{ kind, adapter: AUTO, encoder: AUTO, ...base(origin(place, "model")) }] : [];
}

/** @param {Place} place */
function encoded(place) {
  return [{ encoder: encoder(origin(place, "clip_vision")) }];
}

/** @param {Place} place */
function applied(place) {
  const common = { adapter: adapter(origin(place, "adapter")), ...base(origin(place, "model")) };
  const known = sources(origin(place, "embeds"), new Set());
  return (known.length > 0 ? known : [{}]).map((source) => ({ ...common, ...source }));
}

/**
 * @param {Place | undefined} place
 * @returns {string}
 */
function adapter(place) {
  if (!place || !ADAPTER_LOADERS.has(classOf(place))) return "";
  const file = value(place, "adapter_file");
  return file === AUTO ? "" : file;
}

/**
 * @param {Place | undefined} place
 * @returns {string}
 */
function encoder(place) {
  if (!place) return "";
  const name = ENCODER_LOADERS.get(classOf(place));
  const file = name ? value(place, name) : "";
  return file === AUTO ? "" : file;
}

/**
 * What embeds were made of; several where they are joined, none where it is not known.
 * @param {Place | undefined} place
 * @param {Set<any>} seen joints that were looked at, each of which counts once
 * @returns {Combination[]}
 */
function sources(place, seen) {
  if (!place) return [];
  const kind = classOf(place);
  if (kind === "IPAEncodeImage") {
    return [{ embeds: "image", encoder: encoder(origin(place, "clip_vision")) }];
  }
  if (kind === "IPAEncodeFace") {
    const eyes = origin(place, "clip_vision");
    if (!eyes) return isLinked(place, "clip_vision") ? [] : [{ embeds: "face" }];
    return [{ embeds: "face and image", encoder: encoder(eyes) }];
  }
  if (!JOINING.has(kind) || seen.has(place.node) || seen.size >= MOST_JOINTS) return [];
  seen.add(place.node);
  const parts = inputs(place).flatMap((input, index) => {
    const joined = input.type === "IPA_EMBEDS" && input.link != null;
    return joined ? sources(originOf(place, index, 0), seen) : [];
  });
  return unique(parts);
}

/**
 * The checkpoint a MODEL comes from, through every node that takes one MODEL and gives one.
 * @param {Place | undefined} start
 * @returns {Combination}
 */
function base(start) {
  let place = start;
  for (let hops = 0; place && hops < MOST_HOPS; hops++) {
    const models = inputs(place).filter((input) => input.type === "MODEL");
    if (models.length === 0) {
      const checkpoint = value(place, "ckpt_name");
      return checkpoint ? { checkpoint } : { unet: value(place, "unet_name") };
    }
    const linked = models.filter((input) => input.link != null);
    if (linked.length !== 1) return {};
    place = origin(place, linked[0].name);
  }
  return {};
}

/**
 * The checkpoint or UNet that arrives at an input.
 * @param {Place} place
 * @param {string} name
 */
export function baseOf(place, name) {
  return base(origin(place, name));
}

/**
 * The adapter that arrives at an input, "" where its file is searched or not known.
 * @param {Place} place
 * @param {string} name
 */
export function adapterOf(place, name) {
  return adapter(origin(place, name));
}

/**
 * The node whose output arrives at an input, through reroutes, bypassed nodes and subgraphs.
 * @param {Place} place
 * @param {string} name
 * @returns {Place | undefined}
 */
export function origin(place, name) {
  const index = inputs(place).findIndex((input) => input.name === name);
  return originOf(place, index, 0);
}

/**
 * @param {Place} place
 * @param {number} index
 * @param {number} hops
 * @returns {Place | undefined}
 */
function originOf(place, index, hops) {
  const link = linkOf(place.node.graph, inputs(place)[index]?.link);
  return link && originOfLink(place.node.graph, place.path, link, hops + 1);
}

/**
 * @param {any} graph
 * @param {any[]} path
 * @param {any} link
 * @param {number} hops
 * @returns {Place | undefined}
 */
function originOfLink(graph, path, link, hops) {
  if (hops > MOST_HOPS) return undefined;
  if (Number(link.origin_id) === SUBGRAPH_INPUT) {
    const outer = path.at(-1);
    return outer && originOf({ node: outer, path: path.slice(0, -1) }, link.origin_slot, hops);
  }
  const node = graph.getNodeById(link.origin_id);
  if (!node || node.mode === MUTED) return undefined;
  const place = { node, path };
  if (node.mode === BYPASSED) return originOf(place, bypass(node, link.origin_slot), hops);
  if (node.subgraph) {
    const last = node.subgraph.outputs?.[link.origin_slot]?.linkIds?.[0];
    const inner = linkOf(node.subgraph, last);
    return inner && originOfLink(node.subgraph, [...path, node], inner, hops + 1);
  }
  return node.type === "Reroute" ? originOf(place, 0, hops) : place;
}

/**
 * The input that a bypassed node hands through to an output.
 * @param {any} node
 * @param {number} slot
 */
function bypass(node, slot) {
  const type = node.outputs?.[slot]?.type;
  if (node.inputs?.[slot]?.type === type) return slot;
  return (node.inputs ?? []).findIndex((/** @type {any} */ input) => input.type === type);
}

/**
 * The text of a widget, "" where it comes by a link or is no text.
 * @param {Place} place
 * @param {string} name
 * @returns {string}
 */
export function value(place, name) {
  const known = widgetOf(place, name)?.widget.value;
  return typeof known === "string" ? known : "";
}

/**
 * The widget that holds the value of an input, which may be that of the subgraph node around; none
 * where the value comes by a link.
 * @param {Place} place
 * @param {string} name
 * @returns {{ node: any, widget: any } | undefined}
 */
export function widgetOf(place, name) {
  const { node, path } = place;
  const input = inputs(place).find((one) => (one.widget?.name ?? one.name) === name);
  const link = linkOf(node.graph, input?.link);
  if (!link) {
    const widget = node.widgets?.find((/** @type {any} */ one) => one.name === name);
    return widget && { node, widget };
  }
  const outer = path.at(-1);
  if (Number(link.origin_id) !== SUBGRAPH_INPUT || !outer) return undefined;
  const slot = outer.inputs?.[link.origin_slot];
  const promoted = slot?.widget?.name ?? slot?.name;
  return promoted ? widgetOf({ node: outer, path: path.slice(0, -1) }, promoted) : undefined;
}

/**
 * @param {any} graph
 * @param {any} id
 */
function linkOf(graph, id) {
  if (id == null) return undefined;
  return graph?.getLink?.(id) ?? graph?.links?.get?.(id) ?? graph?.links?.[id];
}

/** @param {Place} place */
function classOf({ node }) {
  return node.comfyClass ?? node.type;
}

/**
 * @param {Place} place
 * @returns {any[]}
 */
function inputs({ node }) {
  return node.inputs ?? [];
}

/**
 * @param {Place} place
 * @param {string} name
 */
function isLinked(place, name) {
  return inputs(place).some((input) => input.name === name && input.link != null);
}

/** @param {Combination} one */
function withoutUnknown(one) {
  return Object.fromEntries(Object.entries(one).filter(([, text]) => text));
}

/** @param {Combination} one */
function hasFiles({ adapter, encoder, checkpoint, unet }) {
  return Boolean(adapter || encoder || checkpoint || unet);
}

/**
 * @param {Combination[]} all
 * @returns {Combination[]}
 */
function unique(all) {
  return [...new Map(all.map((one) => [JSON.stringify(one), one])).values()];
}
