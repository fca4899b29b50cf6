"""The pictures of the help pages, drawn by the rules the nodes themselves follow.

`python -m kit.pages.help_pictures`, run in tests/, writes them. They hold names of inputs and
options only, which are the same in every language, so that one picture serves all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from pathlib import Path

PICTURES = Path(__file__).resolve().parents[3] / "web" / "docs" / "images"
# As wide as the help panel, whose pictures shrink to fit.
WIDTH = 320
INK, GREY, PALE, PAPER = "#2b2f36", "#666", "#c9ced6", "#f6f7f9"
BLUE, ORANGE, GREEN = "#2f74d0", "#d9822b", "#2e9e5b"
PADDED = 54


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
    return box(x, y, w, 30, fill) + text(x + w / 2, y + 20, words, at="middle")


def ellipse(x: float, y: float, rx: float, ry: float, fill: str) -> str:
    return f'<ellipse cx="{x:g}" cy="{y:g}" rx="{rx:g}" ry="{ry:g}" fill="{fill}"/>'


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


def simple() -> str:
    """What is given on the left, what is found in the middle."""
    parts = [box(112, 10, 116, 170, PAPER, GREEN)]
    for i, (given, found) in enumerate(
        (("model", "ipadapter"), ("image", "clip_vision"), ("kind", "insightface"))
    ):
        y = 30 + i * 50
        parts += [node(8, y, given, 76), arrow(86, y + 15, 108, y + 15)]
        parts += [box(120, y, 100, 30, "#fff", GREEN), text(128, y + 20, found)]
        parts.append(text(208, y + 21, "✓", 14, GREEN, "middle"))
    return sheet(190, *parts, arrow(230, 95, 250, 95), node(254, 80, "model", 58))


def style_composition() -> str:
    """Strokes of the one, places of the other."""
    parts = [text(14, 24, "style_image"), box(14, 32, 88, 66, "#d6e4f7")]
    parts += [line([(20 + i * 14, 92), (46 + i * 14, 38)], BLUE) for i in range(4)]
    parts += [text(14, 124, "composition_image"), box(14, 132, 88, 66)]
    for x, y, size in ((38, 176, 14), (78, 156, 10)):
        parts.append(ellipse(x, y, size, size, PALE))
    parts += [arrow(106, 65, 176, 100), arrow(106, 165, 176, 130)]
    parts += [box(184, 66, 122, 98, "#d6e4f7"), text(245, 184, "model", at="middle")]
    for x, y, size in ((220, 134, 21), (276, 104, 15)):
        parts.append(ellipse(x, y, size, size, "#fff"))
        parts += [
            line(
                [(x - size / 2 + i * 6, y + size * 0.6), (x - size / 4 + i * 6, y - size * 0.6)],
                BLUE,
            )
            for i in range(3)
        ]
    return sheet(212, *parts)


def regional() -> str:
    """Two in a row; each has a half of the picture."""
    parts: list[str] = []
    for i, names in enumerate((("model", "positive", "negative"),) * 3):
        for j, name in enumerate(names):
            parts.append(node(8 + i * 120, 62 + j * 40, name, 64))
    for i, fill in enumerate((BLUE, ORANGE)):
        parts += [
            box(66 + i * 120, 10, 60, 40, "#111"),
            box(66 + i * 120 + i * 30, 10, 30, 40, fill),
        ]
        parts += [arrow(74 + i * 120, 77 + j * 40, 122 + i * 120, 77 + j * 40) for j in range(3)]
        parts.append(arrow(96 + i * 120, 52, 96 + i * 120, 72))
    return sheet(186, *parts)


def load_adapter() -> str:
    from pack.ip_models.adapter.spec import AdapterSpec, Family, Feature, Kind

    layers = tuple(range(1, 32, 2))
    widths = (320,) * len(layers)
    reads = (Feature.PENULTIMATE, 1280, 768)
    spec = AdapterSpec(Family.SD1, Kind.PLUS, 16, *reads, layers, widths, "ViT-H", False)
    parts = [box(10, 46, 120, 66), text(70, 76, "renamed.bin", at="middle")]
    parts += [text(70, 98, "models/ipadapter", 12, GREY, "middle"), arrow(132, 79, 166, 79)]
    for i, row in enumerate(spec.describe().split(" (")[0].split(", ")):
        parts += [box(172, 12 + i * 28, 136, 23, "#fff", BLUE), text(182, 29 + i * 28, row)]
    return sheet(160, *parts)


def load_for_model() -> str:
    files = [("SDXL, plus", False), ("SD1.5, standard", False), ("SD1.5, plus", True)]
    encoders = [("ViT-bigG", False), ("ViT-H", True)]
    parts = [node(10, 10, "model: SD1.5", 130), node(152, 10, "kind: plus", 100)]
    parts += [arrow(75, 42, 75, 56), arrow(180, 42, 150, 56)]
    parts += [text(12, 72, "models/ipadapter", 12, GREY)]
    parts += [text(12, 192, "models/clip_vision", 12, GREY)]
    for i, (words, chosen) in enumerate(files + encoders):
        y = 80 + i * 31 + (27 if i >= len(files) else 0)
        edge = GREEN if chosen else PALE
        parts += [box(10, y, 172, 25, "#fff", edge), text(20, y + 18, words)]
        parts.append(text(168, y + 18, "✓" if chosen else "✗", 14, edge, "middle"))
    parts += [arrow(184, 154, 206, 154), arrow(184, 243, 206, 243)]
    parts += [node(210, 139, "adapter", 100), node(210, 228, "clip_vision", 100)]
    return sheet(270, *parts)


def encode_image() -> str:
    """A wide and a tall picture; what is left outside the frame is not seen."""
    from pack.ip_models.pictures.fit import _ACROSS, _DOWN, Fit

    parts: list[str] = []
    for i, fit in enumerate(Fit):
        x, above = 8 + i % 4 * 77, i // 4 * 152
        parts.append(text(x + 36, above + 20, fit.value, 12, at="middle"))
        for y, (w, h) in ((above + 28, (64, 38)), (above + 88, (36, 56))):
            if fit is Fit.PAD:
                w, h = (w * PADDED / max(w, h), h * PADDED / max(w, h))
            left, side = x + (72 - w) / 2, min(w, h)
            if fit is Fit.PAD:
                parts.append(box(x + (72 - PADDED) / 2, y, PADDED, PADDED, "#9a9a9a", BLUE))
            if fit is Fit.SQUASH:
                squeeze = f"translate({x + 16:g},{y:g}) scale({40 / w:.4g},{40 / h:.4g})"
                parts.append(f'<g transform="{squeeze}">{scene(0, 0, w, h)}</g>')
                parts.append(box(x + 16, y, 40, 40, "none", BLUE))
                continue
            top = y + (PADDED - h) / 2 if fit is Fit.PAD else y
            parts.append(scene(left, top, w, h, dim=fit is not Fit.PAD))
            if fit is not Fit.PAD:
                seen_x = left + (w - side) * _ACROSS.get(fit, 500) / 1000
                seen_y = top + (h - side) * _DOWN.get(fit, 500) / 1000
                parts.append(box(seen_x, seen_y, side, side, "none", BLUE))
    x, y = 8 + 3 * 77 + 6, 152 + 28
    parts += [text(x + 30, 172, "tiles 2", 12, at="middle"), scene(x, y, 60, 60)]
    parts += [box(x + i % 2 * 32 - 1, y + i // 2 * 32 - 1, 30, 30, "none", BLUE) for i in range(4)]
    return sheet(304, *parts)


def prepare_image() -> str:
    parts: list[str] = []
    for i, words in enumerate(("crop face", "squash", "long side")):
        parts.append(text(50 + i * 105, 20, words, 12, at="middle"))
    parts += [scene(16, 28, 76, 46, dim=True), face(72, 48, 11), box(46, 28, 46, 46, "none", BLUE)]
    squeeze = f"translate(127,28) scale({46 / 76:.4g},1)"
    parts += [
        f'<g transform="{squeeze}">{scene(0, 0, 76, 46)}</g>',
        box(127, 28, 46, 46, "none", BLUE),
    ]
    parts += [scene(222, 28, 76, 46), box(222, 28, 76, 46, "none", BLUE)]
    for i, words in enumerate(("mean colour", "edge", "colour", "blur")):
        x, y, w, h = 8 + i * 78, 124, 70, 42
        bar = (70 - h) / 2
        parts.append(text(x + 35, y - 8, words, 12, at="middle"))
        fill = {"mean colour": "#7b7568", "colour": "#808080"}.get(words, "#dbe7f5")
        parts.append(box(x, y, 70, 70, fill, BLUE))
        if words == "edge":
            hill = f'x="{x + w * 0.45:g}" y="{y + bar + h:g}" width="{w * 0.55:g}" height="{bar:g}"'
            parts.append(f'<rect {hill} fill="{GREEN}"/>')
        if words == "blur":
            middle = scene(x - 23, y, 116, 70)
            parts.append(f'<g clip-path="url(#cut)"><g filter="url(#soft)">{middle}</g></g>')
        parts.append(scene(x, y + bar, w, h))
    soft = '<defs><filter id="soft"><feGaussianBlur stdDeviation="6"/></filter><clipPath id="cut">'
    soft += '<rect x="242" y="124" width="70" height="70"/></clipPath></defs>'
    parts += [text(160, 96, "pad, pad_with", 12, GREY, "middle")]
    return sheet(204, soft, *parts)


def noise_image() -> str:
    """The nodes' own noise in a picture of few pixels."""
    import torch
    from pack.ip_models.pictures.noise import Noise, Recipe, noisy

    side, cell = 12, 5.5
    picture = torch.full((1, side, side, 3), 0.93)
    picture[0, 2:6, 2:6] = torch.tensor([0.85, 0.51, 0.17])
    picture[0, 7:11, 5:11] = torch.tensor([0.18, 0.62, 0.36])
    parts: list[str] = []
    for i, noise in enumerate(Noise):
        x, y = 10 + i * 78, 30
        parts.append(text(x + 33, 20, noise.value, 12, at="middle"))
        (made,) = noisy(picture, Recipe(noise, 0.5))
        for row, line_of in enumerate(made.tolist()):
            for column, (red, green, blue) in enumerate(line_of):
                place = f'x="{x + column * cell:g}" y="{y + row * cell:g}"'
                fill = f"#{red:02x}{green:02x}{blue:02x}"
                parts.append(f'<rect {place} width="5.6" height="5.6" fill="{fill}"/>')
    return sheet(108, *parts)


