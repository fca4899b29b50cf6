// @ts-check
/** Nodes of ComfyUI_IPAdapter_plus: graphs of early versions, the setting, and a mark for its choice. */

// @ts-ignore: served by the host
import { api } from "../../scripts/api.js";
// @ts-ignore: served by the host
import { app } from "../../scripts/app.js";
import { renew } from "./old_graphs.js";

const SETTING = "IPAdapter.OldNodes";
const CORRECTED = "corrected";
const MARK = "ipadapterMark";

/** The server's table, null until it has answered. @type {import("./old_graphs.js").Table | null} */
let table = null;

async function fetchTable() {
  try {
    const reply = await api.fetchApi("/ipadapter/old_nodes");
    if (!reply.ok) throw new Error(`${reply.status}`);
    table = await reply.json();
  } catch (error) {
    console.warn("The rules for graphs of early versions of IP-Adapter nodes are missing.", error);
  }
}

function isCorrected() {
  return (table?.forced || app.extensionManager?.setting?.get(SETTING)) === CORRECTED;
}

/**
 * Show on an old node that its picture is not the one it always made; the editor asks each time it
 * draws, on the canvas as in Nodes 2.0.
 * @param {any} node
 * @param {boolean} corrected
 */
function mark(node, corrected) {
  if (!Object.hasOwn(table?.widgets ?? {}, node.comfyClass) || !Array.isArray(node.badges)) return;
  const marked = node.badges.some((/** @type {any} */ badge) => badge[MARK]);
  if (marked === corrected) return;
  const old = node.badges;
  const rest = old.filter((/** @type {any} */ badge) => !badge[MARK]);
  node.badges = corrected ? [...rest, badge()] : rest;
  const change = { nodeId: node.id, property: "badges", oldValue: old, newValue: node.badges };
  node.graph?.trigger?.("node:property:changed", change);
}

function badge() {
  const { LGraphBadge } = /** @type {any} */ (globalThis);
  return Object.assign(new LGraphBadge({ text: CORRECTED }), { [MARK]: true });
}

function markAll() {
  const root = app.rootGraph ?? app.graph;
  const corrected = isCorrected();
  for (const graph of [root, ...(root?.subgraphs?.values() ?? [])]) {
    for (const node of graph?.nodes ?? []) mark(node, corrected);
  }
  app.canvas?.setDirty(true, true);
}

app.registerExtension({
  name: "ipadapter.oldNodes",
  settings: [
    {
      id: SETTING,
      category: ["IP-Adapter", "Old nodes", "OldNodes"],
      name: "Nodes of ComfyUI_IPAdapter_plus",
      tooltip:
        "As shipped: the picture they always made. Corrected: the better picture, and the nodes " +
        "are marked. Off: their names are left out after a restart.",
      type: "combo",
      options: ["as shipped", CORRECTED, "off"],
      defaultValue: "as shipped",
      onChange: markAll,
    },
  ],
  init: fetchTable,
  /** @param {any} graph */
  beforeConfigureGraph(graph) {
    // Without waiting where nothing is to be waited for: the editor's own treatment of groups has
    // begun by now.
    if (table) renew(graph, table);
    else return fetchTable().then(() => table && renew(graph, table));
  },
  /** @param {any} node */
  nodeCreated(node) {
    mark(node, isCorrected());
  },
});
