"""Dynamic time warping, from costs or from features."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .costs import BandCosts, Costs, FeatureCosts, MatrixCosts, Metric
from .frame_steps import warp_frames
from .paths import Band, Path, Penalties, Steps
from .unit_steps import warp

__all__ = ["dtw", "dtw_features", "fixed_lag"]

type Floats = NDArray[np.float64]


def dtw(
    cost: ArrayLike,
    *,
    band: Band | None = None,
    steps: Steps | str = Steps.TEXTBOOK,
    penalties: Penalties | None = None,
    open_begin: bool = False,
    open_end: bool = False,
) -> Path:
    """Find the cheapest monotone path through a cost matrix.

    Sums are made in double precision. Where several paths cost the same, a step of both frames goes before one of ref
    alone, and that before one of clip alone.

    Args:
        cost: of pairing ref's frame n (row) with clip's frame m (column), shape (N, M); with ``band`` the windows
            alone, shape (N, band.width), memory being in proportion to that. An infinite cell is no candidate.
        band: the candidates of each ref frame; without it, all.
        steps: from which cell a path may come to the next.
        penalties: what steps cost besides; without it, nothing.
        open_begin: the path may begin at any clip frame (and at ref frame 0), else at clip frame 0.
        open_end: the path may end at any clip frame (and at the last ref frame), else at the last clip frame.

    Raises:
        ValueError: the shape is wrong, a row holds NaN, minus infinity or nothing finite, or no path has a finite
            cost.

    Source: Sakoe and Chiba, 1978; Müller, 2007, chapter 4; with both ends open, subsequence DTW, section 4.4 there.
    """
    matrix = _matrix(cost, "dtw", "cost")
    if band is None:
        costs: Costs = MatrixCosts(matrix)
    else:
        if matrix.shape != (len(band.start), band.width):
            raise ValueError(
                f"dtw: cost must have shape {(len(band.start), band.width)}, a window of the band for each ref frame, "
                f"not {matrix.shape}; Band.cut cuts the windows out of a full matrix."
            )
        costs = BandCosts(matrix, band)
        matrix = costs.rows(0, len(matrix))
    _refuse_rows(matrix, "dtw")
    return _found(costs, Steps(steps), penalties or Penalties(), open_begin, open_end, "dtw")


def dtw_features(
    ref: ArrayLike,
    clip: ArrayLike,
    *,
    metric: Metric | str = Metric.EUCLIDEAN,
    band: Band | None = None,
    steps: Steps | str = Steps.TEXTBOOK,
    penalties: Penalties | None = None,
    open_begin: bool = False,
    open_end: bool = False,
) -> Path:
    """Find the cheapest monotone path between two sequences of features.

    Costs are made block by block as they are needed: N x M of them are never held, and with a band never computed.

    Args:
        ref: a feature for each ref frame, shape (N, F), or (N,).
        clip: likewise, shape (M, F) or (M,).
        metric: the distance between two features.
        band, steps, penalties, open_begin, open_end: as in `dtw`.

    Raises:
        ValueError: shapes that do not fit, a feature that is not finite, or no path of finite cost.
    """
    first, second = _features(ref, "ref"), _features(clip, "clip")
    if first.shape[1] != second.shape[1]:
        raise ValueError(
            f"dtw_features: features of ref have {first.shape[1]} values, those of clip {second.shape[1]}."
        )
    distances = FeatureCosts(first, second, Metric(metric))
    costs: Costs = distances
    if band is not None:
        if (len(band.start), band.length) != (len(first), len(second)):
            raise ValueError(
                f"dtw_features: the band is for {len(band.start)} and {band.length} frames, "
                f"ref and clip have {len(first)} and {len(second)}."
            )
        costs = distances.banded(band)
    return _found(costs, Steps(steps), penalties or Penalties(), open_begin, open_end, "dtw_features")


def fixed_lag(rows: ArrayLike, band: Band, n: int, lag: int, *, penalties: Penalties | None = None) -> int:
    """Return the clip frame of ref frame ``n`` on the best path over ref frames ``n - lag`` to ``n + lag``.

    The path has one clip frame for every ref frame and both ends open. The answer depends on those rows alone; where
    they are all rows, it is that of `dtw`.

    Args:
        rows: the windows of the band, shape (N, band.width); others than those within ``lag`` of ``n`` are not read.
        band: the candidates.
        n: 0 to N - 1.
        lag: ref frames on both sides, 0 or more.
        penalties: what steps cost besides.

    Raises:
        ValueError: as `dtw`; the row named is counted as in ``rows``.
    """
    matrix = np.asarray(rows)
    if matrix.shape != (len(band.start), band.width):
        raise ValueError(f"fixed_lag: rows must have shape {(len(band.start), band.width)}, not {matrix.shape}.")
    if not 0 <= n < len(matrix) or lag < 0:
        raise ValueError(f"fixed_lag: n must be 0 to {len(matrix) - 1} and lag not negative, not {n} and {lag}.")
    first, stop = max(0, n - lag), min(len(matrix), n + lag + 1)
    costs = BandCosts(matrix[first:stop], band.part(first, stop))
    _refuse_rows(costs.rows(0, stop - first), "fixed_lag", first)
    clip, total = warp_frames(costs, penalties or Penalties(), True, True)
    if not math.isfinite(total):
        raise ValueError("fixed_lag: every path meets an infinite cost.")
    return int(clip[n - first])


def _found(costs: Costs, steps: Steps, penalties: Penalties, open_begin: bool, open_end: bool, function: str) -> Path:
    """Run the search that the steps call for and put its result together."""
    if steps is Steps.TEXTBOOK:
        ref, clip, total = warp(costs, penalties, open_begin, open_end)
    else:
        clip, total = warp_frames(costs, penalties, open_begin, open_end)
        ref = np.arange(len(clip))
    if not math.isfinite(total):
        raise ValueError(f"{function}: every path meets an infinite cost.")
    return Path(ref, clip, costs.at(ref, clip), penalties.paid(steps, ref, clip), total)


def _matrix(values: ArrayLike, function: str, name: str) -> Floats:
    """Return values as a matrix of real numbers with at least one row and column."""
    matrix = np.asarray(values)
    if matrix.ndim != 2 or not matrix.size:
        raise ValueError(f"{function}: {name} must have two dimensions and at least one value, not {matrix.shape}.")
    if matrix.dtype.kind not in "fiub":
        raise ValueError(f"{function}: {name} must hold real numbers, not {matrix.dtype}.")
    return matrix if matrix.dtype in (np.float64, np.float32) else matrix.astype(np.float64)


def _features(values: ArrayLike, name: str) -> Floats:
    """Return features as finite double precision numbers, shape (N, F)."""
    array = np.asarray(values)
    matrix = _matrix(array[:, None] if array.ndim == 1 else array, "dtw_features", name).astype(np.float64)
    finite = np.isfinite(matrix).all(1)
    if not finite.all():
        raise ValueError(f"dtw_features: row {int(finite.argmin())} of {name} holds a value that is not finite.")
    return matrix


def _refuse_rows(matrix: Floats, function: str, first: int = 0) -> None:
    """Refuse rows that no path may pass; the smallest value of a row tells, NaN being passed on by it."""
    smallest = matrix.min(1)
    if np.isfinite(smallest).all():
        return
    row = int(np.isfinite(smallest).argmin())
    fault = "NaN" if np.isnan(smallest[row]) else "no finite value" if smallest[row] > 0 else "minus infinity"
    raise ValueError(f"{function}: row {first + row} of cost holds {fault}.")