def load_encoder() -> str:
    parts = [box(10, 14, 150, 38), text(20, 38, "ViT-H.safetensors")]
    parts += [box(10, 66, 150, 74), text(20, 86, "my-encoder/"), text(34, 107, "└ config.json", 12)]
    parts += [text(34, 127, "└ model.safetensors", 12), arrow(162, 33, 190, 56)]
    parts += [arrow(162, 100, 190, 84)]
    for i, row in enumerate(("ViT-H", "224 px", "257 tokens")):
        parts += [box(196, 28 + i * 32, 114, 26, "#fff", BLUE), text(206, 46 + i * 32, row)]
    return sheet(152, *parts)


def save_embeds() -> str:
    parts = [node(10, 12, "embeds0", 88), node(10, 56, "IPASaveEmbeds", 124), arrow(54, 44, 54, 54)]
    parts += [arrow(136, 71, 160, 71), text(166, 22, "models/ipadapter_embeds", 12, GREY)]
    for i, (name, edge) in enumerate(
        (("people/anna.safetensors", BLUE), ("anna_00002.safetensors", PALE), ("anna.ipadpt", PALE))
    ):
        parts += [box(166, 32 + i * 32, 146, 26, "#fff", edge), text(172, 49 + i * 32, name, 12)]
    return sheet(136, *parts)


