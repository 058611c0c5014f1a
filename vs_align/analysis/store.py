"""Alignments in files: JSON, or CSV with the same facts in its first line.

Whatever a file says is checked before it is believed: every fault is a `StoreError` of one line.
"""

import csv
import io
import json
import math
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .clip_info import ClipInfo
from .geometry import Box, Geometry

__all__ = ["Contents", "StoreError", "read", "write", "write_bytes", "write_text"]

_FORMAT, _VERSION = "vs_align alignment", 1
_COLUMNS = ["ref", "clip", "score", "confidence"]


class StoreError(ValueError):
    """Says why a file is refused, in one line."""


@dataclass(frozen=True, eq=False)
class Contents:
    """What a file holds; see `Alignment`, which is it, for the meaning of each."""

    frame: NDArray[np.int64]
    score: NDArray[np.float64]
    confidence: NDArray[np.float64]
    clip: ClipInfo
    ref: ClipInfo
    similarity: str
    geometry: Geometry | None


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all, line ends as they are."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: through a temporary one beside it."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        # Such files are readable by their owner alone; others are as the user's mask says.
        mask = os.umask(0)
        os.umask(mask)
        Path(name).chmod(0o666 & ~mask)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write(path: Path, contents: Contents) -> None:
    """Save as CSV where the name ends so, else as JSON."""
    head = _head(contents)
    score = [None if math.isinf(value) else value for value in contents.score.tolist()]
    columns = {"clip": contents.frame.tolist(), "score": score, "confidence": contents.confidence.tolist()}
    if path.suffix.lower() != ".csv":
        write_text(path, json.dumps({**head, **columns}) + "\n")
        return
    text = io.StringIO()
    text.write(f"# {json.dumps(head)}\n")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(_COLUMNS)
    rows.writerows(zip(range(len(score)), *columns.values(), strict=True))
    write_text(path, text.getvalue())


def _head(contents: Contents) -> dict[str, Any]:
    return {
        "format": _FORMAT,
        "version": _VERSION,
        "clip_info": _info_as_json(contents.clip),
        "ref_info": _info_as_json(contents.ref),
        "similarity": contents.similarity,
        "geometry": None if contents.geometry is None else asdict(contents.geometry),
    }


def _info_as_json(info: ClipInfo) -> dict[str, Any]:
    return {**asdict(info), "rate": None if info.rate is None else str(info.rate)}


