"""What Prepare Image shows is what the encoder gets, pixel for pixel; Noise Image is heard."""

from __future__ import annotations

import io
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import comfy.model_management
import comfy.utils
import numpy
import pytest
import torch
from kit.models import encoders, face_packs, tiny
from kit.models.encoders import EFFECT, SIZE, batch, picture
from kit.server import live
from kit.server.live import Client, Prompt
from kit.server.live_graph import changed, graph, node, sampling
from pack.ip_models.errors import BadInput
from pack.ip_models.faces.detect import Face
from pack.ip_models.pictures.fit import Fit
from pack.ip_models.pictures.noise import Noise
from pack.ip_models.pictures.prepare import Framing, Ground
from pack.nodes.host.encoder.encode import Reference, Unconditional, encode
from pack.nodes.host.face.engine import EngineChoice, load_engine
from pack.nodes.host.face.packs import FacePack
from pack.nodes.prepare import NoiseImage, PrepareImage
from PIL import Image
from torch import Tensor

SQUARES = [framing for framing in Framing if framing is not Framing.LONG_SIDE]
TALL, WIDE = (120, 70), (70, 120)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return encoders.make_pair(tmp_path_factory.mktemp("clip")).ours


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Real face models that take painted cells for faces."""
    folder = face_packs.make_pack(tmp_path_factory.mktemp("models") / "buffalo_l")
    pack = FacePack(
        name="buffalo_l",
        folder=str(folder),
        detector=str(folder / "det_10g.onnx"),
        recogniser=str(folder / "w600k_r50.onnx"),
    )
    return load_engine(pack, EngineChoice.TORCH)


def prepared(image: Any, **inputs: Any) -> tuple[Tensor, Tensor]:
    out = PrepareImage.execute(image, **inputs)
    assert out.args is not None
    return out.args[0], out.args[1]


def photo(columns: list[int], row: int = 30, height: int = 640, width: int = 640) -> Tensor:
    """(1, height, width, 3) with a face at some of the 80 columns of cells."""
    pixels = numpy.random.RandomState(0).randint(90, 130, (height, width, 3)).astype(numpy.uint8)
    for column in columns:
        face_packs.paint(pixels, 8, column, row)
    return batch(torch.from_numpy(pixels))


class Eye:
    """Keeps the pixels that reach the encoder's network."""

    def __init__(self, encoder: Any) -> None:
        self.encoder, self.seen = encoder, list[Tensor]()

    def __enter__(self) -> Eye:
        def keep(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
            self.seen.append(kwargs["pixel_values"].clone())

        self._hook = self.encoder.model.register_forward_pre_hook(keep, with_kwargs=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._hook.remove()

    def normalised(self, squares: Tensor) -> Tensor:
        """By hand what a square is to become for the network."""
        mean, std = (
            torch.tensor(values).view(3, 1, 1)
            for values in (self.encoder.image_mean, self.encoder.image_std)
        )
        return (squares.movedim(-1, 1) - mean) / std


def mask_for(count: int) -> Tensor:
    """Soft, of another size than the picture, another one for each."""
    planes = torch.rand(count, 1, 3, 4, generator=torch.Generator().manual_seed(1))
    return torch.nn.functional.interpolate(planes, size=(33, 44), mode="bilinear")[:, 0]


WAYS = [(framing, Ground.MEAN) for framing in SQUARES]
WAYS += [(Framing.PAD, ground) for ground in Ground if ground is not Ground.MEAN]


@pytest.mark.parametrize(("framing", "ground"), WAYS, ids=lambda way: way.value)
@pytest.mark.parametrize("masked", [False, True], ids=["", "mask"])
@pytest.mark.parametrize("sharpening", [0.0, 0.6])
def test_every_pixel_reaches_the_network_untouched(
    tmp_path: Path, faces: Any, framing: Framing, ground: Ground, masked: bool, sharpening: float
) -> None:
    encoder = encoders.make_pair(tmp_path).ours  # a new one, which knows no picture yet
    images = torch.cat([photo([column], height=480) for column in (20, 60)])
    images += batch(picture(480, 640)) * 0.2 - 0.1
    mask = mask_for(2)
    mask[:, 14:19] = 1  # where the faces are
    squares, _ = prepared(
        images,
        clip_vision=encoder,
        face_models=faces,
        fit=framing.value,
        pad_with=ground.value,
        sharpening=sharpening,
        mask=mask if masked else None,
    )
    assert squares.shape == (2, SIZE, SIZE, 3) and squares.dtype is torch.float32
    for fit in Fit:
        with Eye(encoder) as eye:
            encode(encoder, Reference(squares, fit, unconditional=Unconditional.BLACK_IMAGE))
        # After the first fit the rows of these very pixels may be known.
        seen = [pixels for pixels in eye.seen if len(pixels) == 2]
        assert seen or fit is not Fit.CROP_CENTRE
        assert all(torch.equal(pixels, eye.normalised(squares)) for pixels in seen)


@pytest.mark.parametrize("fit", [fit for fit in Fit if fit is not Fit.COMFYUI])
@pytest.mark.parametrize("masked", [False, True], ids=["", "mask"])
@pytest.mark.parametrize("shape", [TALL, WIDE, (1, 1), (300, 7)], ids=str)
def test_without_sharpening_it_is_what_encode_image_makes_of_the_picture(
    encoder: Any, fit: Fit, masked: bool, shape: tuple[int, int]
) -> None:
    images, mask = batch(picture(*shape)), mask_for(1) if masked else None
    squares, _ = prepared(images, clip_vision=encoder, fit=fit.value, mask=mask)
    raw = encode(encoder, Reference(images, fit, mask=mask))
    ours = encode(encoder, Reference(squares, Fit.CROP_CENTRE))
    for one, other in ((ours.penultimate, raw.penultimate), (ours.pooled, raw.pooled)):
        assert one is not None and other is not None
        assert torch.equal(one, other)
    if shape in (TALL, WIDE):
        sharper, _ = prepared(images, clip_vision=encoder, fit=fit.value, mask=mask, sharpening=0.5)
        changed = encode(encoder, Reference(sharper, Fit.CROP_CENTRE)).penultimate
        assert changed is not None and raw.penultimate is not None
        assert tiny.relative(changed, raw.penultimate) > EFFECT


def test_a_siglip_gets_every_pixel_too(tmp_path: Path) -> None:
    siglip = encoders.make_siglip(tmp_path).ours
    squares, _ = prepared(batch(picture(*WIDE)), clip_vision=siglip, fit="pad")
    assert (squares[0, 0] * 255).round().unique().tolist() == [128]  # its mean colour
    with Eye(siglip) as eye:
        encode(siglip, Reference(squares, Fit.CROP_CENTRE))
    assert torch.equal(eye.seen[0], eye.normalised(squares))


@pytest.mark.parametrize("columns", [[10], [70], [40]])
@pytest.mark.parametrize("size", [0, 480])
def test_the_crop_has_the_face_in_its_middle(
    encoder: Any, faces: Any, columns: list[int], size: int
) -> None:
    image = photo(columns, height=480)
    square, _ = prepared(image, clip_vision=encoder, face_models=faces, fit="crop face", size=size)
    side = size or SIZE
    centre = columns[0] * 8  # the cell's corner is where the small detector puts the middle
    left = min(max(centre - 240, 0), 160)
    if size:
        assert torch.equal(square[0], image[0, :, left : left + 480])
    magenta = square[0, :, :, 0] - square[0, :, :, 1]
    across = float((magenta.amax(0) > 0.5).nonzero().float().mean()) + 0.5
    expected = (centre + 4 - left) * side / 480
    assert across == pytest.approx(expected, abs=side / 100)


def test_the_largest_face_counts_and_each_picture_has_its_own(faces: Any) -> None:
    both = photo([], height=320)
    pixels = (both[0] * 255).round().to(torch.uint8).numpy()
    face_packs.paint(pixels, 8, 10, 20)
    face_packs.paint(pixels, 16, 30, 10)
    both = torch.cat([batch(torch.from_numpy(pixels)), photo([12], height=320)])
    squares, _ = prepared(both, face_models=faces, fit="crop face", size=320)
    assert torch.equal(squares[0], both[0, :, 320:])
    assert torch.equal(squares[1], both[1, :, :320])


def test_a_hidden_face_is_not_found(faces: Any) -> None:
    image = photo([12, 70], height=320)
    mask = torch.zeros(1, 320, 640)
    mask[:, :, 320:] = 1
    square, kept = prepared(image, face_models=faces, fit="crop face", size=320, mask=mask)
    assert torch.equal(square[0], image[0, :, 320:]) and kept.all()


def test_a_face_model_of_another_pack_will_do(faces: Any) -> None:
    class Detection:
        """As insightface's."""

        def detect(self, image: Any, input_size: Any = None, **_: Any) -> Any:
            found: list[Face] = faces.detect(numpy.ascontiguousarray(image[..., ::-1]), 640)
            boxes = [[*face.box, face.score] for face in found]
            return numpy.array(boxes), numpy.array([face.key_points for face in found])

    class Recognition:
        input_size = (112, 112)

        def get_feat(self, crops: Any) -> Any:
            return numpy.zeros((len(crops), 512))

    class FaceAnalysis:
        det_model = Detection()
        models = {"detection": det_model, "recognition": Recognition()}

    image = photo([70], height=320)
    square, _ = prepared(image, face_models=FaceAnalysis(), fit="crop face", size=320)
    assert torch.equal(square[0], image[0, :, 320:])


@pytest.mark.parametrize("ground", Ground)
@pytest.mark.parametrize("framing", [Framing.PAD, Framing.CROP_TOP, Framing.LONG_SIDE])
def test_what_the_mask_hides_is_nowhere_to_be_seen(ground: Ground, framing: Framing) -> None:
    one, other = (batch(picture(60, 120, seed)) for seed in (1, 2))
    mask = torch.zeros(60, 120)
    mask[10:50, 30:90] = 1
    other[:, 10:50, 30:90] = one[:, 10:50, 30:90]
    inputs: dict[str, Any] = dict(mask=mask, fit=framing.value, pad_with=ground.value)
    first, _ = prepared(one, sharpening=0.5, **inputs)
    assert torch.equal(first, prepared(other, sharpening=0.5, **inputs)[0])
    unmasked = prepared(one, fit=framing.value, pad_with=ground.value)[0]
    assert tiny.relative(first, unmasked) > EFFECT


def test_the_mask_hides_behind_the_colour_of_the_bars() -> None:
    hidden, _ = prepared(
        torch.rand(1, 20, 40, 3),
        mask=torch.zeros(5, 5),
        fit="pad",
        pad_with="colour",
        pad_colour="#ff8000",
    )
    assert hidden[0].reshape(-1, 3).unique(dim=0).mul(255).round().tolist() == [[255, 128, 0]]


def test_masks_come_out_cut_as_their_pictures() -> None:
    images = torch.rand(3, 50, 90, 3)
    _, white = prepared(images, fit="pad", size=40)
    assert white.shape == (3, 40, 40) and white.dtype is torch.float32 and (white == 1).all()
    mask = torch.zeros(3, 25, 45)
    for i in range(3):
        mask[i, :, 15 * i : 15 * (i + 1)] = 1
    _, cut = prepared(images, fit="crop left", size=50, mask=mask)
    assert (cut[0, :, :25] == 1).all() and not cut[0, :, 35:].any()
    assert not cut[1, :, :25].any() and (cut[1, :, 35:] == 1).all() and not cut[2].any()
    _, one = prepared(images, fit="squash", size=40, mask=mask[:1])
    assert one.shape == (3, 40, 40) and torch.equal(one[0], one[2])


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("shape", [(1, 1), (2, 1), (1, 400), (400, 1), (31, 33)], ids=str)
@pytest.mark.parametrize("fit", [f for f in Framing if f is not Framing.CROP_FACE])
def test_pictures_of_all_kinds_work(
    encoder: Any, channels: int, shape: tuple[int, int], fit: Framing
) -> None:
    images = torch.rand(2, *shape, channels)
    for mask in (None, torch.rand(7, 3), torch.rand(2, 1, 9)):
        made, kept = prepared(
            images, clip_vision=encoder, mask=mask, fit=fit.value, pad_with="blur", sharpening=1.0
        )
        assert made.shape[-1] == 3 and kept.shape == made.shape[:3] and len(made) == 2
        assert made.min() >= 0 and made.max() <= 1


def test_whole_numbers_are_black_and_white() -> None:
    images = torch.tensor([0, 1]).view(1, 1, 2, 1).expand(1, 2, 2, 3)
    made, _ = prepared(images, mask=torch.ones(2, 2), size=2)
    assert torch.equal(made, images.float())


def test_the_node_says_what_it_made(encoder: Any) -> None:
    def text(images: Tensor, **inputs: Any) -> list[str]:
        return PrepareImage.execute(images, **inputs).ui["text"][0].splitlines()

    three = torch.rand(3, 48, 64, 3)
    name = "an unknown encoder (32 and 48 wide)"
    size = f"{SIZE} x {SIZE}"
    assert text(three, clip_vision=encoder) == [
        f"3 pictures of 64 x 48 -> {size}, crop centre, for {name}"
    ]
    assert text(three[:1], fit="pad", pad_with="blur", sharpening=0.25) == [
        "1 picture of 64 x 48 -> 224 x 224, pad with blur, sharpened 0.25"
    ]
    assert text(three, clip_vision=encoder, size=70)[1] == (
        f"{name} takes {size} unless Encode Image has encoder_size or tiles"
    )
    assert text(three, clip_vision=encoder, size=70, fit="long side") == [
        f"3 pictures of 64 x 48 -> 70 x 52, long side, for {name}"
    ]


NAN = float("nan")
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"image": None}, "image is nothing"),
    ({"image": "photo"}, 'image is "photo"'),
    ({"image": torch.zeros(4, 4, 3)}, "image has shape 4 x 4 x 3"),
    ({"image": torch.zeros(0, 4, 4, 3)}, "image has shape 0 x 4 x 4 x 3"),
    ({"image": torch.full((1, 4, 4, 3), NAN)}, "image 1 of 1 holds values that are not finite"),
    ({"image": torch.zeros(1, 1, 2000, 3)}, "image is 2000 x 1 pixels"),
    ({"image": torch.zeros(1, 1, 900, 3), "size": 1024}, "image is 900 x 1 pixels and fit is"),
    ({"mask": "m"}, 'mask is "m"'),
    ({"mask": torch.zeros(3, 4, 4)}, "mask has shape 3 x 4 x 4 for 1 image(s)"),
    ({"mask": torch.full((4, 4), NAN)}, "mask holds values that are not finite"),
    ({"clip_vision": "ViT-H"}, 'clip_vision is "ViT-H"'),
    ({"fit": "crop"}, 'fit is "crop"'),
    ({"fit": None}, "fit is nothing"),
    ({"pad_with": "red"}, 'pad_with is "red"'),
    ({"pad_with": "colour", "pad_colour": "redd"}, 'pad_colour is "redd"'),
    ({"sharpening": NAN}, "sharpening is nan"),
    ({"sharpening": None}, "sharpening is nothing"),
    ({"size": -1}, "size is -1"),
    ({"size": "big"}, 'size is "big"'),
    ({"size": 0.5}, "size is 0.5"),
    ({"fit": "crop face"}, "fit is crop face and face_models is not connected"),
    ({"fit": "crop face", "face_models": "faces"}, 'face_models is "faces"'),
]