def load_embeds() -> str:
    parts = [text(10, 22, "models/ipadapter_embeds", 12, GREY)]
    for i, name in enumerate(("anna.safetensors", "diffusers.ipadpt", "plus.ipadpt")):
        parts += [box(10, 32 + i * 32, 146, 26, "#fff", BLUE), text(18, 49 + i * 32, name)]
        parts.append(arrow(158, 45 + i * 32, 202, 68 + (i - 1) * 8))
    parts += [node(210, 53, "embeds", 100)]
    return sheet(136, *parts)


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
        return "".join(box(x + i * 17, y, 13, 18, fill, fill) for i, fill in enumerate(fills))

    mixed = '<defs><linearGradient id="mix"><stop stop-color="#2f74d0"/><stop offset="1"'
    mixed += ' stop-color="#d9822b"/></linearGradient></defs>'
    return sheet(
        128,
        mixed,
        text(10, 24, "embeds0"),
        tokens(10, 32, [BLUE] * 4),
        text(10, 82, "embeds1"),
        tokens(10, 90, [ORANGE] * 4),
        arrow(92, 54, 160, 40),
        arrow(92, 86, 160, 99),
        text(172, 24, "concat"),
        tokens(172, 32, [BLUE] * 4 + [ORANGE] * 4),
        text(172, 82, "average"),
        tokens(172, 90, ["url(#mix)"] * 4),
    )


