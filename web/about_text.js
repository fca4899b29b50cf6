// @ts-check
/** Text that a node reports about itself; no app, no DOM, so that Node can test it. */

/** Nodes of this pack that report what they loaded or made. */
export const REPORTING = new Set([
  "IPASimple",
  "IPAStyleComposition",
  "IPARegional",
  "IPALoadAdapter",
  "IPALoadForModel",
  "IPALoadEncoder",
  "IPAPrepareImage",
  "IPAEncodeImage",
  "IPAMergeEmbeds",
  "IPALoadFaceModels",
  "IPAEncodeFace",
  "IPARegions",
  "IPASaveEmbeds",
  "IPALoadEmbeds",
  "IPASchedule",
  "IPATiles",
  "IPASweep",
  "IPASheet",
  "IPAPreviewMask",
  "IPAAttentionMap",
  "IPADoctor",
  "IPAConvertAdapter",
  "IPAConvertEmbeds",
]);

/**
 * What whoever points at the text is told besides, such as widths; "" for nothing.
 * @param {unknown} output what the server sent with "executed"
 * @returns {string}
 */
export function details(output) {
  const given = /** @type {{ ipadapter_details?: unknown } | null | undefined} */ (output)
    ?.ipadapter_details;
  return Array.isArray(given) ? given.filter((part) => typeof part === "string").join("; ") : "";
}

/**
 * The lines to show for a node's output, without empty ones.
 * @param {unknown} output what the server sent with "executed"
 * @returns {string[]}
 */
export function aboutLines(output) {
  const text = /** @type {{ text?: unknown } | null | undefined} */ (output)?.text;
  const parts = Array.isArray(text) ? text : [text];
  return parts
    .filter((part) => typeof part === "string")
    .flatMap((part) => part.split("\n"))
    .map((line) => line.trim())
    .filter((line) => line !== "");
}

/** How a report begins after what comes first of all. */
const REPORT = "IP-Adapter report:";
/** How its list of all addresses begins, which is long. */
const ADDRESSES = "Where to get what is missing (nothing is downloaded by itself):";

/**
 * How many lines of a report are read first; the others are folded away behind them.
 * @param {string[]} lines
 */
export function openLines(lines) {
  const first = lines.findIndex((line) => line.startsWith(REPORT));
  const rest = first === 0 ? lines.indexOf(ADDRESSES) : first;
  return rest > 0 ? rest : lines.length;
}
