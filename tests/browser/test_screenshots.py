"""The pictures of the README: each scene is made on the host's real front end and looked at.

With IPADAPTER_PICTURES=1 in the environment they are written to .github/pictures, where the README
shows them from; otherwise to a temporary folder, and compared with what lies there.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import published
import pytest
from comfy_page import ComfyPage
from conftest import ROOT
from kit.server import live
from kit.server.live import Client
from PIL import Image, ImageDraw, ImageStat
from playwright.sync_api import Browser, expect

KEPT = ROOT / ".github" / "pictures"
WANTED = bool(os.environ.get("IPADAPTER_PICTURES"))
SHOWN = re.compile(r"\.github/pictures/([\w-]+)\.png")
VIEWPORT = {"width": 2400, "height": 1500}
ZOOM = 1.5
# The corner of the graph on the screen, clear of the host's own bars and buttons.
CORNER = (120, 140)
MARGIN = 20
MOST_BYTES = 150_000
TOLERANCE = 0.15  # of a side: letters are not as wide everywhere

SELECTION = "() => window.app.canvas.deselectAll?.()"
PLACE = """([places]) => {
  for (const [id, [x, y, width, height]] of Object.entries(places)) {
    const node = window.app.canvas.graph.getNodeById(id);
    node.pos = [x, y];
    if (width) node.setSize([width, height ?? node.size[1]]);
  }
  window.app.canvas.setDirty(true, true);
}"""
VIEW = """([zoom, corner]) => {
  const { graph, ds } = window.app.canvas;
  const nodes = graph._nodes;
  const left = Math.min(...nodes.map((node) => node.pos[0]));
  const top = Math.min(...nodes.map((node) => node.pos[1] - 30));
  ds.scale = zoom;
  ds.offset = [corner[0] / zoom - left, corner[1] / zoom - top];
  window.app.canvas.setDirty(true, true);
}"""
REMOVE = """(id) => {
  const { graph } = window.app.canvas;
  graph.remove(graph.getNodeById(id));
}"""
LOADED = "() => [...document.images].every((one) => one.complete)"
# A report names folders; those of the tests are nobody's.
RENAME = """([from, to]) => {
  for (const row of document.querySelectorAll('[data-ipadapter="about"] div')) {
    row.textContent = row.textContent.replaceAll(from, to);
  }
}"""
# Sides of the nodes on the screen; in Nodes 2.0 the boxes that are drawn are those of the page.
BOX = """() => {
  const { graph, ds, canvas } = window.app.canvas;
  const at = canvas.getBoundingClientRect();
  const boxes = graph._nodes.map((node) => {
    const drawn = document.querySelector(`[data-node-id="${node.id}"]`)?.getBoundingClientRect();
    if (drawn) return [drawn.left, drawn.top, drawn.right, drawn.bottom];
    const [x, y] = ds.convertOffsetToCanvas([node.pos[0], node.pos[1] - 30]);
    const [w, h] = [node.size[0] * ds.scale, (node.size[1] + 30) * ds.scale];
    return [at.left + x, at.top + y, at.left + x + w, at.top + y + h];
  });
  return [0, 1, 2, 3].map((i) => Math[i < 2 ? "min" : "max"](...boxes.map((box) => box[i])));
}"""
CUT = """() => [...document.querySelectorAll("[data-ipadapter]")]
  .filter((one) => one.offsetParent && one.scrollHeight > one.clientHeight + 2)
  .map((one) => one.innerText)"""


@dataclass
class Scene:
    """A picture of the README.

    Attributes:
        words: what has to be read in it, apart from the words the host draws.
    """

    build: Callable[[ComfyPage], None]
    vue: bool
    words: tuple[str, ...]
    zoom: float = ZOOM


def first_use(comfy: ComfyPage) -> None:
    checkpoint = comfy.add("CheckpointLoaderSimple", ckpt_name=published.CHECKPOINT_SD1)
    adapter = comfy.add("IPALoadAdapter", adapter_file="ip-adapter_sd15.safetensors")
    encoder = comfy.add("CLIPVisionLoader", clip_name=published.VIT_H)
    photo = comfy.add("LoadImage", image="reference.jpg")
    encode, apply = comfy.add("IPAEncodeImage"), comfy.add("IPAApply", scale=0.7)
    sampler = comfy.add("KSampler", seed=42)
    for source, target, name in (
        (encoder, encode, "clip_vision"),
        (photo, encode, "image"),
        (checkpoint, apply, "model"),
        (adapter, apply, "adapter"),
        (encode, apply, "embeds"),
        (apply, sampler, "model"),
    ):
        comfy.connect(source, target, name)
    place(
        comfy,
        {
            checkpoint: (0, 0, 360),
            adapter: (0, 150, 360),
            encoder: (0, 390, 360),
            photo: (0, 510, 360),
            encode: (420, 450, 300),
            apply: (780, 150, 300),
            sampler: (1140, 150, 280),
        },
    )
    expect(comfy.shown('[data-ipadapter="about"]')).to_have_count(1)


def warning(comfy: ComfyPage) -> None:
    checkpoint = comfy.add("CheckpointLoaderSimple", ckpt_name=published.CHECKPOINT_SD1)
    adapter = comfy.add("IPALoadAdapter", adapter_file="ip-adapter_sdxl_vit-h.safetensors")
    apply = comfy.add("IPAApply")
    comfy.connect(checkpoint, apply, "model")
    comfy.connect(adapter, apply, "adapter")
    place(comfy, {checkpoint: (0, 0, 380), adapter: (0, 170, 380), apply: (440, 0, 420)})
    comfy.page.locator("body").dispatch_event("click")
    expect(comfy.shown('[data-ipadapter="warning"]')).to_have_count(1)


def block_weights(comfy: ComfyPage, family: str, preset: str) -> None:
    node = comfy.add("IPABlockWeights", preset=preset)
    place(comfy, {node: (0, 0, 620)})
    editor = comfy.shown('[data-ipadapter="block-weights"]')
    editor.get_by_label("Model family shown", exact=True).select_option(family)
    comfy.settle()


def block_weights_sd15(comfy: ComfyPage) -> None:
    block_weights(comfy, "SD1.5", "ease in-out")


def block_weights_sdxl(comfy: ComfyPage) -> None:
    block_weights(comfy, "SDXL", "style and composition")


def schedule(comfy: ComfyPage) -> None:
    node = comfy.add("IPASchedule", start=1.0, end=0.2)
    comfy.set(node, "curve", "ease_in_out")
    place(comfy, {node: (0, 0, 420)})


def prepare_image(comfy: ComfyPage) -> None:
    photo = comfy.add("LoadImage", image="reference.jpg")
    node = comfy.add("IPAPrepareImage", fit="pad", pad_with="blur", sharpening=0.3)
    end = comfy.add("PreviewImage")
    comfy.connect(photo, node, "image")
    comfy.connect(node, end, "images")
    comfy.run()
    comfy.page.evaluate(REMOVE, end)
    place(comfy, {photo: (0, 0, 360), node: (440, 0, 360)})
    comfy.page.wait_for_function(LOADED)


def preview_mask(comfy: ComfyPage) -> None:
    mask = comfy.add("LoadImageMask", image="mask.png", channel="red")
    node = comfy.add("IPAPreviewMask")
    comfy.connect(mask, node, "mask")
    comfy.run()
    place(comfy, {mask: (0, 0, 320), node: (380, 0, 640)})
    comfy.page.wait_for_function(LOADED)


def doctor(comfy: ComfyPage) -> None:
    node = comfy.add("IPADoctor")
    comfy.run()
    expect(comfy.shown('[data-ipadapter="about"]')).to_have_count(1)
    # High enough for the letters of machines that have none of the usual fonts.
    place(comfy, {node: (0, 0, 900, 950)})


SCENES = {
    "first_use": Scene(first_use, False, ("SD1.5", "standard", "needs ViT-H"), zoom=1.1),
    "block_weights_sd15": Scene(block_weights_sd15, False, ()),
    "block_weights_sdxl": Scene(block_weights_sdxl, True, ()),
    "schedule": Scene(schedule, True, ("steps",)),
    "warning": Scene(
        warning, False, ("is an adapter for SDXL", "this MODEL is SD1.5", "use ip-adapter")
    ),
    "doctor": Scene(doctor, False, ("Adapters in", "plus face"), zoom=0.9),
    "preview_mask": Scene(preview_mask, True, ("SD1.5",)),
    "prepare_image": Scene(prepare_image, True, ("224",)),
}


def place(comfy: ComfyPage, places: dict[str, tuple[float, ...]]) -> None:
    comfy.page.evaluate(PLACE, [places])
    comfy.settle()


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    base = tmp_path_factory.mktemp("pictures")
    published.write(base / "models")
    with live.running(base, base / "models") as client:
        mask = Image.new("L", (512, 512))
        ImageDraw.Draw(mask).ellipse((90, 60, 330, 400), fill=255)
        mask.save(base / "input" / "mask.png")
        yield client


@pytest.fixture(scope="module", params=[False, True], ids=["canvas", "vue"])
def studio(
    request: pytest.FixtureRequest, furnished: Client, browser: Browser
) -> Iterator[ComfyPage]:
    assert furnished.post("/settings", {"Comfy.NodeBadge.NodeSourceBadgeMode": "None"})[0] == 200
    tab = ComfyPage(furnished, browser, vue=request.param)
    tab.page.set_viewport_size(VIEWPORT)
    yield tab
    tab.page.context.close()


def photograph(comfy: ComfyPage, scene: Scene, base: Path) -> Image.Image:
    page = comfy.page
    page.evaluate(SELECTION)
    page.mouse.move(VIEWPORT["width"] - 5, VIEWPORT["height"] / 2)
    page.evaluate(VIEW, [scene.zoom, CORNER])
    page.wait_for_timeout(400)
    page.evaluate(RENAME, [str(base), "ComfyUI"])
    left, top, right, bottom = page.evaluate(BOX)
    assert left >= CORNER[0] - MARGIN and right + MARGIN < VIEWPORT["width"], (left, right)
    assert bottom + MARGIN < VIEWPORT["height"], bottom
    clip = {
        "x": left - MARGIN,
        "y": top - MARGIN,
        "width": right - left + 2 * MARGIN,
        "height": bottom - top + 2 * MARGIN,
    }
    shot = page.screenshot(clip=clip, animations="disabled", caret="hide")
    return Image.open(io.BytesIO(shot)).convert("RGB")


def written(picture: Image.Image, path: Path) -> Path:
    """Few colours, so that it is small; a node has no more."""
    few = picture.quantize(128, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    few.save(path, optimize=True)
    return path


@pytest.mark.parametrize("name", SCENES)
def test_the_scene_can_still_be_made(
    studio: ComfyPage, furnished: Client, name: str, tmp_path: Path
) -> None:
    scene = SCENES[name]
    if scene.vue is not studio.vue:
        pytest.skip("this picture is drawn the other way")
    studio.clear()
    studio.complaints.clear()
    scene.build(studio)
    picture = photograph(studio, scene, furnished.base)
    path = written(picture, (KEPT if WANTED else tmp_path) / f"{name}.png")
    text = studio.page.locator("body").inner_text()
    for word in scene.words:
        assert word in text
    assert studio.page.evaluate(CUT) == []
    assert studio.complaints == []
    assert max(ImageStat.Stat(picture).stddev) > 10  # not one colour
    assert path.stat().st_size < MOST_BYTES
    with Image.open(KEPT / f"{name}.png") as kept:
        for own, other in zip(kept.size, picture.size, strict=True):
            assert abs(own - other) <= TOLERANCE * other, (kept.size, picture.size)


def test_the_readme_shows_these_pictures_and_no_others() -> None:
    shown = set(SHOWN.findall((ROOT / "README.md").read_text("utf-8")))
    assert shown == set(SCENES) == {path.stem for path in KEPT.glob("*.png")}
    assert sum(path.stat().st_size for path in KEPT.iterdir()) < 1_000_000
