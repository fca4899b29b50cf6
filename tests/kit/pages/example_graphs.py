"""What the example workflows are: their nodes, wires, files and words, without any geometry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

HUB = "https://huggingface.co"
H94, FACEID = f"{HUB}/h94/IP-Adapter/resolve/main", f"{HUB}/h94/IP-Adapter-FaceID/resolve/main"
MODELS, MORE_MODELS, REFERENCES, MORE_REFERENCES = "models", "models 2", "pictures", "pictures 2"
ENCODE, ADAPTER, PROMPT, LATENT = "encode", "adapter", "prompt", "latent"
GUIDED, MORE_ENCODE, MORE_ADAPTER, MAP = "guided", "encode 2", "adapter 2", "map"
MASKS, MERGE, PICTURE, RESULT, SHOWN = "masks", "merge", "sample", "result", "shown"
# Two rows of groups, and the columns of each.
Plan = tuple[dict[str, tuple[str, ...]], ...]
ROWS: Plan = (
    {
        "Models": (MODELS, MORE_MODELS),
        "Reference": (REFERENCES, MORE_REFERENCES, MASKS, ENCODE, MORE_ENCODE),
        "IP-Adapter": (MERGE, ADAPTER, MORE_ADAPTER),
    },
    {"Prompt": (PROMPT, LATENT, GUIDED), "Sampling": (PICTURE,), "Result": (SHOWN, MAP, RESULT)},
)
# The same for examples with much to look at.
MODELS_BELOW: Plan = (
    {
        "Reference": (REFERENCES, MORE_REFERENCES, MASKS, ENCODE, MORE_ENCODE),
        "IP-Adapter": (MERGE, ADAPTER, MORE_ADAPTER),
    },
    {
        "Models": (MODELS, MORE_MODELS),
        "Prompt": (PROMPT, LATENT, GUIDED),
        "Sampling": (PICTURE,),
        "Result": (SHOWN, MAP, RESULT),
    },
)
NEGATIVE = "monochrome, lowres, bad anatomy, worst quality, low quality"


class File(NamedTuple):
    """A published model file; `name` is what it has to be called here."""

    name: str
    directory: str
    url: str


def _adapter(url: str) -> File:
    return File(url.rsplit("/", 1)[1], "ipadapter", url)


SD15_NAME = "v1-5-pruned-emaonly-fp16.safetensors"
SD15 = File(
    SD15_NAME,
    "checkpoints",
    f"{HUB}/Comfy-Org/stable-diffusion-v1-5-archive/resolve/main/{SD15_NAME}",
)
SDXL = File(
    "sd_xl_base_1.0.safetensors",
    "checkpoints",
    f"{HUB}/stabilityai/stable-diffusion-xl-base-1.0/resolve/main/sd_xl_base_1.0.safetensors",
)
VIT_H = File(
    "CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors",
    "clip_vision",
    f"{H94}/models/image_encoder/model.safetensors",
)
STANDARD = _adapter(f"{H94}/models/ip-adapter_sd15.safetensors")
PLUS = _adapter(f"{H94}/models/ip-adapter-plus_sd15.safetensors")
PLUS_FACE = _adapter(f"{H94}/models/ip-adapter-plus-face_sd15.safetensors")
STANDARD_SDXL = _adapter(f"{H94}/sdxl_models/ip-adapter_sdxl_vit-h.safetensors")
PLUS_SDXL = _adapter(f"{H94}/sdxl_models/ip-adapter-plus_sdxl_vit-h.safetensors")
COMPOSITION = _adapter(
    f"{HUB}/ostris/ip-composition-adapter/resolve/main/ip_plus_composition_sd15.safetensors"
)
FACE = _adapter(f"{FACEID}/ip-adapter-faceid_sd15.bin")
FACE_PLUS = _adapter(f"{FACEID}/ip-adapter-faceid-plusv2_sd15.bin")
FACE_PACK = File(
    "buffalo_l.zip",
    "insightface/models/buffalo_l",
    "https://github.com/deepinsight/insightface/releases/download/v0.7/buffalo_l.zip",
)
ANTELOPE = File(
    "antelopev2.zip",
    "insightface/models/antelopev2",
    "https://github.com/deepinsight/insightface/releases/download/v0.7/antelopev2.zip",
)
INSTANTID = File(
    "instantid_ip-adapter.bin",
    "ipadapter",
    f"{HUB}/InstantX/InstantID/resolve/main/ip-adapter.bin",
)
IDENTITYNET = File(
    "instantid_controlnet.safetensors",
    "controlnet",
    f"{HUB}/InstantX/InstantID/resolve/main/ControlNetModel/diffusion_pytorch_model.safetensors",
)
CANNY = File(
    "control_v11p_sd15_canny_fp16.safetensors",
    "controlnet",
    f"{HUB}/comfyanonymous/ControlNet-v1-1_fp16_safetensors/resolve/main/"
    "control_v11p_sd15_canny_fp16.safetensors",
)
LCM = File(
    "lcm-lora-sdv1-5.safetensors",
    "loras",
    f"{HUB}/latent-consistency/lcm-lora-sdv1-5/resolve/main/pytorch_lora_weights.safetensors",
)

_COMFY = f"{HUB}/Comfy-Org"
FLUX = File(
    "flux1-dev-fp8.safetensors",
    "diffusion_models",
    f"{HUB}/Kijai/flux-fp8/resolve/main/flux1-dev-fp8.safetensors",
)
FLUX_TEXT = (
    File(
        "t5xxl_fp8_e4m3fn.safetensors",
        "text_encoders",
        f"{HUB}/comfyanonymous/flux_text_encoders/resolve/main/t5xxl_fp8_e4m3fn.safetensors",
    ),
    File(
        "clip_l.safetensors",
        "text_encoders",
        f"{HUB}/comfyanonymous/flux_text_encoders/resolve/main/clip_l.safetensors",
    ),
)
FLUX_VAE = File(
    "ae.safetensors",
    "vae",
    f"{_COMFY}/Lumina_Image_2.0_Repackaged/resolve/main/split_files/vae/ae.safetensors",
)
SD35 = File(
    "sd3.5_large_fp8_scaled.safetensors",
    "checkpoints",
    f"{_COMFY}/stable-diffusion-3.5-fp8/resolve/main/sd3.5_large_fp8_scaled.safetensors",
)
VIT_L = File(
    "clip-vit-large-patch14.safetensors",
    "clip_vision",
    f"{HUB}/openai/clip-vit-large-patch14/resolve/main/model.safetensors",
)
SIGLIP = File(
    "sigclip_vision_patch14_384.safetensors",
    "clip_vision",
    f"{_COMFY}/sigclip_vision_384/resolve/main/sigclip_vision_patch14_384.safetensors",
)
XLABS_V2 = File(
    "flux_xlabs_v2_ip_adapter.safetensors",
    "ipadapter",
    f"{HUB}/XLabs-AI/flux-ip-adapter-v2/resolve/main/ip_adapter.safetensors",
)
INSTANTX_FLUX = File(
    "flux_instantx_ip-adapter.bin",
    "ipadapter",
    f"{HUB}/InstantX/FLUX.1-dev-IP-Adapter/resolve/main/ip-adapter.bin",
)
INSTANTX_SD35 = File(
    "sd35_instantx_ip-adapter.bin",
    "ipadapter",
    f"{HUB}/InstantX/SD3.5-Large-IP-Adapter/resolve/main/ip-adapter.bin",
)
FLUX_UNION = File(
    "flux_union_controlnet.safetensors",
    "controlnet",
    f"{HUB}/Shakker-Labs/FLUX.1-dev-ControlNet-Union-Pro-2.0/resolve/main/"
    "diffusion_pytorch_model.safetensors",
)
FLUX_LICENCE = "FLUX.1 dev and its adapters are for non-commercial use."

CAT, HOUSE, WAVES = (
    "ipadapter_reference.jpg",
    "ipadapter_example_house.jpg",
    "ipadapter_example_waves.jpg",
)
ROOM, BALL = "ipadapter_example_room.png", "ipadapter_example_ball.mp4"
EMBEDS = "ipadapter_example.ipadpt"
PANORAMA = "ipadapter_example_panorama.jpg"
PERSON_A, PERSON_B = "ipadapter_example_person_a.jpg", "ipadapter_example_person_b.jpg"
MASK_LEFT, MASK_RIGHT = "ipadapter_example_mask_left.png", "ipadapter_example_mask_right.png"
DRAWN_FACES = (
    "The people here are drawings, and the face models look for real faces: **put your own photos "
    "in first.**"
)
LICENCE = "The face models and the FaceID adapters are for non-commercial research only."


RESULT_KIND = "IPAExampleResult"
# What the small models that come with the pack can do; for the others random weights only run.
RESULTS = {
    True: "Reference | result by toys",
    False: "Reference | random result",
}
WITHOUT_REFERENCE = "Made by random models"
BY_TOYS = frozenset(
    ("first_picture", "single_nodes", "style_only", "style_composition", "image_to_image")
    + ("inpainting", "several_images", "plus_face", "regional", "tiles", "sheet", "attention")
    + ("save_embeds", "toy_models")
)


class Out(NamedTuple):
    """An output of a node."""

    node: int
    slot: int


@dataclass
class Node:
    """A node as it is made in the editor.

    Attributes:
        widgets: values by name; what is left out keeps its default.
        wires: outputs by the input that they go to.
    """

    kind: str
    group: str
    title: str | None
    widgets: dict[str, Any]
    wires: dict[str, Out]
    files: tuple[File, ...]
    size: tuple[int, int] | None


@dataclass
class Sketch:
    """One example workflow in the making."""

    name: str
    title: str
    inputs: list[str] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    text: str = ""
    plan: Plan = ROWS

    def add(
        self,
        kind: str,
        group: str,
        title: str | None = None,
        /,
        files: tuple[File, ...] = (),
        size: tuple[int, int] | None = None,
        **inputs: Any,
    ) -> int:
        """Add a node; an `Out` among its inputs is wired, any other value is typed in."""
        wires = {name: value for name, value in inputs.items() if isinstance(value, Out)}
        widgets = {name: value for name, value in inputs.items() if name not in wires}
        self.nodes.append(Node(kind, group, title, widgets, wires, files, size))
        return len(self.nodes) - 1

    def rows(self) -> list[list[tuple[str, list[list[int]]]]]:
        """Groups in reading order, each with the nodes of its columns, for both rows."""
        made: list[list[tuple[str, list[list[int]]]]] = []
        for row in self.plan:
            named = ((group, [self._of(column) for column in row[group]]) for group in row)
            filled = ((group, [nodes for nodes in columns if nodes]) for group, columns in named)
            made.append([(group, columns) for group, columns in filled if columns])
        return made

    def _of(self, column: str) -> list[int]:
        return [i for i, node in enumerate(self.nodes) if node.group == column]

    def checkpoint(self, file: File = SD15) -> tuple[Out, Out, Out]:
        made = self.add("CheckpointLoaderSimple", MODELS, files=(file,), ckpt_name=file.name)
        return Out(made, 0), Out(made, 1), Out(made, 2)

    def found(self, model: Out, kind: str, *files: File) -> tuple[Out, Out]:
        """Adapter and encoder, by the node that finds them."""
        made = self.add("IPALoadForModel", MODELS, files=files, model=model, kind=kind)
        return Out(made, 0), Out(made, 1)

    def sides(self) -> tuple[Out, Out]:
        """A mask for the left half and one for the rest."""
        self.inputs.append(MASK_LEFT)
        left = self.add("LoadImageMask", MASKS, "Where: left", image=MASK_LEFT, channel="red")
        right = self.add("InvertMask", MASKS, "Where: right", mask=Out(left, 0))
        return Out(left, 0), Out(right, 0)

    def adapter(self, file: File, group: str = MODELS) -> Out:
        made = self.add("IPALoadAdapter", group, files=(file,), adapter_file=file.name)
        return Out(made, 0)

    def own_encoder(self, file: File) -> Out:
        """By our loader, which keeps SigLIP's pooled feature."""
        made = self.add("IPALoadEncoder", MODELS, files=(file,), encoder_file=file.name)
        return Out(made, 0)

    def flux(self) -> tuple[Out, Out, Out]:
        model = self.add("UNETLoader", MODELS, files=(FLUX,), unet_name=FLUX.name)
        t5, clip_l = FLUX_TEXT
        names = {"clip_name1": t5.name, "clip_name2": clip_l.name, "type": "flux"}
        clip = self.add("DualCLIPLoader", MODELS, files=FLUX_TEXT, **names)
        vae = self.add("VAELoader", MODELS, files=(FLUX_VAE,), vae_name=FLUX_VAE.name)
        return Out(model, 0), Out(clip, 0), Out(vae, 0)

    def guided(self, prompts: tuple[Out, Out], guidance: float = 3.5) -> tuple[Out, Out]:
        made = self.add("FluxGuidance", LATENT, conditioning=prompts[0], guidance=guidance)
        return Out(made, 0), prompts[1]

    def empty16(self, side: int = 1024) -> Out:
        made = self.add("EmptySD3LatentImage", LATENT, width=side, height=side, batch_size=1)
        return Out(made, 0)

    def encoder(self) -> Out:
        made = self.add("CLIPVisionLoader", MODELS, files=(VIT_H,), clip_name=VIT_H.name)
        return Out(made, 0)

    def picture(self, file: str, title: str, group: str = REFERENCES) -> int:
        self.inputs.append(file)
        return self.add("LoadImage", group, title, image=file)

    def encoded(self, encoder: Out, image: Out, group: str = ENCODE) -> Out:
        wires = {"clip_vision": encoder, "image": image}
        return Out(self.add("IPAEncodeImage", group, **wires, preview=True), 0)

    def simple(
        self, model: Out, image: Out, kind: str, scale: float | Out, *files: File, **more: Any
    ) -> Out:
        """The node that finds its files, of which the note tells those to get."""
        wires = {"model": model, "image": image}
        values = {"kind": kind, "scale": scale, **more}
        return Out(self.add("IPASimple", ADAPTER, files=files, **wires, **values), 0)

    def applied(self, model: Out, adapter: Out, embeds: Out, scale: float, **more: Any) -> Out:
        parts = {"model": model, "adapter": adapter, "embeds": embeds}
        return Out(self.add("IPAApply", ADAPTER, **parts, scale=scale, **more), 0)

    def prompts(self, clip: Out, positive: str, negative: str = NEGATIVE) -> tuple[Out, Out]:
        made = [
            self.add("CLIPTextEncode", PROMPT, title, clip=clip, text=text)
            for title, text in (("Positive prompt", positive), ("Negative prompt", negative))
        ]
        return Out(made[0], 0), Out(made[1], 0)

    def empty(self, side: int = 512, group: str = LATENT) -> Out:
        made = self.add("EmptyLatentImage", group, width=side, height=side, batch_size=1)
        return Out(made, 0)

    def scaled(self, image: Out, side: int = 512, group: str = LATENT) -> Out:
        values = {"upscale_method": "lanczos", "width": side, "height": side, "crop": "center"}
        return Out(self.add("ImageScale", group, image=image, **values), 0)

    def sampled(
        self, model: Out, prompts: tuple[Out, Out], latent: Out, vae: Out, **more: Any
    ) -> Out:
        values = {
            "seed": 42,
            "control_after_generate": "fixed",
            "steps": 20,
            "cfg": 7.0,
            "sampler_name": "euler",
            "scheduler": "normal",
            "denoise": 1.0,
        }
        wires = {"model": model, "positive": prompts[0], "negative": prompts[1]}
        sampler = self.add("KSampler", PICTURE, **wires, latent_image=latent, **values | more)
        return Out(self.add("VAEDecode", SHOWN, samples=Out(sampler, 0), vae=vae), 0)

    def saved(self, images: Out) -> None:
        """With a picture beside it of what comes out where no model is needed."""
        shown = any(node.kind == "LoadImage" for node in self.nodes)
        title = RESULTS[self.name in BY_TOYS] if shown else WITHOUT_REFERENCE
        self.add(RESULT_KIND, SHOWN, title)
        self.add("SaveImage", RESULT, images=images, filename_prefix=f"ipadapter/{self.name}")

    def note(self, *parts: str) -> None:
        """What it shows, then what to do once the files are there.

        Headings, because an editor's note has no other letters that can be read at a zoom at which
        the whole graph is seen.
        """
        what, *steps = parts
        files = {file: None for node in self.nodes for file in node.files}
        rows = [f"### {_link(file)} → **models/{file.directory}**" for file in files]
        first = "**1. Download** these files, once, and press **R** afterwards:"
        told = [f"**{number}.** {step}" for number, step in enumerate(steps, start=2)]
        lines = [f"# {self.title}", f"## {what}", f"## {first}", *rows]
        self.text = "\n\n".join([*lines, *(f"## {step}" for step in told)]) + "\n"


