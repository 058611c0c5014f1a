"""What is held of one clip: small pictures of its frames, and their embeddings."""

import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import vapoursynth as vs
from numpy.typing import NDArray

from ..requests import Steps, batches, requests
from ..store import FeatureStore
from .framing import IDENTITY, Framing
from .networks import Network

__all__ = ["UNIT", "Cut", "Embedded", "Pictures", "Vectors", "half_squares"]

type Array = NDArray[np.float32]
type Pictures = dict[int, Array | None]
"""Small pictures by frame number."""

UNIT = 2048
"""Whole numbers to an embedding's length: dot products of such vectors are below 2 ** 24 and exact in any order."""


class Cut(NamedTuple):
    """How many frames before and after a frame are seen with it."""

    before: int
    after: int


class Vectors:
    """Embeddings by frame number, one matrix, so that a window is compared in one product.

    Args:
        capacity: how many are kept: any run of so many frames fits at once.
        length: of an embedding.
    """

    def __init__(self, capacity: int, length: int) -> None:
        self._capacity = capacity
        self._rows = np.zeros((capacity, length), np.float32)
        self._frame = np.full(capacity, -1, np.int64)
        self._lock = threading.Lock()

    def keep(self, frame: int, row: Array) -> None:
        """Add a frame's embedding; zeros where it has none."""
        slot = frame % self._capacity
        with self._lock:
            self._rows[slot], self._frame[slot] = row, frame

    def rows(self, frames: NDArray[np.int64]) -> tuple[Array, NDArray[np.bool_]]:
        """Return a copy of the frames' embeddings, shape (K, length), and which of them were there, shape (K,)."""
        slots = frames % self._capacity
        with self._lock:
            return self._rows[slots], self._frame[slots] == frames

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._frame.fill(-1)


class Embedded:
    """Embeddings of a clip's frames; what is missing is asked for.

    Args:
        clip: as the network prepared it.
        network: embeds.
        pictures: small pictures that are kept.
        capacity: embeddings that are kept.
    """

    def __init__(self, clip: vs.VideoNode, network: Network, pictures: int, capacity: int) -> None:
        self._clip, self._network = clip, network
        self._pictures: FeatureStore[Array | None] = FeatureStore(pictures)
        self._vectors = Vectors(capacity, network.length)

    def take(self, frames: Mapping[int, vs.VideoFrame]) -> None:
        """Keep what is needed of frames that have arrived."""
        for frame, picture in frames.items():
            self._pictures.keep(frame, self._network.picture(picture))

    def prepare(self, frame: int) -> None:
        """Embed a frame ahead of time, where all that this needs is there."""
        if not 0 <= frame < self._clip.num_frames or self._vectors.rows(np.array([frame]))[1][0]:
            return
        wanted = self._around(frame)
        held = self._pictures.held(wanted)
        if len(held) == len(wanted):
            self._vectors.keep(frame, self._vector(frame, held))

    def rows(self, frames: NDArray[np.int64]) -> Steps[Array]:
        """Return the embeddings of consecutive frames as they are, shape (K, length); zeros where one has none."""
        found, there = self._vectors.rows(frames)
        for part in batches(frames[~there]):
            pictures = yield from self.pictures(part)
            for frame in part:
                found[frame - frames[0]] = vector = self._vector(frame, pictures)
                self._vectors.keep(frame, vector)
        return found

    def rows_within(self, frames: NDArray[np.int64], cut: Cut) -> Steps[Array]:
        """Return the embeddings of frames as they are when no more than ``cut`` is seen with them.

        Shape (K, length); zeros where one has none.
        """
        found: list[Array] = []
        for part in batches(frames):
            pictures = yield from self.pictures(part)
            found += [self._vector(frame, pictures, cut) for frame in part]
        return np.array(found)

    def cut(self, frame: int) -> Cut:
        """Return what is seen with a frame: all within the network's reach, less at the clip's ends."""
        around = self._around(frame)
        return Cut(frame - around[0], around[-1] - frame)

    def pictures(self, frames: Iterable[int]) -> Steps[Pictures]:
        """Return the small pictures of frames and of those around them; None where one cannot be read."""
        wanted = sorted({near for frame in frames for near in self._around(frame)})
        held = self._pictures.held(wanted)
        for part in batches(frame for frame in wanted if frame not in held):
            arrived = yield requests(self._clip, part)
            for frame, picture in zip(part, arrived, strict=True):
                held[frame] = self._network.picture(picture)
                self._pictures.keep(frame, held[frame])
        return held

    def vectors(
        self, frame: int, pictures: Pictures, framings: Sequence[Framing], cut: Cut | None = None
    ) -> Array | None:
        """Return a frame's embeddings in whole numbers, shape (framings, length), given the pictures around it."""
        if pictures[frame] is None:
            return None
        near = [k for k in self._around(frame, cut) if pictures[k] is not None]
        around = [picture for k in near if (picture := pictures[k]) is not None]
        made = self._network.embeddings(around, near.index(frame), framings)
        return np.rint(made * np.float32(UNIT))

    def clear(self) -> None:
        """Forget everything."""
        self._pictures.clear()
        self._vectors.clear()

    def _vector(self, frame: int, pictures: Pictures, cut: Cut | None = None) -> Array:
        made = self.vectors(frame, pictures, [IDENTITY], cut)
        return np.zeros(self._network.length, np.float32) if made is None else made[0]

    def _around(self, frame: int, cut: Cut | None = None) -> range:
        before, after = cut or Cut(self._network.reach, self._network.reach)
        return range(max(0, frame - before), min(self._clip.num_frames, frame + after + 1))


def half_squares(rows: Array, vectors: Array) -> NDArray[np.float64]:
    """Return half the squared distances of embeddings of unit length: 0 the same, 1 nothing in common, 2 opposite.

    Args:
        rows: candidates, shape (K, length); zeros stand for none.
        vectors: shape (F, length).

    Returns:
        Shape (F, K), exact; infinite where there is no candidate.
    """
    own = np.einsum("kd,kd->k", rows, rows).astype(np.float64)
    others = np.einsum("fd,fd->f", vectors, vectors).astype(np.float64)
    found = (own + others[:, None] - 2.0 * (vectors @ rows.T).astype(np.float64)) / (2.0 * UNIT * UNIT)
    return np.where(own > 0, found, np.inf)
