// @ts-check
/** What a node asks the server about its widgets: the newest question counts; no app, no DOM. */

/** In ms; from then on the user is told that there is no answer, and it is asked again. */
export const PATIENCE = 2000;

/**
 * @typedef {object} Source
 * @property {Map<string, any>} known answers by question
 * @property {(question: string) => Promise<any>} answer rejected if there is none
 */

export class LatestRequest {
  /**
   * @param {Source} source
   * @param {() => void} changed called when there is an answer, or none for too long
   */
  constructor(source, changed) {
    this.source = source;
    this.changed = changed;
    /** @type {any} the last answer, which may be to an older question */
    this.answer = null;
    this.answered = "";
    /** What is still to be answered, or nothing. */
    this.wanted = "";
    this.running = false;
    this.waiting = false;
    this.unanswered = false;
    /** Why the server refuses to answer, in its words, or nothing. */
    this.why = "";
  }

  /**
   * Whether the answer is to this question.
   * @param {object} question
   */
  answers(question) {
    return this.answered === JSON.stringify(question);
  }

  /** @param {object} question */
  ask(question) {
    this.wanted = JSON.stringify(question);
    const answer = this.source.known.get(this.wanted);
    if (answer) this.take(this.wanted, answer);
    else this.send();
  }

  /**
   * Take an answer that is known without asking; what was asked before is of no interest any more.
   * @param {object} question
   * @param {any} answer
   */
  suppose(question, answer) {
    this.wanted = "";
    this.answered = JSON.stringify(question);
    this.answer = answer;
  }

  /** One question at a time, so that a slow server is not asked about every letter. */
  async send() {
    if (this.running || !this.wanted) return;
    const asked = this.wanted;
    this.running = true;
    const late = setTimeout(() => this.complain(), PATIENCE);
    let why = "";
    const answer = await this.source.answer(asked).catch((error) => {
      if (error.isFinal) why = error.message;
      return null;
    });
    clearTimeout(late);
    this.running = false;
    this.why = why;
    if (answer) {
      this.arrive(asked, answer);
    } else if (why) {
      // Asked again it would be refused again.
      if (this.wanted === asked) this.wanted = "";
      this.complain();
      this.send();
    } else {
      this.complain();
      this.sendLater();
    }
  }

  /** Once, however many questions had no answer. */
  sendLater() {
    if (this.waiting) return;
    this.waiting = true;
    setTimeout(() => {
      this.waiting = false;
      this.send();
    }, PATIENCE);
  }

  /**
   * @param {string} asked
   * @param {any} answer
   */
  arrive(asked, answer) {
    this.unanswered = false;
    // An answer that was supposed meanwhile is newer than this one.
    const newest = asked === this.wanted || (this.wanted !== "" && this.wanted !== this.answered);
    if (newest) this.take(asked, answer);
    this.send();
  }

  /**
   * @param {string} asked
   * @param {any} answer
   */
  take(asked, answer) {
    if (asked === this.wanted) this.wanted = "";
    this.answered = asked;
    this.answer = answer;
    this.changed();
  }

  complain() {
    this.unanswered = true;
    this.changed();
  }
}
