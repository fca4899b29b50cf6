// @ts-check
/** Keeps nodes with old names out of the search, unless the user wants to see them. */

// @ts-ignore: served by the host
import { app } from "../../scripts/app.js";
import { filterOf, oldNames } from "./old_names.js";

const SHOWN = "IPAdapter.OldNodesInSearch";

/** @type {Set<string>} */
let names = new Set();

/** The front end's own list of nodes; it has no other door for extensions. */
export function nodeDefs() {
  /** @type {any} */
  const root = document.querySelector("#vue-app");
  return root?.__vue_app__?.config?.globalProperties?.$pinia?._s?.get("nodeDef");
}

const shown = () => Boolean(app.extensionManager?.setting?.get(SHOWN));

/** The menu of the canvas has a list of its own. */
function markForMenu() {
  // @ts-ignore: global of the front end
  const types = globalThis.LiteGraph?.registered_node_types ?? {};
  for (const name of names) if (types[name]) types[name].skip_list = !shown();
}

/** A filter that is put in anew makes the list be read again. */
function filter() {
  const store = nodeDefs();
  if (store?.registerNodeDefFilter === undefined) return;
  const made = filterOf(() => names, shown);
  store.unregisterNodeDefFilter?.(made.id);
  store.registerNodeDefFilter(made);
  markForMenu();
}

app.registerExtension({
  name: "ipadapter.oldNames",
  settings: [
    {
      id: SHOWN,
      category: ["IP-Adapter", "Old nodes", "Search"],
      name: "Show nodes of ComfyUI_IPAdapter_plus in the search",
      tooltip: "They open and run in any case; the nodes of this pack are found under their names.",
      type: "boolean",
      defaultValue: false,
      onChange: filter,
    },
  ],
  /** @param {any[]} defs */
  beforeRegisterVueAppNodeDefs(defs) {
    names = oldNames(defs);
    markForMenu();
  },
  setup: filter,
});
