// @ts-check
/** A stroke of the hand across the bars: which it touches, and the value it gives to each. */

import { FINE_STEP, STEP, snapped, valueAt } from "./bars.js";

/** So near to 0 or 1, as a share of the height, a bar is drawn to it. */
const NEAR = 0.04;
/** So far beyond its side, as a share of its width, a bar still holds the hand. */
const HOLD = 0.25;
const START = 3;

/** @typedef {{ left: number, right: number, top: number, height: number }} Box on the screen */

export class Stroke {
  /**
   * @param {{ clientX: number, clientY: number }} pressed
   * @param {number} index of the bar that was pressed
   * @param {number[]} line indices of the bars beside it, from left to right
   * @param {[number, number]} axis which stays while the hand draws
   */
  constructor(pressed, index, line, axis) {
    this.pressed = pressed;
    this.line = line;
    this.axis = axis;
    this.moved = false;
    /** The bar the hand was over last, and where. */
    this.last = { index, y: pressed.clientY };
  }

  /**
   * The bars that the hand has drawn since the last call, and their values.
   * @param {{ clientX: number, clientY: number, shiftKey: boolean }} hand
   * @param {(index: number) => Box} boxOf
   * @returns {{ touched: number[], values: number[] } | null} null as long as it is a press only
   */
  to(hand, boxOf) {
    const { clientX, clientY } = this.pressed;
    if (!this.moved && Math.hypot(hand.clientX - clientX, hand.clientY - clientY) < START) return null;
    const from = this.last;
    const index = this.over(hand.clientX, from.index, boxOf);
    const touched = between(from.index, index);
    // What was drawn before stays as it is; a bar that was only pressed is drawn now.
    if (touched.length > 1 && this.moved) touched.shift();
    this.moved = true;
    this.last = { index, y: hand.clientY };
    const { top, height } = boxOf(index);
    const values = touched.map((each) => {
      const share = index === from.index ? 1 : (each - from.index) / (index - from.index);
      const y = from.y + (hand.clientY - from.y) * share;
      return this.valueOf((y - top) / height, hand.shiftKey);
    });
    return { touched, values };
  }

  /**
   * @param {number} x
   * @param {number} last
   * @param {(index: number) => Box} boxOf
   */
  over(x, last, boxOf) {
    const { left, right } = boxOf(last);
    const hold = (right - left) * HOLD;
    if (x >= left - hold && x <= right + hold) return last;
    // Gaps between groups belong to the bar before them, and what lies outside to the last one.
    const before = this.line.filter((index) => boxOf(index).left <= x);
    return before.at(-1) ?? this.line[0];
  }

  /**
   * @param {number} place share of the height, from the top
   * @param {boolean} fine without drawing it to 0 and 1
   */
  valueOf(place, fine) {
    const value = valueAt(place, this.axis);
    if (fine) return snapped(value, FINE_STEP);
    const near = NEAR * (this.axis[1] - this.axis[0]);
    return [0, 1].find((each) => Math.abs(value - each) < near) ?? snapped(value, STEP);
  }
}

/**
 * All from one to the other, in this order, both included.
 * @param {number} from
 * @param {number} to
 */
function between(from, to) {
  const way = Math.sign(to - from);
  return Array.from({ length: Math.abs(to - from) + 1 }, (_, i) => from + way * i);
}
