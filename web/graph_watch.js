// @ts-check
/** Looks at the whole graph after it has changed. */

// @ts-ignore: served by the host
import { api } from "../../scripts/api.js";
// @ts-ignore: served by the host
import { app } from "../../scripts/app.js";

/**
 * Look at the graph once in the next frame, however much changes until then.
 * @param {string} name of the extension that does
 * @param {(graph: any) => void} look with all subgraphs, undefined until there is one
 * @param {(graph: any) => void} forget what the server said: R was pressed, other files may be there
 * @returns {() => void} look soon without a change
 */
export function watchGraph(name, look, forget) {
  let due = false;
  const soon = () => {
    if (due) return;
    due = true;
    requestAnimationFrame(() => {
      due = false;
      look(wholeGraph());
    });
  };
  app.registerExtension({
    name,
    setup() {
      api.addEventListener("graphChanged", soon);
      // In Nodes 2.0 the host notices what was chosen in a list only with the event after it.
      window.addEventListener("click", soon, true);
    },
    afterConfigureGraph: soon,
    refreshComboInNodes() {
      forget(wholeGraph());
      soon();
    },
  });
  return soon;
}

/** The graph with all subgraphs, undefined until there is one. */
function wholeGraph() {
  return app.isGraphReady === false ? undefined : (app.rootGraph ?? app.graph);
}
