"""What a face costs with either engine; a recogniser of full size, random weights."""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from typing import Any

import numpy
from bench.peak import Peak, settle
from bench.report import megabytes, number
from kit.models import face_packs
from pack.ip_models.faces.align import norm_crop
from pack.ip_models.faces.detect import find_faces
from pack.nodes.host.face.engine import EngineChoice, load_engine
from pack.nodes.host.face.packs import FacePack

HEADER = ["engine", "faces", "find, ms a photo", "read, ms a face", "memory", "to the first"]
_ROUNDS = 5


def rows(folder: Path, rounds: int = _ROUNDS) -> list[list[str]]:
    """One for each engine that can be used; the last column is its time over the first's."""
    face_packs.small_detector(folder / "det_10g.onnx")
    face_packs.full_size_recogniser(folder / "w600k_r50.onnx")
    pack = FacePack(
        "bench", str(folder), str(folder / "det_10g.onnx"), str(folder / "w600k_r50.onnx")
    )
    photo = numpy.full((640, 640, 3), 90, numpy.uint8)
    for column in (10, 60):
        face_packs.paint(photo, 8, column, 30)
    made: list[list[str]] = []
    first = 0.0
    for choice in (EngineChoice.TORCH, EngineChoice.INSIGHTFACE):
        settle()
        try:
            with Peak() as peak:
                engine = load_engine(pack, choice)
                found, reading, count = _times(engine, photo, rounds)
        except ValueError as missing:
            made.append([choice.value, str(missing)[:60], "", "", "", ""])
            continue
        total = found + reading * count
        first = first or total
        made.append(
            [
                choice.value,
                str(count),
                number(1000 * found),
                number(1000 * reading),
                megabytes(peak.bytes),
                f"{total / first:.2f}",
            ]
        )
    return made


def _times(engine: Any, photo: Any, rounds: int) -> tuple[float, float, int]:
    """Medians: seconds to look for faces, seconds to read one, and how many there are."""
    finding: list[float] = []
    reading: list[float] = []
    count = 0
    for i in range(rounds + 1):
        start = time.perf_counter()
        faces = find_faces(photo, engine)
        between = time.perf_counter()
        engine.embed([norm_crop(photo, face.key_points) for face in faces])
        end = time.perf_counter()
        count = len(faces)
        if i:  # the first round loads
            finding.append(between - start)
            reading.append((end - between) / count)
    return statistics.median(finding), statistics.median(reading), count
