// @ts-check
/** Small pictures of what is connected to a node, on it, each with its mask. */

// @ts-ignore: served by the host
import { api } from "../../../scripts/api.js";
// @ts-ignore: served by the host
import { app } from "../../../scripts/app.js";
import { attributes, element } from "../dom.js";
import { watchGraph } from "../graph_watch.js";
import { makeRoom, outputOf, placeElement } from "../node_widgets.js";
import { places } from "../places.js";
import { cells, showsPictures } from "./pictures.js";

/** @typedef {import("./pictures.js").Picture} Picture */
/** @typedef {import("./pictures.js").Cell} Cell */

const SIDE = 52;
const GAP = 8; // between references; a picture and its mask are closer
const CLOSE = 2;
const EDGE = 6;
const MARGIN = 10; // on the canvas, to each side of the element
const AROUND = 30; // what the node and the host take of its width
const KIND = "thumbnails";

/** The strip of each node that has shown something, and what it shows. @type {WeakMap<any, { strip: HTMLElement, shown: string }>} */
const strips = new WeakMap();

watchGraph("ipadapter.thumbnails", look, () => {});

app.registerExtension({
  name: "ipadapter.thumbnailsAfterRun",
  onNodeOutputsUpdated: () => look(app.rootGraph ?? app.graph),
});

/** @param {any} graph */
function look(graph) {
  for (const place of places(graph)) {
    if (showsPictures(place.node)) show(place.node, cells(place, picturesOf));
  }
}

/**
 * @param {import("../places.js").Place} place
 * @returns {Picture[]}
 */
function picturesOf({ node }) {
  const images = outputOf(node)?.images;
  return Array.isArray(images) ? images.filter((one) => one?.filename) : [];
}

/**
 * @param {any} node
 * @param {Cell[]} known
 */
function show(node, known) {
  const text = JSON.stringify(known);
  const before = strips.get(node);
  if ((before?.shown ?? "[]") === text) return;
  const strip = before?.strip ?? make(node);
  strips.set(node, { strip, shown: text });
  strip.replaceChildren(...known.map(cellElement));
  strip.style.display = known.length > 0 ? "flex" : "none";
  makeRoom(node);
  node.setDirtyCanvas?.(true, true);
}

/** @param {any} node */
function make(node) {
  const strip = element("div");
  strip.dataset.ipadapter = KIND;
  Object.assign(strip.style, {
    display: "flex",
    flexWrap: "wrap",
    alignContent: "flex-start",
    gap: `${GAP}px`,
    padding: `${EDGE}px`,
    boxSizing: "border-box",
    overflow: "hidden",
    background: "var(--comfy-input-bg)",
    borderRadius: "4px",
  });
  placeElement(node, `ipadapter_${KIND}`, strip, () => {
    const rows = rowsOf([...strip.children], node.size[0] - AROUND);
    // On the canvas the height is that of the element with its margins.
    const margins = /** @type {any} */ (globalThis).LiteGraph?.vueNodesMode ? 0 : 2 * MARGIN;
    return rows > 0 ? rows * (SIDE + GAP) - GAP + 2 * EDGE + margins : 0;
  });
  return strip;
}

/**
 * Into how many rows the browser breaks them.
 * @param {Element[]} all
 * @param {number} width
 */
function rowsOf(all, width) {
  let [rows, left] = [0, 0];
  for (const { childElementCount } of all) {
    const needed = childElementCount * (SIDE + CLOSE) - CLOSE + GAP;
    if (rows === 0 || needed - GAP > left) [rows, left] = [rows + 1, width];
    left -= needed;
  }
  return rows;
}

/** @param {Cell} cell */
function cellElement({ pictures, mask }) {
  const cell = element("div");
  Object.assign(cell.style, { display: "flex", gap: `${CLOSE}px`, flex: "none" });
  // What goes along links has no transparency.
  cell.append(...pictures.map((one) => picture(one, "Reference")));
  if (mask === "unknown") cell.append(unknownMask());
  else if (mask) cell.append(maskPicture(mask));
  return cell;
}

/**
 * @param {Picture} one
 * @param {string} title
 */
function picture({ filename, type, subfolder, channel }, title) {
  const query = new URLSearchParams({ filename, type, subfolder, channel: channel ?? "rgb" });
  const image = element("img");
  attributes(image, { src: api.apiURL(`/view?${query}`), title, alt: title, loading: "lazy" });
  Object.assign(image.style, { height: `${SIDE}px`, width: `${SIDE}px`, objectFit: "cover", borderRadius: "3px" });
  return image;
}

/**
 * The host gives the alpha of a picture as black with that alpha: on white it is the mask. Of a
 * colour it gives all of them; masks are grey.
 * @param {Picture} mask
 */
function maskPicture(mask) {
  const alpha = mask.channel === "alpha";
  const made = picture({ ...mask, channel: alpha ? "a" : "rgb" }, "Mask: white hears the reference");
  made.style.background = "#fff";
  made.style.outline = "1px solid var(--border-color, #666)";
  made.style.filter = `${alpha ? "" : "grayscale(1)"} ${mask.inverted ? "invert(1)" : ""}`.trim();
  return made;
}

function unknownMask() {
  const made = element("div", "", "Mask");
  made.title = "A mask that another node makes";
  Object.assign(made.style, {
    width: `${SIDE}px`,
    height: `${SIDE}px`,
    display: "grid",
    placeItems: "center",
    font: "12px sans-serif",
    color: "#fff",
    background: "#444",
    borderRadius: "3px",
  });
  return made;
}
