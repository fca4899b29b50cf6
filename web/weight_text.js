// @ts-check
/** The text of given block weights; what a text means says the server. */

/**
 * The shortest text: layers that differ from their transformer by themselves, zeros left out.
 * @param {number[][]} factors by transformer and layer
 */
export function writeWeights(factors) {
  const entries = factors.flatMap((layers, number) => {
    const common = mostCommon(layers);
    const odd = layers.flatMap((factor, layer) =>
      factor === common ? [] : [`${number}.${layer}:${factor}`],
    );
    return common === 0 ? odd : [`${number}:${common}`, ...odd];
  });
  // An empty text is a mistake to the node; this one is all zeros.
  return entries.join(", ") || "0:0";
}

/** @param {number[]} layers */
function mostCommon(layers) {
  const count = (/** @type {number} */ value) => layers.filter((each) => each === value).length;
  return layers.reduce((best, value) => (count(value) > count(best) ? value : best));
}
