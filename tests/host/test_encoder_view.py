"""What Encode Image and Encode Face show on request is what arrives at the networks.

And what nodes show is there again when they need not run again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from inspect import unwrap
from pathlib import Path
from typing import Any

import folder_paths
import numpy
import pytest
import torch
from comfy_api.latest import io
from conftest import ROOT
from kit.models import face_packs
from kit.models.encoders import SIZE, Pair, batch, make_pair, make_siglip, picture
from kit.pages import help_pages
from pack.ip_models.pictures.fit import Fit
from pack.nodes.encode import EncodeImage
from pack.nodes.faces import EncodeFace
from pack.nodes.host.encoder.row_cache import forget
from pack.nodes.host.face.engine import EngineChoice, load_engine
from pack.nodes.host.face.packs import FacePack
from PIL import Image
from torch import Tensor


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return make_pair(tmp_path_factory.mktemp("clip"))


@pytest.fixture(autouse=True)
def _nothing_seen() -> Iterator[None]:  # pyright: ignore[reportUnusedFunction]
    forget()
    yield
    forget()


class Arrivals:
    """The pixels that reach a network's first layer, as bytes."""

    def __init__(self, encoder: Any) -> None:
        self.pictures: list[Tensor] = []
        mean, std = (
            torch.tensor(colour)[:, None, None]
            for colour in (encoder.image_mean, encoder.image_std)
        )

        def arrived(_: Any, pixels: tuple[Tensor, ...]) -> None:
            grey = (pixels[0].float() * std + mean) * 255
            self.pictures += grey.movedim(1, -1).unbind()

        first = encoder.model.vision_model.embeddings.patch_embedding
        self._hook = first.register_forward_pre_hook(arrived)

    def __enter__(self) -> list[Tensor]:
        return self.pictures

    def __exit__(self, *_: object) -> None:
        self._hook.remove()


def shown(out: Any) -> list[Tensor]:
    """Bytes of the pictures that the front end is told to show."""
    assert isinstance(out.ui, dict)
    pictures: list[Tensor] = []
    for one in out.ui.get("images", ()):
        assert one["type"] == "temp"
        path = Path(folder_paths.get_temp_directory()) / one["subfolder"] / one["filename"]
        with Image.open(path) as opened:
            pictures.append(torch.from_numpy(numpy.array(opened.convert("RGB"))))
    return pictures


def text(out: Any) -> str:
    (told,) = out.ui["text"]
    return told


def require_same(arrived: list[Tensor], pictures: list[Tensor]) -> None:
    assert len(arrived) == len(pictures) > 0
    for one, other in zip(arrived, pictures, strict=True):
        assert (one - other).abs().max() < 0.5  # of 255
        assert other.float().std() > 5


def sources(count: int = 2, height: int = 130, width: int = 200) -> Tensor:
    return batch(*(picture(height, width, seed) for seed in range(count)))


