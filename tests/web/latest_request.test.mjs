import assert from "node:assert/strict";
import { test } from "node:test";

import { LatestRequest, PATIENCE } from "../../web/latest_request.js";

/** A server whose answers come when the test says so. */
class Server {
  constructor() {
    this.known = new Map();
    /** @type {{ question: string, settle: (answer: any) => void, refuse: (isFinal?: boolean) => void }[]} */
    this.asked = [];
  }

  /** @param {string} question */
  answer(question) {
    return new Promise((settle, reject) => {
      const refuse = (isFinal = false) => reject(Object.assign(new Error("refused"), { isFinal }));
      this.asked.push({ question, settle, refuse });
    });
  }

  /** @param {any} answer */
  async settle(answer) {
    this.asked.at(-1)?.settle(answer);
    await passed();
  }
}

const passed = () => new Promise((resolve) => setImmediate(resolve));

function begin() {
  const server = new Server();
  /** @type {any[]} */
  const received = [];
  const request = new LatestRequest(server, () => received.push(request.unanswered ? "no answer" : request.answer));
  return { server, received, request };
}

test("what is asked while a question is on its way waits, and only the newest is asked", async () => {
  const { server, received, request } = begin();
  for (const text of ["1", "12", "123"]) request.ask({ text });
  assert.equal(server.asked.length, 1);
  await server.settle("first");
  assert.equal(request.answers({ text: "123" }), false);
  assert.deepEqual(server.asked.map(({ question }) => question), ['{"text":"1"}', '{"text":"123"}']);
  await server.settle("last");
  assert.deepEqual(received, ["first", "last"]);
  assert.equal(request.answers({ text: "123" }), true);
  assert.equal(server.asked.length, 2);
});

test("what was supposed meanwhile is not overwritten by an answer to something older", async () => {
  const { server, received, request } = begin();
  request.ask({ text: "typed" });
  request.suppose({ text: "dragged" }, "mine");
  await server.settle("typed");
  assert.deepEqual([request.answer, received], ["mine", []]);
  request.ask({ text: "dragged" });
  request.suppose({ text: "dragged on" }, "mine too");
  request.ask({ text: "dragged on" });
  await server.settle("dragged");
  assert.equal(request.answer, "mine too");
  await server.settle("dragged on");
  assert.deepEqual([request.answer, received], ["dragged on", ["dragged on"]]);
});

test("what is known is answered at once, and what was on its way comes too late", async () => {
  const { server, received, request } = begin();
  server.known.set('{"text":"known"}', "at once");
  request.ask({ text: "new" });
  request.ask({ text: "known" });
  assert.deepEqual(received, ["at once"]);
  await server.settle("late");
  assert.deepEqual([request.answer, received], ["at once", ["at once"]]);
  assert.equal(request.answers({ text: "known" }), true);
});

test("a server that does not answer is said not to, and is believed when it does", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const { server, received, request } = begin();
  request.ask({ text: "1" });
  context.mock.timers.tick(PATIENCE - 1);
  assert.deepEqual(received, []);
  context.mock.timers.tick(1);
  assert.deepEqual(received, ["no answer"]);
  await server.settle("late");
  assert.deepEqual(received, ["no answer", "late"]);
  request.ask({ text: "2" });
  await server.settle("in time");
  context.mock.timers.tick(PATIENCE);
  assert.deepEqual(received, ["no answer", "late", "in time"]);
});

test("a server that refuses is asked again, about what is wanted by then", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const { server, received, request } = begin();
  request.ask({ text: "1" });
  server.asked[0].refuse();
  await passed();
  assert.deepEqual(received, ["no answer"]);
  request.suppose({ text: "2" }, "mine");
  context.mock.timers.tick(PATIENCE);
  assert.equal(server.asked.length, 1);
  request.ask({ text: "2" });
  server.asked[1].refuse();
  await passed();
  assert.equal(request.answer, "mine");
  context.mock.timers.tick(PATIENCE);
  assert.deepEqual(server.asked.slice(1).map(({ question }) => question), ['{"text":"2"}', '{"text":"2"}']);
  await server.settle("there again");
  assert.deepEqual([request.answer, request.unanswered], ["there again", false]);
});

test("a server that refuses many questions is asked again once", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const { server, request } = begin();
  for (let i = 0; i < 5; i += 1) {
    request.ask({ text: `${i}` });
    server.asked[i].refuse();
    await passed();
  }
  assert.equal(server.asked.length, 5);
  context.mock.timers.tick(PATIENCE);
  assert.equal(server.asked.length, 6);
  server.asked[5].refuse();
  await passed();
  context.mock.timers.tick(PATIENCE);
  assert.equal(server.asked.length, 7);
});

test("what the server refuses is not asked again, and its reason is told", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const { server, received, request } = begin();
  request.ask({ text: "long" });
  server.asked[0].refuse(true);
  await passed();
  assert.deepEqual([received, request.why, request.wanted], [["no answer"], "refused", ""]);
  context.mock.timers.tick(10 * PATIENCE);
  await passed();
  assert.equal(server.asked.length, 1);
  request.ask({ text: "short" });
  await server.settle("drawn");
  assert.deepEqual([request.answer, request.why, request.unanswered], ["drawn", "", false]);
});

test("what was asked meanwhile is asked after a refusal", async () => {
  const { server, request } = begin();
  request.ask({ text: "long" });
  request.ask({ text: "short" });
  server.asked[0].refuse(true);
  await passed();
  assert.deepEqual(server.asked.map(({ question }) => question), ['{"text":"long"}', '{"text":"short"}']);
});
