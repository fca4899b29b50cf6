"""What the registry's archive holds is a whole pack: nodes, browser part, languages, examples."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp.test_utils import unused_port
from conftest import HOST, ROOT
from kit.pages.help_pages import LOCALES, schemas
from kit.release.packed import unpack
from kit.server.live import Client
from pack.demo.comfy_server import Server, server_command
from pack.nodes.flux_packs.register import NODES as FLUX_NODES
from pack.nodes.plus.register import NODES

pytestmark = pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a git checkout")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    base = tmp_path_factory.mktemp("packed")
    unpack(base / "custom_nodes" / "ip-adapter-nodes")
    config = base / "models.yaml"
    config.write_text("{}")
    port = unused_port()
    with Server(server_command(HOST, base, config, port, cpu=True), base, port) as server:
        server.wait_until_ready()
        yield Client(server, base)


def test_all_nodes_load(client: Client) -> None:
    ours = {
        name
        for name, info in client.get("/object_info").items()
        if info["python_module"] == "custom_nodes.ip-adapter-nodes"
    }
    old = {name for name in ours if name.removesuffix("V2") in NODES}
    assert len(old) > len(NODES) and set(FLUX_NODES) <= ours
    assert ours - old - set(FLUX_NODES) == set(schemas())


def test_the_browser_part_is_served(client: Client) -> None:
    served = {path for path in client.get("/extensions") if "/ip-adapter-nodes/" in path}
    web = ROOT / "web"
    scripts = {path.relative_to(web).as_posix() for path in web.rglob("*.js")}
    assert scripts and served == {f"/extensions/ip-adapter-nodes/{name}" for name in scripts}
    for file in web.rglob("*.*"):
        address = f"/extensions/ip-adapter-nodes/{file.relative_to(web).as_posix()}"
        with urllib.request.urlopen(client.address + address, timeout=60) as reply:
            assert reply.read() == file.read_bytes(), address


def test_languages_and_examples_are_there(client: Client) -> None:
    told = client.get("/i18n")
    for folder in LOCALES.iterdir():
        names = json.loads((folder / "nodeDefs.json").read_text("utf-8"))
        assert told[folder.name]["nodeDefs"].items() >= names.items()
    examples = {path.stem for path in (ROOT / "example_workflows").glob("*.json")}
    assert set(client.get("/workflow_templates")["ip-adapter-nodes"]) == examples


def test_tests_and_training_are_not_in_it(client: Client) -> None:
    pack = Path(client.base) / "custom_nodes" / "ip-adapter-nodes"
    assert not [name for name in ("tests", "demo", "dev.py", ".ci") if (pack / name).exists()]
    assert [path.name for path in (pack / ".github").iterdir()] == ["pictures"]  # README shows them
