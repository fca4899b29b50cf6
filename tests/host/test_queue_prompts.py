"""The page for services: encode once, queue many, against a real server."""

from __future__ import annotations

import copy
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import transformers
from aiohttp.test_utils import unused_port
from conftest import ROOT
from kit.server import live
from kit.server.live import Client
from kit.server.live_graph import RANDOM, node, sampling
from kit.server.tiny_nodes.adapter import write_tiny_adapter
from PIL import Image

SCRIPT = ROOT / "example_workflows" / "queue_prompts.py"
PHOTO = ROOT / "demo" / "reference.jpg"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    base = tmp_path_factory.mktemp("service")
    models = base / "shared models"
    (models / "ipadapter").mkdir(parents=True)
    write_tiny_adapter(models / "ipadapter" / "tiny.safetensors")
    # The widths of a ViT-H.
    config = transformers.CLIPVisionConfig(
        hidden_size=1280,
        projection_dim=1024,
        intermediate_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=28,
        patch_size=14,
    )
    encoder = transformers.CLIPVisionModelWithProjection(config)
    encoder.save_pretrained(models / "clip_vision" / "tiny-clip")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")  # faster for tiny models on a busy machine
        with live.running(base, models) as running:
            yield running


def command(server: str, folder: Path, *options: Any) -> list[str]:
    """The page with prompts.txt and graph.json of a folder; the pictures go to its `out`."""
    files = ("--prompts", folder / "prompts.txt", "--workflow", folder / "graph.json")
    given = ("--server", server, *files, "--output", folder / "out", *options)
    return [sys.executable, str(SCRIPT), *map(str, given)]


def run(server: str, folder: Path, *options: Any) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        command(server, folder, *options),
        capture_output=True,
        text=True,
        timeout=300,
        env=environment,
    )


def write_workflow(folder: Path, steps: int = 1, height: int = 64) -> None:
    """The page's own graph on the demo's random checkpoint."""
    graph = {
        "checkpoint": node("IPADemoCheckpoint", ckpt_name=RANDOM),
        "adapter": node("IPALoadAdapter", adapter_file="{adapter}"),
        "embeds": node("IPALoadEmbeds", embeds_file="{embeds}"),
        "apply": node(
            "IPAApply",
            model=["checkpoint", 0],
            adapter=["adapter", 0],
            embeds=["embeds", 0],
            scale=0.8,
            start_percent=0.0,
            end_percent=1.0,
        ),
        **copy.deepcopy(sampling(["apply", 0])),
    }
    graph["positive"]["inputs"]["text"] = "{prompt}, much detail"
    graph["latent"]["inputs"] |= {"width": 64, "height": height}
    graph["sampler"]["inputs"] |= {"seed": "{seed}", "steps": steps}
    write_graph(folder, graph)


def write_tensors(folder: Path) -> None:
    """A graph that is quick: the prompt says the shape of a grey picture."""
    graph = {
        "grey": node("IPATestTensor", shape="{prompt}", value=0.5),
        "save": node("SaveImage", images=["grey", 0], filename_prefix="{embeds}_{seed}"),
    }
    write_graph(folder, graph)


def write_graph(folder: Path, graph: dict[str, Any]) -> None:
    (folder / "graph.json").write_text(json.dumps(graph), encoding="utf-8")


def write_prompts(folder: Path, *prompts: str) -> None:
    (folder / "prompts.txt").write_text("\n\n".join(prompts) + "\n", encoding="utf-8")


IMAGE = ("--image", PHOTO, "--encoder", "tiny-clip", "--adapter", "tiny.safetensors")


