"""Pictures of equal rows are equal files, whatever machine made them."""

from __future__ import annotations

import io
import json

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from farm.comfyui.png import same_everywhere


def picture(**node: object) -> bytes:
    """As Save Image writes it."""
    kept = PngInfo()
    kept.add_text("prompt", json.dumps({"1": {"inputs": {"seed": 1}}} | node))
    kept.add_text("workflow", json.dumps({"is_changed": "of the user"}))
    file = io.BytesIO()
    Image.linear_gradient("L").save(file, "PNG", pnginfo=kept)
    return file.getvalue()


def test_times_of_model_files_go_and_all_else_stays() -> None:
    one, other = (picture(**{"2": {"inputs": {}, "is_changed": [when]}}) for when in "ab")
    assert one != other
    assert same_everywhere(one) == same_everywhere(other)
    with Image.open(io.BytesIO(same_everywhere(one))) as image:
        image.load()
        assert image.tobytes() == Image.linear_gradient("L").tobytes()
        assert json.loads(image.info["prompt"])["2"] == {"inputs": {}}
        assert image.info["workflow"] == json.dumps({"is_changed": "of the user"})


@pytest.mark.parametrize(
    "content", [b"", b"GIF89a", picture()[:100], picture()[:-2], b"\x89PNG\r\n\x1a\n" + bytes(9)]
)
def test_what_is_no_whole_png_is_left_alone(content: bytes) -> None:
    assert same_everywhere(content) == content


def test_a_prompt_that_is_none_is_left_alone() -> None:
    kept = PngInfo()
    kept.add_text("prompt", "a cat")
    file = io.BytesIO()
    Image.linear_gradient("L").save(file, "PNG", pnginfo=kept)
    assert same_everywhere(file.getvalue()) == file.getvalue()
