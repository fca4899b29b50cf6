// @ts-check
/** All nodes of a graph and of the subgraphs in it; no app, no DOM. */

/**
 * A node, and the subgraph nodes it lies in, the outermost first.
 * @typedef {{ node: any, path: any[] }} Place
 */

/** Levels of subgraphs in subgraphs that are looked at. */
const MOST_LEVELS = 64;
/** Nodes that are looked at again because their subgraph is used again. */
const MOST_AGAIN = 20_000;

/**
 * All nodes, those of subgraphs once for each use.
 *
 * Uses inside of one another multiply, so that there is an end: each subgraph is looked into, but
 * not again when very many nodes were looked at again already.
 * @param {any} graph
 * @returns {Iterable<Place>}
 */
export function* places(graph) {
  const seen = new Set([graph]);
  let again = 0;
  /** @type {{ nodes: Iterator<any>, path: any[] }[]} */
  const levels = [{ nodes: nodesOf(graph).values(), path: [] }];
  while (levels.length > 0) {
    const { nodes, path } = levels[levels.length - 1];
    const { value: node, done } = nodes.next();
    if (done) {
      levels.pop();
      continue;
    }
    yield { node, path };
    const inside = node.subgraph;
    if (!inside || levels.length > MOST_LEVELS || path.some((one) => one.subgraph === inside)) continue;
    if (seen.has(inside)) again += 1 + nodesOf(inside).length;
    if (seen.has(inside) && again > MOST_AGAIN) continue;
    seen.add(inside);
    levels.push({ nodes: nodesOf(inside).values(), path: [...path, node] });
  }
}

/** @param {any} graph @returns {any[]} */
function nodesOf(graph) {
  return graph?.nodes ?? graph?._nodes ?? [];
}
