"""Files on disk that fit, found by content whatever they are called, or a sentence that helps."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import folder_paths
import pytest
import torch
from kit.models import encoder_shapes, tiny
from kit.models.checkpoints import HIDDEN_SD1, HIDDEN_SDXL, load_table
from kit.models.sparse_files import write_sparse
from pack.ip_models.adapter.published import ADAPTER_ADDRESSES, Choice
from pack.ip_models.adapter.spec import AdapterSpec, Family, Kind
from pack.ip_models.errors import Action, BrokenFile, Mend, MissingModel, WrongBase, WrongEncoder
from pack.ip_models.layer import Layer
from pack.ip_models.references.features import ImageFeatures
from pack.ip_models.transformer.layers import DOUBLE, JOINT, SINGLE, layers_of_counts
from pack.ip_models.unet.address import LayerAddress
from pack.nodes.host.encoder import load
from pack.nodes.host.files import folders
from pack.nodes.host.model import search
from pack.nodes.host.model.adapter import read_file_spec
from pack.nodes.host.model.apply import Settings, apply
from safetensors.torch import load_file  # pyright: ignore[reportUnknownVariableType]
from torch import Tensor

Shapes = Mapping[str, tuple[int, ...]]

ADAPTERS = {
    "standard": "ip-adapter_sd15",
    "ViT-G": "ip-adapter_sd15_vit-G",
    "plus": "ip-adapter-plus_sd15",
    "full face": "ip-adapter-full-face_sd15",
    "XL standard": "ip-adapter_sdxl_vit-h",
    "XL ViT-G": "ip-adapter_sdxl",
    "XL plus": "ip-adapter-plus_sdxl_vit-h",
    "SD2 standard": "sd2_standard",
    "SD2 plus": "sd2_plus",
    "FaceID": "ip-adapter-faceid_sd15",
    "FaceID plus": "ip-adapter-faceid-plus_sd15",
    "Kolors": "kolors_ip_adapter_plus_general",
    "Kolors FaceID plus": "kolors_ipa-faceid-plus",
    "XLabs": "xlabs_flux-ip-adapter",
    "XLabs v2": "xlabs_flux-ip-adapter-v2",
    "XLabs of diffusers": "diffusers_flux-ip-adapter",
    "InstantX": "instantx_flux.1-dev-ip-adapter",
    "SD3.5 InstantX": "instantx_sd3.5-large-ip-adapter",
}
# Layers, width, and pooled width of the encoders; K is the ViT-L of Kolors, for 336 px, S SigLIP.
ENCODERS = {
    "H": (32, 1280, 1024),
    "G": (48, 1664, 1280),
    "L": (24, 1024, 768),
    "K": (24, 1024, 768),
    "g": (40, 1408, 1024),
    "S": (27, 1152, 1152),
}
PAGE = b"<!DOCTYPE html><html></html>"


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an empty `ipadapter` and `clip_vision`, the only ones that are searched."""
    table = {}
    for name in (folders.ADAPTERS, folders.ENCODERS):
        (tmp_path / name).mkdir()
        table[name] = ([str(tmp_path / name)], set(folder_paths.supported_pt_extensions))
    monkeypatch.setattr(folder_paths, "folder_names_and_paths", table)
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    return tmp_path


def put_adapter(models: Path, kind: str, name: str) -> Path:
    return write_sparse(models / folders.ADAPTERS / name, load_table(ADAPTERS[kind]).tensors)


def shapes_of_encoder(kind: str) -> dict[str, tuple[int, ...]]:
    """All tensors of a published encoder."""
    layers, width, pooled = ENCODERS[kind]
    if kind == "S":
        return encoder_shapes.siglip(layers, width)
    return encoder_shapes.clip(layers, width, pooled, 577 if kind == "K" else 257)


def put_encoder(models: Path, kind: str, name: str) -> Path:
    return write_sparse(models / folders.ENCODERS / name, shapes_of_encoder(kind))


def layers(hidden: Iterable[int], context: int) -> list[Layer]:
    return [
        Layer(LayerAddress("input", i, 0), width, context, (i, 0), "down.block_0", "input")
        for i, width in enumerate(hidden)
    ]


