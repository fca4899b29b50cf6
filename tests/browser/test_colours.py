"""Colours of the pack's sockets and links, as both ways of drawing nodes have them."""

from __future__ import annotations

from itertools import combinations, product

from comfy_page import ComfyPage

TYPES = ("IP_ADAPTER", "IPA_EMBEDS", "IPA_WEIGHTS", "IPA_FACE_MODELS", "IPA_ATTENTION")
# How far apart red, green and blue are; the host's MODEL and CLIP_VISION are 60.
APART = 50
LEAST_CONTRAST = 2.5
PAINTED = """(types) => {
  const { canvas } = window.app;
  const read = (colour) => {
    const context = new OffscreenCanvas(1, 1).getContext("2d");
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const page = getComputedStyle(document.documentElement);
  const all = Object.entries(canvas.default_connection_color_byType);
  const own = all.filter(([type]) => !/^(IP_?A|EMBEDS|INSIGHTFACE|FACEANALYSIS)/.test(type));
  return {
    links: types.map((type) => read(window.LGraphCanvas.link_type_colors[type])),
    sockets: types.map((type) => read(canvas.default_connection_color_byType[type])),
    page: types.map((type) => read(page.getPropertyValue(`--color-datatype-${type}`))),
    others: own.filter(([, colour]) => colour).map(([, colour]) => read(colour)),
    node: read(window.LiteGraph.NODE_DEFAULT_BGCOLOR),
  };
}"""


def apart(one: list[int], other: list[int]) -> int:
    return sum(abs(a - b) for a, b in zip(one, other, strict=True))


def luminance(colour: list[int]) -> float:
    shares = [channel / 255 for channel in colour]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: list[int], other: list[int]) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_each_type_has_a_colour_of_its_own_in_every_theme(comfy: ComfyPage) -> None:
    choose = "(name) => window.app.extensionManager.setting.set('Comfy.ColorPalette', name)"
    for theme in ("light", "dark"):
        comfy.page.evaluate(choose, theme)
        comfy.page.wait_for_timeout(200)
        found = comfy.page.evaluate(PAINTED, TYPES)
        assert found["links"] == found["sockets"] == found["page"]
        assert min(contrast(own, found["node"]) for own in found["page"]) >= LEAST_CONTRAST
        assert min(apart(*two) for two in combinations(found["page"], 2)) > APART
        near = [two for two in product(found["page"], found["others"]) if apart(*two) <= APART]
        assert near == []
