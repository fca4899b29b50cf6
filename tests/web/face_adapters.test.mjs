import assert from "node:assert/strict";
import { test } from "node:test";

import { adaptersOf } from "../../web/folding/face_adapters.js";
import { graph } from "./editor_graph.mjs";

/** What is to be asked about the adapter of an Apply. */
function asked(from, nodes = {}) {
  const apply = { type: "IPAApply", inputs: { adapter: ["IP_ADAPTER", from] } };
  const made = graph({ apply, ...nodes });
  return adaptersOf(made).get(made.getNodeById("apply"));
}

test("without an adapter there is nothing to ask", () => {
  assert.deepEqual(asked(undefined), {});
});

test("a loader names the file, a search the kind", () => {
  const loader = { type: "IPALoadAdapter", widgets: { adapter_file: "face.bin" } };
  assert.deepEqual(asked("loader:0", { loader }), { adapter: "face.bin" });
  const widgets = { kind: "FaceID", adapter_file: "auto" };
  const search = { type: "IPALoadForModel", widgets };
  assert.deepEqual(asked("search:0", { search }), { kind: "FaceID" });
  const chosen = { type: "IPALoadForModel", widgets: { ...widgets, adapter_file: "plus.bin" } };
  assert.deepEqual(asked("chosen:0", { chosen }), { adapter: "plus.bin" });
});

test("what another node gives cannot be told, nor a kind that comes by a link", () => {
  assert.equal(asked("other:0", { other: { type: "OtherLoader" } }), null);
  const text = { type: "PrimitiveString" };
  const inputs = { kind: ["COMBO", "text:0", "kind"] };
  const search = { type: "IPALoadForModel", inputs, widgets: { adapter_file: "auto", kind: "plus" } };
  assert.equal(asked("search:0", { search, text }), null);
});
