"""The clock of a camera with a global shutter: it says of a flash only in which frame it was."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .offsets import rough_offsets
from .sightings import Seen

__all__ = ["Interval", "fit_intervals"]

type Floats = NDArray[np.float64]

_DRIFT = 100e-6
_STEPS = 201
# Ends are where the luckiest flashes were, and the drift is the one that suits them.
_CAUTION = 2.0


@dataclass(frozen=True, slots=True)
class Interval:
    """A global shutter's clock on known flashes.

    Attributes:
        drift, shift: t_ref = drift * t_frame + shift, in ms.
        exposure: in ms, by how far apart flashes of one frame can be.
        pairs: of a flash and a sighting.
        errors: how far off drift, shift and exposure may be.
    """

    drift: float
    shift: float
    exposure: float
    pairs: list[tuple[int, int]]
    errors: tuple[float, float, float]


def fit_intervals(onsets: Floats, camera: Seen, length: float, hint: tuple[float, float] | None) -> Interval | None:
    """Find the clock under which each flash is within the exposure of the frame that shows it.

    Such intervals intersect, and do not average: the drift is the one with which the flashes lie in the shortest
    stretch after the beginnings of their frames; the ends of that stretch are the ends of the exposure.

    Args:
        onsets: when flashes begin, in ms of the base camera, shape (N,).
        camera: what the camera saw.
        length: of the flashes, in ms.
        hint: rough offset and how far it may be off, in ms.
    """
    reach = camera.interval / 2 + 3 * length + 10
    best: Interval | None = None
    rival = 0
    for offset in rough_offsets(onsets, camera.last, reach, hint):
        found = _within(onsets, camera, offset, length)
        if found is not None and (best is None or len(found.pairs) > len(best.pairs)):
            rival, best = len(best.pairs) if best else 0, found
        elif found is not None:
            rival = max(rival, len(found.pairs))
    return best if best is not None and rival <= 0.7 * len(best.pairs) else None


def _within(onsets: Floats, camera: Seen, offset: float, length: float) -> Interval | None:
    """Fit near one rough offset."""
    middle = float(camera.last.mean())
    drifts = np.linspace(-_DRIFT, _DRIFT, _STEPS)
    best: tuple[int, float, float, float, list[tuple[int, int]]] | None = None
    late = onsets[:, None] - camera.last - offset
    # All that fits into one frame's exposure, wherever that begins.
    for drift in drifts.tolist():
        values = late - drift * (camera.last - middle)
        near = np.sort(values[np.abs(values) < camera.interval + 10])
        if len(near) < 2:
            continue
        stops = np.searchsorted(near, near + camera.interval + length, "right")
        k = int((stops - np.arange(len(near))).argmax())
        low, high = float(near[k]), float(near[stops[k] - 1])
        inside = (values >= low) & (values <= high)
        pairs = [(int(a), int(b)) for a, b in zip(*np.nonzero(inside), strict=True)]
        if len({a for a, _ in pairs}) != len(pairs) or len({b for _, b in pairs}) != len(pairs):
            pairs = _once(pairs)
        key = len(pairs), low - high
        if best is None or key > best[:2]:
            best = *key, drift, low, pairs
    if best is None or best[0] < 2:
        return None
    count, negative, drift, low, pairs = best
    stretch = -negative
    slack = stretch / max(1, count - 1)
    exposure = max(0.0, min(camera.interval, stretch + 2 * slack) - length)
    span = float(np.ptp(camera.last[[b for _, b in pairs]]))
    # The first light a frame takes in is the end of a flash that began before it.
    shift = offset - (drift * middle) + low - slack + length
    errors = 2 * slack / max(span, 1.0), slack, 2 * slack
    return Interval(
        1 + drift, shift, exposure, pairs, (_CAUTION * errors[0], _CAUTION * errors[1], _CAUTION * errors[2])
    )


def _once(pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Keep each flash and each sighting once, the earlier first."""
    kept: list[tuple[int, int]] = []
    for a, b in pairs:
        if all(a != c and b != d for c, d in kept):
            kept.append((a, b))
    return kept