def sentence(error: BadInput) -> str:
    text = str(error)
    assert "\n" not in text and text.endswith(".") and text.count(";") >= 1 and len(text) < 400
    return text


@pytest.mark.parametrize(("wrong", "words"), WRONG, ids=[words for _, words in WRONG])
def test_what_cannot_be_used_is_told_in_one_sentence(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput) as refused:
        PrepareImage.execute(**{"image": torch.zeros(1, 4, 4, 3), **wrong})
    assert sentence(refused.value).startswith(words)


def test_a_bad_colour_that_is_not_used_stops_nobody() -> None:
    prepared(torch.rand(1, 4, 9, 3), fit="pad", pad_with="edge", pad_colour="redd")


def test_a_photo_without_a_face_is_named_and_the_way_out_is_of_this_node(faces: Any) -> None:
    with pytest.raises(BadInput) as refused:
        prepared(torch.cat([photo([40]), photo([])]), face_models=faces, fit="crop face")
    text = sentence(refused.value)
    assert text.startswith("no face was found in image 2 of 2, 640 x 640 pixels")
    assert "choose another fit" in text and "on_no_face" not in text


def test_preparing_moves_the_progress_bar_and_can_be_stopped() -> None:
    shown: list[tuple[int, int]] = []
    comfy.utils.set_progress_bar_global_hook(
        lambda value, total, *_, **__: shown.append((value, total))
    )
    try:
        prepared(torch.rand(3, 8, 8, 3))
        NoiseImage.execute(torch.rand(4, 8, 8, 3))
    finally:
        comfy.utils.set_progress_bar_global_hook(None)
    assert (3, 3) in shown and (4, 4) in shown
    for run in (prepared, NoiseImage.execute):
        comfy.model_management.interrupt_current_processing(True)
        with pytest.raises(comfy.model_management.InterruptProcessingException):
            run(torch.rand(1, 8, 8, 3))