def load_face_models() -> str:
    from pack.nodes.host.face.packs import _FILES, _USUAL_FILES

    parts = [text(12, 26, "models/insightface/models/")]
    packs = {"buffalo_l": "FaceID: SD1.5, SDXL", "antelopev2": "Kolors"}
    y = 50
    for pack, use in packs.items():
        parts += [text(26, y, f"└ {pack}/"), text(310, y, use, 12, GREY, "end")]
        for file in _FILES.get(pack, _USUAL_FILES).values():
            y += 22
            parts.append(text(46, y, f"└ {file}", 13, BLUE))
        y += 28
    return sheet(y - 8, *parts)


def encode_face() -> str:
    faces = [(52, 78, 22), (158, 74, 42), (268, 84, 18)]
    parts = [box(10, 12, 300, 130, "#eef2f7", PALE)]
    for i, (x, y, size) in enumerate(faces):
        parts += [face(x, y, size), text(x, 160, str(i), 14, BLUE, "middle")]
    x, y, size = max(faces, key=lambda one: one[2])
    parts += [box(x - size - 5, y - size - 5, 2 * size + 10, 2 * size + 10, "none", GREEN)]
    parts += [text(x + size + 12, 40, "largest", 13, GREEN)]
    parts.append(text(160, 182, "left to right: face_index", 13, BLUE, "middle"))
    return sheet(194, *parts)


def regions() -> str:
    parts: list[str] = []
    for i, fill in enumerate((BLUE, ORANGE)):
        y = 12 + i * 76
        parts += [box(10, y, 48, 48, fill, fill), text(34, y + 64, f"embeds{i}", 12, at="middle")]
        parts += [box(86, y, 66, 48, "#111"), box(86 + 33 * i, y, 33, 48)]
        parts += [text(119, y + 64, f"mask{i}", 12, at="middle")]
        parts += [text(72, y + 30, "×", 16, at="middle"), arrow(156, y + 24, 194, 62 + 34 * i)]
    parts += [box(202, 40, 54, 78, BLUE), box(256, 40, 54, 78, ORANGE)]
    return sheet(166, *parts)


