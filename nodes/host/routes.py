"""What the editor asks for before anything runs: files, what is missing, what weights mean."""

from __future__ import annotations

from collections.abc import Callable

from ...ip_models.adapter.spec import require_supported
from ...ip_models.errors import IPAdapterError
from ...ip_models.weights.editor_data import Question, drawn_schedule, drawn_weights
from .combined.find import face_pack_name
from .doctor import survey
from .doctor.compatibility import Combination, base_of, drawn_family, errors, reads_face
from .doctor.report import first_face_pack
from .files import folders
from .model.adapter import read_file_spec
from .model.backbones.layers import VOCABULARY
from .model.start import first_files
from .server import READING, THINKING, Given, serve, serve_file, told
from .words import words


def register(moving: Callable[[Question], object]) -> None:
    """Add GET /ipadapter/about?file=NAME and others; nothing where there is no server.

    Args:
        moving: answers what the editor asks before it turns old nodes into new ones.
    """
    serve("/ipadapter/about", _about, READING)
    serve("/ipadapter/doctor", _doctor, READING)
    serve("/ipadapter/check", _check, READING)
    serve("/ipadapter/family", _family, READING)
    serve("/ipadapter/faces", _faces, READING)
    serve("/ipadapter/words", words, READING)
    serve_file("/ipadapter/embeds", _embeds, READING)
    serve("/ipadapter/moving", moving, READING, "POST")
    serve("/ipadapter/weights", _drawn_weights, THINKING, "POST")
    serve("/ipadapter/schedule", drawn_schedule, THINKING, "POST")


def _embeds(given: Given) -> str:
    """?file=NAME of saved embeds; for a program that gives them to another server."""
    return folders.resolve(folders.EMBEDS, given.get("file", ""))


def _drawn_weights(given: Given) -> object:
    return drawn_weights(given, VOCABULARY)


def _about(given: Given) -> object:
    """Of an adapter file; without a name, which files to get first, or ?of=faces."""
    file = given.get("file", "")
    if given.get("of") == "faces":
        return {"text": first_face_pack()}
    return {"text": [describe(file)] if file else first_files()}


def _doctor(given: Given) -> object:
    """?log=1 writes the report to the log as well."""
    return {"text": survey.report(logged=given.get("log", "") in ("1", "true"))}


def _check(given: Given) -> object:
    """?adapter=NAME&encoder=NAME&checkpoint=NAME and so on, see `Combination`."""
    found = errors(Combination.read(given))
    return {"text": [str(error) for error in found], "mends": [told(error) for error in found]}


def _family(given: Given) -> object:
    """?adapter=NAME&kind=KIND&checkpoint=NAME&unet=NAME, see `drawn_family` and `reads_face`."""
    combination = Combination.read(given)
    return {"family": drawn_family(combination), "face": reads_face(combination)}


def _faces(given: Given) -> object:
    """?checkpoint=NAME&unet=NAME: the face models that a node would find for it."""
    base = base_of(Combination.read(given))
    return {"pack": face_pack_name(base.layers if base else ())}


def describe(name: str) -> str:
    """What an adapter file was recognised as, or the sentence that says why it was not."""
    try:
        spec = read_file_spec(folders.resolve(folders.ADAPTERS, name))
        require_supported(spec, name)
        return spec.describe()
    except (IPAdapterError, OSError) as error:
        return str(error)
