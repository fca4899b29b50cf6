"""The workflow that the demo opens the editor with: its nodes, wires and words."""

from __future__ import annotations

import sys
from pathlib import Path

from kit.pages.example_graphs import MODELS, Out, Sketch

sys.path.append(str(Path(__file__).resolve().parents[3] / "demo"))

from stand_ins import TOY_CFG, TOY_SIZE, TOY_STEPS
from toys import PICTURES

# For what it says after a run, which here is the first that anybody reads.
ROOM = (300, 420)

TEXT = """# A reference, without a download

## The very small models here were trained on drawings and know a dozen shapes: **word** says \
which one. Colours and texture come from the **reference**.

## **1.** Press **Run**.

## **2.** Change *scale* in *IPAdapter Simple* to 0 and run again: the same shape in pencil, as \
the models draw by themselves. In between there is in between.

## **3.** Choose another *word*, or another drawing in *Reference*: **toy_reference_b.png**, \
**toy_reference_c.png**, or one of your own with one shape on a plain background.

## **4.** Everything but *Toy Models* is what you will use with Stable Diffusion: *Templates*, \
this pack, *IP-Adapter 01 First picture* says which files that takes.
"""


def toy_models() -> Sketch:
    sketch = Sketch("toy_models", "A reference, without a download")
    toy = sketch.add("IPAToyModels", MODELS, word="star")
    model, vae, _, positive, negative = (Out(toy, slot) for slot in range(5))
    reference = Out(sketch.picture(PICTURES[0], "Reference"), 0)
    patched = sketch.simple(model, reference, "plus", 1.0, size=ROOM)
    pictures = sketch.sampled(
        patched, (positive, negative), sketch.empty(TOY_SIZE), vae, steps=TOY_STEPS, cfg=TOY_CFG
    )
    sketch.saved(pictures)
    sketch.text = TEXT
    return sketch
