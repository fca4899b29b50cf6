// @ts-check
/** What a prompt is refused with, as a person reads it; no app, no DOM. */

/** The host sets the name of an input before what a node says of it, and this between them. */
export const DASH = " - ";
/** The type of the error, which is for programs. */
const TYPE = /^ipadapter\.(\w+): /;
/** Which input it is about, where the host names another one. @type {Record<string, string[]>} */
const ABOUT = {
  WrongBase: ["adapter", "adapter_file", "kind", "model"],
  WrongEncoder: ["embeds", "encoder_file", "kind"],
  MissingModel: ["kind", "adapter_file", "encoder_file", "pack"],
};

/** A sentence without the type before it. @param {string} text */
export function withoutType(text) {
  return text.replace(TYPE, "");
}

/**
 * The sentence of an error, without type, behind the input that it is about.
 * @param {any} error of the host, which is changed
 * @param {string[]} inputs of the node
 * @param {(english: string) => string} translated
 */
export function humanise(error, inputs, translated) {
  if (typeof error?.details !== "string") return;
  const dash = error.details.indexOf(DASH);
  const name = dash < 0 ? "" : error.details.slice(0, dash);
  const said = dash < 0 ? error.details : error.details.slice(dash + DASH.length);
  const type = TYPE.exec(said)?.[1];
  const text = withoutType(said);
  const about = type ? subject(type, text, name, inputs) : name;
  error.details = `${name && `${about}${DASH}`}${translated(text)}`;
  if (about !== name && error.extra_info?.input_name === name) error.extra_info.input_name = about;
}

/**
 * @param {string} type
 * @param {string} text
 * @param {string} name by the host
 * @param {string[]} inputs
 */
function subject(type, text, name, inputs) {
  const known = (ABOUT[type] ?? []).filter((one) => inputs.includes(one));
  if (known.length > 0) return known.includes(name) ? name : known[0];
  const first = /^\w+/.exec(text)?.[0] ?? "";
  return inputs.includes(first) ? first : name;
}
