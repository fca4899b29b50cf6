// @ts-check
/** Hears of every prompt that is sent, and what it is refused with, before the host says so itself. */

// @ts-ignore: served by the host
import { api } from "../../scripts/api.js";

/**
 * @typedef {(errors: any, reply: any) => void} Answered errors by node, and what the host answered
 *   where it took the prompt
 */

/** @param {(given: any[]) => Answered} sending called with what is sent; what it gives hears the answer */
export function watchQueue(sending) {
  const original = api.queuePrompt;
  /** @type {any} */
  api.queuePrompt = async function (/** @type {any[]} */ ...given) {
    const answered = sending(given);
    try {
      const reply = await original.apply(this, given);
      answered(reply?.node_errors, reply);
      return reply;
    } catch (error) {
      answered(/** @type {any} */ (error)?.response?.node_errors, undefined);
      throw error;
    }
  };
}
