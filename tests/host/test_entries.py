"""Whatever comes to whichever input of whichever node: it is right, or one sentence says why not.

The host compares links by the name of their type and checks numbers and choices that are typed.
What another node hands over as such, and what a program sends, reaches the node as it is.
"""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import comfy.sd
import folder_paths
import numpy
import pytest
import torch
from comfy.model_patcher import ModelPatcher
from comfy_api.internal import first_real_override, make_locked_method_func
from comfy_api.latest import io
from kit.models import checkpoints, companions, encoders, face_packs, tiny
from kit.server.live_nodes import tiny_hunyuan_video
from pack.ip_models.attention.record import RunRecord, Selection
from pack.ip_models.attention_maps.view import AttentionView
from pack.ip_models.errors import BadInput, IPAdapterError
from pack.ip_models.references.features import Region, Regions
from pack.ip_models.weights.gains import Weights
from pack.nodes.encode import EncodeImage
from pack.nodes.extension import IPAdapterExtension
from pack.nodes.host.checks import Numbers
from pack.nodes.host.encoder.row_cache import forget
from pack.nodes.host.face.engine import EngineChoice, load_engine
from pack.nodes.host.face.packs import find
from pack.nodes.host.files import folders
from pack.nodes.prepare import PrepareImage
from pack.nodes.stored import SaveEmbeds
from torch import Tensor
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

Node = type[io.ComfyNode]
# What goes into the one that converts embeds depends on the other input (tests/plus); InstantID's
# needs an adapter of its own and a face in the picture (test_instantid.py).
NODES: list[Node] = [
    node
    for node in asyncio.run(IPAdapterExtension().get_node_list())
    if node.__name__ not in ("ConvertEmbeds", "InstantIDConditioning")
]
NAN, INF = float("nan"), float("inf")
TWIN = tiny.twins("sd1")
LATENT = {"samples": torch.zeros(1, 4, 8, 8)}
PRISTINE = {"transformer_options": {}}
# A wrong MODEL or CLIP_VISION is a line of Doctor's report.
REPORTED = {("IPADoctor", "model"), ("IPADoctor", "clip_vision")}
# Where services send null for what they do not set.
LENIENT = {
    *(("IPALoadEmbeds", name) for name in ("entry", "negative_file")),
    # Inputs that get all values of a list, of which there may be none.
    *(("IPASheet", name) for name in ("labels", "columns", "title", "picture_size")),
}
FILES = {
    "adapter_file": "plain.safetensors",
    "encoder_file": "tiny",
    "embeds_file": "saved.safetensors",
    "negative_file": "none",
    "pack": "buffalo_l",
}
# What makes a node do something with files that are there, and little.
WIDGETS = {"on_no_face": "pass", "name": "written", "if_exists": "replace"}


@dataclass
class World:
    """One good object for each sort of socket, and folders with a file of each sort."""

    sockets: dict[str, Any]

    def right(self, one: Any) -> Any:
        if isinstance(one, io.Autogrow.Input):
            return {f"{one.template.prefix}0": self.right(one.template.input)}
        sort = one.get_io_type().split(",")[0]
        if sort in self.sockets:
            return self.sockets[sort]
        if one.id == "encoder_file" and one.default == "auto":
            return "auto"
        return FILES.get(one.id, WIDGETS.get(one.id, one.default))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    home = tmp_path_factory.mktemp("models")
    for name in (folders.ADAPTERS, folders.ENCODERS):
        (home / name).mkdir()
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        table = {folders.ENCODERS: ([str(home / folders.ENCODERS)], {".safetensors"})}
        table["custom_nodes"] = ([], set[str]())
        patch.setattr(folder_paths, "models_dir", str(home))
        patch.setattr(folder_paths, "folder_names_and_paths", table)
        patch.setattr(folder_paths, "filename_list_cache", {})
        folders.register()
        yield World(_sockets(home))


