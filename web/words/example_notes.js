// @ts-check
/** The notes, groups and titles of the pack's examples in the user's language. No app, no DOM. */

/** In a line with a file to download: after its address, and before a name or a folder. */
const [AFTER, ENDS] = ["), ", [" **", " →"]];
/** Nodes of the host that hold a text to be read. */
const NOTES = new Set(["Note", "MarkdownNote"]);

/**
 * Translate what is as it was shipped; what a user wrote stays.
 * @param {any} graph as it is saved
 * @param {Record<string, string>} words of notes line by line, and of titles
 */
export function translateNotes(graph, words) {
  if (!Array.isArray(graph?.extra?.ipadapter_inputs)) return;
  const inside = graph.definitions?.subgraphs ?? [];
  for (const { nodes, groups } of [graph, ...inside]) {
    for (const group of groups ?? []) group.title = words[group.title] ?? group.title;
    for (const node of nodes ?? []) translateNode(node, words);
  }
}

/**
 * @param {any} node
 * @param {Record<string, string>} words
 */
function translateNode(node, words) {
  if (typeof node.title === "string") node.title = words[node.title] ?? node.title;
  if (!NOTES.has(node.type) || typeof node.widgets_values?.[0] !== "string") return;
  const lines = node.widgets_values[0].split("\n");
  const made = lines.map((/** @type {string} */ line) => words[line] ?? fileLine(line, words));
  node.widgets_values[0] = made.join("\n");
}

/**
 * What a line with a file to download says of it: "[…](…), saved as **…** → **…**".
 * @param {string} line
 * @param {Record<string, string>} words
 */
function fileLine(line, words) {
  const at = line.indexOf(AFTER) + AFTER.length;
  const end = Math.min(...ENDS.map((mark) => line.indexOf(mark, at)).filter((one) => one > at));
  if (at < AFTER.length || end === Infinity) return line;
  const text = line.slice(at, end);
  return `${line.slice(0, at)}${words[text] ?? text}${line.slice(end)}`;
}