def test_a_picture_is_encoded_once_for_many_prompts(client: Client, tmp_path: Path) -> None:
    write_workflow(tmp_path, height=72)
    write_prompts(tmp_path, 'a "quoted" {seed}', *"bcdef")
    before = set(client.get("/history"))
    done = run(client.address, tmp_path, *IMAGE, "--seed", 40)
    assert done.returncode == 0, done.stderr
    names = done.stdout.splitlines()
    assert {Path(name).name[:5] for name in names} == {f"{n:04d}_" for n in range(1, 7)}
    pixels = set()
    for name in names:
        with Image.open(name) as image:
            assert image.size == (64, 72)
            pixels.add(image.tobytes())
    assert len(pixels) == 6
    assert done.stderr.splitlines()[-1] == "6/6 done, 0 failed"
    entries = [entry for key, entry in client.get("/history").items() if key not in before]
    graphs = [entry["prompt"][2] for entry in entries]
    classes = [one["class_type"] for graph in graphs for one in graph.values()]
    assert classes.count("IPAEncodeImage") == classes.count("IPALoadEncoder") == 1
    assert classes.count("KSampler") == 6
    assert (client.base / "server.log").read_text().count("Requested to load Tower") == 1
    pictures = [graph for graph in graphs if "sampler" in graph]
    assert sorted(graph["sampler"]["inputs"]["seed"] for graph in pictures) == [*range(40, 46)]
    texts = {graph["positive"]["inputs"]["text"] for graph in pictures}
    assert texts == {f"{text}, much detail" for text in ('a "quoted" {seed}', *"bcdef")}
    assert {graph["embeds"]["inputs"]["embeds_file"] for graph in pictures} == {
        entries[0]["outputs"]["save"]["ipadapter_embeds"][0]
    }
    # An encoding and six pictures, none of them queued twice.
    assert len(entries) == 7


def test_what_is_encoded_is_used_again(client: Client, tmp_path: Path) -> None:
    other = tmp_path / "schönes Bild.png"
    Image.new("RGB", (50, 30), "red").save(other)
    write_workflow(tmp_path)
    write_prompts(tmp_path, "a prompt")
    options = (*IMAGE[2:], "--image", other)
    done = run(client.address, tmp_path, *options)
    assert done.returncode == 0, done.stderr
    found = re.search(r"the embeds are (\S+)", done.stderr)
    assert found is not None and "schönes_Bild" in found[1]
    again = run(client.address, tmp_path, "--embeds", found[1], "--adapter", "tiny.safetensors")
    assert again.returncode == 0, again.stderr
    same = run(client.address, tmp_path, *options)
    assert f"the embeds are {found[1]}\n" in same.stderr, "kept twice"
    one = run(client.address, tmp_path, *IMAGE)
    first, second, third = (
        Image.open(ended.stdout.strip()).tobytes() for ended in (done, again, one)
    )
    assert first == second != third


def test_what_fails_is_said_and_the_others_go_on(client: Client, tmp_path: Path) -> None:
    write_prompts(tmp_path, "1x8x8x3", "nonsense", "1x9x9x3")
    write_tensors(tmp_path)
    done = run(client.address, tmp_path, "--embeds", "a")
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 2
    assert "prompt 2 (nonsense): IPATestTensor: ValueError: invalid literal for int" in done.stderr
    assert done.stderr.splitlines()[-1] == "2/3 done, 1 failed"


def test_an_error_of_the_run_has_its_name_that_stays(client: Client, tmp_path: Path) -> None:
    write_workflow(tmp_path)
    write_prompts(tmp_path, "a prompt")
    graph = json.loads((tmp_path / "graph.json").read_text())
    graph["apply"]["inputs"]["attn_mask"] = ["mask", 1]
    graph["mask"] = node("IPATestTensor", shape="1x8x8", value=255.0)
    write_graph(tmp_path, graph)
    done = run(client.address, tmp_path, *IMAGE)
    assert done.returncode == 1 and done.stdout == ""
    assert "prompt 1 (a prompt): IPAApply: ipadapter.BadInput: " in done.stderr, done.stderr