KOLORS = [replace(layer, projected=True) for layer in layers(HIDDEN_SDXL, 2048)]
FLUX = list(layers_of_counts(((DOUBLE, 19), (SINGLE, 38)), 3072))
SD3 = list(layers_of_counts(((JOINT, 38),), 2432))
SD1, SD2, SDXL = layers(HIDDEN_SD1, 768), layers(HIDDEN_SD1, 1024), layers(HIDDEN_SDXL, 2048)


def spec_of(models: Path, kind: str) -> AdapterSpec:
    path = put_adapter(models, kind, "asked for.bin")
    try:
        return read_file_spec(str(path))
    finally:
        path.unlink()


def is_sentence(text: str) -> bool:
    return text.endswith(".") and ".." not in text and "\n" not in text


@pytest.mark.parametrize(
    ("base", "choice", "kind"),
    [
        (SD1, Choice.STANDARD, "standard"),
        (SD1, Choice.VIT_G, "ViT-G"),
        (SD1, Choice.PLUS, "plus"),
        (SD1, Choice.FULL_FACE, "full face"),
        (SD2, Choice.STANDARD, "SD2 standard"),
        (SD2, Choice.PLUS, "SD2 plus"),
        (SDXL, Choice.STANDARD, "XL standard"),
        (SDXL, Choice.VIT_G, "XL ViT-G"),
        (SDXL, Choice.PLUS, "XL plus"),
        (FLUX, Choice.XLABS, "XLabs"),
        (FLUX, Choice.XLABS_V2, "XLabs v2"),
        (FLUX, Choice.INSTANTX, "InstantX"),
        (SD3, Choice.INSTANTX, "SD3.5 InstantX"),
    ],
)
@pytest.mark.parametrize("backwards", [True, False])
def test_adapters_are_chosen_by_content_whatever_they_are_called(
    models: Path, base: list[Layer], choice: Choice, kind: str, backwards: bool
) -> None:
    kinds = [kind for kind in ADAPTERS if "Kolors" not in kind]
    for number, other in enumerate(reversed(kinds) if backwards else kinds):
        put_adapter(models, other, f"{number}.safetensors")
    found = search.find_adapter(base, choice)
    assert read_file_spec(folders.resolve(folders.ADAPTERS, found)) == spec_of(models, kind)


@pytest.mark.parametrize(
    "names",
    [
        {
            "standard": "ip-adapter-plus_sd15.bin",
            "plus": "ip-adapter_sd15_vit-G.bin",
            "ViT-G": "ip-adapter_sd15.bin",
            "full face": "ip-adapter_sdxl.bin",
        },
        {
            "standard": "ip_plus_composition_sd15.bin",
            "plus": "ip-adapter_sd15_light.bin",
            "ViT-G": "ip-adapter-full-face_sd15.bin",
            "full face": "ip-adapter_sd15_vit-G.bin",
        },
    ],
    ids=["plain names", "names of variants"],
)
def test_swapped_names_do_not_swap_the_adapters(models: Path, names: dict[str, str]) -> None:
    for kind, name in names.items():
        put_adapter(models, kind, name)
    assert {kind: search.find_adapter(SD1, Choice(kind)) for kind in names} == names


@pytest.mark.parametrize(
    ("choice", "name"),
    [
        (Choice.PLUS, "b plus.bin"),
        (Choice.PLUS_FACE, "c plus FACE.bin"),
        (Choice.COMPOSITION, "a composition.bin"),
    ],
)
def test_names_decide_between_files_of_one_shape(models: Path, choice: Choice, name: str) -> None:
    for other in ("a composition.bin", "b plus.bin", "c plus FACE.bin"):
        put_adapter(models, "plus", other)
    assert search.find_adapter(SD1, choice) == name


def test_the_name_of_a_folder_is_no_hint(models: Path) -> None:
    (models / folders.ADAPTERS / "face").mkdir()
    path = put_adapter(models, "plus", "face/plain.bin")
    name = str(path.relative_to(models / folders.ADAPTERS))
    assert search.find_adapter(SD1, Choice.PLUS) == name


