// @ts-check
/** Which files the weights of a node are for, read from the graph; no app, no DOM. */

import { places } from "./places.js";
import { adapterOf, baseOf, origin } from "./workflow_graph.js";

/** @typedef {import("./places.js").Place} Place */

const APPLYING = new Set(["IPAApply", "IPABindToConditioning"]);
const MOST_FACTORS = 200;

/**
 * For each node of weights the adapter and the model of the first Apply that uses them, as far as
 * they are known.
 * @param {any} graph
 * @returns {Map<any, Record<string, string>>}
 */
export function weighedFiles(graph) {
  const found = new Map();
  for (const place of places(graph)) {
    if (!APPLYING.has(place.node.comfyClass ?? place.node.type)) continue;
    const used = [...factors(place)].filter((node) => !found.has(node));
    if (used.length === 0) continue;
    const files = { adapter: adapterOf(place, "adapter"), ...baseOf(place, "model") };
    const known = Object.entries(files).filter(([, file]) => file);
    if (known.length === 0) continue;
    for (const node of used) found.set(node, Object.fromEntries(known));
  }
  return found;
}

/**
 * The nodes whose factors come to an Apply, multiplied with each other.
 * @param {Place} place
 */
function factors(place) {
  const found = new Set();
  let factor = origin(place, "block_weights");
  while (factor && !found.has(factor.node) && found.size < MOST_FACTORS) {
    found.add(factor.node);
    factor = origin(factor, "multiply");
  }
  return found;
}
