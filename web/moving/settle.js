// @ts-check
/** Puts new nodes where the old ones were, and lets the groups hold them. */

import { TALLER, TITLE, WIDTH, around, boxOf, contains, freePlace, overlap } from "./free_place.js";

/** @typedef {import("./free_place.js").Box} Box */

/** Room for what a node says of itself as soon as it is there. @type {Record<string, number>} */
const TEXTS = { IPALoadAdapter: 100 };

/**
 * @param {any} graph
 * @param {import("./plan.js").Plan} plan
 * @param {Map<string, any>} made
 */
export function settle(graph, plan, made) {
  const fresh = new Set(made.values());
  const gone = new Set(plan.removed.map((id) => graph.getNodeById(id)));
  const stay = (graph.nodes ?? graph._nodes).filter(
    (/** @type {any} */ node) => !fresh.has(node) && !gone.has(node),
  );
  /** @type {Box[]} */
  const taken = stay.map(boxOf);
  // Those that take an old node's place come first, the others find room around them.
  const order = [...plan.made].sort((one, other) => Number(!!other.heir) - Number(!!one.heir));
  for (const one of order) {
    const node = made.get(one.key);
    const old = anchor(graph, one, made);
    const groups = groupsOf(graph).filter((group) => contains(group.box, boxOf(old)));
    const others = groupsOf(graph).filter((group) => !groups.some((own) => own.of === group.of));
    const walls = others.map((group) => group.box);
    const [least, most] = node.computeSize();
    const width = Math.max(least, WIDTH);
    const height = most + (TEXTS[one.type] ?? 0);
    node.setSize([width, height]);
    /** @type {[number, number]} */
    const wanted = [old.pos[0], old.pos[1] - TITLE];
    const place = freePlace(
      wanted,
      [width, height + TITLE + TALLER],
      [...taken, ...walls],
      groups.map((group) => group.box),
    );
    node.pos = [place[0], place[1] + TITLE];
    const [x, y, across, down] = boxOf(node);
    taken.push([x, y, across, down + TALLER]);
    for (const group of groups) stretch(group, boxOf(node), [...stay.map(boxOf), ...walls]);
  }
}

/**
 * The old node, or the new one that a converter serves where the old one is in another graph.
 * @param {any} graph
 * @param {import("./plan.js").Made} one
 * @param {Map<string, any>} made
 */
function anchor(graph, one, made) {
  const old = graph.getNodeById(one.key.split("/")[0]);
  if (old) return old;
  const node = made.get(one.key);
  const taker = graph.getNodeById(firstTaker(graph, node));
  return taker ?? { pos: [0, 0], size: [0, 0] };
}

/**
 * @param {any} graph
 * @param {any} node
 */
function firstTaker(graph, node) {
  const id = node.outputs?.flatMap((/** @type {any} */ one) => one.links ?? [])[0];
  return (graph.getLink?.(id) ?? graph.links?.[id])?.target_id;
}

/** @param {any} graph @returns {{ of: any, box: Box }[]} */
function groupsOf(graph) {
  const all = graph.groups ?? graph._groups ?? [];
  return all.map((/** @type {any} */ of) => ({ of, box: [...of.pos, ...of.size] }));
}

/**
 * Make a group hold a new node too, unless it would take in what does not belong to it.
 * @param {{ of: any, box: Box }} group
 * @param {Box} box
 * @param {Box[]} others
 */
function stretch(group, box, others) {
  if (contains(group.box, box)) return;
  const wider = around(group.box, box);
  const outside = others.filter((other) => !overlap(group.box, other));
  if (outside.some((other) => overlap(wider, other))) return;
  group.of.pos = [wider[0], wider[1]];
  group.of.size = [wider[2], wider[3]];
  group.box = wider;
}
