"""When each frame of clip is to be shown so that it runs in step with ref."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["timecodes_ms"]

# Timestamps are written with this many digits after the point; two frames are at least so far apart.
_LEAST_STEP_MS = 0.001


def timecodes_ms(
    frame: NDArray[np.int64], clip_length: int, ref_ms: float, clip_ms: float
) -> tuple[NDArray[np.float64], float]:
    """Place each frame of clip in ref's time.

    A clip frame is shown from the first ref frame that it matches; frames between two that match share the time between
    evenly, and those before the first and after the last follow at clip's own speed.

    Args:
        frame: the clip frame of each ref frame, ascending where it is not -1, shape (N,); at least one is not.
        clip_length: frames in clip.
        ref_ms, clip_ms: how long a frame lasts.

    Returns:
        The times in ms, strictly ascending, shape (clip_length,), the first of which is not negative, and by how much
        all of them are later than ref: clip's frames before ref's beginning would have negative times.
    """
    n = np.flatnonzero(frame >= 0)
    known, first = np.unique(frame[n], return_index=True)
    times = np.interp(np.arange(clip_length), known, n[first] * ref_ms)
    before, after = np.arange(known[0]), np.arange(known[-1] + 1, clip_length)
    times[before] = times[known[0]] - (known[0] - before) * clip_ms
    times[after] = times[known[-1]] + (after - known[-1]) * clip_ms
    late = max(0.0, -float(times[0]))
    # Frames that match no ref frame of their own may share a time; nothing is ever shown for no time at all.
    steps = np.arange(clip_length) * _LEAST_STEP_MS
    return np.maximum.accumulate(times + late - steps) + steps, late
