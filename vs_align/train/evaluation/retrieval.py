"""Whether the nearest frames of other videos are of the same phase. NumPy only."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["average_precision"]


def average_precision(videos: Sequence[tuple[NDArray[np.floating], NDArray[np.integer]]], count: int) -> float:
    """Return AP@count, 0 to 1: of the nearest frames of other videos the share of the same phase.

    The measure of "Learning by Aligning Videos in Time" (Haresh et al., CVPR 2021), where it is called average
    precision at K: the ratio of the right ones among the K nearest. A video counts by the mean of its frames, however
    many it has, as in the public code of CARL.

    Args:
        videos: embeddings (T, D) and phases (T,) of at least two videos.
        count: K; fewer where the others have fewer frames.
    """
    shares = []
    for place, (queries, phases) in enumerate(videos):
        others = [part for n, part in enumerate(videos) if n != place]
        frames = np.concatenate([part for part, _ in others]).astype(np.float64)
        known = np.concatenate([labels for _, labels in others])
        squares = (frames**2).sum(1) - 2 * queries.astype(np.float64) @ frames.T
        # Stable: of equals the first.
        nearest = np.argsort(squares, 1, kind="stable")[:, :count]
        shares.append((known[nearest] == phases[:, None]).mean())
    return float(np.mean(shares))
