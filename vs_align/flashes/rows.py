"""What a camera's frames say row by row, and when each frame was taken."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["FlashError", "RowFeatures", "frame_interval", "row_brightness", "steady_times"]

type Floats = NDArray[np.float64]

_GROUPS = 5
# Columns that each group reads: more of them say hardly more, and cost their share of the decoder's time.
_MOST_COLUMNS = 64
_ROUNDING_MS = 0.5
_SLACK_MS = 0.02


class FlashError(ValueError):
    """There is no answer that could be trusted; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class RowFeatures:
    """The brightness of every row of every frame of one camera.

    Attributes:
        rows: shape (F, R), uint8 or float32, 0..255; what `row_brightness` gives, one line a frame.
        times_ms: when each frame is shown, in ms, shape (F,), ascending. Any start and any intervals.
        height: rows of the picture. Where R is smaller, each feature stands for height / R rows.

    Raises:
        FlashError: the shapes do not fit each other, fewer than two frames, or the times do not ascend.
    """

    rows: NDArray[np.uint8] | NDArray[np.float32]
    times_ms: Floats
    height: int

    def __post_init__(self) -> None:
        shape = self.rows.shape
        if self.rows.ndim != 2 or shape[0] < 2 or shape[1] < 2:
            raise FlashError(f"flash: rows must have shape (frames, rows), at least (2, 2), not {shape}.")
        if self.rows.dtype.kind not in "uf":
            raise FlashError(f"flash: rows must be uint8 or float32, 0 to 255, not {self.rows.dtype}.")
        if self.times_ms.shape != shape[:1]:
            raise FlashError(f"flash: there are {shape[0]} frames, and times_ms has shape {self.times_ms.shape}.")
        if not np.isfinite(self.times_ms).all() or not (np.diff(self.times_ms) > 0).all():
            raise FlashError("flash: the times of the frames must be finite and ascend.")
        if self.height < shape[1]:
            raise FlashError(f"flash: height must be {shape[1]} or more, one row or more a feature, not {self.height}.")


def row_brightness(luma: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return a robust mean brightness of each row: the mean over medians of five columns, a fifth of the width apart.

    What fills less than two fifths of a row, wherever it is, hardly moves it, and it takes a small part of the time of
    a median over all columns.

    Args:
        luma: shape (H, W), W at least 5.

    Returns:
        Shape (H,), 0..255.
    """
    width = luma.shape[1] // _GROUPS
    step = max(1, width // _MOST_COLUMNS)
    taken = width - width % step
    a, b, c, d, e = (luma[:, k * width : k * width + taken : step] for k in range(_GROUPS))
    low, high = np.minimum(a, b), np.maximum(a, b)
    low2, high2 = np.minimum(c, d), np.maximum(c, d)
    # Of four, neither the least nor the largest can be the median of five; of the other two and e it is the middle.
    inner, inner2 = np.maximum(low, low2), np.minimum(high, high2)
    below, above = np.minimum(inner, inner2), np.maximum(inner, inner2)
    middle = np.maximum(below, np.minimum(above, e))
    return np.asarray(middle.mean(axis=1, dtype=np.float32))


def frame_interval(times_ms: Floats) -> float:
    """Return the usual time between two frames in ms."""
    return float(np.median(np.diff(times_ms)))


def steady_times(times_ms: Floats) -> Floats:
    """Undo the rounding of whole-millisecond time stamps where the camera was steady.

    Where all stamps are whole and one rate explains each to half a millisecond (frames may be missing), they lie on
    the line through them; any others are returned as they are. Matroska rounds so, and an edge of a flash is timed
    better than that.
    """
    if len(times_ms) < 16 or (times_ms != np.round(times_ms)).any():
        return times_ms
    interval = frame_interval(times_ms)
    for _ in range(4):
        count = np.concatenate([[0.0], np.cumsum(np.round(np.diff(times_ms) / interval))])
        slope, start = np.polyfit(count, times_ms, 1)
        interval = float(slope)
    line = start + slope * count
    off = times_ms - line
    # The middle between the outermost errors is what rounding is symmetric about, whichever way it goes.
    line = line + (off.max() + off.min()) / 2
    return line if off.max() - off.min() <= 2 * (_ROUNDING_MS + _SLACK_MS) else times_ms
