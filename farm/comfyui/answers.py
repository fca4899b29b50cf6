"""What a ComfyUI server says of a graph: why it has no result, or what its nodes gave."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..work import Graph, JobError

UNFETCHED = "farm.Fetch"
UNREADABLE = "farm.Reference"
# Whose faults are those of the picture that they load.
LOADERS = ("LoadImage", "LoadImageMask", "LoadImageOutput")

# End a graph and bring no picture: of ComfyUI and of this pack. What other packs have may do so.
NO_PICTURES = frozenset(
    (
        *("CLIPSave", "CheckpointSave", "CreateBoundingBoxes", "ImageCompare", "ImageCompositor"),
        *("IPAAttentionMap", "IPADoctor", "IPAPreviewMask", "IPASaveEmbeds", "IPASheet"),
        *("IPAdapterSaveEmbeds", "ImageOnlyCheckpointSave", "LoraSave", "LossGraphNode"),
        *("MaskPreview", "ModelSave", "Preview3D", "Preview3DAdvanced", "Preview3DAnimation"),
        *("PreviewAny", "PreviewAudio", "PreviewGaussianSplat", "PreviewImage"),
        *("PreviewPointCloud", "SAM3_TrackPreview", "Save3DAdvanced", "SaveAudio"),
        *("SaveAudioAdvanced", "SaveAudioMP3", "SaveAudioOpus", "SaveGLB", "SaveGaussianSplat"),
        *("SaveImageDataSetToFolder", "SaveImageTextDataSetToFolder", "SaveImageWebsocket"),
        *("SaveLatent", "SaveLoRA", "SavePointCloud", "SaveSVGNode", "SaveText"),
        *("SaveTrainingDataset", "VAESave"),
    )
)


class Failed(Exception):
    """A graph has no result, for a reason of its own.

    Args:
        problem: stable short name, as "ipadapter.WrongBase" or "comfyui.value_not_in_list".
    """

    def __init__(self, problem: str, message: str) -> None:
        super().__init__(message)
        self.problem = problem


def refusal(answer: Any, graph: Graph) -> Failed:
    """Why a server did not take a graph: the first fault of a node, else what it says itself."""
    answer = answer if isinstance(answer, dict) else {}
    for node, report in (answer.get("node_errors") or {}).items():
        for fault in report.get("errors") or ():
            details = str(fault.get("details") or "")
            _, sign, rest = details.partition(" - ipadapter.")
            if sign:
                kind, _, sentence = rest.partition(": ")
                return Failed(f"ipadapter.{kind}", f"{_title(graph, node)}: {sentence}")
            said = f"{fault.get('message')} ({details})" if details else f"{fault.get('message')}"
            name = UNREADABLE if _is_file(fault, report) else f"comfyui.{fault.get('type')}"
            return Failed(name, f"{_title(graph, node)}: {said}")
    error = answer.get("error") or {}
    if not isinstance(error, dict):
        return Failed("comfyui.refused", str(error))
    return Failed(
        f"comfyui.{error.get('type', 'refused')}",
        " ".join(str(error[key]) for key in ("message", "details") if error.get(key))
        or "the server refused the workflow and does not say why",
    )


def outputs(entry: dict[str, Any]) -> dict[str, Any]:
    """What nodes gave.

    Raises:
        Failed: one of them did not.
    """
    status = entry.get("status") or {}
    for kind, said in status.get("messages") or ():
        if kind == "execution_error":
            sentence = str(said.get("exception_message") or "it says nothing").strip()
            node = str(said.get("node_type") or "a node")
            name = str(said.get("exception_type") or "comfyui.error")
            unreadable = node in LOADERS and not name.startswith("torch.")
            raise Failed(UNREADABLE if unreadable else name, f"{node}: {sentence}")
        if kind == "execution_interrupted":
            raise Failed("comfyui.interrupted", "the run was interrupted on the server")
    return entry.get("outputs") or {}


def require_saver(kinds: Iterable[str], described: Mapping[str, Any]) -> None:
    """Make sure that pictures come out of a graph.

    Args:
        kinds: classes of its nodes.
        described: what a server says of those that it knows.

    Raises:
        JobError: none of them saves any.
    """
    ends = [kind for kind in kinds if kind in described and described[kind].get("output_node")]
    if not NO_PICTURES.issuperset(ends) or not described.keys() >= set(kinds) or not described:
        return
    found = f"ends in {' and '.join(ends)} and" if ends else "is without an end and"
    raise JobError(
        f"the workflow {found} saves no pictures, and each row needs one. Put a Save Image into "
        'it, and save it again with "Export (API)"'
    )


def _is_file(fault: dict[str, Any], report: dict[str, Any]) -> bool:
    """Whether a node refuses the name of a picture that it is to load."""
    told = fault.get("extra_info")
    name = told.get("input_name") if isinstance(told, dict) else None
    return report.get("class_type") in LOADERS and name == "image"


def _title(graph: Graph, node: str) -> str:
    found = graph.get(node, {})
    meta = found.get("_meta") or {}
    return str(meta.get("title") or found.get("class_type") or f"node {node}")
