"""The client for services: encode once, queue many, against a real server behind a bad line."""

from __future__ import annotations

import copy
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
from collections import deque
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import transformers
from conftest import ROOT
from kit.server import live
from kit.server.live import Client
from kit.server.live_graph import RANDOM, node, sampling
from kit.server.tiny_nodes.adapter import write_tiny_adapter
from pack.demo.comfy_server import free_port
from PIL import Image

SCRIPT = ROOT / "example_workflows" / "queue_prompts.py"
FIRST_PICTURE = "IP-Adapter 01 First picture.json"
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


class Line:
    """A proxy that does to requests what networks do.

    Attributes:
        faults: what happens to the next requests whose line begins with a text, one each.
        seen: method and path of each request.
        forwarded: prompts that have reached the server.
    """

    def __init__(self, server: str) -> None:
        self.server = urllib.parse.urlsplit(server).netloc
        self.faults: deque[tuple[str, str]] = deque()
        self.seen: list[str] = []
        self.forwarded = 0
        self.lock = threading.Lock()
        line = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                line.handle(self)

            do_POST = do_GET

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def handle(self, request: Any) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        what = f"{request.command} {request.path}"
        with self.lock:
            self.seen.append(what)
            fits = bool(self.faults) and what.startswith(self.faults[0][0])
            fault = self.faults.popleft()[1] if fits else ""
        if fault.isdigit():
            request.send_error(int(fault))
        elif fault == "swallow":
            self.answer(request, 200, b"{}")
        elif fault != "cut":
            status, answer = self.forward(request, body)
            if fault != "lose the answer":
                self.answer(request, status, answer)

    def forward(self, request: Any, body: bytes) -> tuple[int, bytes]:
        server = http.client.HTTPConnection(self.server, timeout=60)
        kind = {"Content-Type": request.headers.get("Content-Type") or "text/plain"}
        server.request(request.command, request.path, body, kind)
        reply = server.getresponse()
        with self.lock:
            self.forwarded += reply.status == 200 and request.path == "/prompt"
        return reply.status, reply.read()

    def answer(self, request: Any, status: int, body: bytes) -> None:
        request.send_response(status)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)


@pytest.fixture
def line(client: Client) -> Iterator[Line]:
    line = Line(client.address)
    yield line
    line.http.shutdown()
    line.http.server_close()


def command(server: str, *options: Any) -> list[str]:
    return [sys.executable, str(SCRIPT), "--server", server, *map(str, options)]


def run(server: str, *options: Any) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        command(server, *options), capture_output=True, text=True, timeout=300, env=environment
    )


def write_workflow(folder: Path, steps: Any = "{steps}") -> Path:
    """The client's own graph on the demo's random checkpoint."""
    graph = {
        "checkpoint": node("IPADemoCheckpoint", ckpt_name=RANDOM),
        "adapter": node("IPALoadAdapter", adapter_file="{adapter}"),
        "embeds": node("IPALoadEmbeds", embeds_file="{embeds}"),
        "apply": node(
            "IPAApply",
            model=["checkpoint", 0],
            adapter=["adapter", 0],
            embeds=["embeds", 0],
            scale="{scale}",
            start_percent=0.0,
            end_percent=1.0,
        ),
        **copy.deepcopy(sampling(["apply", 0])),
    }
    graph["positive"]["inputs"]["text"] = "{prompt}, much detail"
    graph["latent"]["inputs"] |= {"width": "{width}", "height": "{height}"}
    graph["sampler"]["inputs"] |= {"seed": "{seed}", "steps": steps}
    return write_graph(folder, graph)


def write_tensors(folder: Path) -> Path:
    """A graph that is quick: the prompt says the shape of a grey picture."""
    graph = {
        "grey": node("IPATestTensor", shape="{prompt}", value=0.5),
        "save": node("SaveImage", images=["grey", 0], filename_prefix="{embeds}_{seed}"),
    }
    return write_graph(folder, graph)


def write_graph(folder: Path, graph: dict[str, Any]) -> Path:
    path = folder / "graph.json"
    path.write_text(json.dumps(graph), encoding="utf-8")
    return path


def write_prompts(folder: Path, *prompts: str) -> Path:
    path = folder / "prompts.txt"
    path.write_text("\n\n".join(prompts) + "\n", encoding="utf-8")
    return path


