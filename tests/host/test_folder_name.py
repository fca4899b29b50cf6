"""The log says so when ComfyUI cannot serve the pack from a folder of this name."""

from __future__ import annotations

import importlib.util
import logging
import sys
from pathlib import Path

import pytest
from conftest import ROOT


def load(folder: Path) -> None:
    """Load the pack as ComfyUI does, from a folder of another name."""
    folder.symlink_to(ROOT, target_is_directory=True)
    spec = importlib.util.spec_from_file_location(
        "renamed_pack", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["renamed_pack"] = module
    spec.loader.exec_module(module)
    # It waits for nothing; a browser test of the same process may have a loop that runs.
    with pytest.raises(StopIteration):
        module.comfy_entrypoint().send(None)


@pytest.mark.parametrize("name", ["ip adapter", "ИПадаптер", "ip+adapter"])
def test_a_name_that_cannot_be_served_is_warned_of(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        load(tmp_path / name)
    assert repr(name) in caplog.text and "Rename it" in caplog.text


def test_the_name_of_a_clone_is_not(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        load(tmp_path / "ComfyUI-ip.adapter_main")
    assert "Rename it" not in caplog.text
