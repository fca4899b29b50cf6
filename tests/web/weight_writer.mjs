// Reads {factors, fills} as JSON; says the text of each factors, and what each way to fill makes.
import { FILL_NAMES, filled } from "../../web/bars.js";
import { writeWeights } from "../../web/weight_text.js";

let input = "";
for await (const chunk of process.stdin) input += chunk;
const { factors, fills } = JSON.parse(input);
const answer = {
  texts: factors.map((/** @type {number[][]} */ each) => writeWeights(each)),
  fills: Object.fromEntries(
    FILL_NAMES.map((name) => [name, fills.map((/** @type {number[]} */ each) => filled(name, each))]),
  ),
};
process.stdout.write(JSON.stringify(answer));
