"""Lines whose values, rounded in one way, are the frame numbers that were matched."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .known_rates import known_ratios

__all__ = ["RoundedLine", "explained", "least_squares", "rounded_line"]

type Frames = NDArray[np.int64]
type Floats = NDArray[np.float64]

# Slopes that are tried on either side of the best so far, and their distance in frames over the whole length.
_BESIDE, _FINER = 6, (0.25, 0.0625, 0.015)
# How much of the weight near the line one way of rounding must explain.
_ROUNDED = 0.95
# Values that round to one number lie less than 1 apart; frame numbers times a slope are exact to far less than this.
_ROOM = 1 - 1e-6
_STEPS = 100


@dataclass(frozen=True, slots=True, eq=False)
class RoundedLine:
    """All lines that round to the same matches.

    Attributes:
        low, high: the least and the largest of their slopes.
        explained: which matches they round to, shape (N,).
    """

    low: float
    high: float
    explained: NDArray[np.bool_]


def rounded_line(n: Frames, m: Floats, weight: Floats, rate: float) -> RoundedLine | None:
    """Find the lines that round to all matches, else to as many as possible; None where those are too few.

    Args:
        n, m, weight: matches near a line, shape (N,).
        rate: its slope, as least squares give it: rounding puts it off by less than two frames over the whole length.
    """
    everything = np.ones(len(n), np.bool_)
    slopes = _slopes(n, m)
    if slopes is not None:
        return RoundedLine(*slopes, everything)
    explained = _explained(n, m, weight, rate)
    slopes = _slopes(n[explained], m[explained]) if explained is not None else None
    return None if slopes is None or explained is None else RoundedLine(*slopes, explained)


def least_squares(n: Frames, m: Floats, weight: Floats) -> tuple[float, float]:
    """Return rate and offset of the weighted least squares line."""
    centre, height = np.average(n, weights=weight), np.average(m, weights=weight)
    across = n - centre
    rate = float((weight * across * (m - height)).sum() / (weight * across**2).sum())
    return rate, float(height - rate * centre)


def _explained(n: Frames, m: Floats, weight: Floats, rate: float) -> NDArray[np.bool_] | None:
    """Say which matches one line explains when it is rounded; None where that leaves out too many.

    Args:
        n, m, weight: matches near a line.
        rate: its slope, as least squares give it: rounding puts it off by less than two frames over the whole length.
    """
    reach = float(np.ptp(n))
    ratios = known_ratios()
    best, slope, bottom = -1.0, rate, 0.0
    for finer in _FINER:
        beside = slope + np.arange(-_BESIDE, _BESIDE + 1) * (finer / reach)
        for tried in [slope, *ratios[np.abs(ratios - slope) * reach <= 2], *beside]:
            votes, lowest = _voted(n, m, weight, float(tried))
            if votes > best * (1 + 1e-12):
                best, slope, bottom = votes, float(tried), lowest
    if best < _ROUNDED * weight.sum():
        return None
    return _between(m - slope * n, bottom)


def explained(n: Frames, m: Floats, weight: Floats, slope: float) -> NDArray[np.bool_]:
    """Say which matches one line of this slope explains when it is rounded: those of most weight, shape (N,)."""
    return _between(m - slope * n, _voted(n, m, weight, slope)[1])


def _between(residual: Floats, bottom: float) -> NDArray[np.bool_]:
    inside: NDArray[np.bool_] = (residual >= bottom) & (residual < bottom + _ROOM)
    return inside


def _voted(n: Frames, m: Floats, weight: Floats, slope: float) -> tuple[float, float]:
    """Return that weight, and the least ``m - slope * n`` of those matches."""
    residual = m - slope * n
    order = residual.argsort()
    residual, sums = residual[order], np.concatenate([[0.0], weight[order].cumsum()])
    votes = sums[np.searchsorted(residual, residual + _ROOM, "left")] - sums[:-1]
    k = int(votes.argmax())
    return float(votes[k]), float(residual[k])


def _slopes(n: Frames, m: Floats) -> tuple[float, float] | None:
    """Return the least and the largest slope of lines that lie in ``[m, m + 1)`` at every ``n``, if there are any.

    For a slope the room for the offset is the least of ``m + 1 - slope n`` less the largest of ``m - slope n``:
    concave in the slope, so that Newton's steps from outside end exactly where the room does.
    """
    centre = n - n.mean()
    reach = float(np.ptp(n))
    guess, _ = least_squares(n, m, np.ones(len(n)))
    ends = []
    for side in (-1.0, 1.0):
        slope = guess + side * 4 / reach
        for _ in range(_STEPS):
            low, high = m - slope * centre, m + _ROOM - slope * centre
            i, j = int(low.argmax()), int(high.argmin())
            if high[j] - low[i] >= -1e-9:
                break
            if side * (n[j] - n[i]) <= 0:
                return None
            slope = float((m[j] + _ROOM - m[i]) / (n[j] - n[i]))
        else:
            return None
        ends.append(slope)
    return ends[0], ends[1]
