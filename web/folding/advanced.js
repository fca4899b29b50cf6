// @ts-check
/** Folds the advanced inputs of a node drawn on the canvas, as Nodes 2.0 does by itself. */

// @ts-ignore: served by the host
import { app } from "../../../scripts/app.js";
import { isLinked } from "../node_widgets.js";
import { translated } from "../words/spoken.js";

const ALWAYS = "Comfy.Node.AlwaysShowAdvancedWidgets";

/** @param {any} node new, before anything that is no input is on it */
export function foldAdvanced(node) {
  const advanced = (node.widgets ?? []).filter((/** @type {any} */ one) => one.options?.advanced);
  // An editor that cannot fold shows all.
  if (advanced.length === 0 || !node.toggleAdvanced || !node.getLayoutWidgets) return;
  for (const widget of advanced) widget.advanced = true;
  const button = addButton(node, advanced);
  /** @param {any} widget */
  const stands = (widget) => {
    if (widget === button) return !isAlways() && !advanced.every((one) => one.hidden);
    if (widget.hidden) return false;
    return !widget.advanced || node.showAdvanced || isAlways() || isLinked(node, widget.name);
  };
  node.isWidgetVisible = (/** @type {any} */ widget) => !node.collapsed && stands(widget);
  // The host would leave room for what is folded.
  node.getLayoutWidgets = () => {
    // A link that is dragged here finds what is folded where it would unfold.
    for (const widget of advanced) if (!stands(widget)) widget.y = button.y;
    return node.widgets.filter(stands);
  };
  const toggle = node.toggleAdvanced;
  node.toggleAdvanced = function () {
    keepingRest(this, () => toggle.call(this));
  };
  const configured = node.onConfigure;
  node.onConfigure = function () {
    const result = configured?.apply(this, arguments);
    shrinkIfFilled(this);
    return result;
  };
  node.setSize([node.size[0], node.computeSize()[1]]);
}

/**
 * @param {any} node
 * @param {any[]} advanced
 */
function addButton(node, advanced) {
  const press = () => node.toggleAdvanced();
  const button = node.addWidget("button", "advanced_inputs", null, press, {
    serialize: false,
    canvasOnly: true,
  });
  button.serialize = false;
  const label = () => {
    const there = advanced.filter((/** @type {any} */ one) => !one.hidden);
    const changed = there.filter((one) => isChanged(node, one)).length;
    const many = there.length;
    if (node.showAdvanced) return "▾ " + translated(`hide advanced inputs: ${many}`);
    const more = changed ? `show advanced inputs: ${many}, changed: ${changed}` : `show advanced inputs: ${many}`;
    return "▸ " + translated(more);
  };
  Object.defineProperty(button, "label", { get: label, set: () => {}, configurable: true });
  return button;
}

function isAlways() {
  return Boolean(app.extensionManager?.setting?.get(ALWAYS));
}

/**
 * @param {any} node
 * @param {any} widget
 */
export function isChanged(node, widget) {
  const { required, optional } = node.constructor?.nodeData?.input ?? {};
  const usual = (optional?.[widget.name] ?? required?.[widget.name])?.[1]?.default;
  return usual !== undefined && widget.value !== usual;
}

/**
 * Do what changes the rows of a node; what it is larger than its rows it stays.
 * @param {any} node
 * @param {() => void} act
 */
export function keepingRest(node, act) {
  const rest = node.size[1] - node.computeSize()[1];
  act();
  if (!isCanvas()) return;
  node.setSize([node.size[0], node.computeSize()[1] + Math.max(rest, 0)]);
  node.setDirtyCanvas(true, true);
}

/**
 * A workflow may have been saved when all rows stood open: a node that was as high as they were is
 * as high as those that are left.
 * @param {any} node
 */
function shrinkIfFilled(node) {
  if (!isCanvas() || node.showAdvanced) return;
  const folded = node.computeSize()[1];
  node.showAdvanced = true;
  // Without the row of the button, which was not there.
  const open = node.computeSize()[1] - ROW;
  node.showAdvanced = undefined;
  if (Math.abs(node.size[1] - open) < ROW) node.setSize([node.size[0], folded]);
}

/** Height of a row of a node on the canvas. */
const ROW = 24;

function isCanvas() {
  return !(/** @type {any} */ (globalThis).LiteGraph?.vueNodesMode);
}
