"""Packs that take part in the attention layers, or replace what runs there.

The law of most: they add to or replace the attention to the text, and the reference is added to
whatever comes out, so one oracle at the layer's end is right for both orders. Where a node works on
what the layer gives below it (guidance inside the attention), the order is part of the workflow.
"""

from __future__ import annotations

from typing import Any

import torch
from company.checkout import Checkout
from company.pilot import pilot
from company.scene import Company, Scene, Way
from kit.models import checkpoints, tiny
from torch import Tensor

IN_PLACE = tuple(Way(cfg) for cfg in (4.0, 1.0))  # what an oracle in the slots can say


def _randn(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pilot("ComfyUI-NAG", "KSampler with NAG (its UNet)")
def nag(pack: Checkout, scene: Scene) -> Company:
    """A second negative prompt is more rows of text; it guides the text, and we add to the result.

    Its own forward of a layer does both, so what leaves the layer without us is its work alone. Its
    start imports other families, which not every host has; so its part for UNets is switched on
    and off as its guider does it.
    """
    pack.bare()
    switch = pack.module("sd.openaimodel").NAGUNetModelSwitch
    text, options = scene.prompt(61)[0]
    negative = [[text.expand(scene.size[0], -1, -1), options]]

    def sample(model: Any, way: Way) -> Tensor:
        switched = switch(model.model.diffusion_model, negative, 5.0, 2.5, 0.5, 0.0)
        switched.set_nag()
        try:
            return scene.sample(model, way)
        finally:
            switched.set_origin()

    return Company(sample=sample, sampler_only=True)


def _of_perturbed(name: str, on_top: bool, **inputs: Any) -> Any:
    def fly(pack: Checkout, scene: Scene) -> Company:
        """See the module; the guidance of attn2 calls what stood in the slot before it."""

        def patch(model: Any) -> Any:
            given = dict(inputs)
            if on_top:
                given["negative"] = scene.prompt(61)
            return pack.call(name, model=model, **given)[0]

        return Company(patch, on_top=on_top, ways=IN_PLACE if on_top else Company().ways)

    return fly


pilot("sd-perturbed-attention", "Normalized Attention Guidance")(
    _of_perturbed("NormalizedAttentionGuidance", on_top=True)
)
pilot("sd-perturbed-attention", "PLADIS")(_of_perturbed("PLADIS", on_top=False))
pilot("sd-perturbed-attention", "Perturbed-Attention Guidance")(
    _of_perturbed("PerturbedAttention", on_top=False, scale=3.0)
)


@pilot("ComfyUI-AutomaticCFG", "Automatic CFG - Advanced")
def automatic_cfg(pack: Checkout, scene: Scene) -> Company:
    """It copies the options of the MODEL in depth and puts a slot on whole blocks.

    The modifier computes plain attention, so the layer's rows stay and its result is the text's.
    """
    (modifier, _) = pack.call(
        "Automatic CFG - Attention modifiers",
        sigma_start=1000,
        sigma_end=0,
        self_attn_mod_eval="attnpy * 0.9",
        unet_block_id_input="1,4",
        unet_block_id_middle="0",
        unet_block_id_output="5",
        unet_attn="attn2",
    )

    def patch(model: Any) -> Any:
        return pack.call(
            "Automatic CFG - Advanced",
            model=model,
            automatic_cfg="hard",
            attention_modifiers_global_enabled=True,
            attention_modifiers_global=modifier,
        )[0]

    return Company(patch)


def _maps(scene: Scene, tokens: int) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """Random key and value maps under the numbers of adapter files, and two rows of tokens."""
    maps: dict[str, Tensor] = {}
    for i, width in enumerate(scene.twin.widths):
        for j, part in enumerate(("k", "v")):
            weight = _randn(width, scene.twin.context, seed=2 * i + j) / scene.twin.context**0.5
            maps[f"{2 * i + 1}.to_{part}_ip.weight"] = weight * 3
    rows = [_randn(1, tokens, scene.twin.context, seed=seed) for seed in (71, 72)]
    return maps, *rows


class _Face:
    """A stand-in for the face engine: an object on the node's socket with one face in it."""

    def __init__(self) -> None:
        self.det_model = self

    def get(self, image: Any) -> list[dict[str, Any]]:
        return [{"bbox": (0, 0, 9, 9), "embedding": _randn(512, seed=73).numpy()}]


@pilot("ComfyUI_InstantID", "InstantID Patch Attention", family="sdxl")
def instant_id(pack: Checkout, scene: Scene) -> Company:
    """Identity tokens are one more attention added to that of the text."""
    module = pack.module("InstantID")
    maps, *_ = _maps(scene, 16)
    torch.manual_seed(9)
    sizes = {"dim": 64, "depth": 4, "dim_head": 64, "heads": 20, "num_queries": 16}
    blank = module.Resampler(**sizes, embedding_dim=512, output_dim=2048, ff_mult=4)
    loaded = module.InstantID(
        {"image_proj": blank.state_dict(), "ip_adapter": maps},
        cross_attention_dim=64,
        output_cross_attention_dim=2048,
        clip_embeddings_dim=512,
        clip_extra_context_tokens=16,
    )

    def patch(model: Any) -> Any:
        return pack.call(
            "InstantIDAttentionPatch",
            instantid=loaded,
            insightface=_Face(),
            image=torch.zeros(1, 64, 64, 3),
            model=model,
            weight=0.8,
            start_at=0.0,
            end_at=1.0,
        )[0]

    return Company(patch)


@pilot("PuLID_ComfyUI", "Apply PuLID (its patches)", family="sdxl")
def pulid(pack: Checkout, scene: Scene) -> Company:
    """The part of its identity tokens that stands at right angles to the text is added.

    Its node needs three face models, so the function is called with which the node sets a slot.
    At right angles to the text alone: so it is where it comes first, and after us it is asked so.
    """
    module = pack.module("pulid")
    maps, cond, uncond = _maps(scene, 16)
    holder = type("Pulid", (), {"ip_layers": module.To_KV(maps)})()
    places = [
        *(("input", n, i) for n in (4, 5, 7, 8) for i in range(2 if n < 6 else 10)),
        *(("output", n, i) for n in range(6) for i in range(10 if n < 3 else 2)),
        *(("middle", 0, i) for i in range(10)),
    ]
    options = {"pulid": holder, "weight": 0.8, "cond": cond, "uncond": uncond, "ortho": True}

    def patch(model: Any) -> Any:
        model = model.clone()
        for i, place in enumerate(places):
            key = {"module_key": str(2 * i + 1), "sigma_start": 1e9, "sigma_end": 0.0}
            module.set_model_patch_replace(model, {**options, **key}, place)
        return model

    return Company(patch)


@pilot("ComfyUI_IPAdapter_plus", "IPAdapter Embeds")
def ip_adapter_plus(pack: Checkout, scene: Scene) -> Company:
    """Its reference and ours are two attentions added to that of the text."""
    tensors = tiny.adapter_tensors(scene.twin, "standard", seed=8)
    features = tiny.random_features(1, seed=30)

    def patch(model: Any) -> Any:
        # Read while nodes run, as its loader reads them: such tensors are of another kind to torch.
        read = checkpoints.nest({key: value.clone() for key, value in tensors.items()})
        return pack.call(
            "IPAdapterEmbeds",
            model=model,
            ipadapter={
                "ipadapter": {"model": read},
                "clipvision": {"model": object()},
            },
            pos_embed=features.pooled[:, None],
            neg_embed=features.negative_pooled[:, None],
            weight=0.8,
            weight_type="linear",
            start_at=0.0,
            end_at=1.0,
        )[0]

    return Company(patch)
