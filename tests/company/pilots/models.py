"""Packs that bring models of their own, change the MODEL's class, or sample it in another way."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import comfy.model_patcher
import comfy.supported_models
import folder_paths
import torch
from company.checkout import Checkout
from company.pilot import pilot
from company.scene import Company, Scene, Way
from kit.models import companions, tiny
from safetensors.torch import save_file
from torch import Tensor


@pilot("ComfyUI-AnimateDiff-Evolved", "Use Evolved Sampling, windows", size=(6, 16, 16))
def windows(pack: Checkout, scene: Scene) -> Company:
    """A window is a batch of some of the frames; each frame keeps its reference and its mask.

    No motion module: what it adds lies beside the attention to the text.
    """
    sampling = pack.module("animatediff.sampling")
    (options,) = pack.call("ADE_StandardStaticContextOptions", context_length=4, context_overlap=2)
    now: list[int] = []

    def patch(model: Any) -> Any:
        return pack.call(
            "ADE_UseEvolvedSampling",
            model=model,
            beta_schedule="use existing",
            context_options=options,
        )[0]

    def sample(model: Any, way: Way) -> Tensor:
        evaluate = sampling.evaluate_context_windows

        def noting(*given: Any, **named: Any) -> Any:
            ((_, now[:]),) = given[5]
            return evaluate(*given, **named)

        sampling.evaluate_context_windows = noting
        try:
            return scene.sample(model, way, steps=2)
        finally:
            sampling.evaluate_context_windows = evaluate

    def frames() -> Sequence[int]:
        return now

    return Company(patch, sample, frames=frames)


@pilot("ComfyUI-AnimateDiff-Evolved", "AnimateDiff Unload")
def unload(pack: Checkout, scene: Scene) -> Company:
    """A MODEL whose options were copied in depth means the same."""

    def patch(model: Any) -> Any:
        return pack.call("ADE_AnimateDiffUnload", model=model)[0]

    return Company(patch)


@pilot("ComfyUI-layerdiffuse", "Layer Diffuse, attention sharing")
def layer_diffuse(pack: Checkout, scene: Scene) -> Company:
    """It replaces every attention module by one of its own, which asks no slot."""
    patcher = pack.module("lib_layerdiffusion.attention_sharing").AttentionSharingPatcher

    def patch(model: Any) -> Any:
        model = model.clone()
        torch.manual_seed(3)
        patcher(model, frames=2, use_control=False, rank=8)
        return model

    return Company(patch)


@pilot("ComfyUI-BrushNet", "BrushNet (its wrappers)")
def brush_net(pack: Checkout, scene: Scene) -> Company:
    """Something is added after each block; its model, which no test has, is left out.

    So the functions are called with which the node puts itself on a MODEL, and what is added is
    a number that depends on the step, as its model's would.
    """
    wrap = pack.module("model_patch").patch_model_function_wrapper

    def forward(unet: Any, x: Tensor, t: Tensor, options: Any, control: Any) -> None:
        for block in unet.input_blocks:
            block[-1].add_sample_after = 0.01 * x.mean(dim=(1, 2, 3), keepdim=True)

    def patch(model: Any) -> Any:
        model = model.clone()
        wrap(model, forward)
        return model

    return Company(patch)


@pilot("ComfyUI-IC-Light-huchenlei", "IC Light Apply")
def ic_light(pack: Checkout, scene: Scene) -> Company:
    """A picture is joined to the latent, and weights are added; the layers stay as they are."""
    other = companions.relative_of(scene.model, distance=0.05)
    pixels = torch.randn(1, 4, *scene.size[1:], generator=torch.Generator().manual_seed(6))

    def patch(model: Any) -> Any:
        light = companions.rebuilt(other, channels=8)
        return pack.call(
            "ICLightAppply", model=model, ic_model=light, c_concat={"samples": pixels}
        )[0]

    return Company(patch)


@pilot("ComfyUI-IC-Light-kijai", "Load And Apply IC-Light")
def ic_light_of_kijai(pack: Checkout, scene: Scene) -> Company:
    """As the other IC-Light; the picture comes with the prompts."""
    light = companions.rebuilt(companions.relative_of(scene.model, distance=0.05), channels=8)
    state = light.model.diffusion_model.state_dict()
    folder = Path(folder_paths.get_folder_paths("unet")[0])
    folder.mkdir(parents=True, exist_ok=True)
    offsets = {key: 0.1 * value for key, value in state.items()}
    save_file(offsets, folder / "light.safetensors")
    pixels = torch.randn(1, 4, *scene.size[1:], generator=torch.Generator().manual_seed(6))

    def patch(model: Any) -> Any:
        return pack.call("LoadAndApplyICLightUnet", model=model, model_path="light.safetensors")[0]

    def sample(model: Any, way: Way) -> Tensor:
        positive, negative, _ = pack.call(
            "ICLightConditioning",
            positive=scene.positive,
            negative=scene.negative,
            vae=None,
            foreground={"samples": pixels},
            multiplier=0.18,
        )
        return scene.sample(model, way, positive=positive, negative=negative)

    return Company(patch, sample)


def _unet(scene: Scene, state: dict[str, Any], operations: Any = None) -> Any:
    """The scene's UNet with other weights, and what they are computed with."""
    config = dict(scene.model.model.model_config.unet_config)
    supported = comfy.supported_models.SD15(dict(config))
    supported.unet_config = config
    supported.set_inference_dtype(torch.float32, torch.float32)
    supported.custom_operations = operations
    base = supported.get_model({}, "", device="cpu")
    base.diffusion_model.load_state_dict(state, strict=False)
    base.diffusion_model.eval().dtype = torch.float32
    return comfy.model_patcher.ModelPatcher(base, tiny.CPU, tiny.CPU)


