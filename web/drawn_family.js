// @ts-check
/** Tells each editor of weights which family of models its weights go to. */

import { watchGraph } from "./graph_watch.js";
import { askFile } from "./route.js";
import { weighedFiles } from "./weighed_files.js";

/**
 * @typedef {object} Editor
 * @property {any} node
 * @property {(family: string) => void} follow called with "" where the family is not known
 */

/** Those of nodes that are in a graph. @type {Set<Editor>} */
const editors = new Set();
/** What each was last asked about. @type {WeakMap<Editor, string>} */
const asked = new WeakMap();
/** Answers of the server. @type {Map<string, Promise<string>>} */
const answers = new Map();

const lookSoon = watchGraph("ipadapter.family", look, () => answers.clear());

/** @param {Editor} editor */
export function followFamily(editor) {
  editors.add(editor);
  lookSoon();
}

/** @param {any} graph */
function look(graph) {
  if (editors.size === 0) return;
  const files = weighedFiles(graph);
  for (const editor of editors) {
    if (editor.node.graph) follow(editor, files.get(editor.node) ?? {});
    else editors.delete(editor);
  }
}

/**
 * @param {Editor} editor
 * @param {Record<string, string>} files
 */
async function follow(editor, files) {
  const query = new URLSearchParams(files).toString();
  if (asked.get(editor) === query && answers.has(query)) return;
  asked.set(editor, query);
  const known = answers.get(query) ?? (query === "" ? Promise.resolve("") : fetchAnswer(query));
  answers.set(query, known);
  const family = await known;
  if (asked.get(editor) === query) editor.follow(family);
}

/** @param {string} query */
async function fetchAnswer(query) {
  try {
    return (await askFile(`/ipadapter/family?${query}`)).family;
  } catch {
    answers.delete(query); // the server is away or busy; the next change asks again
    return "";
  }
}
