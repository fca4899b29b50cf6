"""Files on disk that fit: adapters for a MODEL, encoders for an adapter; by content."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar
from weakref import WeakValueDictionary

import comfy.clip_vision

from ...ip_models.errors import BrokenFile, IPAdapterError, MissingModel
from ...ip_models.features import name_encoder
from ...ip_models.published import ADAPTER_ADDRESSES, ENCODER_ADDRESSES, RULES, Choice, rank
from ...ip_models.spec import (
    ENCODER_NAMES,
    FACE_KINDS,
    UNET_FAMILIES,
    AdapterSpec,
    Family,
    Feature,
    Kind,
)
from . import checkpoint, encoder_folder, folders
from .backbones import AttentionLayer
from .loaded import read_file_spec
from .progress import Progress

_encoders: WeakValueDictionary[tuple[Any, ...], Any] = WeakValueDictionary()
Content = TypeVar("Content")
_LARGE, _LARGE_SEQUENCE = "ViT-L 336", 577  # its 24 x 24 patches and the class


class EncoderWidths(NamedTuple):
    """Feature widths of an image encoder file; `pooled` is None without a projection.

    Attributes:
        sequence: length of what it gives for a picture, None where the file does not tell.
    """

    pooled: int | None
    penultimate: int
    sequence: int | None = None

    def fits(self, spec: AdapterSpec) -> bool:
        """Whether the encoder gives what an adapter reads."""
        width = self.pooled if spec.feature is Feature.POOLED else self.penultimate
        # Encoders of other sizes share the width of a pooled feature, but not its meaning.
        named = spec.feature is Feature.POOLED and spec.encoder in ENCODER_NAMES.values()
        if spec.encoder == _LARGE and self.sequence not in (None, _LARGE_SEQUENCE):
            return False
        return width == spec.feature_width and (not named or self.name == spec.encoder)

    @property
    def name(self) -> str:
        """Common name, e.g. "ViT-H"."""
        if self.penultimate == 1024 and self.sequence == _LARGE_SEQUENCE:
            return _LARGE
        return name_encoder(self.pooled, self.penultimate)


def family_of(layers: list[AttentionLayer]) -> Family | None:
    """The base family of a MODEL with these layers."""
    if layers[0].projected:
        return Family.KOLORS
    return UNET_FAMILIES.get(layers[0].context)


def find_adapter(layers: list[AttentionLayer], choice: Choice) -> str:
    """Name of the adapter file that fits a MODEL and a choice best.

    Raises:
        MissingModel: none does; the message lists each file and why it does not fit.
    """
    specs, broken = _survey(folders.ADAPTERS, read_file_spec)
    ranked = [
        (place, name)
        for name, spec in specs.items()
        if spec.supported
        and suits(spec, layers)
        and (place := rank(choice, spec, os.path.basename(name))) is not None
    ]
    if ranked:
        return min(ranked)[1]
    rejected = [f"{name} is {_short(spec)}" for name, spec in specs.items()] + broken
    family = family_of(layers) or Family.SD1
    raise MissingModel(
        f"{folders.where(folders.ADAPTERS)} hold {'; '.join(rejected) or 'no adapter'}",
        f"a {choice.value} adapter for {family.value} is needed",
        f"{_get_adapter(family, choice)}, or choose a renamed file as adapter_file",
    )


def find_encoder(spec: AdapterSpec) -> str:
    """Name of an image encoder file that gives the features an adapter reads.

    Raises:
        MissingModel: none does; the message lists each file and why it does not fit.
    """
    encoders, broken = _survey(folders.ENCODERS, read_encoder)
    fitting = [name for name, widths in encoders.items() if widths.fits(spec)]
    if fitting:
        return fitting[0]
    rejected = [f"{name} is {widths.name}" for name, widths in encoders.items()] + broken
    raise MissingModel(
        f"{folders.where(folders.ENCODERS)} hold {'; '.join(rejected) or 'no image encoder'}",
        f"{spec.encoder} is needed",
        _get_encoder(spec),
    )


def load_encoder(path: str) -> Any:
    """Load an image encoder as CLIP_VISION, or hand out the one that is loaded already.

    A file is read by ComfyUI, a Hugging Face folder through transformers.

    Raises:
        BrokenFile: no image encoder can be made of the file or folder.
    """
    whole = os.path.isdir(path)
    key = encoder_folder.identity(path) if whole else checkpoint.identity(path)
    encoder = _encoders.get(key)
    if encoder is None:
        encoder = encoder_folder.load(path) if whole else _load_encoder(path)
        _encoders[key] = encoder
    return encoder


def _load_encoder(path: str) -> Any:
    read_encoder(path)
    progress = Progress(2)
    tensors = dict(checkpoint.read_tensors(path))
    progress.step()
    # OpenCLIP's own layout, as ComfyUI's loader tells it apart.
    foreign = "visual.transformer.resblocks.0.attn.in_proj_weight" in tensors
    prefix = "visual." if foreign else ""
    try:
        encoder = comfy.clip_vision.load_clipvision_from_sd(tensors, prefix, foreign)
    except (RuntimeError, UnboundLocalError, KeyError) as error:
        raise _no_encoder(path) from error
    if encoder is None:
        raise _no_encoder(path)
    progress.step()
    return encoder


_ENCODER_KEYS = (
    (
        "vision_model.post_layernorm.weight",
        "visual_projection.weight",
        0,
        "vision_model.embeddings.position_embedding.weight",
    ),
    ("visual.ln_post.weight", "visual.proj", 1, "visual.positional_embedding"),
)


def read_encoder(path: str) -> EncoderWidths:
    """Feature widths of an image encoder's file or folder, from headers alone.

    Raises:
        BrokenFile: it is no CLIP image encoder.
    """
    read = encoder_folder.read_shapes if os.path.isdir(path) else checkpoint.read_shapes
    widths = encoder_widths(read(path))
    if widths is None:
        raise _no_encoder(path)
    return widths


def encoder_widths(shapes: Mapping[str, Any]) -> EncoderWidths | None:
    """Feature widths of an image encoder with these tensors, None if it is none of CLIP's."""
    for width, pooled, column, places in _ENCODER_KEYS:
        if width in shapes:
            projection, places = shapes.get(pooled), shapes.get(places)
            return EncoderWidths(
                pooled=None if projection is None else int(projection.shape[column]),
                penultimate=int(shapes[width].shape[0]),
                sequence=None if places is None else int(places.shape[0]),
            )
    return None


