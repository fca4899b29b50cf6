"""`python demo/measure.py [--per-word N] [--kind standard] [--part NAME]`: what the toy models do.

Prints one line for each promise, and leaves contact sheets in --sheets.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from train.distance import colour_distance
from train.drawings import WORDS
from train.host import open_host
from train.judge import Judge, agreement, trained_judge
from train.studio import GRID, Studio, pack, references, sheet

EACH = "one per picture, loop"


@dataclass
class Bench:
    """What the measurements share."""

    studio: Studio
    judge: Judge
    kind: str
    per_word: int
    sheets: Path

    def pictures(self, count: int, seed: int, word: int, **settings: object) -> Tensor:
        """Pictures with the settings of Apply IP-Adapter, without references if there are none."""
        model = self.studio.model
        embeds = settings.pop("embeds", None)
        if embeds is not None:
            model = self.studio.apply(self.kind, embeds, **settings)
        return self.studio.pictures(model, word, count, seed)

    def keep(self, name: str, rows: list[Tensor]) -> None:
        sheet(rows).save(self.sheets / f"{self.kind}_{name}.png")


def words_alone(bench: Bench) -> None:
    rows = [bench.pictures(bench.per_word, 100 + word, word) for word in range(len(WORDS))]
    bench.keep("words", rows)
    each = [
        agreement(bench.judge, row, torch.full((len(row),), word)) for word, row in enumerate(rows)
    ]
    say("word gives the shape", sum(each) / len(each), "at least 0.90")
    print("   ", ", ".join(f"{w} {part:.2f}" for w, part in zip(WORDS, each, strict=True)))


def follows(bench: Bench) -> None:
    """Shape, colours and their distance with a reference of another word."""
    kept: list[Tensor] = []
    shapes, near, far = [], [], []
    for word in range(len(WORDS)):
        seen, _ = references(bench.per_word, 200 + word)
        embeds = bench.studio.embeds(seen)
        heard = bench.pictures(bench.per_word, 100 + word, word, embeds=embeds, batch_mode=EACH)
        plain = bench.pictures(bench.per_word, 100 + word, word)
        shapes.append(agreement(bench.judge, heard, torch.full((len(heard),), word)))
        near.append(colour_distance(heard, seen))
        far.append(colour_distance(plain, seen))
        kept += [seen, heard]
    bench.keep("references", kept)
    close, away = float(torch.cat(near).mean()), float(torch.cat(far).mean())
    say("shape with a reference", sum(shapes) / len(shapes), "at least 0.80")
    say("colours: distance with / without", close / away, "at most 0.33", f"{close:.3f}/{away:.3f}")


def scales(bench: Bench) -> None:
    seen, _ = references(bench.per_word, 300)
    embeds = bench.studio.embeds(seen)
    rows, means = [seen], []
    for scale in (0.0, 0.25, 0.5, 0.75, 1.0):
        some = bench.pictures(bench.per_word, 7, 3, embeds=embeds, scale=scale, batch_mode=EACH)
        rows.append(some)
        means.append(float(colour_distance(some, seen).mean()))
    bench.keep("scales", rows)
    falls = all(b < a for a, b in zip(means, means[1:], strict=False))
    say("scale is monotone", float(falls), "1", " ".join(f"{mean:.3f}" for mean in means))


def halves(bench: Bench) -> None:
    half = torch.zeros(1, 128, 128)
    half[:, :, :64] = 1
    seen, _ = references(2, 400)
    first, second = (bench.studio.embeds(picture[None]) for picture in seen)
    count = bench.per_word
    plain = bench.pictures(count, 8, 1)
    left = bench.pictures(count, 8, 1, embeds=first, attn_mask=half)
    change = (left - plain).abs().mean((0, 1, 3))
    inside, outside = float(change[:64].mean()), float(change[64:].mean())
    say("left mask: change right / left", outside / inside, "small", f"{outside:.3f}/{inside:.3f}")
    regions = pack("nodes.embeds").pair_regions(
        {"embeds0": first, "embeds1": second}, {"mask0": half, "mask1": 1 - half}, ""
    )
    both = bench.pictures(count, 8, 1, embeds=regions)
    for name, part, own, other in (
        ("left", both[:, :, :64], seen[0], seen[1]),
        ("right", both[:, :, 64:], seen[1], seen[0]),
    ):
        mine, foreign = (
            float(colour_distance(part, _like(reference, part)).mean())
            for reference in (own, other)
        )
        say(f"{name} half: own / other reference", mine / foreign, "below 1")
    bench.keep("halves", [seen, plain, left, both])


def _like(reference: Tensor, part: Tensor) -> Tensor:
    """As many pixels of the reference as the part has, for all its pictures."""
    step = reference.shape[1] // part.shape[2]
    return reference[None, :, ::step].expand(len(part), -1, -1, -1)


def average(bench: Bench) -> None:
    seen, _ = references(2, 500)
    first, second = (bench.studio.embeds(picture[None]) for picture in seen)
    node = pack("nodes.embeds").MergeEmbeds
    middle = node.execute({"embeds0": first, "embeds1": second}, "average").args[0]
    rows = [bench.pictures(bench.per_word, 9, 0, embeds=e) for e in (first, middle, second)]
    bench.keep("average", [seen, *rows])
    whole, a, b = (
        float(colour_distance(x, y).mean())
        for x, y in ((rows[0], rows[2]), (rows[0], rows[1]), (rows[1], rows[2]))
    )
    say("average: nearer to both than they are", max(a, b) / whole, "below 1", f"{a:.3f} {b:.3f}")


def parts_of_the_run(bench: Bench) -> None:
    seen, _ = references(bench.per_word, 600)
    embeds = bench.studio.embeds(seen)
    rows = [seen]
    for start, end in ((0.0, 0.3), (0.3, 1.0), (0.0, 1.0)):
        some = bench.pictures(
            bench.per_word,
            10,
            2,
            embeds=embeds,
            start_percent=start,
            end_percent=end,
            batch_mode=EACH,
        )
        rows.append(some)
        say(f"from {start} to {end}: distance", float(colour_distance(some, seen).mean()), "")
    node = pack("nodes.weights").BlockWeights
    for preset in ("style transfer", "composition", "InstantStyle style", "InstantStyle layout"):
        gains = node.execute(preset).args[0]
        some = bench.pictures(
            bench.per_word, 10, 2, embeds=embeds, block_weights=gains, batch_mode=EACH
        )
        rows.append(some)
        say(f"{preset}: distance", float(colour_distance(some, seen).mean()), "")
    bench.keep("parts", rows)


def from_a_picture(bench: Bench) -> None:
    """Image-to-image keeps the picture more, inpainting keeps what is not masked wholly."""
    studio, count = bench.studio, bench.per_word
    seen, _ = references(count, 700)
    source, _ = references(count, 701, word=4)
    model = studio.apply(bench.kind, studio.embeds(seen), batch_mode=EACH)
    start = studio.vae.encode(source)
    soft = studio.vae.decode(studio.latents(model, 4, count, 11, start=start, denoise=0.6))
    mask = torch.zeros(1, GRID, GRID)
    mask[:, :, GRID // 2 :] = 1
    painted = studio.latents(model, 4, count, 11, start=start, mask=mask)
    kept = float((painted - start)[..., : GRID // 2].abs().max())
    moved = float((painted - start)[..., GRID // 2 :].abs().mean())
    shape = agreement(bench.judge, soft, torch.full((count,), 4))
    say("image-to-image: shape stays", shape, "")
    near, far = (float(colour_distance(x, seen).mean()) for x in (soft, source))
    say("image-to-image: colours with / before", near / far, "below 1")
    say("inpainting: change outside the mask", kept, "0", f"inside {moved:.3f}")
    bench.keep("from_a_picture", [source, seen, soft, studio.vae.decode(painted)])


PARTS: dict[str, Callable[[Bench], None]] = {
    "words": words_alone,
    "follows": follows,
    "scales": scales,
    "halves": halves,
    "average": average,
    "parts": parts_of_the_run,
    "from": from_a_picture,
}


def say(what: str, value: float, wanted: str, more: str = "") -> None:
    print(f"{what:42} {value:7.3f}  {wanted:14} {more}", flush=True)


@torch.no_grad()
def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--per-word", type=int, default=9)
    parser.add_argument("--kind", default="standard", choices=("standard", "plus"))
    parser.add_argument("--part", choices=PARTS, action="append")
    parser.add_argument("--sheets", type=Path, default=Path(tempfile.gettempdir()) / "toy_sheets")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    open_host()
    options.sheets.mkdir(parents=True, exist_ok=True)
    with torch.enable_grad():
        judge = trained_judge(options.sheets)
    bench = Bench(Studio(), judge, options.kind, options.per_word, options.sheets)
    for part in options.part or PARTS:
        PARTS[part](bench)
    return 0


if __name__ == "__main__":
    sys.exit(main())