def _link(file: File) -> str:
    """By its ending the pack's own links are known, which are as dark or light as the text."""
    published = file.url.rsplit("/", 1)[1]
    link = f"[{published}]({file.url}#ipadapter)"
    if file in (FACE_PACK, ANTELOPE):
        return f"{link}, unpacked; non-commercial research only"
    return link if published == file.name else f"{link}, saved as **{file.name}**"


def first_picture(g: Sketch) -> None:
    model, clip, vae = g.checkpoint()
    photo = Out(g.picture(CAT, "Reference photo"), 0)
    patched = g.simple(model, photo, "standard", 0.7, STANDARD, VIT_H)
    prompts = g.prompts(clip, "a cat wearing a knitted scarf, best quality, high quality")
    g.saved(g.sampled(patched, prompts, g.empty(), vae))
    g.note(
        "The picture is made from a text prompt *and* a reference photo.",
        "**Choose your photo** in *Reference photo*.",
        "**Run.** *scale* in *IPAdapter Simple* says how much the photo counts: 0 not at all, 1 "
        "fully. Change it first; then the prompt. The node says which files it took.",
    )


def single_nodes(g: Sketch) -> None:
    model, clip, vae = g.checkpoint()
    adapter, encoder = g.adapter(STANDARD), g.encoder()
    embeds = g.encoded(encoder, Out(g.picture(CAT, "Reference photo"), 0))
    patched = g.applied(model, adapter, embeds, 0.7)
    prompts = g.prompts(clip, "a cat wearing a knitted scarf, best quality, high quality")
    g.saved(g.sampled(patched, prompts, g.empty(), vae))
    g.note(
        "The same picture as *First picture*, by the nodes that *IPAdapter Simple* stands for: "
        "each can be changed, repeated and joined with others.",
        "**Choose your photo** in *Reference photo*. *Encode Image* shows what is seen of it.",
        "**Run.** *scale* in *Apply IP-Adapter* says how much the photo counts: 0 not at all, 1 "
        "fully. Change it first; then the prompt.",
    )


