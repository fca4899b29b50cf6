// @ts-check
/** What the server is asked: what the widgets of a node mean, and what is known of files. */

// @ts-ignore: served by the host
import { api } from "../../scripts/api.js";
import { inTurn } from "./in_turn.js";

const MOST_KNOWN = 64;
const LONGEST_WAIT = 10_000;

/**
 * Why there is no answer, in the server's words if it has any.
 * @param {any} reply
 * @returns {Promise<Error>}
 */
export async function failure(reply) {
  const said = await reply.json().catch(() => null);
  const why = typeof said?.error === "string" ? said.error : `${reply.status}`;
  // What is busy, or slow, is asked again.
  return Object.assign(new Error(why), { isFinal: [400, 403, 413].includes(reply.status) });
}

/**
 * Ask about files, few questions at a time.
 * @param {string} path
 * @returns {Promise<any>} rejected if the server does not answer
 */
export function askFile(path) {
  return inTurn(async () => {
    const reply = await api.fetchApi(path);
    if (!reply.ok) throw await failure(reply);
    return reply.json();
  });
}

/** What is asked about files in addresses; each question once, until all is forgotten. */
export class FileAnswers {
  /**
   * @param {string} path
   * @param {any} unknown the answer while the server is away or busy
   */
  constructor(path, unknown) {
    this.path = path;
    this.unknown = unknown;
    /** @type {Map<string, Promise<any>>} */
    this.known = new Map();
  }

  /** @param {string} query */
  ask(query) {
    const answer = this.known.get(query) ?? this.fetch(query);
    this.known.set(query, answer);
    return answer;
  }

  /** @param {string} query */
  async fetch(query) {
    try {
      return await askFile(`${this.path}?${query}`);
    } catch {
      this.known.delete(query); // the next change asks again
      return this.unknown;
    }
  }

  /** @param {string} query */
  has(query) {
    return this.known.has(query);
  }

  clear() {
    this.known.clear();
  }
}

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
    if (!reply.ok) throw await failure(reply);
    const answer = await reply.json();
    this.known.set(question, answer);
    if (this.known.size > MOST_KNOWN) this.known.delete([...this.known.keys()][0]);
    return answer;
  }
}