def _sockets(home: Path) -> dict[str, Any]:
    face_packs.make_pack(home / "insightface" / "models" / "buffalo_l")
    widths = (TWIN.widths, TWIN.context, encoders.POOLED)
    tensors = checkpoints.tiny_adapter("standard", *widths, tokens=4)
    tiny.load_tensors(home / folders.ADAPTERS, tensors, "plain")
    adapter = tiny.load_tensors(home, tiny.adapter_tensors(TWIN, "standard"))
    config = CLIPVisionConfig(projection_dim=encoders.POOLED, **encoders.CONFIG)
    CLIPVisionModelWithProjection(config).save_pretrained(home / folders.ENCODERS / "tiny")
    encoder, features = encoders.make_pair(home).ours, tiny.random_features(1)
    encoded = EncodeImage.execute(encoder, torch.rand(1, 24, 16, 3)).args[0]
    SaveEmbeds.execute(embeds={"embeds0": encoded}, name="saved")
    return {
        "MODEL": TWIN.model,
        "CLIP_VISION": encoder,
        "IMAGE": torch.rand(1, 24, 16, 3),
        "MASK": torch.rand(1, 24, 16),
        "LATENT": LATENT,
        "CONDITIONING": [[torch.zeros(1, 8, 768), {}]],
        "IP_ADAPTER": adapter,
        "IPA_EMBEDS": features,
        "IPA_WEIGHTS": Weights(),
        "IPA_ATTENTION": _viewed(LATENT),
        "IPA_FACE_MODELS": load_engine(find("buffalo_l"), EngineChoice.TORCH),
    }


def _viewed(latent: dict[str, Tensor]) -> AttentionView:
    """What was seen in a run that gave this latent."""
    view = AttentionView(Selection())
    record = RunRecord([view.selection])
    view.keep(record, record.seen[0], latent["samples"])
    return view


def things() -> dict[str, Any]:
    """What nobody means to send."""
    image, mask = torch.rand(2, 24, 16, 3), torch.rand(2, 24, 16)
    whole_image = torch.full((1, 24, 16, 3), 0.5)
    return {
        "None": None,
        "a word": "word",
        "no word": "",
        "an int": 3,
        "a large int": 10**400,
        "a large negative int": -(10**9),
        "a float": 0.37,
        "a large float": 1e30,
        "nan": NAN,
        "inf": INF,
        "-inf": -INF,
        "True": True,
        "False": False,
        "bytes": b"word",
        "a fraction": Fraction(1, 2),
        "numpy float": numpy.float32(0.5),
        "numpy int": numpy.int64(1),
        "numpy bool": numpy.bool_(True),
        "numpy array": numpy.zeros((1, 24, 16, 3), numpy.float32),
        "numpy words": numpy.array(["steps", "linear"]),
        "empty list": [],
        "list of None": [None],
        "list of lists": [[1], [2, 3]],
        "list of words": ["steps", "linear"],
        "list of pictures": [image],
        "tuple": (),
        "dict": {},
        "dict of other names": {"first": 1, "embeds": 2, "embeds0x": 3, "mask-1": 4},
        "dict of a long name": {"embeds" + "9" * 5000: 1},
        "dict of numbers": {0: 1, 1: None},
        "latent without samples": {"samples": 3},
        "latent of another rank": {"samples": torch.zeros(4, 8)},
        "object": object(),
        "a class": dict,
        "a function": len,
        "a module": torch.nn.Linear(2, 2),
        "scalar": torch.tensor(0.5),
        "vector": torch.rand(8),
        "rank 5": torch.rand(1, 1, 8, 8, 3),
        "no pixels": torch.zeros(1, 0, 8, 3),
        "no pictures": torch.zeros(0, 8, 8, 3),
        "no masks": torch.zeros(0, 8, 8),
        "mask without pixels": torch.zeros(1, 8, 0),
        "image": image,
        "one image": image[:1],
        "image without batch": image[0],
        "mask": mask,
        "image of 7 channels": torch.rand(1, 8, 8, 7),
        "image to 255": image * 255,
        "image of 8 bits": (image * 255).to(torch.uint8),
        "image of whole numbers to 255": (image * 255).long(),
        "image to -255": image * -255,
        "mask to 255": mask * 255,
        "mask of 8 bits": (mask * 255).to(torch.uint8),
        "image with nan": image.clone().fill_(NAN),
        "image with inf": image.clone().index_fill_(1, torch.tensor([2]), INF),
        "mask with nan": mask.clone().fill_(NAN),
        "complex image": torch.complex(whole_image, whole_image),
        "complex mask": torch.complex(mask, mask),
        "half image": image.half(),
        "double image": image.double(),
        "image of bools": image > 0.5,
        "image of zeros and ones": (image > 0.5).long(),
        "sparse image": image.to_sparse(),
        "image without memory": image.to("meta"),
        "image of small floats": image.to(torch.float8_e4m3fn),
        "half mask": mask.half(),
        "mask of bools": mask > 0.5,
        "mask of zeros and ones": (mask > 0.5).long(),
    }


