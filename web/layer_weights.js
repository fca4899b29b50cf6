// @ts-check
/** Puts the bar editor on the block weights node; the node's own widgets stay the only values. */

import { BarEditor } from "./bar_editor.js";
import { tidy } from "./bars.js";
import { followFamily } from "./drawn_family.js";
import { LatestRequest } from "./latest_request.js";
import { findWidget, isLinked, makeRoom, onChange, placeElement, remember } from "./node_widgets.js";
import { Route } from "./route.js";
import { writeWeights } from "./weight_text.js";

/**
 * @typedef {import("./bars.js").Part} Part
 * @typedef {object} Drawn what a family of models makes of the widgets
 * @property {number} side
 * @property {Part[]} parts
 * @property {import("./bars.js").Known[]} known
 * @property {number[][]} factors by transformer and layer
 * @property {boolean[]} flipped by transformer
 * @property {number} references with more than one, the factors are those of the first
 * @property {string} wrong why all factors are 0, or nothing
 * @property {boolean} [old] it is what the widgets meant before
 * @typedef {Record<string, Drawn>} Answer by family
 */

const CUSTOM = "custom";
const VIEW = "ipadapter_view";
/** Of the editor, and of each line of bars after the first; in canvas units. */
const HEIGHT = 250;
const LINE = 127;
/** What has fewer transformers is a UNet, for which other programs read what is copied. */
const MANY = 17;
const UNANSWERED = "The server does not answer. The text below still counts";

/** Parsed by the server, which reads it again at Run. */
const route = new Route("/ipadapter/weights");

/**
 * Where the keyboard was last, because undo replaces nodes and their elements with them.
 * @type {{ node: string, place: { chosen: number, detail: number | null } } | null}
 */
let last = null;

/** @param {any} node */
export function addWeightEditor(node) {
  const binding = new Binding(node);
  const { root } = binding.editor;
  placeElement(node, "block_weight_editor", root, () => binding.height(), () => binding.resume());
  onChange(node, ["preset", "weights", "composition", "boost"], () => binding.refresh());
  binding.refresh();
  followFamily(binding);
}