def block_weights() -> str:
    """Bars of some presets; what points down pushes away from the reference."""
    from kit.unet import preset
    from pack.ip_models.layer import stacks
    from pack.ip_models.unet.vocabulary import UNET

    shown = ("linear", "ease in", "style transfer", "composition", "style transfer precise")
    parts: list[str] = []
    for column, (family, _, layers, *_) in enumerate(UNET.outlines):
        x = 12 + column * 176
        transformers = stacks(layers)
        parts.append(text(x, 20, f"{family}: 0 … {len(transformers) - 1}", 13, GREY))
        for row, name in enumerate(shown):
            y = 72 + row * 60
            if column == 0:
                parts.append(text(12, y - 26, name))
            gains = preset(name).gains(layers, 0, 1)
            parts.append(line([(x, y), (x + 9 * len(transformers), y)], PALE))
            for i, stack in enumerate(transformers):
                gain = gains[layers.index(stack[0])]
                height = abs(gain.factor) * 20
                top = y if gain.swapped else y - height
                fill = ORANGE if gain.swapped else BLUE
                shape = f'x="{x + 9 * i:g}" y="{top:g}" width="7" height="{height:g}"'
                parts.append(f'<rect {shape} fill="{fill}"/>' if height else "")
    return sheet(340, *filter(None, parts))


def schedule() -> str:
    from pack.ip_models.weights.schedule import Curve, Ramp

    parts: list[str] = []
    for i, curve in enumerate(Curve):
        x, y = 28 + i % 2 * 150, 34 + i // 2 * 112
        ramp = Ramp(1.0, 0.0, curve)
        parts += [text(x + 60, y - 10, curve.value, at="middle")]
        parts += [box(x, y, 120, 72, "#fff", PALE)]
        points = [(x + 120 * n / 24, y + 68 - 64 * ramp.at(n, 25)) for n in range(25)]
        parts.append(line(points, BLUE))
        parts += [
            text(x - 6, y + 12, "1", 12, GREY, "end"),
            text(x - 6, y + 72, "0", 12, GREY, "end"),
        ]
    return sheet(228, *parts)


def apply() -> str:
    start, end = 0.2, 0.7
    x, w = 20, 280
    parts = [line([(x, 64), (x + w, 64)], PALE)]
    parts += [text(x, 82, "0", 12), text(x + w, 82, "1", 12, at="end")]
    parts += [box(x + w * start, 34, w * (end - start), 30, "#d6e4f7", BLUE)]
    parts += [text(x + w * start, 26, f"start_percent {start}", 13, BLUE, "middle")]
    parts += [text(x + w * end, 26, f"end_percent {end}", 13, BLUE, "middle")]
    parts += [text(x + w * (start + end) / 2, 54, "scale 0.8", at="middle")]
    parts += [box(20, 100, 110, 74, "#111"), ellipse(75, 137, 34, 28, "#fff")]
    parts += [text(75, 192, "attn_mask", at="middle"), arrow(140, 137, 178, 137)]
    parts += [box(190, 100, 110, 74, "#e4e7ec"), ellipse(245, 137, 34, 28, BLUE)]
    parts += [text(245, 192, "model", at="middle")]
    return sheet(204, *parts)


def bind() -> str:
    parts = [box(14, 12, 90, 30, BLUE, BLUE), text(59, 32, "embeds", 13, "#fff", "middle")]
    parts += [node(110, 12, "conditioning", 96), node(214, 12, "conditioning", 96)]
    parts += [arrow(59, 44, 59, 66), arrow(158, 44, 158, 66), arrow(262, 44, 262, 128)]
    parts += [node(14, 70, "IPABindToConditioning", 192)]
    parts += [arrow(59, 102, 59, 128), arrow(158, 102, 158, 128), node(14, 132, "model", 90)]
    parts += [box(110, 132, 96, 30, BLUE, BLUE), node(214, 132, "conditioning", 96)]
    parts += [text(158, 152, "conditioning", 13, "#fff", "middle")]
    return sheet(174, *parts)


