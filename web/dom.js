// @ts-check
/** The few elements the pack's editors are made of, which speak the user's language. */

import { translated } from "./words/spoken.js";

/** Attributes that are read, by eye or aloud. */
const READ = new Set(["title", "aria-label", "aria-description", "aria-valuetext"]);

/**
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {string} [style] class of it
 * @param {string} [text]
 */
export function element(tag, style, text) {
  const made = document.createElement(tag);
  if (style) made.className = style;
  if (text) made.textContent = translated(text);
  return made;
}

/**
 * @param {string} text
 * @param {string} title what it does
 */
export function button(text, title) {
  const made = element("button", "", text);
  made.type = "button";
  made.title = translated(title);
  return made;
}

/** @param {string} label */
export function select(label) {
  const made = element("select");
  attributes(made, { title: label, "aria-label": label });
  return made;
}

/**
 * @param {string} value
 * @param {string} text
 */
export function option(value, text) {
  const made = element("option", "", text);
  made.value = value;
  return made;
}

/**
 * Set attributes; null removes one.
 * @param {Element} on
 * @param {Record<string, string | number | null>} values
 */
export function attributes(on, values) {
  for (const [name, value] of Object.entries(values)) {
    const text = READ.has(name) ? translated(`${value}`) : `${value}`;
    if (value === null) on.removeAttribute(name);
    else if (on.getAttribute(name) !== text) on.setAttribute(name, text);
  }
}