def half_mask(height: int, width: int) -> Tensor:
    mask = torch.zeros(1, height, width)
    mask[:, :, : width // 2] = torch.linspace(1, 0.5, width // 2)
    return mask


CASES: dict[str, dict[str, Any]] = {
    **{fit.value: {"fit": fit.value} for fit in Fit},
    "tiles": {"tiles": 3, "tile_overlap": 0.25},
    "tiles of a padded image, blended": {"tiles": 2, "fit": "pad", "tile_merge": "blend"},
    "mask": {"mask": half_mask(65, 100)},
    "mask, tiles, few at a time": {"mask": half_mask(130, 200), "tiles": 2, "batch_size": 3},
    "negative": {"negative_image": sources(1, 90, 60)},
    "everything": {
        "negative_image": sources(2, 60, 90),
        "mask": half_mask(130, 200),
        "fit": "crop right",
        "tiles": 2,
        "encoder_size": 84,
    },
    "another size": {"encoder_size": 84},
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_shown_is_what_arrives(pair: Pair, case: str) -> None:
    with Arrivals(pair.ours) as arrived:
        out = EncodeImage.execute(pair.ours, sources(), preview=True, **CASES[case])
    if "negative_image" not in CASES[case]:
        nothing = arrived.pop()  # zero pixels, that is the mean colour
        assert nothing.std(dim=(0, 1)).max() < 1e-3
    pictures = shown(out)
    require_same(arrived, pictures)
    assert all(one.shape[0] == CASES[case].get("encoder_size", SIZE) for one in pictures)


def test_siglip_shows_what_arrives_too(tmp_path: Path) -> None:
    encoder = make_siglip(tmp_path).ours
    with Arrivals(encoder) as arrived:
        out = EncodeImage.execute(encoder, sources(), fit="pad", preview=True)
    arrived.pop()
    require_same(arrived, shown(out))
    assert (shown(out)[0][0] == 128).all(), "bars of the encoder's own mean"


def test_what_the_encoder_remembers_is_shown_without_a_run(pair: Pair) -> None:
    options = {"tiles": 2, "mask": half_mask(130, 200)}
    first = EncodeImage.execute(pair.ours, sources(), preview=True, **options)
    with Arrivals(pair.ours) as arrived:
        again = EncodeImage.execute(pair.ours, sources(), preview=True, **options)
    assert arrived == []
    pairs = zip(shown(first), shown(again), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_the_text_counts_what_is_shown(pair: Pair) -> None:
    two = EncodeImage.execute(
        pair.ours, sources(), tiles=2, negative_image=sources(1), preview=True
    )
    assert text(two).endswith("\nthe encoder sees 2 wholes, 8 tiles, 1 negative, in this order")
    one = EncodeImage.execute(pair.ours, sources(1), preview=True)
    assert text(one).endswith("\nthe encoder sees 1 whole")
    many = EncodeImage.execute(pair.ours, sources(1), tiles=8, preview=True)
    assert text(many).endswith("1 whole, 64 tiles, the first 64 of 65 shown")
    assert len(shown(many)) == 64


def test_off_shows_nothing_and_makes_nothing(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    names, of_faces = (unwrap(node.execute).__globals__ for node in (EncodeImage, EncodeFace))
    monkeypatch.setattr(names["ui"], "PreviewImage", None)
    monkeypatch.setitem(names, "view", None)
    monkeypatch.setitem(of_faces, "views", None)
    plain = EncodeImage.execute(pair.ours, sources(), tiles=2)
    assert set(plain.ui) == {"text", "ipadapter_details"} and "the encoder sees" not in text(plain)


def test_preview_changes_nothing_of_the_embeds(pair: Pair) -> None:
    out = [
        EncodeImage.execute(pair.ours, sources(), tiles=2, preview=preview).args[0]
        for preview in (False, True)
    ]
    assert torch.equal(out[0].penultimate, out[1].penultimate)
    assert torch.equal(out[0].pooled, out[1].pooled)


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = face_packs.make_pack(tmp_path_factory.mktemp("packs") / "faces")
    files = (str(folder / "det_10g.onnx"), str(folder / "w600k_r50.onnx"))
    return load_engine(FacePack("faces", str(folder), *files), EngineChoice.TORCH)


def photos(*columns: int) -> Tensor:
    """Photos with a face each, as the tests' detector knows one; -1 for nobody."""
    made: list[Tensor] = []
    for column in columns:
        noise = numpy.random.RandomState(column + 1).randint(60, 130, (640, 640, 3))
        photo = noise.astype(numpy.uint8)
        if column >= 0:
            face_packs.paint(photo, 8, column, 30)
        made.append(torch.from_numpy(photo))
    return torch.stack(made).float() / 255


def test_faces_are_shown_as_both_networks_get_them(
    pair: Pair, faces: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    upright: list[Any] = []
    embed = type(faces).embed

    def noted(self: Any, crops: Any) -> Tensor:
        upright.extend(torch.from_numpy(crop) for crop in crops)
        return embed(self, crops)

    monkeypatch.setattr(type(faces), "embed", noted)
    with Arrivals(pair.ours) as arrived:
        out = EncodeFace.execute(faces, photos(10, 60), pair.ours, preview=True)
    arrived.pop()
    pictures = shown(out)
    assert [len(one) for one in pictures] == [112, 112, SIZE, SIZE]
    assert all(torch.equal(*both) for both in zip(pictures[:2], upright, strict=True))
    require_same(arrived, pictures[2:])
    alone = EncodeFace.execute(faces, photos(10, 60), preview=True)
    assert [len(one) for one in shown(alone)] == [112, 112]
    assert torch.equal(alone.args[0].identity, out.args[0].identity)


def test_faces_are_not_shown_unasked_and_nobody_is_not_shown(faces: Any) -> None:
    assert set(EncodeFace.execute(faces, photos(10)).ui) == {"text"}
    nobody = EncodeFace.execute(faces, photos(-1), on_no_face="pass", preview=True)
    assert set(nobody.ui) == {"text"} and nobody.args[2] is False


def test_whatever_shows_something_is_asked_to_show_it_again() -> None:
    if "has_intermediate_output" not in io.Schema.__dataclass_fields__:
        pytest.skip("hosts before 0.19 do not know it")
    listed = (ROOT / "web" / "about_text.js").read_text("utf-8")
    names = {"IPANoiseImage", *re.findall(r'"(IPA\w+)"', listed)}
    assert len(names) > 12
    for name in names:
        info = help_pages.schemas()[name]
        assert info["output_node"] or info["has_intermediate_output"], name
