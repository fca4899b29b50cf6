// @ts-check
/** The pictures and masks that arrive at a node, as far as the graph shows them; no app, no DOM. */

import { origin, value } from "../workflow_graph.js";

/**
 * @typedef {import("../places.js").Place} Place
 * A picture of the host's folders, or a part of one.
 * @typedef {{ filename: string, type: string, subfolder: string, channel?: string, inverted?: boolean }} Picture
 * What is shown of a reference; "unknown" is connected and nobody knows how it looks.
 * @typedef {{ pictures: Picture[], mask?: Picture | "unknown" }} Cell
 */

const MOST_HOPS = 50;
const MOST_PICTURES = 4; // of one reference
const ENCODERS = new Set(["IPAEncodeImage", "IPAEncodeFace"]);
const LOADERS = new Set(["LoadImage", "LoadImageMask", "LoadImageOutput"]);
const INVERTED = "InvertMask";
const PREVIEW = "MaskPreview";
const FOLDER = /^(.*?)(?: \[(input|output|temp)\])?$/;

/** @type {Map<string, (place: Place, outputs: Outputs) => Cell[]>} */
const SHOWN = new Map([
  ["IPASimple", (place, outputs) => [cell(place, "image", "attn_mask", outputs)]],
  ["IPARegional", (place, outputs) => [cell(place, "image", "mask", outputs)]],
  [
    "IPAStyleComposition",
    (place, outputs) => [
      cell(place, "style_image", "attn_mask", outputs),
      cell(place, "composition_image", "attn_mask", outputs),
    ],
  ],
  ["IPARegions", regions],
]);

/**
 * What the last run of a node has shown.
 * @typedef {(place: Place) => Picture[]} Outputs
 */

/** @param {any} node */
export function showsPictures(node) {
  return SHOWN.has(node.comfyClass ?? node.type);
}

/**
 * @param {Place} place
 * @param {Outputs} outputs
 * @returns {Cell[]} those of which there is something to show
 */
export function cells(place, outputs) {
  const known = SHOWN.get(place.node.comfyClass ?? place.node.type)?.(place, outputs) ?? [];
  return known.some(({ pictures }) => pictures.length > 0) ? known : [];
}

/**
 * @param {Place} place
 * @param {string} image
 * @param {string} mask
 * @param {Outputs} outputs
 * @returns {Cell}
 */
function cell(place, image, mask, outputs) {
  return { pictures: picturesAt(place, image, outputs), mask: maskAt(place, mask, outputs) };
}

/**
 * @param {Place} place
 * @param {Outputs} outputs
 */
function regions(place, outputs) {
  const numbers = linked(place).flatMap((name) => /^embeds\.embeds(\d+)$/.exec(name)?.[1] ?? []);
  return numbers.map((number) => ({
    pictures: embedded(origin(place, `embeds.embeds${number}`), outputs),
    mask: maskAt(place, `masks.mask${number}`, outputs),
  }));
}

/**
 * The pictures behind embeds, where one node has made them.
 * @param {Place | undefined} place
 * @param {Outputs} outputs
 */
function embedded(place, outputs) {
  const known = place && ENCODERS.has(place.node.comfyClass ?? place.node.type);
  return known ? picturesAt(place, "image", outputs) : [];
}

/**
 * What comes to an input, through nodes that make one picture of one: they show at least what it
 * is of.
 * @param {Place} place
 * @param {string} name
 * @param {Outputs} outputs
 * @returns {Picture[]}
 */
function picturesAt(place, name, outputs) {
  let here = origin(place, name);
  for (let hops = 0; here && hops < MOST_HOPS; hops++) {
    const known = loaded(here) ? [/** @type {Picture} */ (loaded(here))] : outputs(here);
    if (known.length > 0) return known.slice(0, MOST_PICTURES);
    const before = (here.node.inputs ?? []).filter(
      (/** @type {any} */ input) => input.type === "IMAGE" && input.link != null,
    );
    if (before.length !== 1) return [];
    here = origin(here, before[0].name);
  }
  return [];
}

/**
 * A mask is shown only as it is: what a node makes of one is known if it is the opposite, or if the
 * page has a preview of it.
 * @param {Place} place
 * @param {string} name
 * @param {Outputs} outputs
 * @returns {Picture | "unknown" | undefined} nothing where none is connected
 */
function maskAt(place, name, outputs) {
  if (!linked(place).includes(name)) return undefined;
  const source = origin(place, name);
  const picture = source && loaded(source);
  if (picture) return { ...picture, channel: value(source, "channel") || "alpha" };
  const seen = source && previewed(place, name, outputs);
  if (seen) return { ...seen, channel: "rgb" };
  if (source?.node.type !== INVERTED) return "unknown";
  const other = maskAt(source, "mask", outputs) ?? "unknown";
  return other === "unknown" ? other : { ...other, inverted: !other.inverted };
}

/**
 * What the host's preview of the same output has shown.
 * @param {Place} place
 * @param {string} name
 * @param {Outputs} outputs
 * @returns {Picture | undefined}
 */
function previewed(place, name, outputs) {
  const { node, path } = place;
  const wanted = sourceOf(node, name);
  const same = (node.graph?.nodes ?? []).find((/** @type {any} */ other) => {
    return other.type === PREVIEW && wanted && sourceOf(other, "mask") === wanted;
  });
  return same && outputs({ node: same, path })[0];
}

/**
 * @param {any} node
 * @param {string} name
 */
function sourceOf(node, name) {
  const input = node.inputs?.find((/** @type {any} */ one) => one.name === name);
  const link = input?.link != null ? node.graph.getLink(input.link) : undefined;
  return link && `${link.origin_id} ${link.origin_slot}`;
}

/**
 * The file of a node that loads a picture.
 * @param {Place} place
 * @returns {Picture | undefined}
 */
function loaded(place) {
  if (!LOADERS.has(place.node.comfyClass ?? place.node.type)) return undefined;
  const [, path, folder] = /** @type {string[]} */ (FOLDER.exec(value(place, "image")));
  if (!path) return undefined;
  const at = path.lastIndexOf("/");
  const type = folder ?? (place.node.type === "LoadImageOutput" ? "output" : "input");
  return { filename: path.slice(at + 1), type, subfolder: at < 0 ? "" : path.slice(0, at) };
}

/**
 * Names of the inputs that something is connected to.
 * @param {Place} place
 * @returns {string[]}
 */
function linked({ node }) {
  const inputs = (node.inputs ?? []).filter((/** @type {any} */ input) => input.link != null);
  return inputs.map((/** @type {any} */ input) => input.name);
}
