// @ts-check
/** What the host says of a failed run or a refused prompt, as sentences by node; no app, no DOM. */

import { DASH, withoutType } from "../words/refusals.js";

/** Of files, which may be others when the host has listed them anew. */
const FILES = /^ipadapter\.(MissingModel|BrokenFile|UnknownAdapter|UnsupportedAdapter|UnsupportedNetwork)$/;

/**
 * @typedef {object} Said
 * @property {string} id of the node, with those of the subgraph nodes it lies in before it
 * @property {string} kind class of the node, "" where it is not said
 * @property {string} text
 * @property {boolean} ofFiles whether it may be another after files have changed
 * @property {boolean} refused whether nothing was run
 */

/** Errors of this pack have a name of their own. @param {unknown} type of an error */
export function isOurError(type) {
  return typeof type === "string" && type.startsWith("ipadapter.");
}

/** @param {unknown} kind class of a node */
export function isOurNode(kind) {
  return typeof kind === "string" && kind.startsWith("IPA");
}

/**
 * The sentence of a failed run: of any node for an error of this pack, of its nodes for any error.
 * @param {any} detail what comes with "execution_error"
 * @returns {Said | undefined}
 */
export function failed(detail) {
  const { node_id, node_type, exception_type, exception_message } = detail ?? {};
  if (node_id == null || typeof exception_message !== "string") return undefined;
  if (!isOurError(exception_type) && !isOurNode(node_type)) return undefined;
  const text = exception_message.trim().split("\n")[0];
  const ofFiles = FILES.test(exception_type ?? "");
  return { id: `${node_id}`, kind: node_type ?? "", text: text || `${exception_type}`, ofFiles, refused: false };
}

/**
 * The sentences a prompt was refused with.
 * @param {any} errors by node, as the host answers a prompt with
 * @returns {Said[]}
 */
export function refused(errors) {
  return Object.entries(errors ?? {}).flatMap(([id, known]) => {
    const kind = known?.class_type ?? "";
    if (!isOurNode(kind) || !Array.isArray(known.errors)) return [];
    const lines = known.errors.map(sentence).filter(Boolean);
    const text = [...new Set(lines)].join("\n");
    return text ? [{ id, kind, text, ofFiles: true, refused: true }] : [];
  });
}

/**
 * The host sets the name of an input before what a node says of it.
 * @param {any} error
 * @returns {string}
 */
function sentence(error) {
  const details = typeof error?.details === "string" ? error.details : "";
  const own = error?.type === "custom_validation_failed" ? details.indexOf(DASH) : -1;
  if (own >= 0) return withoutType(details.slice(own + DASH.length));
  return [error?.message, details].filter(Boolean).join(": ");
}
