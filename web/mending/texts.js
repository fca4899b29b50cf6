// @ts-check
/** The words of the buttons that mend; no app, no DOM. */

/** @type {Record<string, Record<string, string>>} */
const WORDS = {
  en: { use: "use {0}", set: "set {0} to {1}", connect: "connect {0}" },
  zh: { use: "使用 {0}", set: "将 {0} 设为 {1}", connect: "连接 {0}" },
  ru: { use: "взять {0}", set: "{0}: {1}", connect: "подключить {0}" },
};

/**
 * @param {string} language as the host names it
 * @param {string} key
 * @param {string[]} parts
 */
export function label(language, key, parts) {
  const words = WORDS[language.split("-")[0]] ?? WORDS.en;
  return words[key].replace(/\{(\d)\}/g, (_, number) => parts[Number(number)] ?? "");
}
