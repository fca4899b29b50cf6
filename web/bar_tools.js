// @ts-check
/** The controls around the bars: family, layers, fill, copy and paste above, one number below. */

import { FILL_NAMES } from "./bars.js";
import { attributes, button, element, option, select } from "./dom.js";

/**
 * @typedef {import("./bars.js").Part} Part
 *
 * @typedef {object} Acts what the controls do
 * @property {(family: string) => void} draw
 * @property {(detail: number | null) => void} open
 * @property {(name: string) => void} fill
 * @property {() => void} copy
 * @property {() => void} paste
 * @property {() => void} takeNumber
 */

/** @param {Acts} acts */
export function buildTools(acts) {
  const row = element("div", "ipa-row");
  const families = row.appendChild(select("Model family shown"));
  families.className = "ipa-families";
  families.addEventListener("change", () => acts.draw(families.value));
  const layers = row.appendChild(select("Layers shown"));
  layers.addEventListener("change", () => {
    acts.open(layers.value === "" ? null : Number(layers.value));
  });
  const fill = row.appendChild(select("Fill the bars"));
  fill.className = "ipa-fill";
  fill.append(option("", "Fill"), ...FILL_NAMES.map((name) => option(name, name)));
  fill.addEventListener("change", () => {
    acts.fill(fill.value);
    fill.value = "";
  });
  const copy = row.appendChild(button("Copy", "Copy the weights as text"));
  copy.addEventListener("click", () => acts.copy());
  const paste = row.appendChild(button("Paste", "Use the weights on the clipboard"));
  paste.addEventListener("click", () => acts.paste());
  return { row, families, layers, fill, paste };
}

/** @param {Acts} acts */
export function buildFoot(acts) {
  const row = element("label", "ipa-row");
  const place = row.appendChild(element("span", "ipa-place"));
  const number = row.appendChild(element("input"));
  attributes(number, { inputmode: "decimal", "aria-label": "Weight of the chosen bar" });
  number.addEventListener("change", () => acts.takeNumber());
  return { row, place, number };
}

/**
 * @param {HTMLSelectElement} families emptied
 * @param {string[]} names
 * @param {string} shown
 */
export function offerFamilies(families, names, shown) {
  families.replaceChildren(...names.map((name) => option(name, name)));
  families.value = shown;
}

/**
 * Offer the transformers that have layers of their own to show.
 * @param {HTMLSelectElement} layers emptied
 * @param {Part[]} parts
 * @param {number | null} detail the one whose layers are shown
 */
export function offerLayers(layers, parts, detail) {
  const deep = parts.flatMap((part, number) => (part.layers > 1 ? [number] : []));
  layers.hidden = deep.length === 0;
  layers.replaceChildren(
    option("", "All blocks"),
    ...deep.map((number) => option(`${number}`, `${parts[number].layers} layers of ${number}`)),
  );
  layers.value = detail === null ? "" : `${detail}`;
}
