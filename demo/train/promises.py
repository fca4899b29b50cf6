"""What the toy models must do, measured: one function for each promise, each with its bar."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import torch
from comfy_host import pack
from safetensors.torch import load, save
from stand_ins import TOY_SIZE
from torch import Tensor

from .distance import colour_distance
from .drawings import WORDS
from .judge import Judge, texture_agreement, word_agreement
from .studio import GRID, Studio, references

EACH = "one per picture, loop"
HALF = TOY_SIZE // 2
PAIRS = 4  # of references


@dataclass(frozen=True)
class Result:
    """One measured promise.

    Attributes:
        least: the value may not be below it; None if there is no such bar.
        most: the value may not be above it; None if there is no such bar.
        more: what the value was made of.
    """

    what: str
    value: float
    least: float | None = None
    most: float | None = None
    more: str = ""

    @property
    def kept(self) -> bool:
        return self.kept_with(0.0)

    def kept_with(self, slack: float) -> bool:
        """Whether it is kept if the bars are lower by so much of themselves."""
        above = self.least is None or self.value >= self.least * (1 - slack)
        return above and (self.most is None or self.value <= self.most * (1 + slack))

    def __str__(self) -> str:
        bar = [f"at least {self.least:g}"] if self.least is not None else []
        bar += [f"at most {self.most:g}"] if self.most is not None else []
        verdict = "" if not bar else ("kept" if self.kept else "BROKEN")
        line = f"{self.what:50} {self.value:7.3f}  {', '.join(bar):15} {verdict:7} {self.more}"
        return line.rstrip()


@dataclass
class Bench:
    """What the measurements share.

    Attributes:
        kind: standard or plus.
        count: pictures of each row.
        sheets: rows of pictures by name, to look at.
    """

    studio: Studio
    judge: Judge
    kind: str
    count: int
    sheets: dict[str, list[Tensor]] = field(default_factory=dict)

    def per_word(self) -> Bench:
        """As many pictures in all, if there is a row for each word."""
        return replace(self, count=-(-self.count // len(WORDS)))

    def pictures(self, word: int, seed: int, embeds: object = None, **settings: object) -> Tensor:
        """(count, height, width, 3) with the settings of Apply IP-Adapter, if there are embeds."""
        model = self.studio.model
        if embeds is not None:
            model = self.studio.apply(self.kind, embeds, **settings)
        return self.studio.pictures(model, word, self.count, seed)


def words_alone(bench: Bench) -> Iterator[Result]:
    bench = bench.per_word()
    rows = [bench.pictures(word, 100 + word) for word in range(len(WORDS))]
    bench.sheets["words"] = rows
    each = [word_agreement(bench.judge, row, word) for word, row in enumerate(rows)]
    more = ", ".join(f"{w} {part:.2f}" for w, part in zip(WORDS, each, strict=True))
    yield Result("word alone gives the shape", _mean(each), least=0.90, more=more)


def follows_reference(bench: Bench) -> Iterator[Result]:
    """The reference shows another word."""
    bench = bench.per_word()
    kept: list[Tensor] = []
    shapes, textures, before, near, far = [], [], [], [], []
    for word in range(len(WORDS)):
        seen, styles = references(bench.count, 200 + word, without=word)
        embeds = bench.studio.embeds(seen)
        plain = bench.pictures(word, 100 + word)
        guided = bench.pictures(word, 100 + word, embeds, batch_mode=EACH)
        shapes.append(word_agreement(bench.judge, guided, word))
        textures.append(texture_agreement(bench.judge, guided, styles.texture))
        before.append(texture_agreement(bench.judge, plain, styles.texture))
        near.append(colour_distance(guided, seen))
        far.append(colour_distance(plain, seen))
        kept += [seen, guided]
    bench.sheets["references"] = kept
    close, away = float(torch.cat(near).mean()), float(torch.cat(far).mean())
    ratio = f"{close:.3f} / {away:.3f}"
    yield Result("with a reference, the word gives the shape", _mean(shapes), least=0.80)
    yield Result("distance of colours, with / without", close / away, most=1 / 3, more=ratio)
    more = f"without {_mean(before):.3f}"
    yield Result("texture of the reference", _mean(textures), least=0.6, more=more)


def scale_rises(bench: Bench) -> Iterator[Result]:
    seen, _ = references(bench.count, 300)
    embeds = bench.studio.embeds(seen)
    rows = [seen]
    for scale in (0.0, 0.25, 0.5, 0.75, 1.0):
        rows.append(bench.pictures(3, 7, embeds, scale=scale, batch_mode=EACH))
    bench.sheets["scales"] = rows
    means = [float(colour_distance(row, seen).mean()) for row in rows[1:]]
    steps = [after - before for before, after in zip(means, means[1:], strict=False)]
    more = " ".join(f"{mean:.3f}" for mean in means)
    yield Result("scale 0 to 1: largest step away from it", max(steps), most=0.0, more=more)
    plain = bench.pictures(3, 7)
    yield Result("scale 0 is the MODEL itself", float((rows[1] - plain).abs().max()), most=0.0)


def masks(bench: Bench) -> Iterator[Result]:
    """With several pairs of references and words, a part of the pictures with each."""
    half = torch.zeros(1, TOY_SIZE, TOY_SIZE)
    half[:, :, :HALF] = 1
    some = replace(bench, count=-(-bench.count // PAIRS))
    changes, sides, kept = [], [], []
    for pair in range(PAIRS):
        seen, _ = references(2, 400 + pair)
        first, second = (bench.studio.embeds(picture[None]) for picture in seen)
        plain = some.pictures(3 * pair, 8)
        left = some.pictures(3 * pair, 8, first, attn_mask=half)
        regions = pack("nodes.embeds").pair_regions(
            {"embeds0": first, "embeds1": second}, {"mask0": half, "mask1": 1 - half}, ""
        )
        both = some.pictures(3 * pair, 8, regions)
        kept += [seen, plain, left, both]
        changes.append([_apart(x(left), x(plain)) for x in (_left, _right)])
        for part, own, other in ((_left, *seen), (_right, seen[1], seen[0])):
            mine = part(both)
            sides.append([_apart(mine, _like(each, mine)) for each in (own, other)])
    bench.sheets["masks"] = kept
    inside, outside = torch.tensor(changes).mean(0).tolist()
    more = f"{outside:.3f} / {inside:.3f}"
    yield Result("left mask: change right / left", outside / inside, most=0.25, more=more)
    for name, those in (("left", sides[::2]), ("right", sides[1::2])):
        mine, foreign = torch.tensor(those).mean(0).tolist()
        more = f"{mine:.3f} / {foreign:.3f}"
        what = f"two masks, {name} half: own / other reference"
        yield Result(what, mine / foreign, most=0.6, more=more)


def _apart(one: Tensor, other: Tensor) -> float:
    return float(colour_distance(one, other).mean())


def _left(pictures: Tensor) -> Tensor:
    return pictures[:, :, :HALF]


def _right(pictures: Tensor) -> Tensor:
    return pictures[:, :, HALF:]


def _like(reference: Tensor, part: Tensor) -> Tensor:
    """As many pixels of the reference as the part has, for all its pictures."""
    step = reference.shape[1] // part.shape[2]
    return reference[None, :, ::step].expand(len(part), -1, -1, -1)


def average_lies_between(bench: Bench) -> Iterator[Result]:
    """With several pairs of references and words, a part of the pictures with each."""
    node = pack("nodes.embeds").MergeEmbeds
    some = replace(bench, count=-(-bench.count // PAIRS))
    kept: list[Tensor] = []
    ratios: list[float] = []
    for pair in range(PAIRS):
        seen, _ = references(2, 500 + pair)
        first, second = (bench.studio.embeds(picture[None]) for picture in seen)
        middle = node.execute({"embeds0": first, "embeds1": second}, "average").args[0]
        a, between, b = (some.pictures(3 * pair, 9, embeds) for embeds in (first, middle, second))
        ratios.append(max(_apart(a, between), _apart(between, b)) / _apart(a, b))
        kept += [seen, a, between, b]
    bench.sheets["average"] = kept
    more = " ".join(f"{ratio:.2f}" for ratio in ratios)
    what = "average: farther of its two ways / whole way"
    yield Result(what, _mean(ratios), most=0.85, more=more)


def parts_of_the_run(bench: Bench) -> Iterator[Result]:
    """What Apply and Block Weights promise of windows and presets, as far as toys can show it.

    Colours are their style, and texture their details; their adapters leave the layout alone.
    """
    seen, styles = references(bench.count, 600)
    embeds = bench.studio.embeds(seen)
    plain = bench.pictures(2, 10)
    away = float(colour_distance(plain, seen).mean())
    rows = [seen, plain]

    def one(**settings: object) -> tuple[float, float]:
        """Part of the colours that is left to go, and agreement of the texture."""
        some = bench.pictures(2, 10, embeds, batch_mode=EACH, **settings)
        rows.append(some)
        left = float(colour_distance(some, seen).mean()) / away
        return left, texture_agreement(bench.judge, some, styles.texture)

    whole, details = one()
    node = pack("nodes.weights").BlockWeights
    left, texture = one(start_percent=0.0, end_percent=0.2)
    more = f"{texture:.3f} / {details:.3f}, colours left to go {left:.2f}"
    yield Result("until 0.2: its texture / whole run", texture / details, most=0.5, more=more)
    left, texture = one(start_percent=0.6)
    more = f"{left:.3f} / {whole:.3f}, texture {texture:.2f}"
    yield Result("from 0.6 on: colours left to go", left, least=0.5, more=more)
    for preset in ("style transfer", "composition", "InstantStyle style", "InstantStyle layout"):
        left, texture = one(block_weights=node.execute(preset).args[0])
        least, most = (None, 0.5) if preset == "style transfer" else (0.8, None)
        more = f"whole run {whole:.3f}, texture {texture:.2f}"
        yield Result(f"{preset}: colours left to go", left, least, most, more)
    bench.sheets["parts"] = rows


def from_a_picture(bench: Bench) -> Iterator[Result]:
    """Image-to-image keeps the shape and takes the colours, inpainting keeps the rest wholly."""
    studio, count, heart = bench.studio, bench.count, WORDS.index("heart")
    seen, _ = references(count, 700)
    source, _ = references(count, 701, word=heart)
    model = studio.apply(bench.kind, studio.embeds(seen), batch_mode=EACH)
    start = studio.vae.encode(source)
    soft = studio.vae.decode(studio.latents(model, heart, count, 11, start=start, denoise=0.7))
    near, far = (float(colour_distance(x, seen).mean()) for x in (soft, source))
    shape = word_agreement(bench.judge, soft, heart)
    yield Result("image-to-image: the shape stays", shape, least=0.9)
    more = f"{near:.3f} / {far:.3f}"
    yield Result("image-to-image: distance of colours / before", near / far, most=0.8, more=more)
    mask = torch.zeros(1, GRID, GRID)
    mask[:, :, GRID // 2 :] = 1
    painted = studio.latents(model, heart, count, 11, start=start, mask=mask)
    change = (painted - start).abs()
    kept, moved = float(change[..., : GRID // 2].max()), float(change[..., GRID // 2 :].mean())
    more = f"inside {moved:.3f}"
    yield Result("inpainting: largest change outside", kept, most=1e-5, more=more)
    bench.sheets["from_a_picture"] = [source, seen, soft, studio.vae.decode(painted)]


def saved_embeds(bench: Bench) -> Iterator[Result]:
    """Written by the pack's own format and read again."""
    seen, _ = references(1, 800)
    embeds = bench.studio.embeds(seen)
    file = pack("ip_models.references.embeds_file")
    tensors, text = file.pack(embeds)
    loaded = file.unpack(load(save(tensors)), text, "kept")
    straight, again = (bench.pictures(4, 12, some) for some in (embeds, loaded))
    apart = float((straight - again).abs().max())
    yield Result("saved and loaded embeds: largest difference", apart, most=0.0)


PROMISES: dict[str, Callable[[Bench], Iterator[Result]]] = {
    "words": words_alone,
    "reference": follows_reference,
    "scale": scale_rises,
    "masks": masks,
    "average": average_lies_between,
    "parts": parts_of_the_run,
    "from": from_a_picture,
    "saved": saved_embeds,
}


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
