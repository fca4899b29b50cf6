// @ts-check
/** Shows on the pack's nodes what they loaded or made, and on the loader what a file is. */

// @ts-ignore: served by the host
import { api } from "../../scripts/api.js";
// @ts-ignore: served by the host
import { app } from "../../scripts/app.js";
import { foldAdvanced } from "./folding/advanced.js";
import "./folding/face.js";
import { findWidget, outputOf } from "./node_widgets.js";
import { show } from "./note.js";
import { REPORTING, aboutLines, details, openLines } from "./about_text.js";
import { addWeightEditor } from "./layer_weights.js";
import { addSchedulePicture } from "./schedule_view.js";
import "./example_inputs.js";
import "./first_files.js";
import "./old_nodes.js";
import "./socket_colours.js";
import "./words/language.js";

/** Ids of the pack's own nodes, not of those that stand for another pack's. */
const OWN = /^IPA[A-Z]/;
const KIND = "about";
const NOTHING_YET = "To begin with, get these files and press R:";
const LOADER = "IPALoadAdapter";

/** Nodes in any graph that say what the chosen file is. @type {Set<any>} */
const loaders = new Set();

/**
 * Ask the server what the chosen file is; the answer may come after another file was chosen.
 * @param {any} node
 */
async function describeChoice(node) {
  const choice = findWidget(node, "adapter_file");
  const file = choice?.value ?? "";
  const reply = await api.fetchApi(`/ipadapter/about?file=${encodeURIComponent(file)}`);
  if (!reply.ok || (choice.value ?? "") !== file) return;
  // Without a file the answer is which to get first.
  const lines = aboutLines(await reply.json());
  show(node, KIND, file ? [file, ...lines] : [NOTHING_YET, ...lines]);
}

/**
 * A list of files without one has no choice, which the canvas writes as "undefined".
 * @param {any} node
 */
function emptyChoices(node) {
  for (const widget of node.widgets ?? []) {
    if (widget.type === "combo" && widget.value === undefined) widget.value = "";
  }
}

/** @param {any} node */
function describeOnChoice(node) {
  const choice = findWidget(node, "adapter_file");
  const chosen = choice.callback;
  choice.callback = function () {
    const result = chosen?.apply(this, arguments);
    describeChoice(node);
    return result;
  };
  const configured = node.onConfigure;
  node.onConfigure = function () {
    const result = configured?.apply(this, arguments);
    describeChoice(this);
    return result;
  };
  const removed = node.onRemoved;
  node.onRemoved = function () {
    loaders.delete(this);
    return removed?.apply(this, arguments);
  };
  loaders.add(node);
  describeChoice(node);
}

/**
 * @param {any} node
 * @param {string[]} lines
 * @param {any} output
 */
function showOutput(node, lines, output) {
  show(node, KIND, lines, { details: details(output), open: openLines(lines) });
}

/**
 * Show again what the host still knows of the last run: undo, redo and a change of the workflow's
 * tab make the nodes anew.
 */
function showAgain() {
  const root = app.rootGraph ?? app.graph;
  for (const graph of [root, ...(root?.subgraphs?.values() ?? [])]) {
    for (const node of graph?.nodes ?? []) {
      // The loader's text is that of its file, which it asks for itself.
      if (!REPORTING.has(node.comfyClass) || node.comfyClass === LOADER) continue;
      const known = outputOf(node);
      const lines = aboutLines(known);
      if (lines.length > 0) showOutput(node, lines, known);
    }
  }
}

app.registerExtension({
  name: "ipadapter.about",
  /** @param {any} node */
  nodeCreated(node) {
    if (node.comfyClass?.startsWith("IPA")) emptyChoices(node);
    if (OWN.test(node.comfyClass)) foldAdvanced(node);
    if (node.comfyClass === "IPABlockWeights") addWeightEditor(node);
    if (node.comfyClass === "IPASchedule") addSchedulePicture(node);
    if (!REPORTING.has(node.comfyClass)) return;
    const original = node.onExecuted;
    /** @param {any} output */
    node.onExecuted = function (output) {
      original?.apply(this, arguments);
      const lines = aboutLines(output);
      if (lines.length > 0) showOutput(this, lines, output);
      // What was saved is to be had in Load Embeds at once, without a key to press.
      if (output?.ipadapter_embeds) app.refreshComboInNodes?.();
    };
    if (node.comfyClass === LOADER) describeOnChoice(node);
  },
  /** Undo and redo leave the outputs where they are. */
  afterConfigureGraph: showAgain,
  /** Another tab's outputs come after its graph. */
  onNodeOutputsUpdated: showAgain,
  /** R was pressed: another file may have the name by now. */
  refreshComboInNodes() {
    for (const node of loaders) describeChoice(node);
  },
});
