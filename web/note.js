// @ts-check
/** Lines of text on a node, below its widgets, in the user's language; never saved. */

import { buttonBar, fold, row } from "./note_parts.js";
import { translated } from "./words/spoken.js";

const LINE_HEIGHT = 18;
const PADDING = 8;
const MARGIN = 6; // on the canvas, to each side of the element
const LETTER = 6.2; // width of one, on average
/** From this number of lines on a text is a report, which gets more room; the rest is scrolled. */
const REPORT = 12;
const PAGE = { width: 520, lines: 30 };
const NOTE = { width: 0, lines: 20 };

/** Kinds in yellow: what will stop a run, and what has stopped one. */
const YELLOW = new Set(["warning", "failure"]);
const ABOUT = "about";
/** What is above the note of a node that has grown under the next one could not be clicked. */
const IN_FRONT = `
[data-node-id]:has([data-ipadapter="warning"], [data-ipadapter="failure"]),
.dom-widget:has([data-ipadapter="warning"], [data-ipadapter="failure"]) { z-index: 9999 !important; }
`;

/** What each node says about itself, also while a yellow note stands instead. @type {WeakMap<any, [string[], More]>} */
const abouts = new WeakMap();

/**
 * @typedef {object} More
 * @property {string} [details] shown to whoever points at the text
 * @property {import("./note_parts.js").Button[]} [buttons] below the text
 * @property {number} [open] so many lines are shown, the others to whoever asks for them
 */

/**
 * @param {any} node
 * @param {string} kind what the text is: "about", "warning", "failure"
 * @param {string[]} said in English
 * @param {More} [more]
 */
export function show(node, kind, said, more = {}) {
  if (kind === ABOUT) abouts.set(node, [said, more]);
  if (kind !== ABOUT || !isOverruled(node, said)) draw(node, kind, said, more);
  giveWay(node);
}

/**
 * Whether a grey text is of before the failed run, or said in yellow as well.
 * @param {any} node
 * @param {string[]} said
 */
function isOverruled(node, said) {
  if (find(node, "failure")) return true;
  const warned = find(node, "warning")?.element.textContent;
  return warned !== undefined && said.every((line) => warned.includes(translated(line)));
}

/**
 * The grey text goes while a yellow one stands for it, and comes back afterwards.
 * @param {any} node
 */
function giveWay(node) {
  const about = abouts.get(node);
  if (!about) return;
  if (isOverruled(node, about[0])) take(node, ABOUT);
  else if (!find(node, ABOUT)) draw(node, ABOUT, ...about);
}

/**
 * @param {any} node
 * @param {string} kind
 * @param {string[]} said
 * @param {More} more
 */
function draw(node, kind, said, { details = "", buttons = [], open = said.length }) {
  const spoken = said.map(translated);
  const [lines, folded] = [spoken.slice(0, open), spoken.slice(open)];
  const widget = find(node, kind) ?? make(node, kind);
  widget.element.title = details;
  widget.element.replaceChildren(
    ...lines.map(row),
    ...(buttons.length > 0 ? [buttonBar(buttons)] : []),
    ...(folded.length > 0 ? [fold(folded, () => fit(node, kind))] : []),
  );
  const written = buttons.map(({ text }) => text).join("    ");
  const all = [...lines, ...(written ? [written] : []), ...(folded.length > 0 ? [""] : [])];
  const room = said.length < REPORT ? NOTE : PAGE;
  const most = room.lines * LINE_HEIGHT + PADDING;
  widget.most = most;
  // A node of Nodes 2.0 would grow with its text; one on the canvas is as large as it was drawn.
  widget.element.style.maxHeight = isVue() ? `${most}px` : "";
  const width = Math.max(node.size[0], room.width);
  widget.wanted = Math.min(most, rows(all, width) * LINE_HEIGHT + PADDING);
  grow(node, width);
  afterLayout(() => {
    mount(node, kind, widget.element);
    fit(node, kind);
  });
}

/**
 * Make as much room as the text needs, but no more than a text may have.
 * @param {any} node
 * @param {string} kind
 * @param {number} [times] a wider node may need less, and one that shares its room more
 */
