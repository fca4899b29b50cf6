"""Prompts as krita-ai-diffusion and SwarmUI post them: run as they are, with the same picture.

The original's pictures are recorded as numbers; where $IPADAPTER_PLUS names its checkout, they are
made anew. Regions need nodes of comfyui-tooling-nodes, which $IPADAPTER_PACKS holds, or are run
without.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache

import pytest
import torch
from conftest import ROOT
from kit.models import tiny
from kit.server import live
from kit.server.live import Client
from plus import recorded
from plus.record_prompts import FOREIGN, TOOLING, VERSION_1, folder, latents, upload
from plus.recorded import FINGERPRINTS, Record

# On the machine where they were recorded, distances are below 5e-6. Other processors add the same
# numbers in another order.
TOLERANCE = 1e-4
SAME_MACHINE = 5e-6
EFFECT = 0.01
# Faces are found and cut out by another program: the same to rounding of grey levels.
FACES = 2e-3
KNOWN: dict[str, list[float]] = json.loads(FINGERPRINTS.read_text("utf-8"))
NAMES = [name for name in recorded.names() if name != FOREIGN]


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[float]]:
    """The original's answers, made anew where it is at hand."""
    found = dict(KNOWN)
    for variable, wanted in (
        ("IPADAPTER_PLUS", [name for name in NAMES if name != VERSION_1]),
        ("IPADAPTER_PLUS_V1", [VERSION_1]),
    ):
        pack = folder(variable)
        if pack is not None:
            found |= dict(latents(pack, wanted, folder("IPADAPTER_PACKS", TOOLING)))
    return found


@pytest.fixture(scope="module")
def server(
    theirs: dict[str, list[float]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Client]:
    """A server with this pack and without the original; one server at a time."""
    base = tmp_path_factory.mktemp("clients")
    recorded.prepare(base)
    tooling = folder("IPADAPTER_PACKS", TOOLING)
    with live.running(
        base, base / "models", packs=[ROOT, tooling] if tooling else [ROOT]
    ) as client:
        yield client


@cache
def without_references(client: Client, name: str) -> torch.Tensor:
    return recorded.latent(client, recorded.silent(recorded.reduced(Record.read(name))))


def tolerance(name: str) -> float:
    again = folder("IPADAPTER_PLUS_V1" if name == VERSION_1 else "IPADAPTER_PLUS")
    if any(word in name for word in ("face", "all", "portrait", "regions_sdxl")):
        return FACES
    return SAME_MACHINE if again else TOLERANCE


@pytest.mark.parametrize("name", NAMES)
def test_a_prompt_of_a_client_gives_the_picture_of_the_original(
    name: str, server: Client, theirs: dict[str, list[float]]
) -> None:
    picture = recorded.latent(server, recorded.reduced(Record.read(name)))
    assert tiny.relative(picture, without_references(server, name)) > EFFECT
    assert recorded.distance(theirs[name], picture) < tolerance(name)


@pytest.mark.skipif(
    folder("IPADAPTER_PACKS", TOOLING) is None, reason="needs comfyui-tooling-nodes"
)
@pytest.mark.parametrize("name", [name for name in NAMES if Record.read(name).has_regions])
def test_regions_of_krita_are_those_of_the_original(
    name: str, server: Client, theirs: dict[str, list[float]]
) -> None:
    record = Record.read(name)
    upload(server, record)
    picture = recorded.latent(server, record.prompt)
    plain = recorded.latent(server, recorded.reduced(record))
    assert tiny.relative(picture, plain) > EFFECT, "regions of the prompts are not heard"
    assert recorded.distance(theirs[f"{name}, whole"], picture) < tolerance(name)


def test_a_prompt_for_the_other_pack_whose_node_is_called_ip_adapter_runs(server: Client) -> None:
    """It is not the original's, which refuses it; its reference is heard."""
    picture = recorded.latent(server, recorded.reduced(Record.read(FOREIGN)))
    assert tiny.relative(picture, without_references(server, FOREIGN)) > EFFECT


def test_clients_find_what_they_look_for(server: Client) -> None:
    """krita-ai-diffusion tests for two nodes; SwarmUI reads choices from required inputs."""
    known = server.get("/object_info")
    assert {"IPAdapterModelLoader", "IPAdapter"} <= known.keys()
    required = known["IPAdapterModelLoader"]["input"]["required"]["ipadapter_file"]
    assert "ip-adapter_sd15.safetensors" in required[0]
    assert "standard" in known["IPAdapter"]["input"]["required"]["weight_type"][0]
    for loader in ("IPAdapterUnifiedLoader", "IPAdapterUnifiedLoaderFaceID"):
        assert len(known[loader]["input"]["required"]["preset"][0]) > 4