class Binding {
  /** @param {any} node */
  constructor(node) {
    this.node = node;
    this.request = new LatestRequest(route, () => this.paint());
    this.lost = false;
    this.writing = false;
    this.pasted = 0;
    /** @type {{ preset: string, weights: string } | null} before a change that is not complete */
    this.before = null;
    this.lines = 1;
    /** @type {string | undefined} the family the weights go to, "" if it is not known */
    this.connected = undefined;
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
    if (mine && last && this.request.answer && document.activeElement === document.body) {
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

  question() {
    return this.asking(this.preset(), this.text());
  }

  /**
   * @param {string} preset
   * @param {string} weights
   */
  asking(preset, weights) {
    const [composition, boost] = ["composition", "boost"].map((name) => this.widget(name)?.value ?? 1);
    return { preset, weights, composition, boost };
  }

  /** Show what the widgets say now. */
  refresh() {
    if (this.writing) return;
    const question = this.question();
    if (this.request.answers(question)) this.paint();
    else this.request.ask(question);
  }

  /** @returns {Answer | null} */
  answer() {
    return this.request.answer;
  }

  paint() {
    const answer = this.answer();
    if (!answer) {
      if (this.request.unanswered) this.editor.say(this.request.why || `${UNANSWERED}.`);
      return;
    }
    const family = this.family(answer);
    const readOnly = isLinked(this.node, "preset") || isLinked(this.node, "weights");
    const note = readOnly
      ? "Preset or weights come through a connection; they are changed where that begins."
      : this.remark(family, answer);
    this.editor.show({ ...answer[family], family, families: Object.keys(answer), note, readOnly });
    this.fit();
  }

  height() {
    return HEIGHT + LINE * (this.lines - 1);
  }

  /** Room for all lines of bars; a node that is larger stays as it is. */
  fit() {
    const { lines } = this.editor;
    if (lines === this.lines) return;
    this.lines = lines;
    makeRoom(this.node);
    this.node.setDirtyCanvas(true, true);
  }

  /**
   * What is connected has become known; a family that was chosen before was chosen for another.
   * @param {string} family
   */
  follow(family) {
    if (family === this.connected) return;
    const was = this.connected;
    this.connected = family;
    if (was !== undefined && family !== "" && this.node.properties?.[VIEW]) {
      this.node.setProperty(VIEW, "");
    }
    this.paint();
  }

  /** @param {Answer} answer */
  family(answer) {
    const names = Object.keys(answer);
    const chosen = this.node.properties?.[VIEW];
    if (names.includes(chosen)) return chosen;
    if (this.connected && names.includes(this.connected)) return this.connected;
    const fits = (/** @type {string} */ name) => answer[name].wrong === "";
    return this.preset() === CUSTOM ? (names.find(fits) ?? names[0]) : names[0];
  }

  /**
   * Whether the bars show what the widgets say, and not what they said before.
   * @param {string} family
   */
  isUpToDate(family) {
    return this.request.answers(this.question()) && !this.answer()?.[family].old;
  }

  /**
   * @param {string} family
   * @param {Answer} answer
   */
  remark(family, answer) {
    const { flipped, references, wrong } = answer[family];
    if (!this.isUpToDate(family)) {
      const { unanswered, why } = this.request;
      if (!unanswered) return this.editor.shown?.note ?? "";
      return why || `${UNANSWERED}, and the bars are as they were.`;
    }
    if (this.preset() !== CUSTOM) {
      return flipped.includes(true) ? "Striped bars push away from the reference." : wrong;
    }
    if (wrong) return this.advice(family, answer);
    if (references > 1) {
      return `The text has a factor for each of ${references} references; the bars show the first.` +
        " Changing a bar replaces it.";
    }
    return this.lost ? "What the preset pushed away is 0 now; only presets can push away." : "";
  }

  /**
   * @param {string} family
   * @param {Answer} answer
   */
  advice(family, answer) {
    if (this.text().trim() === "") return "No weights yet: drag a bar, or choose a preset.";
    const other = Object.keys(answer).find((name) => answer[name].wrong === "");
    const what = other ? `The text fits ${other}, not ${family}` : "The text cannot be shown as bars";
    return `${what}: ${answer[family].wrong} Changing a bar replaces it.`;
  }

  /** @param {number[][]} factors */
  change(factors) {
    const family = this.editor.shown?.family ?? "";
    // A text that is not understood yet is not to be lost.
    if (!this.isUpToDate(family)) return;
    const answer = /** @type {Answer} */ (this.answer());
    const wasPreset = this.preset() !== CUSTOM;
    if (wasPreset) this.lost = answer[family].flipped.includes(true);
    const written = wasPreset ? factors.map((layers) => layers.map(tidy)) : factors;
    this.write(CUSTOM, writeWeights(written));
    // No drag waits for the server: what was written is known. Others are asked about at the end.
    const known = { factors: written, flipped: written.map(() => false), references: 1, wrong: "" };
    const families = Object.entries(answer).map(([name, drawn]) => {
      return [name, name === family ? { ...drawn, ...known } : { ...drawn, old: true }];
    });
    this.request.suppose(this.question(), Object.fromEntries(families));
    this.paint();
  }

  /**
   * @param {string} preset
   * @param {string} weights
   */
  write(preset, weights) {
    this.before ??= { preset: this.preset(), weights: this.text() };
    this.writing = true;
    for (const [name, value] of [["preset", preset], ["weights", weights]]) {
      const widget = this.widget(name);
      if (widget.value === value) continue;
      widget.value = value;
      widget.callback?.(value);
    }
    this.writing = false;
    this.node.setDirtyCanvas(true, true);
  }

  cancel() {
    if (this.before) this.write(this.before.preset, this.before.weights);
    this.before = null;
    this.refresh();
  }

  finish() {
    const { before } = this;
    this.before = null;
    if (!before) return;
    this.request.ask(this.question());
    // Undo itself changes the order of nodes: a step without a change would take redo away.
    if (before.preset !== this.preset() || before.weights !== this.text()) remember();
  }

  /** @param {string} family that of what is connected is no choice, and goes on to follow it */
  choose(family) {
    const view = family === this.connected ? "" : family;
    if ((this.node.properties?.[VIEW] ?? "") === view) return;
    this.node.setProperty(VIEW, view);
    this.paint();
    remember();
  }

  copy() {
    const factors = this.editor.shown?.factors ?? [];
    return writeWeights(factors.map((layers) => layers.map(tidy)), factors.length < MANY);
  }

  /**
   * @param {string} text
   * @returns {Promise<string>}
   */
  async paste(text) {
    const pasted = ++this.pasted;
    const before = JSON.stringify(this.question());
    const question = this.asking(CUSTOM, text.trim());
    /** @type {Answer | null} */
    const answer = await route.answer(JSON.stringify(question)).catch((error) => {
      return error.isFinal ? { refused: { wrong: error.message } } : null;
    });
    // The user has gone on meanwhile.
    if (pasted !== this.pasted || before !== JSON.stringify(this.question())) return "";
    if (!answer) return "The server does not answer, so that nothing is pasted. Paste it into the text.";
    const all = Object.values(answer);
    if (all.every(({ wrong }) => wrong)) {
      return `What is on the clipboard are no weights: ${all[0].wrong}`;
    }
    this.write(CUSTOM, text.trim());
    this.refresh();
    return "";
  }
}
