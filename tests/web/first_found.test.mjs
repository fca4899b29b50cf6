/** The order of what a search for nodes finds. */

import assert from "node:assert/strict";
import test from "node:test";
import { firstFor } from "../../web/first_found.js";

const SIMPLE = { name: "IPASimple", search_aliases: ["ip adapter", "style", "image prompt"] };
const APPLY = { name: "IPAApply", search_aliases: ["style", "IPAdapterMS", "ipadapter"] };
const HOST = { name: "StyleModelLoader" };
const FOUND = [HOST, APPLY, SIMPLE];
const names = (found) => found.map(({ name }) => name);

test("a word of the node to begin with puts it first and leaves the others in their order", () => {
  for (const query of ["style", " Style ", "image-prompt", "image  prompt"]) {
    assert.deepEqual(names(firstFor(query, FOUND)), ["IPASimple", "StyleModelLoader", "IPAApply"]);
  }
});

test("a name of ours or an old one puts those first that list it", () => {
  for (const query of ["IP-Adapter", "ipadapter", "IP Adapter"]) {
    assert.deepEqual(names(firstFor(query, FOUND)), ["IPASimple", "IPAApply", "StyleModelLoader"]);
  }
  const old = names(firstFor("ipadapterms", FOUND));
  assert.deepEqual(old, ["IPAApply", "StyleModelLoader", "IPASimple"]);
});

test("any other search keeps the host's order", () => {
  for (const query of ["", "sty", "styles", "style model", "simple"]) {
    assert.equal(firstFor(query, FOUND), FOUND);
  }
});

test("a node that the host's filters left out does not come back", () => {
  assert.deepEqual(firstFor("style", [HOST, APPLY]), [HOST, APPLY]);
});
