// @ts-check
/** The block-weight editor as an element; where the weights come from and go is its owner's. */

import {
  COARSE_STEP, FILL_NAMES, FINE_STEP, NEUTRAL, STEP,
  axisOf, barsOf, filled, shownValue, snapped, valueAt, withValues,
} from "./bars.js";
import { editorRoot } from "./bar_style.js";
import { buildBars, paintBar, placeName } from "./bar_view.js";
import { attributes, button, element, option, select } from "./dom.js";

/**
 * @typedef {import("./bars.js").Bar} Bar
 * @typedef {import("./weight_text.js").Part} Part
 * @typedef {object} Shown what the editor is to show
 * @property {string} family
 * @property {string[]} families
 * @property {Part[]} parts
 * @property {number} side of the pictures of this family, in pixels
 * @property {number[][]} factors
 * @property {boolean[]} flipped
 * @property {string} note a sentence for the user, or nothing
 * @property {boolean} readOnly
 *
 * @typedef {{ chosen: number, detail: number | null }} Place a bar, and whose layers are shown
 *
 * @typedef {object} Owner what becomes of what the user does
 * @property {(factors: number[][]) => void} change
 * @property {() => void} begin a drag begins
 * @property {() => void} cancel what was dragged is to be as before
 * @property {() => void} finish a change is complete
 * @property {(family: string) => void} choose
 * @property {(place: Place | null) => void} visit the keyboard has come to a bar, or has left
 * @property {() => string} copy the weights as text
 * @property {(text: string) => string} paste what is wrong with the text, or nothing
 */

const DRAG_PIXELS = 3;
const LARGEST = 1e6;
const HELP =
  "Arrow up and down change a bar, left and right go to another. Type a number, " +
  "or press Delete for 1. Enter opens its layers, Escape closes them.";
/** What was copied last, for pages that may not read the system's clipboard. */
let clipboard = "";

export class BarEditor {
  /** @param {Owner} owner */
  constructor(owner) {
    this.owner = owner;
    /** @type {Shown | null} */
    this.shown = null;
    /** @type {Bar[]} */
    this.bars = [];
    /** @type {HTMLElement[]} */
    this.elements = [];
    /** @type {number | null} the transformer whose layers are shown */
    this.detail = null;
    this.chosen = 0;
    this.built = "";
    /** @type {{ x: number, y: number, moved: boolean, axis: [number, number] } | null} */
    this.drag = null;
    this.root = editorRoot("block-weights");
    attributes(this.root, { role: "group", "aria-label": "Block weights" });
    this.buildTools();
    this.plot = this.root.appendChild(element("div", "ipa-plot"));
    attributes(this.plot, { role: "group", "aria-label": "Bars", "aria-description": HELP });
    this.buildFoot();
    this.note = this.root.appendChild(element("div", "ipa-note"));
    this.note.setAttribute("role", "status");
    this.listen();
  }

  buildTools() {
    const row = this.root.appendChild(element("div", "ipa-row"));
    this.families = row.appendChild(element("span", "ipa-row"));
    attributes(this.families, { role: "group", "aria-label": "Model family shown" });
    this.layers = row.appendChild(select("Layers shown"));
    this.layers.addEventListener("change", () => {
      this.open(this.layers.value === "" ? null : Number(this.layers.value));
    });
    this.fill = row.appendChild(select("Fill the bars"));
    this.fill.className = "ipa-fill";
    this.fill.append(option("", "Fill"), ...FILL_NAMES.map((name) => option(name, name)));
    this.fill.addEventListener("change", () => {
      const values = this.bars.map(({ value }) => value);
      this.changeAll(filled(this.fill.value, values));
      this.fill.value = "";
    });
    const copy = row.appendChild(button("Copy", "Copy the weights as text"));
    copy.addEventListener("click", () => this.copy());
    this.pasteButton = row.appendChild(button("Paste", "Use the weights on the clipboard"));
    this.pasteButton.addEventListener("click", () => this.paste());
  }

  buildFoot() {
    const row = this.root.appendChild(element("label", "ipa-row"));
    this.place = row.appendChild(element("span", "ipa-place"));
    this.number = row.appendChild(element("input"));
    attributes(this.number, { inputmode: "decimal", "aria-label": "Weight of the chosen bar" });
    this.number.addEventListener("change", () => this.takeNumber());
  }

