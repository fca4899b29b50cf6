// @ts-check
/** A live graph in the neutral form that is planned with; no app, no DOM. */

import { LOADERS, kindOf } from "./kinds.js";
import { places } from "../places.js";
import { BYPASSED, baseOf, origin as originOf } from "../workflow_graph.js";

/** @typedef {import("./plan.js").Neutral} Neutral */

/** Numbers that the host has for the sides of a subgraph. */
export const INPUTS = -10;
export const OUTPUTS = -20;
const SUBGRAPH = "subgraph";
const MOST_HOPS = 200;

/**
 * A graph, its nodes, and what the server is to be asked of each loader.
 * @typedef {{ graph: any, nodes: Neutral[] }} Described
 * @typedef {{ node: Neutral, name?: string, preset?: string, bases: any[] }} Question
 */

/**
 * @param {any} root
 * @returns {{ graphs: Described[], questions: Question[] }}
 */
export function describe(root) {
  /** @type {Map<any, any[]>} */
  const byGraph = new Map();
  for (const place of places(root)) {
    const graph = place.node.graph ?? root;
    const known = byGraph.get(graph);
    if (known) known.push(place);
    else byGraph.set(graph, [place]);
  }
  /** @type {Question[]} */
  const questions = [];
  const graphs = [...byGraph].map(([graph, all]) => ({ graph, nodes: described(all, questions) }));
  return { graphs, questions };
}

/**
 * @param {any[]} all nodes of one graph; once for each use of a subgraph
 * @param {Question[]} questions
 */
function described(all, questions) {
  /** @type {Map<string, { neutral: Neutral, places: any[] }>} */
  const found = new Map();
  for (const place of all) {
    const id = `${place.node.id}`;
    const known = found.get(id);
    if (known) known.places.push(place);
    else found.set(id, { neutral: neutral(place.node), places: [place] });
  }
  const more = [...found.values()].flatMap(({ neutral, places }) => {
    ask(neutral, places, questions);
    nameValues(neutral, places);
    return fromElsewhere(neutral, places, questions);
  });
  return [...[...found.values()].map((one) => one.neutral), ...more];
}

/**
 * A value that comes into a subgraph by a link is of the node outside.
 * @param {Neutral} node
 * @param {any[]} all its places
 */
function nameValues(node, all) {
  for (const [name, source] of Object.entries(node.fed)) {
    if (source.type !== SUBGRAPH || !(name in node.values)) continue;
    const outside = all.map((place) => originOf(place, name)?.node).filter(Boolean);
    const types = new Set(outside.map((one) => one.comfyClass ?? one.type));
    if (types.size > 0) source.type = [...types].join();
  }
}

/** @param {any} node @returns {Neutral} */
function neutral(node) {
  const widgets = (node.widgets ?? []).filter((/** @type {any} */ one) => one.serialize !== false);
  const inputs = (node.inputs ?? []).filter((/** @type {any} */ one) => one.link != null);
  return {
    id: `${node.id}`,
    type: node.comfyClass ?? node.type,
    title: node.title ?? node.type,
    values: Object.fromEntries(widgets.map((/** @type {any} */ one) => [one.name, one.value])),
    fed: Object.fromEntries(
      inputs.map((/** @type {any} */ one) => [one.widget?.name ?? one.name, sourceOf(node, one)]),
    ),
    uses: usesOf(node, new Set()),
    fixed: fixed(node),
  };
}

/**
 * @param {any} node
 * @returns {string | undefined}
 */
function fixed(node) {
  if (!kindOf(node.comfyClass ?? node.type)) return undefined;
  if (!node.constructor?.nodeData && !node.widgets) return "notLoaded";
  const bridges = node.mode === BYPASSED && LOADERS.has(kindOf(node.comfyClass ?? node.type));
  const through = (node.inputs ?? []).some(
    (/** @type {any} */ one) => one.name === "ipadapter" && one.link != null,
  );
  return bridges && through ? "bypassed" : undefined;
}

