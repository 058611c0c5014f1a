"""Keypoints in files: NumPy's .npz, or JSON. Whatever a file says is checked before it is believed."""

import io
import json
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..poses.skeleton import POINTS
from .store import write_bytes, write_text

__all__ = ["FARTHEST", "OVER", "Contents", "PoseFileError", "read", "read_array", "write"]

type Floats = NDArray[np.float64]

FARTHEST = 1e9
"""Pixels beyond which no joint is."""
OVER = 0.25
"""What the height of a network's heat map, where that is said to be how sure a joint is, may be below 0 or above 1."""

_FORMAT, _VERSION = "vs_align keypoints", 1
_DAMAGED = "it is cut off or holds no keypoints"


class PoseFileError(ValueError):
    """Says why a file is refused, in one line."""


class Contents(NamedTuple):
    """What a file holds; see `Keypoints` for the meaning of each."""

    points: Floats
    seen: NDArray[np.bool_]
    size: tuple[int, int]
    rate: Fraction | None
    pixel_shape: float


def write(path: Path, found: Contents) -> None:
    """Save as .npz where the name ends so, else as JSON."""
    head = {
        "format": _FORMAT,
        "version": _VERSION,
        "size": list(found.size),
        "rate": None if found.rate is None else str(found.rate),
        "pixel_shape": found.pixel_shape,
    }
    if path.suffix.lower() == ".npz":
        target = io.BytesIO()
        np.savez(target, head=np.array(json.dumps(head)), points=found.points, seen=found.seen)
        write_bytes(path, target.getvalue())
    else:
        columns = {"seen": found.seen.astype(int).tolist(), "keypoints": found.points.tolist()}
        write_text(path, json.dumps({**head, **columns}) + "\n")


def read(path: Path) -> Contents | Any:
    """Load a file: what `write` made, or the JSON document that it is.

    Raises:
        OSError: the file cannot be read.
        PoseFileError: it is damaged, of another version, or contradicts itself.
    """
    content = path.read_bytes()
    if path.suffix.lower() == ".npz":
        head, points, seen = _of_npz(content)
        return _contents(head, points, seen)
    try:
        document = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError):
        raise PoseFileError("it is cut off or no JSON") from None
    if not isinstance(document, dict) or document.get("format") != _FORMAT:
        return document
    try:
        points = np.array(document["keypoints"], np.float64)
        seen = np.array(document["seen"], np.float64)
    except (KeyError, TypeError, ValueError, OverflowError):
        raise PoseFileError(_DAMAGED) from None
    return _contents(document, points, seen)


def read_array(path: Path) -> NDArray[Any]:
    """Load an array out of a .npy file.

    Raises:
        OSError: the file cannot be read.
        PoseFileError: it is no such file.
    """
    content = io.BytesIO(path.read_bytes())
    try:
        array: NDArray[Any] = np.lib.format.read_array(content, allow_pickle=False)
    except Exception as fault:  # a damaged file fails in a dozen ways, few of them documented
        raise PoseFileError("it is cut off or no array of NumPy's") from fault
    return array


def _of_npz(content: bytes) -> tuple[dict[str, Any], Floats, Floats]:
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            head = json.loads(str(file["head"]))
            points, seen = (file[name].astype(np.float64) for name in ("points", "seen"))
    except Exception as fault:  # as above
        raise PoseFileError(_DAMAGED) from fault
    if not isinstance(head, dict) or head.get("format") != _FORMAT:
        raise PoseFileError(_DAMAGED)
    return head, points, seen


def _contents(head: dict[str, Any], points: Floats, seen: Floats) -> Contents:
    if head.get("version") != _VERSION:
        raise PoseFileError(f"it has version {str(head.get('version'))[:20]}; version {_VERSION} is understood")
    if points.ndim != 3 or points.shape[1:] != (POINTS, 3) or not len(points):
        raise PoseFileError(f"its keypoints must have shape (frames, {POINTS}, 3), not {points.shape}")
    if seen.shape != points.shape[:1] or not np.isin(seen, (0, 1)).all():
        raise PoseFileError("seen must be 0 or 1 for each of its frames")
    if not (np.abs(points) <= FARTHEST).all() or points[..., 2].min() < 0 or points[..., 2].max() > 1:
        raise PoseFileError("its keypoints must be finite, with confidences of 0 to 1")
    return Contents(points, seen.astype(bool), *_facts(head))


def _facts(head: dict[str, Any]) -> tuple[tuple[int, int], Fraction | None, float]:
    size, shape = head.get("size"), head.get("pixel_shape")
    if not isinstance(size, list) or len(size) != 2 or not all(type(side) is int and side >= 0 for side in size):
        raise PoseFileError("its size must be a width and a height")
    if isinstance(shape, bool) or not isinstance(shape, int | float) or not 0 < shape < 1e6:
        raise PoseFileError("its pixel_shape must be a positive number")
    try:
        rate = None if head.get("rate") is None else Fraction(head["rate"])
    except (ValueError, TypeError, ZeroDivisionError):
        rate = Fraction(0)
    if rate is not None and not 0 < rate < 1 << 31:
        raise PoseFileError("its rate is none that a clip can have")
    return (size[0], size[1]), rate, float(shape)