def test_a_picture_is_encoded_once_for_many_prompts_on_a_bad_line(
    client: Client, line: Line, tmp_path: Path
) -> None:
    post, queue = "POST /prompt", "GET /queue"
    line.faults += [("POST /upload", "503"), (post, "lose the answer"), (post, "cut")]
    line.faults += [(post, "502"), (queue, "cut"), (queue, "500"), ("GET /view", "cut")]
    before = set(client.get("/history"))
    done = run(
        line.address,
        *("--image", PHOTO, "--encoder", "tiny-clip", "--adapter", "tiny.safetensors"),
        *("--workflow", write_workflow(tmp_path), "--count", 4, "--steps", 1, "--size", "64x72"),
        *("--seed", 40, "--in-flight", 3, "--name", "cats/tom", "--output", tmp_path / "out"),
    )
    assert done.returncode == 0, done.stderr
    assert not line.faults, "not every fault has come up"
    names = done.stdout.splitlines()
    assert [Path(name).name[:5] for name in names] == [f"{n:04d}_" for n in range(1, 5)]
    pixels = set()
    for name in names:
        with Image.open(name) as image:
            assert image.size == (64, 72)
            pixels.add(image.tobytes())
    assert len(pixels) == 4
    assert "4/4 done, 0 failed" in done.stderr and "trying again in" in done.stderr
    entries = [entry for key, entry in client.get("/history").items() if key not in before]
    graphs = [entry["prompt"][2] for entry in entries]
    classes = [one["class_type"] for graph in graphs for one in graph.values()]
    assert classes.count("IPAEncodeImage") == classes.count("IPALoadEncoder") == 1
    assert classes.count("KSampler") == 4
    assert (client.base / "server.log").read_text().count("Requested to load Tower") == 1
    pictures = [graph for graph in graphs if "sampler" in graph]
    assert sorted(graph["sampler"]["inputs"]["seed"] for graph in pictures) == [*range(40, 44)]
    assert all(type(graph["apply"]["inputs"]["scale"]) is float for graph in pictures)
    assert {graph["embeds"]["inputs"]["embeds_file"] for graph in pictures} == {
        entries[0]["outputs"]["save"]["ipadapter_embeds"][0]
    }
    # An encoding and four pictures, although one answer to each kind was lost.
    assert line.forwarded == 5


def test_several_pictures_are_heard_together_and_used_again(client: Client, tmp_path: Path) -> None:
    other = tmp_path / "schönes Bild.png"
    Image.new("RGB", (50, 30), "red").save(other)
    options = ("--adapter", "tiny.safetensors", "--workflow", write_workflow(tmp_path))
    options += ("--count", 1, "--steps", 1, "--size", "64x64")
    images = ("--image", PHOTO, other, "--encoder", "tiny-clip", "--name", "both")
    done = run(client.address, *images, *options)
    assert done.returncode == 0, done.stderr
    found = re.search(r"the embeds are (\S+)", done.stderr)
    assert found is not None and "both" in found[1]
    with_both = client.base / "output" / done.stdout.strip()
    again = run(client.address, "--embeds", found[1], *options)
    assert again.returncode == 0, again.stderr
    with_saved = client.base / "output" / again.stdout.strip()
    same = run(client.address, *images, *options)
    assert f"the embeds are {found[1]}\n" in same.stderr, "kept twice"
    one = run(client.address, "--image", PHOTO, "--encoder", "tiny-clip", *options)
    with_one = client.base / "output" / one.stdout.strip()
    first, second, third = (
        Image.open(path).tobytes() for path in (with_both, with_saved, with_one)
    )
    assert first == second != third


def test_what_fails_is_said_and_the_others_go_on(client: Client, tmp_path: Path) -> None:
    prompts = write_prompts(tmp_path, "1x8x8x3", "nonsense", "1x9x9x3")
    workflow = write_tensors(tmp_path)
    done = run(client.address, "--embeds", "a", "--workflow", workflow, "--prompts", prompts)
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 2
    assert "prompt 2 (nonsense): IPATestTensor: invalid literal for int()" in done.stderr
    assert done.stderr.splitlines()[-1] == "2/3 done, 1 failed"


