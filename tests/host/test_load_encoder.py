"""Image encoders: a core file or a Hugging Face folder, with transformers' own numbers."""

from __future__ import annotations

import asyncio
import copy
import gc
import json
import socket
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, cast

import comfy.clip_model
import comfy.clip_vision
import comfy.model_management
import comfy.model_patcher
import folder_paths
import pytest
import torch
import transformers
from pack.ip_models.errors import BrokenFile, IPAdapterError
from pack.ip_models.inputs import shown
from pack.ip_models.pictures.fit import Fit
from pack.nodes.host.encoder import folder, load
from pack.nodes.host.encoder.encode import Reference, encode
from pack.nodes.host.encoder.identity import fingerprint
from pack.nodes.host.encoder.size import at_size, interpolate
from pack.nodes.host.encoder.view import describe_encoder
from pack.nodes.host.files import folders
from pack.nodes.load import LoadAdapter, LoadEncoder, LoadForModel
from safetensors.torch import load_file, save_file
from test_search import put_whole
from torch import Tensor

from nodes import CLIPVisionEncode, unCLIPConditioning

TOLERANCE, EFFECT = 5e-6, 0.01
SIZE, WIDTH, POOLED = 42, 48, 24
CONFIG: dict[str, Any] = dict(
    hidden_size=WIDTH,
    intermediate_size=2 * WIDTH,
    num_hidden_layers=4,
    num_attention_heads=2,
    image_size=SIZE,
    patch_size=14,
)
WEIGHTS = "model.safetensors"


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty clip_vision folder, and a network whose first use fails the test."""
    home = tmp_path / folders.ENCODERS
    home.mkdir()
    table = {
        name: ([str(home)], set(folder_paths.supported_pt_extensions))
        for name in (folders.ENCODERS, folders.ADAPTERS)
    }
    monkeypatch.setattr(folder_paths, "folder_names_and_paths", table)
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})

    def refuse(*_: Any) -> NoReturn:
        raise AssertionError("somebody asked the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return home


def clip(**changes: Any) -> Any:
    config = transformers.CLIPVisionConfig(projection_dim=POOLED, **{**CONFIG, **changes})
    return randomised(transformers.CLIPVisionModelWithProjection(config))


def clip_alone() -> Any:
    return randomised(transformers.CLIPVisionModel(transformers.CLIPVisionConfig(**CONFIG)))


def siglip(**changes: Any) -> Any:
    config = transformers.SiglipVisionConfig(**{**CONFIG, **changes})
    return randomised(transformers.SiglipVisionModel(config))


MAKERS: dict[str, Callable[[], Any]] = {
    "clip": clip,
    "clip alone": clip_alone,
    "siglip": siglip,
}


def randomised(model: Any) -> Any:
    """Loud weights that half precision, in which the host keeps encoders, can hold exactly."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_((0.2 * torch.randn_like(parameter)).half())
    return model.eval()


def save(model: Any, home: Path, name: str = "folder") -> Path:
    model.save_pretrained(home / name)
    return home / name


def edit(path: Path, **changes: Any) -> None:
    """Change entries of a JSON file; None takes them out."""
    content = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    content |= changes
    kept = {key: value for key, value in content.items() if value is not None}
    path.write_text(json.dumps(kept), encoding="utf-8")


def pictures(height: int = SIZE, width: int = SIZE) -> Tensor:
    return torch.rand(3, height, width, 3, generator=torch.Generator().manual_seed(5))


def relative(one: Tensor, other: Tensor) -> float:
    assert one.shape == other.shape
    return float((one.double() - other.double()).norm() / other.double().norm())


def normalised(images: Tensor, mean: list[float], std: list[float]) -> Tensor:
    """By hand: bytes, then mean and deviation of each colour."""
    pixels = (images * 255).round() / 255
    return ((pixels - torch.tensor(mean)) / torch.tensor(std)).movedim(-1, 1)


