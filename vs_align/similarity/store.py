"""The window-sized store of what was computed from clip's frames, shared by all measures."""

import threading
from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["FeatureStore", "RowStore", "row_distances"]


class FeatureStore[T]:
    """Features by frame number; the least recently used leave when there is no room.

    Args:
        capacity: how many frames are kept.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._kept: dict[int, T] = {}
        self._lock = threading.Lock()

    def held(self, frames: Iterable[int]) -> dict[int, T]:
        """Take hold of those of the frames that are there."""
        with self._lock:
            found = {frame: self._kept.pop(frame) for frame in frames if frame in self._kept}
            self._kept.update(found)
            return found

    def keep(self, frame: int, features: T) -> None:
        """Add one frame's features."""
        with self._lock:
            self._kept.pop(frame, None)
            self._kept[frame] = features
            while len(self._kept) > self._capacity:
                del self._kept[next(iter(self._kept))]

    def shrink(self, capacity: int) -> None:
        """Keep fewer frames from now on."""
        with self._lock:
            self._capacity = capacity

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._kept.clear()


class RowStore:
    """One row of bytes a frame, kept as one contiguous matrix so that a whole window is compared in one call.

    Frame k lives in row ``k % capacity``, so any run of up to ``capacity`` frames fits at once. ``lock`` guards the
    rows: who decides what is missing must use what is there under the same hold of the lock.

    Args:
        capacity: how many frames are kept.
        width: bytes in a row.
    """

    def __init__(self, capacity: int, width: int) -> None:
        self.lock = threading.Lock()
        self.width = width
        self._capacity = capacity
        self._rows = np.zeros((capacity, width), np.uint8)
        self._frame = np.full(capacity, -1, np.int64)

    def keep(self, frame: int, row: NDArray[np.uint8]) -> None:
        """Add one frame's row. Call with the lock held."""
        slot = frame % self._capacity
        self._rows[slot] = row
        self._frame[slot] = frame

    def has(self, frame: int) -> bool:
        """Say whether a frame's row is there. Call with the lock held."""
        return bool(self._frame[frame % self._capacity] == frame)

    def row(self, frame: int) -> NDArray[np.uint8]:
        """Return a copy of the row of a frame that is there. Call with the lock held."""
        row: NDArray[np.uint8] = self._rows[frame % self._capacity].copy()
        return row

    def distances(
        self, row: NDArray[np.uint8], candidates: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Compare a row with the candidates' rows. Call with the lock held.

        Returns:
            The distances, shape (K,), and which of the candidates were there; the others' distances say nothing.
        """
        slots = candidates % self._capacity
        there = self._frame[slots] == candidates
        # Few candidates are copied out; for most of a window it is cheaper to walk all rows where they are.
        if 4 * len(candidates) < self._capacity:
            return row_distances(row, self._rows[slots]), there
        return row_distances(row, self._rows)[slots], there

    def clear(self) -> None:
        """Forget everything."""
        with self.lock:
            self._frame.fill(-1)


def row_distances(row: NDArray[np.uint8], rows: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the sum of absolute differences of one row (D,) to each of ``rows`` (N, D), shape (N,), exactly."""
    if not row.size:
        return np.zeros(len(rows), np.int64)
    # The one row as the "train" set and the best of one: OpenCV walks the rows once, in integer SIMD.
    distances, _ = cv2.batchDistance(rows, row[None], cv2.CV_32S, normType=cv2.NORM_L1, K=1)
    return distances[:, 0].astype(np.int64)
