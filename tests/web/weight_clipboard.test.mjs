import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

/** @type {typeof import("../../web/weight_clipboard.js")} */
let page;
let loaded = 0;

/**
 * The clipboard of the browser, or none, as on a page that is not secure.
 * @param {{ writeText: (text: string) => Promise<void>, readText: () => Promise<string> }} [clipboard]
 */
function browserWith(clipboard) {
  Object.defineProperty(globalThis, "navigator", { value: { clipboard }, configurable: true });
}

function shared(text = "") {
  return {
    text,
    /** @param {string} next */
    async writeText(next) {
      this.text = next;
    },
    async readText() {
      return this.text;
    },
  };
}

const REFUSING = {
  writeText: () => Promise.reject(new Error("not allowed")),
  readText: () => Promise.reject(new Error("not allowed")),
};

/** What is done with an event of the clipboard. @param {string} type @param {any} clipboardData */
function answered(type, clipboardData) {
  /** @type {any} */
  const did = { stopped: false, prevented: false, used: [] };
  const event = {
    type,
    clipboardData,
    stopPropagation: () => (did.stopped = true),
    preventDefault: () => (did.prevented = true),
  };
  page.answerClipboard(/** @type {any} */ (event), () => "3:0.5", (text) => did.used.push(text));
  return did;
}

beforeEach(async () => {
  // What was copied is remembered by the page: a new one for each test.
  page = await import(`../../web/weight_clipboard.js?${++loaded}`);
});

test("what is copied is on the system's clipboard, and what is pasted comes from there", async () => {
  const system = shared("of another program");
  browserWith(system);
  assert.equal(await page.pastedText(), "of another program");
  await page.copyText("0:1");
  assert.equal(system.text, "0:1");
  system.text = "1:1";
  assert.equal(await page.pastedText(), "1:1");
  system.text = "";
  assert.equal(await page.pastedText(), "");
});

for (const [name, clipboard] of /** @type {const} */ ([["absent", undefined], ["refused", REFUSING]])) {
  test(`where the system's clipboard is ${name}, the page has one of its own`, async () => {
    browserWith(clipboard);
    assert.equal(await page.pastedText(), "");
    await page.copyText("0:1");
    assert.equal(await page.pastedText(), "0:1");
    await page.copyText("2:1");
    assert.equal(await page.pastedText(), "2:1");
  });
}

test("Ctrl+C copies the weights, and the host does not hear of it", async () => {
  /** @type {Record<string, string>} */
  const data = {};
  const did = answered("copy", { setData: (/** @type {string} */ type, /** @type {string} */ text) => (data[type] = text) });
  assert.deepEqual(data, { "text/plain": "3:0.5" });
  assert.deepEqual(did, { stopped: true, prevented: true, used: [] });
});

test("what Ctrl+C copied can be pasted where the system's clipboard may not be read", async () => {
  browserWith(REFUSING);
  answered("copy", null);
  assert.equal(await page.pastedText(), "3:0.5");
});

test("Ctrl+V uses the text of the clipboard, and the host does not hear of it", () => {
  answered("copy", null);
  const getData = (/** @type {string} */ type) => (type === "text/plain" ? "1:0.25" : "<b>1:0.25</b>");
  assert.deepEqual(answered("paste", { getData }), { stopped: true, prevented: true, used: ["1:0.25"] });
  assert.deepEqual(answered("paste", null).used, [""]);
});