def strangers(world: World) -> dict[str, Any]:
    """What belongs on other sockets."""
    encoder = world.sockets["CLIP_VISION"]
    regions = Regions((Region(world.sockets["IPA_EMBEDS"], None, 1.0),))
    return {
        **world.sockets,
        "CLIP": comfy.sd.CLIP(no_init=True),
        "VAE": companions.Vae(),
        "CONTROL_NET": companions.control_net(TWIN.model),
        "patcher of an encoder": encoder.patcher,
        "network of a MODEL": TWIN.model.model,
        "MODEL of another family": tiny_hunyuan_video(),
        "regions": regions,
        "conditioning of another shape": [[torch.zeros(1, 8, 768)]],
        "conditioning of words": [["a", "b"]],
    }


def sort_of(one: Any) -> str:
    return one.get_io_type().split(",")[0]


def may_work(one: Any, value: Any, world: World) -> bool:
    """Whether a user would expect something of it, as far as the input alone can tell."""
    sort = sort_of(one)
    if value is None:
        # Nothing on a socket that may be left empty; a widget always has a value.
        return bool(one.optional) and sort in (*world.sockets, "COMFY_AUTOGROW_V3")
    if sort == "COMBO":
        return isinstance(value, str) and value in one.options
    if isinstance(one, Numbers) and isinstance(value, Tensor):
        # An audio pack gives numbers in many forms.
        value = value.tolist() if value.layout is torch.strided and not value.is_meta else None
    if isinstance(one, Numbers) and isinstance(value, list) and value:
        return all(may_work(one, number, world) for number in value)
    if sort in ("INT", "FLOAT"):
        number = isinstance(value, int | float | Fraction | numpy.number)
        if not number or isinstance(value, bool) or not one.min <= value <= one.max:
            return False
        return sort == "FLOAT" or value == int(value)
    if sort == "BOOLEAN":
        return isinstance(value, bool) or (isinstance(value, int) and value in (0, 1))
    if sort == "STRING":
        return isinstance(value, str)
    if sort in ("IMAGE", "MASK"):
        return isinstance(value, Tensor) and _drawable(value, sort)
    if sort == "CONDITIONING":
        return isinstance(value, list) and not value
    if sort == "IPA_EMBEDS":
        return isinstance(value, Regions)
    # Whether a MODEL has layers for a reference is another question, which not all nodes ask.
    return sort == "MODEL" and isinstance(value, ModelPatcher) and value.model is not encoder(world)


def encoder(world: World) -> Any:
    return world.sockets["CLIP_VISION"].model


def _drawable(pixels: Tensor, sort: str) -> bool:
    good = pixels.ndim == 4 if sort == "IMAGE" else pixels.ndim in (2, 3, 4)
    odd = pixels.is_complex() or pixels.is_sparse or pixels.is_meta
    if odd or pixels.dtype is torch.float8_e4m3fn or not good or not pixels.numel():
        return False
    channels = pixels.shape[-1] in (1, 2, 3, 4)
    inside = bool((pixels.double().abs() <= 1).all())
    return inside and channels == (sort == "IMAGE")


