// @ts-check
/** Shows on a node the sentence its run stopped with, until it is mended. */

// @ts-ignore: served by the host
import { api } from "../../../scripts/api.js";
// @ts-ignore: served by the host
import { app } from "../../../scripts/app.js";
import { watchGraph } from "../graph_watch.js";
import { hide, holds, show } from "../note.js";
import { watchQueue } from "../queue_watch.js";
import { buttons } from "./carry_out.js";
import { offers, sameNames } from "./offers.js";
import { failed, refused } from "./sentences.js";
import { translated } from "../words/spoken.js";
import { placeOf, signature } from "./upstream.js";

/**
 * @typedef {import("./sentences.js").Said & { before: string }} Failure
 * @typedef {import("./offers.js").Mend} Mend
 */

export const KIND = "failure";
const MOST_KNOWN = 64;
const ENDINGS = ["execution_success", "execution_error", "execution_interrupted"];

/** By workflow, of which several may be open, and in it by node. @type {WeakMap<object, Map<string, Failure>>} */
const failures = new WeakMap();
/** Where a prompt came from, and which nodes it has. @type {Map<string, { workflow: object, ids: string[] }>} */
const queued = new Map();
/** What came of a prompt before the answer to it: a quick run has ended by then. @type {Map<string, (() => void)[]>} */
const early = new Map();
/** What can be done, by sentence. @type {Map<string, Mend[]>} */
const mends = new Map();
/** What was shown on a node. @type {WeakMap<any, string>} */
const texts = new WeakMap();
/** Nodes that show a sentence. @type {Set<any>} */
const showing = new Set();

/** Look soon whether what is said still holds. */
export const soon = watchGraph("ipadapter.failures", refresh, forgetFiles);

/** @param {any} root */
function refresh(root) {
  const shown = new Set(root ? [...known().values()].flatMap((one) => display(root, one)) : []);
  for (const node of showing) if (!shown.has(node)) hide(node, KIND);
  showing.clear();
  for (const node of shown) showing.add(node);
}

/**
 * @param {any} root
 * @param {Failure} failure
 * @returns {any[]} the nodes that show it
 */
function display(root, failure) {
  const place = placeOf(root, failure.id);
  if (!place || (failure.kind && place.node.comfyClass !== failure.kind)) return [];
  failure.before ||= signature(place);
  if (signature(place) !== failure.before) return [];
  const given = mends.get(translated(failure.text)) ?? sameNames(place);
  const offered = buttons(offers(place, given), soon);
  const lines = failure.text.split("\n").map((line) => `⚠ ${line}`);
  // The node of a subgraph is seen only by who opens it.
  const nodes = [place.node, ...place.path.slice(0, 1)];
  const free = nodes.filter((node) => !lines.every((line) => holds(node, "warning", line)));
  for (const node of free) put(node, lines, offered);
  return free;
}

/**
 * Show a sentence, unless it is shown already: whoever is about to press a button keeps it.
 * @param {any} node
 * @param {string[]} lines
 * @param {import("../note.js").Button[]} offered
 */
function put(node, lines, offered) {
  const text = JSON.stringify([lines, offered]);
  if (showing.has(node) && texts.get(node) === text) return;
  texts.set(node, text);
  show(node, KIND, lines, { buttons: offered });
}

function workflow() {
  return app.extensionManager?.workflow?.activeWorkflow ?? app;
}

/** @param {object} [of] */
function known(of = workflow()) {
  const found = failures.get(of) ?? new Map();
  failures.set(of, found);
  return found;
}

/**
 * @param {object} of
 * @param {import("./sentences.js").Said} said
 */
function note(of, said) {
  known(of).set(said.id, { ...said, before: "" });
}

/**
 * @param {object} of
 * @param {any} errors
 */
function noteRefusals(of, errors) {
  const all = known(of);
  for (const [id, one] of all) if (one.refused) all.delete(id);
  for (const said of refused(errors)) note(of, said);
  soon();
}

function forgetFiles() {
  const all = known();
  for (const [id, one] of all) if (one.ofFiles) all.delete(id);
}

/**
 * Nodes that ran, or need not, are mended.
 * @param {any} detail
 * @param {boolean} whole whether all of the prompt did
 */
function pass(detail, whole) {
  const prompt = queued.get(detail?.prompt_id);
  if (!prompt) keep(early, detail?.prompt_id, [...(early.get(detail?.prompt_id) ?? []), () => pass(detail, whole)]);
  const all = known(prompt?.workflow);
  const ids = [...(detail?.executed ?? []), ...(detail?.nodes ?? []), ...(whole ? (prompt?.ids ?? []) : [])];
  for (const id of ids) all.delete(`${id}`);
}

/**
 * @param {Map<any, any>} map
 * @param {any} key
 * @param {any} value
 */
function keep(map, key, value) {
  map.set(key, value);
  if (map.size > MOST_KNOWN) map.delete(map.keys().next().value);
}

/** @param {any[]} given what is sent @returns {import("../queue_watch.js").Answered} */
function sending(given) {
  const of = workflow();
  const ids = given[2]?.partialExecutionTargets ? [] : Object.keys(given[1]?.output ?? {});
  return (errors, reply) => {
    if (reply?.prompt_id) {
      keep(queued, reply.prompt_id, { workflow: of, ids });
      for (const again of early.get(reply.prompt_id) ?? []) again();
      early.delete(reply.prompt_id);
    }
    noteRefusals(of, errors);
  };
}

app.registerExtension({
  name: "ipadapter.mending",
  setup() {
    watchQueue(sending);
    // It comes before the error it belongs to.
    api.addEventListener("ipadapter.mends", (/** @type {any} */ { detail }) => {
      if (typeof detail?.text !== "string") return;
      keep(mends, translated(detail.text), detail.mends);
      soon(); // a refusal may be here already
    });
    api.addEventListener("execution_cached", (/** @type {any} */ { detail }) => pass(detail, false));
    for (const event of ENDINGS) {
      api.addEventListener(event, (/** @type {any} */ { detail }) => {
        pass(detail, event === "execution_success");
        const said = event === "execution_error" ? failed(detail) : undefined;
        if (said) note(queued.get(detail.prompt_id)?.workflow ?? workflow(), said);
        soon();
      });
    }
  },
});
