// @ts-check
/** The block-weight editor as an element; where the weights come from and go is its owner's. */

import { HELP, meaningOfKey } from "./bar_keys.js";
import { editorRoot } from "./bar_style.js";
import { buildFoot, buildTools, offerFamilies, offerLayers } from "./bar_tools.js";
import { Stroke } from "./bar_stroke.js";
import { buildBars, paintBar, placeName } from "./bar_view.js";
import {
  NEUTRAL, axisOf, barsOf, filled, placeOf, shownValue, withValues,
} from "./bars.js";
import { attributes, element } from "./dom.js";
import { answerClipboard, copyText, pastedText } from "./weight_clipboard.js";
import { translated } from "./words/spoken.js";

/**
 * @typedef {import("./bars.js").Bar} Bar
 * @typedef {import("./bars.js").Part} Part
 * @typedef {object} Shown what the editor is to show
 * @property {string} family
 * @property {string[]} families
 * @property {Part[]} parts
 * @property {number} side of the pictures of this family, in pixels
 * @property {import("./bars.js").Known[]} known
 * @property {number[][]} factors
 * @property {boolean[]} flipped
 * @property {string} note a sentence for the user, or nothing
 * @property {boolean} readOnly
 *
 * @typedef {{ chosen: number, detail: number | null }} Place a bar, and whose layers are shown
 *
 * @typedef {object} Owner what becomes of what the user does
 * @property {(factors: number[][]) => void} change
 * @property {() => void} cancel what was changed since the last finish is to be as before
 * @property {() => void} finish a change is complete
 * @property {(family: string) => void} choose
 * @property {(place: Place | null) => void} visit the keyboard has come to a bar, or has left
 * @property {() => string} copy the weights as text
 * @property {(text: string) => Promise<string>} paste what is wrong with the text, or nothing
 */

const LARGEST = 1e6;

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
    /** How many lines of bars there are, one above the other. */
    this.lines = 1;
    /** @type {number | null} the transformer whose layers are shown */
    this.detail = null;
    this.chosen = 0;
    this.built = "";
    /** @type {Stroke | null} */
    this.drag = null;
    /** The value under the hand. */
    this.bubble = element("span", "ipa-value");
    this.root = editorRoot("block-weights");
    attributes(this.root, { role: "group", "aria-label": "Block weights" });
    this.tools = buildTools(this);
    this.foot = buildFoot(this);
    this.number = this.foot.number;
    this.root.append(this.tools.row);
    this.plot = this.root.appendChild(element("div", "ipa-plot"));
    attributes(this.plot, { role: "group", "aria-label": "Bars", "aria-description": HELP });
    this.root.append(this.foot.row);
    this.note = this.root.appendChild(element("div", "ipa-note"));
    this.note.setAttribute("role", "status");
    this.listen();
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
    for (const control of [this.tools.fill, this.number, this.tools.paste]) {
      control.disabled = shown.readOnly;
    }
    // A sentence that comes or goes would move the bars under the hand that drags one.
    if (!this.drag?.moved) this.say(shown.note);
  }

  /** @param {Shown} shown */
  build({ family, families, parts, side, known }) {
    this.elements = buildBars(this.plot, this.bars, parts, side, known);
    this.lines = this.plot.childElementCount;
    offerFamilies(this.tools.families, families, family);
    offerLayers(this.tools.layers, parts, this.detail);
  }

  paint() {
    const axis = this.axis();
    this.bars.forEach((bar, i) => paintBar(this.elements[i], bar, axis, i === this.chosen));
    const bar = this.bars[this.chosen];
    if (!this.shown) return;
    this.foot.place.textContent = translated(placeName(bar, this.shown.parts, this.shown.side));
    if (document.activeElement !== this.number) this.number.value = shownValue(bar.value);
    this.paintBubble(bar, axis);
  }

  /**
   * @param {Bar} bar
   * @param {[number, number]} axis
   */
  paintBubble(bar, axis) {
    if (!this.drag?.moved) {
      this.bubble.remove();
      return;
    }
    this.bubble.textContent = shownValue(bar.value);
    const place = Math.min(Math.max(placeOf(Math.max(bar.value, 0), axis), 0), 1);
    this.bubble.style.top = `${place * 100}%`;
    this.elements[this.chosen].append(this.bubble);
  }

  axis() {
    return this.drag?.axis ?? axisOf(this.bars.map(({ value }) => value));
  }

  /** @param {string} note */
  say(note) {
    const text = translated(note);
    if (this.note.textContent !== text) this.note.textContent = text;
  }

  /** @param {string} family */
  draw(family) {
    this.owner.choose(family);
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

  /** @param {string} name of a way to fill all bars shown */
  fill(name) {
    this.write(this.bars, filled(name, this.bars.map(({ value }) => value)));
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
    const beside = this.elements[index].closest(".ipa-line");
    const line = this.elements.flatMap((each, i) => (beside?.contains(each) ? [i] : []));
    this.drag = new Stroke(event, index, line, this.axis());
    this.elements[index].setPointerCapture(event.pointerId);
  }

  /** @param {PointerEvent} event */
  move(event) {
    if (!this.drag || !event.isPrimary) return;
    event.stopPropagation();
    // Places on the screen, so that the canvas may be zoomed and moved in any way.
    const drawn = this.drag.to(event, (index) => this.elements[index].getBoundingClientRect());
    if (!drawn || this.shown?.readOnly) return;
    if (this.drag.last.index !== this.chosen) this.focus(this.drag.last.index);
    this.write(drawn.touched.map((index) => this.bars[index]), drawn.values);
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
    if (!moved) return;
    this.owner.cancel();
    this.paint();
  }

  /** @param {KeyboardEvent} event */
  pressKey(event) {
    // Shortcuts such as undo, save and run stay the host's; plain keys are ours.
    if (event.ctrlKey || event.metaKey || event.altKey || event.key === "Tab") return;
    event.stopPropagation();
    if (event.target === this.number) this.pressNumberKey(event);
    else if (this.indexOf(event) >= 0) this.pressBarKey(event);
  }

  /** @param {KeyboardEvent} event */
  pressNumberKey(event) {
    if (event.key === "Escape") this.number.value = shownValue(this.bars[this.chosen].value);
    if (["Enter", "Escape"].includes(event.key)) this.focus(this.chosen);
  }

  /** @param {KeyboardEvent} event */
  pressBarKey(event) {
    const bar = this.bars[this.chosen];
    const meaning = meaningOfKey(event, bar.value, this.chosen);
    if (!meaning) return;
    event.preventDefault();
    if ("value" in meaning) this.change(meaning.value);
    else if ("place" in meaning) this.focus(meaning.place);
    else if ("typed" in meaning) this.startTyping(meaning.typed);
    else if (meaning.act === "enter") this.enter(bar);
    else this.escape();
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
    answerClipboard(event, () => this.owner.copy(), (text) => this.use(text));
  }

  async copy() {
    await copyText(this.owner.copy());
    this.say("Copied.");
  }

  async paste() {
    await this.use(await pastedText());
  }

  /** @param {string} text */
  async use(text) {
    if (this.shown?.readOnly) return;
    const wrong = await this.owner.paste(text);
    if (wrong) this.say(wrong);
    else this.owner.finish();
  }
}
