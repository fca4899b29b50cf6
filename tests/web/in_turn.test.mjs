import assert from "node:assert/strict";
import { test } from "node:test";

import { inTurn } from "../../web/in_turn.js";

test("a hundred questions are asked few at a time, in their order, and one that fails holds none", async () => {
  let running = 0;
  let most = 0;
  const begun = [];
  const ask = (number) =>
    inTurn(async () => {
      begun.push(number);
      most = Math.max(most, ++running);
      await new Promise((resolve) => setTimeout(resolve, 1));
      running -= 1;
      if (number % 3 === 0) throw new Error(`${number}`);
      return number;
    });
  const numbers = Array.from({ length: 100 }, (_, number) => number);
  const answers = await Promise.allSettled(numbers.map(ask));
  assert.equal(most, 2);
  assert.deepEqual(begun, numbers);
  assert.deepEqual(
    answers.map(({ value, reason }) => value ?? Number(reason.message)),
    numbers,
  );
  assert.equal(await ask(1), 1);
});
