"""What a clip frame differs by from every ref frame: subtitles, a logo, coarse coding."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["without_excess"]

type Frames = NDArray[np.int64]
type Floats = NDArray[np.float64]

# What is taken off at most, as a share of the usual distance of two frames: strangers must remain strangers.
_MOST = 0.4
# Not all, so that of frames that match exactly none becomes as good as another.
_SHARE = 0.9
# Of the least distances of all clip frames this is what a frame without excess has.
_USUAL = 10.0


def without_excess(rows: Floats, start: Frames, usual: float) -> Floats:
    """Take off distances what clip's frames have in excess.

    A clip frame under a subtitle is less like its own ref frame than a neighbour without one may be; but it is less
    like all the others as well. So what its least distance is above that of most clip frames says nothing about which
    ref frame it is.

    Args:
        rows: distances, all finite, shape (N, W).
        start: the clip frame of each row's first column, shape (N,).
        usual: the usual distance of two frames.

    Returns:
        Shape (N, W), 0 and up; the order within a row may change.
    """
    columns = (start - start.min())[:, None] + np.arange(rows.shape[1])
    least = np.full(int(columns.max()) + 1, np.inf)
    np.minimum.at(least, columns, rows)
    # Clip frames that few rows see, at both ends, may have their own ref frame beyond them.
    seen = np.bincount(columns.ravel())
    whole = seen >= seen.max()
    excess = _SHARE * np.clip(least - np.percentile(least[whole], _USUAL), 0.0, _MOST * usual)
    return np.asarray(rows - np.where(whole, excess, 0.0)[columns])