def read(path: Path) -> Contents:
    """Load a file that `write` made.

    Raises:
        OSError: the file cannot be read.
        StoreError: it is no alignment, of another version, cut off, or contradicts itself.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise StoreError("it is not a text file") from None
    if text.startswith("# "):
        return _from_csv(text)
    return _contents(_mapping(text, "it is cut off or no alignment"))


def _mapping(text: str, fault: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise StoreError(fault) from None
    if not isinstance(found, dict):
        raise StoreError("it is no alignment")
    return found


def _from_csv(text: str) -> Contents:
    first, _, rest = text.partition("\n")
    head = dict(_mapping(first[2:], "its first line is cut off or no alignment's"))
    try:
        rows = list(csv.reader(io.StringIO(rest), strict=True))
    except csv.Error:
        raise StoreError("its rows are no CSV") from None
    if not rows or rows[0] != _COLUMNS:
        raise StoreError(f"its second line is not {','.join(_COLUMNS)}")
    for n, row in enumerate(rows[1:]):
        if len(row) != len(_COLUMNS) or row[0] != str(n):
            raise StoreError(f"the row of ref frame {n} is cut off, or not where it belongs")
    try:
        head["clip"] = [int(row[1]) for row in rows[1:]]
        head["score"] = [float(row[2]) if row[2] else None for row in rows[1:]]
        head["confidence"] = [float(row[3]) for row in rows[1:]]
    except ValueError:
        raise StoreError("a value in its rows is no number") from None
    if not text.endswith("\n"):
        raise StoreError("its last row is cut off")
    return _contents(head)


def _contents(found: Mapping[str, Any]) -> Contents:
    if found.get("format") != _FORMAT:
        raise StoreError("it is no alignment")
    if found.get("version") != _VERSION:
        raise StoreError(f"it has version {str(found.get('version'))[:20]}; version {_VERSION} is understood")
    clip, ref = (_info(found.get(name), name) for name in ("clip_info", "ref_info"))
    frame = _numbers(found.get("clip"), "clip", ref.length)
    if not (frame == np.rint(frame)).all() or (frame < -1).any() or (frame >= clip.length).any():
        raise StoreError(f"clip frames must be whole numbers from -1 to {clip.length - 1}")
    matched = frame[frame >= 0]
    if (np.diff(matched) < 0).any():
        raise StoreError("clip frames must never go back")
    score = _numbers(found.get("score"), "score", ref.length)
    sure = _numbers(found.get("confidence"), "confidence", ref.length)
    if (score < 0).any():
        raise StoreError("scores must not be negative")
    if ((sure < 0) | (sure > 1)).any():
        raise StoreError("confidences must be 0 to 1")
    similarity = found.get("similarity")
    if not isinstance(similarity, str):
        raise StoreError("similarity must be a name")
    return Contents(frame.astype(np.int64), score, sure, clip, ref, similarity, _geometry(found.get("geometry")))


def _numbers(values: object, name: str, length: int) -> NDArray[np.float64]:
    """Return a list of numbers; only scores may be missing, which stands for infinity."""
    if not isinstance(values, list):
        raise StoreError(f"{name} must be a list")
    if len(values) != length:
        raise StoreError(f"{name} has {len(values)} values for {length} ref frames: it is cut off")
    for n, value in enumerate(values):
        missing = value is None and name == "score"
        if not missing and (isinstance(value, bool) or not isinstance(value, int | float) or not _finite(value)):
            raise StoreError(f"{name} of ref frame {n} is no number")
    return np.array([math.inf if value is None else value for value in values], np.float64)


def _finite(value: float) -> bool:
    # A whole number may be too large for a float.
    return abs(value) <= 1e300


def _info(found: object, name: str) -> ClipInfo:
    if not isinstance(found, dict) or set(found) != set(ClipInfo.__dataclass_fields__):
        raise StoreError(f"{name} is incomplete")
    sizes = [found[field] for field in ("length", "width", "height")]
    if any(isinstance(size, bool) or not isinstance(size, int) or not 0 < size < 1 << 31 for size in sizes):
        raise StoreError(f"{name} must have a positive length, width and height")
    if not isinstance(found["fingerprint"], str):
        raise StoreError(f"{name} has no fingerprint")
    try:
        rate = None if found["rate"] is None else Fraction(found["rate"])
    except (ValueError, TypeError, ZeroDivisionError):
        rate = Fraction(0)
    if rate is not None and not 0 < rate < 1 << 31:
        raise StoreError(f"{name} has no frame rate that a clip can have")
    return ClipInfo(sizes[0], sizes[1], sizes[2], rate, found["fingerprint"])


def _geometry(found: object) -> Geometry | None:
    if found is None:
        return None
    fault = StoreError("its geometry is incomplete or no geometry")
    if not isinstance(found, dict) or set(found) != set(Geometry.__dataclass_fields__):
        raise fault
    box = found["common"]
    if not isinstance(box, dict) or set(box) != set(Box.__dataclass_fields__):
        raise fault
    values = [*(found[name] for name in found if name != "common"), *box.values()]
    if any(isinstance(value, bool) or not isinstance(value, int | float) or not _finite(value) for value in values):
        raise fault
    common = Box(**{name: float(value) for name, value in box.items()})
    geometry = Geometry(**{name: float(value) for name, value in found.items() if name != "common"}, common=common)
    if min(geometry.scale_x, geometry.scale_y, *common.size) <= 0:
        raise fault
    return geometry
