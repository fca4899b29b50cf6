"""A very small model set that was trained on drawings, as nodes: for the demo and the tests."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

TOY = "toy model (trained on drawings)"
WORDS = (
    "circle",
    "square",
    "triangle",
    "star",
    "heart",
    "cross",
    "ring",
    "moon",
    "arrow",
    "hourglass",
    "clover",
    "bolt",
)


class ToyModels(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IPAToyModels",
            display_name="Toy Models (trained on drawings)",
            category="ipadapter/demo",
            description=(
                "A very small model set that knows a dozen shapes, so that IP-Adapter can be "
                "tried without a download. By itself it draws them in pencil. Use it with pictures "
                "of 128 x 128 pixels, 16 steps and a cfg of 1."
            ),
            inputs=[
                io.Combo.Input(
                    "word", options=list(WORDS), tooltip="The shape that positive asks for."
                )
            ],
            outputs=[
                io.Model.Output(),
                io.Vae.Output(),
                io.ClipVision.Output(),
                io.Conditioning.Output(display_name="positive"),
                io.Conditioning.Output(display_name="negative"),
            ],
        )

    @classmethod
    def execute(cls, word: str) -> io.NodeOutput:
        from . import models

        model, words = models.load_base()
        return io.NodeOutput(
            model,
            models.load_vae(),
            models.load_encoder(),
            models.conditioning(words, WORDS.index(word)),
            models.conditioning(words, len(WORDS)),
        )


class ToyCheckpoint(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IPAToyCheckpoint",
            display_name="Toy Checkpoint (trained on drawings)",
            category="ipadapter/demo",
            description=(
                "The toy models in the place of a checkpoint: of a prompt they hear the first word "
                "they know, " + ", ".join(WORDS) + "."
            ),
            inputs=[io.Combo.Input("ckpt_name", options=[TOY])],
            outputs=[io.Model.Output(), io.Clip.Output(), io.Vae.Output()],
        )

    @classmethod
    def execute(cls, ckpt_name: str) -> io.NodeOutput:
        from . import models, text

        model, words = models.load_base()
        return io.NodeOutput(model, text.load_text(words), models.load_vae())


class ToyEncoder(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IPAToyEncoder",
            display_name="Toy CLIP Vision (trained on drawings)",
            category="ipadapter/demo",
            description="The image encoder of the toy models, for their adapters only.",
            inputs=[io.Combo.Input("clip_name", options=[TOY])],
            outputs=[io.ClipVision.Output()],
        )

    @classmethod
    def execute(cls, clip_name: str) -> io.NodeOutput:
        from . import models

        return io.NodeOutput(models.load_encoder())


class ToyExtension(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [ToyModels, ToyCheckpoint, ToyEncoder]


async def comfy_entrypoint() -> ToyExtension:
    return ToyExtension()
