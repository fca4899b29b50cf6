// @ts-check
/** Tells each editor of weights which family of models its weights go to. */

import { watchGraph } from "./graph_watch.js";
import { FileAnswers } from "./route.js";
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
const answers = new FileAnswers("/ipadapter/family", { family: "" });

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
  if (asked.get(editor) === query && (query === "" || answers.has(query))) return;
  asked.set(editor, query);
  const { family } = query === "" ? answers.unknown : await answers.ask(query);
  if (asked.get(editor) === query) editor.follow(family);
}
