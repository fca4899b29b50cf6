"""InstantID, both halves: diffusers' numbers with the face in the UNet and in the ControlNet."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import comfy.cldm.cldm
import comfy.controlnet
import comfy.ops
import comfy.sample
import comfy.utils
import numpy
import pytest
import torch
from diffusers import ControlNetModel
from kit.models import book, checkpoints, face_packs, tiny
from kit.models.tiny import CPU, Call, Twins
from pack.ip_models.errors import BadInput, IPAdapterError, NoFace, UnsupportedAdapter, WrongEncoder
from pack.ip_models.faces.detect import Face
from pack.ip_models.faces.key_points import draw_key_points
from pack.ip_models.references.features import FaceFeatures, Region, Regions
from pack.nodes.faces import InstantIDConditioning
from pack.nodes.host.face import packs
from pack.nodes.host.face.encode import Photos, as_picture, chosen_face
from pack.nodes.host.face.engine import EngineChoice, FaceEngine, load_engine
from pack.nodes.host.model.adapter import LoadedAdapter
from pack.nodes.host.model.apply import Settings, apply
from torch import Tensor

from nodes import ControlNetApplyAdvanced

KIND = "FaceID portrait unnormed"
LIMIT, EFFECT = 2e-6, 0.01
STRENGTH, SCALE = 0.8, 0.9
SIDE = 640
Pair = tuple[Any, Any]


@cache
def twin() -> Twins:
    return tiny.twins("sdxl")


@cache
def call() -> Call:
    return tiny.make_call(twin())


@cache
def adapter_tensors() -> dict[str, Tensor]:
    return tiny.adapter_tensors(twin(), KIND)


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> LoadedAdapter:
    return tiny.load_tensors(tmp_path_factory.mktemp("a"), adapter_tensors(), "instantid")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> FaceEngine:
    folder = face_packs.make_pack(tmp_path_factory.mktemp("f") / "antelopev2")
    files = folder, folder / "det_10g.onnx", folder / "w600k_r50.onnx"
    return load_engine(packs.FacePack("antelopev2", *map(str, files)), EngineChoice.TORCH)


@cache
def control_nets() -> tuple[Any, comfy.controlnet.ControlNet]:
    """One ControlNet of diffusers' class and of the host's; no convolution is zero any more."""
    torch.manual_seed(11)
    theirs = ControlNetModel.from_unet(twin().unet).eval()
    for name, weight in theirs.named_parameters():
        if name.startswith(("controlnet_down", "controlnet_mid", "controlnet_cond")):
            fan = weight[0].numel() if weight.ndim > 1 else 100
            louder = 2 if "cond" in name and weight.ndim > 1 else 1  # for its picture
            weight.data = torch.randn(weight.shape) * louder / fan**0.5
    config = dict(twin().model.model.model_config.unet_config)
    names = comfy.utils.unet_to_diffusers(config)
    config = {key: value for key, value in config.items() if key not in ("out_channels", "dtype")}
    ours = comfy.cldm.cldm.ControlNet(
        hint_channels=3, dtype=torch.float32, operations=comfy.ops.manual_cast, **config
    )
    state = {names.get(key) or host_name(key): v for key, v in theirs.state_dict().items()}
    ours.load_state_dict(state, strict=True)
    return theirs, comfy.controlnet.ControlNet(ours.eval(), load_device=CPU)


def host_name(key: str) -> str:
    """What the host calls a ControlNet's own weights."""
    stem, end = key.rsplit(".", 1)
    _, part = stem.split("controlnet_")
    if part == "mid_block":
        return f"middle_block_out.0.{end}"
    if part.startswith("down_blocks"):
        return f"zero_convs.{part.split('.')[-1]}.0.{end}"
    layer = part.removeprefix("cond_embedding.")
    number = {"conv_in": 0, "conv_out": 7}.get(layer)
    if number is None:
        number = int(layer.removeprefix("blocks.")) + 1
    return f"input_hint_block.{2 * number}.{end}"


def photo(*columns: int) -> Tensor:
    """A grey photo with a face in each of some columns."""
    picture = numpy.full((SIDE, SIDE, 3), 90, numpy.uint8)
    for column in columns:
        face_packs.paint(picture, 8, column, 30)
    return torch.from_numpy(picture)[None].float() / 255


def prompts() -> Pair:
    """(positive, negative) with the texts of the call."""
    size = {"width": 512, "height": 512, "target_width": 512, "target_height": 512}
    texts, pooled = call().context.chunk(2), call().ids["text_embeds"].chunk(2)
    negative, positive = (
        [[text, {"pooled_output": row, **size}]] for text, row in zip(texts, pooled, strict=True)
    )
    return positive, negative


def node(adapter: Any, faces: Any, pair: Pair, engine: Any, **more: Any) -> tuple[Any, ...]:
    given = {"image": photo(40), **more}
    made = InstantIDConditioning.execute(adapter, faces, *pair, engine, **given)
    return tuple(made.args)


