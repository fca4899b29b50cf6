"""Runs the recorded prompts on a server that has the original, and keeps what came as numbers.

In tests/: IPADAPTER_PLUS=FOLDER [IPADAPTER_PLUS_V1=FOLDER] [IPADAPTER_PACKS=FOLDER]
python -m plus.record_prompts

The folders are checkouts: of ComfyUI_IPAdapter_plus, of its last commit of version 1, and one that
holds comfyui-tooling-nodes. insightface has to be there, as the original wants it.
"""

from __future__ import annotations

import io
import json
import os
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import conftest  # noqa: F401 - the pack's alias, and the host on the path
from kit.server import live
from kit.server.live import Client, Prompt
from PIL import Image
from plus import recorded
from plus.recorded import FINGERPRINTS, Record

TOOLING = "comfyui-tooling-nodes"
VERSION_1 = "swarm_version1_sd15"
LATER = {"start_at": 0.0, "end_at": 1.0, "unfold_batch": False}
FOREIGN = "swarm_oldest_sd15"  # a stranger's, which the original refuses


def folder(variable: str, inner: str = "") -> Path | None:
    """A checkout that an environment variable names."""
    value = os.environ.get(variable)
    path = Path(value).expanduser() / inner if value else None
    return path if path and path.is_dir() else None


def upload(client: Client, record: Record) -> None:
    """Bring the pictures of a prompt where Krita puts them."""
    for name, file in record.images.items():
        data = io.BytesIO()
        with Image.open(recorded.IMAGES / file) as image:
            image.convert("L" if image.mode == "L" else "RGB").save(data, "PNG")
        request = urllib.request.Request(
            f"{client.address}/api/etn/image/{name}", data.getvalue(), method="PUT"
        )
        urllib.request.urlopen(request, timeout=60).close()


def completed(prompt: Prompt) -> Prompt:
    """What version 1 did not have when SwarmUI wrote to it, and demanded later."""
    for node in prompt.values():
        if node["class_type"] == "IPAdapterApply":
            node["inputs"] = LATER | node["inputs"]
    return prompt


def latents(
    pack: Path, wanted: list[str], tooling: Path | None
) -> Iterator[tuple[str, list[float]]]:
    """Name and fingerprint of each prompt; of one with regions as it is and reduced."""
    with tempfile.TemporaryDirectory() as made:
        base = Path(made)
        recorded.prepare(base)
        packs = [pack, tooling] if tooling else [pack]
        with live.running(base, base / "models", packs=packs) as client:
            for name in wanted:
                record = Record.read(name)
                found = recorded.latent(client, completed(recorded.reduced(record)))
                yield name, recorded.fingerprint(found)
                if record.has_regions and tooling:
                    upload(client, record)
                    found = recorded.latent(client, record.prompt)
                    yield f"{name}, whole", recorded.fingerprint(found)


def main() -> None:
    old = json.loads(FINGERPRINTS.read_text("utf-8")) if FINGERPRINTS.exists() else {}
    second = [name for name in recorded.names() if name not in (VERSION_1, FOREIGN)]
    for variable, wanted in (("IPADAPTER_PLUS", second), ("IPADAPTER_PLUS_V1", [VERSION_1])):
        pack = folder(variable)
        if pack is None:
            print(f"${variable} names no folder: nothing is recorded of it")
            continue
        for name, numbers in latents(pack, wanted, folder("IPADAPTER_PACKS", TOOLING)):
            print(name, flush=True)
            old[name] = [float(f"{number:.9g}") for number in numbers]
            lines = [f"{json.dumps(name)}: {json.dumps(old[name])}" for name in sorted(old)]
            FINGERPRINTS.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")


if __name__ == "__main__":
    main()
