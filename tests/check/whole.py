"""Whether the file of a base model or folder of an encoder is whole, and paints from text alone.

All of it from headers: the host's networks are built without memory and compared with the names
and sizes that a file has, so that nothing it would fill with zeros or noise passes for weights.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import comfy.diffusers_convert
import comfy.model_detection as detection
import comfy.sd
import comfy.utils
import torch
from check.base import PREFIX, diffusion_tensors, has_prefix, unknown
from check.problem import CheckError
from check.stored import is_scale, quantised
from pack.nodes.host.encoder import folder
from pack.nodes.host.encoder.config import read_config
from pack.nodes.host.files import checkpoint
from pack.nodes.host.files.folders import MODEL_CONFIG

Shapes = Mapping[str, Any]

_AGAIN = "a whole file is needed: download it again, or convert it anew from one that is whole"
_NUMBERED = re.compile(
    r"(?P<list>(?:.*\.)?(?:(?:input|output|transformer|double|single|joint|single_transformer|down"
    r"|up)_blocks|resblocks|resnets|attentions|layers|block|down|up))\.(?P<number>[0-9]{1,4})\."
)
_MISMATCH = re.compile(r"size mismatch for (\S+):")
_ENCODER_LAYER = re.compile(
    r"(?:vision_model\.encoder\.layers|visual\.transformer\.resblocks)\.([0-9]{1,3})\."
)
_LAYERS = {1024: 24, 1152: 27, 1280: 32, 1664: 48}  # ViT-L, SigLIP, ViT-H and ViT-bigG
# What the host's detection stumbles over where names are not there.
FOREIGN = (LookupError, TypeError, ValueError, AttributeError, RuntimeError, AssertionError)
# The host does without.
_UNUSED = re.compile(r".*\.logit_scale|(?!clip_g\.).*\.transformer\.text_projection\.weight")
_TOLD_BY_ONE = {"guidance_in", "vector_in", "label_emb"}  # parts that only some models have
_MORE = ".cond_proj.weight"  # of LCM, which the host does without
_QUANT = [f"{name}quant_conv.{kind}" for name in ("", "post_") for kind in ("weight", "bias")]
_INPUTS = {
    5: ("a depth model", "a depth map"),
    7: ("an upscaler", "a small picture"),
    8: ("an InstructPix2Pix model", "a picture to change"),
    9: ("an inpainting model", "a picture and a mask"),
    32: ("a Flux Depth or Canny model", "a picture of depth or edges"),
    96: ("a Flux Fill model for inpainting", "a picture and a mask"),
}


class _Model(NamedTuple):
    """What the host takes a file for.

    Attributes:
        config: the host's, which builds it.
        state: of the diffusion model, under the host's names.
        renamed: where the host puts what has names of diffusers', empty where none has.
    """

    config: Any
    state: dict[str, torch.Tensor]
    renamed: Mapping[str, Any] = {}


def require_model(path: Path, shapes: Shapes) -> None:
    """Refuse a base model that lacks tensors, or that wants more than a prompt.

    Raises:
        CheckError: it does, or ComfyUI does not know it.
    """
    _require_no_gap(path, shapes)
    held = _without_data(shapes)
    with _silent():
        model = _detected(path, held)
        _require_text_alone(path, model.config)
        if _is_packed(model.state):
            if not quantised(shapes):
                raise _packed(path)
            return
        _require_none(path, "diffusion model", *_network(path, model, held))
        for part, lacking in (("text encoder", _texts), ("VAE", _vae)):
            with suppress(*FOREIGN):  # then the loader of that part says what is wrong
                _require_none(path, part, *lacking(model.config, held))


@contextmanager
def _silent() -> Generator[None]:
    """Without what the host says of tensors that it misses; the sentence is ours."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def _require_no_gap(path: Path, shapes: Shapes) -> None:
    """The host counts blocks up to the first that is not there, and leaves those after it."""
    numbers: dict[str, set[int]] = {}
    for key in shapes:
        end = len(key)
        while match := _NUMBERED.match(key, 0, end):
            numbers.setdefault(match["list"], set()).add(int(match["number"]))
            end = match.start("number")
    for name, there in numbers.items():
        if absent := set(range(max(there))) - there:
            raise CheckError(
                f"{path.name} has {name}.{max(there)} and nothing of {name}.{min(absent)}: {_AGAIN}"
            )


