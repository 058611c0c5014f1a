"""How bright frames are, as a hint of which belong together: in fades little else tells them apart."""

import numpy as np
from numpy.typing import NDArray

from ..matching.paths import Band

__all__ = ["brightness_costs"]

type Frames = NDArray[np.int64]
type Floats = NDArray[np.float64]

# What a difference of one step of 255 costs, and the most that any does, as shares of the usual distance of two frames:
# a hint, no more (benchmarks/RESULTS.md).
_PER_STEP, _MOST = 0.012, 0.09
# A scatter that is always there, in steps.
_LEAST_SCATTER = 0.25
_ROUNDS = 10
# For normal errors.
_MEDIAN_TO_DEVIATION = 1.4826


def brightness_costs(ref: Floats, clip: Floats, band: Band, frame: Frames, confidence: Floats, usual: float) -> Floats:
    """Return what pairs of frames cost whose brightness does not fit the other pairs.

    Clip's brightness is taken to be a line of ref's, which is fitted to the surer half of the matches (least absolute
    deviations, by repeated weighting). Where the two go different ways, what is left over is large and little is paid.

    Args:
        ref: the mean luma of each ref frame, in steps of 255, shape (N,).
        clip: likewise, shape (M,).
        band: which pairs are compared.
        frame: the clip frame of each ref frame as known so far, shape (N,).
        confidence: of these matches, shape (N,).
        usual: the usual distance of two frames.

    Returns:
        Shape (N, W), 0 and up.
    """
    sure = np.flatnonzero(confidence >= np.median(confidence))
    slope, offset, scatter = _line(clip[frame[sure]], ref[sure])
    columns = band.start[:, None] + np.arange(band.width)
    off = np.abs(ref[:, None] - (slope * clip + offset)[columns])
    costs: Floats = usual * np.minimum(_PER_STEP * np.maximum(off - scatter, 0), _MOST)
    return costs


def _line(x: Floats, y: Floats) -> tuple[float, float, float]:
    """Return slope, offset and scatter of the line through most of the points."""
    columns = np.stack([x, np.ones_like(x)], 1)
    weights, line, scatter = np.ones_like(x), np.array([1.0, 0.0]), _LEAST_SCATTER
    for _ in range(_ROUNDS):
        line = np.linalg.lstsq(columns * weights[:, None], y * weights, rcond=None)[0]
        off = np.abs(y - columns @ line)
        scatter = max(_LEAST_SCATTER, _MEDIAN_TO_DEVIATION * float(np.median(off)))
        weights = 1 / np.sqrt(np.maximum(1, off / scatter))
    return float(line[0]), float(line[1]), scatter