def test_an_adapter_for_vit_g_stands_in_only_where_there_is_none_for_vit_h(models: Path) -> None:
    put_adapter(models, "ViT-G", "a.bin")
    assert search.find_adapter(SD1, Choice.STANDARD) == "a.bin"
    put_adapter(models, "standard", "z.bin")
    assert search.find_adapter(SD1, Choice.STANDARD) == "z.bin"


def test_an_adapter_that_cannot_be_applied_is_not_chosen(models: Path) -> None:
    put_adapter(models, "Kolors", "a.bin")
    with pytest.raises(MissingModel, match="has adapters for Kolors, none for this MODEL"):
        search.find_adapter(SDXL, Choice.PLUS)
    put_adapter(models, "XL plus", "z.bin")
    assert search.find_adapter(SDXL, Choice.PLUS) == "z.bin"


def test_the_kinds_that_fit_are_named_and_one_of_them_offered(models: Path) -> None:
    put_adapter(models, "standard", "one.bin")
    put_adapter(models, "XL plus", "two.safetensors")
    put_adapter(models, "FaceID", "three.bin")
    put_encoder(models, "L", "encoder.bin").rename(models / folders.ADAPTERS / "four.bin")
    (models / folders.ADAPTERS / "five.bin").write_bytes(PAGE)
    (models / folders.ADAPTERS / "six.bin").write_bytes(b"")
    (models / folders.ADAPTERS / "notes.txt").write_bytes(b"not a model")
    with pytest.raises(MissingModel) as refused:
        search.find_adapter(SD1, Choice.PLUS)
    found = refused.value.found
    assert found == "models/ipadapter has standard for this MODEL"  # one that reads no face
    assert refused.value.needed == "a plus adapter for SD1.5 is needed"
    address = ADAPTER_ADDRESSES[Family.SD1, Choice.PLUS]
    assert refused.value.action == f"Put {address} into models/ipadapter, or choose kind standard"
    assert refused.value.mends == (Mend("kind", "standard"),)
    assert is_sentence(str(refused.value))
    with pytest.raises(MissingModel) as refused:
        search.find_adapter(KOLORS, Choice.PLUS)
    assert refused.value.found == (
        "models/ipadapter has adapters for SD1.5 and SDXL, none for this MODEL; "
        f"five.bin is a web page of {len(PAGE)} bytes, not a model, and 2 more cannot be read"
    )
    assert is_sentence(str(refused.value))


def test_a_kind_that_is_there_is_offered_where_none_was_published(models: Path) -> None:
    toys = layers([320] * 16, 768)
    specs = {"a.bin": spec_of(models, "standard"), "b.bin": spec_of(models, "plus")}
    kinds = search._kinds(specs, Choice.PLUS_FACE)
    action = search._get_adapter(search.shape_of(toys), Choice.PLUS_FACE, "", kinds)
    assert action == "Choose kind standard or plus, which are there"
    assert isinstance(action, Action)
    assert action.mends == (Mend("kind", "standard"), Mend("kind", "plus"))


def test_a_word_in_the_name_is_asked_for_where_it_alone_tells_files_apart(models: Path) -> None:
    put_adapter(models, "standard", "renamed.bin")
    with pytest.raises(MissingModel, match="a light adapter for SD1.5, with light in its name, is"):
        search.find_adapter(SD1, Choice.LIGHT)


def test_an_empty_folder_is_called_empty_and_the_download_is_named(models: Path) -> None:
    with pytest.raises(MissingModel) as refused:
        search.find_adapter(SDXL, Choice.PLUS_FACE)
    assert "no adapter" in refused.value.found
    assert ADAPTER_ADDRESSES[Family.SDXL, Choice.PLUS_FACE] in refused.value.action
    with pytest.raises(MissingModel, match="no image encoder"):
        search.find_encoder(spec_of(models, "plus"))


def test_a_kind_that_was_never_published_is_said_to_be_so() -> None:
    with pytest.raises(MissingModel, match="no full face adapter was published for SDXL"):
        search.find_adapter(SDXL, Choice.FULL_FACE)


