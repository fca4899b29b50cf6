"""ComfyUI's page in a real browser, and what a user does there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from conftest import BROWSER
from kit.server.live import Client
from playwright.sync_api import Browser, Locator, Page, Playwright, Request, Route

Graph = dict[str, Any]
LOCAL = ("127.0.0.1", "localhost")
MEANINGS = re.compile("/ipadapter/(weights|schedule)$")
SETTINGS = {
    "Comfy.TutorialCompleted": True,
    "Comfy.Notification.ShowVersionUpdates": False,
    "Comfy.Release.Status": "skipped",
    "Comfy.Workflow.Persist": False,
    "Comfy.Minimap.Visible": False,
    "Comfy.Workflow.WarnBlueprintOverwrite": False,
}
FRAMES = """async () => {
  for (let i = 0; i < 3; i++) await new Promise(requestAnimationFrame);
}"""
ADD = """async ([type, widgets]) => {
  const node = window.LiteGraph.createNode(type);
  window.app.canvas.graph.add(node);
  for (const [name, value] of Object.entries(widgets)) {
    const widget = node.widgets.find((each) => each.name === name);
    widget.value = value;
    widget.callback?.(value);
  }
  return String(node.id);
}"""
WIDGETS = """(id) => {
  const node = window.app.canvas.graph.getNodeById(id);
  return Object.fromEntries(
    node.widgets.filter((each) => each.serialize !== false).map((each) => [each.name, each.value]));
}"""
SET = """([id, name, value]) => {
  const node = window.app.canvas.graph.getNodeById(id);
  const widget = node.widgets.find((each) => each.name === name);
  widget.value = value;
  widget.callback?.(value);
}"""
CONNECT = """([from, to, name]) => {
  const [source, target] = [from, to].map((id) => window.app.canvas.graph.getNodeById(id));
  const slot = target.inputs.findIndex((each) => each.name.startsWith(name));
  source.connect(0, target, slot);
}"""
RUN = """() => new Promise((resolve) => {
  const { api } = window.comfyAPI.api;
  let cached = [];
  api.addEventListener("execution_cached", (e) => { cached = e.detail.nodes; }, { once: true });
  api.addEventListener("execution_success", () => resolve(cached), { once: true });
  api.addEventListener("execution_error", (e) => resolve(e.detail.exception_message), {once: true});
  window.app.queuePrompt(0, 1).then((sent) => sent || resolve("refused"));
})"""
CLEAR = """async () => {
  const empty = { version: 0.4, nodes: [], links: [], last_node_id: 0, last_link_id: 0 };
  const { activeWorkflow } = window.app.extensionManager.workflow;
  await window.app.loadGraphData(empty, true, true, activeWorkflow);
  const ds = window.app.canvas.ds;
  ds.scale = 1;
  ds.offset = [240, 120];
  window.app.canvas.setDirty(true, true);
}"""
ELSEWHERE = """async () => {
  const { workflow, command } = window.app.extensionManager;
  const here = workflow.activeWorkflow;
  await command.execute("Comfy.NewBlankWorkflow");
  if (workflow.activeWorkflow === here) throw new Error("no other workflow was opened");
  await new Promise((resolve) => setTimeout(resolve, 300));
  const texts = document.querySelectorAll("[data-ipadapter='about']").length;
  await command.execute("Workspace.CloseWorkflow");
  if (workflow.activeWorkflow !== here) throw new Error("the first workflow is not back");
  return texts;
}"""


OPTIONS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]


def launch(playwright: Playwright) -> Browser:
    """A Chromium that runs for root and in a container too."""
    return playwright.chromium.launch(executable_path=BROWSER, args=OPTIONS)


class ComfyPage:
    """One tab; everything it complains about and every foreign address it asks for is noted.

    Attributes:
        vue: whether nodes are drawn by Vue ("Nodes 2.0") and not on the canvas.
        file: the file of tests that uses the tab.
        asked: what the editors have asked the server about widgets, since `clear`.
    """

    def __init__(self, client: Client, browser: Browser, vue: bool) -> None:
        self.vue = vue
        self.file: Path | None = None
        self.complaints: list[str] = []
        self.asked: list[str] = []
        self._unanswered: set[Request] = set()
        self._holding = False
        self._not_ours: set[str] = set()
        settings = SETTINGS | {"Comfy.VueNodes.Enabled": vue}
        assert client.post("/settings", settings)[0] == 200
        context = browser.new_context(viewport={"width": 1400, "height": 900}, has_touch=True)
        context.grant_permissions(["clipboard-read", "clipboard-write"], origin=client.address)
        self.page: Page = context.new_page()
        self.page.set_default_timeout(30_000)
        self.page.on("request", self._asks)
        for answered in ("requestfinished", "requestfailed"):
            self.page.on(answered, lambda request: self._unanswered.discard(request))
        self.page.route(lambda url: not self._is_local(url), self._foreign)
        self.page.goto(client.address, wait_until="domcontentloaded", timeout=120_000)
        ready = (
            "() => window.app?.extensionManager && (window.app.isGraphReady ?? window.app.graph)"
        )
        self.page.wait_for_function(ready, timeout=180_000)
        self.page.wait_for_function("() => !window.app.extensionManager.spinner", timeout=180_000)
        # The host's own first graph names models of its own; what it asks for is not ours, and on a
        # busy machine it asks late.
        first = self.page.evaluate("() => JSON.stringify(window.app.graph.serialize())")
        self._not_ours = set(re.findall(r"https?://[^\s\"\\)]+", first))
        self.clear()
        self.complaints.clear()
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.complaints.append(f"page error: {error}"))

    def _is_local(self, url: str) -> bool:
        return any(url.startswith(f"http://{host}:") for host in LOCAL) or not url.startswith(
            "http"
        )

    def _foreign(self, route: Any) -> None:
        if route.request.url not in self._not_ours:
            self.complaints.append(f"foreign address: {route.request.url}")
        route.fulfill(status=200, content_type="application/json", body="[]")

    def _said(self, message: Any) -> None:
        if message.type == "error" and not any(url in message.text for url in self._not_ours):
            self.complaints.append(message.text)

    def _asks(self, request: Request) -> None:
        if MEANINGS.search(request.url):
            self.asked.append(request.post_data or "")
            self._unanswered.add(request)

    def settle(self) -> None:
        """Let the server answer the editors, and the frames pass in which the host redraws."""
        self.page.evaluate(FRAMES)
        while self._unanswered and not self._holding:
            self.page.wait_for_timeout(10)
            self.page.evaluate(FRAMES)

    @contextmanager
    def silent_server(self) -> Iterator[list[Route]]:
        """The server leaves editors without an answer; in the end it answers all."""
        held: list[Route] = []
        self._holding = True
        self.page.route(MEANINGS, lambda route: held.append(route))
        try:
            yield held
        finally:
            self.page.unroute(MEANINGS)
            for route in held:
                route.continue_()
            self._holding = False
        self.settle()

    def used_by(self, file: Path) -> None:
        """What the last file of tests had on the server, the next one must not be offered."""
        if file != self.file:
            self.page.evaluate("() => window.app.reloadNodeDefs()")
            self.file = file

    def clear(self) -> None:
        self.page.evaluate(CLEAR)
        self.settle()
        self.asked.clear()

    def add(self, kind: str, **widgets: Any) -> str:
        node = self.page.evaluate(ADD, [kind, widgets])
        self.settle()  # sizes that nodes find for themselves belong to the same step of undo
        self.capture()
        self.settle()
        # For 50 ms the host counts what follows to the same step of undo.
        self.page.wait_for_timeout(80)
        return node

    def capture(self) -> None:
        """Begin a step of undo here, as a click of the user would."""
        self.page.evaluate(
            """() => {
              const tracker = window.app.extensionManager.workflow.activeWorkflow.changeTracker;
              (tracker.captureCanvasState ?? tracker.checkState).call(tracker);
            }"""
        )

    def widgets(self, node: str) -> dict[str, Any]:
        return self.page.evaluate(WIDGETS, node)

    def set(self, node: str, name: str, value: Any) -> None:
        self.page.evaluate(SET, [node, name, value])
        self.settle()

    def connect(self, source: str, target: str, name: str) -> None:
        """Its first output to the first input whose name begins like this."""
        self.page.evaluate(CONNECT, [source, target, name])
        self.settle()

    def run(self) -> list[str]:
        """Run the graph; the nodes that needed not run again."""
        cached = self.page.evaluate(RUN)
        assert isinstance(cached, list), cached
        return cached

    def saved(self) -> Graph:
        return json.loads(self.page.evaluate("() => JSON.stringify(window.app.graph.serialize())"))

    def load(self, graph: Graph) -> None:
        self.page.evaluate("(graph) => window.app.loadGraphData(graph)", graph)
        self.settle()

    def prompt(self) -> dict[str, Any]:
        """What would be sent to the server, by node."""
        return self.page.evaluate("async () => (await window.app.graphToPrompt()).output")

    def look_elsewhere(self) -> int:
        """Open an empty workflow in a tab of its own, close it and be back; the texts it showed."""
        texts = self.page.evaluate(ELSEWHERE)
        self.settle()
        self.page.wait_for_timeout(300)
        return texts

    def press(self, keys: str) -> None:
        self.page.keyboard.press(keys)
        self.settle()

    def drag(self, start: tuple[float, float], to: tuple[float, float]) -> None:
        mouse = self.page.mouse
        mouse.move(*start)
        mouse.down()
        mouse.move((start[0] + to[0]) / 2, (start[1] + to[1]) / 2, steps=2)
        mouse.move(*to)
        mouse.up()
        self.settle()

    def shown(self, selector: str) -> Locator:
        return self.page.locator(selector).locator("visible=true")
