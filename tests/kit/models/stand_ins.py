"""Models that an example workflow is run with where there are no published ones."""

from __future__ import annotations

from kit.server.tiny_nodes import (
    RANDOM_FLUX,
    RANDOM_SD3,
    RANDOM_SDXL,
    RANDOM_WEIGHTS,
    SIGLIP,
    VIT_L,
)
from stand_ins import ANY, TOY_ADAPTER, TOY_CFG, TOY_PLUS, TOY_SIZE, TOY_STEPS, Loader, Models
from toy_nodes import TOY

SDXL_BASE = "sd_xl_base_1.0.safetensors"
SDXL_CONTROL = "instantid_controlnet.safetensors"
SD3_BASE = "sd3.5_large_fp8_scaled.safetensors"
FLUX_CONTROL = "flux_union_controlnet.safetensors"


def toy_models() -> Models:
    """The nodes of `toy_nodes`, and its adapters under the names that the demo gives them."""
    loaders = {
        "CheckpointLoaderSimple": {ANY: Loader("IPAToyCheckpoint", (TOY,))},
        "CLIPVisionLoader": {ANY: Loader("IPAToyEncoder", (TOY,))},
        "IPALoadAdapter": {
            "ip-adapter_sd15.safetensors": Loader("IPALoadAdapter", (TOY_ADAPTER,)),
            ANY: Loader("IPALoadAdapter", (TOY_PLUS,)),
        },
    }
    return Models(loaders, TOY_SIZE, TOY_STEPS, TOY_CFG)


def random_models(
    size: int, adapter: str | None = None, steps: int | None = None, frames: int | None = None
) -> Models:
    """The nodes of `tiny_nodes`, and the adapter file for them where there is one only."""
    loaders = {
        "CheckpointLoaderSimple": {
            SDXL_BASE: Loader("IPADemoCheckpoint", (RANDOM_SDXL,)),
            SD3_BASE: Loader("IPADemoCheckpoint", (RANDOM_SD3,)),
            ANY: Loader("IPADemoCheckpoint", (RANDOM_WEIGHTS,)),
        },
        "CLIPVisionLoader": {ANY: Loader("IPADemoCLIPVision", (RANDOM_WEIGHTS,))},
        "ControlNetLoader": {
            SDXL_CONTROL: Loader("IPADemoControlNet", (RANDOM_SDXL,)),
            FLUX_CONTROL: Loader("IPADemoControlNet", (RANDOM_FLUX,)),
            ANY: Loader("IPADemoControlNet", (RANDOM_WEIGHTS,)),
        },
        "IPALoadEncoder": {
            "clip-vit-large-patch14.safetensors": Loader("IPADemoCLIPVision", (VIT_L,)),
            ANY: Loader("IPADemoCLIPVision", (SIGLIP,)),
        },
        "UNETLoader": {ANY: Loader("IPADemoFlux", ())},
        "DualCLIPLoader": {ANY: Loader("IPADemoFluxText", ())},
        "VAELoader": {ANY: Loader("IPADemoFluxVAE", ())},
    }
    if adapter is not None:
        loaders["IPALoadAdapter"] = {ANY: Loader("IPALoadAdapter", (adapter,))}
    return Models(loaders, size, steps, frames=frames)