@pytest.mark.parametrize(
    ("base", "kinds"),
    [(FLUX, "XLabs, XLabs v2 or InstantX"), (SD3, "InstantX")],
    ids=["Flux", "SD3.5"],
)
@pytest.mark.parametrize("choice", [Choice.STANDARD, Choice.PLUS, Choice.FACEID])
def test_a_kind_of_unets_is_answered_with_those_of_the_transformer(
    models: Path, base: list[Layer], kinds: str, choice: Choice
) -> None:
    put_adapter(models, "standard", "a.bin")
    with pytest.raises(MissingModel) as refused:
        search.find_adapter(base, choice)
    assert refused.value.action.startswith(f"Choose another kind, {kinds}: ")
    assert f"no {choice.value} adapter was published for" in refused.value.action
    assert is_sentence(str(refused.value))


def test_a_missing_adapter_of_a_transformer_has_a_name_of_its_own(models: Path) -> None:
    """What is published of all of them has two names."""
    put_adapter(models, "XLabs", "v1.safetensors")
    asked = [(FLUX, Choice.XLABS_V2), (FLUX, Choice.INSTANTX), (SD3, Choice.INSTANTX)]
    actions: list[str] = []
    for base, choice in asked:
        with pytest.raises(MissingModel, match=f"{choice.value} adapter for") as refused:
            search.find_adapter(base, choice)
        there = "adapters for Flux, none" if base is SD3 else "XLabs for this MODEL"
        assert there in refused.value.found
        actions.append(refused.value.action)
    names = [action.split(" as ")[1].split(", ")[0] for action in actions]
    assert names == [
        "flux_xlabs_v2_ip_adapter.safetensors",
        "flux_instantx_ip-adapter.bin",
        "sd35_instantx_ip-adapter.bin",
    ]


@pytest.mark.parametrize(
    "base", [FLUX[:19], FLUX[:56], FLUX[1:], SD3[:24], layers_of_counts((("double", 5),), 3072)]
)
def test_a_transformer_with_other_blocks_gets_no_adapter(models: Path, base: list[Layer]) -> None:
    for kind in ("XLabs v2", "InstantX", "SD3.5 InstantX"):
        put_adapter(models, kind, f"{kind}.bin")
    for choice in (Choice.INSTANTX, Choice.STANDARD):
        with pytest.raises(MissingModel, match="No adapter was published|kind XLabs v2, which"):
            search.find_adapter(base, choice)


def test_a_base_with_other_widths_gets_no_adapter(models: Path) -> None:
    put_adapter(models, "standard", "a.bin")
    with pytest.raises(MissingModel, match="has adapters for SD1.5, none for this MODEL"):
        search.find_adapter(layers([320] * 16, 768), Choice.STANDARD)
    with pytest.raises(MissingModel):
        search.find_adapter(SD1[:15], Choice.STANDARD)
    assert search.find_adapter(SD1, Choice.STANDARD) == "a.bin"


@pytest.mark.parametrize(
    ("adapter", "encoder"),
    [
        ("standard", "H"),
        ("plus", "H"),
        ("full face", "H"),
        ("ViT-G", "G"),
        ("XL standard", "H"),
        ("XL ViT-G", "G"),
        ("Kolors", "K"),
        ("Kolors FaceID plus", "K"),
        ("FaceID plus", "H"),
        ("XLabs", "L"),
        ("XLabs v2", "L"),
        ("InstantX", "S"),
        ("SD3.5 InstantX", "S"),
    ],
)
@pytest.mark.parametrize("order", ["HGLKS", "SLKGH", "KGSLH"])
def test_encoders_are_chosen_by_content_whatever_they_are_called(
    models: Path, adapter: str, encoder: str, order: str
) -> None:
    names = ["CLIP-ViT-H-14.safetensors", "CLIP-ViT-bigG-14.bin", "model.safetensors", "k.bin"]
    names.append("sigclip_vision_patch14_384.safetensors")
    placed = dict(zip(order, names, strict=True))
    for kind, name in placed.items():
        put_encoder(models, kind, name)
    assert search.find_encoder(spec_of(models, adapter)) == placed[encoder]


