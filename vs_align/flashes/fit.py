"""From the events of several cameras to their clocks."""

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np

from .clocks import Clock
from .events import Events
from .intervals import Interval, fit_intervals
from .joint import Joint, solve
from .lengths import flash_length
from .pairs import PairFit, fit_pair
from .results import ClockErrors, Flash, FlashFit, Residual
from .rows import FlashError
from .sightings import LEAD, Seen, canonical, seen

__all__ = ["fit_clocks"]

_log = logging.getLogger(__name__)

_LEAST_FLASHES, _LEAST_KNOWN = 4, 2
# Beyond these standard errors an answer is told to be doubtful: shift in ms, drift, time per row as a share.
_SHIFT_MS, _DRIFT, _ROW = 0.1, 0.65e-6, 0.0033
# And beyond these there is none.
_NO_SHIFT_MS, _NO_DRIFT, _NO_ROW = 2.0, 20e-6, 0.1
_NOISE_MS = 0.6
_HINT_MS = 500.0
# By how much wider trailing edges than leading ones tell a flash that fades (its logarithm), and what that costs.
_FADING, _FADED_PART = 0.2, 0.35


def fit_clocks(
    cameras: Mapping[str, Events],
    base: str,
    *,
    global_shutter: Collection[str] = (),
    hint: Mapping[str, int] | None = None,
    known: Mapping[str, Clock] | None = None,
) -> FlashFit:
    """Put several cameras on one clock by the flashes that they saw.

    Pairs of cameras are fitted first, each by itself; the best of those join all cameras, and then all clocks, and when
    each flash was, are fitted together. Nothing depends on the order of the cameras.

    Args:
        cameras: what each saw, by name; two or more.
        base: the camera whose clock is the common one.
        global_shutter: cameras that expose all rows at once.
        hint: a frame of each camera that shows one and the same flash; the offsets are looked for there alone. It may
            leave out cameras.
        known: clocks whose drift and time per row are right already, from another recording of the same cameras; of
            those only shift and exposure are looked for, for which two common flashes are enough.

    Raises:
        FlashError: fewer than two cameras, an unknown name, or the flashes do not say what the clocks are.

    Source: Smid and Matas, "Rolling Shutter Camera Synchronization with Sub-millisecond Accuracy", 2017; exposures are
    unknowns besides, and all cameras are fitted at once.
    """
    _check(cameras, base, (*global_shutter, *(hint or {}), *(known or {})))
    order = canonical(dict(cameras))
    rolling = [name for name in order if name not in global_shutter]
    if len(rolling) < 1 or (len(rolling) < 2 and len(order) == len(rolling)):
        raise FlashError("flash: at least one camera must have a rolling shutter: only its rows time a flash.")
    for name in rolling:
        _has_edges(name, cameras[name])
    hints = _hints(cameras, hint)
    ref = base if base in rolling else rolling[0]
    doubts: list[str] = []
    if len(rolling) > 1:
        sure = _known(cameras, base, known or {})
        ways, pairs = _directions(cameras, rolling, hints, sure)
        views = [seen(cameras[name], ways[name], sure.get(name)) for name in rolling]
        joint = solve(views, _links(rolling, pairs, ref, sure), rolling.index(ref))
        _trusted(cameras, rolling, joint, sure, doubts)
        _sudden(views, joint, doubts)
        told = _rolling_clocks(cameras, rolling, views, joint)
    else:
        raise FlashError(
            "flash: two cameras or more must have a rolling shutter: from one alone the time per row is not known."
        )
    for name in order:
        if name in global_shutter:
            _add_global(told, name, cameras[name], hints.get(name), hints.get(ref), doubts)
    return _based(told, cameras, base, ref, doubts)


def _check(cameras: Mapping[str, Events], base: str, named: Collection[str]) -> None:
    if len(cameras) < 2:
        raise FlashError(f"flash: two cameras or more are needed, not {len(cameras)}.")
    for name in (base, *named):
        if name not in cameras:
            raise FlashError(f"flash: there is no camera {name!r}; there are {', '.join(cameras)}.")


def _has_edges(name: str, events: Events) -> None:
    if not any(edge for s in events.sightings for edge in (*s.down, *s.up)):
        raise FlashError(
            f"flash: camera {name!r} shows {len(events.sightings)} flashes, none of which has an edge in the picture; "
            f"if it exposes all rows at once, name it in global_shutter."
        )


