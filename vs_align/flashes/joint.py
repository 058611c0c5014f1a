"""All clocks at once, by least squares over the edges of flashes that several cameras saw."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .sightings import LEAD, Seen

__all__ = ["Joint", "solve"]

type Floats = NDArray[np.float64]
type Group = dict[int, int]

_SPAN_MS = 100_000.0
_ROUNDS = 12
# How near in time sightings of one flash are at least.
_TOGETHER_MS = 1.0
_NOISE_MS = 0.3
_LEAST_NOISE_MS = 0.01
_OUTLIER = 4.0
# Flashes of one recording are about as long as each other: by so much at first, and at least.
_LENGTH_SPREAD_MS, _LEAST_SPREAD_MS = 0.3, 0.03
# What is the same error for all edges of a camera, in ms.
_COMMON_MS = 0.02
# What cameras are like, where the edges do not say: so weak that the standard errors stay wide.
_DRIFT, _READOUT = 200e-6, 1.0
_KNOWN_MS = 0.01
_PRIOR_EDGES = 6
# The noise is itself learned from few edges, and those left out are the ones that disagree.
_CAUTION = 1.2
# A frame's readout as a share of the time between frames, roughly.
_READ = 0.8


@dataclass(frozen=True, slots=True)
class Joint:
    """The solution for C cameras.

    Attributes:
        drift, shift, readout: shape (C,); shift in ms at time 0 of the camera.
        exposure: with the common length of the flashes, in ms, shape (C,).
        errors: standard errors of drift, shift at the camera's middle, readout and exposure, shape (C, 4).
        noise: standard deviation of an edge, in ms, shape (C,).
        groups: for each flash, camera -> sighting.
        onset: when each flash begins less the common length, shape (G,); see `exposure`.
        residuals: of each group's edges, NaN where there is none, shape (G, C, 2).
        inlier: shape (G, C, 2).
    """

    drift: Floats
    shift: Floats
    readout: Floats
    exposure: Floats
    errors: Floats
    noise: Floats
    groups: list[Group]
    onset: Floats
    residuals: Floats
    inlier: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _System:
    terms: Floats
    target: Floats
    camera: NDArray[np.int64]
    where: NDArray[np.int64]
    quality: Floats
    prior_terms: Floats
    prior_target: Floats


def solve(cameras: list[Seen], links: list[tuple[tuple[int, int], tuple[int, int]]], base: int) -> Joint:
    """Match flashes and fit the clocks, in turn.

    Unknown are drift, shift, readout and exposure of each camera, and for each flash when it begins and how much longer
    than the others it lasts. Edges of each camera count by its own noise; what is far off counts less (Cauchy's
    weights), then not at all.

    Args:
        cameras: with rolling shutters.
        links: what is one flash at first: pairs of (camera, sighting), the surest first.
        base: index of the base camera.
    """
    middles = np.array([float(camera.rough.mean()) for camera in cameras])
    x, noise = np.zeros((len(cameras), 4)), np.full(len(cameras), _NOISE_MS)
    groups, before = _linked(links), None
    for _ in range(_ROUNDS):
        if not groups or groups == before:
            break
        system = _system(cameras, groups, middles, base)
        solution, noise, _ = _robust(system, x, noise)
        x = solution[: x.size].reshape(x.shape)
        together = max(_TOGETHER_MS, 6 * float(noise.max()))
        before, groups = groups, _grouped(cameras, x, middles, together)
    return _told(cameras, groups, middles, base, x, noise)


def _grouped(cameras: list[Seen], x: Floats, middles: Floats, together: float) -> list[Group]:
    """Put together what is one flash: sightings whose edges of one polarity are at one time, one for each camera."""
    every = [_times(camera, x[c], middles[c]) for c, camera in enumerate(cameras)]
    items = [(c, s) for c, times in enumerate(every) for s in range(len(times))]
    links = []
    for side in (0, 1):
        # Neighbours in time alone, lest everything is compared with everything.
        known = sorted((float(every[c][s, side]), c, s) for c, s in items if np.isfinite(every[c][s, side]))
        for k, (time, c, s) in enumerate(known):
            for later, d, t in known[k + 1 :]:
                if later - time > together:
                    break
                if c != d:
                    links.append((later - time, (c, s), (d, t)))
    return _linked([(one, other) for _, one, other in sorted(links)])


def _linked(links: list[tuple[tuple[int, int], tuple[int, int]]]) -> list[Group]:
    """Put together what links join, in their order, but never two sightings of one camera."""
    group_of: dict[tuple[int, int], Group] = {}
    for one, other in links:
        mine, theirs = (group_of.setdefault(item, dict([item])) for item in (one, other))
        if mine is not theirs and not mine.keys() & theirs.keys():
            mine |= theirs
            group_of |= dict.fromkeys(theirs.items(), mine)
    found = {id(group): dict(sorted(group.items())) for group in group_of.values() if len(group) > 1}
    return sorted(found.values(), key=lambda group: list(group.items()))


def _times(camera: Seen, x: Floats, middle: float) -> Floats:
    """Return when each edge is by the base camera's clock, exposure included in leading ones, shape (S, 2)."""
    times = camera.time + x[0] / _SPAN_MS * (camera.time - middle) + x[1] + camera.row * x[2]
    return np.asarray(times + x[3] * (np.arange(2) == LEAD))


