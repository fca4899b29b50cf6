"""What is used of ComfyUI's own objects; its code carries no types for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol, TypedDict, cast, overload
from uuid import UUID

import node_helpers
from torch import Tensor
from torch.nn import Module

from ...ip_models.errors import BadInput
from ...ip_models.inputs import no_link, require, shown, sides

# What the host and packs put there is of every kind, so each reader checks what it takes.
TransformerOptions = dict[str, Any]
AttentionPatch = Callable[[Tensor, Tensor, Tensor, TransformerOptions], Tensor]
# A CONDITIONING is a list of texts with their values; a run of the sampler has flat dicts of both.
Conditioning = Sequence[tuple[Tensor, Mapping[str, Any]]]
Condition = Mapping[str, Any]
CondLists = Sequence[Sequence[Condition] | None]
NodesById = Mapping[str, Mapping[str, Any]]


class ModelOptions(TypedDict):
    """Options of a MODEL or of a run; the host keeps more in them than this."""

    transformer_options: TransformerOptions


class ModelSampling(Protocol):
    """The noise schedule of a MODEL."""

    def percent_to_sigma(self, percent: float, /) -> float: ...


class Backup(Protocol):
    """A weight without patches."""

    weight: Tensor


class Model(Protocol):
    """A MODEL: `ModelPatcher` of comfy/model_patcher.py.

    Attributes:
        model: the network without patches, which clones share.
        patches: what is added to its weights, by their keys.
        patches_uuid: the host's mark of the weights with these patches.
        backup: weights without them, of those that are in the network at present.
        object_patches: what takes the place of the network's own objects, by their paths.
        object_patches_backup: the network's own, of those that are replaced at present.
    """

    model: Module
    model_options: ModelOptions
    patches: dict[str, list[tuple[object, ...]]]
    patches_uuid: UUID
    backup: Mapping[str, Backup]
    object_patches: Mapping[str, object]
    object_patches_backup: Mapping[str, object]

    def clone(self) -> Model: ...

    @overload
    def get_model_object(self, name: Literal["diffusion_model"], /) -> Module: ...
    @overload
    def get_model_object(self, name: Literal["model_sampling"], /) -> ModelSampling: ...

    def set_model_attn2_replace(
        self, patch: Callable[..., Tensor], block: str, number: int, layer: int, /
    ) -> None: ...

    def set_additional_models(self, key: str, models: list[Any], /) -> None: ...

    def remove_additional_models(self, key: str, /) -> None: ...

    def add_patches(self, patches: Mapping[str, object], strength: float, /) -> Iterable[str]: ...

    def add_callback_with_key(
        self, call_type: str, key: str, callback: Callable[..., None], /
    ) -> None: ...

    def remove_callbacks_with_key(self, call_type: str, key: str, /) -> None: ...


class Guider(Protocol):
    """What runs a sampler: `CFGGuider` of comfy/samplers.py and those of nodes.

    Attributes:
        conds: its conditionings by the name of their list.
        model_options: a copy for one run.
    """

    conds: Mapping[str, Sequence[Condition] | None]
    model_options: ModelOptions
    model_patcher: Model


class ModelExecutor(Protocol):
    """What a wrapper of a model's method calls to go on; the model is a `BaseModel` of the host."""

    class_obj: Any

    def __call__(self, *args: object, **kwargs: object) -> Tensor: ...


class GuiderExecutor(Protocol):
    """What a wrapper of a guider's method calls to go on."""

    class_obj: Guider

    def __call__(self, *args: object, **kwargs: object) -> Tensor: ...


def require_model(name: str, value: Any) -> None:
    """Refuse what is no MODEL, by what is used of one: other packs have classes of their own.

    Raises:
        BadInput: it is none.
    """
    parts = ("clone", "model_options", "get_model_object")
    if all(hasattr(value, part) for part in parts):
        try:
            value.get_model_object("diffusion_model")
            return
        except AttributeError:  # the host's patcher of another network, e.g. of an encoder
            pass
    raise no_link(name, value, "Load Checkpoint")


def require_encoder(value: object) -> None:
    """Refuse what is no CLIP_VISION, by what is used of one.

    Raises:
        BadInput: it is none.
    """
    needed = ("encode_image", "image_size", "image_mean")
    if not all(hasattr(value, part) for part in needed):
        raise BadInput(
            f"clip_vision is {shown(value)}",
            "an image encoder of ComfyUI is needed",
            "Connect Load CLIP Vision",
        )


def require_conditioning(name: str, value: object) -> None:
    """Refuse what is no CONDITIONING.

    Raises:
        BadInput: it is none.
    """
    require(name, value, list, "CLIP Text Encode")
    for part in cast("list[object]", value):
        pair = cast("Sequence[object]", part) if isinstance(part, list | tuple) else ()
        if len(pair) < 2 or not isinstance(pair[1], dict):
            raise BadInput(
                f"{name} holds {shown(part)}",
                "texts with their values, as CLIP Text Encode gives them, are needed",
                "Connect CLIP Text Encode",
            )


def require_latent(value: object) -> None:
    """Refuse what is no LATENT of pictures.

    Raises:
        BadInput: it is none.
    """
    require("latent", value, dict, "a node with a LATENT")
    samples = cast("dict[str, Any]", value).get("samples")
    if isinstance(samples, Tensor) and samples.ndim in (4, 5) and samples.numel():
        return
    held = f"samples of shape {sides(samples.shape)}" if isinstance(samples, Tensor) else "none"
    raise BadInput(
        f"latent holds {held}",
        "samples of batch x channels x height x width are needed",
        "Connect Empty Latent Image or VAE Encode, or nothing",
    )


def masked(conditioning: Any, mask: Tensor, strength: float) -> Any:
    """A CONDITIONING that holds for a part of the picture, as the host's own node sets it."""
    values = {"mask": mask, "set_area_to_bounds": False, "mask_strength": strength}
    return node_helpers.conditioning_set_values(conditioning, values)
