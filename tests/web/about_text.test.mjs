import assert from "node:assert/strict";
import { test } from "node:test";

import { REPORTING, aboutLines, openLines } from "../../web/about_text.js";

test("lines of all parts are shown in order", () => {
  const output = { text: ["a.safetensors\nSD1.5, plus", "98 MB"] };
  assert.deepEqual(aboutLines(output), ["a.safetensors", "SD1.5, plus", "98 MB"]);
});

test("a bare string is taken as well", () => {
  assert.deepEqual(aboutLines({ text: "one\n\n two " }), ["one", "two"]);
});

test("outputs without text show nothing", () => {
  for (const output of [undefined, null, {}, { images: [] }, { text: [3, null] }]) {
    assert.deepEqual(aboutLines(output), []);
  }
});

test("the nodes that report are the ones that load, encode and merge", () => {
  assert.ok(REPORTING.has("IPALoadAdapter"));
  assert.ok(REPORTING.has("IPARegions") && REPORTING.has("IPASchedule"));
  assert.ok(!REPORTING.has("IPAApply"));
});

test("of a report the beginning is read first, and else all but the addresses", () => {
  const report = ["IP-Adapter report: pack 1", "Adapters in x:", "none"];
  const rest = ["Where to get what is missing (nothing is downloaded by itself):", "a: put b"];
  assert.equal(openLines(["To begin with", "a file", ...report, ...rest]), 2);
  assert.equal(openLines([...report, ...rest]), 3);
  assert.equal(openLines(report), 3);
  assert.equal(openLines(["any other text"]), 1);
});
