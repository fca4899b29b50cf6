"""Whether model, encoder and adapter go together is told from their headers, before a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

import comfy.supported_models
import folder_paths
import pytest
import torch
from kit.models import tiny, transformer_adapters, transformers
from kit.models.checkpoints import all_tables, load_table
from kit.models.sparse_files import Shapes, chroma_shapes, flux_shapes, sd3_shapes, write_gguf
from kit.models.transformers import Pair
from kit.server.live_nodes import tiny_hunyuan_video
from pack.ip_models.adapter.encoders import name_encoder
from pack.ip_models.adapter.published import Choice
from pack.ip_models.errors import WrongBase, WrongEncoder
from pack.ip_models.layer import Layer
from pack.ip_models.references.features import ImageFeatures, inputs
from pack.nodes.host.doctor.base_model import read_base
from pack.nodes.host.doctor.compatibility import (
    Combination,
    Source,
    drawn_family,
    errors,
    problems,
    reads_face,
)
from pack.nodes.host.doctor.gguf import gguf_shapes
from pack.nodes.host.files import folders
from pack.nodes.host.model import search
from pack.nodes.host.model.apply import Settings, apply
from pack.nodes.host.model.backbones.layers import attention_layers
from safetensors.torch import save_file  # pyright: ignore[reportUnknownVariableType]
from test_search import FLUX, PAGE, SD3, put_adapter, put_encoder, shapes_of_encoder, write_sparse

SCALE = 10  # the tiny UNets are a tenth as wide as the published ones
PREFIX = "model.diffusion_model."


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders with a base model of each family, and nothing else."""
    table = {}
    for name in (folders.ADAPTERS, folders.ENCODERS, "checkpoints", "diffusion_models"):
        (tmp_path / name).mkdir()
        table[name] = ([str(tmp_path / name)], set(folder_paths.supported_pt_extensions))
    monkeypatch.setattr(folder_paths, "folder_names_and_paths", table)
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    for family in ("sd1", "sdxl"):
        shapes = {f"{PREFIX}{key}": shape for key, shape in unet_shapes(family).items()}
        write_sparse(tmp_path / "checkpoints" / f"{family}.safetensors", shapes)
    return tmp_path


def unet_shapes(family: str, scale: int = SCALE) -> dict[str, tuple[int, ...]]:
    """Names of the host's own UNet and the widths of the published one."""
    return {
        key: (shape[0] * scale, shape[1] * (1 if "to_k" in key else scale))
        for key, shape in own_shapes(family).items()
        if key.endswith(("attn2.to_k.weight", "attn2.to_q.weight"))
    }


@cache
def own_shapes(family: str) -> dict[str, tuple[int, ...]]:
    state = tiny.twins(family).model.model.diffusion_model.state_dict()
    return {key: tuple(value.shape) for key, value in state.items()}


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
@pytest.mark.parametrize("layout", ["checkpoint", "unet", "diffusers"])
def test_a_file_tells_the_layers_its_model_will_have(
    models: Path, family: str, layout: str
) -> None:
    twin = tiny.twins(family)
    own = twin.model.model.diffusion_model.state_dict()
    state: Mapping[str, torch.Tensor] = {
        "checkpoint": {f"{PREFIX}{key}": value for key, value in own.items()}
        | {"control_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": torch.ones(2)},
        "unet": own,
        "diffusers": twin.unet.state_dict(),
    }[layout]
    path = models / "base.safetensors"
    save_file({key: value.clone().contiguous() for key, value in state.items()}, path)
    base = read_base(str(path))
    assert base is not None
    assert base.layers == attention_layers(twin.model)


@pytest.mark.parametrize(
    "make", [transformers.tiny_flux, transformers.tiny_chroma, transformers.tiny_sd3]
)
@pytest.mark.parametrize("prefix", [PREFIX, ""])
def test_a_file_of_a_transformer_tells_its_blocks(
    models: Path, make: Callable[[], Pair], prefix: str
) -> None:
    pair = make()
    own = pair.model.model.diffusion_model.state_dict()
    path = models / "base.safetensors"
    save_file({f"{prefix}{key}": value.clone().contiguous() for key, value in own.items()}, path)
    base = read_base(str(path))
    assert base is not None
    assert base.layers == attention_layers(pair.model)


