// @ts-check
/** The command that turns a node into the single nodes it stands for. */

// @ts-ignore: served by the host
import { app } from "../../../scripts/app.js";
import { describe } from "../moving/describe.js";
import { beginStep, carryOutAll } from "../moving/one_step.js";
import { places } from "../places.js";
import { askFile } from "../route.js";
import { baseOf } from "../workflow_graph.js";
import { translated } from "../words/spoken.js";
import { readsFaces, unfolded, unfolds } from "./plan.js";
import { spread } from "./spread.js";

const UNFOLD = "IPAdapter.Unfold";
const LABEL = "Unfold into single nodes";
const SHOWN = 6_000; // milliseconds

/** @param {any} node */
function isFolded(node) {
  return unfolds(node?.comfyClass ?? node?.type ?? "");
}

/** @param {any[]} chosen nodes of the graph that is shown */
async function unfold(chosen) {
  const ids = new Set(chosen.map(({ id }) => `${id}`));
  if (ids.size === 0) return tell("info", "Choose a node like IPAdapter Simple first.");
  try {
    await beginStep();
    const packs = await facePacks(ids);
    const shown = app.canvas.graph;
    const here = describe(app.rootGraph ?? app.graph).graphs.find(({ graph }) => graph === shown);
    if (!here) return;
    const plan = unfolded(here.nodes, ids, packs);
    if (plan.removed.length > 0) await carryOutAll([{ ...here, plan }], spread);
    for (const { title } of plan.left) {
      tell("warn", `${title}: kind comes by a link, so the nodes for it cannot be told.`);
    }
  } catch (error) {
    console.error(error);
    tell("error", `Nothing was changed: ${/** @type {Error} */ (error).message}`);
  }
}

/**
 * The face models that a run would find, for the nodes that need some.
 * @param {Set<string>} ids
 */
async function facePacks(ids) {
  /** @type {Map<string, string>} */
  const packs = new Map();
  for (const place of places(app.rootGraph ?? app.graph)) {
    const { node } = place;
    const kind = node.widgets?.find((/** @type {any} */ one) => one.name === "kind")?.value;
    const asked = node.graph === app.canvas.graph && ids.has(`${node.id}`);
    if (!asked || packs.has(`${node.id}`) || !readsFaces({ values: { kind } })) continue;
    const query = new URLSearchParams(baseOf(place, "model"));
    packs.set(`${node.id}`, (await askFile(`/ipadapter/faces?${query}`)).pack);
  }
  return packs;
}

/**
 * @param {string} severity
 * @param {string} detail
 */
function tell(severity, detail) {
  app.extensionManager.toast.add({
    severity,
    summary: translated(LABEL),
    detail: translated(detail),
    ...(severity === "error" ? {} : { life: SHOWN }),
  });
}

/** The nodes that are chosen, with the one that was clicked. @param {any} [clicked] */
function chosenWith(clicked) {
  const chosen = Object.values(app.canvas.selected_nodes ?? {}).filter(isFolded);
  return clicked && !chosen.includes(clicked) ? [clicked] : chosen;
}

app.registerExtension({
  name: "ipadapter.unfold",
  commands: [
    {
      id: UNFOLD,
      icon: "pi pi-sitemap",
      label: LABEL,
      function: () => unfold(chosenWith()),
    },
  ],
  /** @param {any} node */
  getNodeMenuItems(node) {
    if (!isFolded(node)) return [];
    return [{ content: translated(LABEL), callback: () => unfold(chosenWith(node)) }];
  },
});
