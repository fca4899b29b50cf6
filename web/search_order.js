// @ts-check
/** Both dialogs that search nodes, and the library, ask one service of the front end. */

// @ts-ignore: served by the host
import { app } from "../../scripts/app.js";
import { firstFor } from "./first_found.js";
import { nodeDefs } from "./old_search.js";

app.registerExtension({
  name: "ipadapter.searchOrder",
  setup() {
    const service = nodeDefs()?.nodeSearchService;
    if (service?.searchNode === undefined) return;
    // Each change of the list of nodes makes a new service.
    const shared = Object.getPrototypeOf(service);
    const search = shared.searchNode;
    /**
     * @param {string} query
     * @param {any[]} filters
     * @param {{ limit?: number }} [options]
     * @param {any[]} more
     */
    shared.searchNode = function (query, filters, options, ...more) {
      const found = search.call(this, query, filters, { ...options, limit: undefined }, ...more);
      return firstFor(query, found).slice(0, options?.limit);
    };
  },
});