def test_no_copy_takes_the_place_of_another_file(client: Client, tmp_path: Path) -> None:
    graph: dict[str, Any] = {}
    for value, folder in ((0.0, "a"), (1.0, "b")):  # one/x and o_e/x are one name on a disk
        graph[f"grey {folder}"] = node("IPATestTensor", shape="{prompt}", value=value)
        saving = {
            "images": [f"grey {folder}", 0],
            "filename_prefix": f"{folder}{{embeds}}/x{{seed}}",
        }
        graph[f"o{'/' if value else '_'}e"] = node("SaveImage", **saving)
    write_graph(tmp_path, graph)
    write_prompts(tmp_path, "1x8x8x3", "2x9x9x3")
    first = run(client.address, tmp_path, "--embeds", "two")
    assert first.returncode == 0, first.stderr
    names = [Path(name) for name in first.stdout.splitlines()]
    assert len(set(names)) == 6 and set(names) == set((tmp_path / "out").iterdir())
    before = {name: name.read_bytes() for name in names}
    looks = [Image.open(name) for name in names]
    assert sorted((look.width, look.getpixel((0, 0))) for look in looks) == sorted(
        (width, (level,) * 3) for width in (8, 9, 9) for level in (0, 255)
    )
    again = run(client.address, tmp_path, "--embeds", "two")
    assert again.returncode == 0, again.stderr
    assert len({*first.stdout.splitlines(), *again.stdout.splitlines()}) == 12
    assert {name: name.read_bytes() for name in names} == before


def test_the_longest_name_a_server_can_give_is_kept(client: Client, tmp_path: Path) -> None:
    graph = {
        "grey": node("IPATestTensor", shape="{prompt}", value=0.5),
        "save": node("SaveImage", images=["grey", 0], filename_prefix="猫" * 80 + "{embeds}{seed}"),
    }
    write_graph(tmp_path, graph)
    write_prompts(tmp_path, "1x8x8x3", "1x9x9x3")
    done = run(client.address, tmp_path, "--embeds", "a")
    assert done.returncode == 0, done.stderr
    assert len({Path(name).read_bytes() for name in done.stdout.splitlines()}) == 2


def test_a_prompt_that_saves_nothing_has_failed(client: Client, tmp_path: Path) -> None:
    graph = {
        "grey": node("IPATestTensor", shape="{prompt}", value=0.5),
        "look": node("PreviewImage", images=["grey", 0]),
        "unused": node("EmptyLatentImage", width=64, height="{seed}", batch_size="{embeds}"),
    }
    write_graph(tmp_path, graph)
    write_prompts(tmp_path, "1x8x8x3", "1x9x9x3")
    done = run(client.address, tmp_path, "--embeds", "a")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "prompt 2 (1x9x9x3): ran and saved no picture; a SaveImage node is needed" in done.stderr
    assert done.stderr.splitlines()[-1] == "0/2 done, 2 failed"


def test_a_prompt_that_is_refused_says_what_and_why(client: Client, tmp_path: Path) -> None:
    write_workflow(tmp_path)
    write_prompts(tmp_path, "one", "two")
    before = set(client.get("/history"))
    done = run(client.address, tmp_path, "--adapter", "none.safetensors", "--embeds", "none")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("IPALoadAdapter: ") == 2 and "none.safetensors" in done.stderr
    assert "ipadapter.MissingModel" in done.stderr
    write_graph(tmp_path, {"a": node("NoSuchNode", a="{prompt} {embeds}")})
    done = run(client.address, tmp_path, "--embeds", "none")
    assert done.returncode == 1 and "NoSuchNode" in done.stderr
    assert set(client.get("/history")) == before


def test_the_graph_of_the_page_is_one_the_server_takes(client: Client, tmp_path: Path) -> None:
    (client.base / "models" / "ipadapter_embeds").mkdir(parents=True, exist_ok=True)
    write_prompts(tmp_path, "one")
    options = ("--embeds", "none.safetensors", "--adapter", "tiny.safetensors")
    options += ("--workflow", SCRIPT.parent / "api" / "picture.json")
    done = run(client.address, tmp_path, *options, "--checkpoint", "none.safetensors")
    faults = re.findall(r"(\w+): ", done.stderr.partition("): ")[2])
    assert "CheckpointLoaderSimple" in faults
    assert not {"IPALoadAdapter", "IPAApply", "KSampler", "SaveImage"} & set(faults), done.stderr


