"""The clocks of two cameras against each other, from edges of which some are wrong."""

from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from .offsets import rough_offsets
from .sightings import LEAD, Seen

__all__ = ["PairFit", "fit_pair"]

type Floats = NDArray[np.float64]

_SPAN_MS = 100_000.0
# How far an edge may be off and agree, at first and then.
_WIDE_MS, _NEAR_MS = 3.0, 1.0
# What is believed before anything is seen: drift and readout, and the noise that this is weighed against.
_DRIFT = 60e-6
_READOUT, _READOUT_SPREAD = 0.65, 0.3
_NOISE_MS = 0.3
_SAMPLES = 1200
_ROUNDS = 8
_CLEAR = 1.4
# How exactly a known drift (over 100 s) and a known readout are taken, in ms.
_KNOWN_MS = 0.01


@dataclass(frozen=True, slots=True)
class PairFit:
    """Another camera's clock on one's.

    Attributes:
        drift, shift: one's ms = drift * other's ms + shift.
        readouts: of one and other, in ms, negative where rows are read upwards.
        exposure: other's less one's, in ms.
        score: how many edges agree, each counted as far as it does.
        matches: which sighting of one is which of other.
        rival: the best score of another offset.
    """

    drift: float
    shift: float
    readouts: tuple[float, float]
    exposure: float
    score: float
    matches: tuple[tuple[int, int], ...]
    rival: float

    @property
    def clear(self) -> bool:
        """Whether much more agrees than by another offset."""
        return self.score >= _CLEAR * self.rival


@dataclass(frozen=True, slots=True)
class _Centred:
    """Equations of all pairs of sightings: shapes (N, M, 2, 5) and (N, M, 2); NaN where an edge is missing."""

    terms: Floats
    target: Floats
    prior: Floats
    weight: Floats


def fit_pair(one: Seen, other: Seen, hint: tuple[float, float] | None = None) -> PairFit | None:
    """Find the clock of other on one's, or None where nothing agrees.

    Each rough offset is tried. Three flashes at a time and what cameras are usually like give a clock; the one that
    most edges of the same polarity agree with, one to one, is improved on those (RANSAC, Fischler and Bolles, 1981,
    over all triples or an even choice of them, without chance).

    Args:
        one, other: with rolling shutters.
        hint: rough offset, one's time less other's, and how far it may be off, in ms.
    """
    tolerance = one.interval + other.interval + 0.5 * _DRIFT * 6 * _SPAN_MS
    fits = []
    for offset in rough_offsets(one.rough, other.rough, tolerance, hint):
        found = _at(one, other, offset, tolerance)
        if found is not None:
            fits.append(found)
    fits.sort(key=lambda fit: (-fit.score, abs(fit.shift)))
    if not fits:
        return None
    best = fits[0]
    rivals = [fit.score for fit in fits[1:] if abs(_apart(fit, best, one, other)) > tolerance]
    return replace(best, rival=max(rivals, default=0.0))


def _apart(fit: PairFit, best: PairFit, one: Seen, other: Seen) -> float:
    middle = float(other.rough.mean())
    return (fit.drift - best.drift) * middle + fit.shift - best.shift


def _at(one: Seen, other: Seen, offset: float, tolerance: float) -> PairFit | None:
    """Fit near one rough offset."""
    middle = float(other.rough.mean())
    equations = _equations(one, other, middle + offset, middle)
    close = np.abs(one.rough[:, None] - other.rough - offset) <= 2 * tolerance
    close &= np.isfinite(equations.target).any(axis=2)
    i, j = np.nonzero(close)
    if len(i) < 2:
        return None
    x = _sampled(equations, i, j)
    best: Floats | None = None
    for limit in (_WIDE_MS, *[_NEAR_MS] * _ROUNDS):
        pairs = _one_to_one(_residuals(equations, x), close, limit)
        if len(pairs[0]) < 2:
            break
        previous, best = x, x
        x = _solved(equations, *pairs, x, limit)
        if np.abs(x - previous).max() < 1e-9:
            break
    if best is None:
        return None
    residual = _residuals(equations, x)
    pairs = _one_to_one(residual, close, _NEAR_MS)
    score = float(_credit(residual[pairs], _NEAR_MS).sum())
    if not _possible(x[2], one) or not _possible(x[3], other):
        return None
    matches = tuple((int(a), int(b)) for a, b in zip(*pairs, strict=True))
    drift = 1 + x[0] / _SPAN_MS
    shift = middle + offset + x[1] - drift * middle
    readouts = float(x[2]), float(x[3])
    return PairFit(float(drift), float(shift), readouts, float(x[4]), score, matches, 0.0)


def _possible(readout: float, camera: Seen) -> bool:
    """Whether rows are read in the way that was assumed, without which leading edges are trailing ones."""
    return 0 < readout * camera.direction < 1.1 * camera.interval


