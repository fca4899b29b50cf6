"""What the editor asks before it turns old nodes into this pack's own.

Options of the profiles, what adapter files are, and which files a unified loader takes for the
checkpoint in front of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from ....ip_models.errors import IPAdapterError
from ....ip_models.layer import Layer
from ...host.doctor.compatibility import Combination, base_of
from ...host.files import folders
from ...host.model.adapter import read_file_spec
from ..objects import file_rules
from ..objects.unified import adapter_file, encoder_file, family_by_name
from .profile import Version, profile_of

_MOST = 100  # questions about files at once


class _Unknown(Exception):
    """Why nothing can be said, as a key that the editor has a text for."""


def answers(question: Mapping[str, object]) -> dict[str, Any]:
    """All that the editor needs to know about a graph.

    Args:
        question: `adapters`, names of files; `loaders`, with the preset and the file of the base
            model of each.
    """
    return {
        "profiles": {str(version.value): _options(version) for version in Version},
        "adapters": [_answer(_adapter, name) for name in _listed(question, "adapters")],
        "loaders": [_answer(_loader, one) for one in _listed(question, "loaders")],
    }


def _listed(question: Mapping[str, object], name: str) -> list[Any]:
    found = question.get(name)
    return cast("list[Any]", found)[:_MOST] if isinstance(found, list) else []


def _options(version: Version) -> dict[str, Any]:
    profile = profile_of(version)
    return {
        "middle": profile.middle,
        "fit": profile.fit.value,
        "unconditional": profile.unconditional.value,
        "mask_rule": profile.mask_rule.value,
    }


def _answer(read: Callable[[Any], dict[str, Any]], of: Any) -> dict[str, Any]:
    try:
        return read(of)
    except _Unknown as why:
        return {"why": str(why)}
    except (IPAdapterError, OSError) as error:
        return {"why": "said", "said": str(error)}


def _adapter(name: Any) -> dict[str, Any]:
    text = folders.in_place(folders.ADAPTERS, name if isinstance(name, str) else "")
    return {"file": text, **_kind(text)}


def _kind(name: str) -> dict[str, Any]:
    spec = read_file_spec(folders.resolve(folders.ADAPTERS, name))
    return {"face": spec.needs_face, "feature": spec.feature.value}


def _loader(asked: Any) -> dict[str, Any]:
    given = cast("dict[str, Any]", asked) if isinstance(asked, dict) else {}
    base = _base(given)
    family = family_by_name(base)
    if family is None:
        raise _Unknown("otherBase")
    preset = file_rules.preset_of(given.get("preset"))
    file = adapter_file(preset, family, base)
    spec = read_file_spec(file.path)
    encoder = encoder_file(preset, spec, file)
    return {
        "kind": preset.choice.value,
        "file": file.name,
        "encoder": encoder,
        "base": family.value,
        "face": spec.needs_face,
        "feature": spec.feature.value,
    }


def _base(given: dict[str, Any]) -> tuple[Layer, ...]:
    checkpoint, unet = (str(given.get(name) or "") for name in ("checkpoint", "unet"))
    base = base_of(Combination(checkpoint=checkpoint, unet=unet))
    if base is None or not base.layers:
        raise _Unknown("noBase")
    return base.layers
