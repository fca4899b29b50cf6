// @ts-check
/**
 * Which nodes of this pack have names of ComfyUI_IPAdapter_plus or of the packs for Flux and SD3.5. They open, run and are copied, and
 * stay out of the search and the library: there our own are found, under the old names too.
 */

const OLD =
  /^(?:IPAdapter|IPAAdapter|PrepImageFor|InsightFaceLoader$|LoadFluxIP|Apply(?:Advanced)?FluxIP|ApplyIPAdapter|XlabsSampler$)/;
const OWN = "IPAApply"; // tells which pack is this one, whatever its folder is called

/**
 * @param {any[]} defs all nodes, as the server describes them
 * @returns {Set<string>} names of those that are ours and old
 */
export function oldNames(defs) {
  const pack = defs.find((def) => def.name === OWN)?.python_module;
  const ours = defs.filter((def) => pack !== undefined && def.python_module === pack);
  return new Set(ours.map((def) => def.name).filter((name) => OLD.test(name)));
}

/**
 * What the front end calls a filter of nodes.
 * @param {() => Set<string>} names
 * @param {() => boolean} shown whether the user wants to see them
 */
export function filterOf(names, shown) {
  return {
    id: "ipadapter.old_names",
    name: "Hide nodes of ComfyUI_IPAdapter_plus",
    description: "Hides the old names of IP-Adapter nodes; the nodes of this pack do their work",
    /** @param {any} def */
    predicate: (def) => shown() || !names().has(def.name),
  };
}
