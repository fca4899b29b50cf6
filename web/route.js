// @ts-check
/** A route of the server that says what the widgets of a node mean. */

// @ts-ignore: served by the host
import { api } from "../../scripts/api.js";

const MOST_KNOWN = 64;
const LONGEST_WAIT = 10_000;

export class Route {
  /** @param {string} path */
  constructor(path) {
    this.path = path;
    /** The newest answers by question: undo makes nodes anew, and they are to be drawn at once. @type {Map<string, any>} */
    this.known = new Map();
  }

  /**
   * @param {string} question as JSON
   * @returns {Promise<any>} rejected if the server does not answer
   */
  async answer(question) {
    if (this.known.has(question)) return this.known.get(question);
    const reply = await api.fetchApi(this.path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: question,
      signal: AbortSignal.timeout(LONGEST_WAIT),
    });
    if (!reply.ok) throw new Error(`${reply.status}`);
    const answer = await reply.json();
    this.known.set(question, answer);
    if (this.known.size > MOST_KNOWN) this.known.delete([...this.known.keys()][0]);
    return answer;
  }
}
