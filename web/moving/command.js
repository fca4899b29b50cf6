// @ts-check
/** The command that turns nodes of ComfyUI_IPAdapter_plus into those of this pack. */

// @ts-ignore: served by the host
import { api } from "../../../scripts/api.js";
// @ts-ignore: served by the host
import { app } from "../../../scripts/app.js";
import { describe } from "./describe.js";
import { kindOf } from "./kinds.js";
import { failure } from "../route.js";
import { beginStep, carryOutAll } from "./one_step.js";
import { plan } from "./plan.js";
import { leftLines, text } from "./texts.js";

const ALL = "IPAdapter.TurnOldNodes";
const SELECTED = "IPAdapter.TurnSelectedNodes";
const LONGEST_WAIT = 30_000;
const SHOWN = 6_000; // milliseconds

function language() {
  return app.extensionManager?.setting?.get?.("Comfy.Locale") ?? "en";
}

/** @param {string} key @param {string | number} [what] */
function say(key, what) {
  return text(language(), key, what);
}

/** @param {any} node */
function isOld(node) {
  return kindOf(node.comfyClass ?? node.type ?? "") !== "";
}

/**
 * @param {Set<any>} [chosen] nodes of the graph that is shown; without, all of all graphs
 */
async function turn(chosen) {
  try {
    await beginStep();
    const { graphs, profiles } = await describeWithAnswers();
    const ids = chosen && new Set([...chosen].map(({ id }) => `${id}`));
    const shown = app.canvas.graph;
    const planned = graphs
      .filter(({ graph }) => !chosen || graph === shown)
      .map(({ graph, nodes }) => ({ graph, nodes, plan: plan(nodes, profiles, ids) }));
    if (planned.some((one) => one.plan.removed.length > 0)) await carryOutAll(planned);
    report(planned.map((one) => one.plan));
  } catch (error) {
    console.error(error);
    tell("error", [say("failed", /** @type {Error} */ (error).message)]);
  }
}

/** The graphs as they are now, with what the server says of the loaders in them. */
async function describeWithAnswers() {
  const root = app.rootGraph ?? app.graph;
  /** @type {any} */
  let answer;
  for (let asked = ""; ; ) {
    const { graphs, questions } = describe(root);
    const question = asText(questions);
    // The graph may have been changed while the server was asked.
    if (question === asked) return { graphs, profiles: share(questions, answer) };
    answer = await askServer(question);
    asked = question;
  }
}

/** @param {import("./describe.js").Question[]} questions */
function asText(questions) {
  const { files, loaders } = sorted(questions);
  return JSON.stringify({
    adapters: files.map(({ name }) => name),
    loaders: loaders.map(({ preset, bases }) => ({ preset, ...oneBase(bases) })),
  });
}

/** @param {import("./describe.js").Question[]} questions */
function sorted(questions) {
  return {
    files: questions.filter(({ name }) => name !== undefined),
    loaders: questions.filter(({ preset }) => preset !== undefined),
  };
}

/** @param {string} body */
async function askServer(body) {
  const reply = await api.fetchApi("/ipadapter/moving", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body,
    signal: AbortSignal.timeout(LONGEST_WAIT),
  });
  if (!reply.ok) throw await failure(reply);
  return reply.json();
}

/**
 * Tell each loader what the server says of it.
 * @param {import("./describe.js").Question[]} questions
 * @param {any} answer
 * @returns {Record<string, import("./plan.js").Profile>}
 */
function share(questions, answer) {
  const { files, loaders } = sorted(questions);
  for (const [place, { node }] of files.entries()) node.about = answer.adapters[place];
  for (const [place, { node }] of loaders.entries()) node.about = answer.loaders[place];
  return answer.profiles;
}

/**
 * What all uses of a subgraph have in common, nothing if they differ.
 * @param {any[]} bases
 */
function oneBase(bases) {
  return new Set(bases.map((one) => JSON.stringify(one))).size === 1 ? bases[0] : {};
}

/** @param {import("./plan.js").Plan[]} plans */
function report(plans) {
  const turned = plans.reduce((sum, { removed }) => sum + removed.length, 0);
  const left = leftLines(language(), plans.flatMap((one) => one.left));
  if (turned === 0 && left.length === 0) return tell("info", [say("none")]);
  const lines = turned > 0 ? [say("turned", turned)] : [];
  if (left.length === 0) return tell("success", lines);
  return tell("warn", [...lines, say("left"), ...left.map((line) => `• ${line}`)]);
}

/**
 * One message; what has to be read stays until it is closed.
 * @param {string} severity
 * @param {string[]} lines
 */
function tell(severity, lines) {
  const short = lines.length === 1 && severity !== "error";
  app.extensionManager.toast.add({
    severity,
    summary: say("title"),
    detail: lines.join("\n"),
    ...(short ? { life: SHOWN } : {}),
  });
}

/** The nodes that are chosen, with the one that was clicked. @param {any} [clicked] */
function chosenWith(clicked) {
  const chosen = new Set(Object.values(app.canvas.selected_nodes ?? {}).filter(isOld));
  return clicked && !chosen.has(clicked) ? new Set([clicked]) : chosen;
}

app.registerExtension({
  name: "ipadapter.moving",
  commands: [
    { id: ALL, icon: "pi pi-sync", label: text("en", "graph"), function: () => turn() },
    {
      id: SELECTED,
      icon: "pi pi-sync",
      label: text("en", "nodes"),
      function: () => turn(chosenWith()),
    },
  ],
  /** @param {any} node */
  getNodeMenuItems(node) {
    if (!isOld(node)) return [];
    return [{ content: say("nodes"), callback: () => turn(chosenWith(node)) }];
  },
  getCanvasMenuItems() {
    const root = app.rootGraph ?? app.graph;
    const all = [root, ...(root?.subgraphs?.values() ?? [])].flatMap((graph) => graph?.nodes ?? []);
    if (!all.some(isOld)) return [];
    return [{ content: say("graph"), callback: () => turn() }];
  },
});
