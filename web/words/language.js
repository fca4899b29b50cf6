// @ts-check
/** Speaks the user's language: fetches its words, and shows them where the host has no way to. */

// @ts-ignore: served by the host
import { api } from "../../../scripts/api.js";
// @ts-ignore: served by the host
import { app } from "../../../scripts/app.js";
import { translateNotes } from "./example_notes.js";
import { hasWords, labelOf, notes, speak, translated } from "./spoken.js";

const ENGLISH = "en";
/** Errors of this pack, whichever node they come up in. */
const OURS = /^ipadapter\./;

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
    if (!OURS.test(detail?.exception_type ?? "")) return;
    detail.exception_message = translated(detail.exception_message);
  },
  { capture: true },
);

/** The host sets the name of an input before what a node says of it, and this between them. */
const DASH = " - ";

/** What a prompt is refused with, in the user's language. @param {any} errors by node */
function translateRefusals(errors) {
  for (const { class_type: kind, errors: all } of Object.values(errors ?? {})) {
    if (!hasWords(kind) || !Array.isArray(all)) continue;
    for (const one of all) {
      if (typeof one?.details !== "string") continue;
      const dash = one.details.indexOf(DASH);
      const at = dash < 0 ? 0 : dash + DASH.length;
      one.details = `${one.details.slice(0, at)}${translated(one.details.slice(at))}`;
    }
  }
}

/** Before anybody else is told of it. */
function watchQueue() {
  const original = api.queuePrompt;
  /** @type {any} */
  api.queuePrompt = async function (/** @type {any[]} */ ...given) {
    try {
      const reply = await original.apply(this, given);
      translateRefusals(reply?.node_errors);
      return reply;
    } catch (error) {
      translateRefusals(/** @type {any} */ (error)?.response?.node_errors);
      throw error;
    }
  };
}

app.registerExtension({
  name: "ipadapter.language",
  init() {
    watchQueue();
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