def image_to_image(g: Sketch) -> None:
    model, clip, vae = g.checkpoint()
    source = g.scaled(Out(g.picture(HOUSE, "Picture to repaint"), 0))
    look = Out(g.picture(WAVES, "Reference: how it should look", MORE_REFERENCES), 0)
    patched = g.simple(model, look, "plus", 0.8, PLUS, VIT_H)
    prompts = g.prompts(clip, "a house with a tree on a hill, best quality")
    latent = Out(g.add("VAEEncode", LATENT, pixels=source, vae=vae), 0)
    g.saved(g.sampled(patched, prompts, latent, vae, denoise=0.65))
    g.note(
        "A picture is painted anew in the look of another: image to image, with a reference.",
        "**Choose your pictures**: the one to repaint, and the one whose look you want.",
        "**Run.** *denoise* in *KSampler* is the first thing to change: 0.3 keeps nearly all of "
        "the picture, 0.8 keeps only its rough shapes. *scale* in *IPAdapter Simple* says how "
        "much of the reference comes in.",
    )


def inpainting(g: Sketch) -> None:
    model, clip, vae = g.checkpoint()
    room = g.picture(ROOM, "Picture with a hole")
    source = g.scaled(Out(room, 0))
    cat = Out(g.picture(CAT, "Reference: what goes into the hole", MORE_REFERENCES), 0)
    patched = g.simple(model, cat, "plus", 0.9, PLUS, VIT_H, attn_mask=Out(room, 1))
    prompts = g.prompts(clip, "a painting of a cat in a wooden picture frame on a wall")
    encoded = Out(g.add("VAEEncode", GUIDED, pixels=source, vae=vae), 0)
    latent = g.add("SetLatentNoiseMask", GUIDED, samples=encoded, mask=Out(room, 1))
    g.saved(g.sampled(patched, prompts, Out(latent, 0), vae))
    g.note(
        "Only a part of a picture is painted, and what comes into it is taken from a photo. Here "
        "the cat goes into the empty frame.",
        "**Choose your pictures.** Right-click the one with the hole, *Open in MaskEditor*, and "
        "paint over what is to be made anew. The mask goes to two places: to the latent, so that "
        "the rest stays, and to *attn_mask*, so that only this part hears the photo.",
        "**Run.** Both pictures should be square, or the mask will not fit: change *width* and "
        "*height* of *Upscale Image* otherwise. Change *scale* and the prompt first; a *denoise* "
        "of 0.7 keeps some of what was under the mask.",
    )


