// @ts-check
/** A picture of the factor over steps or frames on the schedule node. */

import { editorRoot } from "./bar_style.js";
import { element } from "./dom.js";
import { findWidget, isLinked, onChange, placeElement } from "./node_widgets.js";
import { BOX_HEIGHT, WIDTH, drawnSchedule } from "./schedule_picture.js";

const NAMES = ["over", "start", "end", "curve", "values"];
const HEIGHT = 120;
const SVG = "http://www.w3.org/2000/svg";

/** @param {any} node */
export function addSchedulePicture(node) {
  const root = editorRoot("schedule");
  const picture = root.appendChild(document.createElementNS(SVG, "svg"));
  picture.setAttribute("class", "ipa-picture");
  picture.setAttribute("role", "img");
  picture.setAttribute("viewBox", `0 0 ${WIDTH} ${BOX_HEIGHT}`);
  picture.setAttribute("preserveAspectRatio", "none");
  const note = root.appendChild(element("div", "ipa-note"));
  placeElement(node, "schedule_picture", root, () => HEIGHT);
  const refresh = () => {
    const linked = NAMES.some((name) => isLinked(node, name));
    const values = Object.fromEntries(NAMES.map((name) => [name, findWidget(node, name)?.value]));
    const drawn = drawnSchedule(values, linked);
    draw(picture, drawn);
    note.textContent = drawn.text;
  };
  onChange(node, NAMES, refresh);
  refresh();
}

/**
 * @param {SVGElement} picture
 * @param {ReturnType<typeof drawnSchedule>} drawn
 */
function draw(picture, { lines, label }) {
  picture.setAttribute("aria-label", label);
  picture.replaceChildren(
    ...lines.map(({ points, kind }) => {
      const line = document.createElementNS(SVG, "polyline");
      line.setAttribute("points", points.map((point) => point.join(",")).join(" "));
      line.setAttribute("class", `ipa-${kind}`);
      return line;
    }),
  );
}
