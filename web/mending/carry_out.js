// @ts-check
/** Does what a button of a note offers, as one step of undo. */

// @ts-ignore: served by the host
import { app } from "../../../scripts/app.js";
import { remember } from "../node_widgets.js";
import { TITLE, boxOf, freePlace } from "../moving/free_place.js";
import { translated } from "../words/spoken.js";
import { label } from "./texts.js";

/** @typedef {import("./offers.js").Offer} Offer */

const GAP = 60;
const ROOM = 160; // for what the new node will say
/** Which node gives what a new one needs besides. @type {Record<string, string>} */
const LOADERS = { IPA_FACE_MODELS: "IPALoadFaceModels", CLIP_VISION: "CLIPVisionLoader" };

/**
 * The buttons of offers.
 * @param {Offer[]} all
 * @param {() => void} done called after one was carried out
 */
export function buttons(all, done) {
  const language = app.extensionManager?.setting?.get?.("Comfy.Locale") ?? "en";
  return all.map((offer) => ({
    text: label(language, offer.key, offer.connection ? [titleOf(offer.parts[0])] : offer.parts.map(translated)),
    title: offer.title,
    act: () => {
      remember(); // what came before is a step of its own
      carryOut(offer);
      app.canvas.setDirty(true, true);
      remember();
      done();
    },
  }));
}

/** @param {string} kind */
function titleOf(kind) {
  return liteGraph().registered_node_types[kind]?.title ?? kind;
}

function liteGraph() {
  return /** @type {any} */ (globalThis).LiteGraph;
}

/** @param {Offer} offer */
function carryOut({ widgets, value, connection }) {
  for (const { node, widget } of widgets) set(node, widget, value);
  if (!connection) return;
  const { place, input, source } = connection;
  const { node } = place;
  const slot = node.inputs.findIndex((/** @type {any} */ one) => one.name === input);
  const before = linkedTo(node, slot);
  const giver = giverOf(node.graph, source, node) ?? create(node.graph, source, node);
  // What the old one was made of, the new one is made of.
  if (giver.isNew) furnish(giver.node, before);
  const out = outputFor(giver.node, node.inputs[slot]);
  if (out >= 0) giver.node.connect(out, node, slot);
}

/**
 * @param {any} node
 * @param {any} widget
 * @param {any} value
 */
function set(node, widget, value) {
  widget.value = value;
  widget.callback?.(value, app.canvas, node);
  node.setDirtyCanvas?.(true, true);
}

/**
 * The node at the other end of a link.
 * @param {any} node
 * @param {number} slot
 */
function linkedTo(node, slot) {
  return node.inputs[slot].link == null ? undefined : node.getInputNode?.(slot);
}

/**
 * A loader that is there already; nodes that make something are not shared.
 * @param {any} graph
 * @param {string} kind
 * @param {any} except
 */
function giverOf(graph, kind, except) {
  if (!Object.values(LOADERS).includes(kind)) return undefined;
  const found = (graph.nodes ?? graph._nodes).find(
    (/** @type {any} */ one) => one !== except && one.comfyClass === kind && one.mode === 0,
  );
  return found && { node: found, isNew: false };
}

/**
 * A new node to the left of another, where there is room.
 * @param {any} graph
 * @param {string} kind
 * @param {any} beside
 */
function create(graph, kind, beside) {
  const node = liteGraph().createNode(kind);
  graph.add(node);
  const [width, height] = node.size;
  const taken = (graph.nodes ?? graph._nodes)
    .filter((/** @type {any} */ one) => one !== node)
    .map(boxOf);
  const wanted = /** @type {[number, number]} */ ([beside.pos[0] - width - GAP, beside.pos[1]]);
  const [x, y] = freePlace([wanted[0], wanted[1] - TITLE], [width, height + TITLE + ROOM], taken, []);
  node.pos = [x, y + TITLE];
  return { node, isNew: true };
}

/**
 * Connect what a new node needs: as the node in whose place it comes, else from a loader.
 * @param {any} node
 * @param {any} before
 */
function furnish(node, before) {
  for (const [slot, input] of node.inputs.entries()) {
    if (input.widget) continue;
    const same = before?.inputs?.findIndex((/** @type {any} */ one) => one.name === input.name) ?? -1;
    const source = same >= 0 ? before.getInputNode?.(same) : undefined;
    const link = same >= 0 ? before.getInputLink?.(same) : undefined;
    if (source && link) source.connect(link.origin_slot, node, slot);
    else if (input.shape !== OPTIONAL && types(input).some((type) => LOADERS[type])) {
      const kind = LOADERS[types(input).find((type) => LOADERS[type]) ?? ""];
      const giver = giverOf(node.graph, kind, node) ?? create(node.graph, kind, node);
      giver.node.connect(outputFor(giver.node, input), node, slot);
    }
  }
}

const OPTIONAL = 7; // how the host draws an input that may be left free

/** @param {any} slot @returns {string[]} */
function types(slot) {
  return `${slot.type}`.split(",");
}

/**
 * @param {any} node
 * @param {any} input
 */
function outputFor(node, input) {
  return (node.outputs ?? []).findIndex((/** @type {any} */ one) => types(input).includes(one.type));
}