  listen() {
    const { plot, root } = this;
    plot.addEventListener("pointerdown", (event) => this.press(event));
    plot.addEventListener("pointermove", (event) => this.move(event));
    plot.addEventListener("pointerup", () => this.release());
    plot.addEventListener("pointercancel", () => this.abandon());
    plot.addEventListener("dblclick", (event) => {
      event.stopPropagation();
      if (this.indexOf(event) >= 0) this.change(NEUTRAL);
    });
    plot.addEventListener("focusin", (event) => {
      this.choose(this.indexOf(event));
      this.owner.visit({ chosen: this.chosen, detail: this.detail });
    });
    // An element that is taken away loses the focus too, but its user has not left.
    plot.addEventListener("focusout", () => {
      queueMicrotask(() => {
        if (root.isConnected && !plot.contains(document.activeElement)) this.owner.visit(null);
      });
    });
    root.addEventListener("keydown", (event) => this.pressKey(event));
    root.addEventListener("keyup", (event) => {
      if (this.indexOf(event) >= 0) this.owner.finish();
    });
    root.addEventListener("copy", (event) => this.onClipboard(event));
    root.addEventListener("paste", (event) => this.onClipboard(event));
  }

  /** @param {Shown} shown */
  show(shown) {
    if (shown.family !== this.shown?.family) this.detail = null;
    this.shown = shown;
    this.bars = barsOf(shown.factors, shown.flipped, this.detail);
    this.chosen = Math.min(this.chosen, this.bars.length - 1);
    const built = `${shown.family} ${this.detail}`;
    if (built !== this.built) this.build(shown);
    this.built = built;
    this.paint();
    attributes(this.root, { "aria-disabled": shown.readOnly ? "true" : null });
    for (const control of [this.fill, this.number, this.pasteButton]) {
      control.disabled = shown.readOnly;
    }
    // A sentence that comes or goes would move the bars under the hand that drags one.
    if (!this.drag?.moved) this.say(shown.note);
  }

  /** @param {Shown} shown */
  build({ family, families, parts, side }) {
    this.elements = buildBars(this.plot, this.bars, parts, side);
    this.families.replaceChildren(
      ...families.map((name) => {
        const made = button(name, `Show the blocks of ${name}`);
        made.setAttribute("aria-pressed", `${name === family}`);
        made.addEventListener("click", () => this.owner.choose(name));
        return made;
      }),
    );
    const deep = parts.flatMap(({ layers }, number) => (layers > 1 ? [number] : []));
    this.layers.hidden = deep.length === 0;
    this.layers.replaceChildren(
      option("", "All blocks"),
      ...deep.map((number) => option(`${number}`, `${parts[number].layers} layers of ${number}`)),
    );
    this.layers.value = this.detail === null ? "" : `${this.detail}`;
  }

  paint() {
    const axis = this.axis();
    this.bars.forEach((bar, i) => paintBar(this.elements[i], bar, axis, i === this.chosen));
    const bar = this.bars[this.chosen];
    if (!this.shown) return;
    this.place.textContent = placeName(bar, this.shown.parts[bar.number], this.shown.side);
    if (document.activeElement !== this.number) this.number.value = shownValue(bar.value);
  }

  axis() {
    return this.drag?.axis ?? axisOf(this.bars.map(({ value }) => value));
  }

  /** @param {string} note */
  say(note) {
    if (this.note.textContent !== note) this.note.textContent = note;
  }

  /**
   * Show the layers of a transformer, or all transformers.
   * @param {number | null} detail
   */
  open(detail) {
    if (!this.shown || detail === this.detail) return;
    this.chosen = detail === null && this.detail !== null ? this.detail : 0;
    this.detail = detail;
    this.show(this.shown);
  }

  /** @param {number} index */
  choose(index) {
    if (index < 0 || index === this.chosen) return;
    this.chosen = index;
    this.paint();
  }

  /** @param {number} index */
  focus(index) {
    this.choose(Math.min(Math.max(index, 0), this.bars.length - 1));
    this.elements[this.chosen].focus({ preventScroll: true });
  }

  /** @param {Place} place where the keyboard was */
  resume({ chosen, detail }) {
    this.open(detail);
    this.focus(chosen);
  }

  /** @param {Event} event */
  indexOf(event) {
    const target = /** @type {Element} */ (event.target);
    return this.elements.findIndex((each) => each.contains(target));
  }

  /** @param {number} value of the chosen bar */
  change(value) {
    this.write([this.bars[this.chosen]], [value]);
    this.owner.finish();
  }

  /** @param {number[]} values of all bars shown */
  changeAll(values) {
    this.write(this.bars, values);
    this.owner.finish();
  }

  /**
   * @param {Bar[]} bars
   * @param {number[]} values
   */
  write(bars, values) {
    if (!this.shown || this.shown.readOnly) return;
    const { factors, flipped } = this.shown;
    // To push away is more than a factor can say; only presets do.
    const plain = factors.map((layers, number) => (flipped[number] ? layers.map(() => 0) : layers));
    this.owner.change(withValues(plain, bars, values));
  }

  takeNumber() {
    const value = Number(this.number.value.trim().replace(",", ".") || NaN);
    if (Math.abs(value) <= LARGEST) this.change(value);
    else this.say(`"${this.number.value}" is not a number for a weight.`);
    this.number.value = shownValue(this.bars[this.chosen].value);
  }

