"""Folders in which a hostile file lies beside good ones, as the host has them."""

from __future__ import annotations

import shutil
from pathlib import Path

import folder_paths

from .cases import Case, Found, write
from .corpus import Sort, Whole, corpus

# Of each sort one good model, which has to be found whatever lies beside it.
GOOD = {
    Sort.ADAPTER: "ipadapter/standard.safetensors",
    Sort.ENCODER: "clip_vision/clip",
    Sort.EMBEDS: "ipadapter_embeds/picture.safetensors",
    Sort.FACES: "insightface/small",
    Sort.BASE: "checkpoints/unet.safetensors",
    Sort.LORA: "loras/ip-adapter-faceid_sd15_lora.safetensors",
}
_MARK = "good"
_OTHERS = ("controlnet", "diffusion_models", "text_encoders", "style_models", "custom_nodes")


class Bed:
    """Two places for each sort of files: one of good ones, and one of the case at hand."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.good = folder, folder / _MARK
        self._count = 0
        for label in GOOD.values():
            write(renamed(corpus()[label]), self.good / corpus()[label].sort.value)

    def lay(self, case: Case) -> tuple[Path, int]:
        """Put a case into a place of its own; that, and the bytes of its files."""
        self._count += 1
        place = self.folder / f"case{self._count}"
        size = write(case.files(), place / case.sort.value)
        return place, size

    def enter(self, place: Path) -> None:
        """Let the host look for models there, and for good ones where they are."""
        table = {name: ([str(place / name)], set[str]()) for name in _OTHERS}
        for sort in Sort:
            homes = [str(home / sort.value) for home in (place, self.good)]
            for home in homes:
                Path(home).mkdir(parents=True, exist_ok=True)
            table[sort.value] = homes, set(folder_paths.supported_pt_extensions)
        table[Sort.EMBEDS.value][1].add(".ipadpt")
        table[Sort.BASE.value][1].add(".gguf")
        folder_paths.models_dir = str(place)
        folder_paths.folder_names_and_paths = table
        folder_paths.filename_list_cache.clear()

    def clear(self, place: Path) -> None:
        """Take a case away again."""
        shutil.rmtree(place, ignore_errors=True)


def good_name(sort: Sort) -> str:
    """What the combos call the good one of a sort."""
    return f"{_MARK}-{corpus()[GOOD[sort]].name}"


def renamed(whole: Whole) -> Found:
    """The files of a model under the name of the good one."""
    new = f"{_MARK}-{whole.name}"
    return {path.replace(whole.name, new, 1): data for path, data in whole.files.items()}