def _without_data(shapes: Shapes) -> dict[str, torch.Tensor]:
    return {
        key: torch.empty(one.shape, dtype=_torch_type(one.dtype), device="meta")
        for key, one in shapes.items()
        if not is_scale(key)
    }


def _torch_type(dtype: torch.dtype | str) -> torch.dtype:
    return dtype if isinstance(dtype, torch.dtype) else torch.uint8


def _is_packed(state: Shapes) -> bool:
    """Whether weights are of fewer bits than a number of torch's, and so of other shapes."""
    return any(len(one.shape) > 1 and not one.dtype.is_floating_point for one in state.values())


def _packed(path: Path) -> CheckError:
    return CheckError(
        f"{path.name} holds weights packed into whole numbers (nf4 or the like), which only nodes "
        "of other packs read: the checkpoint in fp16, bf16 or fp8 is needed, as --checkpoint FILE"
    )


def _detected(path: Path, held: dict[str, torch.Tensor]) -> _Model:
    state = diffusion_tensors(held)
    try:
        config = detection.model_config_from_unet(held, PREFIX if has_prefix(held) else "")
        model = _Model(config, state)
        if config is None and not has_prefix(held):
            model = _of_diffusers(state)
    except FOREIGN as error:
        raise _unknown_or_cut(path, state) from error
    if model.config is None:
        raise _unknown_or_cut(path, state)
    return model


def _of_diffusers(state: dict[str, torch.Tensor]) -> _Model:
    made = detection.convert_diffusers_mmdit(dict(state), "")
    if made is None:
        config = detection.model_config_from_diffusers_unet(state)
        names = {} if config is None else comfy.utils.unet_to_diffusers(config.unet_config)
        return _Model(config, {names[k]: one for k, one in state.items() if k in names}, names)
    config = detection.model_config_from_unet(made, "")
    if config is None:
        return _Model(None, made)
    blocks = len({key.split(".")[1] for key in made if key.startswith("joint_blocks.")})
    if blocks:
        sizes = {**config.unet_config, "num_blocks": blocks}
        return _Model(config, made, comfy.utils.mmdit_to_diffusers(sizes))
    return _Model(config, made, comfy.utils.flux_to_diffusers(config.unet_config))


def _unknown_or_cut(path: Path, state: Shapes) -> CheckError:
    if not any(_NUMBERED.match(key) for key in state):
        return unknown(path)
    return CheckError(
        f"{path.name} holds blocks of a model, and not what tells ComfyUI which: tensors are "
        "missing in it, or it is none of SD1.5, SDXL, Flux.1 and SD3.5 Large, of which a whole "
        "checkpoint is needed"
    )


def _require_text_alone(path: Path, config: Any) -> None:
    channels = config.unet_config.get("in_channels")
    usual = config.latent_format.latent_channels
    if channels is None or str(config.unet_config.get("image_model")).startswith("chroma"):
        return
    if channels > usual:
        what, more = _INPUTS.get(channels, ("a model", "something else"))
        raise CheckError(
            f"{path.name} is {what} ({channels} input channels where {usual} are usual), which "
            f"wants {more} beside the prompt, and a check has none: a model that paints from a "
            "prompt alone is needed, as --checkpoint FILE"
        )


