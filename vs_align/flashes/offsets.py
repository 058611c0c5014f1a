"""Rough offsets between two cameras, from when each saw flashes."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["rough_offsets"]

type Floats = NDArray[np.float64]

_CANDIDATES = 6


def rough_offsets(one: Floats, other: Floats, tolerance_ms: float, hint: tuple[float, float] | None) -> list[float]:
    """Return the offsets, one's time less the other's, under which most flashes of the two coincide, best first.

    All intervals between a flash of one and a flash of the other are laid on one axis: those of common flashes fall on
    one place, all others anywhere, so that missing flashes and false ones do not matter.

    Args:
        one: when the camera saw flashes, in ms, shape (N,).
        other: likewise, shape (M,).
        tolerance_ms: how far from the offset an interval of a common flash may be.
        hint: offset and how far from it may be searched; None: anywhere.
    """
    differences = (one[:, None] - other).ravel()
    pair = np.arange(len(differences))
    order = differences.argsort(kind="stable")
    differences, pair = differences[order], pair[order]
    if hint is not None:
        near = np.abs(differences - hint[0]) <= hint[1]
        differences, pair = differences[near], pair[near]
    stops = np.searchsorted(differences, differences + 2 * tolerance_ms, "right")
    found = []
    for start, stop in enumerate(stops):
        i, j = pair[start:stop] // len(other), pair[start:stop] % len(other)
        found.append((min(len(set(i.tolist())), len(set(j.tolist()))), start, int(stop)))
    # Of windows with as many flashes the narrowest comes first.
    found.sort(key=lambda w: (-w[0], differences[w[2] - 1] - differences[w[1]], w[1]))
    offsets: list[float] = []
    for _, start, stop in found:
        middle = float(np.median(differences[start:stop]))
        if all(abs(middle - offset) > tolerance_ms for offset in offsets):
            offsets.append(middle)
        if len(offsets) == _CANDIDATES:
            break
    return offsets