@pytest.mark.parametrize("noise", Noise)
def test_noise_is_heard_as_a_negative_image(encoder: Any, noise: Noise) -> None:
    images = batch(picture(SIZE, SIZE))

    def negative(strength: float, image: Tensor | None = images) -> Tensor:
        made = NoiseImage.execute(image, noise.value, strength, size=SIZE).args[0]
        features = encode(encoder, Reference(images, Fit.CROP_CENTRE, negative=made))
        assert features.negative_penultimate is not None
        return features.negative_penultimate

    without = encode(encoder, Reference(images, Fit.CROP_CENTRE)).negative_penultimate
    assert without is not None
    heard = negative(0.5)
    for other in (without, negative(0.0), negative(1.0), negative(0.5, None)):
        assert tiny.relative(heard, other) > EFFECT


def test_without_an_image_noise_is_a_square_made_from_black() -> None:
    made = NoiseImage.execute(noise="fade", strength=0.0, size=48).args[0]
    assert made.shape == (1, 48, 48, 3) and not made.any()
    assert NoiseImage.execute().args[0].shape == (1, 224, 224, 3)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"image": "photo"}, 'image is "photo"'),
        ({"image": torch.zeros(4, 4, 3)}, "image has shape 4 x 4 x 3"),
        ({"noise": "snow"}, 'noise is "snow"'),
        ({"noise": None}, "noise is nothing"),
        ({"strength": NAN}, "strength is nan"),
        ({"blur": 0.5}, "blur is 0.5"),
        ({"seed": None}, "seed is nothing"),
        ({"size": 0}, "size is 0"),
    ],
)
def test_noise_of_what_cannot_be_used_is_told(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput) as refused:
        NoiseImage.execute(**wrong)
    assert sentence(refused.value).startswith(words)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    base, models = live.base_with_adapter(tmp_path_factory)
    folder = base / "models" / "insightface" / "models" / "buffalo_l"
    folder.mkdir(parents=True)
    face_packs.make_pack(folder)
    (base / "input").mkdir()
    pixels = (photo([70], height=480)[0] * 255).round().to(torch.uint8).numpy()
    Image.fromarray(pixels).save(base / "input" / "face.png")
    with live.running(base, models) as running:
        yield running