def test_no_copy_takes_the_place_of_another_file(client: Client, tmp_path: Path) -> None:
    graph: dict[str, Any] = {}
    for value, folder in ((0.0, "a"), (1.0, "b")):  # one/x and o_e/x are one name on a disk
        graph[f"grey {folder}"] = node("IPATestTensor", shape="{prompt}", value=value)
        saving = {
            "images": [f"grey {folder}", 0],
            "filename_prefix": f"{folder}{{embeds}}/x{{seed}}",
        }
        graph[f"o{'/' if value else '_'}e"] = node("SaveImage", **saving)
    out, prompts = tmp_path / "out", write_prompts(tmp_path, "1x8x8x3", "2x9x9x3")
    options = ("--embeds", "two", "--workflow", write_graph(tmp_path, graph), "--output", out)
    first = run(client.address, *options, "--prompts", prompts)
    assert first.returncode == 0, first.stderr
    names = [Path(name) for name in first.stdout.splitlines()]
    assert len(set(names)) == 6 and set(names) == set(out.iterdir())
    before = {name: name.read_bytes() for name in names}
    looks = [Image.open(name) for name in names]
    assert sorted((look.width, look.getpixel((0, 0))) for look in looks) == sorted(
        (width, (level,) * 3) for width in (8, 9, 9) for level in (0, 255)
    )
    again = run(client.address, *options, "--prompts", prompts)
    assert again.returncode == 0, again.stderr
    assert len({*first.stdout.splitlines(), *again.stdout.splitlines()}) == 12
    assert {name: name.read_bytes() for name in names} == before


def test_the_longest_name_a_server_can_give_is_kept(client: Client, tmp_path: Path) -> None:
    graph = {
        "grey": node("IPATestTensor", shape="{prompt}", value=0.5),
        "save": node("SaveImage", images=["grey", 0], filename_prefix="猫" * 80 + "{embeds}{seed}"),
    }
    options = ("--embeds", "a", "--workflow", write_graph(tmp_path, graph), "--output", tmp_path)
    done = run(client.address, *options, "--prompts", write_prompts(tmp_path, "1x8x8x3", "1x9x9x3"))
    assert done.returncode == 0, done.stderr
    assert len({Path(name).read_bytes() for name in done.stdout.splitlines()}) == 2


def test_a_prompt_that_saves_nothing_has_failed(client: Client, tmp_path: Path) -> None:
    graph = {
        "grey": node("IPATestTensor", shape="{prompt}", value=0.5),
        "look": node("PreviewImage", images=["grey", 0]),
        "unused": node("EmptyLatentImage", width=64, height="{seed}", batch_size="{embeds}"),
    }
    options = ("--embeds", "a", "--workflow", write_graph(tmp_path, graph))
    done = run(client.address, *options, "--prompts", write_prompts(tmp_path, "1x8x8x3", "1x9x9x3"))
    assert done.returncode == 1
    assert done.stdout == ""
    assert "prompt 2 (1x9x9x3): ran and saved no picture; a SaveImage node is needed" in done.stderr
    assert done.stderr.splitlines()[-1] == "0/2 done, 2 failed"


def test_a_prompt_that_is_refused_is_not_asked_again(line: Line, tmp_path: Path) -> None:
    workflow = write_workflow(tmp_path)
    options = ("--adapter", "none.safetensors", "--embeds", "none", "--count", 2, "--in-flight", 1)
    done = run(line.address, "--workflow", workflow, *options)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("IPALoadAdapter: ") == 2 and "none.safetensors" in done.stderr
    assert line.seen.count("POST /prompt") == 2
    lacking = write_graph(tmp_path, {"a": node("NoSuchNode", a="{prompt} {embeds}")})
    done = run(line.address, "--workflow", lacking, "--embeds", "none", "--count", 1)
    assert done.returncode == 1 and "NoSuchNode" in done.stderr


def test_the_graph_of_the_script_is_one_the_server_takes(client: Client, tmp_path: Path) -> None:
    (client.base / "models" / "ipadapter_embeds").mkdir(parents=True, exist_ok=True)
    options = ("--embeds", "none.safetensors", "--adapter", "tiny.safetensors", "--count", 1)
    done = run(client.address, *options, "--checkpoint", "none.safetensors")
    faults = re.findall(r"(\w+): ", done.stderr.partition("): ")[2])
    assert "CheckpointLoaderSimple" in faults
    assert not {"IPALoadAdapter", "IPAApply", "KSampler", "SaveImage"} & set(faults), done.stderr


