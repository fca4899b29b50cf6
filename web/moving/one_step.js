// @ts-check
/** Plans carried out on the live graphs of the host, as one step of undo. */

// @ts-ignore: served by the host
import { app } from "../../../scripts/app.js";
import { remember } from "../node_widgets.js";
import { carryOut } from "./carry_out.js";

const SQUASHED = 120; // milliseconds, with some to spare
/** How often the sizes of all nodes are looked at until they stay. */
const PAUSE = 40; // milliseconds
const ALIKE = 10;
const MOST_LOOKS = 50;

/** What follows is a step by itself; for 50 ms the host counts it to the one before. */
export async function beginStep() {
  remember();
  await pause(SQUASHED);
}

/**
 * One step of undo for all graphs. If something goes wrong on the way, the graph is as it was.
 * @param {{ graph: any, nodes: any[], plan: import("./plan.js").Plan }[]} planned
 * @param {typeof import("./settle.js").settle} [place] puts new nodes where they are to be
 */
export async function carryOutAll(planned, place) {
  const { LiteGraph } = /** @type {any} */ (globalThis);
  const shown = app.canvas.graph;
  const before = JSON.parse(JSON.stringify((app.rootGraph ?? app.graph).serialize()));
  shown.beforeChange();
  try {
    for (const { graph, nodes, plan: one } of planned) {
      if (one.removed.length === 0) continue;
      carryOut(graph, nodes, one, (type) => LiteGraph.createNode(type), place);
    }
  } catch (error) {
    await app.loadGraphData(before, false, true, app.extensionManager.workflow.activeWorkflow);
    throw error;
  } finally {
    await settled(planned.map(({ graph }) => graph));
    shown.afterChange();
    remember();
    app.canvas.setDirty(true, true);
  }
}

/**
 * Nodes find their size after they were added, which belongs to the same step of undo.
 * @param {any[]} graphs
 */
async function settled(graphs) {
  let before = "";
  for (let alike = 0, looks = 0; alike < ALIKE && looks < MOST_LOOKS; looks++) {
    await pause(PAUSE);
    const sizes = graphs.flatMap(({ nodes }) => nodes.map(({ size }) => [...size]));
    const now = JSON.stringify(sizes);
    alike = now === before ? alike + 1 : 0;
    before = now;
  }
}

/** @param {number} time */
function pause(time) {
  return new Promise((resolve) => setTimeout(resolve, time));
}