def several_images(g: Sketch) -> None:
    g.plan = MODELS_BELOW
    model, clip, vae = g.checkpoint()
    adapter, encoder = g.found(model, "plus", PLUS, VIT_H)
    cat = g.encoded(encoder, Out(g.picture(CAT, "First reference"), 0))
    second = Out(g.picture(WAVES, "Second reference", MORE_REFERENCES), 0)
    waves = g.encoded(encoder, second, MORE_ENCODE)
    wires = {"embeds.embeds0": cat, "embeds.embeds1": waves}
    merged = g.add("IPAMergeEmbeds", ADAPTER, **wires, method="concat", weights="1, 0.6")
    patched = g.applied(model, adapter, Out(merged, 0), 0.7)
    prompts = g.prompts(clip, "a cat, best quality, high quality")
    g.saved(g.sampled(patched, prompts, g.empty(), vae))
    g.note(
        "Two references are heard together, the second one less: a cat, and the colours and lines "
        "of another picture.",
        "**Choose your pictures.** More of them: add *Load Image* and *Encode Image* and connect "
        "to the next input of *Merge Embeds*, up to 50.",
        "**Run.** Change *weights* of *Merge Embeds* first: a number for each reference, "
        "**1, 0.6** here. *method* **average** mixes the references into one; **subtract** takes "
        "the second away from the first.",
    )


def style_only(g: Sketch) -> None:
    g.plan = MODELS_BELOW
    model, clip, vae = g.checkpoint(SDXL)
    adapter, encoder = g.found(model, "standard", STANDARD_SDXL, VIT_H)
    embeds = g.encoded(encoder, Out(g.picture(WAVES, "Reference: the style"), 0))
    weights = Out(g.add("IPABlockWeights", MERGE, preset="style transfer"), 0)
    patched = g.applied(model, adapter, embeds, 1.0, block_weights=weights)
    prompts = g.prompts(clip, "a fox sitting in a forest", "photo, lowres, worst quality")
    g.saved(g.sampled(patched, prompts, g.empty(1024), vae, cfg=6.0))
    g.note(
        "The colours and the hand of a picture, without what is in it. SDXL keeps style in a few "
        "of its layers, and only these hear the reference.",
        "**Choose a picture** whose style you want, and write into the prompt what is to be seen.",
        "**Run.** Change *preset* of *Block Weights* first: **strong style transfer** takes more, "
        "**style and composition** takes the layout too, **linear** takes everything. The bars "
        "show what each layer gets, and can be dragged.",
    )


def style_composition(g: Sketch) -> None:
    model, clip, vae = g.checkpoint(SDXL)
    wires = {
        "model": model,
        "style_image": Out(g.picture(WAVES, "The style"), 0),
        "composition_image": Out(g.picture(HOUSE, "The composition", MORE_REFERENCES), 0),
    }
    scales = {"style_scale": 1.0, "composition_scale": 0.8}
    files = (STANDARD_SDXL, VIT_H)
    made = g.add("IPAStyleComposition", ADAPTER, files=files, **wires, **scales)
    prompts = g.prompts(clip, "a lighthouse on a cliff", "photo, lowres, worst quality")
    g.saved(g.sampled(Out(made, 0), prompts, g.empty(1024), vae, cfg=6.0))
    g.note(
        "The style of one picture and the composition of another. The prompt says what is to be "
        "seen.",
        "**Choose your pictures**: one for colours and strokes, one for where things are.",
        "**Run.** Change *style_scale* against *composition_scale*: 0 leaves one of them out, 1 "
        "takes all of it.",
    )