def _network(path: Path, model: _Model, held: Mapping[str, torch.Tensor]) -> tuple[list[str], int]:
    config = model.config
    try:
        # Not with what is held: some sorts are told by values, which change nothing of the network.
        network = config.get_model({}, "", device="meta").diffusion_model
        given = config.process_unet_state_dict(dict(model.state))
        found = network.load_state_dict(given, strict=False, assign=True)
    except FOREIGN as error:
        wrong = _MISMATCH.search(str(error))
        if wrong is None:  # there are fewer parts than others of it need
            raise _unknown_or_cut(path, model.state) from error
        raise CheckError(
            f"{path.name} holds {wrong[1]} in another size than its other tensors need: {_AGAIN}"
        ) from error
    needed = set(network.state_dict())  # asked now: some of the host's layers are made by loading
    missing = found.missing_keys or _slices(model.renamed, held, needed)
    parts = {name.split(".")[0] for name in needed} | _TOLD_BY_ONE
    alone = [
        name
        for name in found.unexpected_keys
        if name.split(".")[0] in parts and not name.endswith(_MORE)
    ]
    if alone and not missing:  # the host leaves a part out whose first tensor is not there
        raise CheckError(f"{path.name} has {alone[0]} and not what it belongs to: {_AGAIN}")
    return missing, len(needed)


def _slices(renamed: Mapping[str, Any], held: Shapes, needed: set[str]) -> list[str]:
    """Names of diffusers' without which the host would leave noise in a part of its tensor."""
    places = {key: (at, None) if isinstance(at, str) else at[:2] for key, at in renamed.items()}
    there = {place for key, place in places.items() if key in held}
    return [
        key
        for key, (name, part) in places.items()
        if name in needed and (name, None) not in there and (name, part) not in there and part
    ]


def _texts(config: Any, held: dict[str, torch.Tensor]) -> tuple[list[str], int]:
    target, state = config.clip_target(state_dict=held), config.process_clip_state_dict(dict(held))
    if target is None or not state:
        return [], 0
    module = target.clip(**target.params, dtype=torch.float16, device="meta", model_options={})
    missing = module.load_state_dict(state, strict=False, assign=True).missing_keys
    return [key for key in missing if not _UNUSED.fullmatch(key)], len(module.state_dict())


def _vae(config: Any, held: dict[str, torch.Tensor]) -> tuple[list[str], int]:
    prefixes = {prefix: "" for prefix in config.vae_key_prefix}
    state = comfy.utils.state_dict_prefix_replace(dict(held), prefixes, filter_keys=True)
    if not state:
        return [], 0
    state = config.process_vae_state_dict(state)
    if "decoder.up_blocks.0.resnets.0.norm1.weight" in state:
        state = comfy.diffusers_convert.convert_vae_state_dict(state)
    with torch.device("meta"):
        module = comfy.sd.VAE(sd=dict(state)).first_stage_model
    if module is None:
        return ["decoder.conv_in.weight"], len(state) + 1  # by which the host knows one
    needed = {*module.state_dict(), *(_QUANT if any(key in state for key in _QUANT) else ())}
    return sorted(key for key in needed if key not in state), len(needed)


def _require_none(path: Path, part: str, missing: list[str], needed: int) -> None:
    if missing:
        raise CheckError(
            f"{path.name} lacks {len(missing)} of {max(needed, len(missing))} tensors of its "
            f"{part}, the first of them is {missing[0]}: {_AGAIN}"
        )


def require_layers(path: Path, width: int) -> None:
    """Refuse an encoder's file whose last layers are missing, which leaves no gap in the names.

    Raises:
        CheckError: there are fewer than any encoder of this width has.
    """
    if (path.parent / MODEL_CONFIG).is_file():  # which says how many there are, and is gone by
        return
    found = (_ENCODER_LAYER.match(key) for key in checkpoint.read_shapes(str(path)))
    there, needed = len({match[1] for match in found if match}), _LAYERS.get(width, 0)
    if there < needed:
        raise CheckError(
            f"{path.name} has {there} of the {needed} layers of an image encoder that is {width} "
            f"wide: {_AGAIN}"
        )


def require_encoder_folder(path: Path) -> None:
    """Refuse a folder of an image encoder that lacks tensors, which loading it would tell.

    Raises:
        CheckError, BrokenFile: it does, or it is none.
    """
    shapes = folder.read_shapes(str(path))
    projection = shapes.get("visual_projection.weight")
    with torch.device("meta"):
        like = None if projection is None else torch.empty(projection.shape)
        network = read_config(str(path)).build("vision_model.head.probe" in shapes, like)
        needed = folder.Tower(network).state_dict()
    missing = [key for key in needed if key not in shapes]
    _require_none(path, "image encoder", missing, len(needed))
