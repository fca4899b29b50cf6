"""What is found out about a MODEL is about that MODEL, whoever else uses its network."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import comfy.ldm.modules.diffusionmodules.openaimodel as openaimodel
import comfy.model_patcher
import comfy.ops
import comfy.sample
import comfy.sd
import comfy.utils
import pytest
import torch
from kit.models import packed_unet, tiny
from kit.models.tiny import CPU, Twins
from pack.ip_models.adapter.lora import renamed
from pack.ip_models.errors import WrongBase
from pack.nodes.host.model.adapter import LoadedAdapter
from pack.nodes.host.model.apply import Settings, apply
from pack.nodes.host.model.backbones.layers import attention_layers, backbone_of
from pack.nodes.host.model.backbones.unet import Unet
from torch import Tensor, nn

EFFECT = 0.01
FACES = tiny.random_faces(1)


def config(
    levels: list[int],
    blocks: int,
    down: list[int],
    up: list[int],
    middle: int,
    context: int = 2048,
    channels: int = 320,
    **options: Any,
) -> dict[str, Any]:
    heads = {} if "num_heads" in options else {"num_heads": -1, "num_head_channels": 64}
    return dict(
        image_size=32, in_channels=4, out_channels=4, model_channels=channels,
        channel_mult=levels, num_res_blocks=[blocks] * len(levels), transformer_depth=down,
        transformer_depth_output=up, transformer_depth_middle=middle, context_dim=context,
        use_spatial_transformer=True, use_linear_in_transformer=True, legacy=False,
        use_temporal_attention=False, **heads, **options,
    )  # fmt: skip


ONES = ([1, 1, 1, 1, 1, 1, 0, 0], [1] * 9 + [0] * 3, 1)
# As the host detects them in the published files.
CONFIGS = {
    "SD1.5": config([1, 2, 4, 4], 2, *ONES, context=768, num_heads=8, num_head_channels=-1),
    "SD2": config([1, 2, 4, 4], 2, *ONES, context=1024),
    "odd heads": config([1, 2, 4, 4], 2, *ONES, context=768, channels=96, num_heads=7),
    "SDXL": config([1, 2, 4], 2, [0, 0, 2, 2, 10, 10], [0, 0, 0, 2, 2, 2, 10, 10, 10], 10),
    "refiner": config(
        [1, 2, 4, 4], 2, [0, 0, 4, 4, 4, 4, 0, 0], [0, 0, 0, *[4] * 6, 0, 0, 0], 4, 1280, 384
    ),
    "SSD-1B": config([1, 2, 4], 2, [0, 0, 2, 2, 4, 4], [0, 0, 0, 1, 1, 2, 10, 4, 4], -1),
    "Vega": config([1, 2, 4], 2, [0, 0, 1, 1, 2, 2], [0, 0, 0, 1, 1, 1, 2, 2, 2], -1),
    "KOALA 700M": config([1, 2, 4], 1, [0, 2, 5], [0, 0, 2, 2, 5, 5], -2),
    "KOALA 1B": config([1, 2, 4], 1, [0, 2, 6], [0, 0, 2, 2, 6, 6], 6),
    "SDXS": config([1, 2, 4], 1, [0, 1, 1], [0, 0, 1, 1, 1, 1], -2, 768),
    "no cross-attention": config([1, 2, 4], 2, [0] * 6, [0] * 9, 0),
}


def held(network: object, numbers: dict[str, Any] | None) -> Any:
    """A MODEL of this network, which the host built from these numbers."""
    model = nn.Module()
    model.diffusion_model = network  # pyright: ignore[reportArgumentType]
    if numbers is not None:
        model.model_config = SimpleNamespace(unet_config=numbers)  # pyright: ignore
    return comfy.model_patcher.ModelPatcher(model, CPU, CPU)


@pytest.mark.parametrize("name", CONFIGS)
def test_layers_are_those_of_the_modules_the_host_builds(name: str) -> None:
    numbers = CONFIGS[name]
    unet = openaimodel.UNetModel(**numbers, device="meta", operations=comfy.ops.disable_weight_init)
    by_numbers, by_modules = held(unet, numbers), held(unet, None)
    if name == "no cross-attention":
        for model in (by_numbers, by_modules):
            with pytest.raises(WrongBase, match="for which there is no IP-Adapter"):
                attention_layers(model)
        return
    layers = attention_layers(by_numbers)
    assert layers == attention_layers(by_modules)
    assert len(layers) == sum("attn2.to_q.weight" in key for key in unet.state_dict())
    unet.input_blocks = nn.ModuleList(map(Around, unet.input_blocks))
    assert attention_layers(by_numbers) == layers


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_layers_are_those_of_the_twins(family: str) -> None:
    model = tiny.twins(family).model
    by_modules = held(model.model.diffusion_model, None)
    assert attention_layers(model) == attention_layers(by_modules)


class Around(nn.Module):
    """Another pack's module around one that it does not show."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner = [inner]

    def forward(self, *args: Any, **options: Any) -> Tensor:
        return self.inner[0](*args, **options)


