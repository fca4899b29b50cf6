"""Embeds to and from a real diffusers pipeline: the same picture, and no encoder runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import comfy.clip_vision
import comfy.sample
import comfy.samplers
import folder_paths
import pytest
import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionPipeline
from kit.models import checkpoints, encoders, tiny
from pack.ip_models.references.features import FaceFeatures
from pack.nodes.host.encoder.encode import encode
from pack.nodes.host.files import folders
from pack.nodes.host.model.adapter import LoadedAdapter
from pack.nodes.host.model.apply import Settings, apply
from pack.nodes.stored import LoadEmbeds, SaveEmbeds
from PIL import Image
from torch import Tensor

SAME, EFFECT = 1e-5, 0.01
STEPS, GUIDANCE, SCALE = 3, 5.0, 0.8
KEY = folders.EMBEDS


@dataclass
class Bench:
    """A pipeline of diffusers and a MODEL of ComfyUI with equal weights, UNet and encoder.

    Attributes:
        adapters: kind -> tensors as published, and the same file loaded here.
    """

    twin: tiny.Twins
    pair: encoders.Pair
    pipe: Any
    call: tiny.Call
    adapters: dict[str, tuple[dict[str, Tensor], LoadedAdapter]]

    def hear(self, *kinds: str) -> None:
        """Load adapters into the pipeline in place of those there, as diffusers' loader does."""
        if getattr(self.pipe.unet, "encoder_hid_proj", None) is not None:
            components = dict(self.pipe.components)  # its unloader drops the encoder as well
            self.pipe.unload_ip_adapter()
            self.pipe.register_modules(
                image_encoder=components["image_encoder"],
                feature_extractor=components["feature_extractor"],
            )
        if kinds:
            nested = [checkpoints.nest(self.adapters[kind][0]) for kind in kinds]
            self.pipe.load_ip_adapter(
                nested,
                subfolder=[""] * len(nested),
                weight_name=[""] * len(nested),
                image_encoder_folder=None,
                low_cpu_mem_usage=False,
            )
            self.pipe.set_ip_adapter_scale([SCALE] * len(kinds))

    def draw(self, **references: Any) -> Tensor:
        """Latents that diffusers' pipeline ends with."""
        negative, positive = self.call.context.chunk(2)
        return self.pipe(
            prompt_embeds=positive,
            negative_prompt_embeds=negative,
            latents=self.call.x[:1].clone(),
            num_inference_steps=STEPS,
            guidance_scale=GUIDANCE,
            height=128,
            width=128,
            output_type="latent",
            **references,
        ).images

    def draw_here(self, *references: tuple[str, Any]) -> Tensor:
        """The same by Apply and ComfyUI's sampler, with the pipeline's noise levels."""
        model = self.twin.model
        for kind, embeds in references:
            model = apply(model, self.adapters[kind][1], embeds, Settings(scale=SCALE))
        self.pipe.scheduler.set_timesteps(STEPS)
        sigmas = self.pipe.scheduler.sigmas.clone()
        noise = self.call.x[:1] * self.pipe.scheduler.init_noise_sigma
        noise = noise / sigmas[0]  # by which ComfyUI multiplies it again
        negative, positive = ([[rows, {}]] for rows in self.call.context.chunk(2))
        sampler = comfy.samplers.sampler_object("euler")
        settings = (noise, GUIDANCE, sampler, sigmas, positive, negative, torch.zeros_like(noise))
        out = comfy.sample.sample_custom(model, *settings, disable_pbar=True, seed=1)
        return self.twin.model.model.latent_format.process_in(out)


class QuietPipeline(StableDiffusionPipeline):
    """Without a bar for each run."""

    def progress_bar(self, iterable: Any = None, total: int | None = None) -> Any:
        self.set_progress_bar_config(disable=True)
        return super().progress_bar(iterable, total)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    folder = tmp_path_factory.mktemp("bench")
    with torch.no_grad():
        twin, pair = tiny.twins("sd1"), encoders.make_pair(folder)
        vae = AutoencoderKL(block_out_channels=(32,) * 4, norm_num_groups=32, **four_levels())
    scheduler = EulerDiscreteScheduler(
        steps_offset=1,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        timestep_spacing="leading",
    )
    pipe = QuietPipeline(
        vae=vae,
        text_encoder=None,
        tokenizer=None,
        unet=twin.unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=pair.processor,
        image_encoder=pair.theirs,
        requires_safety_checker=False,
    )
    kinds = {"standard": encoders.POOLED, "plus": encoders.WIDTH, "full face": encoders.WIDTH}
    kinds |= {"FaceID": 0, "FaceID portrait": 0}
    adapters: dict[str, Any] = {}
    for seed, (kind, width) in enumerate(kinds.items()):
        tokens = 16 if kind in ("plus", "FaceID portrait") else 4
        options = {"dim": 128, "heads": 2} if kind == "plus" else {}
        tensors = checkpoints.tiny_adapter(
            kind, twin.widths, twin.context, width, tokens, seed=seed, **options
        )
        tensors = {key: rows * 3 if "_ip.w" in key else rows for key, rows in tensors.items()}
        adapters[kind] = tensors, tiny.load_tensors(folder, tensors, kind)
    return Bench(twin, pair, pipe, tiny.make_call(twin), adapters)