def regional(g: Sketch) -> None:
    g.plan = MODELS_BELOW
    model, clip, vae = g.checkpoint()
    before: dict[str, Out] = {"model": model}
    pictures = (
        Out(g.picture(CAT, "Reference on the left"), 0),
        Out(g.picture(HOUSE, "Reference on the right", MORE_REFERENCES), 0),
    )
    texts = ("a cat sitting on a wall, photo", "a small house with a red roof, photo")
    said = [
        Out(g.add("CLIPTextEncode", PROMPT, f"Prompt on the {side}", clip=clip, text=text), 0)
        for side, text in zip(("left", "right"), texts, strict=True)
    ]
    negative = g.add("CLIPTextEncode", LATENT, "Negative prompt", clip=clip, text=NEGATIVE)
    for number, (column, mask) in enumerate(zip((MERGE, ADAPTER), g.sides(), strict=True)):
        wires = {"image": pictures[number], "mask": mask, "positive": said[number]}
        wires |= {"negative": Out(negative, 0), **before}
        files = (PLUS, VIT_H) if not number else ()
        made = g.add("IPARegional", column, files=files, **wires, kind="plus", scale=0.7)
        names = ("model", "more_positive", "more_negative")
        before = {name: Out(made, slot) for slot, name in enumerate(names)}
    prompts = before["more_positive"], before["more_negative"]
    g.saved(g.sampled(before["model"], prompts, g.empty(), vae))
    g.note(
        "Two regions, each with a reference, a prompt and a mask of its own.",
        "**Choose your pictures and masks**: white is the region.",
        "**Run.** *scale* of each *IPAdapter Regional* says how much its picture counts. For a "
        "third region put one more behind the second: *model*, *positive* and *negative* go into "
        "*model*, *more_positive* and *more_negative*.",
    )


def tiles(g: Sketch) -> None:
    model, clip, vae = g.checkpoint(SDXL)
    adapter = g.adapter(PLUS_SDXL)
    encoder = g.encoder()
    wide = Out(g.picture(PANORAMA, "A wide reference"), 0)
    cut = Out(g.add("IPATiles", ENCODE, clip_vision=encoder, image=wide), 0)
    patched = g.applied(model, adapter, cut, 0.8)
    prompts = g.prompts(clip, "a village by the sea", "photo, lowres, worst quality")
    size = {"width": 1536, "height": 768, "batch_size": 1}
    latent = Out(g.add("EmptyLatentImage", LATENT, **size), 0)
    g.saved(g.sampled(patched, prompts, latent, vae, cfg=6.0))
    g.note(
        "A large or wide reference in tiles: each tile is heard at its own place, so that the "
        "details of the whole picture count.",
        "**Choose a picture** of about the shape that you paint.",
        "**Run.** *tiles* 0 cuts as many as the shape asks for. *overlap* hides the seams.",
    )


def sheet(g: Sketch) -> None:
    model, clip, vae = g.checkpoint()
    photo = Out(g.picture(CAT, "Reference photo"), 0)
    sweep = g.add("IPASweep", MASKS, scales="0, 0.4, 0.7, 1", presets="linear, style transfer")
    files = (STANDARD, VIT_H)
    settings = {"preset": Out(sweep, 1)}
    heard = g.simple(model, photo, "standard", Out(sweep, 0), *files, **settings)
    prompts = g.prompts(clip, "a cat wearing a knitted scarf, best quality, high quality")
    images = g.sampled(heard, prompts, g.empty(), vae)
    wires = {"images.image0": images, "labels": Out(sweep, 4), "columns": Out(sweep, 5)}
    g.saved(Out(g.add("IPASheet", MAP, **wires), 0))
    g.note(
        "One run makes a picture for each scale and preset, and lays them out as a sheet with "
        "labels.",
        "**Choose your photo** in *Reference photo*.",
        "**Run.** Change the lists of *Sweep*: commas between the values. The seed is the same "
        "for all, so that only the setting differs.",
    )


def attention(g: Sketch) -> None:
    model, clip, vae = g.checkpoint()
    photo = Out(g.picture(CAT, "Reference photo"), 0)
    g.inputs.append(MASK_LEFT)
    where = g.add("LoadImageMask", MORE_REFERENCES, "Where: left", image=MASK_LEFT, channel="red")
    files = (STANDARD, VIT_H)
    heard = g.simple(model, photo, "standard", 0.8, *files, attn_mask=Out(where, 0))
    view = g.add("IPAAttentionView", MORE_ADAPTER, model=heard)
    prompts = g.prompts(clip, "a cat sitting on a wall, photo")
    images = g.sampled(Out(view, 0), prompts, g.empty(), vae)
    sampler = next(i for i, node in enumerate(g.nodes) if node.kind == "KSampler")
    wires = {"attention": Out(view, 1), "latent": Out(sampler, 0), "image": images}
    g.saved(Out(g.add("IPAAttentionMap", MAP, **wires), 0))
    g.note(
        "Where a reference is heard: a map over the picture, bright where it counts most.",
        "**Choose your photo** and the mask: white is where it is to be heard.",
        "**Run.** The map is bright on the left alone. Change mask, *preset* or *scale* and see "
        "what they do. *blocks* of *Attention View* looks at some layers only.",
    )


def layout_only(g: Sketch) -> None:
    model, clip, vae = g.checkpoint()
    layout = Out(g.picture(HOUSE, "Reference: the layout"), 0)
    patched = g.simple(model, layout, "composition", 1.0, COMPOSITION, VIT_H)
    prompts = g.prompts(clip, "a castle of ice beside a pine, night, moon, oil painting")
    g.saved(g.sampled(patched, prompts, g.empty(), vae))
    g.note(
        "Where things stand, without colours and style: the composition adapter. The prompt says "
        "what the things are.",
        "**Choose a picture** whose layout you want, and write another subject into the prompt.",
        "**Run.** Change *scale* of *IPAdapter Simple* first; 0.6 to 1 is usual. With "
        "*end_percent* at 0.6 only the first steps hear the layout, and details are free.",
    )


def _face_models(g: Sketch, file: File = FACE_PACK, group: str = MODELS) -> Out:
    pack = file.name.removesuffix(".zip")
    return Out(g.add("IPALoadFaceModels", group, files=(file,), pack=pack), 0)


