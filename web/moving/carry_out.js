// @ts-check
/** Carries a plan out on a live graph of the host; no app, no DOM but the host's own nodes. */

import { beginning } from "./plan.js";
import { INPUTS, OUTPUTS, isReroute, linkOf } from "./describe.js";
import { settle } from "./settle.js";

/** @typedef {import("./plan.js").Plan} Plan */
/** @typedef {import("./plan.js").Neutral} Neutral */
/** @typedef {import("./plan.js").From} From */

/**
 * @param {any} graph
 * @param {Neutral[]} nodes what was planned with
 * @param {Plan} plan
 * @param {(type: string) => any} create a new node of the host
 * @param {typeof settle} [place] puts the new nodes where they are to be
 */
export function carryOut(graph, nodes, plan, create, place = settle) {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  /** @type {Map<string, any>} */
  const made = new Map();
  for (const one of plan.made) made.set(one.key, make(graph, one, create));
  const ends = new Ends(graph, made);
  for (const one of plan.made) {
    for (const [input, from] of Object.entries(one.links)) {
      connect(ends, beginning(from, plan, byId), made.get(one.key), input);
    }
  }
  const olds = plan.removed.map((id) => graph.getNodeById(id));
  for (const { id, slot, from } of plan.outputs) {
    handOn(ends, graph.getNodeById(id), slot, beginning(from, plan, byId), new Set(olds));
  }
  place(graph, plan, made);
  const reroutes = olds.flatMap((node) => reroutesAround(node));
  for (const node of olds) graph.remove(node);
  for (const node of reroutes) removeIfAlone(graph, node);
}

/**
 * @param {any} graph
 * @param {import("./plan.js").Made} one
 * @param {(type: string) => any} create
 */
function make(graph, { key, type, values, heir }, create) {
  const old = oldOf(graph, key);
  const node = create(type);
  if (!node) throw new Error(`the host has no node ${type}`);
  graph.add(node);
  node.mode = old.mode;
  for (const colour of ["color", "bgcolor"]) {
    if (old[colour] !== undefined) node[colour] = old[colour];
  }
  const renamed = old.title && old.title !== old.constructor?.title;
  if (heir && renamed) node.title = old.title;
  for (const [name, value] of Object.entries(values)) setWidget(node, name, value);
  return node;
}

/**
 * The old node that a new one stands for; for a loader of another graph, the first that it serves.
 * @param {any} graph
 * @param {string} key
 */
function oldOf(graph, key) {
  const [id] = key.split("/");
  const node = graph.getNodeById(id) ?? graph.getNodeById(Number(id));
  return node ?? { mode: 0, pos: [0, 0], size: [0, 0] };
}

/**
 * @param {any} node
 * @param {string} name
 * @param {any} value
 */
function setWidget(node, name, value) {
  const widget = node.widgets?.find((/** @type {any} */ one) => one.name === name);
  if (!widget) throw new Error(`${node.type} has no widget ${name}`);
  widget.value = value;
  widget.callback?.(value, undefined, node);
  widget.value = value; // callbacks of the host round
}

/** Where links begin in a graph. */
class Ends {
  /**
   * @param {any} graph
   * @param {Map<string, any>} made
   */
  constructor(graph, made) {
    this.graph = graph;
    this.made = made;
  }

  /**
   * @param {From} from
   * @returns {{ id: any, slot: number, node: any, parent?: any }}
   */
  at(from) {
    if ("made" in from) {
      const node = this.made.get(from.made);
      const slot = node.outputs.findIndex((/** @type {any} */ one) => one.name === from.output);
      if (slot < 0) throw new Error(`${node.type} has no output ${from.output}`);
      return { id: node.id, slot, node };
    }
    if ("of" in from) return this.before(from.of, from.input);
    const inside = Number(from.id) === INPUTS;
    const node = inside ? undefined : this.graph.getNodeById(from.id);
    return { id: from.id, slot: from.slot, node };
  }

  /**
   * @param {string} id
   * @param {string} name
   */
  before(id, name) {
    const input = this.graph
      .getNodeById(id)
      .inputs.find((/** @type {any} */ one) => (one.widget?.name ?? one.name) === name);
    const link = linkOf(this.graph, input.link);
    const node = this.graph.getNodeById(link.origin_id);
    return { id: link.origin_id, slot: link.origin_slot, node, parent: link.parentId };
  }
}

/**
 * @param {Ends} ends
 * @param {From} from
 * @param {any} node
 * @param {string} name of the input; those that grow in number have a prefix
 */
function connect(ends, from, node, name) {
  const slot = node.inputs.findIndex(
    (/** @type {any} */ one) => one.name === name || one.name.endsWith(`.${name}`),
  );
  if (slot < 0) throw new Error(`${node.type} has no input ${name}`);
  link(ends, from, node, slot);
}

/**
 * @param {Ends} ends
 * @param {From} from
 * @param {any} node
 * @param {number} slot
 * @param {any} [point] the last reroute point that the link is to pass
 */
function link(ends, from, node, slot, point) {
  const start = ends.at(from);
  const last = point ?? start.parent;
  const done = start.node
    ? start.node.connect(start.slot, node, slot, last)
    : ends.graph.inputNode.slots[start.slot].connect(node.inputs[slot], node, last);
  if (!done) throw new Error(`${node.type} takes no link at ${node.inputs[slot].name}`);
}

/**
 * Link what an old node's output went to with what replaces it.
 * @param {Ends} ends
 * @param {any} old
 * @param {number} output
 * @param {From} from
 * @param {Set<any>} removed
 */
function handOn(ends, old, output, from, removed) {
  const { graph } = ends;
  for (const id of [...(old.outputs[output].links ?? [])]) {
    const { target_id, target_slot, parentId } = linkOf(graph, id);
    if (Number(target_id) === OUTPUTS) {
      const start = ends.at(from);
      const slot = graph.outputNode.slots[target_slot];
      if (start.node) slot.connect(start.node.outputs[start.slot], start.node, parentId);
      continue;
    }
    const taker = graph.getNodeById(target_id);
    if (!removed.has(taker)) link(ends, from, taker, target_slot, parentId);
  }
}

/** @param {any} node @returns {any[]} */
function reroutesAround(node) {
  const { graph } = node;
  const before = (node.inputs ?? []).map(({ link }) => linkOf(graph, link)?.origin_id);
  const after = (node.outputs ?? [])
    .flatMap(({ links }) => links ?? [])
    .map((/** @type {any} */ id) => linkOf(graph, id)?.target_id);
  return [...before, ...after].map((id) => graph.getNodeById(id)).filter(isReroute);
}

/**
 * A reroute that leads nowhere, and those before it.
 * @param {any} graph
 * @param {any} node
 */
function removeIfAlone(graph, node) {
  const used = (node.outputs?.[0]?.links ?? []).length > 0;
  const before = linkOf(graph, node.inputs?.[0]?.link);
  if (!node.graph || (used && before)) return;
  const next = before && graph.getNodeById(before.origin_id);
  const behind = (node.outputs?.[0]?.links ?? []).map((/** @type {any} */ id) =>
    graph.getNodeById(linkOf(graph, id)?.target_id),
  );
  graph.remove(node);
  for (const other of [next, ...behind]) if (isReroute(other)) removeIfAlone(graph, other);
}
