"""A quick measure first, a heavy one for the best few."""

import numpy as np
import vapoursynth as vs
from numpy.typing import NDArray

from ..matching.window import tie_ranks
from .measure import Delivered, Measure, Scores
from .requests import Steps

__all__ = ["Shortlist"]


class Shortlist(Measure):
    """Ranks the window with one measure and compares the best of it with another.

    Args:
        quick: ranks the whole window.
        heavy: decides among the best; it must accept candidates that are not consecutive.
        length: how many it decides among.
    """

    def __init__(self, quick: Measure, heavy: Measure, length: int) -> None:
        self.label = f"{heavy.label}, best {length}"
        self.clip: vs.VideoNode = quick.clip
        self.ref: vs.VideoNode = quick.ref
        self._quick, self._heavy = quick, heavy
        self._length = length

    def scores(
        self, n: int, candidates: NDArray[np.int64], centre: int, delivered: Delivered, every: bool
    ) -> Steps[Scores]:
        """See `Measure.scores`; the confidence is judged by the quick measure, which has seen the whole window."""
        quick = yield from self._quick.scores(n, candidates, centre, delivered, True)
        ranks = tie_ranks(int(candidates[0]) - centre, int(candidates[-1]) - centre)
        best = np.sort(np.lexsort((ranks, quick.values))[: self._length])
        heavy = yield from self._heavy.scores(n, candidates[best], centre, Delivered(), every)
        values = np.full(len(candidates), np.inf)
        values[best] = heavy.values
        return Scores(values, quick.contrast, quick.floor)

    def clear(self) -> None:
        """Give back what both measures hold."""
        self._quick.clear()
        self._heavy.clear()
