"""Which frames of a video two views of it have."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Sampler"]

type Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Sampler:
    """Draws two overlapping stretches of a video, and some frames of each, in order.

    A stretch has a * min(frames, count) frames, a drawn from 1 to ``stretch``, and no more than the video; of these
    ``count`` are taken at random, all where there are fewer.

    Attributes:
        count: frames of a view, T.
        stretch: the longest stretch, as a multiple of that.
        overlap: share of the shorter stretch that lies in the other one at least, above 0 to 1.
    """

    count: int
    stretch: float = 1.5
    overlap: float = 0.2

    def views(self, frames: int, rng: np.random.Generator) -> tuple[Numbers, Numbers]:
        """Return the frame numbers of both views, each rising, from 0 to ``frames`` - 1.

        Args:
            frames: of the video, at least 1.
            rng: what draws.
        """
        sizes = [self._size(frames, rng) for _ in range(2)]
        begin = int(rng.integers(frames - sizes[0] + 1))
        shared = max(1, int(np.ceil(self.overlap * min(sizes))))
        earliest = max(0, begin + shared - sizes[1])
        latest = min(frames - sizes[1], begin + sizes[0] - shared)
        other = int(rng.integers(earliest, latest + 1))
        return self._taken(begin, sizes[0], rng), self._taken(other, sizes[1], rng)

    def _size(self, frames: int, rng: np.random.Generator) -> int:
        return min(frames, int(rng.uniform(1, self.stretch) * min(frames, self.count)))

    def _taken(self, begin: int, size: int, rng: np.random.Generator) -> Numbers:
        taken = rng.choice(size, min(size, self.count), replace=False)
        return begin + np.sort(taken).astype(np.int64)
