// @ts-check
/** How many pictures an IMAGE holds, as far as a graph tells; no app, no DOM. */

/** @typedef {import("./plan.js").Neutral} Neutral */
/** @typedef {import("./plan.js").Source} Source */

/** Nodes that give as many pictures as they get. */
const SAME_NUMBER = new Set([
  "PrepImageForClipVision",
  "IPAdapterNoise",
  "ImageScale",
  "ImageScaleBy",
  "ImageScaleToTotalPixels",
  "ImageInvert",
  "ImageBlur",
  "ImageSharpen",
  "ImageCrop",
  "ImagePadForOutpaint",
  "IPANoiseImage",
  "Reroute",
]);
const MOST_HOPS = 50;

/**
 * What is known of two inputs.
 * @param {Source} image
 * @param {Source | undefined} other
 * @param {Map<string, Neutral>} nodes
 * @returns {{ one: boolean, same: boolean, several: boolean }} whether the other is one picture,
 *   whether it has as many as the first, and whether the first has two or more
 */
export function samePictures(image, other, nodes) {
  const first = number(image, nodes, 0);
  const second = other && number(other, nodes, 0);
  return {
    one: second === 1,
    same: first === second,
    several: typeof first === "number" && first > 1,
  };
}

/**
 * The number of pictures; a text that is equal for equal numbers where it is not known.
 * @param {Source} source
 * @param {Map<string, Neutral>} nodes
 * @param {number} hops
 * @returns {number | string}
 */
function number({ id, slot, type }, nodes, hops) {
  const unknown = `${id}:${slot}`;
  const node = nodes.get(id);
  if (!node || hops > MOST_HOPS) return unknown;
  if (type === "LoadImage") return 1;
  const { image, image_optional, image1, image2 } = node.fed;
  if (type === "ImageBatch" && image1 && image2) {
    const both = [image1, image2].map((one) => number(one, nodes, hops + 1));
    const [a, b] = both;
    return typeof a === "number" && typeof b === "number" ? a + b : unknown;
  }
  if (type === "IPAdapterNoise" && !image_optional) return 1;
  const through = image ?? image_optional ?? node.fed[""];
  return SAME_NUMBER.has(type) && through ? number(through, nodes, hops + 1) : unknown;
}