def _hints(cameras: Mapping[str, Events], hint: Mapping[str, int] | None) -> dict[str, float]:
    """Return the time of each camera's hinted frame."""
    times = {}
    for name, frame in (hint or {}).items():
        count = len(cameras[name].times_ms)
        if not 0 <= frame < count:
            raise FlashError(f"flash: the hint for camera {name!r} must be a frame from 0 to {count - 1}, not {frame}.")
        times[name] = float(cameras[name].times_ms[frame])
    return times


def _known(cameras: Mapping[str, Events], base: str, known: Mapping[str, Clock]) -> dict[str, tuple[float, float]]:
    """Return drift and readout of the cameras whose clocks are known, by the base camera's clock as that is now."""
    drift = known[base].drift if base in known else 1.0
    return {name: (clock.drift / drift, clock.time_per_row * cameras[name].height) for name, clock in known.items()}


def _ways(events: Events, known: tuple[float, float] | None) -> tuple[int, ...]:
    """Return which ways the rows may be read."""
    if known is not None and known[1]:
        return (1,) if known[1] > 0 else (-1,)
    return (events.direction,) if events.direction else (1, -1)


def _directions(
    cameras: Mapping[str, Events],
    names: list[str],
    hints: Mapping[str, float],
    sure: Mapping[str, tuple[float, float]],
) -> tuple[dict[str, int], dict[tuple[str, str], PairFit]]:
    """Choose which way each camera reads its rows, and fit all pairs.

    Where split flashes do not say it, both ways are tried, and the one that makes more edges agree is taken.
    """
    open_ways = {name: _ways(cameras[name], sure.get(name)) for name in names}
    views = {(name, way): seen(cameras[name], way, sure.get(name)) for name in names for way in open_ways[name]}
    fits: dict[tuple[str, int, str, int], PairFit] = {}
    for a, b in combinations(names, 2):
        both = a in hints and b in hints
        near = (hints[a] - hints[b], _HINT_MS) if both else None
        for way_a, way_b in product(open_ways[a], open_ways[b]):
            found = fit_pair(views[a, way_a], views[b, way_b], near)
            if found is not None:
                fits[a, way_a, b, way_b] = found
    best, chosen = -1.0, dict.fromkeys(names, 1)
    for ways in product(*open_ways.values()):
        way = dict(zip(names, ways, strict=True))
        keys = [(a, way[a], b, way[b]) for a, b in combinations(names, 2)]
        score = sum(fits[key].score for key in keys if key in fits)
        if score > best:
            best, chosen = score, way
    pairs = {
        (a, b): fits[a, chosen[a], b, chosen[b]]
        for a, b in combinations(names, 2)
        if (a, chosen[a], b, chosen[b]) in fits
    }
    return chosen, pairs