def test_an_encoder_under_the_names_of_open_clip_is_found(models: Path) -> None:
    shapes = encoder_shapes.open_clip(32, 1280, 1024)
    write_sparse(models / folders.ENCODERS / "open.safetensors", shapes)
    for kind in ("standard", "plus"):
        assert search.find_encoder(spec_of(models, kind)) == "open.safetensors"


def test_an_encoder_without_projection_serves_plus_and_not_standard(models: Path) -> None:
    shapes = shapes_of_encoder("H")
    del shapes["visual_projection.weight"]
    write_sparse(models / folders.ENCODERS / "bare.safetensors", shapes)
    assert search.find_encoder(spec_of(models, "plus")) == "bare.safetensors"
    with pytest.raises(MissingModel, match="bare.safetensors is ViT-H"):
        search.find_encoder(spec_of(models, "standard"))


def test_siglip_without_its_pooling_head_serves_sd3_and_not_flux(models: Path) -> None:
    shapes = encoder_shapes.siglip(27, 1152, head=False)
    write_sparse(models / folders.ENCODERS / "bare.safetensors", shapes)
    assert search.find_encoder(spec_of(models, "SD3.5 InstantX")) == "bare.safetensors"
    with pytest.raises(MissingModel) as refused:
        search.find_encoder(spec_of(models, "InstantX"))
    assert "bare.safetensors is SigLIP without its pooled feature" in refused.value.found
    assert "sigclip_vision_patch14_384.safetensors" in refused.value.action
    put_encoder(models, "S", "whole.safetensors")
    assert search.find_encoder(spec_of(models, "InstantX")) == "whole.safetensors"


def test_an_encoder_that_shares_only_the_pooled_width_is_not_chosen(models: Path) -> None:
    put_encoder(models, "g", "CLIP-ViT-g-14.safetensors")
    with pytest.raises(MissingModel, match="CLIP-ViT-g-14.safetensors is an unknown encoder .1024"):
        search.find_encoder(spec_of(models, "standard"))


def test_an_encoder_with_another_projection_serves_what_does_not_read_it(models: Path) -> None:
    shapes = shapes_of_encoder("H") | {"visual_projection.weight": (512, 1280)}
    write_sparse(models / folders.ENCODERS / "tuned.safetensors", shapes)
    assert search.find_encoder(spec_of(models, "plus")) == "tuned.safetensors"
    with pytest.raises(MissingModel, match="tuned.safetensors is an unknown encoder .512"):
        search.find_encoder(spec_of(models, "standard"))


def test_each_encoder_that_does_not_fit_is_listed_with_the_reason(models: Path) -> None:
    put_encoder(models, "G", "one.safetensors")
    put_encoder(models, "L", "two.bin")
    (models / folders.ENCODERS / "three.bin").write_bytes(PAGE)
    write_sparse(models / folders.ENCODERS / "four.bin", {"a": (1,)})
    with pytest.raises(MissingModel) as refused:
        search.find_encoder(spec_of(models, "plus"))
    for words in (
        "one.safetensors is ViT-bigG",
        "two.bin is ViT-L",
        "three.bin is a web page",
        "four.bin is no CLIP image encoder",
        "no image encoder in models/clip_vision fits: ",
    ):
        assert words in refused.value.found
    assert refused.value.needed == "ViT-H is needed"
    assert "https://" in refused.value.action and "models/clip_vision" in refused.value.action
    assert is_sentence(str(refused.value))


def features(pooled: int, width: int) -> ImageFeatures:
    return ImageFeatures(
        pooled=torch.zeros(1, pooled),
        penultimate=torch.zeros(1, 5, width),
        negative_pooled=torch.zeros(1, pooled),
        negative_penultimate=torch.zeros(1, 5, width),
        source="ViT-bigG",
    )


@pytest.fixture(scope="module")
def twin() -> tiny.Twins:
    return tiny.twins("sd1")


