"""A constant offset, or a rate and an offset, out of a frame map of which any part may be wrong.

A frame map holds the clip frame of each ref frame, shape (N,); a negative one stands for no match. Weights, shape (N,),
say how much each match counts: its confidence, or 1.
"""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .known_rates import KnownRate, explain, known_ratios
from .rounding import explained, least_squares, rounded_line

__all__ = ["LinearFit", "OffsetFit", "linear_fit", "matches", "offset_fit"]

type Frames = NDArray[np.int64]
type Floats = NDArray[np.float64]

_SAMPLES = 1000
_SLOPES = 600
# Frames that a line may be off at first, when its slope comes from two matches, and at least.
_WIDE, _NEAR = 3.0, 1.0
_ROUNDS = 20
# A usual rate that explains so much of what the best line explains is taken for it.
_AS_GOOD = 0.995
# For normal errors.
_MEDIAN_TO_DEVIATION = 1.4826
_CLUSTERS = 10


@dataclass(frozen=True, slots=True)
class OffsetFit:
    """One offset for the whole clip.

    Attributes:
        offset: clip frame minus the frame that ref's rate gives, in clip frames.
        share: 0..1, how much of the weight has exactly that offset.
        near: 0..1, how much is within one frame of it.
    """

    offset: int
    share: float
    near: float


@dataclass(frozen=True, slots=True)
class LinearFit:
    """A line: ref frame n shows clip frame ``rate * n + offset``, rounded.

    Attributes:
        rate: clip frames per ref frame.
        offset: in clip frames, at ref frame 0; half a frame below to half a frame above what was matched.
        rate_error, offset_error: where ``exact``, how far off it may be and still round to the same frames (the offset
            at this rate); else the standard error of least squares.
        share: 0..1, how much of the weight lies within a frame of the line.
        exact: nearly all of those matches are what one line gives when its values are rounded in one way.
        known: the pair of usual frame rates that explains ``rate``. Where ``exact`` and the pair is nearly as good as
            any other line, ``rate`` is its ratio.
    """

    rate: float
    offset: float
    rate_error: float
    offset_error: float
    share: float
    exact: bool
    known: KnownRate | None

    def speed(self, ref_rate: Fraction, clip_rate: Fraction) -> float:
        """Return clip seconds per ref second, from the frame rates in frames per second."""
        return self.rate * float(ref_rate / clip_rate)


def matches(function: str, frame_map: ArrayLike, weights: ArrayLike | None) -> tuple[Frames, Floats]:
    """Check a frame map and its weights; return them, with weight 0 where there is no match."""
    frames = np.asarray(frame_map)
    if frames.ndim != 1 or not len(frames) or frames.dtype.kind not in "iu":
        raise ValueError(f"{function}: frame_map must hold a whole number for each ref frame.")
    weight = np.ones(len(frames)) if weights is None else np.array(weights, np.float64)
    if weight.shape != frames.shape:
        raise ValueError(f"{function}: weights must have shape {frames.shape}, not {weight.shape}.")
    bad = ~(np.isfinite(weight) & (weight >= 0))
    if bad.any():
        raise ValueError(f"{function}: the weight of ref frame {int(bad.argmax())} must be 0 or more and finite.")
    weight[frames < 0] = 0
    if not weight.any():
        raise ValueError(f"{function}: no match has any weight.")
    return frames.astype(np.int64), weight


def offset_fit(frame_map: ArrayLike, weights: ArrayLike | None = None, *, rate: Fraction = Fraction(1)) -> OffsetFit:
    """Return the offset that most of the matches share.

    Args:
        frame_map: the clip frame of each ref frame, shape (N,); negative: no match.
        weights: how much each counts, shape (N,).
        rate: clip's frame rate divided by ref's; offsets are counted from ``floor(rate * n)``.

    Returns:
        The fit. Of offsets with the same weight the one nearest to the weighted median wins.

    Raises:
        ValueError: nothing is matched, or the arguments do not fit each other.
    """
    frames, weight = matches("offset_fit", frame_map, weights)
    offsets = frames - np.arange(len(frames)) * rate.numerator // rate.denominator
    values, index = np.unique(offsets[weight > 0], return_inverse=True)
    votes = np.bincount(index, weight[weight > 0])
    middle = values[np.searchsorted(np.cumsum(votes), votes.sum() / 2)]
    equal = np.flatnonzero(votes >= votes.max() * (1 - 1e-12))
    offset = int(values[equal[np.abs(values[equal] - middle).argmin()]])
    total = float(votes.sum())
    near = float(votes[np.abs(values - offset) <= 1].sum()) / total
    return OffsetFit(offset, float(votes[values == offset].sum()) / total, near)


