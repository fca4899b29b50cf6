// @ts-check
/** Colours of the pack's own sockets and links, the same on the canvas and in Nodes 2.0. */

// @ts-ignore: served by the host
import { app } from "../../scripts/app.js";

/**
 * Hues that none of the host's own types has, dark enough for a light theme. What the nodes take
 * from other packs in place of their own has the same, and an input that takes both is of one.
 * @type {[string, string[]][]}
 */
const COLOURS = [
  ["#ec407a", ["IP_ADAPTER", "IPADAPTER", "IP_ADAPTER,IPADAPTER"]],
  ["#00a693", ["IPA_EMBEDS", "EMBEDS", "IPA_EMBEDS,EMBEDS"]],
  ["#949418", ["IPA_WEIGHTS"]],
  ["#c85f1e", ["IPA_FACE_MODELS", "INSIGHTFACE", "FACEANALYSIS", "IPA_FACE_MODELS,INSIGHTFACE,FACEANALYSIS"]],
  ["#5c7cfa", ["IPA_ATTENTION"]],
];
/** @type {[string, string][]} */
const BY_TYPE = COLOURS.flatMap(([colour, types]) => types.map((type) => [type, colour]));

/**
 * A colour that a theme may overrule, but not empty, as the host does with types it does not know.
 * @param {Record<string, string>} table
 * @param {string} type
 * @param {string} colour
 */
function offer(table, type, colour) {
  let chosen = table[type];
  Object.defineProperty(table, type, {
    get: () => chosen || colour,
    set: (value) => (chosen = value),
    enumerable: true,
    configurable: true,
  });
}

/** Themes set theirs on the element itself, which counts before a sheet. */
function offerToPage() {
  const style = document.createElement("style");
  // The page reads the name of several types up to the first comma.
  const single = BY_TYPE.filter(([type]) => !type.includes(","));
  const lines = single.map(([type, colour]) => `--color-datatype-${type}: ${colour};`);
  style.textContent = `:root { ${lines.join(" ")} }`;
  document.head.append(style);
}

app.registerExtension({
  name: "ipadapter.colours",
  setup() {
    const links = /** @type {any} */ (globalThis).LGraphCanvas?.link_type_colors;
    for (const table of [links, app.canvas?.default_connection_color_byType]) {
      if (!table) continue;
      for (const [type, colour] of BY_TYPE) offer(table, type, colour);
    }
    offerToPage();
  },
});
