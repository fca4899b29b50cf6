"""Embeds through the real server: saved, listed at once, loaded without encoder and picture."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from kit.server import live
from kit.server.live import Client, Prompt
from kit.server.live_graph import changed, graph, node, sampling
from pack.ip_models.references import embeds_file
from safetensors.torch import save_file


class Evil:
    def __reduce__(self) -> Any:
        return exec, ("import pathlib; pathlib.Path('was-here').touch()",)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    base, models = live.base_with_adapter(tmp_path_factory)
    with live.running(base, models, "--cache-none") as running:
        yield running


def folder(client: Client) -> Path:
    return client.base / "models" / "ipadapter_embeds"


EXAMPLE = "ipadapter_example.ipadpt"  # comes with the pack


def listed(client: Client, socket: str = "embeds_file") -> list[str]:
    inputs = client.get("/object_info/IPALoadEmbeds")["IPALoadEmbeds"]["input"]
    kind, options = (inputs["required"] | inputs["optional"])[socket]
    return options["options"] if kind == "COMBO" else kind


def encoding(**inputs: Any) -> Prompt:
    """Encode and save, nothing else."""
    prompt = {name: graph()[name] for name in ("encoder", "photo", "encode")}
    return prompt | copying(["encode", 0], **inputs)


def copying(link: Any, **inputs: Any) -> Prompt:
    """Save what a link gives; the adapter is read only where it is connected."""
    settings = {"name": "ref", "file_format": "safetensors", "if_exists": "keep both"}
    saver = node("IPASaveEmbeds", **{"embeds.embeds0": link} | settings | inputs)
    linked = any(value == ["adapter", 0] for value in inputs.values())
    return {"save": saver} | ({"adapter": graph()["adapter"]} if linked else {})


def reading(file: Any, **inputs: Any) -> Prompt:
    """Load and save again, the shortest prompt there is."""
    return {"load": node("IPALoadEmbeds", embeds_file=file)} | copying(["load", 0], **inputs)


def saved(client: Client, prompt: Prompt) -> str:
    entry = client.run(prompt)
    assert entry["status"]["status_str"] == "success", live.failure(entry)
    (name,) = entry["outputs"]["save"]["ipadapter_embeds"]
    assert entry["outputs"]["save"]["text"][0].startswith(f"{name}\n1 reference of ViT-H")
    return name


@pytest.fixture(scope="module")
def ref(client: Client) -> str:
    """A file made of the photo."""
    assert listed(client) == [EXAMPLE]
    file = saved(client, encoding())
    assert file == "ref.safetensors" and listed(client) == [EXAMPLE, file]
    return file


@pytest.fixture(scope="module")
def direct(client: Client) -> bytes:
    """The picture that hears the photo itself."""
    return client.picture(graph())


def loading(name: str, **inputs: Any) -> Prompt:
    """A picture from a file, without encoder and photo."""
    prompt = changed(apply={"embeds": ["load", 0]})
    for gone in ("encoder", "photo", "encode"):
        del prompt[gone]
    return prompt | {"load": node("IPALoadEmbeds", embeds_file=name, **inputs)}


def test_the_folder_is_there_from_the_start(client: Client) -> None:
    assert folder(client).is_dir()
    assert "ipadapter_embeds" in client.get("/models")


def test_a_file_is_listed_at_once_and_gives_the_very_picture(
    client: Client, ref: str, direct: bytes
) -> None:
    file = saved(client, reading(ref, name="people/anna"))
    assert file == "people/anna.safetensors"
    files = [EXAMPLE, file, ref]
    assert listed(client) == files and listed(client, "negative_file") == ["none", *files]
    assert client.picture(loading(ref)) == direct
    assert direct != client.picture(graph() | sampling(["checkpoint", 0]))


def test_a_file_for_diffusers_gives_the_very_picture(
    client: Client, ref: str, direct: bytes
) -> None:
    reader = {"adapters.adapter0": ["adapter", 0]}
    file = saved(client, reading(ref, file_format="ipadpt", **reader))
    (entry,) = torch.load(folder(client) / file, weights_only=True)
    assert entry.shape == (2, 1, 1024) and not entry[0].any()
    assert client.picture(loading(file)) == direct


def test_the_same_graph_again_writes_nothing(client: Client, ref: str) -> None:
    assert [saved(client, encoding()) for _ in range(2)] == [ref] * 2
    assert [saved(client, reading(ref)) for _ in range(3)] == [ref] * 3
    assert len(list(folder(client).glob("ref*.safetensors"))) == 1


def test_the_encoder_of_the_file_may_be_connected(client: Client, ref: str) -> None:
    prompt = reading(ref) | {"encoder": graph()["encoder"]}
    prompt["load"]["inputs"]["clip_vision"] = ["encoder", 0]
    assert saved(client, prompt) == ref


def write_hostile(home: Path) -> dict[str, str]:
    """Files and the words they lead to."""
    (home / "empty.safetensors").write_bytes(b"")
    (home / "page.ipadpt").write_text("<!DOCTYPE html><html>Sign in</html>")
    (home / "header.safetensors").write_bytes(struct.pack("<Q", 2**20 + 9) + b"{" * (2**20 + 9))
    save_file({"image_proj.latents": torch.zeros(2)}, home / "adapter.safetensors")
    description = json.dumps({"version": 2, "parts": [{}], "regions": False})
    save_file({"a": torch.zeros(2)}, home / "newer.safetensors", {embeds_file.KEY: description})
    whole = {"0.pooled": torch.full((1, 1024), float("nan"))}
    shapes = {"pooled": [1, 1024]}
    part = {"sort": "image", "source": "ViT-H", "encoder": "", "references": 1, "shapes": shapes}
    description = json.dumps({"version": 1, "parts": [part], "regions": False})
    save_file(whole, home / "nan.safetensors", {embeds_file.KEY: description})
    torch.save([Evil()], home / "code.ipadpt")
    torch.save([torch.ones(8)], home / "rank.ipadpt")
    torch.save([torch.ones(2, 0, 1024)], home / "zero.ipadpt")
    torch.save([torch.ones(1).expand(2, 1, 2**50)], home / "bomb.ipadpt")
    torch.save({"image_proj": {}}, home / "table.ipadpt")
    torch.save(torch.rand(1, 257, 1280), home / "positive.ipadpt")
    torch.save([torch.rand(2, 1, 257, 1280)], home / "plus.ipadpt")
    return {
        "empty.safetensors": "BrokenFile: empty.safetensors is empty",
        "page.ipadpt": "is a web page",
        "header.safetensors": "is not an embeds file, its header has 1048585 bytes",
        "adapter.safetensors": "is not an embeds file",
        "newer.safetensors": "newer version",
        "nan.safetensors": "not finite",
        "code.ipadpt": "holds code or objects",
        "rank.ipadpt": "shape 8",
        "zero.ipadpt": "holds no images",
        "bomb.ipadpt": "claims that entry 0 is 2 x 1 x 1125899906842624",
        "table.ipadpt": "it holds a table of",
        "positive.ipadpt": "as negative_file, or connect clip_vision",
        "plus.ipadpt": "WrongEncoder: the embeds come from ViT-H with no pooled features",
    }


def refused(client: Client, prompt: Prompt) -> str:
    entry = client.run(prompt)
    assert entry["status"]["status_str"] == "error"
    message = live.failure(entry)
    assert "\n" not in message and "Traceback" not in message
    return message


def test_hostile_files_are_sentences_and_the_server_goes_on(
    client: Client, ref: str, direct: bytes
) -> None:
    cases = write_hostile(folder(client))
    plus = cases.pop("plus.ipadpt")
    assert plus in refused(client, loading("plus.ipadpt"))
    for file, words in cases.items():
        assert words in refused(client, reading(file)), file
        assert saved(client, reading(ref)) == ref
    assert client.picture(loading(ref)) == direct
    assert not list(client.base.rglob("was-here"))


def test_what_is_wrong_with_saving_is_a_sentence_and_writes_nothing(
    client: Client, ref: str
) -> None:
    (folder(client) / "taken.safetensors").write_bytes(b"something else")
    before = sorted(client.base.rglob("*.safetensors"))
    three = {f"adapters.adapter{number}": ["adapter", 0] for number in range(3)}
    two = {"embeds.embeds1": ["load", 0]}
    for inputs, words in (
        ({"name": "../ref"}, 'BadInput: name is "../ref"'),
        ({"name": "/etc/ref"}, 'name is "/etc/ref"'),
        ({"name": "nul"}, "device on Windows"),
        ({"name": ""}, "name is empty"),
        ({"file_format": "ipadpt"}, "two sorts of features"),
        ({"name": "taken", "if_exists": "stop"}, "taken.safetensors exists already"),
        (two, "2 embeds are connected"),
        ({**three, **two, "file_format": "ipadpt"}, "adapter2 is connected"),
        ({"adapters.adapter0": "tiny"}, 'adapter0 is "tiny"'),
    ):
        assert words in refused(client, reading(ref, **inputs)), inputs
    assert sorted(client.base.rglob("*.safetensors")) == before


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"embeds_file": "gone.safetensors"}, "Choose a file from the list"),
        ({"embeds_file": "../../secret.safetensors"}, "is not in"),
        ({"embeds_file": 3}, "embeds_file is"),
        ({"embeds_file": "ref.safetensors", "negative_file": "gone.ipadpt"}, "is not in"),
        ({"embeds_file": "ref.safetensors", "entry": -1}, "smaller than min"),
    ],
)
def test_what_is_wrong_before_the_run_is_refused(
    client: Client, ref: str, inputs: dict[str, Any], words: str
) -> None:
    prompt = reading(ref) | {"load": node("IPALoadEmbeds", **inputs)}
    status, answer = client.post("/prompt", {"prompt": prompt})
    assert status == 400 and words in str(answer["node_errors"])


def test_a_name_that_is_null_is_a_sentence(client: Client) -> None:
    status, answer = client.post("/prompt", {"prompt": reading(None)})
    if status == 200:
        entry = client.wait(answer["prompt_id"])
        assert "BadInput: embeds_file is nothing" in live.failure(entry)
    else:
        assert "embeds_file" in str(answer["node_errors"])


def test_a_deleted_file_is_saved_again_although_the_host_remembers(tmp_path: Path) -> None:
    with live.running(tmp_path, tmp_path / "shared models") as client:
        rows = torch.rand(2, 1, 1024)
        torch.save([rows], folder(client) / "source.ipadpt")
        prompt = reading("source.ipadpt", if_exists="stop")
        for _ in range(3):
            assert saved(client, prompt) == "ref.safetensors"
        (folder(client) / "ref.safetensors").unlink()
        entry = client.run(prompt)
        assert entry["status"]["status_str"] == "success"
        assert (folder(client) / "ref.safetensors").is_file()
        cached = dict(client.run(prompt)["status"]["messages"])["execution_cached"]["nodes"]
        assert cached == ["load"]
