"""Sums of absolute differences between rows of bytes."""

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["row_distances"]


def row_distances(row: NDArray[np.uint8], rows: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the sum of absolute differences of one row (D,) to each of ``rows`` (N, D), shape (N,), exactly."""
    if not row.size:
        return np.zeros(len(rows), np.int64)
    # One row as the "train" set and the best of one: OpenCV then walks the matrix once, in integer SIMD.
    distances, _ = cv2.batchDistance(rows, row[None], cv2.CV_32S, normType=cv2.NORM_L1, K=1)
    return distances[:, 0].astype(np.int64)
