// @ts-check
/** The nodes before a node, and the widgets that decide for it; no app, no DOM. */

import { BYPASSED, MUTED, origin, widgetOf } from "../workflow_graph.js";

/** @typedef {import("../places.js").Place} Place */

const MOST = 2000;
/** What the host changes by itself after each run. */
const CHANGED_BY_ITSELF = /seed$|^control_after_generate$/;

/**
 * A node and those before it, the nearest first, each once.
 * @param {Place} start
 * @param {(input: any) => boolean} [follows] which inputs are followed
 * @returns {Place[]}
 */
export function upstream(start, follows = () => true) {
  const found = new Map([[nameOf(start), start]]);
  for (const place of found.values()) {
    for (const input of place.node.inputs ?? []) {
      if (found.size >= MOST) return [...found.values()];
      const before = input.link == null || !follows(input) ? undefined : origin(place, input.name);
      if (before && !found.has(nameOf(before))) found.set(nameOf(before), before);
    }
  }
  return [...found.values()];
}

/**
 * A text that is another when anything that a node's run depends on is another.
 * @param {Place} start
 */
export function signature(start) {
  return JSON.stringify(
    upstream(start).map((place) => {
      const { node } = place;
      const links = (node.inputs ?? [])
        .filter((/** @type {any} */ input) => input.link != null)
        .map((/** @type {any} */ input) => {
          const before = origin(place, input.name);
          return [input.name, before ? nameOf(before) : ""];
        });
      return [nameOf(place), node.comfyClass ?? node.type, node.mode ?? 0, values(place), links];
    }),
  );
}

/** @param {Place} place */
function values(place) {
  return (place.node.widgets ?? [])
    .filter((/** @type {any} */ { name, serialize }) => serialize !== false && !CHANGED_BY_ITSELF.test(name))
    .map((/** @type {any} */ { name }) => [name, widgetOf(place, name)?.widget.value ?? null]);
}

/**
 * The node of an id as the host writes it, with the ids of the subgraph nodes around before it.
 * @param {any} root the whole graph
 * @param {string} id
 * @returns {Place | undefined} none where there is no such node, or where it does not run
 */
export function placeOf(root, id) {
  const path = [];
  let graph = root;
  for (const part of id.split(":")) {
    const node = graph?.getNodeById?.(part) ?? graph?.getNodeById?.(Number(part));
    if (!node || node.mode === BYPASSED || node.mode === MUTED) return undefined;
    path.push(node);
    graph = node.subgraph;
  }
  const node = path.pop();
  return { node, path };
}

/** @param {Place} place */
function nameOf({ node, path }) {
  return [...path, node].map(({ id }) => id).join(":");
}