def prompt_of(noise: dict[str, Any] | None = None, **prepare: Any) -> Prompt:
    """Text to picture with a prepared reference, and noise as what to stay away from."""
    prompt = changed(photo={"image": "face.png"}, encode={"image": ["prepare", 0]})
    inputs = {"image": ["photo", 0], "clip_vision": ["encoder", 0], **prepare}
    prompt["prepare"] = node("IPAPrepareImage", **inputs)
    if noise is not None:
        prompt["noise"] = node("IPANoiseImage", **noise)
        prompt["encode"]["inputs"]["negative_image"] = ["noise", 0]
    if prepare.get("fit") == "crop face":
        prompt["models"] = node("IPALoadFaceModels", pack="buffalo_l")
        prompt["prepare"]["inputs"].setdefault("face_models", ["models", 0])
    return prompt


def shown(client: Client, entry: dict[str, Any], name: str) -> Tensor:
    """(n, height, width, 3) of the pictures the front end is told to show on a node."""
    pictures: list[Tensor] = []
    for one in entry["outputs"][name]["images"]:
        assert one["type"] == "temp"
        address = f"{client.address}/view?{urllib.parse.urlencode(one)}"
        with urllib.request.urlopen(address, timeout=60) as reply:
            opened = Image.open(io.BytesIO(reply.read())).convert("RGB")
        pictures.append(torch.from_numpy(numpy.array(opened)))
    return torch.stack(pictures)


