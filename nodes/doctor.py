"""The node that reports what was found and what is missing."""

from __future__ import annotations

import time
from typing import Any

from comfy_api.latest import io, ui

from .host.doctor import survey
from .sockets import CATEGORY, Node


class Doctor(Node):
    own_checks = ("model", "clip_vision")  # what is wrong with them stands in the report

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IPADoctor",
            display_name="Doctor (IP-Adapter)",
            category=CATEGORY,
            description="Lists every base model, adapter, image encoder and face pack found, what "
            "each was recognised as, which kinds can be used now, and for the others what is "
            "missing, where to put it and where to get it. Works alone; nothing is downloaded.",
            search_aliases=["diagnose", "check ipadapter models", "model not found"],
            is_output_node=True,
            inputs=[
                io.Model.Input(
                    "model",
                    optional=True,
                    tooltip="Also says which adapters fit this MODEL. The list of what can be done "
                    "is then about its family only.",
                ),
                io.ClipVision.Input(
                    "clip_vision",
                    optional=True,
                    tooltip="Also says what this image encoder is and which adapters it serves.",
                ),
                io.Boolean.Input(
                    "log",
                    default=False,
                    optional=True,
                    tooltip="Also writes the report to ComfyUI's log, to pass it on.",
                ),
            ],
            outputs=[io.String.Output("report", tooltip="The report as text.")],
        )

    @classmethod
    def fingerprint_inputs(cls, **_: object) -> float:
        return time.time()  # folders change without anything of this node changing

    @classmethod
    def execute(
        cls, model: Any = None, clip_vision: Any = None, log: bool = False
    ) -> io.NodeOutput:
        text = "\n".join(survey.report(model, clip_vision, log))
        return io.NodeOutput(text, ui=ui.PreviewText(text))


NODES: list[type[io.ComfyNode]] = [Doctor]
