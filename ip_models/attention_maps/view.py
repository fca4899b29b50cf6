"""What is looked at of a MODEL, and what was seen in its last runs."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from torch import Tensor

from .. import limits
from ..attention.record import RunRecord, Seen, Selection
from ..attention.shared import Shared
from ..errors import BadInput, IPAdapterError, UnknownPlace
from .canvas import fingerprint, maps_of, same


@dataclass(frozen=True, eq=False)
class SeenRun:
    """A run that came to its end.

    Attributes:
        maps: (references, pictures, height, width), None where they cannot be shown.
        layers: how many they are the mean of.
        lost: why they cannot be shown.
        known_by: the fingerprint of the latent that the run gave.
    """

    maps: Tensor | None
    layers: int
    lost: IPAdapterError | None
    known_by: Tensor


class AttentionView(Shared):
    """What the IPA_ATTENTION socket carries.

    Args:
        selection: what of a run is looked at.
    """

    def __init__(self, selection: Selection) -> None:
        self.selection = selection
        self._runs: deque[SeenRun] = deque(maxlen=limits.VIEWED_RUNS)

    def keep(self, record: RunRecord, seen: Seen, latent: Tensor) -> None:
        """What was seen in a run that has given a latent."""
        maps, lost = None, record.lost
        if latent.ndim != 4:
            lost = UnknownPlace(
                f"the latent has {latent.ndim} dimensions",
                "an attention map shows pictures, with four",
                "Take out Attention View",
            )
        if lost is None:
            pictures, size = len(latent), (int(latent.shape[2]), int(latent.shape[3]))
            try:
                maps = maps_of(seen, record.references, pictures, size)
            except UnknownPlace as error:
                lost = error
        known_by = fingerprint(latent, limits.VIEWED_NUMBERS)
        self._runs.append(SeenRun(maps, len(seen.slots), lost, known_by))

    def run_of(self, latent: Tensor) -> SeenRun:
        """The run that has given a latent.

        Raises:
            BadInput: none of the last runs of this MODEL has.
            UnknownPlace: it has, and cannot be shown.
        """
        wanted = fingerprint(latent, limits.VIEWED_NUMBERS)
        for run in reversed(self._runs):
            if same(run.known_by, wanted):
                if run.lost is not None:
                    raise run.lost
                return run
        if not self._runs:
            raise BadInput(
                "no run of the MODEL of Attention View has come to its end",
                "a map shows what happened in one",
                "Connect that MODEL to the sampler and the sampler's latent here, and sample "
                "again, with another seed if nothing else has changed",
            )
        raise BadInput(
            "this latent is none of those that the MODEL of Attention View gave last",
            "the run of a map is known by its latent",
            "Connect the latent as it comes out of the sampler of that MODEL",
        )
