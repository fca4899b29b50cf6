// @ts-check
/**
 * How an example looks: links of its note as dark or light as the text around them, and the picture
 * that its result is compared with, which is no node of the server and nothing that is run.
 */

// @ts-ignore: served by the host
import { api } from "../../scripts/api.js";
// @ts-ignore: served by the host
import { app } from "../../scripts/app.js";

/** @type {any} */
const { LiteGraph } = window;
const KIND = "IPAExampleResult";
const SHIPPED = /^\w+\.jpg$/;
// The links of the pack's notes end like this. The host's own colour is too near that of a note.
const OURS = 'a[href$="#ipadapter"]';
const STYLE = `
.comfy-markdown .tiptap ${OURS}, .comfy-markdown-content ${OURS} { color: inherit; }
.comfy-markdown-content h3:has(> ${OURS}) { margin-top: 0.5rem; margin-bottom: 0; }
.comfy-markdown-content:has(${OURS}) h2 { margin-top: 1rem; margin-bottom: 0.5rem; }
`;

/** @param {unknown} name */
function address(name) {
  const pack = new URL(import.meta.url).pathname.match(/\/extensions\/([^/]+)\//)?.[1];
  const shipped = typeof name === "string" && SHIPPED.test(name);
  return shipped ? api.apiURL(`/workflow_templates/${pack}/results/${name}`) : "";
}

class ExampleResult extends LiteGraph.LGraphNode {
  /** @param {string} title */
  constructor(title) {
    super(title);
    this.isVirtualNode = true;
    this.serialize_widgets = false;
    this.picture = document.createElement("img");
    this.picture.dataset.ipadapter = "result";
    this.picture.style.cssText = "width: 100%; height: 100%; object-fit: contain";
    const shown = { serialize: false, hideOnZoom: false, getMinHeight: () => 60 };
    this.addDOMWidget("picture", "ipadapter-result", this.picture, shown);
  }

  onConfigure() {
    this.picture.src = address(this.properties.picture);
    this.picture.alt = this.title;
  }
}

app.registerExtension({
  name: "ipadapter.exampleLook",
  init() {
    const style = document.createElement("style");
    style.textContent = STYLE;
    document.head.append(style);
  },
  registerCustomNodes() {
    LiteGraph.registerNodeType(KIND, Object.assign(ExampleResult, { title: "Result", skip_list: true }));
  },
});
