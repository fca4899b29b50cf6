// @ts-check
/**
 * Puts the nodes that one stood for in its place, in columns from left to right; no app, no DOM.
 *
 * They need more room than it had, so that what is to its right moves on to the right, and what is
 * below them moves down. What is to its left stays.
 */

import { TALLER, TITLE, WIDTH } from "../moving/free_place.js";

/**
 * @typedef {import("../moving/plan.js").Plan} Plan
 * @typedef {import("../moving/plan.js").Made} Made
 */

const ACROSS = 60;
const DOWN = 30;
/** Room for what a node says of itself after a run. @type {Record<string, number>} */
const TEXTS = { IPALoadForModel: 120, IPAEncodeImage: 90, IPAEncodeFace: 40, IPALoadFaceModels: 120 };

/**
 * @param {any} graph
 * @param {Plan} plan
 * @param {Map<string, any>} made
 */
export function spread(graph, plan, made) {
  for (const id of plan.removed) {
    const own = plan.made.filter(({ key }) => key.startsWith(`${id}/`));
    const gone = new Set([graph.getNodeById(id), ...own.map(({ key }) => made.get(key))]);
    const others = (graph.nodes ?? graph._nodes).filter((/** @type {any} */ one) => !gone.has(one));
    place(graph, graph.getNodeById(id), columns(own), made, others);
  }
}

/**
 * The nodes of each column: each stands right before the first that takes what it gives.
 * @param {Made[]} all
 * @returns {Made[][]}
 */
export function columns(all) {
  /** @param {Made} one @returns {number} steps to the last */
  const steps = ({ key }) => {
    const takers = all.filter(({ links }) =>
      Object.values(links).some((from) => "made" in from && from.made === key),
    );
    return takers.length === 0 ? 0 : 1 + Math.max(...takers.map(steps));
  };
  const numbers = all.map(steps);
  const last = Math.max(...numbers);
  return Array.from({ length: last + 1 }, (_, column) =>
    all.filter((_one, index) => numbers[index] === last - column),
  );
}

/**
 * @param {any} graph
 * @param {any} old
 * @param {Made[][]} order
 * @param {Map<string, any>} made
 * @param {any[]} others
 */
function place(graph, old, order, made, others) {
  const [left, top] = old.pos;
  const before = { right: left + old.size[0], bottom: top + old.size[1] };
  let x = left;
  let bottom = before.bottom;
  for (const column of order) {
    let [y, width] = [top, 0];
    for (const one of column) {
      const node = made.get(one.key);
      const [least, height] = node.computeSize();
      node.setSize([Math.max(least, WIDTH), height]);
      node.pos = [x, y];
      width = Math.max(width, node.size[0]);
      y += height + TALLER + (TEXTS[one.type] ?? 0) + TITLE + DOWN;
    }
    x += width + ACROSS;
    bottom = Math.max(bottom, y - TITLE - DOWN);
  }
  const right = Math.max(x - ACROSS, before.right);
  makeRoom(graph, others, before, right - before.right, bottom - before.bottom, old);
}

/**
 * @param {any} graph
 * @param {any[]} others
 * @param {{ right: number, bottom: number }} before
 * @param {number} across
 * @param {number} down
 * @param {any} old
 */
function makeRoom(graph, others, before, across, down, old) {
  const groups = graph.groups ?? graph._groups ?? [];
  for (const group of groups) {
    const [x, y] = group.pos;
    const [width, height] = group.size;
    const around =
      x <= old.pos[0] && y <= old.pos[1] && x + width >= before.right && y + height >= before.bottom;
    if (around) group.size = [width + across, height + down];
  }
  for (const one of [...others, ...groups]) {
    const [x, y] = one.pos;
    const above = groups.includes(one) ? 0 : TITLE;
    if (x >= before.right) one.pos = [x + across, y];
    else if (x + one.size[0] > old.pos[0] && y - above >= before.bottom) one.pos = [x, y + down];
  }
}
