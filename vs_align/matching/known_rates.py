"""The usual frame rates, and which two of them explain a measured rate."""

from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

__all__ = ["KnownRate", "explain", "known_ratios"]

_RATES = {
    "23.976": Fraction(24000, 1001),
    "24": Fraction(24),
    "25": Fraction(25),
    "29.97": Fraction(30000, 1001),
    "30": Fraction(30),
    "50": Fraction(50),
    "59.94": Fraction(60000, 1001),
    "60": Fraction(60),
}
_REMARKS = {
    ("25", "23.976"): "PAL speed-up",
    ("25", "24"): "PAL speed-up",
    ("23.976", "25"): "PAL slow-down",
    ("24", "25"): "PAL slow-down",
    ("24", "23.976"): "film against NTSC film",
    ("23.976", "24"): "NTSC film against film",
    ("29.97", "23.976"): "3:2 pulldown",
    ("23.976", "29.97"): "3:2 pulldown removed",
}
# Ratios of the usual rates are at least 1000 ppm apart; an error above this cannot tell one from the next.
_TELLING_PPM = 250.0
_TOLERANCE_PPM = 20.0
_ERRORS = 4.0


@dataclass(frozen=True, slots=True)
class KnownRate:
    """Two usual frame rates.

    Attributes:
        name: clip's rate, a stroke, ref's rate, both in frames per second, and what that is called, if anything.
        ratio: clip's rate divided by ref's.
        ppm: how far the measured rate is above it, in parts per million.
    """

    name: str
    ratio: Fraction
    ppm: float


def explain(rate: float, error: float, *, sure: bool = False) -> KnownRate | None:
    """Name the pair of usual rates whose ratio a measured one is, as nearly as can be told.

    Args:
        rate: clip's rate divided by ref's; clip frames per ref frame, or likewise a ratio of speeds.
        error: its standard error, or with ``sure`` the most that it can be off.
        sure: any ratio within ``error`` is as good as ``rate`` itself, and no other is.

    Returns:
        The nearest pair; None where it is farther away than 20 ppm and four standard errors, and where a standard error
        above 250 ppm cannot tell pairs apart. Where a ``sure`` error reaches one pair, that with ``ppm`` 0; where it
        reaches several, the same rate if that is among them, else None. A ratio that several pairs share (1.001) is
        named by the first.
    """
    pairs, ratios = list(_pairs().items()), known_ratios()
    if sure:
        reached = np.flatnonzero(np.abs(ratios - rate) <= error * (1 + 1e-9))
        # The same rate is the first of all.
        if len(reached) == 1 or 0 in reached:
            name, ratio = pairs[reached[0]]
            return KnownRate(name, ratio, 0.0)
        if len(reached):
            return None
        error = 0.0
    name, ratio = pairs[int(np.abs(ratios - rate).argmin())]
    ppm, error_ppm = (rate / float(ratio) - 1) * 1e6, error / float(ratio) * 1e6
    if error_ppm > _TELLING_PPM or abs(ppm) > max(_TOLERANCE_PPM, _ERRORS * error_ppm):
        return None
    return KnownRate(name, ratio, ppm)


def known_ratios() -> NDArray[np.float64]:
    """Return the ratios of all pairs, shape (P,)."""
    return np.array([float(ratio) for ratio in _pairs().values()])


@cache
def _pairs() -> dict[str, Fraction]:
    """Return the ratio of each pair by name, each ratio once."""
    pairs, seen = {"same rate": Fraction(1)}, {Fraction(1)}
    # Pairs with a name of their own first.
    for clip, ref in [*_REMARKS, *product(_RATES, repeat=2)]:
        ratio = _RATES[clip] / _RATES[ref]
        if ratio not in seen:
            seen.add(ratio)
            remark = _REMARKS.get((clip, ref))
            pairs[f"{clip} / {ref}" + (f" ({remark})" if remark else "")] = ratio
    return pairs