/**
 * @param {any} graph
 * @param {any} id
 */
export function linkOf(graph, id) {
  if (id == null) return undefined;
  return graph.getLink?.(id) ?? graph.links?.get?.(id) ?? graph.links?.[id];
}

/**
 * Where a link begins; for an adapter or EMBEDS behind a reroute, before that.
 * @param {any} node
 * @param {any} input
 * @returns {import("./plan.js").Source}
 */
function sourceOf(node, input) {
  let link = linkOf(node.graph, input.link);
  for (let hops = 0; hops < MOST_HOPS; hops++) {
    const origin = node.graph.getNodeById(link.origin_id);
    if (!isReroute(origin) || !isOld(input.type)) break;
    const before = linkOf(node.graph, origin.inputs?.[0]?.link);
    if (!before) break;
    link = before;
  }
  const origin = node.graph.getNodeById(link.origin_id);
  const type = Number(link.origin_id) === INPUTS ? SUBGRAPH : (origin?.comfyClass ?? origin?.type);
  return { id: `${link.origin_id}`, slot: link.origin_slot, type: type ?? "" };
}

/** @param {any} node */
export function isReroute(node) {
  return node?.type === "Reroute";
}

/** @param {string} type */
function isOld(type) {
  return type === "IPADAPTER" || type === "EMBEDS";
}

/**
 * @param {any} node
 * @param {Set<any>} seen nodes whose uses are known, each of which counts once
 * @returns {Neutral["uses"]}
 */
function usesOf(node, seen) {
  if (seen.has(node) || seen.size > MOST_HOPS) return [];
  seen.add(node);
  return (node.outputs ?? []).flatMap((/** @type {any} */ output, /** @type {number} */ slot) =>
    (output.links ?? []).flatMap((/** @type {any} */ id) => {
      const link = linkOf(node.graph, id);
      if (!link) return [];
      const taker = node.graph.getNodeById(link.target_id);
      if (isReroute(taker)) return usesOf(taker, seen).map((one) => ({ ...one, slot }));
      const type = taker ? (taker.comfyClass ?? taker.type) : SUBGRAPH;
      const name = taker?.inputs?.[link.target_slot]?.name ?? "";
      const title = taker ? taker.title : node.graph.name;
      return [{ id: `${link.target_id}`, slot, type, name, title }];
    }),
  );
}

/**
 * @param {Neutral} node
 * @param {any[]} all its places
 * @param {Question[]} questions
 */
function ask(node, all, questions) {
  const loader = LOADERS.get(kindOf(node.type));
  if (!loader) return;
  questions.push(
    loader.forModel
      ? { node, preset: node.values.preset, bases: all.map((place) => baseOf(place, "model")) }
      : { node, name: node.values.ipadapter_file, bases: [] },
  );
}

/**
 * A loader in another graph whose adapter comes in by a subgraph: it stays, and is asked about.
 * @param {Neutral} node
 * @param {any[]} all its places
 * @param {Question[]} questions
 * @returns {Neutral[]}
 */
function fromElsewhere(node, all, questions) {
  const source = node.fed.ipadapter;
  if (!kindOf(node.type) || !source || LOADERS.has(kindOf(source.type))) return [];
  const origins = all.map((place) => originOf(place, "ipadapter"));
  const [first] = origins;
  const alike = origins.every((one) => one && one.node === first?.node);
  if (!first || !alike || !LOADERS.has(kindOf(first.node.comfyClass ?? first.node.type))) return [];
  const port = { id: source.id, slot: source.slot };
  const id = `${source.id}:${source.slot}`;
  const outer = { ...neutral(first.node), id, uses: [], fixed: "elsewhere", port };
  node.fed.ipadapter = { ...source, id, type: outer.type };
  ask(outer, [first], questions);
  return [outer];
}
