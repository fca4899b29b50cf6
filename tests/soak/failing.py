"""Acts that end otherwise: wrong inputs, hostile files, interrupts, memory that gives out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from random import Random

import test_face_server
import test_server
from fuzz.files.damage import safetensors_files, torch_files
from kit.server.live import Prompt
from kit.server.live_graph import changed, graph, node, sampling
from soak.bed import TINY
from soak.passing import Acts, varied
from soak.session import Session

LONG = 5000
REFUSED: dict[str, tuple[Prompt, str]] = {
    "out of the folder": (changed(adapter={"adapter_file": "../secret.safetensors"}), "is not in"),
    "gone": (changed(adapter={"adapter_file": "gone.safetensors"}), "is not in"),
    "too much": (changed(apply={"scale": 99}), "bigger than max"),
    "unknown choice": (changed(encode={"fit": "stretch"}), "not in list"),
    "another kind": (changed(encode={"clip_vision": ["adapter", 0]}), "mismatch"),
}
Damage = Callable[[bytes, Random], bytes]
DAMAGES: dict[str, Damage] = {
    TINY: safetensors_files.damaged,
    "ip-adapter-faceid_sd15.bin": torch_files.damaged,
}
TIMES = 4
# Cases of the tests that need a file which only these have.
OTHER_FILES = ("for_vit_g", "for_sdxl", "pulid.bin", "page.", "pointer.", "cut.")


def acts(hostile: Iterable[str], hostile_embeds: Iterable[str]) -> Acts:
    """All of them by name.

    Args:
        hostile: names of adapter files.
    """
    for name, (prompt, words) in REFUSED.items():
        yield f"refused: {name}", partial(_refuse, name, prompt, words)
    for name in hostile:
        prompt = changed(adapter={"adapter_file": name})
        yield f"file: {name}", partial(_fail, name, prompt, [name.split(".")[0]])
    yield from _damages()
    for name in hostile_embeds:
        yield f"embeds: {name}", partial(_fail, name, _loading(name), [])
    for after in (0.0, 0.3, 1.0):
        yield f"interrupted after {after} s", partial(_interrupt, after)
    for calls in (0, 5, 20):
        yield f"memory out in the MODEL, {calls}", partial(_memory_out_in_the_model, calls)
    for calls in (0, 3):
        yield f"memory out in the encoder, {calls}", partial(_memory_out_in_the_encoder, calls)
    yield "no face", partial(_fail, "no face", _nobody(), ["NoFace"])
    for name, (prompt, words) in test_server.WRONG.items():
        if not any(file in str(prompt) for file in OTHER_FILES):
            yield f"wrong: {name}", partial(_fail, name, prompt, words)


def _fail(name: str, prompt: Prompt, words: list[str], session: Session) -> None:
    session.fail(name, varied(prompt, session), words)


def _damages() -> Acts:
    for source, damage in DAMAGES.items():
        for number in range(TIMES):
            yield f"damaged: {source}, {number}", partial(_damaged, source, damage)


def _damaged(source: str, damage: Damage, session: Session) -> None:
    """A file that nobody has seen; it may be whole enough to be used."""
    folder = session.base / "models" / "ipadapter"
    path = folder / f"damaged {source}"
    path.write_bytes(damage((folder / source).read_bytes(), session.random))
    session.answer(f"damaged {source}", changed(adapter={"adapter_file": path.name}))
    path.unlink()


def _refuse(name: str, prompt: Prompt, words: str, session: Session) -> None:
    session.refuse(name, prompt, words)


def _loading(file: str) -> Prompt:
    prompt = changed(apply={"embeds": ["load", 0]})
    return prompt | {"load": node("IPALoadEmbeds", embeds_file=file)}


def _nobody() -> Prompt:
    prompt = test_face_server.face_graph()
    prompt["photo"] = node("EmptyImage", width=256, height=256, batch_size=1, color=0)
    prompt["adapter"]["inputs"]["adapter_file"] = "ip-adapter-faceid_sd15.bin"
    return prompt


def _interrupt(after: float, session: Session) -> None:
    session.interrupt(f"interrupted after {after} s", varied(graph(steps=LONG), session), after)


def _memory_out_in_the_model(calls: int, session: Session) -> None:
    prompt = graph(steps=3) | sampling(["full", 0], steps=3)
    prompt["full"] = node("IPASoakMemoryOut", model=["apply", 0], calls=calls)
    session.fail("memory out", varied(prompt, session), ["OutOfMemoryError"])


def _memory_out_in_the_encoder(calls: int, session: Session) -> None:
    prompt = changed(encode={"clip_vision": ["full", 1]})
    prompt["full"] = node("IPASoakMemoryOut", clip_vision=["encoder", 0], calls=calls)
    session.fail("memory out", varied(prompt, session), ["OutOfMemoryError"])
