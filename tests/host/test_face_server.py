"""A photo goes in, its face is heard, a picture comes out; and one sentence when it does not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from kit.models import checkpoints, face_packs, tiny
from kit.server import live
from kit.server.live import Client, Prompt
from kit.server.live_graph import changed, graph, node, sampling
from kit.server.tiny_nodes.adapter import write_tiny_adapter
from PIL import Image

FACE, COLUMNS = 8, {"left": 10, "right": 60}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    base = tmp_path_factory.mktemp("comfy base")
    models = base / "shared models"
    write_adapters(models / "ipadapter")
    write_packs(base / "models" / "insightface" / "models")
    write_photos(base / "input")
    with live.running(base, models, "--cache-none") as running:
        yield running


def write_adapters(folder: Path) -> None:
    folder.mkdir(parents=True)
    write_tiny_adapter(folder / "tiny.safetensors")
    twin = tiny.twins("sd1")
    lora = tiny.lora_tensors(twin)
    faces = {"faceid": "FaceID", "portrait": "FaceID portrait", "plusv2": "FaceID plus"}
    for name, kind in faces.items():
        options = {"dim": 768, "heads": 12, "depth": 1} if name == "plusv2" else {}
        tokens = 16 if name == "portrait" else 4
        tensors = checkpoints.tiny_adapter(kind, twin.widths, 768, 1280, tokens, **options)
        with_lora = tensors if name == "portrait" else tensors | lora
        checkpoints.write(folder / f"ip-adapter-{name}_sd15.bin", with_lora, "nested")


def write_packs(folder: Path) -> None:
    for name in ("buffalo_l", "half", "cut"):
        (folder / name).mkdir(parents=True)
        face_packs.make_pack(folder / name)
    (folder / "half" / "w600k_r50.onnx").unlink()
    whole = (folder / "cut" / "det_10g.onnx").read_bytes()
    (folder / "cut" / "det_10g.onnx").write_bytes(whole[: len(whole) // 2])


def write_photos(folder: Path) -> None:
    folder.mkdir(parents=True)
    blank = numpy.full((640, 640, 3), 90, numpy.uint8)
    noise = numpy.random.RandomState(0).randint(0, 40, (640, 640, 3)).astype(numpy.uint8)
    for name, columns in {"nobody": [], "one": ["left"], "two": ["left", "right"]}.items():
        photo = blank + noise
        for column in columns:
            face_packs.paint(photo, FACE, COLUMNS[column], 30)
        Image.fromarray(photo).save(folder / f"{name}.png")


def face_graph(
    adapter: str = "faceid", photo: str = "one.png", clip: bool = False, **encode: Any
) -> Prompt:
    """Text to picture with a face."""
    prompt = changed(
        adapter={"adapter_file": f"ip-adapter-{adapter}_sd15.bin"},
        photo={"image": photo},
        apply={"embeds": ["face", 0]},
    )
    del prompt["encode"]
    prompt["models"] = node("IPALoadFaceModels", pack="buffalo_l")
    seen = {"clip_vision": ["encoder", 0]} if clip else {}
    prompt["face"] = node(
        "IPAEncodeFace", face_models=["models", 0], image=["photo", 0], **seen, **encode
    )
    return prompt


def plain() -> Prompt:
    return graph() | sampling(["checkpoint", 0])


@pytest.mark.parametrize(
    ("adapter", "clip"), [("faceid", False), ("portrait", False), ("plusv2", True)]
)
def test_a_face_goes_in_and_a_picture_comes_out(client: Client, adapter: str, clip: bool) -> None:
    picture = client.picture(face_graph(adapter, clip=clip))
    assert picture != client.picture(plain())
    assert picture == client.picture(face_graph(adapter, clip=clip))


def test_the_loader_says_pack_files_licence_and_engine(client: Client) -> None:
    text = client.run(face_graph())["outputs"]["models"]["text"][0]
    for word in ("buffalo_l", "det_10g.onnx", "w600k_r50.onnx", "non-commercial", "torch on cpu"):
        assert word in text


def test_both_engines_hear_the_same_face(client: Client) -> None:
    pytest.importorskip("insightface")
    other = face_graph()
    other["models"]["inputs"]["engine"] = "insightface"
    text = client.run(other)["outputs"]["models"]["text"][0]
    assert "insightface" in text and "CPUExecutionProvider" in text
    one, two = (
        torch.frombuffer(bytearray(client.picture(p)), dtype=torch.uint8).float()
        for p in (face_graph(), other)
    )
    assert float((one - two).abs().mean()) < 1


def test_another_face_is_another_picture(client: Client) -> None:
    by_place = [
        client.picture(face_graph(photo="two.png", face="left to right", face_index=index))
        for index in (0, 1)
    ]
    assert by_place[0] != by_place[1]


def test_what_faceid_has_besides_reaches_the_picture(client: Client) -> None:
    made = [client.picture(face_graph("plusv2", clip=True))]
    for where, extra in (
        ("apply", {"face_structure": 0.3}),
        ("apply", {"face_lora_strength": 0.0}),
        ("adapter", {"face_version": "v1"}),
    ):
        prompt = face_graph("plusv2", clip=True)
        prompt[where]["inputs"] |= extra
        made.append(client.picture(prompt))
    assert len(set(made)) == 4


def test_removing_takes_the_lora_off_too(client: Client) -> None:
    removed = face_graph() | sampling(["remove", 0])
    removed["remove"] = node("IPARemove", model=["apply", 0])
    assert client.picture(removed) == client.picture(plain())


def test_nobody_passes_the_model_through(client: Client) -> None:
    passed = face_graph(photo="nobody.png", on_no_face="pass")
    assert client.picture(passed) == client.picture(plain())
    batch = face_graph(on_no_face="skip")
    batch["more"] = node("LoadImage", image="nobody.png")
    batch["both"] = node("ImageBatch", image1=["more", 0], image2=["photo", 0])
    batch["face"]["inputs"]["image"] = ["both", 0]
    assert client.picture(batch) == client.picture(face_graph())


def broken_pack(name: str) -> Prompt:
    prompt = face_graph()
    prompt["models"]["inputs"]["pack"] = name
    return prompt


def picture_for_a_face_adapter() -> Prompt:
    return changed(adapter={"adapter_file": "ip-adapter-faceid_sd15.bin"})


def face_of_something_else() -> Prompt:
    prompt = face_graph()
    prompt["face"]["inputs"]["face_models"] = ["photo", 0]
    return prompt


WRONG: dict[str, tuple[Prompt, list[str]]] = {
    "nobody": (face_graph(photo="nobody.png"), ["NoFace", "image 1 of 1", "640 x 640", "128"]),
    "nobody to skip": (
        face_graph(photo="nobody.png", on_no_face="skip"),
        ["NoFace", "image 1", "on_no_face to pass"],
    ),
    "no such face": (
        face_graph(photo="two.png", face="left to right", face_index=5),
        ["NoSuchFace", "image 1 of 1 shows 2 faces", "face_index is 5", "1 is the last"],
    ),
    "no recogniser": (broken_pack("half"), ["MissingModel", "recogniser", "half"]),
    "cut": (broken_pack("cut"), ["BrokenFile", "det_10g.onnx", "non-commercial"]),
    "no face": (picture_for_a_face_adapter(), ["WrongEncoder", "needs a face", "Encode Face"]),
    "no encoder": (face_graph("plusv2"), ["WrongEncoder", "clip_vision", "ViT-H"]),
    "a face for a picture adapter": (
        changed(apply={"embeds": ["face", 0]}, photo={"image": "one.png"})
        | {k: v for k, v in face_graph().items() if k in ("models", "face")},
        ["WrongEncoder", "clip_vision"],
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_in_one_sentence_and_the_queue_goes_on(
    client: Client, case: str
) -> None:
    prompt, words = WRONG[case]
    message = live.said_of(client, prompt)
    for word in words:
        assert word in message
    assert "Traceback" not in message and "\n" not in message
    assert client.picture(face_graph())


def test_a_socket_of_another_kind_is_refused_before_the_run(client: Client) -> None:
    status, answer = client.post("/prompt", {"prompt": face_of_something_else()})
    assert status == 400 and "mismatch" in str(answer["node_errors"])
