// @ts-check
/** Shows the inputs that only adapters for faces have where there may be one. */

import { watchGraph } from "../graph_watch.js";
import { findWidget, isLinked } from "../node_widgets.js";
import { FileAnswers } from "../route.js";
import { isChanged, keepingRest } from "./advanced.js";
import { adaptersOf } from "./face_adapters.js";

const NAMES = ["face_structure", "face_lora_strength"];

/** Whether an adapter reads faces; where it is not known it may. */
const answers = new FileAnswers("/ipadapter/family", {});
/** What each node was last asked about. @type {WeakMap<any, string>} */
const asked = new WeakMap();

watchGraph(
  "ipadapter.face",
  (graph) => {
    for (const [node, known] of adaptersOf(graph)) follow(node, known);
  },
  () => answers.clear(),
);

/**
 * @param {any} node
 * @param {Record<string, string> | null} known see `adaptersOf`
 */
async function follow(node, known) {
  const question = known && new URLSearchParams(known).toString();
  asked.set(node, `${question}`);
  const wanted = question === null || (question !== "" && (await answers.ask(`${question}`)).face !== false);
  if (asked.get(node) === `${question}`) offer(node, wanted);
}

/**
 * @param {any} node
 * @param {boolean} wanted
 */
function offer(node, wanted) {
  const widgets = NAMES.map((name) => findWidget(node, name)).filter(Boolean);
  // What somebody has set is to be seen.
  const hidden = widgets.map((one) => !wanted && !isLinked(node, one.name) && !isChanged(node, one));
  if (widgets.every((one, i) => Boolean(one.hidden) === hidden[i])) return;
  keepingRest(node, () => widgets.forEach((one, i) => hide(one, hidden[i])));
}

/**
 * @param {any} widget
 * @param {boolean} hidden
 */
function hide(widget, hidden) {
  widget.hidden = hidden;
  // Nodes 2.0 watches the state, and notices nothing of what was changed beside it before.
  if (widget._state?.options) widget._state.options.hidden = hidden;
  widget.options.hidden = hidden;
}