def two_faces_with_masks(g: Sketch) -> None:
    model, clip, vae = g.checkpoint()
    people = (
        Out(g.picture(PERSON_A, "Person on the left"), 0),
        Out(g.picture(PERSON_B, "Person on the right", MORE_REFERENCES), 0),
    )
    files = (FACE_PLUS, VIT_H, FACE_PACK)
    for person, mask in zip(people, g.sides(), strict=True):
        model = g.simple(model, person, "FaceID plus v2", 0.9, *files, attn_mask=mask)
        files = ()
    prompts = g.prompts(clip, "photo of two people side by side at a table, looking at the viewer")
    g.saved(g.sampled(model, prompts, g.empty(), vae))
    g.note(
        "Two people in one picture, each in a place of their own: a mask for each face.",
        f"{DRAWN_FACES} A mask is a picture of any size, white where the person is to be.",
        "**Run.** Change *scale* of each *IPAdapter Simple* first. The prompt should "
        f"say that there are two people, and where. {LICENCE}",
    )


def faceid(g: Sketch) -> None:
    model, clip, vae = g.checkpoint()
    adapter, faces = g.adapter(FACE), _face_models(g)
    photo = Out(g.picture(PERSON_A, "Photo of a person"), 0)
    embeds = Out(g.add("IPAEncodeFace", ENCODE, face_models=faces, image=photo, preview=True), 0)
    patched = g.applied(model, adapter, embeds, 1.0)
    prompts = g.prompts(clip, "portrait photo of a woman as an astronaut, natural light")
    g.saved(g.sampled(patched, prompts, g.empty(), vae))
    g.note(
        "A person is known by the face alone: FaceID hears who it is, not the photo's light, pose "
        "or clothes. No image encoder is needed.",
        f"{DRAWN_FACES} Several photos of one person, as a batch, are better than one.",
        "**Run.** Change *scale* first. *face_lora_strength* of *Apply IP-Adapter* is for the LoRA "
        f"inside the file: less of it gives the prompt more room. {LICENCE}",
    )


def instantid(g: Sketch) -> None:
    g.plan = MODELS_BELOW
    model, clip, vae = g.checkpoint(SDXL)
    adapter, faces = g.adapter(INSTANTID, MERGE), _face_models(g, ANTELOPE, ENCODE)
    loaded = g.add(
        "ControlNetLoader", ADAPTER, files=(IDENTITYNET,), control_net_name=IDENTITYNET.name
    )
    photo = Out(g.picture(PERSON_A, "Photo of a person"), 0)
    pose = Out(g.picture(PERSON_B, "Where the face is to be", MORE_REFERENCES), 0)
    seen = {"face_models": faces, "image": photo, "preview": True}
    embeds = Out(g.add("IPAEncodeFace", ENCODE, **seen), 0)
    patched = g.applied(model, adapter, embeds, 0.8)
    positive, negative = g.prompts(clip, "portrait photo of a woman in a forest, soft light")
    wires = {"adapter": adapter, "embeds": embeds, "face_models": faces, "image": pose}
    prompts = {"positive": positive, "negative": negative}
    face = g.add("IPAInstantIDConditioning", MERGE, **wires, **prompts, width=1024, height=1024)
    led = g.add(
        "ControlNetApplyAdvanced",
        LATENT,
        positive=Out(face, 0),
        negative=Out(face, 1),
        control_net=Out(loaded, 0),
        image=Out(face, 2),
        strength=0.8,
    )
    g.saved(g.sampled(patched, (Out(led, 0), Out(led, 1)), g.empty(1024, MODELS), vae, cfg=5.0))
    g.note(
        "InstantID: one photo of a person, and the face in the pose of another. *Apply IP-Adapter* "
        "gives the face to the model, *InstantID Conditioning* gives it to the ControlNet, with "
        "five points that say where it is.",
        f"{DRAWN_FACES} The second photo may be the first again, or anybody whose head is where "
        "you want it; only eyes, nose and mouth count.",
        "**Run.** *strength* of *Apply ControlNet* and *scale* of *Apply IP-Adapter* say how much "
        "the person counts: 0.8 each; less of both gives the prompt more room. *width* and "
        "*height* of *InstantID Conditioning* are those of the latent. "
        f"{LICENCE}",
    )


def plus_face(g: Sketch) -> None:
    model, clip, vae = g.checkpoint()
    adapter, encoder = g.adapter(PLUS_FACE), g.encoder()
    photo = Out(g.picture(PERSON_B, "Photo of a person"), 0)
    crop = g.add(
        "IPAPrepareImage", MORE_REFERENCES, image=photo, clip_vision=encoder, fit="crop top"
    )
    embeds = g.encoded(encoder, Out(crop, 0))
    patched = g.applied(model, adapter, embeds, 0.8)
    prompts = g.prompts(clip, "portrait of a man reading in a cafe, best quality")
    g.saved(g.sampled(patched, prompts, g.empty(), vae))
    g.note(
        "A face from a photo, with an adapter that looks at the picture of it. It needs no face "
        "models, and keeps hair and expression as well.",
        "**Choose a photo.** The face should fill the square that *Prepare Image* shows "
        "after the first run; its *fit* moves the square.",
        "**Run.** Change *scale* first. With *start_percent* at 0.2 the prompt decides about the "
        "pose before the face is heard.",
    )


def controlnet(g: Sketch) -> None:
    model, clip, vae = g.checkpoint()
    loaded = g.add("ControlNetLoader", MODELS, files=(CANNY,), control_net_name=CANNY.name)
    shape = g.scaled(
        Out(g.picture(HOUSE, "Picture whose lines are kept"), 0), group=MORE_REFERENCES
    )
    lines = g.add("Canny", MORE_REFERENCES, image=shape, low_threshold=0.3, high_threshold=0.7)
    look = Out(g.picture(WAVES, "Reference: how it should look", ENCODE), 0)
    patched = g.simple(model, look, "standard", 0.8, STANDARD, VIT_H)
    positive, negative = g.prompts(clip, "a house with a tree on a hill, best quality")
    led = g.add(
        "ControlNetApplyAdvanced",
        LATENT,
        positive=positive,
        negative=negative,
        control_net=Out(loaded, 0),
        image=Out(lines, 0),
        strength=0.9,
    )
    g.saved(g.sampled(patched, (Out(led, 0), Out(led, 1)), g.empty(), vae))
    g.note(
        "The lines come from one picture by ControlNet, the look from another by IP-Adapter.",
        "**Choose your pictures**: one for the lines, one for the look.",
        "**Run.** Change *strength* of *Apply ControlNet* against *scale* of *IPAdapter Simple*: "
        "the one holds the shape, the other the look. Fewer lines: raise both thresholds of "
        "*Canny*.",
    )


_FLUX_RUN = {"cfg": 1.0, "scheduler": "simple"}


