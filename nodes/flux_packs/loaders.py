"""Loaders: an adapter's file with the encoder that reads pictures for it."""

from __future__ import annotations

from typing import Any, ClassVar

from ...ip_models.errors import MissingModel
from ..host.doctor.queued import refused
from ..host.encoder.load import load_encoder
from ..host.files import folders
from ..host.model import search
from ..host.model.adapter import load
from .widgets import PackAdapter, PackNode, Table

_DEVICES = ["cuda", "cpu", "mps"]
_SIGLIP = "google/siglip-so400m-patch14-384"


class FileLoader(PackNode):
    """A loader with a file of adapters.

    Attributes:
        FOLDER: the folder of these packs, in which a name is looked up first; "" for none.
    """

    FOLDER: ClassVar[str] = "ipadapter-flux"

    @classmethod
    def VALIDATE_INPUTS(
        cls, ipadapter: Any = None, ipadatper: Any = None, clip_vision: Any = None
    ) -> bool | str:
        """In place of the host's check, which takes this platform's separator only."""
        name = ipadatper if ipadapter is None else ipadapter
        try:
            if name is not None:
                cls.path_of(name)
            cls._check_encoder(clip_vision)
        except MissingModel as error:
            return refused(error)
        return True

    @classmethod
    def _check_encoder(cls, name: Any) -> None:
        """Refuse an encoder's file that is not there; a fixed choice is looked for when it runs."""

    @classmethod
    def IS_CHANGED(cls, **_: Any) -> str:
        return folders.fingerprint(folders.ADAPTERS) + folders.fingerprint(folders.ENCODERS)

    @classmethod
    def path_of(cls, name: Any) -> str:
        """The file that a workflow names.

        Raises:
            MissingModel: there is none of this name.
        """
        name = folders.in_place(folders.ADAPTERS, name)
        return folders.in_alias(cls.FOLDER, name) or folders.resolve(folders.ADAPTERS, name)


class LoadFluxIPAdapter(FileLoader):
    FOLDER = "xlabs/ipadapters"
    RETURN_TYPES = ("IP_ADAPTER_FLUX",)
    RETURN_NAMES = ("ipadapterFlux",)
    FUNCTION = "loadmodel"
    CATEGORY = "XLabsNodes"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                # Spelt so.
                "ipadatper": (folders.files(folders.ADAPTERS),),
                "clip_vision": (folders.files(folders.ENCODERS),),
                "provider": (["CPU", "GPU"],),
            }
        }

    @classmethod
    def _check_encoder(cls, name: Any) -> None:
        if name is not None:
            folders.resolve(folders.ENCODERS, folders.in_place(folders.ENCODERS, name))

    def loadmodel(self, ipadatper: str, clip_vision: str, **_ignored: Any) -> tuple[PackAdapter]:
        adapter = load(self.path_of(ipadatper))
        name = folders.in_place(folders.ENCODERS, clip_vision)
        return (PackAdapter(adapter, load_encoder(folders.resolve(folders.ENCODERS, name))),)


class IPAdapterFluxLoader(FileLoader):
    RETURN_TYPES = ("IP_ADAPTER_FLUX_INSTANTX",)
    RETURN_NAMES = ("ipadapterFlux",)
    FUNCTION = "load_model"
    CATEGORY = "InstantXNodes"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "ipadapter": (folders.files(folders.ADAPTERS),),
                "clip_vision": ([_SIGLIP],),
                "provider": (_DEVICES,),
            }
        }

    def load_model(self, ipadapter: str, **_ignored: Any) -> tuple[PackAdapter]:
        adapter = load(self.path_of(ipadapter))
        # That pack fetches SigLIP into a cache; here it is a file that is there.
        encoder = folders.resolve(folders.ENCODERS, search.find_encoder(adapter.spec))
        return (PackAdapter(adapter, load_encoder(encoder)),)


class IPAdapterFluxLoaderAdvanced(IPAdapterFluxLoader):
    FUNCTION = "load_model_advanced"

    def load_model_advanced(self, ipadapter: str, **ignored: Any) -> tuple[PackAdapter]:
        return self.load_model(ipadapter, **ignored)


class IPAdapterSD3Loader(FileLoader):
    FOLDER = ""
    RETURN_TYPES = ("IP_ADAPTER_SD3_INSTANTX",)
    RETURN_NAMES = ("ipadapter",)
    FUNCTION = "load_model"
    CATEGORY = "InstantXNodes"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "ipadapter": (folders.files(folders.ADAPTERS),),
                "provider": (_DEVICES,),
            }
        }

    def load_model(self, ipadapter: str, **_ignored: Any) -> tuple[PackAdapter]:
        return (PackAdapter(load(self.path_of(ipadapter))),)


TABLE = Table(
    {
        "LoadFluxIPAdapter": LoadFluxIPAdapter,
        "IPAdapterFluxLoader": IPAdapterFluxLoader,
        "IPAdapterFluxLoaderAdvanced": IPAdapterFluxLoaderAdvanced,
        "IPAdapterFluxChromaLoader": type("ChromaLoader", (IPAdapterFluxLoader,), {}),
        "IPAdapterFluxChromaLoaderAdvanced": type(
            "ChromaLoaderAdvanced", (IPAdapterFluxLoaderAdvanced,), {}
        ),
        "IPAdapterSD3Loader": IPAdapterSD3Loader,
    },
    {
        "LoadFluxIPAdapter": "Load Flux IPAdatpter",
        "IPAdapterFluxLoader": "Load IPAdapter Flux Model",
        "IPAdapterFluxLoaderAdvanced": "Load IPAdapter Flux Model (Advanced)",
        "IPAdapterFluxChromaLoader": "Load IPAdapter Flux/Chroma Model",
        "IPAdapterFluxChromaLoaderAdvanced": "Load IPAdapter Flux/Chroma Model Advanced",
        "IPAdapterSD3Loader": "Load IPAdapter SD3 Model",
    },
)
