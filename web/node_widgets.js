// @ts-check
/** What the pack's editors need of a node of the host: its widgets, their changes, a place. */

// @ts-ignore: served by the host
import { app } from "../../scripts/app.js";

/**
 * @param {any} node
 * @param {string} name
 */
export function findWidget(node, name) {
  return node.widgets?.find((/** @type {any} */ widget) => widget.name === name);
}

/**
 * Whether a widget's value comes through a connection.
 * @param {any} node
 * @param {string} name
 */
export function isLinked(node, name) {
  const slot = node.inputs?.find((/** @type {any} */ input) => input.name === name);
  return slot?.link != null;
}

/**
 * Whether something is connected to an output.
 * @param {any} node
 * @param {string} name
 */
export function isUsed(node, name) {
  const slot = node.outputs?.find((/** @type {any} */ output) => output.name === name);
  return (slot?.links?.length ?? 0) > 0;
}

/**
 * What the last run of a node has shown, as far as the host still knows it.
 * @param {any} node
 */
export function outputOf(node) {
  const root = app.rootGraph ?? app.graph;
  const { graph } = node;
  return app.nodeOutputs?.[graph === root ? `${node.id}` : `${graph?.id}:${node.id}`];
}

/**
 * Call back when one of the widgets changes, when the node is loaded and when it is connected.
 * @param {any} node
 * @param {string[]} names
 * @param {() => void} changed
 */
export function onChange(node, names, changed) {
  for (const name of names) {
    const widget = findWidget(node, name);
    if (widget) chain(widget, "callback", changed);
  }
  chain(node, "onConfigure", changed);
  chain(node, "onConnectionsChange", changed);
}

/**
 * @param {any} owner
 * @param {string} name
 * @param {() => void} after
 */
function chain(owner, name, after) {
  const original = owner[name];
  owner[name] = function () {
    const result = original?.apply(this, arguments);
    after();
    return result;
  };
}

/**
 * A widget that shows an element and is no value: last in the list and never saved, because a hole
 * in widgets_values would shift the values behind it.
 * @param {any} node
 * @param {string} name
 * @param {HTMLElement} element
 * @param {() => number} height in canvas units
 * @param {() => void} [mounted] called when the node was loaded and the element is on the page
 */
export function placeElement(node, name, element, height, mounted) {
  const widget = node.addDOMWidget(name, name, element, {
    serialize: false,
    hideOnZoom: false,
    // The host's side panel would take its width for the node's too.
    hideInPanel: true,
    getMinHeight: height,
  });
  widget.serialize = false;
  leaveToCanvas(element);
  const remount = () => {
    putInPlace(node, element);
    mounted?.();
  };
  chain(node, "onConfigure", () => {
    makeRoom(node);
    // The node is drawn anew in the next frame, and what it holds in the one after.
    requestAnimationFrame(() => requestAnimationFrame(remount));
  });
  makeRoom(node);
}

/**
 * The wheel and the middle button zoom and move the canvas also above an element on it.
 * @param {HTMLElement} element
 */
function leaveToCanvas(element) {
  /** @param {(event: any) => void} act */
  const onCanvas = (act) => (/** @type {any} */ event) => {
    // Nodes drawn by Vue hand on what an element leaves alone.
    if (!/** @type {any} */ (globalThis).LiteGraph?.vueNodesMode) act(event);
  };
  const middle = (/** @type {PointerEvent} */ event) => event.button === 1;
  element.addEventListener("wheel", onCanvas((event) => app.canvas.processMouseWheel(event)));
  element.addEventListener(
    "pointerdown",
    onCanvas((event) => middle(event) && app.canvas.processMouseDown(event)),
  );
  element.addEventListener(
    "pointermove",
    onCanvas((event) => event.buttons & 4 && app.canvas.processMouseMove(event)),
  );
  element.addEventListener(
    "pointerup",
    onCanvas((event) => middle(event) && app.canvas.processMouseUp(event)),
  );
}

/**
 * Workflows may have been saved before the node held an element.
 * @param {any} node
 */
export function makeRoom(node) {
  const [width, height] = node.computeSize();
  node.setSize([Math.max(node.size[0], width), Math.max(node.size[1], height)]);
}

/**
 * After undo, Nodes 2.0 keeps showing the element of the node that was there before.
 * @param {any} node
 * @param {HTMLElement} element
 */
function putInPlace(node, element) {
  if (element.isConnected) return;
  const owner = `[data-node-id="${CSS.escape(`${node.id}`)}"]`;
  const kind = CSS.escape(`${element.dataset.ipadapter}`);
  const old = document.querySelector(`${owner} [data-ipadapter="${kind}"]`);
  old?.replaceWith(element);
}

/** Make the present state a step of undo; what is not a click of the host's own is not one. */
export function remember() {
  const tracker = app.extensionManager?.workflow?.activeWorkflow?.changeTracker;
  if (tracker?.captureCanvasState) tracker.captureCanvasState();
  else tracker?.checkState?.();
}