def run(node: Node, inputs: dict[str, Any]) -> str:
    """What a node says to them; nothing if it works."""
    try:
        # As the host does it, with a class of its own for each run.
        clone = node.PREPARE_CLASS_CLONE(None)
        make_locked_method_func(node, node.FUNCTION, clone)(**inputs)
    except IPAdapterError as error:
        assert error.found and error.needed and error.action
        assert "\n" not in str(error) and str(error).endswith("."), str(error)
        return str(error)
    return ""


def inputs_of(node: Node, world: World) -> dict[str, Any]:
    return {one.id: world.right(one) for one in node.define_schema().inputs}


@pytest.mark.parametrize("node", NODES, ids=lambda node: node.__name__)
def test_the_right_inputs_work(node: Node, world: World) -> None:
    assert run(node, inputs_of(node, world)) == ""


@pytest.mark.parametrize("node", NODES, ids=lambda node: node.__name__)
def test_each_input_takes_what_it_is_for_and_names_itself_where_it_is_wrong(
    node: Node, world: World
) -> None:
    wrong: list[str] = []
    right = inputs_of(node, world)
    tries = things() | strangers(world)
    for one in node.define_schema().inputs:
        for about, value, name in _tries(one, tries):
            wrong += _judged(node, {**right, one.id: value}, one, about, name, world)
    assert not wrong, "\n".join(wrong)
    assert TWIN.model.model_options == PRISTINE and not TWIN.model.patches
    assert not world.sockets["CLIP_VISION"].model._forward_pre_hooks


def _tries(one: Any, tries: dict[str, Any]) -> Iterator[tuple[Any, Any, str]]:
    """What to hold each value against, what to send, its name; an Autogrow has inputs inside."""
    for name, value in tries.items():
        if name != sort_of(one):
            yield one, value, name
        if isinstance(one, io.Autogrow.Input) and name != sort_of(one.template.input):
            yield one.template.input, {f"{one.template.prefix}0": value}, name


def _judged(
    node: Node, inputs: dict[str, Any], one: Any, about: Any, name: str, world: World
) -> Iterator[str]:
    node_id = node.define_schema().node_id
    title = f"{about.id} of {node_id} with {name}"
    try:
        said = run(node, inputs)
    except AssertionError as error:
        yield f"{title}: no sentence, {error}"
        return
    except Exception as error:  # noqa: BLE001 - any other kind is what must not be
        yield f"{title}: {type(error).__name__}: {str(error)[:80]}"
        return
    value = inputs[one.id]
    if about is not one:
        (value,) = value.values()
    named = about.id
    if isinstance(about, io.Autogrow.Input):
        good, named = value is None or value == {}, about.template.prefix
    elif value is None:  # one of several inputs may always be left empty
        good = about is not one or (node_id, about.id) in LENIENT or may_work(about, None, world)
    elif node.define_schema().is_input_list and isinstance(value, list):
        empty = not value and (node_id, about.id) in LENIENT
        good = empty or (value and all(may_work(about, each, world) for each in value))
    else:
        good = may_work(about, value, world) or (node_id, about.id) in REPORTED
    if said == "" and not good:
        yield f"{title}: nothing was said"
    elif said and about.id not in FILES and named not in said.lower():
        yield f"{title}: {said}"


def answer(given: Any) -> Any:
    """What a check says that looks into files on another thread."""
    return asyncio.run(given) if inspect.iscoroutine(given) else given


# What JSON can hold, which is what the host asks about before a run.
TYPED: list[Any] = [None, "", "word", 3, -0.5, 1e300, True, [], ["a", {}], {"b": [None]}]


@pytest.mark.parametrize("node", NODES, ids=lambda node: node.__name__)
def test_the_host_gets_an_answer_about_whatever_is_typed(node: Node, world: World) -> None:
    names = [one.id for one in node.define_schema().inputs]
    for value in TYPED:
        given = dict.fromkeys(names, value)
        if first_real_override(node, "validate_inputs"):
            asked = set(inspect.signature(node.validate_inputs).parameters)
            answers = [answer(node.validate_inputs(**{name: value})) for name in asked]
            assert all(one is True or one.endswith(".") for one in answers)
        if first_real_override(node, "fingerprint_inputs"):
            assert isinstance(node.fingerprint_inputs(**given), str | float)


