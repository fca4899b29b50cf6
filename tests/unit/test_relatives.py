"""Files that are taken for IP-Adapters are refused by their own names."""

from __future__ import annotations

import pytest
import torch
from pack.ip_models.adapter.recognise import read_spec
from pack.ip_models.adapter.state_dict import canonical
from pack.ip_models.errors import UnsupportedAdapter

ROW = torch.zeros(4, 4)
INSTANT_CHARACTER = {
    "image_proj": {"resampler.latents": ROW, "cross_layer_blocks.0.attn.to_q.weight": ROW},
    "ip_adapter": {
        "0.norm_ip_q.scale": ROW[0],
        "0.norm_ip_k.scale": ROW[0],
        "0.to_k_ip.weight": ROW,
        "0.to_k_ip.bias": ROW[0],
        "0.to_v_ip.weight": ROW,
        "0.to_v_ip.bias": ROW[0],
    },
}
LYNX = {
    "blocks.0.cross_attn.ip_adapter.to_k_ip.weight": ROW,
    "blocks.0.cross_attn.ip_adapter.registers": ROW,
}
CSGO = {"content_image_proj.proj.weight": ROW, "style_image_proj.proj.weight": ROW}
STYLE_SHOT = {
    "style_image_proj_modules.0.proj.weight": ROW,
    "adapter_modules.1.to_k_ip.weight": ROW,
}
HUNYUAN = {"blocks.0.attn2.kv_proj_ip_adapter.weight": ROW}

ANIMA = {"resampler.queries": ROW, "to_k_ip.0.weight": ROW, "to_v_ip.0.weight": ROW}


@pytest.mark.parametrize(
    ("tensors", "name"),
    [
        (INSTANT_CHARACTER, "InstantCharacter"),
        (LYNX, "Lynx"),
        (CSGO, "CSGO"),
        (STYLE_SHOT, "StyleShot"),
        (HUNYUAN, "HunyuanDiT"),
        (ANIMA, "Anima"),
        ({"pulid_ca.0.to_q.weight": ROW}, "PuLID file for Flux"),
        ({"id_adapter_attn_layers.0.id_to_k.weight": ROW}, "PuLID"),
    ],
)
def test_a_relative_is_named_with_what_could_be_used(tensors: object, name: str) -> None:
    with pytest.raises(UnsupportedAdapter) as error:
        read_spec(canonical(tensors, "mine.bin"), "mine.bin")  # pyright: ignore
    assert error.value.found.startswith("mine.bin is ") and name in error.value.found
    assert error.value.action.startswith(("Use", "Choose"))