def linear_fit(frame_map: ArrayLike, weights: ArrayLike | None = None) -> LinearFit:
    """Fit a line to the largest part of the matches that lies on one.

    Lines through pairs of matches, and the usual rates, are tried; the one that most weight is near is improved by
    least squares on what is near it (in the manner of RANSAC, Fischler and Bolles, 1981, without chance). Frame
    numbers are rounded: all lines that round to the same matches have slopes in one interval, which says more than
    least squares.

    Args:
        frame_map: the clip frame of each ref frame, shape (N,), N at least 2; negative: no match.
        weights: how much each counts, shape (N,).

    Raises:
        ValueError: fewer than two matches, or the arguments do not fit each other.
    """
    frames, weight = matches("linear_fit", frame_map, weights)
    n = np.flatnonzero(weight)
    if len(n) < 2:
        raise ValueError("linear_fit: a line needs two matches.")
    m, weight = frames[n].astype(np.float64), weight[n]
    rate, offset, tolerance = _improved(n, m, weight, *_voted(n, m, weight))
    off = np.abs(m - rate * n - offset)
    share = float(weight[off <= _NEAR].sum() / weight.sum())
    near = off <= tolerance
    if near.sum() < 2:
        near[:] = True
    n, m, weight = n[near], m[near], weight[near]
    line = rounded_line(n, m, weight, rate)
    if line is None:
        rate_error, offset_error = _standard_errors(n, m - rate * n - offset, weight)
        return LinearFit(rate, offset, rate_error, offset_error, share, False, explain(rate, rate_error))
    middle = (line.low + line.high) / 2
    known = _nearly_as_good(n, m, weight, middle) or explain(middle, (line.high - line.low) / 2, sure=True)
    rate = float(known.ratio) if known and known.ppm == 0 else middle
    rate_error = max(line.high - rate, rate - line.low)
    residual = (m - rate * n)[explained(n, m, weight, rate)]
    bottom, top = float(residual.max()) - 0.5, float(residual.min()) + 0.5
    return LinearFit(rate, (bottom + top) / 2, rate_error, abs(top - bottom) / 2, share, True, known)


def _nearly_as_good(n: Frames, m: Floats, weight: Floats, rate: float) -> KnownRate | None:
    """Return the usual rate that explains nearly what a measured one does: the same rate, else the only one.

    Frames that are held, or that clip lacks, show a neighbour that no rounding gives, and may tip the scale.
    """
    enough = _AS_GOOD * weight[explained(n, m, weight, rate)].sum()
    # All that stay within a frame or two of the measured one.
    ratios = known_ratios()
    near = ratios[np.abs(ratios - rate) * np.ptp(n) <= 2].tolist()
    good = [ratio for ratio in near if weight[explained(n, m, weight, ratio)].sum() >= enough]
    if 1.0 in good:
        return explain(1.0, 0.0, sure=True)
    return explain(good[0], 0.0, sure=True) if len(good) == 1 else None


def _voted(n: Frames, m: Floats, weight: Floats) -> tuple[float, float]:
    """Return rate and offset of the candidate line that most weight is near."""
    picked = np.unique(np.linspace(0, len(n) - 1, _SAMPLES).round().astype(np.int64))
    n, m, weight = n[picked], m[picked], weight[picked]
    slopes = [known_ratios()]
    for part in (2, 4, 8):
        lag = max(1, len(n) // part)
        pairs = (m[lag:] - m[:-lag]) / (n[lag:] - n[:-lag])
        slopes.append(pairs[:: max(1, 3 * len(pairs) // _SLOPES)])
    best, line = -1.0, (1.0, 0.0)
    for slope in np.unique(np.concatenate(slopes)):
        residual = m - slope * n
        order = residual.argsort()
        residual, sums = residual[order], np.concatenate([[0.0], weight[order].cumsum()])
        votes = sums[np.searchsorted(residual, residual + _WIDE, "right")] - sums[:-1]
        k = int(votes.argmax())
        if votes[k] > best:
            best, line = float(votes[k]), (float(slope), float(residual[k]) + _WIDE / 2)
    return line


def _improved(n: Frames, m: Floats, weight: Floats, rate: float, offset: float) -> tuple[float, float, float]:
    """Repeat least squares on what is near the line until the line rests; return rate, offset and what was near.

    Near is within three standard deviations of the scatter that is there, by its median, from 1 to 3 frames.
    """
    tolerance = _WIDE
    for _ in range(_ROUNDS):
        near = np.abs(m - rate * n - offset) <= tolerance
        if near.sum() < 2:
            break
        before = rate, offset, tolerance
        rate, offset = least_squares(n[near], m[near], weight[near])
        off = np.abs(m - rate * n - offset)
        deviation = _MEDIAN_TO_DEVIATION * float(np.median(off[off <= _WIDE])) if (off <= _WIDE).any() else _WIDE
        tolerance = min(_WIDE, max(_NEAR, 3 * deviation))
        if (rate, offset, tolerance) == before:
            break
    return rate, offset, tolerance


def _standard_errors(n: Frames, residual: Floats, weight: Floats) -> tuple[float, float]:
    """Return the standard errors of rate and offset.

    What rounding leaves is alike from one frame to the next; only passages are taken to be independent of each other
    (cluster-robust errors; Liang and Zeger, 1986).
    """
    total = weight.sum()
    across = n - (weight * n).sum() / total
    scatter = (weight * across**2).sum()
    to_rate = weight * across / scatter
    to_offset = weight / total - to_rate * (n[0] - across[0])
    clusters = min(_CLUSTERS, len(n))
    starts = np.arange(clusters) * len(n) // clusters
    # Two values are fitted.
    scale = clusters / max(1, clusters - 2)
    rate_error, offset_error = (
        float(np.sqrt((np.add.reduceat(influence * residual, starts) ** 2).sum() * scale))
        for influence in (to_rate, to_offset)
    )
    return rate_error, offset_error
