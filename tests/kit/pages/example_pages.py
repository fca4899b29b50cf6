"""Writes the example workflows, built and saved by the host's real front end.

`python -m kit.pages.example_pages` starts a server and a browser, makes each workflow of
example_graphs.py as a user would, and leaves what the editor saves in example_workflows. The same
versions of ComfyUI and of its front end write the same bytes.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from kit.pages.blueprints import blueprints
from kit.pages.example_graphs import STEMS, sketches
from kit.pages.toy_graph import toy_models

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = ROOT / "example_workflows"
BLUEPRINTS = ROOT / "subgraphs"
TOY_EXAMPLES = ROOT / "demo" / "toy_nodes" / "example_workflows"


def main() -> None:
    from comfy_page import ComfyPage, launch
    from kit.pages.example_builder import Builder
    from kit.server import example_models, live
    from playwright.sync_api import sync_playwright
    from toys import put_files

    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        base = Path(place)
        # Loaders say more where their files are, and that takes room.
        example_models.write_models(base / "models")
        put_files(base / "models", base / "input")
        with live.running(base, base / "models") as client:
            browser = launch(playwright)
            builder = Builder(*(ComfyPage(client, browser, vue=vue) for vue in (False, True)))
            wanted = set(sys.argv[1:])
            for folder, some in ((EXAMPLES, sketches()), (TOY_EXAMPLES, [toy_models()])):
                for sketch in some:
                    if wanted and sketch.name not in wanted:
                        continue
                    stem = STEMS.get(sketch.name, sketch.name)
                    text = json.dumps(builder.built(sketch), indent=2, ensure_ascii=False) + "\n"
                    (folder / f"{stem}.json").write_text(text, "utf-8")
            for blueprint in blueprints():
                if not wanted or blueprint.sketch.name in wanted:
                    text = json.dumps(builder.folded(blueprint), indent=2, ensure_ascii=False)
                    path = BLUEPRINTS / f"{blueprint.sketch.name}.json"
                    path.write_text(f"{text}\n", "utf-8")
            browser.close()


if __name__ == "__main__":
    sys.path.append(str(ROOT / "tests" / "browser"))
    import conftest  # noqa: F401  # puts the host on the path and names the pack `pack`

    main()