def led(positive: Any, negative: Any, hint: Tensor) -> Pair:
    """Through the host's Apply ControlNet."""
    net = control_nets()[1]
    return ControlNetApplyAdvanced().apply_controlnet(
        positive, negative, net, hint, STRENGTH, 0.0, 1.0
    )


def first_call(model: Any, pair: Pair) -> tuple[Tensor, Tensor, Tensor]:
    """Input, noise level and predicted noise of the sampler's first call, negative rows first."""
    seen: list[tuple[Tensor, Tensor, Tensor]] = []

    def watched(run: Callable[..., Tensor], values: dict[str, Any]) -> Tensor:
        x, sigma = values["input"], values["timestep"]
        denoised = run(x, sigma, **values["c"])
        order = torch.tensor(values["cond_or_uncond"]).argsort(descending=True)
        rows = (x, sigma, (x - denoised) / sigma.view(-1, 1, 1, 1))
        seen.append(tuple(part[order] for part in rows))  # pyright: ignore[reportArgumentType]
        return denoised

    model = model.clone()
    model.set_model_unet_function_wrapper(watched)
    noise = call().x[:1]
    latent = torch.zeros_like(noise)
    more = {"disable_pbar": True, "seed": 1}
    comfy.sample.sample(model, noise, 1, 4.0, "euler", "normal", *pair, latent, **more)
    assert len(seen) == 1, "both prompts run together"
    return seen[0]


def by_diffusers(
    x: Tensor, sigma: Tensor, hint: Tensor, faces: FaceFeatures, **only: Any
) -> Tensor:
    """As the community pipeline of InstantID: the ControlNet hears the tokens, the UNet both.

    Args:
        only: what the ControlNet hears instead, or the scale of the adapter.
    """
    step = copy.copy(call())
    step.x = x / torch.sqrt(sigma**2 + 1).view(-1, 1, 1, 1)
    step.t = twin().model.get_model_object("model_sampling").timestep(sigma).float()
    identity = torch.cat((torch.zeros_like(faces.identity), faces.identity))[:, None]
    projection = checkpoints.nest(adapter_tensors())["image_proj"]
    tokens = (
        book.resampler(identity.double(), projection).float().unflatten(0, (2, -1)).flatten(1, 2)
    )
    down, middle = control_nets()[0](
        step.x,
        step.t,
        encoder_hidden_states=only.get("hears", tokens),
        controlnet_cond=hint.movedim(-1, 1).repeat(2, 1, 1, 1),
        conditioning_scale=STRENGTH,
        added_cond_kwargs=step.ids,
        return_dict=False,
    )
    step.control = {
        "down_block_additional_residuals": down,
        "mid_block_additional_residual": middle,
    }
    return tiny.run_diffusers(twin(), step, [adapter_tensors()], [faces], only.get("scale", SCALE))


@pytest.mark.parametrize("count", [1, 3])
def test_both_halves_are_diffusers(count: int, adapter: LoadedAdapter, engine: FaceEngine) -> None:
    faces = tiny.random_faces(count)
    model = apply(twin().model, adapter, faces, Settings(scale=SCALE))
    *pair, hint = node(adapter, faces, prompts(), engine, width=128, height=128)
    assert hint.shape == (1, 128, 128, 3) and hint.any()
    x, sigma, ours = first_call(model, led(*pair, hint))
    assert tiny.relative(ours, by_diffusers(x, sigma, hint, faces)) < LIMIT
    text = call().context
    others = {
        "the ControlNet hears the text": by_diffusers(x, sigma, hint, faces, hears=text),
        "the UNet hears no face": by_diffusers(x, sigma, hint, faces, scale=0.0),
        "no points": by_diffusers(x, sigma, torch.zeros_like(hint), faces),
    }
    for name, other in others.items():
        assert tiny.relative(ours, other) > EFFECT, name
    heard = first_call(model, led(*prompts(), hint))[2]
    assert tiny.relative(heard, others["the ControlNet hears the text"]) < LIMIT


def test_without_a_face_both_prompts_hear_none(adapter: LoadedAdapter, engine: FaceEngine) -> None:
    nobody = FaceFeatures(torch.zeros(0, 512), None, "antelopev2")
    positive, negative, hint = node(adapter, nobody, prompts(), engine, image=photo())
    one = node(adapter, tiny.random_faces(1), prompts(), engine)
    empty = one[1][0][1]["cross_attn_controlnet"]
    for made in (positive, negative):
        assert torch.equal(made[0][1]["cross_attn_controlnet"], empty)
    assert hint.shape == (1, SIDE, SIDE, 3) and not hint.any()
    assert not torch.equal(one[0][0][1]["cross_attn_controlnet"], empty)


