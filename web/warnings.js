// @ts-check
/** Warns on a node, before a run, when model, encoder and adapter do not go together. */

import { watchGraph } from "./graph_watch.js";
import { askFile } from "./route.js";
import { combinations } from "./workflow_graph.js";
import { hide, show } from "./note.js";

const KIND = "warning";

/** What each node was last asked about. @type {WeakMap<any, string>} */
const asked = new WeakMap();
/** Answers of the server. @type {Map<string, Promise<string[]>>} */
const answers = new Map();

watchGraph(
  "ipadapter.warnings",
  (graph) => {
    for (const [node, known] of combinations(graph)) check(node, known);
  },
  (graph) => {
    answers.clear();
    for (const [node] of combinations(graph)) asked.delete(node);
  },
);

/**
 * @param {any} node
 * @param {Record<string, string>[]} known
 */
async function check(node, known) {
  const queries = known.map((one) => new URLSearchParams(one).toString());
  const question = queries.join(" ");
  if (asked.get(node) === question && queries.every((query) => answers.has(query))) return;
  asked.set(node, question);
  const lines = [...new Set((await Promise.all(queries.map(ask))).flat())];
  if (asked.get(node) !== question) return; // something else is connected meanwhile
  if (lines.length > 0) show(node, KIND, lines.map((line) => `⚠ ${line}`));
  else hide(node, KIND);
}

/**
 * @param {string} query
 * @returns {Promise<string[]>}
 */
function ask(query) {
  const known = answers.get(query) ?? fetchAnswer(query);
  answers.set(query, known);
  return known;
}

/** @param {string} query */
async function fetchAnswer(query) {
  try {
    return (await askFile(`/ipadapter/check?${query}`)).text;
  } catch {
    answers.delete(query); // the server is away or busy; the next change asks again
    return [];
  }
}
