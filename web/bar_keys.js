// @ts-check
/** What a key means on a bar. */

import { COARSE_STEP, FINE_STEP, NEUTRAL, STEP, snapped } from "./bars.js";

export const HELP =
  "Arrow up and down change a bar, left and right go to another. Type a number, " +
  "or press Delete for 1. Enter opens its layers, Escape closes them.";

/**
 * @typedef {{ value: number } | { place: number } | { typed: string } | { act: "enter" | "escape" }}
 *   Meaning a new value, another bar, the beginning of a number, or something to do
 */

/**
 * @param {{ key: string, shiftKey: boolean }} pressed
 * @param {number} value of the bar
 * @param {number} place of the bar among those shown
 * @returns {Meaning | null} null for a key without one
 */
export function meaningOfKey({ key, shiftKey }, value, place) {
  const step = shiftKey ? FINE_STEP : STEP;
  /** @type {Record<string, number>} */
  const steps = { ArrowUp: step, ArrowDown: -step, PageUp: COARSE_STEP, PageDown: -COARSE_STEP };
  /** @type {Record<string, number>} */
  const places = { ArrowLeft: place - 1, ArrowRight: place + 1, Home: 0, End: Infinity };
  // What is not on the grid, such as a value of a preset, comes to the fine one.
  if (Object.hasOwn(steps, key)) return { value: snapped(value + steps[key], FINE_STEP) };
  if (Object.hasOwn(places, key)) return { place: places[key] };
  if (key === "Delete" || key === "Backspace") return { value: NEUTRAL };
  if (key === "Enter") return { act: "enter" };
  if (key === "Escape") return { act: "escape" };
  return /^[-+.,0-9]$/.test(key) ? { typed: key } : null;
}