def preview_mask() -> str:
    """A ring, and the weights that grids get of it; on the coarsest it is almost lost."""
    import torch
    from pack.ip_models.attention.masks import RegionMask

    across = torch.linspace(-1, 1, 64)
    away = (across[None] ** 2 + across[:, None] ** 2).sqrt()
    region, like = RegionMask(((away > 0.55) & (away < 0.75)).float()), torch.zeros(1)
    parts: list[str] = []
    for i, count in enumerate((64, 16, 8, 2)):
        x, side = 10 + i * 77, 68 / count
        parts.append(text(x + 34, 22, "mask" if i == 0 else f"{count} x {count}", 13, at="middle"))
        parts.append(box(x, 32, 68, 68, "#111"))
        if i == 0:
            ring = f'<circle cx="{x + 34}" cy="66" r="22" fill="none" stroke="#fff"'
            parts.append(f'{ring} stroke-width="7"/>')
            continue
        for number, weight in enumerate(region.on(count, count, like).flatten().tolist()):
            row, column = divmod(number, count)
            if weight > 0.02:
                grey = 17 + round(238 * weight)
                parts.append(
                    f'<rect x="{x + column * side:g}" y="{32 + row * side:g}" width="{side:g}"'
                    f' height="{side:g}" fill="rgb({grey},{grey},{grey})"/>'
                )
    return sheet(112, *parts)


def attention_view() -> str:
    """The MODEL on its way to the sampler, and what is seen in it."""
    parts = [node(8, 16, "IPAApply", 84), arrow(94, 31, 116, 31)]
    parts += [box(120, 16, 94, 30, BLUE, BLUE), text(167, 36, "model", 13, "#fff", "middle")]
    parts += [arrow(216, 31, 238, 31), node(242, 16, "KSampler", 70)]
    parts += [arrow(167, 48, 167, 78), arrow(277, 48, 277, 78)]
    parts += [node(120, 82, "attention", 94), node(242, 82, "latent", 70)]
    parts += [arrow(167, 114, 200, 136), arrow(277, 114, 244, 136)]
    return sheet(182, *parts, node(140, 140, "IPAAttentionMap", 160))


def attention_map() -> str:
    """A masked reference, and the cells of a grid that hear it, in the colours of the node."""
    import torch
    from pack.ip_models.attention.masks import RegionMask
    from pack.ip_models.attention_maps.picture import coloured

    across = torch.linspace(-1, 1, 64)
    round_mask = (((across[None] + 0.1) ** 2 + across[:, None] ** 2).sqrt() < 0.6).float()
    cells = RegionMask(round_mask).on(12, 12, torch.zeros(1)).view(1, 12, 12)
    parts = [box(10, 30, 120, 120, "#111"), ellipse(64, 90, 36, 36, "#fff")]
    parts += [text(70, 22, "attn_mask", at="middle"), arrow(138, 90, 172, 90)]
    parts += [text(240, 22, "image", at="middle"), box(180, 30, 120, 120, "#111")]
    for number, colour in enumerate((coloured(cells)[0] * 255).round().flatten(0, 1).tolist()):
        row, column = divmod(number, 12)
        red, green, blue = (int(part) for part in colour)
        parts.append(
            f'<rect x="{180 + 10 * column}" y="{30 + 10 * row}" width="10" height="10"'
            f' fill="#{red:02x}{green:02x}{blue:02x}"/>'
        )
    return sheet(164, *parts)


def instantid() -> str:
    """One face by two ways, and its points."""
    from kit.models.face_packs import TEMPLATE
    from pack.ip_models.faces.key_points import COLOURS

    parts = [face(38, 94, 28), arrow(70, 84, 100, 50), arrow(70, 104, 100, 138)]
    parts += [node(104, 20, "IPAApply", 92), arrow(200, 35, 238, 35), node(242, 20, "MODEL", 66)]
    parts += [box(104, 92, 92, 92, "#111")]
    places = [(104 + x * 92 / 112, 92 + y * 92 / 112) for x, y in TEMPLATE.tolist()]
    for place, (red, green, blue) in zip(places, COLOURS, strict=True):
        fill = f"#{red:02x}{green:02x}{blue:02x}"
        parts += [line([place, places[2]], fill, 'stroke-opacity="0.6"')]
        parts += [ellipse(*place, 4, 4, fill)]
    parts += [arrow(200, 138, 212, 138), node(216, 123, "ControlNet", 94)]
    parts += [text(150, 202, "key_points", 12, at="middle")]
    return sheet(212, *parts)