def test_preview_and_words_arrive_and_are_what_the_node_hands_on(
    client: Client, faces: Any
) -> None:
    prompt = prompt_of({"image": ["prepare", 0], "strength": 0.5, "seed": 3}, fit="crop face")
    prompt["out"] = node("SaveImage", images=["prepare", 0], filename_prefix="prepared")
    prompt["noise out"] = node("SaveImage", images=["noise", 0], filename_prefix="noise")
    del prompt["save"]  # and with it all that samples
    entry = client.run(prompt)
    assert entry["status"]["status_str"] == "success", live.failure(entry)
    assert entry["outputs"]["prepare"]["text"] == [
        "1 picture of 640 x 480 -> 224 x 224, crop face, for ViT-H"
    ]
    expected, _ = prepared(photo([70], height=480), face_models=faces, fit="crop face")
    noisy = NoiseImage.execute(expected, strength=0.5, seed=3).args[0]
    assert torch.equal(shown(client, entry, "prepare"), (expected * 255).round().byte())
    assert torch.equal(shown(client, entry, "noise"), (noisy * 255).round().byte())
    for name, squares in (("out", expected), ("noise out", noisy)):
        saved = entry["outputs"][name]["images"][0]["filename"]
        opened = Image.open(client.base / "output" / saved)
        assert numpy.array_equal(numpy.array(opened), (squares[0] * 255).round().byte().numpy())


