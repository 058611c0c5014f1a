"""How well nearest neighbours align two sequences: Kendall's tau, and the error in frames. NumPy only."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["frame_errors", "kendalls_tau", "nearest"]

type Embeddings = NDArray[np.floating]
"""(T, D)."""


def nearest(one: Embeddings, other: Embeddings) -> NDArray[np.int64]:
    """Return for each of one's frames the place of the nearest (Euclidean) of other's; the first of equals."""
    squares = (other.astype(np.float64) ** 2).sum(1)
    return np.asarray((squares - 2 * one.astype(np.float64) @ other.astype(np.float64).T).argmin(1), np.int64)


def kendalls_tau(one: Embeddings, other: Embeddings) -> float:
    """Return Kendall's tau of the nearest neighbours of one in other, -1 to 1.

    Of all pairs of frames i < j of one: (those whose neighbours are in order - those whose are reversed) / all. Near 1
    it says that order is kept and nothing of how far off the frames are (Dwibedi et al., "Temporal Cycle-Consistency
    Learning", CVPR 2019). Frames with one neighbour are neither, as in the paper; its code takes SciPy's tau-b, which
    leaves such pairs out and is larger.

    Args:
        one, other: at least two frames, (T, D) and (U, D).
    """
    found = nearest(one, other)
    signs = np.sign(found[None, :] - found[:, None])
    above = np.triu_indices(len(found), 1)
    return float(signs[above].sum() / max(1, len(above[0])))


def frame_errors(
    one: Embeddings, other: Embeddings, numbers: NDArray[np.integer], other_numbers: NDArray[np.integer]
) -> NDArray[np.float64]:
    """Return how far off the nearest neighbour of each frame is, in frames.

    Args:
        one, other: (T, D) and (U, D).
        numbers, other_numbers: where each frame stands on a common time line, rising. Frames before other's first or
            after its last have no partner and are left out.

    Returns:
        abs(other_numbers[nearest] - numbers), less what no choice could avoid: 0 where the frame with the nearest
        number was found.
    """
    found = np.asarray(other_numbers[nearest(one, other)] - numbers, np.float64)
    best = np.abs(other_numbers[None, :] - numbers[:, None]).min(1)
    shared = (numbers >= other_numbers.min()) & (numbers <= other_numbers.max())
    return np.asarray((np.abs(found) - best)[shared])