def remove() -> str:
    parts = [node(10, 58, "IPAApply", 76), arrow(88, 73, 108, 73), node(112, 58, "IPARemove", 86)]
    parts += [
        arrow(200, 73, 214, 73),
        line([(97, 73), (97, 27), (208, 27)]),
        arrow(206, 27, 214, 27),
    ]
    parts += [
        box(218, 12, 94, 30, "#fff", BLUE),
        text(265, 32, "model + embeds", 12, BLUE, "middle"),
    ]
    parts += [node(218, 58, "model", 94)]
    return sheet(100, *parts)


def doctor() -> str:
    parts: list[str] = []
    for i, folder in enumerate(("ipadapter", "clip_vision", "insightface")):
        parts += [box(10, 14 + i * 36, 120, 28), text(20, 33 + i * 36, folder)]
        parts.append(arrow(132, 28 + i * 36, 166, 64 + (i - 1) * 14))
    for i, (mark, row) in enumerate((("✓", "standard"), ("✓", "plus"), ("✗", "FaceID"))):
        edge = GREEN if mark == "✓" else ORANGE
        parts += [box(172, 14 + i * 36, 138, 28, "#fff", edge), text(204, 33 + i * 36, row)]
        parts.append(text(186, 33 + i * 36, mark, 14, edge, "middle"))
    return sheet(126, *parts)


def _both(own: str, old: str, beside: tuple[str, ...], nodes: tuple[str, str]) -> str:
    """Either sort goes in, both come out."""
    parts = [node(10, 26, own, 100, "#d6e4f7"), node(10, 86, old, 100, "#f7e3cb")]
    parts += [
        text(60, 18, nodes[0], 12, GREY, "middle"),
        text(60, 78, nodes[1], 12, GREY, "middle"),
    ]
    parts += [
        arrow(112, 41, 138, 62),
        arrow(112, 101, 138, 78),
        box(142, 54, 36, 32, "#fff", GREEN),
    ]
    parts.append(text(160, 75, "⇄", 16, GREEN, "middle"))
    for i, (name, fill) in enumerate(
        ((own, "#d6e4f7"), (old, "#f7e3cb"), *((name, "#fff") for name in beside))
    ):
        y = 10 + i * 36
        parts += [arrow(180, 70, 206, y + 15), node(210, y, name, 100, fill)]
    return sheet(156, *parts)


def convert_adapter() -> str:
    nodes = ("IPALoadAdapter", "IPAdapterUnifiedLoader")
    return _both("IP_ADAPTER", "IPADAPTER", ("clip_vision", "face_models"), nodes)


def convert_embeds() -> str:
    return _both("IPA_EMBEDS", "EMBEDS", ("EMBEDS",), ("IPAEncodeImage", "IPAdapterEncoder"))


def tiles() -> str:
    """A wide reference, its two tiles, and where each counts."""
    from pack.ip_models.pictures.tile_grid import tile_grid

    grid = tile_grid(60, 114, 1, 0.1)
    parts = [box(8, 56, 96, 50, BLUE, BLUE), box(56, 56, 48, 50, ORANGE, ORANGE)]
    parts += [text(56, 126, "image", 12, at="middle")]
    for i, (span, fill) in enumerate(zip(grid.columns, (BLUE, ORANGE), strict=True)):
        y = 14 + i * 82
        parts += [arrow(108, 81, 132, y + 28), box(138, y, 50, 50, fill, fill)]
        parts += [text(201, y + 30, "×", 16, at="middle"), box(214, y, 96, 50, "#111")]
        x, width = 96 * span.start / 114, 96 * (span.end - span.start) / 114
        parts += [box(214 + x, y, width, 50)]
    parts += [text(163, 160, "tiles", 12, at="middle"), text(262, 160, "masks", 12, at="middle")]
    return sheet(168, *parts)


