"""What the editor asks, asked by others: under foreign names, too much, from elsewhere."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

import pytest
from kit.models.checkpoints import load_table
from kit.server import live
from kit.server.live import Client
from kit.server.live_graph import graph
from kit.server.tiny_nodes.adapter import write_tiny_adapter
from pack.ip_models import limits
from test_search import PAGE, put_encoder, write_sparse

GETS = (
    "about?file=tiny.safetensors",
    "doctor",
    "check?adapter=a",
    "family?unet=b",
    "old_nodes",
    "faces",
)
POSTS = ("weights", "schedule", "moving")
FORWARDED = {"X-Forwarded-For": "203.0.113.7"}
MANY = 100
FILES = 300  # with fewer, a hundred reports are nothing
QUICK = 0.1  # seconds in which the host answers beside all of ours


class Reply(NamedTuple):
    status: int
    text: str

    @property
    def error(self) -> str:
        """The sentence it was refused with."""
        return json.loads(self.text)["error"]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    base = tmp_path_factory.mktemp("routes")
    models = base / "shared models"
    for folder in ("ipadapter", "clip_vision", "checkpoints"):
        (models / folder).mkdir(parents=True)
    write_tiny_adapter(models / "ipadapter" / "tiny.safetensors")
    for number in range(FILES):
        path = models / "ipadapter" / f"again {number}.safetensors"
        path.hardlink_to(models / "ipadapter" / "tiny.safetensors")
    (models / "ipadapter" / "page.safetensors").write_bytes(PAGE)
    put_encoder(models, "G", "g.safetensors")
    write_sparse(
        models / "checkpoints" / "adapter.safetensors", load_table("ip-adapter_sdxl").tensors
    )
    with live.running(base, models) as running:
        yield running


def send(
    client: Client,
    path: str,
    body: bytes | None = None,
    host: str | None = None,
    headers: dict[str, str] | None = None,
) -> Reply:
    """A GET, or a POST of a body, under any name of the server."""
    place = urlsplit(client.address)
    assert place.hostname is not None
    with closing(http.client.HTTPConnection(place.hostname, place.port, timeout=120)) as line:
        line.putrequest("POST" if body is not None else "GET", path, skip_host=True)
        given = {"Host": host or place.netloc, **(headers or {})}
        if body is not None:
            given = {"Content-Length": str(len(body)), **given}
        for name, value in given.items():
            line.putheader(name, value)
        line.endheaders(body)
        answer = line.getresponse()
        return Reply(answer.status, answer.read().decode())


def port(client: Client) -> int:
    found = urlsplit(client.address).port
    assert found is not None
    return found


@pytest.mark.parametrize("prefix", ["", "/api"])
def test_a_foreign_name_is_refused_by_every_route(client: Client, prefix: str) -> None:
    for path in GETS:
        for host in (f"evil.example:{port(client)}", "evil.example"):
            reply = send(client, f"{prefix}/ipadapter/{path}", host=host)
            assert reply.status == 403, path
            assert f"the request is for {host}" in reply.error
    for path in POSTS:
        reply = send(client, f"{prefix}/ipadapter/{path}", b"{}", host="evil.example")
        assert reply.status == 403, path


@pytest.mark.parametrize(
    "host",
    [
        "evil.example:{port}",
        "localhost.evil.example:{port}",
        "127.0.0.1.evil.example:{port}",
        "evil.example.:{port}",
        "a@evil.example:{port}",
    ],
)
def test_what_a_page_can_add_does_not_make_a_name_known(client: Client, host: str) -> None:
    name = host.format(port=port(client))
    page = {**FORWARDED, "Origin": f"http://{name}", "Referer": f"http://{name}/"}
    assert send(client, "/ipadapter/doctor", host=name, headers=page).status == 403


@pytest.mark.parametrize("host", ["[::1", "localhost:words", "localhost:99999", " ", "%"])
def test_what_is_no_name_is_refused(client: Client, host: str) -> None:
    assert send(client, "/ipadapter/doctor", host=host).status == 403


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:{port}",
        "LocalHost:{port}",
        "comfy.localhost:{port}",
        "localhost.:{port}",
        "127.0.0.1:{port}",
        "127.8.8.8:9",
        "192.168.1.5:{port}",
        "[::1]:{port}",
        socket.gethostname() + ":{port}",
    ],
)
def test_names_of_the_machine_and_addresses_are_answered(client: Client, host: str) -> None:
    name = host.format(port=port(client))
    assert send(client, "/ipadapter/family", host=name).status == 200


@pytest.mark.parametrize(
    ("host", "headers"),
    [
        ("comfy.example.com", FORWARDED),
        ("comfy.example.com:8443", {"Forwarded": "for=203.0.113.7"}),
        ("comfy.example.com", {"X-Real-IP": "203.0.113.7"}),
        ("comfy.example.com", {"Referer": "http://comfy.example.com/"}),
        ("comfy.example.com:{port}", {"Sec-Fetch-Site": "same-origin"}),
    ],
)
def test_a_proxy_on_the_machine_is_answered(
    client: Client, host: str, headers: dict[str, str]
) -> None:
    name = host.format(port=port(client))
    assert send(client, "/ipadapter/family", host=name, headers=headers).status == 200


def test_where_the_host_answers_other_origins_any_name_is_answered(tmp_path: Path) -> None:
    with live.running(tmp_path, tmp_path / "models", "--enable-cors-header") as client:
        assert send(client, "/ipadapter/family", host="evil.example").status == 200


def test_other_machines_are_told_paths_from_the_models_folder_on(client: Client) -> None:
    own = send(client, "/ipadapter/doctor").text
    assert str(client.base) in own
    missing = f"/ipadapter/about?file={quote('../secret')}"
    for path in ("/ipadapter/doctor", missing):
        told = send(client, path, headers=FORWARDED).text
        assert str(client.base) not in told and str(Path.home()) not in told
        assert "models/ipadapter" in told
    told = send(client, "/ipadapter/doctor", headers=FORWARDED).text
    assert "tiny.safetensors: " in told and "is a web page" in told
    assert "checkpoints/adapter.safetensors is an IP-Adapter" in told


def test_a_proxy_that_only_hands_a_name_on_is_no_visitor_from_the_machine(client: Client) -> None:
    browser = {"Sec-Fetch-Site": "same-origin"}
    reply = send(client, "/ipadapter/doctor", host="comfy.example.com", headers=browser)
    assert reply.status == 200 and str(client.base) not in reply.text


def test_too_much_is_refused_before_it_is_read(client: Client) -> None:
    long = send(client, "/ipadapter/about?file=" + "x" * (limits.QUERY - 4))
    assert long.status == 413 and str(limits.QUERY) in long.error
    at_most = json.dumps({"values": "1"}).encode().ljust(limits.QUESTION_BYTES)
    assert send(client, "/ipadapter/schedule", at_most).status == 200
    more = send(client, "/ipadapter/schedule", at_most + b" ")
    assert more.status == 413 and len(more.error) <= limits.MESSAGE
    # What is only announced is not waited for.
    begun = time.monotonic()
    length = {"Content-Length": str(2**40)}
    assert send(client, "/ipadapter/weights", b"{", headers=length).status == 413
    assert time.monotonic() - begun < limits.REQUEST_SECONDS / 2


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{", b"[" * 9999, b"\xff", b"1" * 9999])
def test_what_is_no_question_is_a_sentence(client: Client, body: bytes) -> None:
    for path in POSTS:
        reply = send(client, f"/ipadapter/{path}", body)
        assert reply.status == 400 and "the values of a node's widgets by name" in reply.error


NAMES = ("preset", "weights", "composition", "boost", "values", "start", "adapters", "loaders")
VALUES: list[Any] = [None, [], {}, True, -1, 1e999, 10**400, "x" * 100_000, [[]] * 2000]


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_any_value_in_a_question_is_answered(client: Client, value: Any) -> None:
    body = json.dumps(dict.fromkeys(NAMES, value)).encode()
    for path in POSTS:
        assert send(client, f"/ipadapter/{path}", body).status == 200


def test_a_question_of_many_lists_is_refused(client: Client) -> None:
    body = json.dumps({"values": [[]] * limits.QUESTION_PARTS}).encode()
    reply = send(client, "/ipadapter/schedule", body)
    assert reply.status == 413 and "lists" in reply.error


def times_beside(client: Client, paths: list[str], asked: str) -> tuple[list[float], list[Reply]]:
    """How long the host takes for its own while all of these are asked at once."""
    taken: list[float] = []
    with ThreadPoolExecutor(len(paths)) as threads:
        replies = [threads.submit(send, client, path) for path in paths]
        while not all(reply.done() for reply in replies):
            begun = time.perf_counter()
            assert send(client, asked).status == 200
            taken.append(time.perf_counter() - begun)
            time.sleep(0.01)
    return taken, [reply.result() for reply in replies]


def test_a_hundred_at_once_leave_the_others_as_they_are(client: Client) -> None:
    running, taken, slowest = client.queue(graph()), [QUICK], QUICK
    for _ in range(3):  # the machine may be busy with something else
        taken, replies = times_beside(client, ["/ipadapter/doctor"] * MANY, "/queue")
        assert {reply.status for reply in replies} <= {200, 503}
        refused = [reply.error for reply in replies if reply.status == 503]
        assert sum("too many questions" in one for one in refused) <= MANY - limits.WAITING_REQUESTS
        if (slowest := sorted(taken)[-1 - len(taken) // 20]) < QUICK:
            break
    assert slowest < QUICK, sorted(taken)[-10:]
    assert client.wait(running)["status"]["status_str"] == "success"
    assert send(client, "/ipadapter/doctor").status == 200


def test_weights_are_drawn_while_files_are_read(client: Client) -> None:
    with ThreadPoolExecutor(20) as threads:
        reading = [threads.submit(send, client, "/ipadapter/doctor") for _ in range(20)]
        drawn = send(client, "/ipadapter/schedule", b'{"values": "1"}')
        assert drawn.status == 200 and not all(reply.done() for reply in reading)