def test_a_server_that_forgets_is_told_again(client: Client, line: Line, tmp_path: Path) -> None:
    prompts = write_prompts(tmp_path, "1x8x8x3", "1x9x9x3")
    options = ("--embeds", "a", "--workflow", write_tensors(tmp_path), "--prompts", prompts)
    line.faults += [("POST /prompt", "swallow"), ("GET /queue", "503")]
    done = run(line.address, *options)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == line.forwarded == 2
    # Without an outage somebody has removed it, who would not like to see it back.
    line.faults += [("POST /prompt", "swallow")]
    done = run(line.address, *options)
    assert done.returncode == 1
    assert "prompt 1 (1x8x8x3): was taken out of the queue by somebody else" in done.stderr


def test_ctrl_c_leaves_nothing_in_the_queue(client: Client, tmp_path: Path) -> None:
    workflow = write_workflow(tmp_path, steps=60)
    options = ("--adapter", "tiny.safetensors", "--count", 20, "--workflow", workflow)
    images = ("--image", PHOTO, "--encoder", "tiny-clip", "--in-flight", 5)
    process = subprocess.Popen(
        command(client.address, *images, *options),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell starts what runs in its background with Ctrl-C switched off.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    end = time.monotonic() + 60
    while len(client.get("/queue")["queue_pending"]) < 4 and time.monotonic() < end:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, words = process.communicate(timeout=60)
    assert process.returncode == 130, words
    assert re.search(r"stopped: \d+/20 done, 0 failed, 1 still running on the server", words), words
    assert client.get("/queue")["queue_pending"] == []
    client.post("/interrupt", {})


def test_a_silent_server_is_waited_for_and_then_given_up(tmp_path: Path) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    options = ("--embeds", "a", "--workflow", write_tensors(tmp_path), "--patience", 2)
    begun = time.monotonic()
    done = run(address, *options)
    assert done.returncode == 1
    assert 1 < time.monotonic() - begun < 15
    assert done.stderr.count("trying again in") >= 2
    assert f"{address} does not answer: " in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "server",
    (
        *("", " ", "http://", "http://[::1", "http://h:port", "http://h:", "http://h:0", "h:65536"),
        *("http://a b", "ftp://x", "http:/h", "http://:8188", "::1:8188", "http://me:secret@h"),
        *("http://h/?a=b", "http://h/#a", "http://h/\u00e9", "http://a..b", "http://" + "a" * 64),
    ),
)
def test_an_address_that_can_never_answer_is_told_at_once(server: str) -> None:
    done = run(server, "--embeds", "a", "--checkpoint", "c", "--adapter", "a", "--patience", 0)
    assert done.returncode == 2
    assert f"--server {server.strip()!r} is no address" in done.stderr
    assert "Traceback" not in done.stderr


def test_addresses_as_people_write_them(line: Line, tmp_path: Path) -> None:
    options = ("--embeds", "a", "--workflow", write_tensors(tmp_path), "--patience", 0)
    options += ("--prompts", write_prompts(tmp_path, "1x8x8x3"))
    port = line.address.rpartition(":")[2]
    for server in (f" {line.address}/ ", f"HTTP://localhost:{port}", f"127.0.0.1:{port}"):
        done = run(server, *options)
        assert done.returncode == 0, done.stderr
    assert line.forwarded == 3
    for server in ("[::1]:1", "http://[::1]:1/comfy", "b\u00fccher.invalid", "my_host.invalid:80"):
        done = run(server, *options)
        assert done.returncode == 1 and " does not answer: " in done.stderr, done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("answer", ("{}", "[]", "null", '{"name": "x"}', '{"name": 3}', "3", "<a>"))
