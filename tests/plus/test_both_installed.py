"""Beside a pack that has the old names itself: they are its own, whichever the host loads first."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from kit.server import live
from kit.server.live import Client, failure
from plus.record_prompts import folder

OURS = "custom_nodes.ip-adapter-pack"
VERSION_1 = {
    "IPAdapterApply",
    "IPAdapterApplyFaceID",
    "IPAdapterApplyEncoded",
    "IPAdapterTilesMasked",
    "IPAdapterBatchEmbeds",
    "InsightFaceLoader",
    "PrepImageForInsightFace",
}
STRANGER = '''
class Shown:
    RETURN_TYPES = ("STRING",)
    FUNCTION = "run"
    CATEGORY = "stranger"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {name: ("STRING", {"default": ""}) for name in cls.NAMES}}

    def run(self, **given):
        return (" ".join([type(self).__name__, *sorted(given)]),)


class IPAdapter(Shown):
    """With the inputs of an older pack, whose node has this name too."""

    NAMES = ("model_name", "dtype")


class IPAdapterEncoder(Shown):
    NAMES = ("image_1", "ipadapter_plus")


class IPAdapterAdvanced(Shown):
    NAMES = ("weight_type",)


EVERY = (IPAdapter, IPAdapterEncoder, IPAdapterAdvanced)
NODE_CLASS_MAPPINGS = {one.__name__: one for one in EVERY}
NODE_DISPLAY_NAME_MAPPINGS = {name: f"A stranger's {name}" for name in NODE_CLASS_MAPPINGS}
'''
TAKEN = {"IPAdapter", "IPAdapterEncoder", "IPAdapterAdvanced"}
ORDERS = pytest.mark.parametrize("first", ["ours first", "theirs first"])
PLUS = folder("IPADAPTER_PLUS")


def both(theirs: Path, first: str, base: Path) -> Any:
    """A server with both packs, loaded in this order."""
    packs, later = ([ROOT], [theirs]) if first == "ours first" else ([theirs], [ROOT])
    return live.running(base, base / "models", packs=packs, later=later)


@pytest.fixture
def stranger(tmp_path: Path) -> Path:
    pack = tmp_path / "stranger"
    pack.mkdir()
    (pack / "__init__.py").write_text(STRANGER, "utf-8")
    return pack


@ORDERS
def test_names_that_another_pack_has_stay_its_own(
    stranger: Path, tmp_path: Path, first: str
) -> None:
    with both(stranger, first, tmp_path / "base") as client:
        known = client.get("/object_info")
        owners = {name: known[name]["python_module"] for name in TAKEN}
        assert owners == dict.fromkeys(TAKEN, "custom_nodes.stranger")
        assert {known[name]["display_name"] for name in TAKEN} == {
            f"A stranger's {name}" for name in TAKEN
        }
        rest = VERSION_1 | {"IPAdapterModelLoader", "IPAdapterEmbeds", "IPAdapterMS"}
        assert {known[name]["python_module"] for name in rest} == {OURS}
        assert known["IPAApply"]["python_module"] == OURS
        # What our rules would make of such a prompt, were the names ours.
        old = {
            "IPAdapter": ("model_name", "dtype"),
            "IPAdapterEncoder": ("image_1", "ipadapter_plus"),
        }
        assert {name: shown(client, name, names) for name, names in old.items()} == {
            name: " ".join([name, *sorted(names)]) for name, names in old.items()
        }
        late = shown(client, "IPAdapterAdvanced", ("weight_type",), "style transfer (SDXL)")
        assert late == "IPAdapterAdvanced weight_type"


def shown(client: Client, kind: str, names: tuple[str, ...], value: str = "x") -> str:
    """What a stranger's node says of its inputs."""
    prompt = {
        "node": {"class_type": kind, "inputs": dict.fromkeys(names, value)},
        "show": {"class_type": "PreviewAny", "inputs": {"source": ["node", 0]}},
    }
    entry = client.run(prompt)
    assert entry["status"]["status_str"] == "success", failure(entry)
    (text,) = entry["outputs"]["show"]["text"]
    return text


def alone(theirs: Path) -> dict[str, Any]:
    """Nodes of a server that has the other pack only."""
    with tempfile.TemporaryDirectory() as made:
        base = Path(made)
        with live.running(base, base / "models", packs=[theirs]) as client:
            return client.get("/object_info")


@pytest.mark.skipif(PLUS is None, reason="$IPADAPTER_PLUS names no checkout of the original")
@ORDERS
def test_for_users_of_the_original_nothing_changes(tmp_path: Path, first: str) -> None:
    assert PLUS is not None
    module = f"custom_nodes.{PLUS.name}"
    nodes = {name: node for name, node in alone(PLUS).items() if node["python_module"] == module}
    assert len(nodes) == 37
    with both(PLUS, first, tmp_path) as client:
        known = client.get("/object_info")
    assert {name: known[name] for name in nodes} == nodes
    mine = {name for name, node in known.items() if node["python_module"] == OURS}
    old = {name for name in mine if not name.startswith("IPA") or name.startswith("IPAdapter")}
    assert old >= VERSION_1
    assert {name for name in old - VERSION_1 if not name.endswith(("V1", "V2"))} <= {
        "IPAdapterCLIPVisionEncode",
        "IPAdapterLaksjdjf",
    }