def test_the_right_encoder_is_named_when_it_is_on_disk_and_where_to_get_it_when_not(
    models: Path, tmp_path: Path, twin: tiny.Twins
) -> None:
    adapter = tiny.load_tensors(tmp_path, tiny.adapter_tensors(twin, "plus"), "mine")
    put_encoder(models, "G", "a wrong one.safetensors")
    with pytest.raises(WrongEncoder) as refused:
        apply(twin.model, adapter, features(1280, 1664), Settings())
    assert "ViT-bigG" in refused.value.found
    assert "mine.safetensors needs ViT-H" in refused.value.needed
    assert "https://" in refused.value.action and "a wrong one" not in str(refused.value)
    put_encoder(models, "H", "the right one.bin")
    with pytest.raises(WrongEncoder) as refused:
        apply(twin.model, adapter, features(1280, 1664), Settings())
    assert refused.value.action == ("Encode with the right one.bin, which is in models/clip_vision")
    assert is_sentence(str(refused.value))


def test_an_adapter_that_fits_is_named_when_it_is_on_disk_and_where_to_get_it_when_not(
    models: Path, tmp_path: Path, twin: tiny.Twins
) -> None:
    wide = tiny.adapter_tensors(tiny.Twins("sd1", None, twin.model, 2048, twin.dtype), "plus")
    adapter = tiny.load_tensors(tmp_path, wide, "mine")
    features_of_h = features(1024, 1280)
    put_adapter(models, "XL plus", "a wrong one.safetensors")
    with pytest.raises(WrongBase) as refused:
        apply(twin.model, adapter, features_of_h, Settings())
    assert refused.value.found == "mine.safetensors is an adapter for SDXL"
    assert refused.value.needed == "this MODEL is SD1.5"
    # No published file has layers as narrow as those of this MODEL.
    assert "No adapter was published for a MODEL with these layers" in refused.value.action
    with pytest.raises(WrongBase) as refused:
        search.require_base("mine.safetensors", adapter.spec, SD1)
    assert ADAPTER_ADDRESSES[Family.SD1, Choice.PLUS] in refused.value.action
    for name, kind in (("a fitting one", "standard"), ("the best one", "plus")):
        tiny.load_tensors(models / folders.ADAPTERS, tiny.adapter_tensors(twin, kind), name)
    with pytest.raises(WrongBase) as refused:
        apply(twin.model, adapter, features_of_h, Settings())
    assert refused.value.action == (
        "Load the best one.safetensors, which is in models/ipadapter and fits"
    )
    (models / folders.ADAPTERS / "the best one.safetensors").unlink()
    with pytest.raises(WrongBase, match="Load a fitting one.safetensors"):
        apply(twin.model, adapter, features_of_h, Settings())
    assert is_sentence(str(refused.value))


def test_kolors_is_no_sdxl_and_sdxl_is_no_kolors(models: Path) -> None:
    put_adapter(models, "XL plus", "a.bin")
    with pytest.raises(MissingModel, match="a plus adapter for Kolors") as refused:
        search.find_adapter(KOLORS, Choice.PLUS)
    assert ADAPTER_ADDRESSES[Family.KOLORS, Choice.PLUS] in refused.value.action
    put_adapter(models, "Kolors", "b.bin")
    put_adapter(models, "Kolors FaceID plus", "c.bin")
    assert search.find_adapter(KOLORS, Choice.PLUS) == "b.bin"
    assert search.find_adapter(KOLORS, Choice.FACEID_PLUS_V2) == "c.bin"
    assert search.find_adapter(KOLORS, Choice.FACEID_PLUS) == "c.bin"
    assert search.find_adapter(SDXL, Choice.PLUS) == "a.bin"


def test_the_versions_of_face_id_plus_are_told_apart_by_name(models: Path) -> None:
    put_adapter(models, "FaceID plus", "ip-adapter-faceid-plus_sd15.bin")
    with pytest.raises(MissingModel, match="a FaceID plus v2 adapter"):
        search.find_adapter(SD1, Choice.FACEID_PLUS_V2)
    put_adapter(models, "FaceID plus", "ip-adapter-faceid-plusv2_sd15.bin")
    assert search.find_adapter(SD1, Choice.FACEID_PLUS) == "ip-adapter-faceid-plus_sd15.bin"
    assert search.find_adapter(SD1, Choice.FACEID_PLUS_V2) == "ip-adapter-faceid-plusv2_sd15.bin"


