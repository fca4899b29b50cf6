// @ts-check
/** Puts the bar editor on the block weights node; the node's own widgets stay the only values. */

// @ts-ignore: served by the host
import { api } from "../../scripts/api.js";
import { BarEditor } from "./bar_editor.js";
import { findWidget, isLinked, onChange, placeElement, remember } from "./node_widgets.js";
import { tidy } from "./bars.js";
import { Unreadable, readWeights, silence, writeWeights } from "./weight_text.js";

/**
 * @typedef {import("./weight_text.js").Part} Part
 * @typedef {{ factors: number[][], flipped: boolean[] }} Heard
 * @typedef {{ families: Record<string, { side: number, parts: Part[] }>,
 *             presets: Record<string, Record<string, Heard>> }} Tables
 */

const CUSTOM = "custom";
const VIEW = "ipadapter_view";
const HEIGHT = 250;

/**
 * Where the keyboard was last, because undo replaces nodes and their elements with them.
 * @type {{ node: string, place: { chosen: number, detail: number | null } } | null}
 */
let last = null;

/** @type {Map<string, Promise<Tables>>} */
const known = new Map();

/**
 * Presets for these knobs; the numbers live on the server.
 * @param {number} composition
 * @param {number} boost
 */
function tables(composition, boost) {
  const query = `composition=${composition}&boost=${boost}`;
  let asked = known.get(query);
  if (!asked) {
    asked = ask(query);
    asked.catch(() => known.delete(query));
    known.set(query, asked);
  }
  return asked;
}

/**
 * @param {string} query
 * @returns {Promise<Tables>}
 */
async function ask(query) {
  const reply = await api.fetchApi(`/ipadapter/presets?${query}`);
  if (!reply.ok) throw new Error(`${reply.status}`);
  return reply.json();
}

/** @param {any} node */
export function addWeightEditor(node) {
  const binding = new Binding(node);
  const { root } = binding.editor;
  placeElement(node, "block_weight_editor", root, () => HEIGHT, () => binding.resume());
  onChange(node, ["preset", "weights", "composition", "boost"], () => binding.refresh());
  binding.refresh();
}

class Binding {
  /** @param {any} node */
  constructor(node) {
    this.node = node;
    /** @type {Tables | null} */
    this.tables = null;
    this.asked = 0;
    this.lost = false;
    /** @type {{ preset: string, weights: string } | null} before a change that is not complete */
    this.before = null;
    this.editor = new BarEditor(this);
  }

  /** @param {{ chosen: number, detail: number | null } | null} place of the keyboard, if here */
  visit(place) {
    const node = `${this.node.graph?.id} ${this.node.id}`;
    if (place) last = { node, place };
    else if (last?.node === node) last = null;
  }

  resume() {
    const mine = last?.node === `${this.node.graph?.id} ${this.node.id}`;
    if (mine && last && this.tables && document.activeElement === document.body) {
      this.editor.resume(last.place);
    }
  }

  /** @param {string} name */
  widget(name) {
    return findWidget(this.node, name);
  }

  preset() {
    return String(this.widget("preset").value);
  }

  text() {
    return String(this.widget("weights").value ?? "");
  }

  /** Show what the widgets say now. */
  async refresh() {
    const asked = ++this.asked;
    const [composition, boost] = ["composition", "boost"].map((name) => this.widget(name)?.value ?? 1);
    try {
      const found = await tables(composition, boost);
      // The answer to an older question may come last.
      if (asked === this.asked) this.tables = found;
    } catch {
      this.editor.say("The server does not tell its presets; the text below still counts.");
    }
    this.paint();
  }

  paint() {
    if (!this.tables) return;
    const { families } = this.tables;
    const family = this.family(families);
    const { parts, side } = families[family];
    const heard = this.heard(family);
    const readOnly = isLinked(this.node, "preset") || isLinked(this.node, "weights");
    const note = readOnly
      ? "Preset or weights come through a connection; they are changed where that begins."
      : heard.note;
    this.editor.show({ ...heard, family, families: Object.keys(families), parts, side, note, readOnly });
  }

