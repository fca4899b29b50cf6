// @ts-check
/** A picture of the factor over steps or frames on the schedule node. */

import { editorRoot } from "./bar_style.js";
import { attributes, element } from "./dom.js";
import { LatestRequest } from "./latest_request.js";
import { findWidget, isLinked, isUsed, onChange, placeElement } from "./node_widgets.js";
import { Route } from "./route.js";
import { BOX_HEIGHT, WIDTH, nothing, picture } from "./schedule_picture.js";
import { translated } from "./words/spoken.js";

const WHEN = ["first_frame", "last_frame", "lead_in", "lead_out", "repeat", "length", "random_seed"];
const NAMES = ["over", "start", "end", "curve", "values", ...WHEN];
const HEIGHT = 120;
const SVG = "http://www.w3.org/2000/svg";
const route = new Route("/ipadapter/schedule");

/** @param {any} node */
export function addSchedulePicture(node) {
  const root = editorRoot("schedule");
  const image = root.appendChild(document.createElementNS(SVG, "svg"));
  image.setAttribute("class", "ipa-picture");
  image.setAttribute("role", "img");
  image.setAttribute("viewBox", `0 0 ${WIDTH} ${BOX_HEIGHT}`);
  image.setAttribute("preserveAspectRatio", "none");
  const note = root.appendChild(element("div", "ipa-note"));
  placeElement(node, "schedule_picture", root, () => HEIGHT);
  const value = (/** @type {string} */ name) => findWidget(node, name)?.value;
  const question = () => {
    const asked = NAMES.filter((name) => name !== "over").map((name) => [name, value(name)]);
    return { ...Object.fromEntries(asked), other: isUsed(node, "other") };
  };
  const show = (/** @type {ReturnType<typeof picture>} */ drawn) => {
    draw(image, drawn);
    note.textContent = translated(drawn.text);
  };
  const request = new LatestRequest(route, () => paint());
  const paint = () => {
    if (NAMES.some((name) => isLinked(node, name))) {
      show(nothing("A part comes through a connection, so there is no picture."));
    } else if (request.unanswered && !request.answers(question())) {
      note.textContent = translated(
        request.why || "The server does not answer, and the picture is as it was.",
      );
    } else if (request.answer) {
      show(picture(request.answer, value("over"), value("curve")));
    }
  };
  const refresh = () => {
    if (request.answers(question())) paint();
    else request.ask(question());
  };
  onChange(node, NAMES, refresh);
  refresh();
}

/**
 * @param {SVGElement} image
 * @param {ReturnType<typeof picture>} drawn
 */
function draw(image, { lines, label }) {
  attributes(image, { "aria-label": label });
  image.replaceChildren(
    ...lines.map(({ points, kind }) => {
      const line = document.createElementNS(SVG, "polyline");
      line.setAttribute("points", points.map((point) => point.join(",")).join(" "));
      line.setAttribute("class", `ipa-${kind}`);
      return line;
    }),
  );
}