def test_the_smaller_vit_l_is_not_taken_for_the_larger(models: Path) -> None:
    put_encoder(models, "L", "l.bin")
    with pytest.raises(MissingModel, match="l.bin is ViT-L; ViT-L 336 is needed"):
        search.find_encoder(spec_of(models, "Kolors"))


def test_a_hint_never_names_an_adapter_that_cannot_be_applied(models: Path) -> None:
    put_adapter(models, "Kolors", "a.bin")
    put_adapter(models, "FaceID", "b.bin")
    assert "https://" in search.adapter_hint(SDXL, Kind.PLUS)
    assert "https://" in search.adapter_hint(SD1, Kind.STANDARD)
    assert search.adapter_hint(SD1, Kind.FACEID_PLUS).startswith("Load b.bin")
    assert search.adapter_hint(KOLORS, Kind.STANDARD).startswith("Load a.bin")
    put_adapter(models, "XL plus", "z.bin")
    assert search.adapter_hint(SDXL, Kind.PLUS).startswith("Load z.bin")


def test_a_hint_prefers_the_plain_adapter_of_a_kind(models: Path) -> None:
    put_adapter(models, "plus", "ip-adapter-plus-face_sd15.safetensors")
    put_adapter(models, "plus", "ip-adapter-plus_sd15.safetensors")
    hint = search.adapter_hint(SD1, Kind.PLUS)
    assert hint.startswith("Load ip-adapter-plus_sd15.safetensors")


def test_a_hint_goes_by_the_plain_kinds_where_there_is_no_counterpart(models: Path) -> None:
    assert ADAPTER_ADDRESSES[Family.SD1, Choice.STANDARD] in search.adapter_hint(SD1, Kind.XLABS)
    put_adapter(models, "plus", "a-plus-face_sd15.bin")
    put_adapter(models, "plus", "b-plus_sd15.bin")
    assert search.adapter_hint(SD1, Kind.XLABS, Choice.XLABS).startswith("Load b-plus_sd15.bin")
    put_adapter(models, "standard", "c.bin")
    assert search.adapter_hint(SD1, Kind.XLABS, Choice.XLABS).startswith("Load c.bin")


def test_a_hint_names_the_file_of_the_same_version(models: Path) -> None:
    for kind, name, choice, family, layers in (
        ("plus", "plus-face_sd15.bin", Choice.PLUS_FACE, Family.SDXL, SDXL),
        ("FaceID plus", "faceid-plusv2_sd15.bin", Choice.FACEID_PLUS_V2, Family.SDXL, SDXL),
    ):
        path = put_adapter(models, kind, name)
        with pytest.raises(WrongBase) as caught:
            search.require_base(name, search.read_file_spec(str(path)), layers)
        assert ADAPTER_ADDRESSES[family, choice] in str(caught.value)
        path.unlink()
        folders.forget(folders.ADAPTERS)


def put_whole(path: Path, projection: float = 0.5, **changes: tuple[int, ...]) -> Path:
    """A whole ViT-L, of which ComfyUI builds one; its projection is of one number."""
    shapes = shapes_of_encoder("L") | changes
    key = "visual_projection.weight"
    return write_sparse(path, shapes, {key: torch.full(shapes[key], projection)})


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("a.safetensors", "safetensors"),
        ("a.bin", "torch"),
        ("a.bin", "safetensors"),
        ("a.safetensors", "torch"),
    ],
)
def test_an_encoder_is_loaded_under_any_name_and_only_once(
    models: Path, name: str, form: str
) -> None:
    path = models / folders.ENCODERS / name
    put_whole(path)
    if form == "torch":
        torch.save(load_file(path), models / "other")  # the first one is mapped meanwhile
        (models / "other").replace(path)
    encoder = load.load_encoder(str(path))
    projection: Tensor = encoder.model.visual_projection.weight
    assert projection.shape == (768, 1024)
    assert torch.equal(projection, torch.full_like(projection, 0.5))
    assert load.load_encoder(str(path)) is encoder