  /** @param {Tables["families"]} families */
  family(families) {
    const names = Object.keys(families);
    const chosen = this.node.properties?.[VIEW];
    if (names.includes(chosen)) return chosen;
    const fits = (/** @type {string} */ name) => reading(this.text(), families[name].parts).factors;
    return this.preset() === CUSTOM ? (names.find(fits) ?? names[0]) : names[0];
  }

  /**
   * @param {string} family
   * @returns {Heard & { note: string }}
   */
  heard(family) {
    const { families, presets } = /** @type {Tables} */ (this.tables);
    const { parts } = families[family];
    const flipped = parts.map(() => false);
    const preset = this.preset();
    if (preset !== CUSTOM) {
      const heard = presets[preset]?.[family];
      if (!heard) return { factors: silence(parts), flipped, note: `There is no preset ${preset}.` };
      const note = heard.flipped.includes(true) ? "Striped bars push away from the reference." : "";
      return { ...heard, note };
    }
    const { factors, references, wrong } = reading(this.text(), parts);
    if (!factors) return { factors: silence(parts), flipped, note: this.advice(family, wrong) };
    return { factors, flipped, note: this.remark(references) };
  }

  /**
   * @param {string} family
   * @param {string} wrong
   */
  advice(family, wrong) {
    if (this.text().trim() === "") return "No weights yet: drag a bar, or choose a preset.";
    const { families } = /** @type {Tables} */ (this.tables);
    const other = Object.keys(families).find((name) => reading(this.text(), families[name].parts).factors);
    const what = other ? `The text fits ${other}, not ${family}` : "The text cannot be shown as bars";
    return `${what}: ${wrong}. Changing a bar replaces it.`;
  }

  /** @param {number} references */
  remark(references) {
    if (references > 1) {
      return `The text has a factor for each of ${references} references; the bars show the first.` +
        " Changing a bar replaces it.";
    }
    return this.lost ? "What the preset pushed away is 0 now; only presets can push away." : "";
  }

  /** @param {number[][]} factors */
  change(factors) {
    const wasPreset = this.preset() !== CUSTOM;
    const flipped = this.editor.shown?.flipped.includes(true) ?? false;
    this.lost = wasPreset ? flipped : this.lost;
    const written = wasPreset ? factors.map((layers) => layers.map(tidy)) : factors;
    this.write(CUSTOM, writeWeights(written));
  }

  /**
   * @param {string} preset
   * @param {string} weights
   */
  write(preset, weights) {
    this.before ??= { preset: this.preset(), weights: this.text() };
    for (const [name, value] of [["preset", preset], ["weights", weights]]) {
      const widget = this.widget(name);
      if (widget.value === value) continue;
      widget.value = value;
      widget.callback?.(value);
    }
    this.paint();
    this.node.setDirtyCanvas(true, true);
  }

  cancel() {
    if (this.before) this.write(this.before.preset, this.before.weights);
    this.before = null;
  }

  finish() {
    const { before } = this;
    this.before = null;
    // Undo itself changes the order of nodes: a step without a change would take redo away.
    if (before && (before.preset !== this.preset() || before.weights !== this.text())) remember();
  }

  /** @param {string} family */
  choose(family) {
    if (this.node.properties?.[VIEW] === family) return;
    this.node.setProperty(VIEW, family);
    this.paint();
    remember();
  }

  copy() {
    return writeWeights((this.editor.shown?.factors ?? []).map((layers) => layers.map(tidy)));
  }

  /** @param {string} text */
  paste(text) {
    const { families } = /** @type {Tables} */ (this.tables);
    const found = Object.values(families).map(({ parts }) => reading(text, parts));
    if (!found.some(({ factors }) => factors)) {
      return `What is on the clipboard are no weights: ${found[0].wrong}.`;
    }
    this.write(CUSTOM, text.trim());
    return "";
  }
}

/**
 * @param {string} text
 * @param {Part[]} parts
 * @returns {{ factors: number[][] | null, references: number, wrong: string }}
 */
function reading(text, parts) {
  try {
    return { ...readWeights(text, parts), wrong: "" };
  } catch (error) {
    if (!(error instanceof Unreadable)) throw error;
    return { factors: null, references: 1, wrong: error.message };
  }
}
