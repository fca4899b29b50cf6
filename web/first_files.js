// @ts-check
/** Says on nodes that need files which to get, as long as there are none; nothing has to be run. */

// @ts-ignore: served by the host
import { app } from "../../scripts/app.js";
import { aboutLines, openLines } from "./about_text.js";
import { hide, isShown, show } from "./note.js";
import { askFile } from "./route.js";

const KIND = "about";
const NOTHING_YET = "To begin with, get these files and press R:";
const FIRST_FILES = "/ipadapter/about";
const FIRST_FACE_PACK = "/ipadapter/about?of=faces";
const REPORT = "/ipadapter/doctor";
/** What each kind of node asks. */
const QUESTIONS = new Map([
  ["IPASimple", FIRST_FILES],
  ["IPAStyleComposition", FIRST_FILES],
  ["IPARegional", FIRST_FILES],
  ["IPALoadForModel", FIRST_FILES],
  ["IPALoadEncoder", FIRST_FILES],
  ["IPALoadFaceModels", FIRST_FACE_PACK],
  ["IPADoctor", REPORT],
]);

/** Nodes in any graph that say it. @type {Set<any>} */
const asking = new Set();
/** Those whose text is of before a run. @type {WeakSet<any>} */
const ours = new WeakSet();

/** @param {any} node */
async function ask(node) {
  const question = QUESTIONS.get(node.comfyClass) ?? FIRST_FILES;
  const answer = await askFile(question).catch(() => null);
  // What a run has said is of more use.
  if (!answer || !asking.has(node) || (isShown(node, KIND) && !ours.has(node))) return;
  const lines = aboutLines(answer);
  ours.add(node);
  if (lines.length === 0) hide(node, KIND);
  else if (question === REPORT) show(node, KIND, lines, { open: openLines(lines) });
  else show(node, KIND, [NOTHING_YET, ...lines]);
}

app.registerExtension({
  name: "ipadapter.first_files",
  /** @param {any} node */
  nodeCreated(node) {
    if (!QUESTIONS.has(node.comfyClass)) return;
    const removed = node.onRemoved;
    node.onRemoved = function () {
      asking.delete(this);
      return removed?.apply(this, arguments);
    };
    const executed = node.onExecuted;
    node.onExecuted = function () {
      ours.delete(this);
      return executed?.apply(this, arguments);
    };
    asking.add(node);
    ask(node);
  },
  refreshComboInNodes() {
    for (const node of asking) ask(node);
  },
});
