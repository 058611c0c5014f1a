"""What the fits read of a camera's events: arrays, for one direction in which its rows are read."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .events import Edge, Events

__all__ = ["LEAD", "TRAIL", "Seen", "canonical", "seen"]

type Floats = NDArray[np.float64]

LEAD, TRAIL = 0, 1


@dataclass(frozen=True, slots=True)
class Seen:
    """Edges of one camera; the second axis is LEAD, TRAIL. NaN where an edge is not in the picture.

    Attributes:
        time: the frame's time in ms, shape (S, 2).
        row: as a share of the picture's height, shape (S, 2).
        width: of the ramp, likewise.
        error: standard error of row, likewise.
        rough: roughly when, in ms, shape (S,).
        direction: 1 downwards, -1 upwards, 0 with a global shutter.
        interval: ms between frames.
        first, last: times of the first and the last lit frame, shape (S,).
        known: drift and readout in ms, where they need not be found.
    """

    time: Floats
    row: Floats
    width: Floats
    error: Floats
    rough: Floats
    direction: int
    interval: float
    first: Floats
    last: Floats
    known: tuple[float, float] | None = None


def seen(events: Events, direction: int, known: tuple[float, float] | None = None) -> Seen:
    """Read a camera's events as rows in one direction give them."""
    pairs = [sighting.edges(direction or 1) for sighting in events.sightings]
    if direction == 0:
        pairs = [(None, None) for _ in pairs]
    time, row, width, error = (
        np.array([[_of(edge, events.height, k) for edge in pair] for pair in pairs]).reshape(-1, 2) for k in range(4)
    )
    first = np.array([sighting.first_ms for sighting in events.sightings])
    last = np.array([sighting.last_ms for sighting in events.sightings])
    return Seen(time, row, width, error, (first + last) / 2, direction, events.interval_ms, first, last, known)


def _of(edge: Edge | None, height: int, what: int) -> float:
    if edge is None:
        return float("nan")
    return (edge.time_ms, edge.row / height, edge.width / height, edge.error / height)[what]


def canonical(cameras: dict[str, Events]) -> list[str]:
    """Return the cameras in an order that follows from what they saw, and not from how they were given."""

    def key(name: str) -> tuple[float, ...]:
        events = cameras[name]
        edges = [value for edge in events.edges() for value in (edge.time_ms, edge.row)]
        return (-len(events.sightings), *(s.first_ms for s in events.sightings), *edges, float(len(events.times_ms)))

    return sorted(cameras, key=key)