def _links(
    names: list[str], pairs: dict[tuple[str, str], PairFit], base: str, sure: Collection[str]
) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Return which sightings are of one flash by the pairs that are clear, the surest first.

    Raises:
        FlashError: they do not join all cameras.
    """

    def enough(pair: tuple[str, str]) -> bool:
        least = _LEAST_KNOWN if pair[0] in sure and pair[1] in sure else _LEAST_FLASHES
        return pairs[pair].clear and len(pairs[pair].matches) >= least

    clear = sorted(filter(enough, pairs), key=lambda pair: -pairs[pair].score)
    done = {base}
    while len(done) < len(names):
        new = {name for pair in clear if done & set(pair) for name in pair} - done
        if not new:
            name = next(name for name in names if name not in done)
            most = max((len(fit.matches) for pair, fit in pairs.items() if name in pair), default=0)
            raise _unjoined(name, most)
        done |= new
    return [((names.index(a), i), (names.index(b), j)) for a, b in clear for i, j in pairs[a, b].matches]


def _unjoined(name: str, flashes: int) -> FlashError:
    if flashes < _LEAST_FLASHES:
        return _too_few(name, flashes)
    return FlashError(
        f"flash: camera {name!r} could be put on the clock of the others in several ways, at most {flashes} flashes "
        "agree: name a frame of each camera that shows the same flash in hint."
    )


def _too_few(name: str, flashes: int) -> FlashError:
    return FlashError(
        f"flash: camera {name!r} shares {flashes} flashes with the others; a shift needs 2, drift and time per row "
        f"need {_LEAST_FLASHES}."
    )


def _trusted(
    cameras: Mapping[str, Events], names: list[str], joint: Joint, sure: Collection[str], doubts: list[str]
) -> None:
    """Refuse what the flashes do not say; add to doubts what they hardly do."""
    for c, name in enumerate(names):
        used = joint.inlier[:, c].any(axis=1) & (joint.inlier.any(axis=2).sum(axis=1) > 1)
        if used.sum() < (_LEAST_KNOWN if name in sure else _LEAST_FLASHES):
            raise _too_few(name, int(used.sum()))
        drift, shift, readout, _ = joint.errors[c]
        row = readout / max(abs(joint.readout[c]), 1e-9)
        if shift > _NO_SHIFT_MS or row > _NO_ROW or drift > _NO_DRIFT:
            raise FlashError(
                f"flash: the flashes do not say the clock of camera {name!r}: shift is known to {2 * shift:.1f} "
                f"ms, drift to {2e6 * drift:.0f} ppm, time per row to {200 * row:.0f} %; it needs more flashes, "
                "at other rows."
            )
        if shift > _SHIFT_MS or drift > _DRIFT or row > _ROW:
            doubts.append(
                f"flash: camera {name!r} is known only to {2 * shift:.2f} ms in shift, {2e6 * drift:.1f} ppm in drift "
                f"and {200 * row:.1f} % in time per row (two standard errors): {used.sum()} common flashes say no more."
            )
        if joint.noise[c] > _NOISE_MS:
            doubts.append(
                f"flash: the edges of camera {name!r} scatter by {joint.noise[c]:.2f} ms: its frame times may be wrong."
            )
        if abs(joint.readout[c]) > 1.05 * cameras[name].interval_ms:
            raise FlashError(
                f"flash: the flashes of camera {name!r} do not agree with any clock: a frame would take "
                f"{abs(joint.readout[c]):.1f} ms to read, and lasts {cameras[name].interval_ms:.1f} ms."
            )


@dataclass(slots=True)
class _Told:
    """What is known so far, by the clock of one rolling camera."""

    clocks: dict[str, Clock]
    errors: dict[str, ClockErrors]
    noise: dict[str, float]
    flashes: list[Flash]
    residuals: list[Residual]
    length: float


def _sudden(views: list[Seen], joint: Joint, doubts: list[str]) -> None:
    """Add to doubts where flashes fade: their end is where each camera stops to see it, not one time for all."""
    ratios, ramps = [], []
    for view, readout in zip(views, joint.readout, strict=True):
        lead, trail = (widths[np.isfinite(widths)] for widths in view.width.T)
        if min(len(lead), len(trail)) >= 3:
            ratios.append(np.log(np.median(trail) / np.median(lead)))
            ramps.append(abs(readout) * np.median(trail))
    if ratios and np.mean(ratios) > _FADING and _FADED_PART * max(ramps) > _SHIFT_MS:
        doubts.append(
            f"flash: the flashes fade, over {max(ramps):.1f} ms: shifts may be {_FADED_PART * max(ramps):.1f} ms off."
        )


def _rolling_clocks(cameras: Mapping[str, Events], names: list[str], views: list[Seen], joint: Joint) -> _Told:
    ramps = np.array([_ramp(view, abs(readout)) for view, readout in zip(views, joint.readout, strict=True)])
    rows = np.array([abs(joint.readout[c]) / cameras[name].height for c, name in enumerate(names)])
    length = flash_length(ramps, joint.exposure, 0.05 + rows)
    clocks, errors = {}, {}
    for c, name in enumerate(names):
        height = cameras[name].height
        clocks[name] = Clock(
            float(joint.drift[c]),
            float(joint.shift[c]),
            float(joint.readout[c] / height),
            max(0.0, float(joint.exposure[c]) - length),
        )
        drift, shift, readout, exposure = (float(value) for value in joint.errors[c])
        errors[name] = ClockErrors(drift, shift, readout / height, exposure)
    noise = {name: float(joint.noise[c]) for c, name in enumerate(names)}
    # In the joint fit a flash begins when it would if the exposures had its length besides.
    flashes = [
        Flash(float(onset) - length, {names[c]: s for c, s in group.items()})
        for onset, group in zip(joint.onset, joint.groups, strict=True)
    ]
    flashes += _single(names, views, clocks, cameras, length, joint)
    order = sorted(range(len(flashes)), key=lambda k: flashes[k].time_ms)
    place = {k: n for n, k in enumerate(order)}
    residuals = [
        Residual(
            names[c],
            place[g],
            s,
            1 if side == LEAD else -1,
            float(joint.residuals[g, c, side]),
            bool(joint.inlier[g, c, side]),
        )
        for g, group in enumerate(joint.groups)
        for c, s in group.items()
        for side in (0, 1)
        if np.isfinite(joint.residuals[g, c, side])
    ]
    return _Told(clocks, errors, noise, [flashes[k] for k in order], residuals, length)


def _ramp(view: Seen, readout: float) -> float:
    """Return over how many ms light usually rises or falls."""
    widths = view.width[np.isfinite(view.width)]
    return float(np.median(widths)) * readout if len(widths) else 0.0


def _single(
    names: list[str],
    views: list[Seen],
    clocks: dict[str, Clock],
    cameras: Mapping[str, Events],
    length: float,
    joint: Joint,
) -> list[Flash]:
    """Return the flashes that one camera alone saw, timed by its edges."""
    found = []
    for c, name in enumerate(names):
        common = {group[c] for group in joint.groups if c in group}
        for s in range(len(views[c].rough)):
            edges = clocks[name].ref_ms(views[c].time[s], views[c].row[s] * cameras[name].height)
            edges = edges + np.array([clocks[name].exposure, -length])
            if s not in common and np.isfinite(edges).any():
                found.append(Flash(float(np.nanmean(edges)), {name: s}))
    return found


def _add_global(
    told: _Told, name: str, events: Events, hint: float | None, ref_hint: float | None, doubts: list[str]
) -> None:
    """Add a camera with a global shutter to what is known."""
    near = (ref_hint - hint, _HINT_MS) if hint is not None and ref_hint is not None else None
    # What one camera alone saw may be no flash of the others.
    common = [k for k, flash in enumerate(told.flashes) if len(flash.sightings) > 1]
    onsets = np.array([told.flashes[k].time_ms for k in common])
    found = fit_intervals(onsets, seen(events, 0), told.length, near)
    if found is None or len(found.pairs) < _LEAST_FLASHES:
        raise _too_few(name, len(found.pairs) if found else 0)
    told.clocks[name] = Clock(found.drift, found.shift, 0.0, found.exposure)
    drift, shift, exposure = found.errors
    told.errors[name] = ClockErrors(drift, shift, 0.0, exposure)
    told.noise[name] = float("nan")
    for flash, sighting in found.pairs:
        told.flashes[common[flash]].sightings[name] = sighting
    doubts.append(_global_doubt(name, found))


def _global_doubt(name: str, found: Interval) -> str:
    return (
        f"flash: camera {name!r} has a global shutter: {len(found.pairs)} common flashes say its shift to "
        f"{found.errors[1]:.1f} ms and its drift to {1e6 * found.errors[0]:.0f} ppm."
    )


def _based(told: _Told, cameras: Mapping[str, Events], base: str, ref: str, doubts: list[str]) -> FlashFit:
    """Put everything on the base camera's clock."""
    clocks, flashes = told.clocks, told.flashes
    if base != ref:
        drift, shift = clocks[base].drift, clocks[base].shift
        clocks = {
            name: Clock(c.drift / drift, (c.shift - shift) / drift, c.time_per_row / drift, c.exposure / drift)
            for name, c in clocks.items()
        }
        flashes = [Flash((flash.time_ms - shift) / drift, flash.sightings) for flash in flashes]
        own, other = told.errors[base], told.errors[ref]
        told.errors[ref] = ClockErrors(own.drift, own.shift, other.time_per_row, other.exposure)
        told.errors[base] = ClockErrors(0.0, 0.0, own.time_per_row, own.exposure)
    for doubt in doubts:
        _log.warning("%s", doubt)
    return FlashFit(
        {name: clocks[name] for name in cameras},
        base,
        {name: told.errors[name] for name in cameras},
        {name: told.noise[name] for name in cameras},
        tuple(flashes),
        tuple(told.residuals),
        told.length,
        tuple(doubts),
        {name: cameras[name].times_ms for name in cameras},
    )