def test_nothing_that_comes_in_is_changed(adapter: LoadedAdapter, engine: FaceEngine) -> None:
    pair = prompts()
    node(adapter, tiny.random_faces(1), pair, engine)
    assert all("cross_attn_controlnet" not in one[0][1] for one in pair)


def face_of(engine: FaceEngine, image: Tensor) -> Face:
    face = chosen_face(as_picture(image[0]), engine, Photos(image), 0)
    assert face is not None
    return face


def test_the_points_are_those_of_the_chosen_face(
    adapter: LoadedAdapter, engine: FaceEngine
) -> None:
    faces, both = tiny.random_faces(1), photo(12, 60)
    for index, column in enumerate((12, 60)):
        alone = face_of(engine, photo(column)).key_points
        choice = {"face": "left to right", "face_index": index}
        hint = node(adapter, faces, prompts(), engine, image=both, **choice)[2]
        expected = draw_key_points(alone, SIDE, SIDE)
        assert numpy.array_equal((hint[0] * 255).round().numpy(), expected)


def test_a_video_has_a_picture_for_each_frame(adapter: LoadedAdapter, engine: FaceEngine) -> None:
    frames = torch.cat((photo(20), photo(40)))
    hint = node(adapter, tiny.random_faces(1), prompts(), engine, image=frames)[2]
    assert hint.shape == (2, SIDE, SIDE, 3) and not torch.equal(*hint)


@pytest.mark.parametrize("size", [(256, 256), (512, 320), (320, 512), (1024, 1024)], ids=str)
def test_points_are_where_the_host_would_put_the_photo(
    size: tuple[int, int], adapter: LoadedAdapter, engine: FaceEngine
) -> None:
    """The photo as the host's ControlNet would crop and scale it shows its face at the points."""
    width, height = size
    wide = photo(40)[:, :520]
    points = face_of(engine, wide).key_points
    marks = torch.zeros_like(wide)
    x, y = points[4].round().astype(int)  # the last that is drawn, so that none lies on it
    marks[0, y - 2 : y + 3, x - 2 : x + 3] = 1
    moved = comfy.utils.common_upscale(marks.movedim(-1, 1), width, height, "area", "center")
    hint = node(adapter, tiny.random_faces(1), prompts(), engine, image=wide, **named(size))[2]
    disc = (hint[0] == torch.tensor([1.0, 0.0, 1.0])).all(-1).float()
    assert moved.any() and disc.any()
    centres = middle(moved[0, 0]), middle(disc)
    assert (centres[0] - centres[1]).abs().max() < 2


def named(size: tuple[int, int]) -> dict[str, int]:
    return {"width": size[0], "height": size[1]}


def middle(shown: Tensor) -> Tensor:
    places = torch.nonzero(shown).float()
    return (places * shown[shown != 0][:, None]).sum(0) / shown.sum()


def taken(pair: Pair, side: int) -> Pair:
    """The prompts, one of which holds something for a ControlNet already."""
    pair[side][0][1]["cross_attn_controlnet"] = torch.zeros(1, 77, 2048)
    return pair


FACES = tiny.random_faces(1)
WRONG: list[tuple[dict[str, Any], type[IPAdapterError], str]] = [
    ({"faces": Regions((Region(FACES, None, 1.0),))}, BadInput, "embeds come from Regions"),
    ({"faces": tiny.random_features(1)}, WrongEncoder, "hold no face"),
    ({"image": photo()}, NoFace, "no face was found in image 1 of 1"),
    ({"image": torch.cat((photo(9), photo()))}, NoFace, "no face was found in image 2 of 2"),
    ({"pair": taken(prompts(), 0)}, BadInput, "positive holds tokens for a ControlNet already"),
    ({"pair": taken(prompts(), 1)}, BadInput, "negative holds tokens for a ControlNet already"),
]


@pytest.mark.parametrize(("changed", "kind", "words"), WRONG, ids=[one[2] for one in WRONG])
def test_wrong_input_gets_a_sentence(
    changed: dict[str, Any],
    kind: type[IPAdapterError],
    words: str,
    adapter: LoadedAdapter,
    engine: FaceEngine,
) -> None:
    given: dict[str, Any] = {"faces": FACES, "pair": prompts(), "image": photo(40)} | changed
    with pytest.raises(kind, match=words) as raised:
        node(adapter, given["faces"], given["pair"], engine, image=given["image"])
    assert "on_no_face" not in str(raised.value), "this node has no such input"


@pytest.mark.parametrize("kind", ["FaceID", "FaceID portrait", "plus"])
def test_another_adapter_is_refused(kind: str, tmp_path: Path, engine: FaceEngine) -> None:
    other = tiny.load_tensors(tmp_path, tiny.adapter_tensors(twin(), kind), "other")
    with pytest.raises(UnsupportedAdapter, match="other.safetensors is SDXL"):
        node(other, FACES, prompts(), engine)
