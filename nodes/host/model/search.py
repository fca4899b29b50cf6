"""Files on disk that fit: adapters for a MODEL, encoders for an adapter; by content."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import comfy.model_base

from ....ip_models.adapter.published import (
    ADAPTER_ADDRESSES,
    ADAPTER_NAMES,
    ENCODER_ADDRESSES,
    RULES,
    Choice,
    Layers,
    base_name,
    choice_of,
    family_of,
    instead,
    published_family,
    rank,
)
from ....ip_models.adapter.spec import FACE_KINDS, AdapterSpec, Family, Kind
from ....ip_models.errors import Action, IPAdapterError, Mend, MissingModel, WrongBase
from ....ip_models.layer import Layer
from ..encoder.load import read_encoder
from ..files import folders
from ..protocols import Model
from .adapter import read_file_spec

Content = TypeVar("Content")
_MOST_LISTED = 3  # kinds that are advised
_MOST_ENCODERS = 4  # files that are listed
# The order in which another kind is advised.
_PLAIN_FIRST = tuple(dict.fromkeys((Choice.STANDARD, Choice.PLUS, *Choice)))


def shape_of(layers: Sequence[Layer]) -> Layers:
    """What tells base models apart."""
    widths = tuple(layer.width for layer in layers)
    stages = () if layers[0].context else tuple(layer.stage for layer in layers)
    return Layers(layers[0].context, widths, layers[0].projected, stages)


def find_adapter(layers: Sequence[Layer], choice: Choice, otherwise: str = "") -> str:
    """Name of the adapter file that fits a MODEL and a choice best.

    Args:
        otherwise: what else to do where there is none, instead of choosing another kind.

    Raises:
        MissingModel: none does; the message says which kinds are there for this MODEL.
    """
    specs, broken = _survey(folders.ADAPTERS, read_file_spec)
    fitting = {name: spec for name, spec in specs.items() if spec.supported and suits(spec, layers)}
    ranked = [
        (place, name)
        for name, spec in fitting.items()
        if (place := rank(choice, spec, os.path.basename(name))) is not None
    ]
    if ranked:
        return min(ranked)[1]
    kinds = _kinds(fitting, choice)
    base = shape_of(layers)
    called = base_name(base) if family_of(base) else "this MODEL"
    vowel = choice.value[0] in "IX"
    word = RULES[choice].word
    called += f", with {word} in its name," if word and kinds else ""
    raise MissingModel(
        _there(specs, broken, kinds),
        f"{'an' if vowel else 'a'} {choice.value} adapter for {called} is needed",
        _get_adapter(base, choice, otherwise, () if otherwise else kinds),
    )


def _kinds(fitting: Mapping[str, AdapterSpec], choice: Choice) -> list[Choice]:
    """What may be chosen instead of a kind: what also hears a picture, or also a face, if any."""
    known = {choice_of(spec, os.path.basename(name)) for name, spec in fitting.items()}
    kinds = [one for one in _PLAIN_FIRST if one in known]
    faces = RULES[choice].kind in FACE_KINDS
    return [one for one in kinds if (RULES[one].kind in FACE_KINDS) is faces] or kinds


def _there(specs: Mapping[str, AdapterSpec], broken: Sequence[str], kinds: Sequence[Choice]) -> str:
    """What is in the folder of adapters, of no use as it is: kinds, else families, else files."""
    folder = f"models/{folders.ADAPTERS}"
    if kinds:
        return f"{folder} has {_listed([one.value for one in kinds], 'and')} for this MODEL"
    families = sorted({spec.family.value for spec in specs.values()})
    there = f"{folder} has no adapter"
    if families:
        there = f"{folder} has adapters for {_listed(families, 'and')}, none for this MODEL"
    if not broken:
        return there
    more = f", and {len(broken) - 1} more cannot be read" if broken[1:] else ""
    return f"{there}; {broken[0]}{more}"


def _listed(words: Sequence[str], joint: str) -> str:
    *first, last = words
    return f"{', '.join(first)} {joint} {last}" if first else last


def find_encoder(spec: AdapterSpec) -> str:
    """Name of an image encoder file that gives the features an adapter reads.

    Raises:
        MissingModel: none does; the message lists each file and why it does not fit.
    """
    encoders, broken = _survey(folders.ENCODERS, read_encoder)
    fitting = [name for name, widths in encoders.items() if widths.fits(spec)]
    if fitting:
        return fitting[0]
    rejected = [f"{name} is {widths.about}" for name, widths in encoders.items()] + broken
    others = len(rejected) - _MOST_ENCODERS
    more = f", and {others} more" if others > 0 else ""
    there = ", ".join(rejected[:_MOST_ENCODERS]) + more
    raise MissingModel(
        f"no image encoder in models/{folders.ENCODERS} fits{there and f': {there}'}",
        f"{spec.encoder} is needed",
        _get_encoder(spec),
    )


def encoder_hint(spec: AdapterSpec) -> str:
    """What to do when the embeds come from another encoder than an adapter needs."""
    encoders, _ = _survey(folders.ENCODERS, read_encoder)
    for name, widths in encoders.items():
        if widths.fits(spec):
            where = f"which is in models/{folders.ENCODERS}"
            return Action(f"Encode with {name}, {where}", Mend("encoder_file", name))
    return _get_encoder(spec)


def adapter_hint(layers: Sequence[Layer], kind: Kind, wanted: Choice | None = None) -> str:
    """What to do when an adapter is not for a MODEL.

    Args:
        wanted: what that adapter is among those of its kind, e.g. its second version.
    """
    specs, _ = _survey(folders.ADAPTERS, read_file_spec)
    fitting = [
        name
        for name, spec in specs.items()
        # Whoever has a picture only has no use for an adapter that reads faces.
        if suits(spec, layers) and spec.supported and spec.needs_face is (kind in FACE_KINDS)
    ]
    base = shape_of(layers)
    family = published_family(base)
    counterpart = next((c for c, rule in RULES.items() if rule.kind is kind), Choice.STANDARD)
    known = [one for other, one in ADAPTER_ADDRESSES if other is family]
    advised = (wanted or counterpart, counterpart, Choice.STANDARD, Choice.PLUS, *known)
    choice = next((one for one in advised if one in known), counterpart)

    def order(name: str) -> tuple[bool, bool, int, str]:
        """The plain one of a kind first: who has a plus adapter does not want plus face."""
        spec = specs[name]
        own = choice_of(spec, os.path.basename(name))
        place = _PLAIN_FIRST.index(own) if own else len(_PLAIN_FIRST)
        return spec.kind is not kind, rank(choice, spec, name) is None, place, name

    if fitting:
        best = min(fitting, key=order)
        where = f"which is in models/{folders.ADAPTERS} and fits"
        return Action(f"Load {best}, {where}", Mend("adapter_file", best))
    return _get_adapter(base, choice)


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


def suits(spec: AdapterSpec, layers: Sequence[Layer]) -> bool:
    """Whether an adapter has the family and, layer by layer, the widths of a MODEL."""
    own = spec.of(layers)
    widths = tuple(layer.width for layer in own)
    if spec.stages:  # tokens of transformers' adapters are as wide as they please
        return {layer.stage for layer in own} == set(spec.stages) and spec.layer_widths == widths
    if (spec.family is Family.KOLORS) != layers[0].projected:
        return False  # Kolors is an SDXL of the same widths behind a text encoder of its own
    return spec.context_width == layers[0].context and spec.layer_widths == widths


def _get_adapter(
    base: Layers, choice: Choice, otherwise: str = "", kinds: Sequence[Choice] = ()
) -> str:
    """Where to get an adapter that fits a MODEL, or what to do where there is none.

    Args:
        otherwise: what else to do where adapters were published for such a MODEL.
        kinds: for which there are files.
    """
    family = published_family(base)
    address = ADAPTER_ADDRESSES.get((family, choice)) if family else None
    advised = [one.value for one in kinds[:_MOST_LISTED]]
    mends = [Mend("kind", one) for one in advised]
    if advised and address is None:
        there = "which are there" if advised[1:] else "which is there"
        return Action(f"Choose kind {_listed(advised, 'or')}, {there}", *mends)
    if family is None:
        return instead(base)
    instead_of = f", or {otherwise}" if otherwise else ""
    if address is None:
        kind = _listed([one.value for other, one in ADAPTER_ADDRESSES if other is family], "or")
        what = f"no {choice.value} adapter was published for {family.value}"
        return f"Choose another kind, {kind}{instead_of}: {what}"
    name = ADAPTER_NAMES.get((family, choice))
    named = f" as {name}" if name else ""
    put = f"Put {address} into models/{folders.ADAPTERS}{named}"
    if advised:
        return Action(f"{put}, or choose kind {_listed(advised, 'or')}", *mends)
    return f"{put}{instead_of}"


def _get_encoder(spec: AdapterSpec) -> str:
    known: Mapping[str, tuple[str, str]] = ENCODER_ADDRESSES
    if spec.encoder not in known:
        return f"Put the encoder it was trained with into models/{folders.ENCODERS}"
    name, address = known[spec.encoder]
    return f"Put {address} into models/{folders.ENCODERS} as {name}"


def require_base(name: str, spec: AdapterSpec, layers: Sequence[Layer]) -> None:
    """Refuse an adapter that was trained for another MODEL than the one with these layers.

    Raises:
        WrongBase: the family, the number of layers or a width is another.
    """
    if suits(spec, layers):
        return
    base = shape_of(layers)
    if spec.stages or layers[0].context == 0:
        raise _other_transformer(name, spec, layers)
    widths = base.widths
    if spec.context_width != base.context or (spec.family is Family.KOLORS) != base.projected:
        found = f"{name} is an adapter for {spec.family.value}"
        needed = f"this MODEL is {base_name(base)}"
    elif len(widths) != len(spec.layer_widths):
        found = f"{name} has {len(spec.layer_widths)} attention layers"
        needed = f"this MODEL has {len(widths)}"
    elif sorted(widths) == sorted(spec.layer_widths):
        raise WrongBase(
            f"{name} lists its attention layers in another order than this MODEL has them",
            "down blocks, up blocks and the middle block last are needed",
            "Convert it again in that order, or choose what it was converted from",
        )
    else:
        i = next(i for i, width in enumerate(widths) if width != spec.layer_widths[i])
        found = f"{name} is {spec.layer_widths[i]} wide where it meets {layers[i].block}"
        needed = f"this MODEL is {widths[i]} wide there"
    raise WrongBase(found, needed, adapter_hint(layers, spec.kind, choice_of(spec, name)))


def _other_transformer(name: str, spec: AdapterSpec, layers: Sequence[Layer]) -> WrongBase:
    """The refusal where the adapter or the MODEL is a transformer, and the other is not."""

    def counted(stages: Sequence[str], widths: Sequence[int]) -> str:
        counts = Counter(stages)
        return (
            f"{' and '.join(f'{n} {stage}' for stage, n in counts.items())} blocks {widths[0]} wide"
        )

    base = base_name(shape_of(layers))
    found, needed = f"{name} is an adapter for {spec.family.value}", f"this MODEL is {base}"
    if spec.family.value == base:  # of the same name, but not of the same size
        stages, widths = [one.stage for one in layers], [one.width for one in layers]
        needed += f" with {counted(stages, widths)}"
        own = spec.stages * len(spec.layers) if len(spec.stages) == 1 else ()
        whole = f"{len(spec.layers)} blocks {spec.layer_widths[0]} wide"
        found += f" with {counted(own, spec.layer_widths) if own else whole}"
    return WrongBase(found, needed, adapter_hint(layers, spec.kind, choice_of(spec, name)))


def is_of_class_sdxl(model: Model) -> bool:
    """Whether the host builds a MODEL as an SDXL, be it the refiner or Kolors."""
    base = comfy.model_base
    return isinstance(model.model, (base.SDXL, base.SDXLRefiner, base.SDXL_instructpix2pix))
