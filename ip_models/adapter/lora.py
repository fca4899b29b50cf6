"""The LoRA inside a FaceID file, under names that say where in the UNet it belongs.

FaceID files number the attention layers of the UNet, self-attention included, in the order of
diffusers' `attn_processors` (tencent-ailab/IP-Adapter @ 62e4af9, `ip_adapter_faceid.py`): down
blocks, up blocks, middle block; in each transformer block the self-attention comes first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from torch import Tensor

from ..errors import Action, Mend, WrongBase
from ..layer import Layer
from .state_dict import Shaped, broken

PARTS = ("to_q", "to_k", "to_v", "to_out")
_KEY = re.compile(r"^(\d+)\.(to_(?:q|k|v|out)_lora\.(?:down|up)\.weight)$")


def require_whole(lora: Mapping[str, Shaped], layers: int, name: str) -> None:
    """Refuse a LoRA that has not got both halves of every map of every attention.

    Args:
        layers: number of cross-attention layers.

    Raises:
        BrokenFile: a tensor is missing or too much, or two halves do not fit each other.
    """
    wanted = [f"{number}.{part}_lora" for number in range(2 * layers) for part in PARTS]
    keys = {f"{stem}.{half}.weight" for stem in wanted for half in ("down", "up")}
    if missing := sorted(keys - lora.keys()):
        raise broken(name, f"has a LoRA without {missing[0]}")
    if extra := sorted(lora.keys() - keys):
        raise broken(name, f"has a LoRA with an unknown tensor {extra[0][:80]}")
    for stem in wanted:
        down, up = lora[f"{stem}.down.weight"].shape, lora[f"{stem}.up.weight"].shape
        if len(down) != 2 or len(up) != 2 or down[0] != up[1]:
            raise broken(name, f"has a LoRA whose halves of {stem} do not fit each other")


def renamed(lora: Mapping[str, Tensor], processors: Sequence[str], name: str) -> dict[str, Tensor]:
    """The LoRA of a file as a LoRA of diffusers' (`unet.<processor>.to_q_lora.down.weight`).

    Args:
        processors: name of every attention of the model it is for, self and cross.

    Raises:
        BrokenFile: see `require_whole`.
    """
    require_whole(lora, len(processors) // 2, name)
    matches = ((_KEY.match(key), value) for key, value in lora.items())
    return {f"unet.{processors[int(m[1])]}.{m[2]}": value for m, value in matches if m}


def require_fit(lora: Mapping[str, Shaped], layers: Sequence[Layer], name: str) -> None:
    """Refuse a LoRA whose maps are not as large as those of a model.

    Args:
        lora: a whole one, see `require_whole`.
        layers: all cross-attention layers of a model.

    Raises:
        WrongBase: a map is of another size.
    """
    fitting = 0
    for number in range(2 * len(layers)):
        layer = layers[number // 2]
        for part in PARTS:
            across = number % 2 == 1 and part in ("to_k", "to_v")
            stem = f"{number}.{part}_lora"
            rows, columns = lora[f"{stem}.up.weight"].shape[0], lora[f"{stem}.down.weight"].shape[1]
            fitting += (rows, columns) == (layer.width, layer.context if across else layer.width)
    maps = 2 * len(layers) * len(PARTS)
    if fitting != maps:
        raise WrongBase(
            f"the LoRA in {name} fits {fitting} of {maps} attention maps of this MODEL",
            "the MODEL the adapter was trained for is needed",
            Action(
                "Set face_lora_strength to 0, or load another checkpoint",
                Mend("face_lora_strength", 0),
            ),
        )
