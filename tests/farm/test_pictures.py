"""A picture file of which a part is missing is seen, whatever kind it is."""

from __future__ import annotations

import io

import pytest
from pack.farm.comfyui.pictures import fault
from PIL import Image

KINDS = {
    **{"png": {}, "bmp": {}, "tiff": {}, "tga": {}, "ppm": {}, "gif": {}},
    **{"jpeg": {"progressive": True}, "webp": {"lossless": True}},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_part_of_a_picture_is_no_picture(kind: str) -> None:
    picture = Image.effect_noise((96, 96), 80).convert("RGB")
    file = io.BytesIO()
    picture.save(file, kind, **KINDS[kind])
    content = file.getvalue()
    assert fault(f"a.{kind}", content) == ""
    for part in (0.001, 0.1, 0.5, 0.9):
        found = fault(f"a.{kind}", content[: int(len(content) * part)])
        assert found and "\n" not in found, part


def test_a_later_frame_that_is_cut_off_is_seen() -> None:
    frames = [Image.effect_noise((64, 64), 80) for _ in range(3)]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    content = file.getvalue()
    assert fault("a.gif", content) == ""
    assert fault("a.gif", content[: int(len(content) * 0.9)])


def test_what_is_for_the_host_to_say() -> None:
    assert fault("a.exr", b"\x76\x2f\x31\x01 and so on") == ""
    assert "no PNG" in fault("a.png", b"a text")
    assert fault("a", b"") == "it is empty"
