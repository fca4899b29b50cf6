"""The pictures of the help pages, drawn by the rules the nodes themselves follow.

`python tests/help_pictures.py` writes them. They hold names of inputs and options only, which are
the same in every language, so that one picture serves all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pack.ip_models.layers import LayerAddress

PICTURES = Path(__file__).resolve().parents[1] / "web" / "docs" / "images"
WIDTH = 480
INK, PALE, BLUE, ORANGE, GREEN, PAPER = (
    "#2b2f36",
    "#c9ced6",
    "#2f74d0",
    "#d9822b",
    "#2e9e5b",
    "#f6f7f9",
)


def text(x: float, y: float, words: str, size: int = 13, fill: str = INK, at: str = "start") -> str:
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{fill}" text-anchor="{at}">'
        f"{escape(words)}</text>"
    )


def box(x: float, y: float, w: float, h: float, fill: str = "#fff", edge: str = INK) -> str:
    shape = f'x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}"'
    return f'<rect {shape} rx="3" fill="{fill}" stroke="{edge}" stroke-width="1.5"/>'


def line(points: list[tuple[float, float]], edge: str = INK, extra: str = "") -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{edge}" stroke-width="2" {extra}/>'


def arrow(x1: float, y1: float, x2: float, y2: float, edge: str = INK) -> str:
    return line([(x1, y1), (x2, y2)], edge, 'marker-end="url(#tip)"')


def node(x: float, y: float, words: str, w: float = 120, fill: str = "#fff") -> str:
    return box(x, y, w, 30, fill) + text(x + w / 2, y + 20, words, 12, at="middle")


def face(x: float, y: float, size: float, edge: str = INK) -> str:
    eyes = "".join(
        f'<circle cx="{x + side * size * 0.35:g}" cy="{y - size * 0.2:g}" r="{size * 0.1:g}"'
        f' fill="{edge}"/>'
        for side in (-1, 1)
    )
    mouth = (
        f"M{x - size * 0.4:g},{y + size * 0.35:g} q{size * 0.4:g},{size * 0.35:g} {size * 0.8:g},0"
    )
    return (
        f'<circle cx="{x:g}" cy="{y:g}" r="{size:g}" fill="#fff" stroke="{edge}"/>{eyes}'
        f'<path d="{mouth}" fill="none" stroke="{edge}"/>'
    )


def sheet(height: int, *parts: str) -> str:
    """A whole picture; it brings its own paper, because it stands on dark and on light themes."""
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}"'
            f' width="{WIDTH}" height="{height}" font-family="sans-serif">',
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6"'
            f' markerHeight="6" orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="{INK}"/>',
            "</marker></defs>",
            f'<rect width="{WIDTH}" height="{height}" rx="8" fill="{PAPER}"/>',
            *parts,
            "</svg>\n",
        ]
    )


def load_adapter() -> str:
    from pack.ip_models.spec import AdapterSpec, Family, Feature, Kind

    layers = tuple(range(1, 32, 2))
    spec = AdapterSpec(
        Family.SD1,
        Kind.PLUS,
        16,
        Feature.PENULTIMATE,
        1280,
        768,
        layers,
        (320,) * len(layers),
        "ViT-H",
        False,
    )
    rows = spec.describe().split(", ", 4)
    parts = [box(20, 50, 150, 70), text(95, 80, "renamed.bin", 13, at="middle")]
    parts += [text(95, 102, "models/ipadapter", 11, "#666", "middle"), arrow(172, 85, 218, 85)]
    for i, row in enumerate(rows):
        words = row.split(" (")[0]
        parts += [box(226, 16 + i * 28, 236, 23, "#fff", BLUE), text(236, 32 + i * 28, words, 12)]
    return sheet(170, *parts)


def load_for_model() -> str:
    files = [("SDXL, plus", False), ("SD1.5, standard", False), ("SD1.5, plus", True)]
    encoders = [("ViT-bigG", False), ("ViT-H", True)]
    parts = [node(16, 40, "model: SD1.5", 118), node(16, 84, "kind: plus", 118)]
    parts += [
        text(168, 22, "models/ipadapter", 11, "#666"),
        text(168, 142, "models/clip_vision", 11, "#666"),
    ]
    for i, (words, chosen) in enumerate(files + encoders):
        y = 30 + i * 30 + (32 if i >= len(files) else 0)
        edge = GREEN if chosen else PALE
        parts += [box(168, y, 150, 24, "#fff", edge), text(178, y + 16, words, 12)]
        parts.append(text(304, y + 17, "✓" if chosen else "✗", 13, edge, "middle"))
    parts += [arrow(136, 78, 162, 78), arrow(320, 102, 356, 102), arrow(320, 194, 356, 194)]
    parts += [node(360, 87, "adapter", 104), node(360, 179, "clip_vision", 104)]
    return sheet(224, *parts)


def encode_image() -> str:
    """A wide and a tall picture; what is left outside the frame is not seen."""
    from pack.ip_models.image import _ACROSS, _DOWN, Fit

    parts: list[str] = []
    for i, fit in enumerate(Fit):
        x = 14 + i * 66
        parts.append(text(x + 28, 20, fit.value, 9, at="middle"))
        for y, (w, h) in ((34, (56, 32)), (100, (32, 56))):
            left, top, side = x + (56 - w) / 2, y + (56 - h) / 2, min(w, h)
            if fit is Fit.PAD:
                parts.append(box(x, y, 56, 56, "#9a9a9a", BLUE))
            if fit is Fit.SQUASH:
                squeeze = f"translate({x + 8:g},{y + 8:g}) scale({40 / w:.4g},{40 / h:.4g})"
                parts.append(f'<g transform="{squeeze}">{scene(0, 0, w, h)}</g>')
                parts.append(box(x + 8, y + 8, 40, 40, "none", BLUE))
                continue
            parts.append(scene(left, top, w, h, dim=fit is not Fit.PAD))
            if fit is not Fit.PAD:
                seen_x = left + (w - side) * _ACROSS.get(fit, 500) / 1000
                seen_y = top + (h - side) * _DOWN.get(fit, 500) / 1000
                parts.append(box(seen_x, seen_y, side, side, "none", BLUE))
    return sheet(172, *parts)


def scene(x: float, y: float, w: float, h: float, dim: bool = False) -> str:
    """A sun in one corner and a hill in the other."""
    paint = 'opacity="0.75"' if dim else ""
    hill = f"M{x + w * 0.45:g},{y + h:g} L{x + w * 0.75:g},{y + h * 0.4:g} L{x + w:g},{y + h:g} z"
    return (
        f'<g {paint}><rect x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" fill="#dbe7f5"/>'
        f'<circle cx="{x + w * 0.22:g}" cy="{y + h * 0.25:g}" r="{min(w, h) * 0.17:g}"'
        f' fill="{ORANGE}"/><path d="{hill}" fill="{GREEN}"/></g>'
    )


def merge_embeds() -> str:
    def tokens(x: float, y: float, fills: list[str]) -> str:
        return "".join(box(x + i * 22, y, 18, 18, fill, fill) for i, fill in enumerate(fills))

    both = [BLUE] * 4 + [ORANGE] * 4
    mixed = '<defs><linearGradient id="mix"><stop stop-color="#2f74d0"/><stop offset="1"'
    mixed += ' stop-color="#d9822b"/></linearGradient></defs>'
    return sheet(
        140,
        mixed,
        text(16, 42, "embeds0"),
        tokens(80, 28, [BLUE] * 4),
        text(16, 96, "embeds1"),
        tokens(80, 82, [ORANGE] * 4),
        arrow(176, 52, 226, 38),
        arrow(176, 76, 226, 92),
        text(234, 22, "concat", 12),
        tokens(234, 30, both),
        text(234, 78, "average", 12),
        tokens(234, 86, ["url(#mix)"] * 4),
    )


def load_face_models() -> str:
    from pack.nodes.host.face_packs import _FILES, _USUAL_FILES

    parts = [text(20, 28, "models/insightface/models/")]
    packs = {"buffalo_l": "FaceID: SD1.5, SDXL", "antelopev2": "Kolors"}
    y = 52
    for pack, use in packs.items():
        parts += [text(44, y, f"└ {pack}/"), text(260, y, use, 12, "#666")]
        for file in _FILES.get(pack, _USUAL_FILES).values():
            y += 22
            parts.append(text(72, y, f"└ {file}", 12, BLUE))
        y += 28
    return sheet(y - 8, *parts)


def encode_face() -> str:
    faces = [(90, 80, 24), (230, 76, 44), (370, 84, 20)]
    parts = [box(16, 16, 448, 130, "#eef2f7", PALE)]
    for i, (x, y, size) in enumerate(faces):
        parts.append(face(x, y, size))
        parts.append(text(x, 166, str(i), 14, BLUE, "middle"))
    x, y, size = max(faces, key=lambda one: one[2])
    parts += [box(x - size - 5, y - size - 5, 2 * size + 10, 2 * size + 10, "none", GREEN)]
    parts += [text(x + size + 12, 36, "largest", 13, GREEN)]
    parts.append(text(240, 188, "left to right: face_index", 13, BLUE, "middle"))
    return sheet(200, *parts)


def regions() -> str:
    parts: list[str] = []
    for i, fill in enumerate((BLUE, ORANGE)):
        y = 20 + i * 74
        parts += [box(16, y, 54, 54, fill, fill), text(43, y + 68, f"embeds{i}", 11, at="middle")]
        parts += [box(100, y, 84, 54, "#111"), box(100 + 42 * i, y, 42, 54)]
        parts += [
            text(142, y + 68, f"mask{i}", 11, at="middle"),
            text(84, y + 34, "×", 16, at="middle"),
        ]
        parts.append(arrow(190, y + 27, 270, 64 + 34 * i))
    parts += [box(280, 40, 84, 84, BLUE), box(364, 40, 84, 84, ORANGE)]
    return sheet(176, *parts)


def remove() -> str:
    parts = [node(14, 60, "IPAApply", 96), arrow(112, 75, 146, 75), node(150, 60, "IPARemove", 100)]
    parts += [
        arrow(252, 75, 286, 75),
        line([(128, 75), (128, 32), (286, 32)], INK, 'marker-end="url(#tip)"'),
    ]
    parts += [
        box(294, 14, 166, 34, "#fff", BLUE),
        text(377, 36, "model + embeds", 12, BLUE, "middle"),
    ]
    parts += [box(294, 58, 166, 34), text(377, 80, "model", 12, at="middle")]
    return sheet(108, *parts)


def apply() -> str:
    start, end = 0.2, 0.7
    x, w = 30, 420
    parts = [
        line([(x, 64), (x + w, 64)], PALE),
        text(x, 84, "0", 11),
        text(x + w, 84, "1", 11, at="end"),
    ]
    parts += [box(x + w * start, 34, w * (end - start), 30, "#d6e4f7", BLUE)]
    parts += [text(x + w * start, 26, f"start_percent {start}", 12, BLUE, "middle")]
    parts += [text(x + w * end, 26, f"end_percent {end}", 12, BLUE, "middle")]
    parts += [text(x + w * (start + end) / 2, 54, "scale 0.8", 12, at="middle")]
    parts += [
        box(30, 104, 110, 74, "#111"),
        '<ellipse cx="85" cy="141" rx="34" ry="28" fill="#fff"/>',
    ]
    parts += [text(85, 196, "attn_mask", 12, at="middle"), arrow(150, 141, 196, 141)]
    parts += [
        box(206, 104, 110, 74, "#e4e7ec"),
        f'<ellipse cx="261" cy="141" rx="34" ry="28" fill="{BLUE}"/>',
    ]
    parts += [text(261, 196, "model", 12, at="middle")]
    return sheet(208, *parts)


def bind() -> str:
    parts = [box(16, 18, 54, 54, BLUE, BLUE), text(43, 88, "embeds", 11, at="middle")]
    parts += [node(16, 112, "conditioning", 110), node(16, 156, "CLIPTextEncode", 110)]
    parts += [
        node(170, 66, "IPABindToConditioning", 150),
        arrow(74, 45, 166, 76),
        arrow(128, 127, 166, 92),
    ]
    parts += [arrow(322, 74, 356, 60), arrow(322, 90, 356, 110), arrow(128, 171, 356, 171)]
    parts += [node(360, 44, "model", 104), box(360, 96, 104, 30, BLUE, BLUE)]
    parts += [
        text(412, 116, "conditioning", 12, "#fff", "middle"),
        node(360, 156, "conditioning", 104),
    ]
    return sheet(200, *parts)


def block_weights() -> str:
    """Bars of some presets; what points down pushes away from the reference."""
    from pack.ip_models.layers import transformers
    from pack.ip_models.presets import preset

    shown = ("linear", "ease in", "style transfer", "composition", "style transfer precise")
    parts: list[str] = []
    for column, (family, layers) in enumerate((("SD1.5", sd1_layers()), ("SDXL", sdxl_layers()))):
        x = 170 + column * 180
        stacks = list(transformers(layers).values())
        parts += [text(x, 20, f"{family}: 0 … {len(stacks) - 1}", 12)]
        for row, name in enumerate(shown):
            y = 62 + row * 44
            if column == 0:
                parts.append(text(12, y - 8, name, 12))
            gains = preset(name).gains(layers, 0, 1)
            parts.append(line([(x, y), (x + 9 * len(stacks), y)], PALE))
            for i, stack in enumerate(stacks):
                gain = gains[list(layers).index(stack[0])]
                height = abs(gain.factor) * 20
                top = y if gain.flipped else y - height
                fill = ORANGE if gain.flipped else BLUE
                shape = f'x="{x + 9 * i:g}" y="{top:g}" width="7" height="{height:g}"'
                parts.append(f'<rect {shape} fill="{fill}"/>' if height else "")
    return sheet(266, *filter(None, parts))


def sd1_layers() -> list[LayerAddress]:
    from pack.ip_models.layers import LayerAddress

    inputs = [LayerAddress("input", number, 0) for number in (1, 2, 4, 5, 7, 8)]
    outputs = [LayerAddress("output", number, 0) for number in range(3, 12)]
    return [*inputs, *outputs, LayerAddress("middle", 0, 0)]


def sdxl_layers() -> list[LayerAddress]:
    from pack.ip_models.layers import LayerAddress

    depths = {"input": {4: 2, 5: 2, 7: 10, 8: 10}, "middle": {0: 10}}
    depths["output"] = {0: 10, 1: 10, 2: 10, 3: 2, 4: 2, 5: 2}
    return [
        LayerAddress(block, number, layer)
        for block in ("input", "output", "middle")
        for number, depth in depths[block].items()
        for layer in range(depth)
    ]


def schedule() -> str:
    from pack.ip_models.schedule import Curve, Ramp

    parts: list[str] = []
    for i, curve in enumerate(Curve):
        x, y = 20 + i * 114, 36
        ramp = Ramp(1.0, 0.0, curve)
        parts += [text(x + 48, 24, curve.value, 12, at="middle"), box(x, y, 96, 70, "#fff", PALE)]
        points = [(x + 96 * n / 24, y + 66 - 62 * ramp.at(n, 25)) for n in range(25)]
        parts.append(line(points, BLUE))
    parts += [text(20, 124, "start 1", 11), text(116, 124, "end 0", 11, at="end")]
    return sheet(136, *parts)


DRAWN: dict[str, Callable[[], str]] = {
    "IPALoadAdapter": load_adapter,
    "IPALoadForModel": load_for_model,
    "IPAEncodeImage": encode_image,
    "IPAMergeEmbeds": merge_embeds,
    "IPALoadFaceModels": load_face_models,
    "IPAEncodeFace": encode_face,
    "IPARegions": regions,
    "IPABlockWeights": block_weights,
    "IPASchedule": schedule,
    "IPAApply": apply,
    "IPABindToConditioning": bind,
    "IPARemove": remove,
}


def main() -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    for name, draw in DRAWN.items():
        (PICTURES / f"{name}.svg").write_text(draw(), "utf-8")


if __name__ == "__main__":
    import conftest  # noqa: F401  # puts the host on the path and names the pack `pack`

    main()
