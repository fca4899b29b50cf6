"""Files that are no IP-Adapter but are taken for one, by the names of their tensors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ..errors import UnsupportedAdapter


class Relative(NamedTuple):
    """A kind of file.

    Attributes:
        words: one of them is in the name of some tensor; ^ is where a name begins.
        name: what it is called.
        instead: what to do with it or in its place.
    """

    words: tuple[str, ...]
    name: str
    instead: str


_OWN_NODES = "Use the nodes made for that model, or choose an IP-Adapter file"
_FLUX = "Choose InstantX's or XLabs' adapter for Flux"

# The first one counts: each is told by what those below it do not have.
RELATIVES = (
    Relative(("proj_new_input.",), "an IP-Adapter-Instruct file", _OWN_NODES),
    Relative(
        ("norm_ip_q.scale", "cross_layer_blocks.", "cross_scale_blocks."),
        "an InstantCharacter file",
        f"{_FLUX}: nothing in ComfyUI runs InstantCharacter's two encoders and its projector",
    ),
    Relative(("pulid_ca.",), "a PuLID file for Flux", "Use the nodes of PuLID for Flux"),
    Relative(("id_to_k", "id_embedding_mapping"), "a PuLID file", _OWN_NODES),
    Relative(
        ("cross_attn.ip_adapter.", "cross_attn.processor.to_k_ip"),
        "a Lynx file for Wan",
        "Use the nodes of ComfyUI-WanVideoWrapper",
    ),
    Relative(
        ("^to_k_ip.", "^ip_centroid"),
        "an IP-Adapter file for Anima",
        "Use the nodes of anima-ipadapter-reference-control",
    ),
    Relative(
        ("kv_proj_ip_adapter", "k_norm_ip_adapter"),
        "an IP-Adapter file for HunyuanDiT",
        "Choose an adapter and a checkpoint of another family: ComfyUI's HunyuanDiT lets nobody in",
    ),
    Relative(
        ("content_image_proj.", "style_image_proj."),
        "a CSGO file",
        "Choose an SDXL adapter, with the preset style transfer for its style alone",
    ),
    Relative(
        ("style_image_proj_modules.",),
        "a StyleShot file",
        "Choose an SD1.5 adapter, with the preset style transfer for its style alone",
    ),
)


def refuse_relatives(keys: Iterable[str], name: str) -> None:
    """Refuse what other nodes are for.

    Args:
        keys: names of the tensors of a file.

    Raises:
        UnsupportedAdapter: the file is of one of these kinds.
    """
    known = [f"^{key}" for key in keys]
    for relative in RELATIVES:
        if any(word in key for key in known for word in relative.words):
            raise UnsupportedAdapter(
                f"{name} is {relative.name}",
                "this pack applies IP-Adapter files of SD1.5, SD2, SDXL, Kolors, Flux and SD3.5",
                relative.instead,
            )