class Twice(Around):
    """One that has the parts of an attention layer."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.to_q, self.to_k, self.to_v = inner.to_q, inner.to_k, inner.to_v
        self.to_out = nn.Sequential(inner.to_out, Double())


class Double(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


def replaced(model: Any, kind: type[Around], ending: str = "attn2") -> Any:
    """A branch in which a node has replaced modules, as the host offers it."""
    branch = model.clone()
    for name, _ in model.model.diffusion_model.named_modules():
        if name.endswith(ending):
            path = f"diffusion_model.{name}"
            branch.add_object_patch(path, kind(branch.get_model_object(path)))
    return branch


@pytest.fixture
def twin() -> Twins:
    return tiny.twins("sd1")


@pytest.fixture
def face(twin: Twins, tmp_path: Path) -> LoadedAdapter:
    tensors = tiny.adapter_tensors(twin, "FaceID") | tiny.lora_tensors(twin)
    return tiny.load_tensors(tmp_path, tensors)


def sample(model: Any) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    positive, negative = ([[torch.randn(1, 8, 768, generator=generator), {}]] for _ in range(2))
    latent = torch.zeros(1, 4, 16, 16)
    noise = torch.randn(latent.shape, generator=generator)
    return comfy.sample.sample(
        model, noise, 2, 4.0, "euler", "normal", positive, negative, latent,
        disable_pbar=True, seed=5,
    )  # fmt: skip


@pytest.mark.parametrize("ending", ["attn2", "transformer_blocks.0"])
def test_a_branch_with_other_modules_that_ran_changes_nothing(
    twin: Twins, face: LoadedAdapter, ending: str
) -> None:
    bare, full = Settings(face_lora=0.0), Settings()
    before = apply(twin.model, face, FACES, full)
    expected = sample(apply(twin.model, face, FACES, bare))
    assert tiny.relative(expected, sample(twin.model)) > EFFECT
    other = replaced(twin.model, Around, ending)
    sample(other)
    path = next(iter(other.object_patches))
    assert isinstance(comfy.utils.get_attr(twin.model.model, path), Around)
    after = apply(twin.model, face, FACES, full)
    assert len(after.patches) == len(before.patches) == 128
    assert torch.equal(sample(apply(twin.model, face, FACES, bare)), expected)
    assert torch.equal(sample(after), sample(before))


def test_what_cannot_be_patched_is_named(twin: Twins, face: LoadedAdapter) -> None:
    other = replaced(twin.model, Around)
    with pytest.raises(WrongBase, match=r"Around in the place of .*input_blocks\.1\.1\.") as caught:
        apply(other, face, FACES, Settings())
    assert str(caught.value).endswith("Take the MODEL from before that node.")
    whole = twin.model.clone()
    whole.add_object_patch("diffusion_model", Around(twin.model.model.diffusion_model))
    with pytest.raises(WrongBase, match="Around in the place of diffusion_model of"):
        apply(whole, face, FACES, Settings())


def test_a_replacement_with_the_parts_of_a_layer_is_heard(twin: Twins, face: LoadedAdapter) -> None:
    settings = Settings(face_lora=0.0)
    other = replaced(twin.model, Twice)
    model = apply(other, face, FACES, settings)
    pictures = [sample(one) for one in (model, other, apply(twin.model, face, FACES, settings))]
    assert tiny.relative(pictures[0], pictures[1]) > EFFECT
    assert tiny.relative(pictures[0], pictures[2]) > EFFECT


def test_an_engine_in_the_place_of_the_network_has_no_layers() -> None:
    with pytest.raises(WrongBase, match="for which there is no IP-Adapter"):
        attention_layers(held(object(), {"disable_unet_model_creation": True}))


def test_a_compiled_branch_changes_nothing(twin: Twins, face: LoadedAdapter) -> None:
    layers = attention_layers(twin.model)
    compiled = twin.model.clone()
    network = twin.model.model.diffusion_model
    compiled.add_object_patch("diffusion_model", torch.compile(network, backend="eager"))
    assert attention_layers(compiled) == layers
    compiled.patch_model(CPU)
    assert attention_layers(twin.model) == layers
    assert len(apply(twin.model, face, FACES, Settings()).patches) == 128
    compiled.unpatch_model(CPU)


@pytest.mark.parametrize("form", [*packed_unet.HOST_FORMATS, "blocks"])
def test_a_lora_works_on_packed_weights_as_by_the_host(
    twin: Twins, face: LoadedAdapter, form: str
) -> None:
    model = packed_unet.packed(twin.model, form)
    assert attention_layers(model) == attention_layers(twin.model)
    before = sample(model)
    assert 0 < tiny.relative(before, sample(twin.model)) < 0.5
    ours = apply(model, face, FACES, Settings())
    names = Unet().processor_names(attention_layers(model))
    # The host's own loader, with the names that diffusers' scripts give.
    by_host, _ = comfy.sd.load_lora_for_models(
        apply(model, face, FACES, Settings(face_lora=0.0)),
        None, renamed(face.lora, names, "face"), 1.0, 0,
    )  # fmt: skip
    picture, expected = sample(ours), sample(by_host)
    assert len(ours.patches) == 128
    assert torch.equal(picture, expected)
    bare = sample(apply(model, face, FACES, Settings(face_lora=0.0)))
    assert tiny.relative(picture, bare) > EFFECT
    assert torch.equal(sample(model), before)


def text_projection(model: Any) -> Any:
    return backbone_of(model).text_projection(model)


def test_text_is_projected_by_the_weights_of_the_model() -> None:
    twin = tiny.twins("sdxl")
    network = twin.model.model.diffusion_model
    network.encoder_hid_proj = nn.Linear(6, 4)
    tokens, change = torch.randn(2, 6), torch.randn(4, 6)
    own = network.encoder_hid_proj(tokens)
    merged = twin.model.clone()
    merged.add_patches({"diffusion_model.encoder_hid_proj.weight": ("diff", (change,))}, 0.5)
    expected = own + 0.5 * tokens @ change.T
    plain, other = text_projection(twin.model), text_projection(merged)
    assert plain is not None and other is not None and plain != other
    for _ in range(2):
        assert torch.allclose(plain(tokens), own, atol=1e-6)
        assert torch.allclose(other(tokens), expected, atol=1e-6)
        merged.patch_model(CPU)  # as it is left after its run
        assert not torch.allclose(network.encoder_hid_proj(tokens), own)
        assert (text_projection(twin.model), text_projection(merged)) == (plain, other)
        plain, other = text_projection(twin.model), text_projection(merged)
        assert plain is not None and other is not None
    merged.unpatch_model(CPU)
