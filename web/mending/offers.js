// @ts-check
/** What the editor can do about a sentence by itself; no app, no DOM. */

import { widgetOf } from "../workflow_graph.js";
import { upstream } from "./upstream.js";

/**
 * What the server offers, see `Mend` in ip_models/errors.py.
 * @typedef {{ input: string, value: any, source: string }} Mend
 * @typedef {import("../places.js").Place} Place
 */

/**
 * A button: its words, and what is set or connected.
 * @typedef {object} Offer
 * @property {string} key of its words, see texts.js
 * @property {string[]} parts of them
 * @property {string} title
 * @property {{ node: any, widget: any }[]} widgets that are set to the value
 * @property {any} value
 * @property {{ place: Place, input: string, source: string }} [connection]
 */

/** By what links a file gets to a node, and the widgets that may name it. */
const FILES = new Map([
  ["adapter_file", { types: ["IP_ADAPTER", "IPADAPTER"], widgets: ["adapter_file", "ipadapter_file"] }],
  [
    "encoder_file",
    { types: ["IPA_EMBEDS", "EMBEDS", "CLIP_VISION"], widgets: ["encoder_file", "clip_name"] },
  ],
]);

/**
 * @param {Place} place the node that failed
 * @param {Mend[]} mends
 * @returns {Offer[]} those that can be done in this graph
 */
export function offers(place, mends) {
  const each = new Map(mends.map((mend) => [JSON.stringify(mend), mend]));
  return [...each.values()].flatMap((mend) =>
    mend.source ? connecting(place, mend) : setting(place, mend),
  );
}

/**
 * @param {Place} place
 * @param {Mend} mend
 * @returns {Offer[]}
 */
function setting(place, { input, value }) {
  const widgets = holders(place, input).filter(
    ({ widget }) => widget.value !== value && allows(widget, value),
  );
  if (widgets.length === 0) return [];
  const isFile = FILES.has(input);
  const title = `${titles(widgets)}: ${value}`;
  const parts = isFile ? [stem(value)] : [input, `${value}`];
  return [{ key: isFile ? "use" : "set", parts, title, widgets, value }];
}

/**
 * The widgets that decide about an input: the node's own, else those of the nodes before it.
 * @param {Place} place
 * @param {string} input
 */
function holders(place, input) {
  const { types, widgets } = FILES.get(input) ?? { types: undefined, widgets: [input] };
  const own = widgets.map((name) => widgetOf(place, name)).find(Boolean);
  if (own) return [own];
  const follows = (/** @type {any} */ slot) => !types || types.includes(slot.type);
  const found = upstream(place, follows).map((before) =>
    widgets.map((name) => widgetOf(before, name)).find(Boolean),
  );
  const all = found.filter((one) => one !== undefined);
  return [...new Map(all.map((one) => [one.widget, one])).values()];
}

/**
 * @param {any} widget
 * @param {any} value
 */
function allows(widget, value) {
  const known = widget.options?.values;
  const values = typeof known === "function" ? known(widget) : known;
  return !Array.isArray(values) || values.includes(value);
}

/**
 * The nearest node that has the input free; embeds are replaced.
 * @param {Place} place
 * @param {Mend} mend
 * @returns {Offer[]}
 */
function connecting(place, { input, value, source }) {
  const replaces = input === "embeds";
  const fit = (/** @type {Place} */ { node }) =>
    (node.inputs ?? []).some(
      (/** @type {any} */ slot) => slot.name === input && (replaces || slot.link == null),
    );
  const target = upstream(place).find(fit);
  if (!target) return [];
  const connection = { place: target, input, source };
  return [{ key: "connect", parts: [source], title: "", widgets: [], value, connection }];
}

/**
 * A file that lies elsewhere under the name that was asked for: workflows come from others.
 * @param {Place} place of a loader
 * @returns {Mend[]}
 */
export function sameNames({ node }) {
  return (node.widgets ?? []).flatMap((/** @type {any} */ widget) => {
    const values = widget.options?.values;
    if (typeof widget.value !== "string" || !Array.isArray(values)) return [];
    if (values.includes(widget.value)) return [];
    const wanted = stem(widget.value).toLowerCase();
    const found = values.filter((one) => typeof one === "string" && stem(one).toLowerCase() === wanted);
    return found.slice(0, 2).map((value) => ({ input: widget.name, value, source: "" }));
  });
}

/** @param {{ node: any }[]} widgets */
function titles(widgets) {
  return [...new Set(widgets.map(({ node }) => node.title ?? node.type))].join(", ");
}

/**
 * A file's name without folders and ending.
 * @param {string} name
 */
function stem(name) {
  return `${name}`.split(/[\\/]/).at(-1)?.replace(/\.[a-z]{2,11}$/i, "") ?? "";
}
