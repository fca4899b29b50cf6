"""SigLIP: its head makes the pooled feature, and it is shown whole pictures, as published."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import folder_paths
import numpy
import pytest
import torch
from kit.models import encoder_shapes, tiny
from kit.models.encoders import (
    EFFECT,
    SIZE,
    TOKENS,
    WIDTH,
    Pair,
    batch,
    make_pair,
    make_siglip,
    picture,
    pooled_of,
    reference_of,
)
from kit.models.sparse_files import write_sparse
from pack.ip_models.adapter.encoders import EncoderWidths
from pack.ip_models.adapter.spec import AdapterSpec, Family, Feature, Kind
from pack.ip_models.errors import BrokenFile, WrongEncoder
from pack.ip_models.pictures.fit import Fit
from pack.ip_models.pictures.tiles import Tiling
from pack.ip_models.references.features import inputs
from pack.nodes.encode import EncodeImage
from pack.nodes.host.encoder import load
from pack.nodes.host.encoder.encode import encode
from pack.nodes.host.encoder.identity import fingerprint
from pack.nodes.host.encoder.row_cache import forget
from pack.nodes.host.encoder.siglip import SQUASHED, add_head
from pack.nodes.host.encoder.view import describe_encoder, view
from pack.nodes.host.files import folders
from pack.nodes.host.model.search import encoder_hint, find_encoder
from pack.nodes.load import LoadEncoder
from pack.nodes.prepare import PrepareImage
from PIL import Image
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, linear

try:
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
except ImportError:  # before transformers 5 the class of this name was the one with PIL
    from transformers import SiglipImageProcessor as SiglipImageProcessorPil

TOLERANCE = 1e-6
HEAD, SO400M, HEADS, MLP = "vision_model.head.", 1152, 16, 4304
CROPS = [fit for fit in Fit if fit not in (Fit.PAD, Fit.SQUASH)]
SQUARE = {"height": SIZE, "width": SIZE}


def adapter(family: Family, feature: Feature, width: int = SO400M) -> AdapterSpec:
    return AdapterSpec(family, Kind.INSTANTX, 4, feature, width, 0, (0,), (64,), "SigLIP", False)


FLUX = adapter(Family.FLUX, Feature.POOLED)
SD3 = adapter(Family.SD3, Feature.PENULTIMATE)


@pytest.fixture(autouse=True)
def _nothing_seen() -> Iterator[None]:  # pyright: ignore[reportUnusedFunction]
    forget()
    yield
    forget()


@pytest.fixture
def siglip(tmp_path: Path) -> Pair:
    """Without the head, as ComfyUI's loader leaves it."""
    return make_siglip(tmp_path)


def head_of(theirs: Any) -> dict[str, Tensor]:
    vision = getattr(theirs, "vision_model", theirs)
    return {f"{HEAD}{key}": value for key, value in vision.head.state_dict().items()}


