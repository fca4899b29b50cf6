"""Our side: the pack's nodes in ComfyUI, called as the host calls them."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import comfy.model_management
import folder_paths
import numpy
import torch
from check.base import Base
from check.given import read_picture
from check.problem import CheckError
from check.question import Question
from check.stored import Precision, most_common_type
from check.together import Files, enter_face_pack
from pack.ip_models.adapter.spec import AdapterSpec
from pack.ip_models.errors import NoFace
from pack.nodes.apply import ApplyIPAdapter
from pack.nodes.encode import EncodeImage
from pack.nodes.faces import EncodeFace, LoadFaceModels
from pack.nodes.host.encoder.load import load_encoder
from pack.nodes.host.face.engine import EngineChoice
from pack.nodes.host.files import folders
from pack.nodes.load import LoadAdapter
from torch import Tensor

ROOT = Path(__file__).resolve().parents[2]
_FOLDERS = ("checkpoints", "diffusion_models", "ipadapter", "clip_vision", "insightface")
_ENDINGS = folder_paths.supported_pt_extensions
SHIPPED = ROOT / "demo" / "reference.jpg"


@dataclass
class Nodes:
    """What the nodes gave.

    Attributes:
        encoder_path: file or folder of the encoder, None where the adapter needs none.
        photo: (1, height, width, 3) in 0..1.
        precision: of the encoder when it ran, None where none did.
    """

    adapter: Any
    spec: AdapterSpec
    embeds: Any
    photo: Tensor
    encoder: Any = None
    encoder_path: Path | None = None
    face_models: Any = None
    notes: list[str] = field(default_factory=list[str])
    precision: Precision | None = None


def enter_folders(models: Path | None, alone: bool = False) -> None:
    """Model folders as the host's main.py has them, and those of the pack.

    Args:
        models: a folder with others, which come first.
        alone: whether it has all that counts.
    """
    import utils.extra_config  # the host's

    extra = Path(folder_paths.base_path) / "extra_model_paths.yaml"
    if extra.is_file() and not alone:
        utils.extra_config.load_extra_path_config(str(extra))
    folders.register()
    for name in _FOLDERS:
        if models is None:
            continue
        known = folder_paths.folder_names_and_paths.get(name, ([], _ENDINGS))
        home = str((models / name).absolute())
        paths = [home] if alone else [home, *known[0]]
        folder_paths.folder_names_and_paths[name] = (paths, known[1])


def set_up(question: Question, files: Files) -> Nodes:
    """Adapter, encoder and references by the nodes.

    Raises:
        CheckError, IPAdapterError: they cannot be loaded, or the photo shows no face.
    """
    path, spec = question.adapter.absolute(), files.spec
    for home in (path.resolve().parent, path.parent):  # a link may lead anywhere
        folder_paths.add_model_folder_path(folders.ADAPTERS, str(home), is_default=True)
    (adapter,) = LoadAdapter.execute(path.name).args
    photo = read_photo(question.image or SHIPPED)
    nodes = Nodes(adapter, spec, None, photo, encoder_path=files.encoder)
    if files.encoder is not None:
        nodes.encoder = load_encoder(str(files.encoder))
    if spec.needs_face:
        nodes.face_models = face_models(question.face, EngineChoice.AUTO)
    with _watched(nodes):
        if spec.needs_face:
            nodes.embeds = _face(question, nodes)
            return nodes
        nodes.embeds = EncodeImage.execute(nodes.encoder, photo).args[0]
    nodes.encoder = None  # gigabytes that nobody needs any more
    return nodes


@contextmanager
def _watched(nodes: Nodes) -> Generator[None]:
    """Note in which precision the encoder works while it does."""
    if nodes.encoder is None:
        yield
        return

    def note(network: torch.nn.Module, _inputs: Any, out: Any) -> None:
        nodes.precision = Precision(most_common_type(network.parameters()), out[0].dtype)

    hook = nodes.encoder.model.register_forward_hook(note)
    try:
        yield
    finally:
        hook.remove()


def applied(base: Base, nodes: Nodes, scale: float) -> Any:
    """The MODEL with the references, from Apply IP-Adapter."""
    return ApplyIPAdapter.execute(
        base.model, nodes.adapter, nodes.embeds, scale=scale, start_percent=0.0, end_percent=1.0
    ).args[0]


def _face(question: Question, nodes: Nodes) -> Any:
    try:
        return EncodeFace.execute(nodes.face_models, nodes.photo, nodes.encoder).args[0]
    except NoFace as error:
        name = question.image.name if question.image else SHIPPED.name
        raise CheckError(
            f"{error.found}; {error.needed}: give another photo than {name} as --image"
        ) from error


def face_models(pack: Path | None, engine: EngineChoice) -> Any:
    """The networks of a face pack, run by an engine."""
    assert pack is not None
    return LoadFaceModels.execute(enter_face_pack(pack), engine.value).args[0]


def read_photo(path: Path) -> Tensor:
    """A picture as Load Image gives it.

    Raises:
        CheckError: it is none.
    """
    return torch.from_numpy(numpy.asarray(read_picture(path)).copy()).float()[None] / 255


def free() -> None:
    """Let the host give back all that it holds."""
    comfy.model_management.unload_all_models()
    comfy.model_management.soft_empty_cache()