def encoder_hint(spec: AdapterSpec) -> str:
    """What to do when the embeds come from another encoder than an adapter needs."""
    encoders, _ = _survey(folders.ENCODERS, read_encoder)
    for name, widths in encoders.items():
        if widths.fits(spec):
            return f"Encode with {name}, which is in models/{folders.ENCODERS}"
    return _get_encoder(spec)


def adapter_hint(layers: list[AttentionLayer], kind: Kind) -> str:
    """What to do when an adapter is not for a MODEL."""
    specs, _ = _survey(folders.ADAPTERS, read_file_spec)
    fitting = [
        name
        for name, spec in specs.items()
        # Whoever has a picture only has no use for an adapter that reads faces.
        if suits(spec, layers) and spec.supported and spec.needs_face is (kind in FACE_KINDS)
    ]
    choice = next((c for c, rule in RULES.items() if rule.kind is kind), Choice.STANDARD)

    def order(name: str) -> tuple[bool, bool, str]:
        """The plain one of a kind first: who has a plus adapter does not want plus face."""
        spec = specs[name]
        return spec.kind is not kind, rank(choice, spec, name) is None, name

    if fitting:
        best = min(fitting, key=order)
        return f"Load {best}, which is in models/{folders.ADAPTERS} and fits"
    family = family_of(layers) or Family.SD1
    return _get_adapter(family, choice)


def _survey(folder: str, read: Callable[[str], Content]) -> tuple[dict[str, Content], list[str]]:
    """Content of every file in a folder, and one remark for each that cannot be read."""
    contents: dict[str, Content] = {}
    remarks: list[str] = []
    for name in folders.files(folder):
        try:
            contents[name] = read(folders.resolve(folder, name))
        except IPAdapterError as error:
            remarks.append(error.found)
        except OSError as error:
            remarks.append(f"{name} cannot be read ({error.strerror})")
    return contents, remarks


def suits(spec: AdapterSpec, layers: list[AttentionLayer]) -> bool:
    """Whether an adapter has the family and, layer by layer, the widths of a MODEL."""
    widths = tuple(layer.width for layer in layers)
    if (spec.family is Family.KOLORS) != layers[0].projected:
        return False  # Kolors is an SDXL of the same widths behind a text encoder of its own
    return spec.context_width == layers[0].context and spec.layer_widths == widths


def _short(spec: AdapterSpec) -> str:
    return f"{spec.family.value} {spec.kind.value} for {spec.needs}"


def _get_adapter(family: Family, choice: Choice) -> str:
    address = ADAPTER_ADDRESSES.get((family, choice))
    if address is None:
        return f"Choose another kind: no {choice.value} adapter was published for {family.value}"
    return f"Put {address} into models/{folders.ADAPTERS}"


def _get_encoder(spec: AdapterSpec) -> str:
    known: Mapping[str, tuple[str, str]] = ENCODER_ADDRESSES
    if spec.encoder not in known:
        return f"Put an encoder with such features into models/{folders.ENCODERS}"
    name, address = known[spec.encoder]
    return f"Put {address} into models/{folders.ENCODERS} as {name}"


def _no_encoder(path: str) -> BrokenFile:
    return BrokenFile(
        f"{os.path.basename(path)} is no CLIP image encoder",
        "a ViT-L, ViT-H or ViT-bigG that ComfyUI can build is needed",
        f"Choose an image encoder from models/{folders.ENCODERS}",
    )
