// @ts-check
/** Puts first what somebody asks for by a word of this pack; no app, no DOM. */

const BEGIN = "IPASimple";
const OUR_NAME = "ipadapter";

/**
 * The host ranks by names alone, so that a node called "Set Reference Latent" comes before one
 * that lists "reference" among the words to be found by, and short names before old ones.
 * @template {{ name: string, search_aliases?: string[] }} Def
 * @param {string} query what was typed
 * @param {Def[]} found in the host's order
 * @returns {Def[]} the same; first the node to begin with if the query is one of its words, then
 *   those that list the query if it is a name of this pack or of ComfyUI_IPAdapter_plus
 */
export function firstFor(query, found) {
  const word = plain(query);
  const lists = (/** @type {Def} */ { search_aliases: words }) =>
    words?.some((one) => plain(one) === word);
  const first = found.filter(
    (one) => lists(one) && (one.name === BEGIN || word.startsWith(OUR_NAME)),
  );
  if (first.length === 0) return found;
  first.sort((one, other) => Number(other.name === BEGIN) - Number(one.name === BEGIN));
  return [...first, ...found.filter((one) => !first.includes(one))];
}

/** @param {string} text */
function plain(text) {
  return text.toLowerCase().replace(/[\s_-]+/g, "");
}
