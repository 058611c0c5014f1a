"""How far predictors are off, and how far that figure may be off itself."""

from collections.abc import Callable, Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

from ...matching.offsets import Sight
from .scenes import Pair

__all__ = ["CHANCE", "errors", "margin"]

type Floats = NDArray[np.float64]

CHANCE = 930 / 61
"""The mean error in frames of answering 0 to uniform offsets, -30 to 30."""

_DRAWS = 2000


def errors(predictor: Callable[[Sight], int], pairs: Sequence[Pair]) -> Floats:
    """Return by how many frames each answer is off, shape (P,). Strangers have no offset and must not be among them."""
    return np.array([abs(predictor(pair.sight) - (pair.offset or 0)) for pair in pairs], np.float64)


def margin(
    values: Floats, groups: Sequence[Hashable], figure: Callable[[Floats], float] = np.mean, seed: int = 0
) -> tuple[float, float]:
    """Return the 95 % margin of a figure: groups, not values, are drawn anew, since those of one group err together.

    Args:
        values: shape (P,).
        groups: of which group each value is: its scene.
        figure: of values, such as the mean or the median.
        seed: of the draws.

    Source:
        Efron, "Bootstrap methods: another look at the jackknife", 1979: the percentiles 2.5 and 97.5 of 2000 draws.
    """
    rng = np.random.default_rng(seed)
    parts: dict[Hashable, list[float]] = {}
    for value, group in zip(values, groups, strict=True):
        parts.setdefault(group, []).append(float(value))
    held = [np.array(part) for part in parts.values()]
    drawn = rng.integers(0, len(held), (_DRAWS, len(held)))
    found = [figure(np.concatenate([held[k] for k in row])) for row in drawn]
    low, high = np.percentile(found, [2.5, 97.5])
    return float(low), float(high)
