// @ts-check
/**
 * The user's language. What is shown goes through `translated`, by note.js and dom.js or by itself;
 * the code says it in English, with what is filled in. No app, no DOM.
 */

import { Translator } from "./translator.js";

/** @typedef {import("./translator.js").Table} Table */

/** @type {{ table: Table, translator: Translator } | null} */
let now = null;

/**
 * Speak another language from now on; without a table, English.
 * @param {Table} [table]
 */
export function speak(table) {
  now = table ? { table, translator: new Translator(table) } : null;
}

/** A line without the signs that lead it, such as one of warning. */
const SAID = /[^\s▾▸⚠•].*/u;

/**
 * A text in the user's language, line by line.
 * @param {string} english
 */
export function translated(english) {
  if (!now) return english;
  const { translator } = now;
  return english
    .split("\n")
    .map((line) => line.replace(SAID, (text) => translator.translate(text.trimEnd())))
    .join("\n");
}

/**
 * What a combo box shows for a value; nothing where that is the value itself.
 * @param {string} value
 */
export function labelOf(value) {
  return now?.table.choices[value];
}

/** Words of the examples' notes, groups and titles. */
export function notes() {
  return now?.table.notes ?? {};
}

/** Whether there are words for the combo boxes of a node. @param {string} id */
export function hasWords(id) {
  return now !== null && Object.hasOwn(now.table.names, id);
}
