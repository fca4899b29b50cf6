"""A node that gives any object to any socket, and one that takes whatever comes."""

from __future__ import annotations

from typing import Any

from fuzz.prompts.objects import TABLE


class Give:
    RETURN_TYPES = ("*",)
    FUNCTION = "give"
    CATEGORY = "tests"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {"required": {"key": ("STRING", {})}}

    def give(self, key: str) -> tuple[Any]:
        return (TABLE[key],)


class Take:
    """Its inputs are in the table afterwards, under the names of the inputs."""

    RETURN_TYPES = ()
    FUNCTION = "take"
    OUTPUT_NODE = True
    CATEGORY = "tests"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        names = [f"taken{number}" for number in range(8)]
        return {"required": {}, "optional": {name: ("*", {}) for name in names}}

    @classmethod
    def IS_CHANGED(cls, **_: Any) -> float:
        """It runs each time, whatever the host remembers."""
        return float("nan")

    def take(self, **taken: Any) -> tuple[()]:
        for name, value in taken.items():
            TABLE[name] = value
        return ()


NODE_CLASS_MAPPINGS = {"FuzzGive": Give, "FuzzTake": Take}
