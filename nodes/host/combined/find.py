"""Adapter, image encoder and face models for a MODEL: found by content, loaded, kept loaded."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from ....ip_models import limits
from ....ip_models.adapter.published import Choice, family_of
from ....ip_models.errors import IPAdapterError
from ....ip_models.layer import Layer
from ..encoder.load import load_encoder
from ..face import packs
from ..face.engine import EngineChoice, FaceEngine, load_engine
from ..face.packs import FacePack, Recogniser
from ..files import folders
from ..model import search
from ..model.adapter import LoadedAdapter, load
from ..model.apply import recogniser_of
from ..model.backbones.layers import attention_layers
from ..protocols import Model

AUTO = "auto"  # in the place of a file's name: found by content


class Pair(NamedTuple):
    """An adapter and the encoder it reads.

    Attributes:
        encoder: CLIP_VISION, None where the adapter reads faces alone; `encoder_file` then too.
    """

    adapter: LoadedAdapter
    adapter_file: str
    encoder: Any
    encoder_file: str | None


class Found(NamedTuple):
    """All that references of a kind need.

    Attributes:
        faces: None where the adapter reads pictures.
        pack: of the face models, None likewise.
    """

    pair: Pair
    faces: FaceEngine | None = None
    pack: FacePack | None = None


def find_pair(
    model: Model, choice: Choice, adapter_file: str = AUTO, encoder_file: str = AUTO
) -> Pair:
    """The adapter of a kind for a MODEL and its encoder, loaded; files that are named come first.

    Raises:
        MissingModel: there is none; the message says what to get.
        BrokenFile, UnknownAdapter, UnsupportedAdapter: a file cannot be used.
    """
    if is_auto(adapter_file):
        adapter_file = search.find_adapter(attention_layers(model), choice)
    adapter = load(folders.resolve(folders.ADAPTERS, adapter_file))
    if is_auto(encoder_file):
        if not adapter.spec.needs_encoder:
            return Pair(adapter, adapter_file, None, None)
        encoder_file = search.find_encoder(adapter.spec)
    encoder = load_encoder(folders.resolve(folders.ENCODERS, encoder_file))
    return Pair(adapter, adapter_file, encoder, encoder_file)


def is_auto(name: object) -> bool:
    """Whether a file is to be found; a program may send anything as its name."""
    return isinstance(name, str) and name == AUTO


# By the network all clones of a MODEL share: what was loaded for it goes when it goes. Without
# this each new scale would read gigabytes, for a node that hands out a MODEL holds no adapter.
_held: WeakKeyDictionary[object, deque[Found]] = WeakKeyDictionary()


def find(model: Model, choice: Choice) -> Found:
    """All that a reference of a kind needs on a MODEL, loaded.

    Raises:
        MissingModel: something is not there; the message says what to get.
        BrokenFile, UnknownAdapter, UnsupportedAdapter, UnsupportedNetwork: a file cannot be used.
    """
    pair = find_pair(model, choice)
    found = Found(pair)
    if pair.adapter.spec.needs_face:
        pack = _face_pack(recogniser_of(pair.adapter.spec.family))
        found = Found(pair, load_engine(pack, EngineChoice.AUTO), pack)
    held = _held.setdefault(model.model, deque(maxlen=limits.HELD_FINDS))
    if found in held:
        held.remove(found)
    held.append(found)
    return found


def _face_pack(wanted: Recogniser) -> FacePack:
    """The pack with the recogniser that is wanted, by its bytes; else the one called so, else any.

    Raises:
        MissingModel, BrokenFile: none is whole; said of the one that is usual.
    """
    usual = packs.HOME_PACK[wanted]
    whole = sorted(_whole_packs(), key=lambda pack: pack.name != usual)
    known = [pack for pack in whole if not packs.warn_of(pack, wanted)]
    best = [*known, *whole][:1]
    return best[0] if best else packs.find(usual)


def _whole_packs() -> Iterator[FacePack]:
    for name in packs.names():
        try:
            yield packs.find(name)
        except IPAdapterError:  # another one may be whole
            continue


def require_faces(layers: Sequence[Layer]) -> None:
    """Refuse a face for a model with these layers where no face models are there.

    Raises:
        MissingModel, BrokenFile: there are none.
    """
    _face_pack(_recogniser(layers))


def _recogniser(layers: Sequence[Layer]) -> Recogniser:
    return recogniser_of(family_of(search.shape_of(layers)) if layers else None)


def face_pack_name(layers: Sequence[Layer]) -> str:
    """The pack a FaceID adapter for a model with these layers would get, or is missing.

    Args:
        layers: none for a model that is not known.
    """
    wanted = _recogniser(layers)
    try:
        return _face_pack(wanted).name
    except IPAdapterError:
        return packs.HOME_PACK[wanted]


def fingerprint() -> str:
    """Changes when a file that may be found is added or replaced."""
    faces = [packs.fingerprint(name) for name in packs.names()]
    own = (folders.fingerprint(folders.ADAPTERS), folders.fingerprint(folders.ENCODERS))
    return "\n".join([*own, *faces])
