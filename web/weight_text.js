// @ts-check
/** The text of given block weights; what a text means says the server. */

/**
 * The shortest text: neighbours that are equal are one entry, layers that differ from their
 * transformer stand by themselves, zeros are left out.
 * @param {number[][]} factors by transformer and layer
 * @param {boolean} [alone] each transformer by itself, for programs that do not know ranges
 */
export function writeWeights(factors, alone = false) {
  const commons = factors.map(mostCommon);
  const entries = runs(commons, alone).flatMap(([first, last]) => {
    const common = commons[first];
    const odd = factors.slice(first, last + 1).flatMap((layers, i) =>
      layers.flatMap((factor, layer) => (factor === common ? [] : [`${first + i}.${layer}:${factor}`])),
    );
    const name = first === last ? `${first}` : `${first}-${last}`;
    return common === 0 ? odd : [`${name}:${common}`, ...odd];
  });
  // An empty text is a mistake to the node; this one is all zeros.
  return entries.join(", ") || "0:0";
}

/**
 * Neighbours that are equal, as first and last.
 * @param {number[]} commons
 * @param {boolean} alone each by itself
 */
function runs(commons, alone) {
  /** @type {[number, number][]} */
  const found = [];
  commons.forEach((common, number) => {
    const last = found.at(-1);
    if (!alone && last && commons[last[0]] === common) last[1] = number;
    else found.push([number, number]);
  });
  return found;
}

/** @param {number[]} layers */
function mostCommon(layers) {
  const count = (/** @type {number} */ value) => layers.filter((each) => each === value).length;
  return layers.reduce((best, value) => (count(value) > count(best) ? value : best));
}
