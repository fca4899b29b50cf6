"""What the server under watch finds in its folders: models, pictures, hostile files."""

from __future__ import annotations

import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import torch
from conftest import ROOT
from kit.models import encoder_shapes, transformer_adapters
from kit.models.sparse_files import write_sparse
from kit.models.transformer_sizes import Sizes
from kit.server import example_models
from kit.server.tiny_nodes.adapter import write_tiny_adapter
from plus import recorded
from safetensors.torch import save_file

TINY, ROWS = "tiny.safetensors", "rows.ipadpt"
HOSTILE_EMBEDS = ("hostile empty.safetensors", "hostile code.ipadpt", "hostile bomb.ipadpt")
PERSON = "ipadapter_example_person_a.jpg"
VIT_L = "clip-vit-large-patch14.safetensors"
INPUTS = ROOT / "example_workflows" / "inputs"


class Evil:
    """What a pickle with code in it does when it is opened."""

    def __reduce__(self) -> Any:
        return exec, ("import pathlib; pathlib.Path('was-here').touch()",)


def write(base: Path) -> list[str]:
    """Fill the folders; names of hostile adapters."""
    models = base / "models"
    example_models.write_models(models)
    recorded.prepare(base)
    write_tiny_adapter(models / "ipadapter" / TINY)
    # Packs for Flux load their encoder from a file.
    write_sparse(
        models / "clip_vision" / VIT_L,
        encoder_shapes.hollow(1024, 768),
    )
    flux = Sizes("flux", 1, *example_models.FLUX_BLOCKS)
    (models / "xlabs" / "ipadapters").mkdir(parents=True)
    xlabs = models / "xlabs" / "ipadapters" / "xlabs.safetensors"
    save_file(transformer_adapters.xlabs(flux), xlabs)
    for path in INPUTS.iterdir():
        (base / "input" / path.name).write_bytes(path.read_bytes())
    torch.save(torch.rand(1, 1024), base / "input" / ROWS)
    write_hostile_embeds(models / "ipadapter_embeds")
    return write_hostile(models / "ipadapter")


def write_hostile(folder: Path) -> list[str]:
    whole = (folder / TINY).read_bytes()
    size = struct.unpack("<Q", whole[:8])[0]
    header, data = json.loads(whole[8 : 8 + size]), whole[8 + size :]
    first = next(iter(header))
    shared = dict.fromkeys((f"{first}.{number}" for number in range(3000)), header[first])
    files = {
        "empty": b"",
        "cut": whole[:-1000],
        "page": b"<!DOCTYPE html><html>Sign in</html>",
        "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0",
        "deep": _safetensors(b'{"a":' * 60_000, b""),
        "long header": struct.pack("<Q", 2**40) + b"{}",
        "shares": _safetensors(json.dumps(header | shared).encode(), data),
    }
    for name, content in files.items():
        (folder / f"hostile {name}.safetensors").write_bytes(content)
    torch.save([Evil()], folder / "hostile code.bin")
    torch.save({"pulid_ca.0.norm1.weight": torch.zeros(8)}, folder / "hostile stranger.bin")
    with zipfile.ZipFile(folder / "hostile archive.bin", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + b"(" * 2_000_000)
    tensors = {name: torch.zeros(2) for name in ("a", "b")}
    torch.save({"image_proj": tensors, "ip_adapter": tensors}, folder / "hostile unknown.bin")
    return sorted(path.name for path in folder.glob("hostile *"))


def _safetensors(header: bytes, data: bytes) -> bytes:
    return struct.pack("<Q", len(header)) + header + data


def write_hostile_embeds(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "hostile empty.safetensors").write_bytes(b"")
    torch.save([Evil()], folder / "hostile code.ipadpt")
    torch.save([torch.ones(1).expand(2, 1, 2**50)], folder / "hostile bomb.ipadpt")
    torch.save([torch.rand(2, 1, 1024)], folder / ROWS)
