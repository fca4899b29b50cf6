// @ts-check
/** What is known of the adapters that nodes with inputs for faces get; no app, no DOM. */

import { places } from "../places.js";
import { adapterOf, origin } from "../workflow_graph.js";

const APPLYING = new Set(["IPAApply", "IPABindToConditioning"]);
const SEARCHING = "IPALoadForModel";

/**
 * For each node that applies an adapter, what to ask about it: nothing where none is connected,
 * null where it cannot be told from the graph, or is told differently by two uses of a subgraph.
 * @param {any} graph
 * @returns {Map<any, Record<string, string> | null>}
 */
export function adaptersOf(graph) {
  const found = new Map();
  for (const place of places(graph)) {
    if (!APPLYING.has(place.node.comfyClass ?? place.node.type)) continue;
    const known = adapterAt(place);
    const before = found.get(place.node);
    const same = before === undefined || JSON.stringify(before) === JSON.stringify(known);
    found.set(place.node, same ? known : null);
  }
  return found;
}

/**
 * @param {import("../places.js").Place} place
 * @returns {Record<string, string> | null}
 */
function adapterAt(place) {
  const input = place.node.inputs?.find((/** @type {any} */ one) => one.name === "adapter");
  if (input?.link == null) return {};
  const adapter = adapterOf(place, "adapter");
  if (adapter) return { adapter };
  const loader = origin(place, "adapter")?.node;
  if ((loader?.comfyClass ?? loader?.type) !== SEARCHING) return null;
  const linked = loader.inputs?.some((/** @type {any} */ one) => one.link != null && one.name === "kind");
  const kind = loader.widgets?.find((/** @type {any} */ one) => one.name === "kind")?.value;
  return linked || typeof kind !== "string" ? null : { kind };
}
