// @ts-check
/**
 * Brings the old nodes of a saved graph into the form of today, by the server's table of rules; no
 * app, no DOM, so that Node can test it.
 *
 * Values that a graph lacks at the end of a node's list are left out: the editor leaves those
 * widgets at their defaults.
 */

/**
 * @typedef {{ name: string, default: any, texts: Record<string, string> }} Widget
 * @typedef {{ old: string, new: string, named: string[], values: string[][],
 *   inputs: Record<string, string> }} Rename
 * @typedef {{ pack: string, packs: string[], renames: Rename[],
 *   outputs: Record<string, Record<string, string>>, widgets: Record<string, Widget[]>,
 *   forced: string }} Table
 */

/**
 * Change the nodes of a graph in place, before the editor reads it.
 * @param {any} graph as it is saved
 * @param {Table} table
 */
export function renew(graph, table) {
  for (const part of parts(graph)) correctTypes(part, table.outputs);
  for (const node of parts(graph).flatMap(nodesOf)) {
    const rule = table.renames.find((each) => isOldForm(node, each));
    if (rule) rename(node, rule);
    const widgets = Object.hasOwn(table.widgets, node.type) ? table.widgets[node.type] : null;
    if (!widgets) continue;
    correctList(node.widgets_values, widgets);
    correctNamed(node.widgets_values_named, widgets);
    claim(node.properties, table);
  }
}

/**
 * The graph, its subgraphs, and its groups that early editors saved as one node.
 * @param {any} graph
 * @returns {any[]}
 */
function parts(graph) {
  const groups = Object.values(graph?.extra?.groupNodes ?? {});
  const subgraphs = list(graph?.definitions?.subgraphs);
  return [graph, ...subgraphs, ...groups];
}

/**
 * @param {any} part
 * @returns {any[]}
 */
function nodesOf(part) {
  return list(part?.nodes).filter(isObject);
}

/**
 * Outputs that had another type, and the links from them. A link is an object in a subgraph, else a
 * list of its id, node, slot, node, slot and type; in a group it has no type.
 * @param {any} part
 * @param {Table["outputs"]} known
 */
function correctTypes(part, known) {
  const from = linksByOrigin(part);
  for (const node of nodesOf(part)) {
    const types = Object.hasOwn(known, node.type) ? known[node.type] : {};
    for (const [slot, output] of list(node.outputs).entries()) {
      if (!Object.hasOwn(types, output?.type)) continue;
      const type = types[output.type];
      if (output.name === output.type) output.name = type;
      output.type = type;
      for (const link of from.get(JSON.stringify([node.id, slot])) ?? []) {
        if (Array.isArray(link)) link[5] = type;
        else link.type = type;
      }
    }
  }
}

/**
 * @param {any} part
 * @returns {Map<string, any[]>} by the number of a node and of its slot
 */
function linksByOrigin(part) {
  const found = new Map();
  for (const link of list(part?.links)) {
    const isList = Array.isArray(link);
    if (!isObject(link) || (isList && link.length !== 6)) continue;
    const origin = JSON.stringify(isList ? [link[1], link[2]] : [link.origin_id, link.origin_slot]);
    if (!found.has(origin)) found.set(origin, []);
    found.get(origin).push(link);
  }
  return found;
}

/**
 * @param {any} node
 * @param {Rename} rule
 */
function isOldForm(node, rule) {
  if (node.type !== rule.old) return false;
  const values = list(node.widgets_values);
  const fits = (/** @type {string[]} */ kinds) =>
    kinds.length === values.length && kinds.every((kind, i) => typeof values[i] === kind);
  return inputsOf(node).some(({ name }) => rule.named.includes(name)) || rule.values.some(fits);
}

/**
 * @param {any} node
 * @param {Rename} rule
 */
function rename(node, rule) {
  node.type = rule.new;
  const properties = node.properties;
  if (properties?.["Node name for S&R"] === rule.old) {
    properties["Node name for S&R"] = rule.new;
  }
  for (const [old, now] of Object.entries(rule.inputs)) {
    const inputs = inputsOf(node);
    const input = inputs.find(({ name }) => name === old);
    if (!input || inputs.some(({ name }) => name === now)) continue;
    input.name = now;
    if (input.widget?.name === old) input.widget.name = now;
  }
}

/**
 * @param {any} values
 * @param {Widget[]} widgets
 */
function correctList(values, widgets) {
  if (!Array.isArray(values)) return;
  const known = Math.min(values.length, widgets.length);
  for (let i = 0; i < known; i++) values[i] = corrected(values[i], widgets[i]);
}

/**
 * @param {any} values
 * @param {Widget[]} widgets
 */
function correctNamed(values, widgets) {
  if (!isObject(values)) return;
  for (const widget of widgets) {
    if (widget.name in values) values[widget.name] = corrected(values[widget.name], widget);
  }
}

/**
 * @param {any} value
 * @param {Widget} widget
 */
function corrected(value, widget) {
  if (value === null) return widget.default;
  const text = typeof value === "string" && Object.hasOwn(widget.texts, value);
  return text ? widget.texts[value] : value;
}

/**
 * So that managers do not offer to install the pack that a node came from.
 * @param {any} properties
 * @param {Table} table
 */
function claim(properties, { pack, packs }) {
  if (!isObject(properties)) return;
  const named = [properties.cnr_id, properties.aux_id];
  if (!named.some((name) => packs.includes(`${name}`.toLowerCase()))) return;
  properties.cnr_id = pack;
  delete properties.aux_id;
  delete properties.ver;
}

/** @param {any} node @returns {any[]} */
function inputsOf(node) {
  return list(node.inputs).filter(isObject);
}

/** @param {any} value @returns {any[]} */
function list(value) {
  return Array.isArray(value) ? value : [];
}

/** @param {any} value */
function isObject(value) {
  return typeof value === "object" && value !== null;
}