SMALL = {
    name: part
    for name, part in sampling(["apply", 0], steps=1, size=64).items()
    if name in ("latent", "sampler")
}


def test_a_prepared_picture_and_noise_reach_the_result(client: Client) -> None:
    raw = changed(photo={"image": "face.png"})
    plain = client.picture(raw | SMALL)
    assert client.picture(prompt_of() | SMALL) == plain
    different = [
        prompt_of({"seed": 2**64 - 1}),
        prompt_of({"image": ["photo", 0], "noise": "shuffle"}, fit="crop face", sharpening=1.0),
    ]
    assert len({plain, *(client.picture(one | SMALL) for one in different)}) == 3


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        (prompt_of(fit="pad", pad_with="colour", pad_colour=None), 'pad_colour is "None"'),
        (
            prompt_of(fit="crop face") | {"photo": graph()["photo"]},
            "no face was found in image 1 of 1",
        ),
        (
            prompt_of(mask=["bad", 1]) | {"bad": node("IPATestTensor", shape="3x4x4", value=1)},
            "mask has shape 3 x 4 x 4",
        ),
        (
            prompt_of({"image": ["bad", 0]}) | {"bad": node("IPATestTensor", shape="4x4", value=1)},
            "image has shape 4 x 4",
        ),
        (prompt_of(sharpening=NAN), "sharpening is nan"),
    ],
)
def test_what_is_wrong_is_one_sentence_over_http_too(
    client: Client, prompt: Prompt, words: str
) -> None:
    message = live.failure(client.run(prompt))
    assert "BadInput" in message and words in message and "\n" not in message


@pytest.mark.parametrize(
    ("name", "inputs"),
    [
        ("prepare", {"size": None}),
        ("prepare", {"size": "big"}),
        ("prepare", {"size": 2000}),
        ("prepare", {"fit": None}),
        ("prepare", {"face_models": ["photo", 0]}),
        ("noise", {"strength": 2}),
        ("noise", {"noise": "snow"}),
        ("noise", {"seed": -1}),
    ],
)
def test_what_the_host_can_tell_is_refused_before_the_run(
    client: Client, name: str, inputs: dict[str, Any]
) -> None:
    prompt = prompt_of({})
    prompt[name]["inputs"] |= inputs
    status, answer = client.post("/prompt", {"prompt": prompt})
    assert status == 400 and name in answer["node_errors"]
