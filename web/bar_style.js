// @ts-check
/** How the pack's editors look, in the colours of the theme; each editor carries its own copy. */

export const STYLE = `
.ipa-editor {
  --ipa-back: var(--comfy-input-bg, #222);
  --ipa-ink: var(--input-text, #ddd);
  --ipa-line: color-mix(in srgb, var(--ipa-ink) 30%, var(--ipa-back));
  display: flex; flex-direction: column; gap: 4px;
  box-sizing: border-box; min-width: 0; padding: 4px 6px;
  font: 11px/16px sans-serif; color: var(--ipa-ink); background: var(--ipa-back);
  border-radius: 4px; user-select: none;
}
.ipa-editor * { box-sizing: border-box; }
.ipa-row { display: flex; flex-wrap: wrap; align-items: center; gap: 4px; flex: none; }
.ipa-row button, .ipa-row select, .ipa-row input {
  font: inherit; color: inherit; background: transparent; height: 22px; padding: 0 6px; margin: 0;
  border: 1px solid color-mix(in srgb, var(--ipa-ink) 55%, var(--ipa-back)); border-radius: 4px;
  min-width: 0;
}
.ipa-row button, .ipa-row select { cursor: pointer; }
.ipa-row select { width: 88px; }
.ipa-row .ipa-fill { width: 56px; }
@supports (field-sizing: content) { .ipa-row .ipa-fill { width: auto; min-width: 56px; field-sizing: content; } }
.ipa-row .ipa-families { width: 104px; }
.ipa-row option { color: var(--ipa-ink); background: var(--ipa-back); }
.ipa-row input { width: 64px; user-select: text; }
.ipa-row :disabled { opacity: 0.5; cursor: default; }
.ipa-row .ipa-place { flex: 1; min-width: 0; }
.ipa-editor :focus-visible { outline: 2px solid var(--ipa-ink); outline-offset: 1px; }
.ipa-plot { display: flex; flex-direction: column; flex: 1 0 auto; gap: 5px; }
.ipa-line { display: flex; flex: 1 0 116px; gap: 5px; }
.ipa-known { flex-basis: 131px; }
.ipa-crowd { display: flex; flex-direction: column; flex: 1 0 116px; }
.ipa-crowd > span { font-size: 10px; line-height: 14px; }
.ipa-crowd > .ipa-line { flex: 1 0 0; min-height: 0; gap: 4px; }
.ipa-group { display: flex; flex-direction: column; min-width: 0; }
.ipa-group > span { text-align: center; white-space: nowrap; overflow: hidden; font-size: 10px; line-height: 14px; }
.ipa-crowd .ipa-group > span { text-align: left; overflow: visible; }
.ipa-words { display: flex; gap: 1px; flex: none; height: 15px; font: 9px/11px sans-serif; }
.ipa-words > span { min-width: 0; margin: 0 -2px; text-align: center; white-space: nowrap; overflow: hidden; text-overflow: clip; }
.ipa-words > [data-known] { border-bottom: 2px solid color-mix(in srgb, var(--ipa-ink) 60%, var(--ipa-back)); margin: 0 0 2px; overflow: visible; display: flex; justify-content: center; }
.ipa-words > [data-known]:has(i) { justify-content: flex-start; text-indent: 3px; }
.ipa-words i { text-indent: 0; font-style: normal; opacity: 0.75; }
.ipa-bars { display: flex; flex: 1; gap: 1px; min-height: 0; background: color-mix(in srgb, var(--ipa-ink) 7%, var(--ipa-back)); }
.ipa-bar { position: relative; flex: 1; min-width: 4px; cursor: ns-resize; touch-action: none; }
.ipa-bar > i { position: absolute; left: 8%; right: 8%; min-height: 2px; background: color-mix(in srgb, var(--ipa-ink) 75%, var(--ipa-back)); pointer-events: none; }
.ipa-bar > u { position: absolute; left: 0; right: -1px; height: 1px; background: var(--ipa-line); pointer-events: none; }
.ipa-bar > b { position: absolute; left: 0; right: 0; bottom: 0; text-align: center; font: 9px/11px sans-serif; pointer-events: none; }
.ipa-value { position: absolute; left: 50%; transform: translate(-50%, -120%); padding: 0 4px; z-index: 2; white-space: nowrap; font: 11px/15px sans-serif; color: var(--ipa-back); background: var(--ipa-ink); border-radius: 3px; pointer-events: none; }
.ipa-bar[data-flipped] > i { background: repeating-linear-gradient(45deg, var(--ipa-ink) 0 2px, transparent 2px 5px); outline: 1px solid var(--ipa-ink); outline-offset: -1px; }
.ipa-bar[data-mixed] > i { background: color-mix(in srgb, var(--ipa-ink) 50%, var(--ipa-back)); border: 1px dashed var(--ipa-ink); }
.ipa-bar[data-chosen] { box-shadow: inset 0 0 0 1px var(--ipa-ink); }
.ipa-bar:focus-visible { outline: 2px solid var(--ipa-ink); outline-offset: 0; z-index: 1; }
.ipa-editor[aria-disabled="true"] .ipa-bar { cursor: default; }
.ipa-note { flex: none; min-height: 16px; max-height: 64px; overflow: auto; overflow-wrap: anywhere; user-select: text; }
.ipa-picture polyline { fill: none; stroke: var(--ipa-ink); stroke-width: 2; vector-effect: non-scaling-stroke; }
.ipa-picture .ipa-axis { stroke: var(--ipa-line); stroke-width: 1; }
.ipa-picture .ipa-other { stroke-dasharray: 2 3; opacity: 0.7; }
.ipa-picture .ipa-goes-on { stroke-dasharray: 4 4; }
.ipa-picture { display: block; flex: 1 0 64px; min-height: 64px; width: 100%; overflow: visible; }
.ipa-picture:empty { display: none; }
.ipa-picture:empty + .ipa-note { max-height: 100%; }
`;

/**
 * @param {string} kind value of data-ipadapter, by which the element is found again
 */
export function editorRoot(kind) {
  const root = document.createElement("div");
  root.className = "ipa-editor";
  root.dataset.ipadapter = kind;
  const style = document.createElement("style");
  style.textContent = STYLE;
  root.append(style);
  return root;
}
