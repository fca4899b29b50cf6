// @ts-check
/**
 * Which nodes of ours take the place of old ones, and how they are linked; no app, no DOM.
 *
 * The picture stays the same to rounding. What cannot be turned stays, with the reason.
 */

import { APPLY, EMBEDS, LOADERS, Stays, WITHOUT, kindOf } from "./kinds.js";
import { applied } from "./apply_plan.js";
import { adapterOf, loaderNodes, turnsLoader } from "./loader_plan.js";
import { embedsNodes, turnsEmbeds } from "./embeds_plan.js";

/**
 * What is linked to an input: an output, with the type of its node.
 * @typedef {{ id: string, slot: number, type: string }} Source
 *
 * A node of the graph, whatever pack it is of.
 * @typedef {object} Neutral
 * @property {string} id
 * @property {string} type
 * @property {string} title
 * @property {Record<string, any>} values widgets by name
 * @property {Record<string, Source>} fed linked inputs by name
 * @property {{ id: string, slot: number, type: string, name: string, title?: string }[]} uses who
 *   takes its outputs
 * @property {any} [about] what the server says of a loader
 * @property {string} [fixed] a reason of the editor's to leave it
 * @property {{ id: string, slot: number }} [port] where a loader of another graph comes in
 *
 * Where a link begins: at an output of a node that stays, at one of a new node, or wherever an
 * input of an old node has its link from.
 * @typedef {{ id: string, slot: number } | { made: string, output: string }
 *   | { of: string, input: string }} From
 *
 * @typedef {object} Made
 * @property {string} key the old node's id, a slash, and what it is
 * @property {string} type
 * @property {Record<string, any>} values
 * @property {Record<string, From>} links
 * @property {boolean} [heir] takes over the title
 *
 * @typedef {{ fit: string, unconditional: string, mask_rule: string, middle: boolean }} Profile
 *
 * @typedef {object} Plan
 * @property {Made[]} made
 * @property {{ id: string, slot: number, from: From }[]} outputs what replaces an old output
 * @property {string[]} removed
 * @property {{ id: string, title: string, why: string, what: string }[]} left
 *
 * @typedef {object} Context
 * @property {Map<string, Neutral>} nodes
 * @property {Record<string, Profile>} profiles
 * @property {boolean} whole every node of the graph is to be turned
 * @property {Set<string>} wanted
 * @property {Set<string>} turned nodes that are turned, as far as is known
 */

/**
 * @param {Neutral[]} graph
 * @param {Record<string, Profile>} profiles by version
 * @param {Set<string>} [chosen] only these nodes; all without
 * @returns {Plan}
 */
export function plan(graph, profiles, chosen) {
  const old = graph.filter(
    ({ id, type, port }) => kindOf(type) && !port && (chosen?.has(id) ?? true),
  );
  /** @type {Context} */
  const context = {
    nodes: new Map(graph.map((node) => [node.id, node])),
    profiles,
    whole: chosen === undefined,
    wanted: new Set(old.map(({ id }) => id)),
    turned: new Set(),
  };
  /** @type {Map<string, Stays>} */
  const reasons = new Map();
  settle(old, context, reasons);
  /** @type {Plan} */
  const found = { made: [], outputs: [], removed: [], left: [] };
  for (const node of old) {
    const why = reasons.get(node.id);
    if (why) found.left.push({ id: node.id, title: node.title, why: why.why, what: why.what });
    else add(found, node, context);
  }
  connectOldLoaders(found, context);
  return found;
}

/**
 * The output a link of a new node begins at.
 * @param {From} from
 * @param {Plan} found
 * @param {Map<string, Neutral>} nodes
 * @returns {From} at a node that stays or at a new one
 */
export function beginning(from, found, nodes) {
  if (!("of" in from)) return from;
  const source = nodes.get(from.of)?.fed[from.input];
  if (!source) throw new Error(`nothing is linked to ${from.input} of ${from.of}`);
  const { id, slot } = source;
  if (!found.removed.includes(id)) return from;
  const next = found.outputs.find((one) => one.id === id && one.slot === slot);
  if (!next) throw new Error(`nothing replaces output ${slot} of ${id}`);
  return beginning(next.from, found, nodes);
}

/**
 * Find out which nodes can be turned. Whether one can may depend on its neighbours, so what has to
 * stay is taken out until nothing more has to.
 * @param {Neutral[]} old
 * @param {Context} context
 * @param {Map<string, Stays>} reasons
 */
function settle(old, context, reasons) {
  for (const { id } of old) context.turned.add(id);
  for (let before = -1; before !== context.turned.size; ) {
    before = context.turned.size;
    for (const node of old.filter(({ id }) => context.turned.has(id))) {
      const why = reasonToStay(node, context);
      if (!why) continue;
      reasons.set(node.id, why);
      context.turned.delete(node.id);
    }
  }
}

/**
 * @param {Neutral} node
 * @param {Context} context
 */
function reasonToStay(node, context) {
  const kind = kindOf(node.type);
  try {
    if (node.fixed) throw new Stays(node.fixed);
    if (kind in WITHOUT) throw new Stays(WITHOUT[kind]);
    if (LOADERS.has(kind)) turnsLoader(node, context);
    if (EMBEDS.has(kind)) turnsEmbeds(node, context);
    if (kind in APPLY) applied(node, context);
    return undefined;
  } catch (error) {
    if (error instanceof Stays) return error;
    throw error;
  }
}

/**
 * @param {Plan} found
 * @param {Neutral} node
 * @param {Context} context
 */
function add(found, node, context) {
  const kind = kindOf(node.type);
  found.removed.push(node.id);
  const more = LOADERS.has(kind)
    ? loaderNodes(node, context)
    : EMBEDS.has(kind)
      ? embedsNodes(node, context)
      : applied(node, context);
  found.made.push(...more.made);
  found.outputs.push(...more.outputs.map((one) => ({ id: node.id, ...one })));
}

/**
 * New nodes behind a loader that stays have one Convert IP-Adapter between them and it.
 * @param {Plan} found
 * @param {Context} context
 */
function connectOldLoaders(found, context) {
  const behind = new Set(
    found.removed
      .map((id) => context.nodes.get(id))
      .filter((node) => node?.fed.ipadapter && !LOADERS.has(kindOf(node.type)))
      .map((node) => adapterOf(/** @type {Neutral} */ (node), context).id),
  );
  for (const id of [...behind].filter((one) => !context.turned.has(one))) {
    const loader = /** @type {Neutral} */ (context.nodes.get(id));
    const { output } = /** @type {any} */ (LOADERS.get(kindOf(loader.type)));
    found.made.push({
      key: `${id}/convert`,
      type: "IPAConvertAdapter",
      values: {},
      links: { adapter: loader.port ?? { id, slot: output } },
    });
  }
}
