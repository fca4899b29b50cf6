import assert from "node:assert/strict";
import { test } from "node:test";

import { filterOf, oldNames } from "../../web/old_names.js";

const OURS = "custom_nodes.any-folder";
const def = (name, python_module = OURS) => ({ name, python_module });

test("old names are those of this pack that another pack has chosen", () => {
  const old = ["IPAdapter", "IPAdapterAdvancedV2", "IPAAdapterFaceIDBatch", "PrepImageForInsightFace"];
  const defs = [...[...old, "IPAApply", "IPAConvertAdapter"].map((name) => def(name)), def("KSampler", "nodes")];
  assert.deepEqual([...oldNames(defs)].sort(), [...old].sort());
});

test("names that the other pack has itself are not ours to hide", () => {
  const defs = [def("IPAApply"), def("IPAdapterAdvanced", "custom_nodes.ComfyUI_IPAdapter_plus")];
  assert.equal(oldNames(defs).size, 0);
  assert.equal(oldNames([def("IPAdapterAdvanced")]).size, 0);
});

test("the filter lets everything else through, and old names where they are wanted", () => {
  let shown = false;
  const filter = filterOf(() => new Set(["IPAdapter"]), () => shown);
  assert.equal(filter.predicate(def("IPAdapter")), false);
  assert.equal(filter.predicate(def("IPAApply")), true);
  shown = true;
  assert.equal(filter.predicate(def("IPAdapter")), true);
});
