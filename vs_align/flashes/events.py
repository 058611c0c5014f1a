"""Flashes that one camera saw."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .edges import Ramp, band, ramp, smooth
from .rows import FlashError, RowFeatures, frame_interval, steady_times

__all__ = ["Edge", "Events", "Sighting", "find_events"]

type Floats = NDArray[np.float64]

# Grey values of 255: a rise above the first is a flash, light above the second belongs to it.
_RISE, _LOW = 20.0, 4.0
# A flash is over when less than this share of it is left.
_OVER = 0.3
# An exposure ends before the next frame's begins, so that a flash can light the end of one, the next, and one more.
_MOST_FRAMES = 3
_MEDIAN_TO_DEVIATION = 1.4826


@dataclass(frozen=True, slots=True)
class Edge:
    """One edge of a flash.

    Attributes:
        frame: in which it is seen.
        row: of the picture, 0 at the top, with a fraction; where the light meets the dark.
        time_ms: the frame's time, by the camera's clock.
        polarity: 1 where rows become lit in the order in which they are read, the flash's first row; -1 its last.
        width: rows over which the light comes or goes.
        strength: grey values of 255.
        error: standard error of row, by how even the light is.
    """

    frame: int
    row: float
    time_ms: float
    polarity: int
    width: float
    strength: float
    error: float


@dataclass(frozen=True, slots=True)
class Sighting:
    """A flash as one camera saw it, over one frame or several.

    Attributes:
        first, last: lit frames.
        first_ms, last_ms: their times.
        strength: grey values of 255.
        down: its leading and its trailing edge if rows are read from the top, each None where it is not in the picture.
        up: likewise if rows are read from the bottom.
    """

    first: int
    last: int
    first_ms: float
    last_ms: float
    strength: float
    down: tuple[Edge | None, Edge | None]
    up: tuple[Edge | None, Edge | None]

    def edges(self, direction: int) -> tuple[Edge | None, Edge | None]:
        """Return the leading and the trailing edge for rows read downwards (1) or upwards (-1)."""
        return self.down if direction > 0 else self.up


@dataclass(frozen=True, slots=True)
class Events:
    """What one camera saw.

    Attributes:
        sightings: in the order of time.
        times_ms: when each frame was taken, shape (F,), whole-millisecond stamps made steady.
        height: rows of the picture.
        interval_ms: the usual time between frames.
        direction: 1 where rows are read from the top, -1 from the bottom, 0 where no flash says.
    """

    sightings: tuple[Sighting, ...]
    times_ms: Floats
    height: int
    interval_ms: float
    direction: int

    def edges(self) -> tuple[Edge, ...]:
        """Return all edges in the order of time; rows are taken to be read from the top where no flash says."""
        pairs = [sighting.edges(self.direction or 1) for sighting in self.sightings]
        return tuple(edge for pair in pairs for edge in pair if edge is not None)


def find_events(features: RowFeatures, *, rise: float = _RISE, low: float = _LOW) -> Events:
    """Find the flashes in a camera's rows.

    A flash is a rise from one frame to the next that is gone a few frames later: a cut or a lamp stays, and is none.
    Its light is what is above the background, which is taken from the frames before and after, so that a moving camera
    adds little; a flash that lights the end of one frame and the beginning of the next is one.

    Args:
        features: rows and times.
        rise: grey values of 255 that a flash rises by at least.
        low: light above it belongs to a flash; more where the picture is noisy.

    Raises:
        FlashError: no flash; says how strong the strongest change was.
    """
    times, rows = steady_times(features.times_ms), features.rows
    strength = _rises(rows)
    noise = _noise(rows)
    found: list[Sighting] = []
    places: list[tuple[int, int]] = []
    over = 0
    for n in np.flatnonzero(strength > rise) + 1:
        if n < over:
            continue
        stop = _end(rows, int(n), rise)
        if stop is None:
            continue
        sighting = _sighting(features, times, int(n), stop, (low, rise), noise)
        if sighting is not None:
            found.append(sighting)
            places.append((int(n), stop))
            over = stop
    if not found:
        raise FlashError(
            f"flash: no flash found; the strongest rise from one frame to the next is {strength.max():.1f} of 255 "
            f"(frame {int(strength.argmax()) + 1}), and a flash rises by more than {rise:g} and is gone again."
        )
    direction = _direction(found)
    usual = _usual_width(found, direction or 1)
    if usual is not None:
        scaled = usual * rows.shape[1] / features.height
        again = [_sighting(features, times, n, stop, (low, rise), noise, scaled) for n, stop in places]
        found = [sighting for sighting in again if sighting is not None]
    return Events(tuple(found), times, features.height, frame_interval(times), direction)


def _rises(rows: NDArray[np.uint8] | NDArray[np.float32]) -> Floats:
    """Return how much the row that brightens most brightens, for each frame but the first, in parts."""
    parts = []
    for start in range(0, len(rows) - 1, 1024):
        block = rows[start : start + 1025].astype(np.float32)
        parts.append(smooth(np.diff(block, axis=0)).max(axis=1))
    return np.concatenate(parts).astype(np.float64)


def _noise(rows: NDArray[np.uint8] | NDArray[np.float32]) -> float:
    """Return the standard deviation of a row against the frame before, by medians, slow change left out."""
    picked = np.unique(np.linspace(1, len(rows) - 1, 200).astype(np.int64))
    change = smooth(rows[picked].astype(np.float64) - rows[picked - 1])
    change -= np.median(change, axis=1, keepdims=True)
    return float(_MEDIAN_TO_DEVIATION * np.median(np.abs(change)))


def _end(rows: NDArray[np.uint8] | NDArray[np.float32], n: int, rise: float) -> int | None:
    """Return the first frame after n that is as dark as the one before n again, or None: no flash."""
    before = rows[n - 1].astype(np.float64)
    most = float(smooth(rows[n] - before).max())
    for stop in range(n + 1, min(n + _MOST_FRAMES + 1, len(rows))):
        light = float(smooth(rows[stop] - before).max())
        if light < max(_OVER * most, rise / 2):
            return stop
        most = max(most, light)
    return None


def _sighting(
    features: RowFeatures,
    times: Floats,
    n: int,
    stop: int,
    thresholds: tuple[float, float],
    noise: float,
    usual: float | None = None,
) -> Sighting | None:
    """Measure the flash that begins in frame n and is over in frame stop."""
    rows, scale = features.rows, features.height / features.rows.shape[1]
    before = rows[max(0, n - 2) : n].mean(axis=0, dtype=np.float64)
    after = rows[stop : stop + 2].mean(axis=0, dtype=np.float64)
    share = ((np.arange(n, stop) - (n - 1)) / (stop - n + 1))[:, None]
    light = rows[n:stop] - (1 - share) * before - share * after
    peak = float(smooth(light).max())
    low, rise = max(thresholds[0], 4 * noise), thresholds[1]
    bands = [band(values, low, max(rise / 2, _OVER * peak)) for values in smooth(light)]
    lit = [k for k, found in enumerate(bands) if found is not None]
    if not lit or peak <= rise:
        return None
    first, last = lit[0], lit[-1]
    pairs = []
    for upwards in (False, True):
        edges: list[Edge | None] = []
        for k, polarity in ((first, 1), (last, -1)):
            found = _edge(light[k], bands[k], upwards != (polarity < 0), noise, usual)
            row = 0.0 if found is None else (found.row + 0.5) * scale - 0.5
            edges.append(
                None
                if found is None
                else Edge(
                    n + k, row, float(times[n + k]), polarity, found.width * scale, found.height, found.error * scale
                )
            )
        pairs.append((edges[0], edges[1]))
    at = n + first, n + last
    return Sighting(*at, float(times[at[0]]), float(times[at[1]]), peak, *pairs)


def _edge(
    light: Floats, lit: tuple[int, int] | None, from_below: bool, noise: float, usual: float | None
) -> Ramp | None:
    """Fit the upper edge of the lit rows, or the lower; the row is counted from the top."""
    if lit is None:
        return None
    if not from_below:
        return ramp(light, *lit, noise, usual)
    bottom = len(light) - 1
    found = ramp(light[::-1], bottom - lit[1], bottom - lit[0], noise, usual)
    return None if found is None else replace(found, row=bottom - found.row)


def _direction(found: list[Sighting]) -> int:
    """Return which way rows are read: with the wrong one, a flash split over two frames has no edges."""
    down, up = (sum(edge is not None for s in found for edge in s.edges(way)) for way in (1, -1))
    if abs(down - up) < 3:
        return 0
    return 1 if down > up else -1


def _usual_width(found: list[Sighting], direction: int) -> float | None:
    """Return the median width of the edges in picture rows, or None for fewer than three."""
    widths = [edge.width for s in found for edge in s.edges(direction) if edge is not None]
    return float(np.median(widths)) if len(widths) >= 3 else None