def _system(cameras: list[Seen], groups: list[Group], middles: Floats, base: int) -> _System:
    """Write the equations. The first 4 C unknowns are the cameras', then each flash's beginning and length."""
    own = 4 * len(cameras)
    size = own + 2 * len(groups)
    terms, target, index, where, errors = [], [], [], [], []
    for g, group in enumerate(groups):
        for c, s in group.items():
            camera = cameras[c]
            for side in (0, 1):
                if not np.isfinite(camera.time[s, side]):
                    continue
                line = np.zeros(size)
                time = camera.time[s, side]
                line[4 * c : 4 * c + 4] = (time - middles[c]) / _SPAN_MS, 1, camera.row[s, side], side == LEAD
                if c == base:
                    line[4 * c : 4 * c + 2] = 0
                line[own + 2 * g] = -1
                line[own + 2 * g + 1] = -(side != LEAD)
                terms.append(line)
                target.append(-time)
                index.append(c)
                where.append((g, c, side))
                errors.append(np.hypot(camera.error[s, side] * camera.interval * _READ, _COMMON_MS))
    prior_terms, prior_target = _priors(cameras, len(groups), size, base)
    quality = _qualities(np.array(errors), np.array(index))
    return _System(
        np.array(terms), np.array(target), np.array(index), np.array(where), quality, prior_terms, prior_target
    )


def _qualities(errors: Floats, camera: NDArray[np.int64]) -> Floats:
    """Return each edge's error by that of the camera's usual ones."""
    usual = np.array([np.median(errors[camera == c]) if (camera == c).any() else 1.0 for c in range(camera.max() + 1)])
    return np.asarray(np.clip(errors / usual[camera], 0.5, 5))


def _priors(cameras: list[Seen], groups: int, size: int, base: int) -> tuple[Floats, Floats]:
    own = 4 * len(cameras)
    rows, values = [], []

    def believe(k: int, value: float, spread: float) -> None:
        row = np.zeros(size)
        row[k] = 1 / spread
        rows.append(row)
        values.append(value / spread)

    for c, camera in enumerate(cameras):
        believe(4 * c, 0, 1 if c == base else _DRIFT * _SPAN_MS)
        if c == base:
            believe(4 * c + 1, 0, 1)
        if camera.known is None:
            believe(4 * c + 2, 0.7 * camera.interval * camera.direction, _READOUT * camera.interval)
        else:
            believe(4 * c, (camera.known[0] - 1) * _SPAN_MS if c != base else 0, _KNOWN_MS)
            believe(4 * c + 2, camera.known[1], _KNOWN_MS)
        # Where only one kind of edge is seen, exposure and shift cannot be told apart.
        believe(4 * c + 3, 0.4 * camera.interval, camera.interval)
    for g in range(groups):
        believe(own + 2 * g + 1, 0, _LENGTH_SPREAD_MS)
    return np.array(rows), np.array(values)


