// @ts-check
/** Few questions to the server at a time; no app, no DOM. */

/** A workflow may raise very many, and the host's own requests share the page's connections. */
const AT_ONCE = 2;
let running = 0;
/** @type {((value?: any) => void)[]} */
const waiting = [];

/**
 * Do something when it is its turn.
 * @template T
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function inTurn(work) {
  if (running >= AT_ONCE) await new Promise((resolve) => waiting.push(resolve));
  else running += 1;
  try {
    return await work();
  } finally {
    // Whoever waits longest takes this place.
    const next = waiting.shift();
    if (next) next();
    else running -= 1;
  }
}
