// Reads {parts, texts, numbers, ramps} as JSON and says what the browser makes of each.
import { factorAt, parseNumbers } from "../../web/ramp.js";
import { Unreadable, readWeights, writeWeights } from "../../web/weight_text.js";

/** @param {string} text @param {any} parts */
function reading(text, parts) {
  try {
    const { factors, references } = readWeights(text, parts);
    return { factors, references, written: writeWeights(factors) };
  } catch (error) {
    if (!(error instanceof Unreadable)) throw error;
    return { wrong: error.message };
  }
}

let input = "";
for await (const chunk of process.stdin) input += chunk;
const { parts, texts, numbers, ramps } = JSON.parse(input);
const answer = {
  texts: Object.fromEntries(
    Object.entries(parts).map(([family, of]) => [family, texts.map((text) => reading(text, of))]),
  ),
  numbers: numbers.map((text) => parseNumbers(text)),
  ramps: ramps.map(({ ramp, place, count }) => factorAt(ramp, place, count)),
};
process.stdout.write(JSON.stringify(answer));