def four_levels() -> dict[str, Any]:
    """The published VAE's depth, for the factor of 8 between latent and picture."""
    return dict(
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4
    )


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of embeds."""
    table = {**folder_paths.folder_names_and_paths, KEY: ([str(tmp_path)], {".ipadpt"})}
    monkeypatch.setattr(folder_paths, "folder_names_and_paths", table)
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    return tmp_path


@pytest.fixture
def runs(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Which encoder ran, ours or theirs, each time one did."""
    ran: list[str] = []
    original = comfy.clip_vision.ClipVisionModel.encode_image

    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        ran.append("ours")
        return original(self, *args, **kwargs)

    monkeypatch.setattr(comfy.clip_vision.ClipVisionModel, "encode_image", counted)
    hook = bench.pair.theirs.register_forward_pre_hook(lambda *_: ran.append("theirs"))
    yield ran
    hook.remove()


PHOTOS = [encoders.picture(80, 60, seed) for seed in (1, 2)]


def opened(photo: Tensor) -> Image.Image:
    return Image.fromarray(photo.numpy())


def save(bench: Bench, embeds: Sequence[Any], kinds: Sequence[str]) -> str:
    """Save Embeds with its adapters, as .ipadpt."""
    out = SaveEmbeds.execute(
        {f"embeds{i}": one for i, one in enumerate(embeds)},
        {f"adapter{i}": bench.adapters[kind][1] for i, kind in enumerate(kinds)},
        "ours",
        "ipadpt",
    )
    return out.ui["ipadapter_embeds"][0]


def load(name: str, **inputs: Any) -> Any:
    return LoadEmbeds.execute(name, **inputs).args[0]


def test_both_draw_the_same_without_references(bench: Bench) -> None:
    bench.hear()
    assert tiny.relative(bench.draw_here(), bench.draw()) < SAME


@pytest.mark.parametrize("kind", ["standard", "plus", "full face"])
@pytest.mark.parametrize("count", [1, 2])
def test_a_file_saved_here_is_the_picture_in_diffusers(
    bench: Bench, home: Path, runs: list[str], kind: str, count: int
) -> None:
    embeds = encode(bench.pair.ours, encoders.reference_of(*PHOTOS[:count]))
    name = save(bench, [embeds], [kind])
    bench.hear()
    plain = bench.draw()
    bench.hear(kind)
    photos = [[opened(photo) for photo in PHOTOS[:count]]]
    from_photo = bench.draw(ip_adapter_image=photos)
    runs.clear()
    from_file = bench.draw(ip_adapter_image_embeds=torch.load(home / name, weights_only=True))
    assert tiny.relative(from_photo, plain) > EFFECT
    assert tiny.relative(from_file, from_photo) < SAME
    assert tiny.relative(bench.draw_here((kind, load(name))), from_photo) < SAME
    assert runs == []


def test_two_adapters_at_once(bench: Bench, home: Path, runs: list[str]) -> None:
    kinds = ("standard", "plus")
    embeds = [encode(bench.pair.ours, encoders.reference_of(photo)) for photo in PHOTOS]
    name = save(bench, embeds, kinds)
    bench.hear("standard")
    alone = bench.draw(ip_adapter_image=opened(PHOTOS[0]))
    bench.hear(*kinds)
    from_photos = bench.draw(ip_adapter_image=[opened(photo) for photo in PHOTOS])
    runs.clear()
    file = torch.load(home / name, weights_only=True)
    assert tiny.relative(bench.draw(ip_adapter_image_embeds=file), from_photos) < SAME
    assert tiny.relative(from_photos, alone) > EFFECT
    here = bench.draw_here(*((kind, load(name, entry=i)) for i, kind in enumerate(kinds)))
    assert tiny.relative(here, from_photos) < SAME
    assert runs == []


