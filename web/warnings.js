// @ts-check
/** Warns on a node, before a run, when model, encoder and adapter do not go together. */

// @ts-ignore: served by the host
import { app } from "../../scripts/app.js";
import { watchGraph } from "./graph_watch.js";
import { places } from "./places.js";
import { FileAnswers } from "./route.js";
import { combinations } from "./workflow_graph.js";
import { buttons } from "./mending/carry_out.js";
import { soon as lookAtFailures } from "./mending/failures.js";
import { offers } from "./mending/offers.js";
import { hide, show } from "./note.js";

/**
 * What is wrong, and what can be done about each.
 * @typedef {{ text: string[], mends: import("./mending/offers.js").Mend[][] }} Answer
 */

const KIND = "warning";

/** What each node was last asked about. @type {WeakMap<any, string>} */
const asked = new WeakMap();
const answers = new FileAnswers("/ipadapter/check", { text: [], mends: [] });

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
  /** @type {Answer[]} */
  const found = await Promise.all(queries.map((query) => answers.ask(query)));
  if (asked.get(node) !== question) return; // something else is connected meanwhile
  const lines = [...new Set(found.flatMap(({ text }) => text))];
  const mends = found.flatMap((one) => one.mends ?? []).flat();
  if (lines.length === 0) hide(node, KIND);
  else show(node, KIND, lines.map((line) => `⚠ ${line}`), { buttons: offered(node, mends) });
  lookAtFailures();
}

/**
 * @param {any} node
 * @param {import("./mending/offers.js").Mend[]} mends
 */
function offered(node, mends) {
  // A subgraph that is used twice has two places for its node, and one set of widgets.
  const place = [...places(app.rootGraph ?? app.graph)].find((one) => one.node === node);
  return place ? buttons(offers(place, mends), () => {}) : [];
}
