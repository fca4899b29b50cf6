// @ts-check
/**
 * Puts the pictures of an opened example into the input folder, if they are not there.
 *
 * The pack's examples name them in `extra.ipadapter_inputs`. They come from the pack itself, where
 * the host serves its templates, and a file that is there is never written over.
 */

// @ts-ignore: served by the host
import { api } from "../../scripts/api.js";
// @ts-ignore: served by the host
import { app } from "../../scripts/app.js";
import { findWidget } from "./node_widgets.js";

/** Loaders, and which of their widgets names a file of the input folder. */
const LOADERS = new Map([
  ["LoadImage", "image"],
  ["LoadImageMask", "image"],
  ["LoadVideo", "file"],
]);
const SHIPPED = /^ipadapter_\w+\.(jpg|png|mp4)$/;

/**
 * Files of the example that its loaders still name, by kind of loader.
 * @param {any} graph as it is saved
 * @returns {Map<string, Set<string>>}
 */
function wantedInputs(graph) {
  const listed = graph?.extra?.ipadapter_inputs;
  const shipped = new Set(Array.isArray(listed) ? listed.filter((name) => SHIPPED.test(name)) : []);
  /** @type {Map<string, Set<string>>} */
  const wanted = new Map();
  const inside = (graph?.definitions?.subgraphs ?? []).flatMap((/** @type {any} */ each) => each.nodes);
  for (const node of [...(graph?.nodes ?? []), ...inside]) {
    const file = LOADERS.has(node?.type) ? node.widgets_values?.[0] : undefined;
    if (!shipped.has(file)) continue;
    const files = wanted.get(node.type) ?? new Set();
    wanted.set(node.type, files.add(file));
  }
  return wanted;
}

/**
 * Names that the server lists for a loader now; the page's own list may be older.
 * @param {string} loader
 * @returns {Promise<string[]>}
 */
async function listed(loader) {
  const reply = await api.fetchApi(`/object_info/${loader}`);
  const [kind, options] = (await reply.json())[loader].input.required[LOADERS.get(loader) ?? ""];
  return Array.isArray(kind) ? kind : options.options;
}

/**
 * @param {string} name
 */
async function bring(name) {
  const pack = new URL(import.meta.url).pathname.match(/\/extensions\/([^/]+)\//)?.[1];
  const shipped = await api.fetchApi(`/workflow_templates/${pack}/inputs/${name}`);
  if (!shipped.ok) throw new Error(`${name}: ${shipped.status}`);
  const body = new FormData();
  body.append("image", await shipped.blob(), name);
  body.append("type", "input");
  const reply = await api.fetchApi("/upload/image", { method: "POST", body });
  if (!reply.ok) throw new Error(`${name}: ${reply.status}`);
}

/** Files that were brought; the lists of the page do not have them yet. @type {Set<string>} */
const brought = new Set();

/** @param {any} node */
function listBrought(node) {
  const name = LOADERS.get(node.comfyClass);
  const widget = name && findWidget(node, name);
  const values = widget?.options?.values;
  if (Array.isArray(values) && brought.has(widget.value) && !values.includes(widget.value)) {
    widget.options.values = [...values, widget.value].sort();
  }
}

app.registerExtension({
  name: "ipadapter.exampleInputs",
  /** @param {any} graph */
  async beforeConfigureGraph(graph) {
    for (const [loader, names] of wantedInputs(graph)) {
      try {
        const there = await listed(loader);
        for (const name of names) {
          if (!there.includes(name)) await bring(name);
          brought.add(name);
        }
      } catch (error) {
        // The editor says by itself which file is missing.
        console.warn("The pictures of this example could not be copied into the input folder.", error);
      }
    }
  },
  /** @param {any} node */
  nodeCreated(node) {
    listBrought(node);
  },
  /** @param {any} node */
  loadedGraphNode(node) {
    listBrought(node);
  },
});
