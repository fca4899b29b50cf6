// @ts-check
/** The nodes before a node, and the widgets that decide for it; no app, no DOM. */

import { origin } from "../workflow_graph.js";

/** @typedef {import("../places.js").Place} Place */

const SUBGRAPH_INPUT = -10;
const BYPASSED = 4;
const MUTED = 2;
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
 * The widget that holds the value of an input, which may be that of the subgraph node around; none
 * where the value comes by a link.
 * @param {Place} place
 * @param {string} name
 * @returns {{ node: any, widget: any } | undefined}
 */
export function widgetOf({ node, path }, name) {
  const widget = node.widgets?.find((/** @type {any} */ one) => one.name === name);
  const input = node.inputs?.find((/** @type {any} */ one) => (one.widget?.name ?? one.name) === name);
  if (input?.link == null) return widget && { node, widget };
  const link = node.graph?.getLink?.(input.link) ?? node.graph?.links?.get?.(input.link);
  const outer = path.at(-1);
  if (!outer || Number(link?.origin_id) !== SUBGRAPH_INPUT) return undefined;
  const slot = outer.inputs?.[link.origin_slot];
  const promoted = slot?.widget?.name ?? slot?.name;
  return promoted ? widgetOf({ node: outer, path: path.slice(0, -1) }, promoted) : undefined;
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