  /** @param {PointerEvent} event */
  press(event) {
    const index = this.indexOf(event);
    // The other buttons move the canvas and open menus.
    if (event.button !== 0 || !event.isPrimary || index < 0) return;
    event.stopPropagation();
    this.focus(index);
    this.drag = { x: event.clientX, y: event.clientY, moved: false, axis: this.axis() };
    this.elements[index].setPointerCapture(event.pointerId);
  }

  /** @param {PointerEvent} event */
  move(event) {
    if (!this.drag || !event.isPrimary) return;
    event.stopPropagation();
    if (!this.drag.moved) {
      if (Math.hypot(event.clientX - this.drag.x, event.clientY - this.drag.y) < DRAG_PIXELS) return;
      this.drag.moved = true;
      this.owner.begin();
    }
    // Places on the screen, so that the canvas may be zoomed and moved in any way.
    const { top, height } = this.elements[this.chosen].getBoundingClientRect();
    const value = valueAt((event.clientY - top) / height, this.drag.axis);
    const step = event.shiftKey ? FINE_STEP : STEP;
    this.write([this.bars[this.chosen]], [snapped(value, step)]);
  }

  release() {
    const moved = this.drag?.moved;
    this.drag = null;
    if (!moved || !this.shown) return;
    this.show(this.shown);
    this.owner.finish();
  }

  abandon() {
    const moved = this.drag?.moved;
    this.drag = null;
    if (moved) this.owner.cancel();
  }

  /** @param {KeyboardEvent} event */
  pressKey(event) {
    // Shortcuts such as undo, save and run stay the host's; plain keys are ours.
    if (event.ctrlKey || event.metaKey || event.altKey || event.key === "Tab") return;
    event.stopPropagation();
    if (event.target === this.number) this.pressNumberKey(event);
    else if (this.indexOf(event) >= 0 && this.pressBarKey(event)) event.preventDefault();
  }

  /** @param {KeyboardEvent} event */
  pressNumberKey(event) {
    if (event.key === "Escape") this.number.value = shownValue(this.bars[this.chosen].value);
    if (["Enter", "Escape"].includes(event.key)) this.focus(this.chosen);
  }

  /**
   * @param {KeyboardEvent} event
   * @returns {boolean} whether the key means something
   */
  pressBarKey({ key, shiftKey }) {
    const bar = this.bars[this.chosen];
    const step = shiftKey ? FINE_STEP : STEP;
    /** @type {Record<string, number>} */
    const steps = { ArrowUp: step, ArrowDown: -step, PageUp: COARSE_STEP, PageDown: -COARSE_STEP };
    /** @type {Record<string, number>} */
    const places = { ArrowLeft: this.chosen - 1, ArrowRight: this.chosen + 1, Home: 0, End: Infinity };
    if (key in steps) this.change(snapped(bar.value + steps[key], FINE_STEP));
    else if (key in places) this.focus(places[key]);
    else if (key === "Delete" || key === "Backspace") this.change(NEUTRAL);
    else if (key === "Escape") this.escape();
    else if (key === "Enter") this.enter(bar);
    else if (/^[-+.,0-9]$/.test(key)) this.startTyping(key);
    else return false;
    return true;
  }

  escape() {
    if (this.drag) this.abandon();
    else if (this.detail !== null) {
      this.open(null);
      this.focus(this.chosen);
    }
  }

  /** @param {Bar} bar */
  enter(bar) {
    if (bar.layer !== null || this.shown?.parts[bar.number].layers === 1) return;
    this.open(bar.number);
    this.focus(0);
  }

  /** @param {string} key */
  startTyping(key) {
    if (this.shown?.readOnly) return;
    this.number.focus({ preventScroll: true });
    this.number.value = key;
  }

  /** @param {ClipboardEvent} event */
  onClipboard(event) {
    if (event.target === this.number) return;
    // Else the host would copy or paste nodes.
    event.stopPropagation();
    event.preventDefault();
    if (event.type === "copy") {
      clipboard = this.owner.copy();
      event.clipboardData?.setData("text/plain", clipboard);
    } else {
      this.use(event.clipboardData?.getData("text/plain") ?? "");
    }
  }

  async copy() {
    clipboard = this.owner.copy();
    // Refused, or absent on pages that are not secure: then it can be pasted in this page only.
    await navigator.clipboard?.writeText(clipboard).catch(() => {});
    this.say("Copied.");
  }

  async paste() {
    const text = await navigator.clipboard?.readText().catch(() => clipboard);
    this.use(text ?? clipboard);
  }

  /** @param {string} text */
  use(text) {
    if (this.shown?.readOnly) return;
    const wrong = this.owner.paste(text);
    if (wrong) this.say(wrong);
    else this.owner.finish();
  }
}