def flux_style(g: Sketch) -> None:
    model, clip, vae = g.flux()
    look = Out(g.picture(WAVES, "Reference: how it should look"), 0)
    files = (XLABS_V2, VIT_L)
    patched = g.simple(model, look, "XLabs v2", 0.9, *files, preset="ease out")
    prompts = g.guided(g.prompts(clip, "a lighthouse on a cliff at dusk", ""))
    g.saved(g.sampled(patched, prompts, g.empty16(), vae, **_FLUX_RUN))
    g.note(
        "Flux in the look of a reference, with the adapter of XLabs, which hears its gist.",
        "**Choose your picture** in *Reference*.",
        "**Run.** Change *scale* first. *preset* **ease out** lets the first blocks hear little, "
        "where the prompt decides what is where, and the last ones all of it; **linear** is the "
        f"whole reference. At *cfg* 1 Flux runs no negative prompt. {FLUX_LICENCE}",
    )


def flux_two_references(g: Sketch) -> None:
    model, clip, vae = g.flux()
    pictures = (
        Out(g.picture(CAT, "Reference on the left"), 0),
        Out(g.picture(HOUSE, "Reference on the right", MORE_REFERENCES), 0),
    )
    files = (INSTANTX_FLUX, SIGLIP)
    for picture, mask in zip(pictures, g.sides(), strict=True):
        model = g.simple(model, picture, "InstantX", 0.7, *files, attn_mask=mask)
        files = ()
    prompts = g.guided(g.prompts(clip, "a cat sitting beside a small house, photo", ""))
    g.saved(g.sampled(model, prompts, g.empty16(), vae, **_FLUX_RUN))
    g.note(
        "Two references in one picture of Flux, each in a place of its own, with the adapter of "
        "InstantX.",
        "**Choose your pictures and the mask**: white is where the left one is heard, the right "
        "one in the rest. SigLIP sees each picture squashed to a square.",
        "**Run.** Change *scale* of each *IPAdapter Simple* first. The 5.3 GB of "
        "the adapter are read from its file a layer at a time whenever a reference changes, and "
        f"never lie in memory. {FLUX_LICENCE}",
    )


def flux_controlnet(g: Sketch) -> None:
    model, clip, vae = g.flux()
    loaded = g.add(
        "ControlNetLoader", MODELS, files=(FLUX_UNION,), control_net_name=FLUX_UNION.name
    )
    house = Out(g.picture(HOUSE, "Picture whose lines are kept"), 0)
    shape = g.scaled(house, 1024, group=MORE_REFERENCES)
    lines = g.add("Canny", MORE_REFERENCES, image=shape, low_threshold=0.3, high_threshold=0.7)
    look = Out(g.picture(WAVES, "Reference: how it should look", ENCODE), 0)
    patched = g.simple(model, look, "XLabs v2", 0.8, XLABS_V2, VIT_L)
    positive, negative = g.guided(g.prompts(clip, "a house with a tree on a hill", ""))
    led = g.add(
        "ControlNetApplyAdvanced",
        GUIDED,
        positive=positive,
        negative=negative,
        control_net=Out(loaded, 0),
        image=Out(lines, 0),
        vae=vae,
        strength=0.7,
    )
    prompts = Out(led, 0), Out(led, 1)
    g.saved(g.sampled(patched, prompts, g.empty16(), vae, **_FLUX_RUN))
    g.note(
        "Flux with the lines of one picture by ControlNet and the look of another by IP-Adapter.",
        "**Choose your pictures**: one for the lines, one for the look.",
        "**Run.** Change *strength* of *Apply ControlNet* against *scale* of *IPAdapter Simple*: "
        f"the one holds the shape, the other the look. {FLUX_LICENCE}",
    )


def sd35(g: Sketch) -> None:
    model, clip, vae = g.checkpoint(SD35)
    photo = Out(g.picture(CAT, "Reference photo"), 0)
    patched = g.simple(model, photo, "InstantX", 0.7, INSTANTX_SD35, SIGLIP)
    prompts = g.prompts(clip, "a cat in a space suit on the moon, photo", "")
    g.saved(
        g.sampled(patched, prompts, g.empty16(), vae, cfg=4.0, steps=28, scheduler="sgm_uniform")
    )
    g.note(
        "SD3.5 Large from a text prompt *and* a reference, with the adapter of InstantX.",
        "**Choose your photo** in *Reference photo*. SigLIP sees it squashed to a square.",
        "**Run.** Change *scale* first: 0.5 to 0.8 let prompt and photo both count. What the "
        "adapter makes of the photo is worked out for each noise level, for all of them before "
        "the first step. The adapter is under Stability AI's community licence.",
    )


def lcm(g: Sketch) -> None:
    model, clip, vae = g.checkpoint()
    lora = g.add(
        "LoraLoaderModelOnly",
        MODELS,
        files=(LCM,),
        model=model,
        lora_name=LCM.name,
        strength_model=1.0,
    )
    few = g.add("ModelSamplingDiscrete", MODELS, model=Out(lora, 0), sampling="lcm", zsnr=False)
    photo = Out(g.picture(CAT, "Reference photo"), 0)
    patched = g.simple(Out(few, 0), photo, "standard", 0.7, STANDARD, VIT_H)
    prompts = g.prompts(clip, "a cat wearing a knitted scarf, best quality, high quality")
    fast = {"steps": 6, "cfg": 1.5, "sampler_name": "lcm", "scheduler": "sgm_uniform"}
    g.saved(g.sampled(patched, prompts, g.empty(), vae, **fast))
    g.note(
        "A picture in 6 steps: the LCM LoRA makes the model fast, and the reference is heard as "
        "always. *IPAdapter Simple* comes after the LoRA.",
        "**Choose your photo** in *Reference photo*.",
        "**Run.** Change *steps* first, 4 to 8. Keep *cfg* between 1 and 2; at 1 there is no "
        "negative prompt and a run takes half the time.",
    )


