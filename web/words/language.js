// @ts-check
/** Speaks the user's language: fetches its words, and shows them where the host has no way to. */

// @ts-ignore: served by the host
import { api } from "../../../scripts/api.js";
// @ts-ignore: served by the host
import { app } from "../../../scripts/app.js";
import { translateNotes } from "./example_notes.js";
import { isOurError, isOurNode } from "../mending/sentences.js";
import { watchQueue } from "../queue_watch.js";
import { humanise } from "./refusals.js";
import { hasWords, labelOf, notes, speak, translated } from "./spoken.js";

const ENGLISH = "en";

/** What was asked for last, and the answer. */
let wanted = ENGLISH;
/** @type {Promise<void>} */
let ready = Promise.resolve();

/** The words of the language that is set now; no text is shown before they are there. */
function learn() {
  const language = app.extensionManager?.setting?.get?.("Comfy.Locale") ?? ENGLISH;
  if (language !== wanted) {
    wanted = language;
    ready = language === ENGLISH ? Promise.resolve(speak()) : fetchWords(language);
  }
  return ready;
}

/** @param {string} language */
async function fetchWords(language) {
  try {
    const reply = await api.fetchApi(`/ipadapter/words?language=${encodeURIComponent(language)}`);
    if (!reply.ok) throw new Error(`${reply.status}`);
    const table = await reply.json();
    if (language === wanted) speak(table.sentences ? table : undefined);
  } catch (error) {
    console.warn("The words of IP-Adapter nodes in this language are missing.", error);
    speak();
    wanted = ENGLISH; // the next graph asks again
  }
}

/**
 * Combo boxes go on to hold the values that are sent and saved; they show what these mean.
 * @param {any} node
 */
function labelChoices(node) {
  for (const widget of node.widgets ?? []) {
    if (widget.type !== "combo" || !widget.options || widget.options.getOptionLabel) continue;
    widget.options.getOptionLabel = (/** @type {string | null | undefined} */ value) =>
      value == null ? "" : (labelOf(value) ?? value);
  }
}

// First of all who listen, so that the host's own message says it in the user's language too.
api.addEventListener(
  "execution_error",
  (/** @type {any} */ { detail }) => {
    if (!isOurError(detail?.exception_type)) return;
    detail.exception_message = translated(detail.exception_message);
  },
  { capture: true },
);

/** What a prompt is refused with, as a person reads it. @param {any} errors by node */
function tellRefusals(errors) {
  for (const { class_type: kind, errors: all } of Object.values(errors ?? {})) {
    if (!isOurNode(kind) || !Array.isArray(all)) continue;
    for (const one of all) humanise(one, inputsOf(kind), translated);
  }
}

/** Names of a node's inputs. @param {string} kind @returns {string[]} */
function inputsOf(kind) {
  const given = /** @type {any} */ (globalThis).LiteGraph?.registered_node_types?.[kind]?.nodeData?.input;
  return [...Object.keys(given?.required ?? {}), ...Object.keys(given?.optional ?? {})];
}

app.registerExtension({
  name: "ipadapter.language",
  init() {
    watchQueue(() => tellRefusals); // before anybody else is told of it
    return learn();
  },
  /** The host makes all nodes anew when another language is chosen. @param {any} graph */
  async beforeConfigureGraph(graph) {
    await learn();
    translateNotes(graph, notes());
  },
  /** @param {any} node */
  nodeCreated(node) {
    if (hasWords(node.comfyClass)) labelChoices(node);
  },
});
