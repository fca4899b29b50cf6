// @ts-check
/** What a note on a node is made of: lines with links, buttons, and lines that are folded away. */

import { translated } from "./words/spoken.js";

/** @typedef {{ text: string, title: string, act: () => void }} Button */

const [BEGINS, ENDS] = ["https://", /[\s)]/];
const YELLOW = "#e0a000";

/**
 * A line, in which addresses can be followed.
 * @param {string} line
 */
export function row(line) {
  const made = document.createElement("div");
  const [first, ...rest] = line.split(BEGINS);
  made.append(first);
  for (const part of rest) {
    const end = part.search(ENDS);
    const address = end < 0 ? part : part.slice(0, end);
    made.append(link(BEGINS + address), part.slice(address.length));
  }
  return made;
}

/** @param {string} address */
function link(address) {
  const made = document.createElement("a");
  made.href = address;
  made.target = "_blank";
  made.rel = "noopener noreferrer";
  made.textContent = address;
  made.style.color = "inherit";
  return made;
}

/** @param {Button[]} buttons */
export function buttonBar(buttons) {
  const made = document.createElement("div");
  Object.assign(made.style, { display: "flex", flexWrap: "wrap", gap: "4px", margin: "3px 0" });
  made.append(...buttons.map(button));
  return made;
}

/** @param {Button} button */
function button({ text, title, act }) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = text;
  made.title = title;
  Object.assign(made.style, {
    font: "inherit",
    color: "var(--input-text)",
    background: "var(--comfy-menu-bg)",
    border: `1px solid ${YELLOW}`,
    borderRadius: "4px",
    padding: "0 8px",
    cursor: "pointer",
    overflowWrap: "anywhere",
  });
  keep(made);
  made.addEventListener("click", act);
  return made;
}

/**
 * Lines that are seen by who opens them, under the first of them if it is a heading.
 * @param {string[]} lines
 * @param {() => void} opened
 */
export function fold(lines, opened) {
  const made = document.createElement("details");
  const summary = document.createElement("summary");
  const [first, ...others] = lines;
  const hasHeading = /[:：]$/.test(first);
  summary.textContent = hasHeading ? first : translated("The whole report");
  summary.style.cursor = "pointer";
  keep(summary);
  made.append(summary, ...(hasHeading ? others : lines).map(row));
  made.addEventListener("toggle", () => requestAnimationFrame(opened));
  return made;
}

/**
 * A node is not dragged by what can be clicked.
 * @param {HTMLElement} element
 */
function keep(element) {
  element.addEventListener("pointerdown", (event) => event.stopPropagation());
}