@pytest.mark.parametrize("options", (("--embeds", "a"), ("--image", PHOTO, "--encoder", "e")))
def test_another_server_at_that_address_is_told(
    answer: str, options: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = Line("http://nowhere.invalid")
    monkeypatch.setattr(other, "forward", lambda *_: (200, answer.encode()))
    done = run(other.address, "--workflow", write_tensors(tmp_path), "--count", 1, *options)
    other.http.shutdown()
    other.http.server_close()
    assert done.returncode == 1
    assert "does not answer as a ComfyUI server" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_refusal_that_breaks_off_is_a_refusal(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = Line("http://nowhere.invalid")
    monkeypatch.setattr(other, "answer", lambda request, *_: break_off(request))
    monkeypatch.setattr(other, "forward", lambda *_: (400, b""))
    options = ("--embeds", "a", "--workflow", write_tensors(tmp_path), "--count", 1)
    done = run(other.address, *options)
    other.http.shutdown()
    other.http.server_close()
    assert done.returncode == 1
    assert "the server answers 400 Bad Request" in done.stderr and "Traceback" not in done.stderr


def break_off(request: Any) -> None:
    request.send_response(400)
    request.send_header("Content-Length", "100")
    request.end_headers()
    request.wfile.write(b'{"error"')


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "--image and --encoder are needed, or --embeds"),
        (["--image", "a.png"], "--image and --encoder are needed"),
        (["--embeds", "a"], "--checkpoint is needed"),
        (["--embeds", "a", "--checkpoint", "c"], "--adapter is needed"),
        (["--embeds", "a", "--size", "big"], "--size is width x height"),
        (["--embeds", "a", "--count", "0"], "at least 1"),
        (["--embeds", "a", "--prompts", "missing.txt"], "missing.txt"),
        (["--embeds", "a", "--prompts", os.devnull], "holds no prompt"),
        (["--embeds", "a", "--workflow", str(SCRIPT)], "Expecting value"),
        (
            ["--embeds", "a", "--workflow", str(SCRIPT.with_name(FIRST_PICTURE))],
            "is no graph in API format",
        ),
    ],
)
def test_options_that_do_not_fit_are_told_before_anything_is_sent(
    options: list[str], words: str
) -> None:
    done = run("127.0.0.1:9", *options)
    assert done.returncode == 2
    assert words in done.stderr and "Traceback" not in done.stderr


def test_a_picture_that_is_not_there_ends_the_run(client: Client, tmp_path: Path) -> None:
    workflow = write_workflow(tmp_path)
    options = ("--adapter", "tiny.safetensors", "--encoder", "tiny-clip", "--workflow", workflow)
    done = run(client.address, "--image", tmp_path / "none.png", *options)
    assert done.returncode == 1 and "none.png" in done.stderr
    assert "Traceback" not in done.stderr
    done = run(client.address, "--image", SCRIPT, *options)
    assert done.returncode == 1 and "LoadImage" in done.stderr


def test_prompts_that_come_out_identical_are_told_before_anything_is_sent(tmp_path: Path) -> None:
    graph = {"a": node("SaveImage", filename_prefix="{prompt} {embeds}")}
    options = ("--embeds", "a", "--workflow", write_graph(tmp_path, graph), "--patience", 0)
    prompts = ("--prompts", write_prompts(tmp_path, "one", "two", "three"))
    done = run("127.0.0.1:9", *options, *prompts, "--count", 5)
    assert done.returncode == 2
    assert "prompts 1 and 4 come out identical" in done.stderr and '"{seed}"' in done.stderr
    done = run("127.0.0.1:9", *options, *prompts)
    assert done.returncode == 1 and "http://127.0.0.1:9 does not answer" in done.stderr


def test_embeds_are_named_after_a_picture_with_any_name(client: Client, tmp_path: Path) -> None:
    names = {".hid.jpg": "hid", "my pic: a..jpg": "my_pic_a", "....png": "reference"}
    names |= {
        "CON.jpg": "CON_",
        "lpt\u00b9.jpg": "lpt\u00b9_",
        "\u732b" * 80 + ".jpg": "\u732b" * 50,
    }
    options = ("--encoder", "tiny-clip", "--workflow", write_tensors(tmp_path))
    options += ("--prompts", write_prompts(tmp_path, "1x8x8x3"))
    for number, (name, saved) in enumerate(names.items()):
        Image.new("RGB", (30, 30), (number, 0, 0)).save(tmp_path / name, "PNG")
        done = run(client.address, "--image", tmp_path / name, *options)
        assert done.returncode == 0, done.stderr
        assert re.search(rf"the embeds are {saved}(_\d{{5}})?\.safetensors\n", done.stderr)