def _packed(pack: Checkout, scene: Scene) -> tuple[Any, Any]:
    """The scene's UNet in packed weights, in the pack's class of MODEL, and the same unpacked."""
    import gguf

    ops, nodes = pack.module("ops"), pack.module("nodes")
    unpack = pack.module("dequant").dequantize_tensor
    kinds = gguf.GGMLQuantizationType
    state, plain = {}, {}
    for key, value in scene.model.model.diffusion_model.state_dict().items():
        data, kind = value, kinds.F32
        if value.ndim == 2 and value.shape[1] % 32 == 0 and "attn" in key:
            kind = kinds.Q8_0
            data = torch.from_numpy(gguf.quants.quantize(value.numpy(), kind))
        state[key] = ops.GGMLTensor(data, tensor_type=kind, tensor_shape=value.shape)
        plain[key] = torch.Tensor(unpack(state[key], torch.float32))
    packed = _unet(scene, state, ops.GGMLOps)
    return nodes.GGUFModelPatcher.clone(packed), _unet(scene, plain)


@pilot("ComfyUI-GGUF", "Unet Loader (GGUF)")
def gguf_unet(pack: Checkout, scene: Scene) -> Company:
    """The layers are the same, whatever their weights are packed in."""
    scene.twin.model, _ = _packed(pack, scene)
    return Company()


@pilot("ComfyUI-GGUF", "Unet Loader (GGUF), FaceID with its LoRA")
def gguf_face(pack: Checkout, scene: Scene) -> Company:
    """The LoRA is added to packed weights as to the same weights unpacked."""
    tensors = tiny.adapter_tensors(scene.twin, "FaceID") | tiny.lora_tensors(scene.twin)
    with tempfile.TemporaryDirectory() as folder:
        adapter = tiny.load_tensors(Path(folder), tensors, "face")
    scene.reference = companions.Reference(adapter, tiny.random_faces(2))  # type: ignore[arg-type]
    scene.twin.model, unpacked = _packed(pack, scene)

    def right(way: Way) -> Tensor:
        return scene.sample(scene.mine(unpacked, way), way)

    return Company(right=right)
