"""How much of the time between a flash's two edges is the exposure, and how much the flash."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["flash_length"]

type Floats = NDArray[np.float64]

_STEPS = 400


def flash_length(ramps_ms: Floats, spans_ms: Floats, noise_ms: Floats) -> float:
    """Return how long the flashes last, in ms.

    From its first lit row to its last a flash takes its own length and the exposure; light rises over the shorter of
    the two. The length is the one with which that fits all cameras best.

    Args:
        ramps_ms: over which light rises or falls, for each camera, shape (C,).
        spans_ms: exposure and length together, shape (C,).
        noise_ms: of the ramps, shape (C,).
    """
    lengths = np.linspace(0, max(0.0, float(spans_ms.min())), _STEPS)[:, None]
    expected = np.minimum(lengths, spans_ms - lengths)
    # Absolute errors: one camera whose picture is soft does not decide.
    cost = (np.abs(ramps_ms - expected) / noise_ms).sum(axis=1)
    return float(lengths[int(cost.argmin()), 0])