def test_an_encoder_is_forgotten_with_its_last_user(models: Path) -> None:
    path = models / folders.ENCODERS / "a.safetensors"
    put_whole(path)
    encoder = load.load_encoder(str(path))
    assert encoder in load._encoders.values()
    count = len(load._encoders)
    del encoder
    assert len(load._encoders) == count - 1


ODD: dict[str, dict[str, tuple[int, ...]]] = {
    "another width": {"vision_model.post_layernorm.weight": (1000,)},
    "another image size": {"vision_model.embeddings.position_embedding.weight": (1025, 1024)},
    # What ComfyUI's loader stumbles over: as wide as SigLIP, with another number of positions.
    "a SigLIP of another size": {
        "vision_model.embeddings.position_embedding.weight": (256, 1152),
        "vision_model.encoder.layers.0.layer_norm1.weight": (1152,),
        "vision_model.post_layernorm.weight": (1152,),
        "vision_model.embeddings.patch_embedding.weight": (1152, 3, 14, 14),
    },
}


@pytest.mark.parametrize("case", ODD)
def test_an_encoder_that_comfyui_cannot_build_is_refused_in_a_sentence(
    models: Path, case: str
) -> None:
    path = put_whole(models / folders.ENCODERS / "odd.safetensors", **ODD[case])
    with pytest.raises(BrokenFile, match="^odd.safetensors "):
        load.load_encoder(str(path))


def test_files_that_are_no_encoders_are_refused_in_a_sentence(models: Path) -> None:
    no_encoder = put_adapter(models, "plus", "adapter.safetensors")
    with pytest.raises(BrokenFile, match="^adapter.safetensors is no CLIP image encoder;"):
        load.load_encoder(str(no_encoder))
    small = models / folders.ENCODERS / "small.safetensors"
    write_sparse(small, encoder_shapes.hollow(1024, 768))
    with pytest.raises(BrokenFile, match="^small.safetensors is no CLIP image encoder;"):
        load.load_encoder(str(small))


HALVES = {
    "CLIP": (encoder_shapes.clip(24, 1024, 768), "vision_model.encoder.layers.7.mlp.fc2.bias"),
    "OpenCLIP": (
        encoder_shapes.open_clip(24, 1024, 768),
        "visual.transformer.resblocks.3.attn.in_proj_bias",
    ),
    "SigLIP": (encoder_shapes.siglip(27, 1152), "vision_model.head.mlp.fc2.weight"),
}


@pytest.mark.parametrize("layout", HALVES)
def test_an_encoder_that_lacks_a_tensor_is_refused_by_everything(models: Path, layout: str) -> None:
    shapes, key = HALVES[layout]
    write_sparse(models / folders.ENCODERS / "whole.safetensors", shapes)
    assert load.widths_in(str(models / folders.ENCODERS / "whole.safetensors"))
    path = models / folders.ENCODERS / "a.safetensors"
    write_sparse(path, {name: shape for name, shape in shapes.items() if name != key})
    for read in (load.load_encoder, load.read_encoder, load.widths_in):
        words = rf"^a.safetensors lacks 1 of [0-9]+ tensors, the first of them is {re.escape(key)};"
        with pytest.raises(BrokenFile, match=words):
            read(str(path))


def test_the_second_half_of_an_encoder_is_refused(models: Path) -> None:
    path = models / folders.ENCODERS / "model-00002-of-00002.safetensors"
    kept = ("visual_projection", "post_layernorm", "position_embedding", ".22.layer_norm1")
    shapes = shapes_of_encoder("L").items()
    write_sparse(path, {key: shape for key, shape in shapes if any(one in key for one in kept)})
    with pytest.raises(BrokenFile, match="lacks 370 of 375 tensors.*download its whole folder"):
        load.load_encoder(str(path))
