"""Another pack's checkout: imported as the host does it, and which commit it is."""

from __future__ import annotations

import asyncio
import importlib.util
import re
import subprocess
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any


class NotImported(Exception):
    """Why a pack cannot be used, e.g. "needs insightface"."""


class Checkout:
    """A folder with another pack."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = re.sub(r"\W", "_", f"company_{folder.name}")
        self._nodes: dict[str, Any] | None = None

    def module(self, name: str = "") -> ModuleType:
        """The pack itself or one of its modules by its dotted name."""
        try:
            if self.name not in sys.modules:
                self._import()
            return importlib.import_module(f"{self.name}.{name}".rstrip("."))
        except ModuleNotFoundError as error:
            raise NotImported(f"needs {error.name}") from None
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a stranger's start
            place = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
            inside = self.folder in place.parents
            where = place.relative_to(self.folder) if inside else place.name
            what = str(error).split(" (", 1)[0]  # without the path of the host
            raise NotImported(f"{type(error).__name__}: {what}, in {where}") from None

    def _import(self) -> None:
        spec = importlib.util.spec_from_file_location(self.name, self.folder / "__init__.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[self.name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[self.name]
            raise

    def bare(self, **names: Any) -> None:
        """Do without the pack's own start, which loads all that it has: only `names` are there."""
        root = ModuleType(self.name)
        root.__path__ = [str(self.folder)]
        vars(root).update(names)
        sys.modules[self.name] = root

    def nodes(self) -> dict[str, Any]:
        """Its node classes by their ids, of either of the host's interfaces."""
        if self._nodes is None:
            module = self.module()
            self._nodes = dict(getattr(module, "NODE_CLASS_MAPPINGS", {}))
            if hasattr(module, "comfy_entrypoint"):
                listed = asyncio.run(_node_list(module))
                self._nodes |= {node.GET_SCHEMA().node_id: node for node in listed}
        return self._nodes

    def call(self, node: str, **inputs: Any) -> Any:
        """Outputs of a node, called by its own function."""
        kind = self.nodes()[node]
        older = "FUNCTION" in vars(kind) or not hasattr(kind, "execute")
        run = getattr(kind(), kind.FUNCTION) if older else kind.execute
        out = run(**inputs)
        return getattr(out, "result", out)


async def _node_list(module: ModuleType) -> list[Any]:
    return await (await module.comfy_entrypoint()).get_node_list()


def commit(folder: Path) -> str:
    """The commit of a checkout: its git's, or what a file COMMIT beside its code says."""
    note = folder / "COMMIT"
    if note.is_file():
        return note.read_text("utf-8").strip()[:7]
    if not (folder / ".git").exists():
        return "unknown"
    command = ["git", "-C", str(folder), "rev-parse", "--short=7", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"