function fit(node, kind, times = 3) {
  const widget = find(node, kind);
  const { scrollHeight, clientHeight } = widget?.element ?? {};
  if (!clientHeight || scrollHeight <= clientHeight + 1) return;
  widget.wanted = Math.min(widget.most, widget.wanted + scrollHeight - clientHeight);
  grow(node, node.size[0]);
  if (times > 1) afterLayout(() => fit(node, kind, times - 1));
}

/**
 * @param {any} node
 * @param {string} kind
 */
export function isShown(node, kind) {
  return (kind === ABOUT && abouts.has(node)) || find(node, kind) !== undefined;
}

/**
 * @param {any} node
 * @param {string} kind
 * @param {string} line in English
 */
export function holds(node, kind, line) {
  const shown = find(node, kind)?.element.children ?? [];
  return [...shown].some((one) => one.textContent === translated(line));
}

function isVue() {
  return /** @type {any} */ (globalThis).LiteGraph?.vueNodesMode;
}

/**
 * @param {any} node
 * @param {number} least
 */
function grow(node, least) {
  const [width, height] = node.computeSize();
  node.setSize([Math.max(node.size[0], width, least), Math.max(node.size[1], height)]);
  node.setDirtyCanvas(true, true);
}

/**
 * Take the text away, and the room it took.
 * @param {any} node
 * @param {string} kind
 */
export function hide(node, kind) {
  if (kind === ABOUT) abouts.delete(node);
  take(node, kind);
  giveWay(node);
}

/**
 * @param {any} node
 * @param {string} kind
 */
function take(node, kind) {
  const widget = find(node, kind);
  if (!widget) return;
  const before = node.computeSize()[1];
  node.removeWidget(widget);
  const [width, height] = node.computeSize();
  node.setSize([Math.max(node.size[0], width), Math.max(node.size[1] - before + height, height)]);
  node.setDirtyCanvas(true, true);
}

/**
 * @param {any} node
 * @param {string} kind
 */
function find(node, kind) {
  const name = `ipadapter_${kind}`;
  return node.widgets?.find((/** @type {any} */ widget) => widget.name === name);
}

/**
 * @param {any} node
 * @param {string} kind
 */
function make(node, kind) {
  const element = document.createElement("div");
  element.setAttribute("role", "status");
  element.dataset.ipadapter = kind;
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
  if (YELLOW.has(kind)) {
    putInFront();
    element.style.color = "var(--input-text)";
    element.style.borderLeft = "3px solid #e0a000";
  }
  const name = `ipadapter_${kind}`;
  // Last in the list and never saved: a hole in widgets_values would shift the values behind it.
  const widget = node.addDOMWidget(name, name, element, {
    serialize: false,
    hideOnZoom: false,
    // The host's side panel would take its width for the node's too.
    hideInPanel: true,
    margin: MARGIN,
    // On the canvas the height is that of the element with its margins.
    getMinHeight: () => (widget.wanted ?? LINE_HEIGHT + PADDING) + (isVue() ? 0 : 2 * MARGIN),
  });
  widget.serialize = false;
  return widget;
}

/** Once for the page: nodes of Nodes 2.0, and the elements of those on the canvas. */
function putInFront() {
  if (document.getElementById("ipadapter-in-front")) return;
  const style = document.createElement("style");
  style.id = "ipadapter-in-front";
  style.textContent = IN_FRONT;
  document.head.append(style);
}

/**
 * Lines on the screen, as far as their number can be told before they are there.
 * @param {string[]} lines
 * @param {number} width of the node
 */
function rows(lines, width) {
  const letters = Math.max(20, Math.floor((width - 40) / LETTER));
  return lines.reduce((sum, line) => sum + Math.max(1, Math.ceil(line.length / letters)), 0);
}

/** @param {() => void} act */
function afterLayout(act) {
  requestAnimationFrame(() => requestAnimationFrame(act));
}

/**
 * After an undo, Nodes 2.0 keeps showing the element of the node that was replaced.
 * @param {any} node
 * @param {string} kind
 * @param {HTMLElement} element
 */
function mount(node, kind, element) {
  if (element.isConnected) return;
  const owner = `[data-node-id="${CSS.escape(`${node.id}`)}"]`;
  const stale = `${owner} [data-ipadapter="${CSS.escape(kind)}"]`;
  document.querySelector(stale)?.replaceWith(element);
}