def video(g: Sketch) -> None:
    g.plan = MODELS_BELOW
    model, clip, vae = g.checkpoint()
    adapter, encoder = g.found(model, "plus", PLUS, VIT_H)
    g.inputs.append(BALL)
    film = g.add("LoadVideo", REFERENCES, "Video to repaint", file=BALL)
    frames = g.add("GetVideoComponents", REFERENCES, video=Out(film, 0))
    part = g.add("ImageFromBatch", LATENT, image=Out(frames, 0), batch_index=0, length=16)
    source = g.scaled(Out(part, 0))
    halves = {
        "image1": Out(g.picture(CAT, "Reference of the first half", MORE_REFERENCES), 0),
        "image2": Out(g.picture(WAVES, "Reference of the second half", MASKS), 0),
    }
    both = Out(g.add("ImageBatch", MASKS, **halves), 0)
    louder = g.add("IPASchedule", MERGE, over="frames", start=0.3, end=1.0, curve="linear")
    patched = g.applied(
        model,
        adapter,
        g.encoded(encoder, both),
        0.8,
        block_weights=Out(louder, 0),
        batch_mode="one per picture, spread",
    )
    prompts = g.prompts(clip, "a ball over green hills, blue sky, best quality")
    latent = Out(g.add("VAEEncode", GUIDED, pixels=source, vae=vae), 0)
    images = g.sampled(patched, prompts, latent, vae, denoise=0.5, steps=16)
    save = {"filename_prefix": "ipadapter/video", "lossless": False, "quality": 90}
    g.add(RESULT_KIND, SHOWN, RESULTS[False])
    g.add("SaveAnimatedWEBP", RESULT, images=images, fps=Out(frames, 2), **save)
    g.note(
        "Each frame of a video is painted anew, and each hears a reference of its own: the first "
        "half one, the second half the other, louder from frame to frame.",
        "**Choose your video and your pictures.** *length* of *Get Image from Batch* says how "
        "many frames are taken; all are in memory at once.",
        "**Run.** Change *denoise* of *KSampler* first. *batch_mode* of *Apply IP-Adapter* spreads "
        "the references over the frames, and *Schedule* shows how loud each frame hears. Frames "
        "flicker, because nothing ties them together: with AnimateDiff-Evolved between "
        "checkpoint and *Apply IP-Adapter* the same workflow is steady.",
    )


def save_embeds(g: Sketch) -> None:
    g.plan = MODELS_BELOW
    model, clip, vae = g.checkpoint()
    adapter, encoder = g.found(model, "standard", STANDARD, VIT_H)
    embeds = g.encoded(encoder, Out(g.picture(CAT, "Reference photo"), 0))
    kept = {"name": "my_reference", "file_format": "safetensors", "if_exists": "replace"}
    g.add("IPASaveEmbeds", MERGE, **{"embeds.embeds0": embeds}, **kept)
    patched = g.applied(model, adapter, embeds, 0.7)
    prompts = g.prompts(clip, "a cat, best quality, high quality")
    g.saved(g.sampled(patched, prompts, g.empty(), vae))
    g.note(
        "What the encoder has seen is kept in a small file, **my_reference.safetensors** in "
        "**models/ipadapter_embeds**. *Load references* uses it without encoder and picture, and "
        "so can every other workflow.",
        "**Choose your picture** and give it a *name* in *Save Embeds*.",
        "**Run.** One file serves every adapter of the same encoder. *if_exists* decides about a "
        "name that is taken.",
    )


def load_embeds(g: Sketch) -> None:
    model, clip, vae = g.checkpoint()
    adapter = g.adapter(STANDARD)
    embeds = g.add("IPALoadEmbeds", REFERENCES, embeds_file=EMBEDS)
    patched = g.applied(model, adapter, Out(embeds, 0), 0.7)
    prompts = g.prompts(clip, "a cat on a beach, best quality, high quality")
    g.saved(g.sampled(patched, prompts, g.empty(), vae))
    g.note(
        "A reference that was saved before is heard again: no image encoder is loaded, and no "
        "picture is needed.",
        f"**{EMBEDS}** comes with the pack and holds an empty picture: the prompt alone is seen. "
        "**Run *Save references* first**, press **R** and choose **my_reference.safetensors**; "
        "files of diffusers and of ComfyUI_IPAdapter_plus in **models/ipadapter_embeds** are "
        "listed too.",
        "**Run.** Change *scale* and the prompt first. Any adapter of the encoder that made the "
        "file will do, here ViT-H.",
    )


# In the order in which one would read them: what the file is called, and what the note says.
MAKERS: dict[Callable[[Sketch], None], tuple[str, str]] = {
    first_picture: ("First picture", "Your first picture with IP-Adapter"),
    single_nodes: ("First picture in single nodes", "The same with single nodes"),
    style_composition: ("Style and composition SDXL", "The style of one, the layout of another"),
    style_only: ("Style only SDXL", "Only the style of a picture (SDXL)"),
    layout_only: ("Layout only", "Only the layout of a picture"),
    image_to_image: ("Image to image", "Image to image with a reference"),
    inpainting: ("Inpainting", "Inpainting with a reference"),
    several_images: ("Several references", "Several references at once"),
    plus_face: ("Face likeness with Plus Face", "A face by Plus Face"),
    faceid: ("Face with FaceID", "A face by FaceID"),
    instantid: ("Face and pose with InstantID SDXL", "A face in a pose by InstantID (SDXL)"),
    two_faces_with_masks: ("Two characters with masks", "Two faces, each in its place"),
    regional: ("Regional prompts", "Two regions with prompts of their own"),
    controlnet: ("ControlNet", "With ControlNet"),
    lcm: ("Six steps with LCM", "Six steps with LCM"),
    video: ("Video", "A video, frame by frame"),
    tiles: ("Tiles SDXL", "A wide reference in tiles (SDXL)"),
    sheet: ("Sheet of settings", "A sheet of settings to compare"),
    attention: ("Where a reference is heard", "Where a reference is heard"),
    save_embeds: ("Save references", "Keep references in a file"),
    load_embeds: ("Load references", "Use references from a file"),
    flux_style: ("Flux style", "The look of a picture (Flux)"),
    flux_two_references: ("Flux two references", "Two references with masks (Flux)"),
    flux_controlnet: ("Flux ControlNet", "With ControlNet (Flux)"),
    sd35: ("SD3.5 Large", "A reference for SD3.5 Large"),
}
# What each is called in the list of templates, which shows the names of the files.
STEMS = {
    make.__name__: f"IP-Adapter {number:02} {called}"
    for number, (make, (called, _)) in enumerate(MAKERS.items(), start=1)
}


def sketches() -> list[Sketch]:
    """All example workflows, in the order in which one would read them."""
    made: list[Sketch] = []
    for make, (_, title) in MAKERS.items():
        sketch = Sketch(make.__name__, title)
        make(sketch)
        made.append(sketch)
    return made
