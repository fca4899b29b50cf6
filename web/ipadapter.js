// @ts-check
/** Shows on the pack's nodes what they loaded or made, and on the loader what a file is. */

// @ts-ignore: served by the host
import { api } from "../../scripts/api.js";
// @ts-ignore: served by the host
import { app } from "../../scripts/app.js";
import { REPORTING, aboutLines } from "./about_text.js";
import { addWeightEditor } from "./layer_weights.js";
import { addSchedulePicture } from "./schedule_view.js";

const WIDGET = "ipadapter_about";
const LINE_HEIGHT = 18;
const PADDING = 8;

/** @param {any} node */
function aboutWidget(node) {
  const known = findWidget(node, WIDGET);
  if (known) return known;
  const element = document.createElement("div");
  element.setAttribute("role", "status");
  element.dataset.ipadapter = "about";
  Object.assign(element.style, {
    font: "12px/18px sans-serif",
    padding: "4px 6px",
    color: "var(--descrip-text, var(--input-text))",
    background: "var(--comfy-input-bg)",
    borderRadius: "4px",
    overflowWrap: "anywhere",
    userSelect: "text",
    boxSizing: "border-box",
    overflow: "auto",
  });
  // Last in the list and never saved: a hole in widgets_values would shift the values behind it.
  const widget = node.addDOMWidget(WIDGET, WIDGET, element, {
    serialize: false,
    hideOnZoom: false,
    getMinHeight: () => (element.childElementCount + 1) * LINE_HEIGHT + PADDING,
  });
  widget.serialize = false;
  return widget;
}

/**
 * @param {any} node
 * @param {string[]} lines
 */
function show(node, lines) {
  const { element } = aboutWidget(node);
  element.replaceChildren(
    ...lines.map((line) => {
      const row = document.createElement("div");
      row.textContent = line;
      return row;
    }),
  );
  const [width, height] = node.computeSize();
  node.setSize([Math.max(node.size[0], width), Math.max(node.size[1], height)]);
  node.setDirtyCanvas(true, true);
}

/**
 * @param {any} node
 * @param {string} name
 */
function findWidget(node, name) {
  return node.widgets?.find((/** @type {any} */ widget) => widget.name === name);
}

/**
 * Ask the server what the chosen file is; the answer may come after another file was chosen.
 * @param {any} node
 */
async function describeChoice(node) {
  const choice = findWidget(node, "adapter_file");
  const file = choice?.value;
  if (!file) return;
  const reply = await api.fetchApi(`/ipadapter/about?file=${encodeURIComponent(file)}`);
  if (reply.ok && choice.value === file) show(node, [file, ...aboutLines(await reply.json())]);
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
  describeChoice(node);
}

app.registerExtension({
  name: "ipadapter.about",
  /** @param {any} node */
  nodeCreated(node) {
    if (node.comfyClass === "IPABlockWeights") addWeightEditor(node);
    if (node.comfyClass === "IPASchedule") addSchedulePicture(node);
    if (!REPORTING.has(node.comfyClass)) return;
    const original = node.onExecuted;
    /** @param {unknown} output */
    node.onExecuted = function (output) {
      original?.apply(this, arguments);
      const lines = aboutLines(output);
      if (lines.length > 0) show(this, lines);
    };
    if (node.comfyClass === "IPALoadAdapter") describeOnChoice(node);
  },
});
