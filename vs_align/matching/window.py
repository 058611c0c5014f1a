"""The candidates of one ref frame and the choice among them."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .rates import RateMap

__all__ = ["Match", "Window", "choose", "confidence", "tie_ranks"]


@dataclass(frozen=True, slots=True)
class Window:
    """The clip frames that are compared with one ref frame.

    Attributes:
        centre: the clip frame on screen at the ref frame's time; it may lie beyond clip's end.
        first, last: the candidates, both ends included; empty where ``last < first``.
    """

    centre: int
    first: int
    last: int

    @classmethod
    def around(cls, n: int, rates: RateMap, tr: int, clip_length: int) -> "Window":
        """Return the frames that exist within ``tr`` of the centre of ref's frame ``n``."""
        centre = rates.centre(n)
        return cls(centre, max(0, centre - tr), min(clip_length - 1, centre + tr))

    @property
    def candidates(self) -> NDArray[np.int64]:
        """The candidates in ascending order."""
        return np.arange(self.first, self.last + 1, dtype=np.int64)

    def __len__(self) -> int:
        return max(0, self.last - self.first + 1)


@dataclass(frozen=True, slots=True)
class Match:
    """The clip frame chosen for one ref frame.

    Attributes:
        frame: the clip frame.
        offset: ``frame`` minus the centre of the window.
        score: its distance to the ref frame; infinite where no candidate has a finite one.
        confidence: 0..1, see `confidence`.
    """

    frame: int
    offset: int
    score: float
    confidence: float

    @classmethod
    def stand_in(cls, window: Window, clip_length: int) -> "Match":
        """Return the clip frame nearest to the centre, for a ref frame that nothing can be compared with."""
        frame = min(max(window.centre, 0), clip_length - 1)
        return cls(frame, frame - window.centre, math.inf, 0.0)


@lru_cache(maxsize=64)
def tie_ranks(first: int, last: int) -> NDArray[np.int64]:
    """Return the order in which equal candidates win: the nearest to the centre, then the later one.

    Args:
        first, last: the first and the last candidate, counted from the centre.

    Returns:
        Ranks, smaller wins, shape (last - first + 1,); shared and read-only.
    """
    ahead = np.arange(first, last + 1, dtype=np.int64)
    ranks = 2 * np.abs(ahead) - (ahead > 0)
    ranks.flags.writeable = False
    return ranks


def choose(candidates: NDArray[np.int64], scores: NDArray[np.float64], centre: int) -> int | None:
    """Pick the best candidate.

    Args:
        candidates: clip frames, consecutive, shape (K,).
        scores: their distances, shape (K,); a NaN or infinite one is never chosen.
        centre: the centre of the window.

    Returns:
        The position in ``candidates`` of the smallest score; ties go to the smallest ``|candidate - centre|``, then to
        the later frame. None where no score is finite.
    """
    best = float(np.fmin.reduce(scores))
    if not math.isfinite(best):
        return None
    equal = np.flatnonzero(scores == best)
    if len(equal) == 1:
        return int(equal[0])
    ranks = tie_ranks(int(candidates[0]) - centre, int(candidates[-1]) - centre)
    return int(equal[ranks[equal].argmin()])


def confidence(scores: NDArray[np.float64], best: int, floor: float) -> float:
    """Say how clearly the best candidate beats every candidate that is not its neighbour.

    Args:
        scores: the distances of consecutive candidates, shape (K,).
        best: the chosen position.
        floor: a difference this small says nothing: the noise of the measure, in its own unit.

    Returns:
        0..1: the lead over the runner-up as a share of the runner-up's score (plus ``floor``). 0 where there is no
        such candidate, and near 0 in static scenes.
    """
    before, after = scores[: max(0, best - 1)], scores[best + 2 :]
    second = min(
        float(np.fmin.reduce(before)) if len(before) else math.inf,
        float(np.fmin.reduce(after)) if len(after) else math.inf,
    )
    if not math.isfinite(second):
        return 0.0
    return min(1.0, max(0.0, (second - float(scores[best])) / (second + floor)))
