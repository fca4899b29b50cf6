"""Acts that make pictures and files: every picture of another content, so that nothing is known."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from conftest import ROOT
from kit.models.stand_ins import random_models
from kit.pages.example_graphs import STEMS
from kit.server.live import Prompt
from kit.server.live_graph import changed, graph, node, regional, sampling, weighted
from pack.demo.prompts import to_prompt
from plus import recorded
from plus.recorded import Record
from soak.bed import TINY
from soak.every_node import Cast
from soak.session import Session
from stand_ins import fitted

Act = Callable[[Session], Any]
Acts = Iterator[tuple[str, Act]]
EXAMPLES = ROOT / "example_workflows"
SIDE, STEPS, FRAMES = 64, 2, 2
SAVING = "save_embeds"  # what load_embeds loads
SEEDS = 2**32
NO_INPUTS = {"input": {}}


def acts(known: Mapping[str, Any]) -> Acts:
    """All of them by name.

    Args:
        known: what the server says of its nodes.
    """
    for name, prompt in examples(known).items():
        # A reference of other contents would be another file.
        act = again if name == SAVING else run
        yield f"example {name}", partial(act, name, prompt)
    for name in recorded.names():
        prompt = recorded.reduced(Record.read(name))
        yield f"client {name}", partial(run, name, small(prompt))
    for name, prompt in native().items():
        yield f"native {name}", partial(run, name, small(prompt))
    cast = Cast(known)
    for name in cast.names():
        yield f"node {name}", partial(one_node, name, cast.prompt(name))
    for form in ("safetensors", "ipadpt"):
        yield f"save and load {form}", partial(save_and_load, form)
    yield "a file that comes and goes", come_and_go


def examples(known: Mapping[str, Any]) -> dict[str, Prompt]:
    """The example workflows with the tiny models."""
    models = random_models(SIDE, steps=STEPS, frames=FRAMES)
    files = {name: EXAMPLES / f"{stem}.json" for name, stem in STEMS.items()}
    found = {name: json.loads(path.read_text("utf-8")) for name, path in files.items()}
    made = {}
    for name, workflow in sorted(found.items()):
        one = fitted(workflow, models)
        # A host without the pack knows nothing of its widgets, and needs to know nothing.
        strangers = {n["type"]: NO_INPUTS for n in one["nodes"] if n["type"] not in known}
        made[name] = to_prompt(one, {**strangers, **known})
    return made


def small(prompt: Prompt) -> Prompt:
    """The prompt with pictures of the least size and few steps."""
    made = copy.deepcopy(prompt)
    for one in made.values():
        if one["class_type"] == "EmptyLatentImage":
            one["inputs"] |= {"width": SIDE, "height": SIDE}
        if "steps" in one["inputs"]:
            one["inputs"]["steps"] = STEPS
    return made


def native() -> dict[str, Prompt]:
    """What the pack's own nodes do to a picture."""
    removed = graph() | sampling(["remove", 0])
    removed["remove"] = node("IPARemove", model=["apply", 0])
    bound = graph()
    inputs = bound["apply"]["inputs"]
    bound["apply"] = node(
        "IPABindToConditioning",
        **inputs,
        conditioning=["positive", 0],
        negative=["negative", 0],
    )
    bound["sampler"]["inputs"] |= {"positive": ["apply", 1], "negative": ["apply", 2]}
    merged = changed(apply={"embeds": ["merge", 0]})
    merged["merge"] = node(
        "IPAMergeEmbeds",
        method="average",
        weights="1, 0.5",
        **{"embeds.embeds0": ["encode", 0], "embeds.embeds1": ["encode", 0]},
    )
    found = changed(apply={"adapter": ["found", 0], "embeds": ["encode", 0]})
    found["found"] = node("IPALoadForModel", model=["checkpoint", 0], kind="standard")
    return {
        "plain": graph(),
        "scaled": graph(scale=0.4, start_percent=0.2, end_percent=0.9),
        "removed": removed,
        "bound": bound,
        "merged": merged,
        "regional": regional(),
        "block weights": weighted("IPABlockWeights", preset="custom", weights="0:1.0, 3:0.5"),
        "schedule": weighted("IPASchedule", over="steps", start=1.0, end=0.0, curve="ease_in"),
        "tiles": changed(encode={"tiles": 2}),
        "found": found,
    }


def run(name: str, prompt: Prompt, session: Session) -> None:
    session.succeed(name, varied(prompt, session))


def again(name: str, prompt: Prompt, session: Session) -> None:
    session.succeed(name, prompt)


def varied(prompt: Prompt, session: Session) -> Prompt:
    """The prompt with another noise, and with a picture that nobody has seen."""
    made = copy.deepcopy(prompt)
    for number, one in prompt.items():
        for socket in ("seed", "noise_seed"):
            if isinstance(one["inputs"].get(socket), int):
                made[number]["inputs"][socket] = session.random.randrange(SEEDS)
        if one["class_type"] == "IPAEncodeImage":
            seed = session.random.randrange(SEEDS)
            picture = one["inputs"]["image"]
            made[f"{number} noisy"] = node("IPANoiseImage", image=picture, seed=seed, strength=0.3)
            made[number]["inputs"]["image"] = [f"{number} noisy", 0]
    return made


def one_node(name: str, prompt: Prompt, session: Session) -> None:
    session.answer(name, prompt)
    # Old nodes number what they save.
    for path in (session.base / "output").rglob("*.ipadpt"):
        path.unlink()


def save_and_load(form: str, session: Session) -> None:
    """A reference is saved under a new name, read by another prompt and deleted."""
    name = f"saved {session.random.randrange(SEEDS)}"
    prompt = {key: one for key, one in graph().items() if key in ("encoder", "photo", "encode")}
    prompt["adapter"] = graph()["adapter"]
    prompt["save"] = node(
        "IPASaveEmbeds",
        name=name,
        file_format=form,
        if_exists="keep both",
        **{"embeds.embeds0": ["encode", 0], "adapters.adapter0": ["adapter", 0]},
    )
    outputs = session.succeed(f"save {form}", varied(prompt, session))
    (file,) = outputs.get("save", {}).get("ipadapter_embeds", [f"{name}.{form}"])
    reading = changed(apply={"embeds": ["load", 0]})
    for gone in ("encoder", "photo", "encode"):
        del reading[gone]
    reading["load"] = node("IPALoadEmbeds", embeds_file=file)
    session.succeed(f"load {form}", reading)
    (session.base / "models" / "ipadapter_embeds" / file).unlink(missing_ok=True)


def come_and_go(session: Session) -> None:
    """An adapter under a new name is used, overwritten, used again and deleted."""
    folder = session.base / "models" / "ipadapter"
    path = folder / f"new {session.random.randrange(SEEDS)}.safetensors"
    prompt = changed(adapter={"adapter_file": path.name})
    for source in (TINY, "ip-adapter_sd15.safetensors"):
        shutil.copy(folder / source, path)
        session.succeed("a file that comes", prompt)
    path.unlink()
    session.refuse("a file that has gone", prompt, "is not in")