def _equations(one: Seen, other: Seen, middle: float, other_middle: float) -> _Centred:
    """Write: one's time, with its row, is other's with drift, shift and row, and on leading edges the exposures differ.

    Unknown are drift over 100 s, shift, both readouts and the difference of the exposures, all in ms.
    """
    mine, theirs = one.time - middle, other.time - other_middle
    shape = len(mine), len(theirs), 2
    terms = np.empty((*shape, 5))
    terms[..., 0] = theirs / _SPAN_MS
    terms[..., 1] = 1
    terms[..., 2] = -one.row[:, None]
    terms[..., 3] = other.row
    terms[..., 4] = np.arange(2) == LEAD
    target = mine[:, None] - theirs
    terms = np.where(np.isfinite(target)[..., None], np.nan_to_num(terms), 0)
    longest = max(one.interval, other.interval)
    (mine_is, mine_spread), (theirs_is, theirs_spread) = _readout(one), _readout(other)
    drift, drift_spread = _drift(one, other)
    prior = np.array([drift, 0, mine_is, theirs_is, 0])
    spread = np.array([drift_spread, 1e4, mine_spread, theirs_spread, longest])
    return _Centred(terms, target, prior, (_NOISE_MS / spread) ** 2)


def _readout(camera: Seen) -> tuple[float, float]:
    """Return what is believed of a camera's readout, and how exactly, in ms."""
    if camera.known is not None:
        return camera.known[1], _KNOWN_MS
    return _READOUT * camera.interval * camera.direction, _READOUT_SPREAD * camera.interval


def _drift(one: Seen, other: Seen) -> tuple[float, float]:
    """Return likewise how much later other's time is than one's after 100 s."""
    if one.known is None or other.known is None:
        return 0.0, _DRIFT * _SPAN_MS
    return (other.known[0] / one.known[0] - 1) * _SPAN_MS, _KNOWN_MS


def _sampled(equations: _Centred, i: NDArray[np.int64], j: NDArray[np.int64]) -> Floats:
    """Return the best of the solutions of three pairs of sightings each."""
    size = min(3, len(i))
    samples = np.array(
        [s for s in combinations(range(len(i)), size) if len({*i[list(s)]}) == len({*j[list(s)]}) == size]
    )
    if not len(samples):
        samples = np.array([[0, 1]])
    samples = samples[np.unique(np.linspace(0, len(samples) - 1, _SAMPLES).round().astype(int))]
    terms = equations.terms[i, j]
    target = np.nan_to_num(equations.target[i, j])
    chosen = terms[samples].reshape(len(samples), -1, 5)
    right = target[samples].reshape(len(samples), -1)
    normal = np.einsum("sek,sel->skl", chosen, chosen) + np.diag(equations.weight)
    sums = np.einsum("sek,se->sk", chosen, right) + equations.weight * equations.prior
    x = np.linalg.solve(normal, sums[..., None])[..., 0]
    residual = equations.target[i, j] - np.einsum("sk,pek->spe", x, terms)
    credit = _credit(residual, _WIDE_MS).sum(axis=2)
    # One to one, roughly: a sighting of one counts with its best partner.
    score = np.zeros(len(x))
    for sighting in np.unique(i):
        score += credit[:, i == sighting].max(axis=1)
    return np.asarray(x[int(score.argmax())])


def _credit(residual: Floats, limit: float) -> Floats:
    return np.maximum(0, 1 - (np.nan_to_num(residual, nan=np.inf) / limit) ** 2)


def _residuals(equations: _Centred, x: Floats) -> Floats:
    """Return target less what x gives, shape (N, M, 2), NaN where an edge is missing."""
    return equations.target - equations.terms @ x


def _one_to_one(
    residual: Floats, close: NDArray[np.bool_], limit: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pair sightings that agree in at least one edge, best first, each once."""
    credit = np.where(close, _credit(residual, limit).sum(axis=2), 0)
    pairs: list[tuple[int, int]] = []
    order = np.argsort(-credit, axis=None, kind="stable")
    for k in order[: np.count_nonzero(credit)]:
        i, j = divmod(int(k), credit.shape[1])
        if all(i != a and j != b for a, b in pairs):
            pairs.append((i, j))
    found = np.array(sorted(pairs), np.int64).reshape(-1, 2)
    return found[:, 0], found[:, 1]


def _solved(equations: _Centred, i: NDArray[np.int64], j: NDArray[np.int64], x: Floats, limit: float) -> Floats:
    """Solve least squares over the edges of some pairs that agree with x."""
    terms, target = equations.terms[i, j].reshape(-1, 5), equations.target[i, j].ravel()
    residual = target - terms @ x
    # Tukey's weights, so that what is just within the limit does not bend the fit.
    weight = _credit(residual, limit) ** 2
    target = np.nan_to_num(target)
    normal = (terms * weight[:, None]).T @ terms + np.diag(equations.weight)
    sums = (terms * weight[:, None]).T @ target + equations.weight * equations.prior
    return np.asarray(np.linalg.solve(normal, sums))