def sweep() -> str:
    from pack.ip_models.weights.sweep import Axis, Order
    from pack.ip_models.weights.sweep import sweep as swept

    presets, scales = ["linear", "style transfer"], [0.0, 0.5, 1.0]
    made = swept((Axis("", presets, ""), Axis("scale", scales, 1.0)), Order.GRID)
    parts = [node(8, 10, "presets", 72), node(88, 10, "scales", 72)]
    parts += [text(174, 30, ", ".join(f"{one:g}" for one in scales), 12, GREY)]
    for number, label in enumerate(made.labels):
        row, column = divmod(number, made.columns)
        preset, scale = label.split(" | ")
        x, y = 100 + column * 72, 74 + row * 52
        if column == 0:
            parts.append(text(8, y + 26, preset, 12))
        if row == 0:
            parts.append(text(x + 32, y - 8, scale, 12, at="middle"))
        share = float(scale.split()[1])
        parts += [box(x, y, 64, 44), ellipse(x + 32, y + 22, 24, 16, mixed(share))]
    return sheet(182, *parts)


def mixed(share: float) -> str:
    """From pale to blue."""
    parts = [(int(PALE[i : i + 2], 16), int(BLUE[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in parts)


def contact_sheet() -> str:
    parts = [box(96, 8, 216, 128, "#fff", PALE)]
    for number in range(6):
        row, column = divmod(number, 3)
        x, y = 146 + column * 54, 32 + row * 50
        parts += [box(x, y, 46, 40), ellipse(x + 23, y + 20, 16, 11, (BLUE, ORANGE)[row])]
        if row == 0:
            parts.append(text(x + 23, 24, "ABC"[column], 12, at="middle"))
        if column == 0:
            parts.append(text(124, y + 24, f"{row + 1}", 12, at="middle"))
    for i in range(3):
        y = 26 + i * 40
        parts += [box(12, y, 30, 26, (BLUE, ORANGE, GREEN)[i]), arrow(48, y + 13, 88, 72)]
    return sheet(146, *parts)


DRAWN: dict[str, Callable[[], str]] = {
    "IPAAttentionMap": attention_map,
    "IPAAttentionView": attention_view,
    "IPASimple": simple,
    "IPAStyleComposition": style_composition,
    "IPARegional": regional,
    "IPALoadAdapter": load_adapter,
    "IPALoadForModel": load_for_model,
    "IPALoadEncoder": load_encoder,
    "IPAPrepareImage": prepare_image,
    "IPANoiseImage": noise_image,
    "IPASaveEmbeds": save_embeds,
    "IPALoadEmbeds": load_embeds,
    "IPAEncodeImage": encode_image,
    "IPAMergeEmbeds": merge_embeds,
    "IPALoadFaceModels": load_face_models,
    "IPAEncodeFace": encode_face,
    "IPARegions": regions,
    "IPABlockWeights": block_weights,
    "IPASchedule": schedule,
    "IPAPreviewMask": preview_mask,
    "IPAApply": apply,
    "IPABindToConditioning": bind,
    "IPAInstantIDConditioning": instantid,
    "IPARemove": remove,
    "IPADoctor": doctor,
    "IPATiles": tiles,
    "IPASweep": sweep,
    "IPASheet": contact_sheet,
    "IPAConvertAdapter": convert_adapter,
    "IPAConvertEmbeds": convert_embeds,
}


def main() -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    for name, draw in DRAWN.items():
        (PICTURES / f"{name}.svg").write_text(draw(), "utf-8")


if __name__ == "__main__":
    import conftest  # noqa: F401  # puts the host on the path and names the pack `pack`

    main()