def of_transformers(model: Any, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Last hidden state, penultimate one and pooled feature."""
    out = model(pixels, output_hidden_states=True)
    pooled = getattr(out, "image_embeds", None)
    pooled = out.pooler_output if pooled is None else pooled
    return out.last_hidden_state, out.hidden_states[-2], pooled


def of_encoder(encoder: Any, images: Tensor, crop: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    out = encoder.encode_image(images, crop=crop)
    return out.last_hidden_state, out["penultimate_hidden_states"], out.image_embeds


HALVES = ([0.5] * 3, [0.5] * 3)
OPENAI = ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711])


@pytest.mark.parametrize("kind", MAKERS)
def test_the_numbers_are_those_of_transformers(models: Path, kind: str) -> None:
    theirs = MAKERS[kind]()
    encoder = load.load_encoder(str(save(theirs, models)))
    mean, std = HALVES if kind == "siglip" else OPENAI
    expected = of_transformers(theirs, normalised(pictures(), mean, std))
    given = of_encoder(encoder, pictures())
    for one, other in zip(given, expected, strict=True):
        assert one.dtype == torch.float32
        assert relative(one, other) < TOLERANCE
    elsewhere = of_encoder(encoder, 1 - pictures())
    for one, other in zip(given, elsewhere, strict=True):
        assert relative(one, other) > EFFECT
    assert encoder.image_size == SIZE and encoder.dtype == torch.float16


@pytest.mark.parametrize("shape", [(60, 42), (42, 90), (17, 23), (100, 100)])
@pytest.mark.parametrize("crop", [True, False])
def test_pictures_of_any_shape_are_cut_as_by_the_host(
    models: Path, shape: tuple[int, int], crop: bool
) -> None:
    theirs = siglip()
    encoder = load.load_encoder(str(save(theirs, models)))
    pixels = comfy.clip_model.clip_preprocess(pictures(*shape), SIZE, *HALVES, crop=crop)
    expected = of_transformers(theirs, pixels)
    for one, other in zip(of_encoder(encoder, pictures(*shape), crop), expected, strict=True):
        assert relative(one, other) < TOLERANCE
    out = encoder.encode_image(pictures(*shape), crop=crop)
    assert out.image_sizes == [(3, SIZE, SIZE)] * 3 and out.mm_projected is None


def core_encoder(folder: Path, state: dict[str, Tensor]) -> Any:
    config = {**CONFIG, "num_channels": 3, "hidden_act": "quick_gelu", "projection_dim": POOLED}
    path = folder / "core.json"
    path.write_text(json.dumps({**config, "model_type": "clip_vision_model"}), encoding="utf-8")
    encoder = comfy.clip_vision.ClipVisionModel(str(path))
    encoder.load_sd(state)
    return encoder


def test_a_folder_and_a_file_with_the_same_weights_say_the_same(
    models: Path, tmp_path: Path
) -> None:
    theirs = clip()
    core = core_encoder(tmp_path, theirs.state_dict())
    encoder = load.load_encoder(str(save(theirs, models)))
    for one, other in zip(
        of_encoder(encoder, pictures(50, 70), True),
        of_encoder(core, pictures(50, 70), True),
        strict=True,
    ):
        assert relative(one, other) < TOLERANCE
    assert fingerprint(encoder) == fingerprint(core) != ""
    assert describe_encoder(encoder) == describe_encoder(core)
    assert encoder.get_sd().keys() == core.get_sd().keys()
    assert vars(core).keys() - {"config", "return_all_hidden_states", "naf"} <= vars(encoder).keys()


def test_the_pooled_feature_of_siglip_comes_from_its_head(models: Path) -> None:
    theirs = siglip()
    encoder = load.load_encoder(str(save(theirs, models)))
    last, _, pooled = of_encoder(encoder, pictures())
    assert pooled.shape == (3, WIDTH)
    assert relative(pooled, last.mean(1)) > EFFECT
    encoder.model.vision_model.head.probe.mul_(100)
    assert relative(of_encoder(encoder, pictures())[2], pooled) > EFFECT


def test_a_siglip_without_head_gives_the_sequence_as_the_host_does(models: Path) -> None:
    path = save(siglip(), models)
    tensors = {k: v for k, v in load_file(path / WEIGHTS).items() if "head." not in k}
    save_file(tensors, path / WEIGHTS)
    encoder = load.load_encoder(str(path))
    last, _, pooled = of_encoder(encoder, pictures())
    assert torch.equal(last, pooled)
    features = encode(encoder, Reference(images=pictures(), fit=Fit.CROP_CENTRE))
    assert features.pooled is None and features.penultimate is not None
    assert "gives no picture as a whole" in describe_encoder(encoder)


@pytest.mark.parametrize("kind", MAKERS)
def test_the_nodes_of_the_pack_and_of_the_host_take_it(models: Path, kind: str) -> None:
    theirs = MAKERS[kind]()
    save(theirs, models)
    encoder = LoadEncoder.execute("folder").args[0]
    mean, std = HALVES if kind == "siglip" else OPENAI
    _, penultimate, pooled = of_transformers(theirs, normalised(pictures(), mean, std))
    features = encode(encoder, Reference(images=pictures(), fit=Fit.SQUASH))
    assert features.pooled is not None and features.penultimate is not None
    assert relative(features.pooled, pooled) < TOLERANCE
    assert relative(features.penultimate, penultimate) < TOLERANCE
    # "No picture" is zero after normalisation, whatever mean the encoder has.
    empty = of_transformers(theirs, torch.zeros(1, 3, SIZE, SIZE))[1]
    assert features.negative_penultimate is not None
    assert relative(features.negative_penultimate, empty) < TOLERANCE
    out = CLIPVisionEncode().encode(encoder, pictures(), "center")[0]
    assert relative(out["image_embeds"], pooled) < TOLERANCE
    cond = unCLIPConditioning().apply_adm([[torch.zeros(1, 1), {}]], out, 1.0, 0.0)[0]
    assert cond[0][1]["unclip_conditioning"][0]["clip_vision_output"] is out


@pytest.mark.parametrize("kind", MAKERS)
def test_another_input_size_takes_a_larger_position_table(models: Path, kind: str) -> None:
    theirs, size = MAKERS[kind](), 70
    getattr(theirs, "vision_model", theirs).embeddings.position_embedding.weight.mul_(32)
    path = save(theirs, models)
    encoder = load.load_encoder(str(path))
    before = of_encoder(encoder, pictures())
    with at_size(encoder, size) as larger:
        given = of_encoder(larger, pictures(size, size))
    mean, std = HALVES if kind == "siglip" else OPENAI
    grown = copy.deepcopy(theirs)
    embeddings = getattr(grown, "vision_model", grown).embeddings
    table = interpolate(embeddings.position_embedding.weight, SIZE // 14, size // 14)
    embeddings.position_embedding = torch.nn.Embedding.from_pretrained(table)
    embeddings.position_ids = torch.arange(len(table))[None]
    embeddings.image_size = size
    expected = of_transformers(grown, normalised(pictures(size, size), mean, std))
    for one, other in zip(given, expected, strict=True):
        assert relative(one, other) < TOLERANCE
    embeddings.position_embedding.weight.copy_(table.flip(0))
    moved = of_transformers(grown, normalised(pictures(size, size), mean, std))
    assert relative(moved[0], expected[0]) > EFFECT
    after = of_encoder(encoder, pictures())
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_mean_and_deviation_are_the_folder_s_own(models: Path) -> None:
    theirs = clip()
    path = save(theirs, models)
    plain = of_encoder(load.load_encoder(str(path)), pictures())
    own = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 1]}
    edit(path / "preprocessor_config.json", **own)
    encoder = load.load_encoder(str(path))
    given = of_encoder(encoder, pictures())
    expected = of_transformers(theirs, normalised(pictures(), *own.values()))
    assert relative(given[2], expected[2]) < TOLERANCE
    assert relative(given[2], plain[2]) > EFFECT
    edit(path / "preprocessor_config.json", do_normalize=False)
    assert load.load_encoder(str(path)).image_std == [1.0] * 3


def whole_model(kind: str) -> Any:
    """A model with the text's half, as most repositories hold it."""
    small = dict(hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2)
    text = {**small, "vocab_size": 99, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    if kind == "siglip":
        config = transformers.SiglipConfig(text_config=text, vision_config=CONFIG)
        return randomised(transformers.SiglipModel(config))
    vision = {**CONFIG, "projection_dim": 512}  # what counts is the width of the tensor
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=POOLED)
    return randomised(transformers.CLIPModel(config))


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_a_repository_with_text_and_vision_in_parts(models: Path, kind: str) -> None:
    theirs = whole_model(kind)
    theirs.save_pretrained(models / "org" / "parts", max_shard_size="60KB")
    parts = list((models / "org" / "parts").glob("*.safetensors"))
    assert len(parts) > 1
    assert "org/parts" in folders.model_folders(folders.ENCODERS)
    encoder = load.load_encoder(folders.resolve(folders.ENCODERS, "org/parts"))
    mean, std = HALVES if kind == "siglip" else OPENAI
    pixels = normalised(pictures(), mean, std)
    last, penultimate, pooled = of_encoder(encoder, pictures())
    vision = theirs.vision_model(pixels, output_hidden_states=True)
    expected = theirs.get_image_features(pixels)
    expected = getattr(expected, "pooler_output", expected)
    assert relative(last, vision.last_hidden_state) < TOLERANCE
    assert relative(penultimate, vision.hidden_states[-2]) < TOLERANCE
    assert relative(pooled, expected) < TOLERANCE


def test_it_is_loaded_once_and_forgotten_with_its_last_user(models: Path) -> None:
    path = save(clip(), models)
    encoder = load.load_encoder(str(path))
    assert load.load_encoder(str(path)) is encoder
    edit(path / "preprocessor_config.json", image_mean=[0.0] * 3)
    other = load.load_encoder(str(path))
    assert other is not encoder and other.image_mean == [0.0] * 3
    gone = weakref.ref(encoder)
    del encoder
    gc.collect()
    assert gone() is None


def test_it_is_unloaded_and_comes_back(models: Path) -> None:
    encoder = load.load_encoder(str(save(siglip(), models)))
    loaded = comfy.model_management.current_loaded_models
    before = of_encoder(encoder, pictures())
    assert any(one.model is encoder.patcher for one in loaded)
    comfy.model_management.unload_all_models()
    assert not any(one.model is encoder.patcher for one in loaded)
    after = of_encoder(encoder, pictures())
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_it_works_while_only_a_part_of_it_is_loaded(models: Path) -> None:
    """As on a small card: the host's load with next to no memory, then unload in parts."""
    encoder = load.load_encoder(str(save(siglip(), models)))
    before = of_encoder(encoder, pictures())
    comfy.model_management.unload_all_models()
    encoder.patcher.partially_load(torch.device("cpu"), 0.1)
    assert encoder.model.model_lowvram
    pixels = normalised(pictures(), *HALVES)
    assert all(map(torch.equal, encoder.model(pixels), before))
    encoder.patcher.detach()


def test_everything_is_brought_to_the_pixels_or_cast_by_the_host(models: Path) -> None:
    """No weight stays behind in another precision or on another device."""
    for kind, maker in MAKERS.items():
        tower = load.load_encoder(str(save(maker(), models, kind))).model
        pixels = torch.zeros(1, 3, SIZE, SIZE, dtype=torch.float64)
        brought = tower._brought_along(pixels)
        cast = {
            f"{name}.{key}"
            for name, module in tower.vision_model.named_modules()
            if hasattr(module, "comfy_cast_weights")
            for key, _ in module.named_parameters(recurse=False)
        }
        assert cast | brought.keys() >= dict(tower.vision_model.named_parameters()).keys()
        assert tower(pixels)[2].dtype == torch.float64


def test_lost_and_odd_files_are_named_in_a_sentence(models: Path) -> None:
    for number, (spoil, words) in enumerate(SPOILED):
        path = save(clip(), models, f"folder{number}")
        spoil(path)
        with pytest.raises(IPAdapterError) as caught:
            load.load_encoder(str(path))
        text = str(caught.value)
        assert words in text and path.name in text, (words, text)
        assert "\n" not in text and text.endswith(".") and ";" in text and len(text) < 500


@pytest.mark.parametrize("option", [{"return_dict": False}, {"output_hidden_states": True}])
def test_settings_about_the_output_change_nothing(models: Path, option: dict[str, bool]) -> None:
    path = save(siglip(), models)
    expected = of_encoder(load.load_encoder(str(path)), pictures())
    edit(path / "config.json", **option)
    given = of_encoder(load.load_encoder(str(path)), pictures())
    assert all(torch.equal(one, other) for one, other in zip(given, expected, strict=True))


def test_heads_that_do_not_divide_the_width_are_named(models: Path) -> None:
    path = save(siglip(), models)
    edit(path / "config.json", num_attention_heads=5)
    with pytest.raises(BrokenFile, match="num_attention_heads = 5, which does not divide 48"):
        load.load_encoder(str(path))


def rewrite(path: Path, change: Callable[[dict[str, Tensor]], Any]) -> None:
    tensors = load_file(path / WEIGHTS)
    change(tensors)
    save_file(tensors, path / WEIGHTS)


def only_bin(path: Path) -> None:
    torch.save(load_file(path / WEIGHTS), path / "pytorch_model.bin")
    (path / WEIGHTS).unlink()


def with_index(weight_map: Any) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        (path / WEIGHTS).rename(path / "model-00001-of-00002.safetensors")
        edit(path / "model.safetensors.index.json", weight_map=weight_map)

    return spoil


def config(**changes: Any) -> Callable[[Path], None]:
    return lambda path: edit(path / "config.json", **changes)


def colours(**changes: Any) -> Callable[[Path], None]:
    return lambda path: edit(path / "preprocessor_config.json", **changes)


def text_in(name: str, text: str) -> Callable[[Path], Any]:
    return lambda path: (path / name).write_text(text)


def cut(path: Path) -> None:
    (path / WEIGHTS).write_bytes((path / WEIGHTS).read_bytes()[:-100])


LAYER = "vision_model.encoder.layers.3.mlp.fc1.weight"
EXTRA = "vision_model.encoder.layers.3.mlp.fc3.weight"
SPOILED: list[tuple[Callable[[Path], Any], str]] = [
    (lambda path: (path / "config.json").unlink(), "config.json cannot be read"),
    (text_in("config.json", "{"), "config.json cannot be read"),
    (text_in("config.json", "[1]"), "config.json holds no settings"),
    (text_in("config.json", "[" * 99999), "config.json cannot be read"),
    (config(model_type=None), "config.json is of type None"),
    (config(model_type="siglip2"), "config.json is of type siglip2"),
    (config(model_type=["clip"]), "config.json is of type"),
    (config(model_type="clip", vision_config=None), "config.json is of type clip_vision_model"),
    (config(hidden_size="48"), "hidden_size"),
    (config(hidden_size=0), "hidden_size = 0"),
    (config(num_attention_heads=5), "heads"),
    (config(hidden_act="nonsense"), "config.json cannot be built"),
    (config(layer_norm_eps="x"), "config.json"),
    (config(image_size=[42, 84]), "image_size"),
    (config(image_size=7), "smaller than a patch"),
    (config(num_hidden_layers=1), "one layer"),
    (config(num_channels=4), "num_channels = 4"),
    (config(image_size=56), "wants floating point of 17 x 48"),
    (config(num_hidden_layers=5), "layers.4.layer_norm1.bias (16 tensors are missing)"),
    (config(num_hidden_layers=3), "layers.3.layer_norm1.bias, which its config.json"),
    (config(num_hidden_layers=10**8), "num_hidden_layers = 100000000"),
    (config(hidden_size=96), "class_embedding as torch.float32 of 48, its config.json wants"),
    (config(hidden_size=10**12), "hidden_size = 1000000000000"),
    (config(layer_norm_eps=float("nan")), "layer_norm_eps = nan"),
    (config(layer_norm_eps=float("inf")), "layer_norm_eps = inf"),
    (config(layer_norm_eps=-1e-5), "layer_norm_eps = -1e-05"),
    (config(layer_norm_eps=10**400), "layer_norm_eps = 1000"),
    (config(num_attention_heads=0), "num_attention_heads = 0"),
    (config(num_attention_heads=10**400), "num_attention_heads = 1000"),
    (config(hidden_act=5), "hidden_act = 5"),
    (config(intermediate_size=10**6), "its config.json wants floating point of 1000000"),
    (lambda path: rewrite(path, lambda t: t.update({EXTRA: t[LAYER].clone()})), "knows nothing of"),
    (lambda path: rewrite(path, lambda t: t.pop(LAYER)), f"holds no {LAYER} (1 tensors"),
    (lambda path: rewrite(path, lambda t: t.update({LAYER: t[LAYER].int()})), "as torch.int32"),
    (lambda path: rewrite(path, lambda t: t.clear()), "holds no embeddings.patch_embedding"),
    (only_bin, "holds only .bin weights"),
    (lambda path: (path / WEIGHTS).unlink(), "holds no weights"),
    (with_index({"a": "../secret.safetensors"}), "../secret.safetensors is not in it"),
    (with_index({"a": "model-00002-of-00002.safetensors"}), "00002.safetensors is not in it"),
    (with_index({}), "it names no files"),
    (with_index(["a"]), "it names no files"),
    (cut, "is cut off"),
    (text_in(WEIGHTS, "version https://git-lfs.github.com/spec/v1"), "Git LFS pointer"),
    (colours(image_mean=[0.5, 0.5]), "image_mean = [0.5, 0.5]"),
    (colours(image_mean="0.5"), "image_mean = '0.5'"),
    (colours(image_mean=[10**400] * 3), "image_mean = [1000"),
    (colours(image_std=[10**400] * 3), "image_std = [1000"),
    (colours(image_std=[0.5, float("nan"), 0.5]), "image_std = [0.5, nan"),
    (colours(image_std=[0, 1, 1]), "image_std 0"),
    (colours(image_std=[1e-300, 1, 1]), "image_std 1e-300"),
    (text_in("preprocessor_config.json", "no"), "preprocessor_config.json cannot be read"),
]


def test_code_in_a_folder_is_not_run(models: Path) -> None:
    path = save(clip(), models)
    expected = of_encoder(load.load_encoder(str(path)), pictures())
    trap = "raise SystemExit('ran code of a model folder')"
    for name in ("modeling_clip.py", "configuration_clip.py", "__init__.py"):
        (path / name).write_text(trap)
    classes = {"AutoConfig": "configuration_clip.C", "AutoModel": "modeling_clip.M"}
    edit(path / "config.json", auto_map=classes, _name_or_path="someone/else")
    edit(path / "adapter_config.json", base_model_name_or_path="someone/else")
    given = of_encoder(load.load_encoder(str(path)), pictures())
    assert all(torch.equal(one, other) for one, other in zip(given, expected, strict=True))


def test_the_node_offers_files_and_folders_and_says_what_they_are(models: Path) -> None:
    save(siglip(), models, "siglip-so400m")
    put_whole(models / "l.safetensors")
    (models / "loose").mkdir()
    save_file({"a": torch.zeros(1)}, models / "loose" / "part.safetensors")
    options = LoadEncoder.define_schema().inputs[0].as_dict()["options"]
    assert options == sorted(
        ["l.safetensors", "siglip-so400m", f"siglip-so400m/{WEIGHTS}", "loose/part.safetensors"]
    )
    assert LoadEncoder.validate_inputs("siglip-so400m") is True
    assert LoadEncoder.validate_inputs("l.safetensors") is True
    for wrong in ("loose", "..", "../clip_vision/siglip-so400m", "", str(models), "siglip-so400m/"):
        assert "is not in" in str(LoadEncoder.validate_inputs(wrong)), wrong
    for odd in (5, {}, True, float("nan"), ["siglip-so400m"]):
        for answer in (
            LoadEncoder.validate_inputs(cast("Any", odd)),
            asyncio.run(LoadAdapter.validate_inputs(cast("Any", odd))),
            asyncio.run(LoadForModel.validate_inputs(encoder_file=cast("Any", odd))),
        ):
            assert f"{shown(odd)} is not in" in str(answer)
    # The host itself says that a required input is missing.
    assert LoadEncoder.validate_inputs() is True
    assert asyncio.run(LoadAdapter.validate_inputs()) is True
    out = LoadEncoder.execute("siglip-so400m")
    assert isinstance(out.args[0], folder.FolderEncoder)
    text = out.ui.as_dict()["text"][0]
    assert text.startswith("siglip-so400m\n") and text.endswith("0 MB on cpu")
    assert f"4 layers, {SIZE} px, 9 tokens\ngives the picture as a whole as 48 numbers\n" in text
    assert "gives the details of it as 9 x 48" in text
    text = LoadEncoder.execute("l.safetensors").ui.as_dict()["text"][0]
    assert "ViT-L, 24 layers, 224 px, 257 tokens\ngives the picture as a whole as 768" in text
    assert "gives the details of it as 257 x 1024" in text
    assert "for adapters that need ViT-L\n" in text


def test_a_published_siglip_is_named(models: Path) -> None:
    config = dict(hidden_size=1152, intermediate_size=8, num_hidden_layers=2, image_size=28)
    encoder = load.load_encoder(str(save(siglip(**config), models)))
    first = "SigLIP, 2 layers, 28 px, 4 tokens\ngives the picture as a whole as 1152 numbers\n"
    assert describe_encoder(encoder).startswith(first)
    features = encode(encoder, Reference(images=pictures(28, 28), fit=Fit.CROP_CENTRE))
    assert features.source == "SigLIP"
    assert features.pooled is not None and features.pooled.shape == (3, 1152)


@pytest.mark.parametrize("kind", MAKERS)
def test_headers_alone_say_what_the_loaded_encoder_gives(models: Path, kind: str) -> None:
    path = save(MAKERS[kind](), models)
    widths = load.read_encoder(str(path))
    _, penultimate, pooled = of_encoder(load.load_encoder(str(path)), pictures())
    assert widths.sequence == penultimate.shape[1] and widths.penultimate == penultimate.shape[2]
    assert widths.pooled == (None if kind == "clip alone" else pooled.shape[1])


def test_a_changed_file_of_a_folder_changes_the_fingerprint(models: Path) -> None:
    path = save(clip(), models)
    before = LoadEncoder.fingerprint_inputs("folder")
    assert before == LoadEncoder.fingerprint_inputs("folder") != ""
    edit(path / "preprocessor_config.json", image_mean=[0.0] * 3)
    assert before != LoadEncoder.fingerprint_inputs("folder")
    with pytest.raises(BrokenFile):
        load.load_encoder(str(models))
