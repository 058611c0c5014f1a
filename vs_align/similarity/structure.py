"""The measure "structure": what is where in the picture, whatever its colours.

Luma is brought to a small size and locally normalised: the mean of a neighbourhood is subtracted and the rest divided
by its deviation, so that brightness, contrast, gamma and colour grading leave it as it was. The distance is the mean
absolute difference of two such pictures.
"""

from typing import Any

import cv2
import numpy as np
import vapoursynth as vs
from numpy.typing import NDArray

from ..frames import plane
from .blocks import Plane
from .measure import Delivered, Measure, Scores
from .requests import Steps, batches, requests
from .small_luma import luma_clip
from .store import FeatureStore, RowStore, row_distances

__all__ = ["Structure", "structure_picture"]

type Row = NDArray[np.uint8]

# The small picture has about this many pixels.
_AREA = 120 * 90
# The neighbourhood's side in small pixels, and what is added to the local deviation so that noise in flat places is not
# blown up, in 8 bit steps.
_SIDE, _FLAT = 13, 1.0
# Steps of a byte to one deviation: about three deviations fit.
_STEPS = 42.0
# A mean difference, in deviations, that says nothing.
_FLOOR = 0.02


class Structure(Measure):
    """The mean absolute difference of small, locally normalised pictures, in local deviations.

    Args:
        clip, ref: clips of one format and size.
        capacity: frames in the store: the window and a few to spare.
    """

    label = "structure"

    def __init__(self, clip: vs.VideoNode, ref: vs.VideoNode, capacity: int) -> None:
        self.clip, self.ref = luma_clip(clip), luma_clip(ref)
        self._size = _small_size(clip.width, clip.height)
        self._shrink = _shrink(clip.width, clip.height, self._size)
        self._rows = RowStore(capacity, self._size[0] * self._size[1])
        self._bad: FeatureStore[bool] = FeatureStore(capacity)
        fmt = self.clip.format
        self._float = fmt.sample_type == vs.FLOAT
        self._scale = np.float32(255 if self._float else 255 / ((1 << fmt.bits_per_sample) - 1))

    def scores(
        self, n: int, candidates: NDArray[np.int64], centre: int, delivered: Delivered, every: bool
    ) -> Steps[Scores]:
        """See `Measure.scores`; every candidate is compared."""
        ref = delivered.ref or (yield requests(self.ref, [n]))[0]
        target = self._row(ref)
        fresh = {frame: self._row(picture) for frame, picture in delivered.clip.items()}
        with self._rows.lock:
            for frame, row in fresh.items():
                self._keep(frame, row)
            sums, there = self._rows.distances(_or_blank(target, self._rows.width), candidates)
        values = sums / (max(1, self._rows.width) * _STEPS)
        for frames in [] if there.all() else batches(candidates[~there]):
            pictures = yield requests(self.clip, frames)
            rows = [self._row(picture) for picture in pictures]
            with self._rows.lock:
                for frame, row in zip(frames, rows, strict=True):
                    values[frame - candidates[0]] = _distance(target, row)
                    self._keep(frame, row)
        for frame in self._bad.held(candidates.tolist()):
            values[frame - candidates[0]] = np.inf
        if target is None:
            values[:] = np.inf
        return Scores(values, values, _FLOOR)

    def clear(self) -> None:
        """Give back the held pictures."""
        self._rows.clear()
        self._bad.clear()

    def _keep(self, frame: int, row: Row | None) -> None:
        if row is None:
            self._bad.keep(frame, True)
        self._rows.keep(frame, _or_blank(row, self._rows.width))

    def _row(self, frame: vs.VideoFrame) -> Row | None:
        """Return a frame's picture as a row, or None where a pixel is not finite."""
        small = _small(plane(frame, 0), self._size, self._shrink)
        if self._scale != 1:
            with np.errstate(over="ignore"):
                small = small * self._scale
        if self._float:
            # What is NaN or infinite stays so when it is averaged.
            if not np.isfinite(cv2.norm(small, cv2.NORM_L1)):
                return None
            # Far beyond white, squares would overflow.
            small = np.clip(small, -1e6, 1e6)
        return structure_picture(small).ravel()


def structure_picture(small: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Normalise a small picture locally.

    Args:
        small: luma in 8 bit steps, shape (h, w).

    Returns:
        Same shape: 128 for the local mean, 42 steps to one local deviation.
    """
    # A box does what a Gaussian of the same deviation does here, in a third of its time.
    side = (_SIDE, _SIDE)
    detail = small - cv2.blur(small, side, borderType=cv2.BORDER_REFLECT)
    variance = cv2.sqrBoxFilter(detail, cv2.CV_32F, side, borderType=cv2.BORDER_REFLECT)
    # A running sum may end a little below 0.
    deviation: NDArray[Any] = cv2.sqrt(np.abs(variance, out=variance))
    deviation += np.float32(_FLAT)
    # Divides, rounds and clips in one pass.
    steps = cv2.divide(detail, deviation, scale=_STEPS, dtype=cv2.CV_8S)
    picture: NDArray[np.uint8] = steps.view(np.uint8) ^ np.uint8(128)
    return picture


def _distance(row: Row | None, other: Row | None) -> float:
    if row is None or other is None:
        return np.inf
    return float(row_distances(row, other[None])[0] / (max(1, row.size) * _STEPS))


def _or_blank(row: Row | None, width: int) -> Row:
    return np.zeros(width, np.uint8) if row is None else row


def _small_size(width: int, height: int) -> tuple[int, int]:
    shrink = max(1.0, (width * height / _AREA) ** 0.5)
    return max(1, round(width / shrink)), max(1, round(height / shrink))


def _shrink(width: int, height: int, size: tuple[int, int]) -> int:
    """Return the largest power of two by which the picture is shrunk exactly and does not get smaller than ``size``."""
    shrink = 1
    while (
        width // (2 * shrink) >= size[0]
        and height // (2 * shrink) >= size[1]
        and width % (2 * shrink) == height % (2 * shrink) == 0
    ):
        shrink *= 2
    return shrink


def _small(picture: Plane, size: tuple[int, int], shrink: int) -> NDArray[np.float32]:
    """Average a plane down to ``size``: halved as often as that is exact, which is quick, then by area."""
    if shrink > 1:
        # Halving reads two rows at a time. Where the plane is not in the cache, going through it once in a straight
        # line first, which the processor foresees, takes half as long in all.
        cv2.norm(picture, cv2.NORM_INF)
    small: NDArray[Any] = picture
    while shrink > 1:
        if shrink == 2:
            # Rounding before this is averaged away; this last one would show.
            small = small.astype(np.float32, copy=False)
        small = cv2.resize(small, (small.shape[1] // 2, small.shape[0] // 2), interpolation=cv2.INTER_AREA)
        shrink //= 2
    if small.shape != size[::-1]:
        small = cv2.resize(small, size, interpolation=cv2.INTER_AREA)
    return small.astype(np.float32, copy=False)
