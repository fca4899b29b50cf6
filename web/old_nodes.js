// @ts-check
/** Nodes of ComfyUI_IPAdapter_plus: graphs of early versions, the setting, and its mark. */

// @ts-ignore: served by the host
import { api } from "../../scripts/api.js";
// @ts-ignore: served by the host
import { app } from "../../scripts/app.js";
import { renew } from "./old_graphs.js";
import { translated } from "./words/spoken.js";

const SETTING = "IPAdapter.OldNodes";
const CORRECTED = "corrected";

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

/** @type {Map<string, any>} */
const badges = new Map();

/**
 * Says on an old node that its picture is not the one it always made; else empty, and not drawn.
 * The editor asks each time it draws, on the canvas as in Nodes 2.0, and there when the setting
 * changes.
 */
function badge() {
  const chosen = app.extensionManager?.setting?.get(SETTING);
  const text = (table?.forced || chosen) === CORRECTED ? translated(CORRECTED) : "";
  const { LGraphBadge } = /** @type {any} */ (globalThis);
  if (!badges.has(text)) badges.set(text, new LGraphBadge({ text }));
  return badges.get(text);
}

/**
 * Whether the setting changes what a node makes: it looks at pictures, or applies what was seen.
 * @param {any} node
 */
function makesPictures(node) {
  const types = new Set((node.inputs ?? []).map((/** @type {any} */ { type }) => type));
  const seen = ["IMAGE", "EMBEDS", "IPADAPTER_PARAMS"].some((type) => types.has(type));
  return seen && ["MODEL", "IPADAPTER", "CLIP_VISION"].some((type) => types.has(type));
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
      onChange: () => app.canvas?.setDirty(true, true),
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
    const isOld = Object.hasOwn(table?.widgets ?? {}, node.comfyClass);
    if (isOld && makesPictures(node)) node.badges?.push(badge);
  },
});
