/**
 * A graph from the standard input, planned as the editor would: old nodes by id with their type,
 * values and links [id, output]. Answers with the graph afterwards, in the same form, and what is
 * left with the reasons.
 */

import { readFileSync } from "node:fs";

import { beginning, plan } from "../../web/moving/plan.js";

const { graph, profiles, chosen } = JSON.parse(readFileSync(0, "utf-8"));
const entries = Object.entries(graph);
const nodes = entries.map(([id, { type, values = {}, links = {}, about }]) => ({
  id,
  type,
  title: id,
  values,
  about,
  fed: Object.fromEntries(
    Object.entries(links).map(([name, [from, slot]]) => [
      name,
      { id: from, slot, type: graph[from].type },
    ]),
  ),
  uses: entries.flatMap(([taker, other]) =>
    Object.entries(other.links ?? {})
      .filter(([, [from]]) => from === id)
      .map(([name, [, slot]]) => ({ id: taker, slot, type: other.type, name })),
  ),
}));
const byId = new Map(nodes.map((node) => [node.id, node]));
const found = plan(nodes, profiles, chosen ? new Set(chosen) : undefined);

/** A link as [id, output]; outputs of new nodes by name. */
function written(from) {
  const start = beginning(from, found, byId);
  if ("made" in start) return [start.made, start.output];
  if (!("of" in start)) return [start.id, start.slot];
  const { id, slot } = byId.get(start.of).fed[start.input];
  return [id, slot];
}

const after = {};
for (const [id, node] of entries) {
  if (found.removed.includes(id)) continue;
  const links = Object.entries(node.links ?? {}).map(([name, [from, slot]]) => {
    const end = found.outputs.find((one) => one.id === from && one.slot === slot);
    if (!end && found.removed.includes(from)) throw new Error(`${name} of ${id} hangs in the air`);
    return [name, end ? written(end.from) : [from, slot]];
  });
  after[id] = { ...node, links: Object.fromEntries(links) };
}
for (const { key, type, values, links } of found.made) {
  const ends = Object.entries(links).map(([name, from]) => [name, written(from)]);
  after[key] = { type, values, links: Object.fromEntries(ends) };
}
process.stdout.write(JSON.stringify({ graph: after, left: found.left }));