def begun(client: Client, folder: Path, *options: Any) -> subprocess.Popen[str]:
    """The page at work, with a prompt that runs and others that wait."""
    process = subprocess.Popen(
        command(client.address, folder, *options),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell starts what runs in its background with Ctrl-C switched off.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    end = time.monotonic() + 60
    while len(client.get("/queue")["queue_pending"]) < 3 and time.monotonic() < end:
        time.sleep(0.1)
    return process


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_nothing_in_the_queue(
    stop: signal.Signals, client: Client, tmp_path: Path
) -> None:
    write_workflow(tmp_path, steps=60)
    write_prompts(tmp_path, *map(str, range(20)))
    process = begun(client, tmp_path, *IMAGE)
    process.send_signal(stop)
    _, words = process.communicate(timeout=60)
    assert process.returncode == 130, words
    assert re.search(r"\d+/20 done, 0 failed\n", words) and "Traceback" not in words, words
    assert client.get("/queue")["queue_pending"] == []
    client.post("/interrupt", {})


def test_what_somebody_else_takes_out_of_the_queue_is_not_waited_for(
    client: Client, tmp_path: Path
) -> None:
    write_workflow(tmp_path, steps=60)
    write_prompts(tmp_path, *"abcd")
    process = begun(client, tmp_path, *IMAGE)
    client.post("/queue", {"clear": True})
    client.post("/interrupt", {})
    _, words = process.communicate(timeout=60)
    assert process.returncode == 1
    assert words.count("interrupted on the server") == 1
    assert words.count("is neither in the server's queue nor in its history") == 3


def test_a_server_that_is_not_there_is_told(tmp_path: Path) -> None:
    address = f"http://127.0.0.1:{unused_port()}"
    write_tensors(tmp_path)
    write_prompts(tmp_path, "one", "two")
    done = run(address, tmp_path, "--embeds", "a")
    assert done.returncode == 1
    assert f"port={address[17:]}" in done.stderr and "refused" in done.stderr
    assert done.stderr.splitlines()[-1] == "0/2 done, 0 failed" and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "--image and --encoder are needed, or --embeds"),
        (["--image", "a.png"], "--image and --encoder are needed"),
        (["--embeds", "a", "--prompts", "missing.txt"], "missing.txt"),
        (["--embeds", "a", "--workflow", str(SCRIPT)], "Expecting value"),
    ],
)
def test_options_that_do_not_fit_are_told_before_anything_is_sent(
    options: list[str], words: str, tmp_path: Path
) -> None:
    write_tensors(tmp_path)
    write_prompts(tmp_path, "one")
    done = run("127.0.0.1:9", tmp_path, *options)
    assert done.returncode == 2
    assert words in done.stderr and "Traceback" not in done.stderr


def test_a_picture_that_is_not_there_ends_the_run(client: Client, tmp_path: Path) -> None:
    write_workflow(tmp_path)
    write_prompts(tmp_path, "one")
    done = run(client.address, tmp_path, *IMAGE[2:], "--image", tmp_path / "none.png")
    assert done.returncode == 1 and "none.png" in done.stderr
    assert "Traceback" not in done.stderr
    done = run(client.address, tmp_path, *IMAGE[2:], "--image", SCRIPT)
    assert done.returncode == 1 and "LoadImage" in done.stderr


def test_embeds_are_named_after_a_picture_with_any_name(client: Client, tmp_path: Path) -> None:
    names = {".hid.jpg": "_hid", "my pic: a..jpg": "my_pic_a_", "....png": "_", "CON.jpg": "CON"}
    names |= {"lpt\u00b9.jpg": "lpt\u00b9", "\u732b" * 80 + ".jpg": "\u732b" * 40}
    write_tensors(tmp_path)
    write_prompts(tmp_path, "1x8x8x3")
    for number, (name, saved) in enumerate(names.items()):
        Image.new("RGB", (30, 30), (number, 0, 0)).save(tmp_path / name, "PNG")
        done = run(client.address, tmp_path, *IMAGE[2:], "--image", tmp_path / name)
        assert done.returncode == 0, done.stderr
        listed = rf"the embeds are reference_{saved}(_\d{{5}})?\.safetensors\n"
        assert re.search(listed, done.stderr), done.stderr