@pytest.mark.parametrize("make", [transformers.tiny_flux, transformers.tiny_sd3])
def test_a_transformer_under_the_names_of_diffusers_tells_its_blocks(
    models: Path, make: Callable[[], Pair]
) -> None:
    pair = make()
    path = models / "base.safetensors"
    state = pair.reference.state_dict()
    save_file({key: value.clone().contiguous() for key, value in state.items()}, path)
    base = read_base(str(path))
    assert base is not None
    assert base.layers == attention_layers(pair.model)


def test_packed_weights_of_flux_are_counted_by_what_is_not_packed(models: Path) -> None:
    tensors = {
        "img_in.weight": torch.empty(24 * 128 * 64 // 2, 1, dtype=torch.uint8),
        "img_in.bias": torch.empty(24 * 128, dtype=torch.bfloat16),
        "txt_in.weight": torch.empty(1000, 1, dtype=torch.uint8),
    }
    for name, count in (("double_blocks.{}.img_attn", 19), ("single_blocks.{}", 38)):
        for i in range(count):
            tensors[f"{name.format(i)}.norm.key_norm.scale"] = torch.empty(128)
    path = models / "diffusion_models" / "nf4.safetensors"
    save_file(tensors, path)
    put_adapter(models, "InstantX", "instantx.bin")
    assert problems(Combination("instantx.bin", unet="nf4.safetensors")) == []
    base = read_base(str(path))
    assert base is not None and base.layers == tuple(FLUX)


@pytest.mark.parametrize(
    ("shapes", "layers"),
    [(flux_shapes(), FLUX), (sd3_shapes(), SD3), (own_shapes("sdxl"), None)],
    ids=["Flux", "SD3.5", "a UNet"],
)
def test_a_gguf_file_tells_its_layers(
    models: Path, shapes: Shapes, layers: list[Layer] | None
) -> None:
    base = read_base(str(write_gguf(models / "diffusion_models" / "q4.gguf", shapes)))
    wanted = tuple(layers) if layers else attention_layers(tiny.twins("sdxl").model)
    assert base is not None and base.layers == wanted


def test_a_damaged_gguf_file_tells_nothing(models: Path) -> None:
    whole = write_gguf(models / "whole.gguf", flux_shapes()).read_bytes()
    path = models / "damaged.gguf"
    for place in range(0, 600, 5):
        path.write_bytes(whole[:place])
        assert gguf_shapes(str(path)) == {} and read_base(str(path)) is None
        path.write_bytes(whole[:place] + b"\xff" * 8 + whole[place + 8 :])
        read_base(str(path))


TRANSFORMERS = {
    "flux.safetensors": flux_shapes(),
    "klein.safetensors": flux_shapes(5, 20),
    "chroma.safetensors": chroma_shapes(),
    "sd3.safetensors": sd3_shapes(),
    "medium.safetensors": sd3_shapes(24, 1536),
}
OF_TRANSFORMERS: dict[str, tuple[Combination, list[str]]] = {
    "XLabs on Flux": (
        Combination("XLabs.bin", "l.safetensors", unet="flux.safetensors", embeds=Source.IMAGE),
        [],
    ),
    "InstantX on Chroma": (
        Combination("InstantX.bin", "s.bin", unet="chroma.safetensors", embeds=Source.IMAGE),
        [],
    ),
    "InstantX on SD3.5": (
        Combination("SD3.5 InstantX.bin", "s.bin", unet="sd3.safetensors", embeds=Source.IMAGE),
        [],
    ),
    "the wrong one of InstantX'": (
        Combination("SD3.5 InstantX.bin", unet="flux.safetensors"),
        ["SD3.5 InstantX.bin is an adapter for SD3.5; this MODEL is Flux"],
    ),
    "a smaller Flux": (
        Combination("InstantX.bin", unet="klein.safetensors"),
        ["No adapter was published for Flux.2 klein 4B: load FLUX.1"],
    ),
    "a smaller SD3.5": (
        Combination("SD3.5 InstantX.bin", unet="medium.safetensors"),
        ["No adapter was published for SD3 Medium or SD3.5 Medium"],
    ),
    "a UNet": (
        Combination("XLabs.bin", "", "sd1.safetensors"),
        ["XLabs.bin is an adapter for Flux; this MODEL is SD1.5"],
    ),
    "an adapter of UNets": (
        Combination("plus.bin", unet="flux.safetensors"),
        ["plus.bin is an adapter for SD1.5; this MODEL is Flux. Load "],
    ),
    "another encoder": (
        Combination("XLabs.bin", "s.bin", embeds=Source.IMAGE),
        ["XLabs.bin needs ViT-L. Encode with l.safetensors"],
    ),
    "SigLIP without its head": (
        Combination("InstantX.bin", "bare.safetensors", embeds=Source.IMAGE),
        ["bare.safetensors is SigLIP without its pooled feature; InstantX.bin reads it. Encode w"],
    ),
    "the same for SD3.5": (
        Combination("SD3.5 InstantX.bin", "bare.safetensors", embeds=Source.IMAGE),
        [],
    ),
    "found by kind": (Combination("auto", "auto", unet="chroma.safetensors", kind="XLabs"), []),
    "not found": (
        Combination("auto", "auto", unet="flux.safetensors", kind="XLabs v2"),
        ["an XLabs v2 adapter for Flux is needed"],
    ),
    "a kind of UNets": (
        Combination("auto", "auto", unet="flux.safetensors", kind="plus"),
        ["Choose kind XLabs or InstantX, which are there"],
    ),
    "a kind of transformers": (
        Combination("auto", "auto", "sd1.safetensors", kind="XLabs"),
        ["Choose kind plus, which is there"],
    ),
}


@pytest.mark.parametrize("case", OF_TRANSFORMERS)
def test_what_is_said_of_a_transformer(models: Path, case: str) -> None:
    for name, shapes in TRANSFORMERS.items():
        write_sparse(models / "diffusion_models" / name, shapes)
    for kind in ("XLabs", "InstantX", "SD3.5 InstantX", "plus"):
        put_adapter(models, kind, f"{kind}.bin")
    put_encoder(models, "L", "l.safetensors")
    put_encoder(models, "S", "s.bin")
    bare = {key: shape for key, shape in shapes_of_encoder("S").items() if ".head." not in key}
    write_sparse(models / folders.ENCODERS / "bare.safetensors", bare)
    given, words = OF_TRANSFORMERS[case]
    said = problems(given)
    assert len(said) == len(words), said
    for sentence, part in zip(said, words, strict=True):
        assert part in sentence
        assert sentence.endswith(".") and "\n" not in sentence


def test_the_family_to_draw_is_that_of_the_adapter_or_else_of_the_model(models: Path) -> None:
    flux, large = transformers.full_flux(), transformers.full_sd3()
    for name, tensors in {
        "xlabs": transformer_adapters.xlabs(flux),
        "instantx": transformer_adapters.instantx(flux),
        "sd3": transformer_adapters.sd3(large),
    }.items():
        save_file(tensors, models / "ipadapter" / f"{name}.safetensors")
    for name, pair in (("flux", flux), ("large", large)):
        state = pair.model.model.diffusion_model.state_dict()
        path = models / "diffusion_models" / f"{name}.safetensors"
        save_file({key: value.clone().contiguous() for key, value in state.items()}, path)
    put_adapter(models, "XL plus", "plus.safetensors")
    for given, family in (
        ({"adapter": "xlabs.safetensors", "unet": "flux.safetensors"}, "Flux, XLabs"),
        ({"adapter": "instantx.safetensors"}, "Flux"),
        ({"adapter": "sd3.safetensors", "unet": "flux.safetensors"}, "SD3.5 Large"),
        ({"adapter": "plus.safetensors"}, "SDXL"),
        ({"adapter": "auto", "unet": "flux.safetensors"}, "Flux"),
        ({"unet": "large.safetensors"}, "SD3.5 Large"),
        ({"adapter": "none.safetensors"}, ""),
        ({}, ""),
    ):
        assert drawn_family(Combination(**given)) == family, given


def test_kolors_is_told_by_its_projection_of_text(models: Path) -> None:
    shapes = unet_shapes("sdxl") | {"encoder_hid_proj.weight": (2048, 4096)}
    write_sparse(models / "diffusion_models" / "kolors.safetensors", shapes)
    put_adapter(models, "XL plus", "plus.safetensors")
    put_adapter(models, "Kolors", "kolors plus.bin")
    given = Combination(adapter="plus.safetensors", unet="kolors.safetensors")
    assert "this MODEL is Kolors" in problems(given)[0]
    assert problems(Combination(adapter="kolors plus.bin", unet="kolors.safetensors")) == []


def test_a_model_without_cross_attention_is_named_as_at_a_run(models: Path) -> None:
    video = tiny_hunyuan_video()
    state = video.model.diffusion_model.state_dict()
    path = models / "diffusion_models" / "video.safetensors"
    save_file({key: value.clone().contiguous() for key, value in state.items()}, path)
    with pytest.raises(WrongBase) as caught:
        attention_layers(video)
    assert problems(Combination(unet="video.safetensors")) == [str(caught.value)]
    assert problems(Combination(unet="video.safetensors", kind="plus", adapter="auto")) == [
        str(caught.value)
    ]


@pytest.mark.parametrize("kind", ["standard", "plus", "XL standard"])
@pytest.mark.parametrize("encoder", ["H", "G", "L"])
def test_the_sentences_are_those_of_a_run(models: Path, kind: str, encoder: str) -> None:
    spec = search.read_file_spec(str(put_adapter(models, kind, "a.safetensors")))
    put_encoder(models, encoder, "e.safetensors")
    pooled, width = {"H": (1024, 1280), "G": (1280, 1664), "L": (768, 1024)}[encoder]
    features = wide_features(pooled, width)
    refused: list[str] = []
    try:
        inputs(features, spec, "a.safetensors", search.encoder_hint(spec))
    except WrongEncoder as error:
        refused.append(str(error))
    assert problems(Combination("a.safetensors", "e.safetensors", embeds=Source.IMAGE)) == refused
    assert bool(refused) == (encoder != "H")


def wide_features(pooled: int, penultimate: int) -> ImageFeatures:
    rows = torch.zeros(1, 3, penultimate)
    zero = torch.zeros(1, pooled)
    return ImageFeatures(zero, rows, zero, rows, name_encoder(pooled, penultimate))


def test_an_adapter_for_another_base_is_refused_as_apply_does(models: Path) -> None:
    tensors = tiny.adapter_tensors(tiny.twins("sdxl"), "plus")
    adapter = tiny.load_tensors(models / folders.ADAPTERS, tensors, "xl")
    with pytest.raises(WrongBase) as caught:
        apply(tiny.twins("sd1").model, adapter, tiny.random_features(1), Settings())
    write_sparse(models / "diffusion_models" / "sd1.safetensors", unet_shapes("sd1", 1))
    given = Combination(adapter=adapter.name, unet="sd1.safetensors")
    assert problems(given) == [str(caught.value)]


def test_nothing_is_said_of_an_adapter_that_is_refused_by_its_loader(models: Path) -> None:
    table = next(one for one in all_tables() if not one.expect.supported)
    name = f"{table.name}.safetensors"
    write_sparse(models / folders.ADAPTERS / name, table.tensors)
    put_encoder(models, "G", "g.safetensors")
    given = Combination(name, "g.safetensors", "sd1.safetensors", embeds=Source.IMAGE)
    assert problems(given) == []


CASES: dict[str, tuple[Combination, list[str]]] = {
    "all is well": (
        Combination("plus.safetensors", "h.safetensors", "sd1.safetensors", embeds=Source.IMAGE),
        [],
    ),
    "nothing is known": (Combination(), []),
    "nothing is there": (Combination("gone", "gone", "gone", "gone", embeds=Source.IMAGE), []),
    "another family": (
        Combination("plus.safetensors", "h.safetensors", "sdxl.safetensors"),
        ["plus.safetensors is an adapter for SD1.5; this MODEL is SDXL"],
    ),
    "two things at once": (
        Combination("plus.safetensors", "g.safetensors", "sdxl.safetensors", embeds=Source.IMAGE),
        ["this MODEL is SDXL"],
    ),
    "another encoder": (
        Combination("plus.safetensors", "g.safetensors"),
        ["needs ViT-H. Encode with h.safetensors, which is in"],
    ),
    "no face": (
        Combination("faceid.bin", "h.safetensors", embeds=Source.IMAGE),
        ["come from ViT-H and hold no face; faceid.bin needs a face. Connect Encode Face"],
    ),
    "a face alone for what needs its picture": (
        Combination("faceid-plus.bin", embeds=Source.FACE),
        ["needs the picture of the face too, read by ViT-H"],
    ),
    "a face alone for what needs a picture": (
        Combination("plus.safetensors", embeds=Source.FACE),
        ["plus.safetensors needs the picture of the face too, read by ViT-H"],
    ),
    "a face for FaceID": (Combination("faceid.bin", embeds=Source.FACE), []),
    "a face and the wrong encoder": (
        Combination("faceid-plus.bin", "g.safetensors", embeds=Source.FACE_AND_IMAGE),
        ["ViT-bigG"],
    ),
    "no encoder": (Combination(encoder="page.safetensors"), ["is a web page"]),
    "an adapter as encoder": (Combination(encoder="swapped.safetensors"), ["no CLIP image encod"]),
    "an encoder alone": (Combination(encoder="h.safetensors"), []),
    "a broken adapter, of which its loader speaks": (
        Combination("page.safetensors", "h.safetensors", "sd1.safetensors"),
        [],
    ),
    "a checkpoint that is a web page": (
        Combination("plus.safetensors", "h.safetensors", "page.safetensors"),
        [],
    ),
    "found by kind": (
        Combination("auto", "auto", "sd1.safetensors", kind=Choice.PLUS.value),
        [],
    ),
    "no adapter of that kind": (
        Combination("auto", "auto", "sdxl.safetensors", kind=Choice.PLUS.value),
        ["a plus adapter for SDXL is needed. Put https://"],
    ),
    "no encoder for what was found": (
        Combination("auto", "auto", "sd1.safetensors", kind=Choice.VIT_G.value),
        [],
    ),
    "a file of another family by hand": (
        Combination("plus.safetensors", "auto", "sdxl.safetensors", kind=Choice.PLUS.value),
        ["plus.safetensors is an adapter for SD1.5; this MODEL is SDXL"],
    ),
    "an encoder that does not go with it by hand": (
        Combination("auto", "g.safetensors", "sd1.safetensors", kind=Choice.PLUS.value),
        ["needs ViT-H"],
    ),
    "no model yet": (Combination("auto", "auto", kind=Choice.PLUS.value), []),
    "no encoder for FaceID": (
        Combination("auto", "auto", "sd1.safetensors", kind=Choice.FACEID.value),
        [],
    ),
}


@pytest.fixture
def stocked(models: Path) -> Path:
    for kind, name in (
        ("plus", "plus.safetensors"),
        ("ViT-G", "vit-g.safetensors"),
        ("FaceID", "faceid.bin"),
        ("FaceID plus", "faceid-plus.bin"),
    ):
        put_adapter(models, kind, name)
    put_encoder(models, "H", "h.safetensors")
    put_encoder(models, "G", "g.safetensors")
    for folder in (folders.ADAPTERS, folders.ENCODERS, "checkpoints"):
        (models / folder / "page.safetensors").write_bytes(PAGE)
    write_sparse(
        models / folders.ENCODERS / "swapped.safetensors", load_table("ip-adapter_sd15").tensors
    )
    return models


@pytest.mark.parametrize("case", CASES)
def test_what_is_said_of_a_combination(stocked: Path, case: str) -> None:
    given, words = CASES[case]
    said = problems(given)
    assert len(said) == len(words), said
    for sentence, part in zip(said, words, strict=True):
        assert part in sentence
        assert sentence.endswith(".") and "\n" not in sentence


def test_inputs_for_faces_are_for_adapters_that_read_one(stocked: Path) -> None:
    assert reads_face(Combination("faceid-plus.bin")) is True
    assert reads_face(Combination("plus.safetensors", kind=Choice.FACEID.value)) is False
    assert reads_face(Combination("auto", kind=Choice.PORTRAIT.value)) is True
    assert reads_face(Combination("auto", kind=Choice.PLUS_FACE.value)) is False
    assert reads_face(Combination("page.safetensors")) is None


def test_a_missing_encoder_is_said_before_a_run(stocked: Path) -> None:
    (stocked / folders.ENCODERS / "g.safetensors").unlink()
    given = Combination("auto", "auto", "sd1.safetensors", kind=Choice.VIT_G.value)
    assert "ViT-bigG is needed. Put https://" in problems(given)[0]


def test_packed_weights_are_no_reason_for_a_warning(stocked: Path) -> None:
    packed = {key: (shape[0] * shape[1] // 2, 1) for key, shape in unet_shapes("sdxl").items()}
    write_sparse(stocked / "diffusion_models" / "nf4.safetensors", packed)
    assert problems(Combination("plus.safetensors", unet="nf4.safetensors")) == []
    # The bytes of NVFP4 are half as wide as SDXL's layers, which is the width of SD2's.
    halves = {
        key: torch.empty(shape[0], shape[1] // 2, dtype=torch.uint8)
        for key, shape in unet_shapes("sdxl").items()
    }
    save_file(halves, stocked / "diffusion_models" / "nvfp4.safetensors")
    assert problems(Combination("plus.safetensors", unet="nvfp4.safetensors")) == []


def test_nothing_outside_the_folders_is_read(stocked: Path) -> None:
    outside = shapes_of_encoder("G")
    write_sparse(stocked / "secret.safetensors", outside)
    for name in ("../secret.safetensors", str(stocked / "secret.safetensors"), "..\\secret", "\0"):
        given = Combination(name, name, name, name, embeds=Source.IMAGE)
        assert problems(given) == []
        said = problems(Combination(encoder=name))
        assert "is not in" in said[0] and "ViT" not in said[0]


@pytest.mark.parametrize(
    "query",
    [{"kind": "nonsense"}, {"embeds": "nonsense"}, {"adapter": "x" * 5000}, {"other": "1"}],
)
def test_a_strange_query_leads_to_no_error(query: Mapping[str, str]) -> None:
    assert problems(Combination.read(query)) == []


def test_a_query_is_read_by_name() -> None:
    query = {"adapter": "a", "encoder": "e", "unet": "u", "kind": "plus", "embeds": "image"}
    expected = Combination("a", "e", "", "u", "plus", Source.IMAGE)
    assert Combination.read(query) == expected


def test_the_class_names_are_those_of_the_host() -> None:
    assert comfy.supported_models.HunyuanVideo.__name__ == type(tiny_hunyuan_video().model).__name__


def test_a_problem_says_which_file_mends_it(stocked: Path) -> None:
    """For the editor's buttons."""
    put_adapter(stocked, "XL plus", "xl.safetensors")
    name = "plus.safetensors"
    given = Combination(name, "g.safetensors", "sdxl.safetensors", embeds=Source.IMAGE)
    for wanted in ("adapter_file", "encoder_file"):  # one after the other
        (mend,) = [mend for error in errors(given) for mend in error.mends]
        assert mend.input == wanted
        given = replace(given, **{mend.input.removesuffix("_file"): mend.value})
    assert errors(given) == []
