import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";

const WEB = new URL("../../web/", import.meta.url);
const HOLE = /\[[\w-]+[~|^$*]?=["']\$\{([^}]+)/g;

/** What is put into the attributes of selectors without being escaped. */
function unescaped(source) {
  const escaped = [...source.matchAll(/const (\w+) = CSS\.escape\(/g)].map(([, name]) => name);
  const holes = [...source.matchAll(HOLE)].map(([, hole]) => hole);
  return holes.filter((hole) => !hole.startsWith("CSS.escape(") && !escaped.includes(hole));
}

test("whatever comes into a selector is escaped: a saved graph may hold any number of a node", () => {
  const files = readdirSync(WEB, { recursive: true }).filter((name) => name.endsWith(".js"));
  const sources = files.map((name) => readFileSync(new URL(name, WEB), "utf8"));
  assert.deepEqual(sources.flatMap(unescaped), []);
  assert.ok(sources.join("").match(HOLE).length >= 4);
});

test("what is not escaped is seen", () => {
  assert.deepEqual(unescaped('document.querySelector(`[data-node-id="${node.id}"] x`)'), ["node.id"]);
  assert.deepEqual(unescaped('const id = CSS.escape(a); `[data-a="${id}"] [data-b="${CSS.escape(c)}"]`'), []);
});