@pytest.mark.parametrize("node", NODES, ids=lambda node: node.__name__)
def test_what_is_missing_is_named(node: Node, world: World) -> None:
    right = inputs_of(node, world)
    for one in node.define_schema().inputs:
        rest = {name: value for name, value in right.items() if name != one.id}
        said = run(node, rest)
        default = inspect.signature(node.execute).parameters[one.id].default
        if default is inspect.Parameter.empty:
            assert (one.id in FILES and "nothing" in said) or one.id in said
        elif one.id not in WIDGETS:
            assert said == "", one.id


@pytest.mark.parametrize("made", ["half", "double", "bool", "long"])
def test_pixels_of_each_kind_mean_the_same_picture(made: str, world: World) -> None:
    picture = (torch.rand(1, 70, 60, 3) > 0.5).float()
    mask = (torch.rand(1, 70, 60) > 0.3).float()
    for node in (EncodeImage, PrepareImage):
        forget()
        first = {"clip_vision": world.sockets["CLIP_VISION"]}
        plain = node.execute(**first, image=picture, mask=mask).args[0]
        other = getattr(picture, made)(), getattr(mask, made)()
        again = node.execute(**first, image=other[0], mask=other[1]).args[0]
        rows = (getattr(one, "penultimate", one) for one in (plain, again))
        assert torch.equal(*rows)


def called(name: str) -> Node:
    return next(node for node in NODES if node.__name__ == name)


def test_a_program_may_call_a_node_without_the_host(world: World) -> None:
    bind = called("BindToConditioning")
    inputs = inputs_of(bind, world)
    del inputs["negative"]
    assert bind.execute(**inputs).args[2] is None


def test_a_model_of_another_class_goes_on_working(world: World) -> None:
    """Packs hand out wrappers that pass on to the MODEL what they do not know themselves."""

    class Wrapper:
        def __init__(self, inner: Any) -> None:
            self._inner = inner

        def __getattr__(self, name: str) -> Any:
            return getattr(self._inner, name)

    apply = called("ApplyIPAdapter")
    inputs = inputs_of(apply, world)
    call = tiny.make_call(TWIN)
    outs = [
        tiny.run_comfy(apply.execute(**{**inputs, "model": model}).args[0], call)
        for model in (TWIN.model, Wrapper(TWIN.model))
    ]
    assert torch.equal(*outs)
    assert tiny.relative(outs[0], tiny.run_comfy(TWIN.model, call)) > 0.01


def test_pixels_up_to_255_are_told_what_to_do(world: World) -> None:
    encoder, picture = world.sockets["CLIP_VISION"], torch.rand(2, 9, 9, 3)
    for wrong in (picture * 255, (picture * 255).to(torch.uint8)):
        with pytest.raises(BadInput, match=r"image 1 of 2 holds values from .* to 25\d.* by 255"):
            EncodeImage.execute(encoder, wrong)
    EncodeImage.execute(encoder, picture * 2.9 - 0.95)  # what sharp filters leave
    with pytest.raises(BadInput, match="mask holds values from .* e.g. by 255"):
        EncodeImage.execute(encoder, picture, mask=255 * torch.rand(9, 9))
    with pytest.raises(
        BadInput, match="mask is a picture with colours .*; .*Convert Image to Mask"
    ):
        EncodeImage.execute(encoder, picture[:1], mask=picture[:1])


def test_the_largest_seed_stays_what_it_is() -> None:
    noise = called("NoiseImage")
    made = [noise.execute(seed=seed, size=16).args[0] for seed in (2**64 - 1, 2**64 - 2)]
    assert not torch.equal(*made)
    assert math.isfinite(float(made[0].sum()))