def test_one_reference_for_two_adapters(bench: Bench, home: Path) -> None:
    kinds = ("plus", "standard")
    name = save(bench, [encode(bench.pair.ours, encoders.reference_of(PHOTOS[0]))], kinds)
    bench.hear(*kinds)
    from_photo = bench.draw(ip_adapter_image=[opened(PHOTOS[0])] * 2)
    file = torch.load(home / name, weights_only=True)
    assert tiny.relative(bench.draw(ip_adapter_image_embeds=file), from_photo) < SAME


@pytest.mark.parametrize("kind", ["standard", "plus"])
@pytest.mark.parametrize("pictures", [1, 2])
def test_a_file_of_diffusers_is_the_picture_here(
    bench: Bench, home: Path, runs: list[str], kind: str, pictures: int
) -> None:
    bench.hear(kind)
    photos = [[opened(photo) for photo in PHOTOS]]
    theirs = bench.pipe.prepare_ip_adapter_image_embeds(photos, None, "cpu", pictures, True)
    torch.save(theirs, home / "theirs.ipadpt")
    from_photo = bench.draw(ip_adapter_image=photos)
    encoded = bench.draw_here((kind, encode(bench.pair.ours, encoders.reference_of(*PHOTOS))))
    runs.clear()
    from_file = bench.draw_here((kind, load("theirs.ipadpt")))
    assert runs == []
    assert tiny.relative(from_file, encoded) < SAME
    assert tiny.relative(from_file, from_photo) < SAME
    assert tiny.relative(from_file, bench.draw_here()) > EFFECT
    swapped = [torch.cat(one.chunk(2)[::-1]) for one in theirs]
    torch.save(swapped, home / "swapped.ipadpt")
    assert tiny.relative(bench.draw_here((kind, load("swapped.ipadpt"))), from_photo) > EFFECT


def test_a_file_made_without_guidance_is_filled_in(bench: Bench, home: Path) -> None:
    bench.hear("plus")
    photos = [[opened(photo) for photo in PHOTOS]]
    theirs = bench.pipe.prepare_ip_adapter_image_embeds(photos, None, "cpu", 1, False)
    torch.save(theirs, home / "theirs.ipadpt")
    embeds = load("theirs.ipadpt", clip_vision=bench.pair.ours)
    from_photo = bench.draw(ip_adapter_image=photos)
    assert tiny.relative(bench.draw_here(("plus", embeds)), from_photo) < SAME


def test_the_incumbent_s_two_files_are_the_picture_here(bench: Bench, home: Path) -> None:
    embeds = encode(bench.pair.ours, encoders.reference_of(*PHOTOS))
    torch.save(embeds.penultimate, home / "positive.ipadpt")
    torch.save(embeds.negative_penultimate, home / "negative.ipadpt")
    torch.save(embeds.pooled, home / "pooled.ipadpt")
    loaded = load("positive.ipadpt", negative_file="negative.ipadpt")
    for kind, one in (("plus", loaded), ("standard", load("pooled.ipadpt"))):
        ours = bench.draw_here((kind, embeds))
        assert torch.equal(bench.draw_here((kind, one)), ours)
        assert tiny.relative(ours, bench.draw_here()) > EFFECT


@pytest.mark.parametrize("kind", ["FaceID", "FaceID portrait"])
@pytest.mark.parametrize("count", [1, 2])
def test_faces_both_ways(bench: Bench, home: Path, kind: str, count: int) -> None:
    faces = tiny.random_faces(count)
    name = save(bench, [faces], [kind])
    bench.hear(kind)
    # The way of diffusers' guide: normed embeddings, one after the other, zeros as the negative.
    normed = [row / row.norm() for row in faces.identity]
    stacked = torch.stack([row.unsqueeze(0) for row in normed]).unsqueeze(0)
    guide = [torch.cat([torch.zeros_like(stacked), stacked])]
    theirs = bench.draw(ip_adapter_image_embeds=guide)
    file = torch.load(home / name, weights_only=True)
    assert tiny.relative(bench.draw(ip_adapter_image_embeds=file), theirs) < SAME
    torch.save(guide, home / "guide.ipadpt")
    loaded = load("guide.ipadpt")
    assert isinstance(loaded, FaceFeatures) and loaded.count == count
    for embeds in (loaded, load(name), faces):
        assert tiny.relative(bench.draw_here((kind, embeds)), theirs) < SAME
    assert tiny.relative(theirs, bench.draw_here()) > EFFECT