def of_transformers(siglip: Pair, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Pooled feature, penultimate and last hidden state, with transformers' own preprocessing."""
    processor = SiglipImageProcessorPil(size=SQUARE)
    shown = processor(Image.fromarray(pixels.numpy()))["pixel_values"][0]
    out = siglip.theirs(torch.from_numpy(numpy.asarray(shown))[None], output_hidden_states=True)
    return out.pooler_output, out.hidden_states[-2], out.last_hidden_state


def text_of(out: Any) -> str:
    shown = out.ui if isinstance(out.ui, dict) else out.ui.as_dict()
    return shown["text"][0]


@pytest.mark.parametrize("size", [(SIZE, SIZE), (90, 60), (480, 640), (57, 55), (3, 200)], ids=str)
def test_features_from_pixels_are_those_of_transformers(
    siglip: Pair, size: tuple[int, int]
) -> None:
    add_head(siglip.ours, head_of(siglip.theirs))
    source = picture(*size)
    pooled, hidden, _ = of_transformers(siglip, source)
    out = EncodeImage.execute(siglip.ours, batch(source))
    features = out.args[0]
    assert pooled_of(features).shape == (1, WIDTH)
    assert tiny.relative(pooled_of(features), pooled) < TOLERANCE
    assert tiny.relative(features.penultimate, hidden) < TOLERANCE
    brighter = source + 1
    other = EncodeImage.execute(siglip.ours, batch(brighter)).args[0]
    assert tiny.relative(pooled_of(other), pooled) > 10 * TOLERANCE


def test_small_embeddings_are_normed_as_published_and_for_us_alone(siglip: Pair) -> None:
    source = batch(picture(SIZE, SIZE))
    for network in (siglip.ours.model, siglip.theirs):
        vision = getattr(network, "vision_model", network)
        for weight in vision.embeddings.parameters():
            weight.mul_(2**-6)
    before = siglip.ours.encode_image(source, crop=False)["penultimate_hidden_states"]
    _, hidden, _ = of_transformers(siglip, picture(SIZE, SIZE))
    features = encode(siglip.ours, reference_of(picture(SIZE, SIZE)))
    assert tiny.relative(features.penultimate, hidden) < TOLERANCE
    assert tiny.relative(before, hidden) > 100 * TOLERANCE
    after = siglip.ours.encode_image(source, crop=False)["penultimate_hidden_states"]
    assert torch.equal(before, after), "other nodes get what they always got"


def test_other_nodes_get_the_sequence_as_before(siglip: Pair) -> None:
    source = batch(picture(90, 60), picture(90, 60, 1))
    before = siglip.ours.encode_image(source)
    assert torch.equal(before["image_embeds"], before["last_hidden_state"])
    mark, size = fingerprint(siglip.ours), siglip.ours.patcher.model_size()
    head = head_of(siglip.theirs)
    add_head(siglip.ours, head)
    after = siglip.ours.encode_image(source)
    assert vars(before).keys() == vars(after).keys()
    for key in vars(before).keys() - {"image_embeds", "image_sizes", "mm_projected"}:
        assert torch.equal(before[key], after[key])
    assert after["image_embeds"].shape == (2, WIDTH)
    assert fingerprint(siglip.ours) == mark != "", "one encoder, whoever has loaded it"
    assert head.keys() <= siglip.ours.get_sd().keys()
    kept = siglip.ours.model.vision_model.head.parameters()
    assert {weight.dtype for weight in kept} == {siglip.ours.dtype}
    siglip.ours.patcher.size = 0
    assert siglip.ours.patcher.model_size() > size


@pytest.mark.parametrize("missing", ["mlp.fc1.bias", "probe", "attention.in_proj_weight"])
def test_a_head_that_is_not_whole_is_not_taken(siglip: Pair, missing: str) -> None:
    head = head_of(siglip.theirs)
    del head[HEAD + missing]
    with pytest.raises((KeyError, RuntimeError)):
        add_head(siglip.ours, head)


def test_a_crop_is_a_squash_and_says_so(siglip: Pair) -> None:
    source = picture(60, 110)
    squashed = encode(siglip.ours, reference_of(source, fit=Fit.SQUASH))
    padded = encode(siglip.ours, reference_of(source, fit=Fit.PAD))
    assert tiny.relative(padded.penultimate, squashed.penultimate) > EFFECT
    for fit in CROPS:
        out = EncodeImage.execute(siglip.ours, batch(source), fit=fit.value)
        assert torch.equal(out.args[0].penultimate, squashed.penultimate)
        assert SQUASHED in text_of(out).splitlines()
        seen = view(siglip.ours, reference_of(source, fit=fit)).images
        assert torch.equal(seen, view(siglip.ours, reference_of(source, fit=Fit.SQUASH)).images)
    for fit, one in ((Fit.PAD, source), (Fit.SQUASH, source), (Fit.CROP_LEFT, source[:, :60])):
        assert SQUASHED not in text_of(
            EncodeImage.execute(siglip.ours, batch(one.contiguous()), fit=fit.value)
        )


def test_tiles_are_cut_from_the_whole_picture(siglip: Pair) -> None:
    source, tiling = picture(60, 110), Tiling(2)
    squashed = encode(siglip.ours, reference_of(source, fit=Fit.SQUASH, tiling=tiling))
    cropped = encode(siglip.ours, reference_of(source, tiling=tiling))
    assert torch.equal(cropped.penultimate, squashed.penultimate)


def test_prepare_image_shows_what_is_seen(siglip: Pair) -> None:
    source, plain = batch(picture(60, 110)), Fit.CROP_CENTRE.value
    squashed = PrepareImage.execute(source, siglip.ours, fit="squash")
    for fit in ("crop centre", "crop top", "crop bottom", "crop left", "crop right"):
        out = PrepareImage.execute(source, siglip.ours, fit=fit)
        assert torch.equal(out.args[0], squashed.args[0])
        assert SQUASHED in text_of(out).splitlines()
    raw = EncodeImage.execute(siglip.ours, source, fit=plain).args[0]
    made = EncodeImage.execute(siglip.ours, squashed.args[0])
    assert torch.equal(made.args[0].penultimate, raw.penultimate)
    for one in (squashed, made, PrepareImage.execute(source, siglip.ours, fit="pad")):
        assert SQUASHED not in text_of(one)
    tall = PrepareImage.execute(source, siglip.ours, fit="long side")
    assert tall.args[0].shape[1:3] != (SIZE, SIZE) and SQUASHED not in text_of(tall)


def test_clip_is_cropped_as_ever(tmp_path: Path) -> None:
    pair, source = make_pair(tmp_path), picture(60, 110)
    squashed = encode(pair.ours, reference_of(source, fit=Fit.SQUASH))
    out = EncodeImage.execute(pair.ours, batch(source))
    assert tiny.relative(out.args[0].penultimate, squashed.penultimate) > EFFECT
    prepared = PrepareImage.execute(batch(source), pair.ours)
    assert SQUASHED not in text_of(out) and SQUASHED not in text_of(prepared)


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in place of models/clip_vision."""
    home = tmp_path / "models"
    home.mkdir()
    monkeypatch.setitem(
        folder_paths.folder_names_and_paths,
        folders.ENCODERS,
        ([str(home)], folder_paths.supported_pt_extensions),
    )
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    return home


def head(width: int = SO400M) -> dict[str, Tensor]:
    """A pooling head of published shapes, in values that half precision holds exactly."""
    shapes = {
        "probe": (1, 1, width),
        "attention.in_proj_weight": (3 * width, width),
        "attention.in_proj_bias": (3 * width,),
        "attention.out_proj.weight": (width, width),
        "attention.out_proj.bias": (width,),
        "layernorm.weight": (width,),
        "layernorm.bias": (width,),
        "mlp.fc1.weight": (MLP, width),
        "mlp.fc1.bias": (MLP,),
        "mlp.fc2.weight": (width, MLP),
        "mlp.fc2.bias": (width,),
    }
    generator = torch.Generator().manual_seed(3)
    return {
        HEAD + key: torch.randn(shape, generator=generator).div(shape[-1] ** 0.5).half()
        for key, shape in shapes.items()
    }


HALF = encoder_shapes.siglip(27, SO400M, inside=4304, head=False)


def put(models: Path, name: str, tensors: dict[str, Tensor] | None = None) -> None:
    """The so400m file with a head or without, and with nothing but zeros in the rest of it."""
    shapes = {key: tuple(tensor.shape) for key, tensor in (tensors or {}).items()}
    write_sparse(models / name, HALF | shapes, tensors)


def pool(sequence: Tensor, tensors: dict[str, Tensor]) -> Tensor:
    """The pooling head in plain formulae, in double precision."""
    own = {key.removeprefix(HEAD): value.double() for key, value in tensors.items()}
    weights, biases = (own[f"attention.in_proj_{part}"].chunk(3) for part in ("weight", "bias"))
    whole = sequence.double()
    rows = (own["probe"].expand(len(whole), -1, -1), whole, whole)
    query, key, value = (
        linear(one, weight, bias).unflatten(-1, (HEADS, -1)).transpose(1, 2)
        for one, weight, bias in zip(rows, weights, biases, strict=True)
    )
    shares = (query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5).softmax(-1)
    heard = (shares @ value).transpose(1, 2).flatten(-2)
    heard = linear(heard, own["attention.out_proj.weight"], own["attention.out_proj.bias"])
    width = (heard.shape[-1],)
    normed = layer_norm(heard, width, own["layernorm.weight"], own["layernorm.bias"], 1e-6)
    inner = gelu(linear(normed, own["mlp.fc1.weight"], own["mlp.fc1.bias"]), approximate="tanh")
    return (heard + linear(inner, own["mlp.fc2.weight"], own["mlp.fc2.bias"]))[:, 0]


def test_a_single_file_brings_its_head(models: Path) -> None:
    tensors = head()
    put(models, "sigclip.safetensors", tensors)
    out = LoadEncoder.execute("sigclip.safetensors")
    encoder, text = out.args[0], text_of(out)
    lines = text.splitlines()
    assert lines[1:5] == [
        "SigLIP, 27 layers, 384 px, 729 tokens",
        "gives the picture as a whole as 1152 numbers",
        "gives the details of it as 729 x 1152",
        "for adapters that need SigLIP",
    ]
    assert len(lines) == 6 and lines[5].endswith(f"MB on {encoder.load_device}")
    sequence = torch.randn(2, 9, SO400M)
    assert tiny.relative(encoder.model.visual_projection(sequence), pool(sequence, tensors)) < 1e-6
    # Of the body nothing was in this file, so that it is not run here.
    assert load.load_encoder(str(models / "sigclip.safetensors")) is encoder


def test_a_single_file_without_head_says_so(models: Path) -> None:
    put(models, "body.safetensors")
    encoder = load.load_encoder(str(models / "body.safetensors"))
    text = describe_encoder(encoder)
    assert "gives no picture as a whole" in text
    assert "without the part that sums the picture up" in text


def test_a_file_with_another_head_is_refused_in_a_sentence(models: Path) -> None:
    put(models, "odd.safetensors", head(64))
    with pytest.raises(BrokenFile, match="^odd.safetensors is no CLIP image encoder"):
        load.load_encoder(str(models / "odd.safetensors"))


def test_adapters_find_the_file_that_serves_them(models: Path) -> None:
    put(models, "a body.safetensors")
    assert find_encoder(SD3) == "a body.safetensors"
    address = "sigclip_vision_patch14_384.safetensors into models/clip_vision as sigclip"
    assert address in encoder_hint(FLUX)
    put(models, "whole.safetensors", head())
    folder_paths.filename_list_cache.clear()
    assert find_encoder(FLUX) == "whole.safetensors"
    assert "Encode with whole.safetensors" in encoder_hint(FLUX)
    assert find_encoder(SD3) == "a body.safetensors"
    assert not EncoderWidths(None, SO400M, 729).fits(FLUX)
    assert EncoderWidths(SO400M, SO400M, 729).fits(SD3)


def test_without_the_head_the_message_names_the_loader_that_keeps_it(siglip: Pair) -> None:
    # The tiny one is as wide as no published one, so that the real name is given by hand.
    features = encode(siglip.ours, reference_of(picture(60, 60)))
    object.__setattr__(features, "source", "SigLIP")
    flux = adapter(Family.FLUX, Feature.POOLED, WIDTH)
    with pytest.raises(WrongEncoder) as refused:
        inputs(features, flux, "flux.bin", "Encode again")
    assert "SigLIP without its pooled feature" in str(refused.value)
    assert "ComfyUI's own Load CLIP Vision" in str(refused.value)
    assert "Load Image Encoder (IP-Adapter)" in refused.value.action
    (rows,) = inputs(features, adapter(Family.SD3, Feature.PENULTIMATE, WIDTH), "sd3.bin", "")
    assert rows.shape == (2, 1, TOKENS - 1, WIDTH) and not rows[1].any()
    assert torch.equal(rows[0], features.penultimate)
