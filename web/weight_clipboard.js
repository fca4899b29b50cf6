// @ts-check
/** Weights on the clipboard; where the system's may not be used, on one of this page. */

let own = "";

/** @param {string} text */
export async function copyText(text) {
  own = text;
  // Refused, or absent on pages that are not secure: then it can be pasted in this page only.
  await navigator.clipboard?.writeText(text).catch(() => {});
}

/** @returns {Promise<string>} */
export async function pastedText() {
  return (await navigator.clipboard?.readText().catch(() => own)) ?? own;
}

/**
 * Answer Ctrl+C or Ctrl+V, which the host would take for nodes.
 * @param {ClipboardEvent} event
 * @param {() => string} copied
 * @param {(text: string) => void} use
 */
export function answerClipboard(event, copied, use) {
  event.stopPropagation();
  event.preventDefault();
  if (event.type === "copy") {
    own = copied();
    event.clipboardData?.setData("text/plain", own);
  } else {
    use(event.clipboardData?.getData("text/plain") ?? "");
  }
}