def _robust(system: _System, x: Floats, noise: Floats) -> tuple[Floats, Floats, _System]:
    """Solve with weights that follow from the residuals; learn each camera's noise and the lengths' spread."""
    solution = np.zeros(system.terms.shape[1])
    weight = np.ones(len(system.target))
    for k in range(_ROUNDS):
        deviation = noise[system.camera] * system.quality
        solution = _least_squares(system, np.sqrt(weight) / deviation)
        scaled = (system.target - system.terms @ solution) / deviation
        weight = 1 / (1 + (scaled / 2) ** 2) if k < _ROUNDS - 4 else (np.abs(scaled) <= _OUTLIER).astype(float)
        inverse = _covariance(system, np.sqrt(weight) / deviation)
        noise = _noises(system, scaled, weight, noise, inverse)
        if k >= 3:
            system = _with_spread(system, solution, inverse, x.size)
    return solution, noise, system


def _covariance(system: _System, scale: Floats) -> Floats:
    terms = system.terms * scale[:, None]
    normal = terms.T @ terms + system.prior_terms.T @ system.prior_terms
    return np.asarray(np.linalg.pinv(normal, hermitian=True))


def _with_spread(system: _System, solution: Floats, inverse: Floats, own: int) -> _System:
    """Believe of the flashes' lengths what they turned out to be like."""
    lengths, variances = solution[own + 1 :: 2], np.diag(inverse)[own + 1 :: 2]
    # A few odd ones are not what the others are like.
    spread = max(_LEAST_SPREAD_MS, float(np.sqrt(np.median(lengths**2 + variances) / 0.455)))
    prior_terms = system.prior_terms.copy()
    columns = np.arange(own + 1, len(solution), 2)
    rows = np.arange(len(prior_terms) - len(columns), len(prior_terms))
    prior_terms[rows, columns] = 1 / min(spread, _LENGTH_SPREAD_MS)
    return replace(system, prior_terms=prior_terms)


def _least_squares(system: _System, scale: Floats) -> Floats:
    terms = np.concatenate([system.terms * scale[:, None], system.prior_terms])
    target = np.concatenate([system.target * scale, system.prior_target])
    return np.asarray(np.linalg.lstsq(terms, target, rcond=None)[0])


def _noises(system: _System, scaled: Floats, weight: Floats, noise: Floats, inverse: Floats) -> Floats:
    """Return each camera's noise; one with few edges is taken to be like the others."""
    residual = scaled * noise[system.camera]
    good = np.abs(residual) <= np.maximum(_OUTLIER * noise[system.camera], 0.1)
    # What the unknowns use up of each edge.
    terms = system.terms * (np.sqrt(weight) / (noise[system.camera] * system.quality))[:, None]
    free = 1 - np.clip(np.einsum("ek,ke->e", terms, inverse @ terms.T), 0, 1)
    pooled = float((residual[good] ** 2).sum() / max(1.0, free[good].sum()))
    found = np.empty(len(noise))
    for c in range(len(noise)):
        mine = good & (system.camera == c)
        power = (residual[mine] ** 2).sum() + _PRIOR_EDGES * pooled
        found[c] = np.sqrt(power / max(1.0, free[mine].sum() + _PRIOR_EDGES))
    return np.maximum(found, _LEAST_NOISE_MS)


def _told(cameras: list[Seen], groups: list[Group], middles: Floats, base: int, x: Floats, noise: Floats) -> Joint:
    count = len(cameras)
    residuals = np.full((len(groups), count, 2), np.nan)
    errors, onset = np.full((count, 4), np.inf), np.zeros(len(groups))
    inlier = np.zeros(residuals.shape, bool)
    if groups:
        system = _system(cameras, groups, middles, base)
        solution, noise, system = _robust(system, x, noise)
        x = solution[: x.size].reshape(x.shape)
        onset = solution[4 * count :: 2]
        residual = system.terms @ solution - system.target
        deviation = noise[system.camera] * system.quality
        good = np.abs(residual) <= _OUTLIER * deviation
        residuals[tuple(system.where.T)], inlier[tuple(system.where.T)] = residual, good
        variance = np.diag(_covariance(system, good / deviation))[: 4 * count].reshape(count, 4)
        errors = _CAUTION * np.sqrt(np.maximum(variance, 0)) / [_SPAN_MS, 1, 1, 1]
    drift = 1 + x[:, 0] / _SPAN_MS
    shift = x[:, 1] - (drift - 1) * middles
    drift[base], shift[base], errors[base, :2] = 1, 0, 0
    return Joint(drift, shift, x[:, 2], x[:, 3], errors, noise, groups, onset, residuals, inlier)
