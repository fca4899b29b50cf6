// @ts-check
/** Which files the weights of a node are for, read from the graph; no app, no DOM. */

import { adapterOf, baseOf, origin, places } from "./workflow_graph.js";

/** @typedef {import("./workflow_graph.js").Place} Place */

const APPLYING = new Set(["IPAApply", "IPABindToConditioning"]);
const MOST_FACTORS = 200;

/**
 * The adapter and the model of the first Apply that uses the weights, as far as they are known.
 * @param {any} graph
 * @param {any} node
 * @returns {Record<string, string>}
 */
export function weighedFiles(graph, node) {
  for (const place of places(graph, [])) {
    if (!APPLYING.has(place.node.comfyClass ?? place.node.type) || !uses(place, node)) continue;
    const files = { adapter: adapterOf(place, "adapter"), ...baseOf(place, "model") };
    const known = Object.entries(files).filter(([, file]) => file);
    if (known.length > 0) return Object.fromEntries(known);
  }
  return {};
}

/**
 * Whether the factors of a node come to an Apply, maybe multiplied with others.
 * @param {Place} place
 * @param {any} node
 */
function uses(place, node) {
  let factor = origin(place, "block_weights");
  for (let count = 0; factor && count < MOST_FACTORS; count++) {
    if (factor.node === node) return true;
    factor = origin(factor, "multiply");
  }
  return false;
}
