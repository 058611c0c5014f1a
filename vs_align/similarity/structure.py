"""The measure "structure": what is where in the picture, whatever its colours.

Luma is brought to a small size and locally normalised: the mean of a neighbourhood is subtracted and the rest divided
by its deviation, so that brightness, contrast, gamma and colour grading leave it as it was. The distance is the mean
absolute difference of two such pictures.
"""

import cv2
import numpy as np
import vapoursynth as vs
from numpy.typing import NDArray

from ..frames import plane, widened
from .blocks import Plane
from .measure import Delivered, Measure, Scores
from .requests import Steps, batches, requests
from .store import RowStore, row_distances

__all__ = ["Structure", "structure_picture"]

_AREA = 160 * 120
_SIGMA = 6.0
# Deviations are clipped here; 42 steps of a byte to one deviation.
_CLIP, _STEPS = 3.0, 42.0


class Structure(Measure):
    """The mean absolute difference of small, locally normalised pictures, in local deviations.

    Args:
        clip, ref: clips of one format and size.
        capacity: frames in the store: the window and a few to spare.
    """

    label = "structure"

    def __init__(self, clip: vs.VideoNode, ref: vs.VideoNode, capacity: int) -> None:
        self.clip, self.ref = _luma(clip), _luma(ref)
        self._size = _small_size(clip.width, clip.height)
        self._rows = RowStore(capacity, self._size[0] * self._size[1])
        fmt = self.clip.format
        self._peak = 1.0 if fmt.sample_type == vs.FLOAT else float((1 << fmt.bits_per_sample) - 1)

    def scores(
        self, n: int, candidates: NDArray[np.int64], centre: int, delivered: Delivered, every: bool
    ) -> Steps[Scores]:
        """See `Measure.scores`; every candidate is compared."""
        ref = delivered.ref or (yield requests(self.ref, [n]))[0]
        target = self._row(ref)
        fresh = {frame: self._row(picture) for frame, picture in delivered.clip.items()}
        with self._rows.lock:
            for frame, row in fresh.items():
                self._rows.keep(frame, row)
            sums, there = self._rows.distances(target, candidates, row_distances)
        for frames in batches(candidates[~there]):
            pictures = yield requests(self.clip, frames)
            rows = [self._row(picture) for picture in pictures]
            sums[np.asarray(frames) - candidates[0]] = row_distances(target, np.stack(rows))
            with self._rows.lock:
                for frame, row in zip(frames, rows, strict=True):
                    self._rows.keep(frame, row)
        values = sums / (max(1, target.size) * _STEPS)
        return Scores(values, values, 0.02)

    def clear(self) -> None:
        """Give back the held pictures."""
        self._rows.clear()

    def _row(self, frame: vs.VideoFrame) -> NDArray[np.uint8]:
        return structure_picture(plane(frame, 0), self._size, self._peak).ravel()


def structure_picture(pixels: Plane, size: tuple[int, int], peak: float) -> NDArray[np.uint8]:
    """Return the small, locally normalised picture of a plane.

    Args:
        pixels: the plane, shape (H, W).
        size: width and height of the result.
        peak: the value of white.

    Returns:
        Shape (size[1], size[0]): 128 for the local mean, 42 steps to one local deviation.
    """
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(np.float32) * (255 / peak)
    mean = cv2.GaussianBlur(small, (0, 0), _SIGMA, borderType=cv2.BORDER_REFLECT)
    small -= mean
    deviation = cv2.sqrt(cv2.GaussianBlur(small * small, (0, 0), _SIGMA, borderType=cv2.BORDER_REFLECT))
    small /= deviation + 1.0
    picture: NDArray[np.uint8] = np.rint(np.clip(small, -_CLIP, _CLIP) * _STEPS + 128).astype(np.uint8)
    return picture


def _small_size(width: int, height: int) -> tuple[int, int]:
    shrink = max(1.0, (width * height / _AREA) ** 0.5)
    return max(1, round(width / shrink)), max(1, round(height / shrink))


def _luma(clip: vs.VideoNode) -> vs.VideoNode:
    fmt = clip.format
    if fmt.color_family == vs.RGB:
        return clip.resize.Point(format=vs.GRAYS, matrix=1)
    return widened(clip)
