"""How likely each offset is, how sure an answer is, and what several passages say together.

A passage's profiles (see `vs_align.matching.offsets.Sight`) are weighted and summed to one value for each offset; a
softmax makes probabilities of them, with one more outcome: that none of the offsets is right, as between strangers or
beyond reach. This is a conditional logit (McFadden, 1974). How often an answer of that probability was right within one
frame, on made pairs that the weights were not fitted on, is what is finally said (Platt, 1999).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .offsets import REACH, Sight, best

__all__ = ["EVIDENCE", "Evidence", "Vote", "calibrated", "combined", "evidence_for", "softmax"]

type Floats = NDArray[np.float64]

_OFFSETS = np.arange(-REACH, REACH + 1)
# No one passage, and not all of them together, decide without any doubt.
_MOST_SURE, _SUREST = 0.98, 0.999
# An answer is right within so many frames.
_NEAR = 1
# What an offset beside a passage's own gets, as a share of what its own gets.
_BESIDE = 0.2
# Passages of one film err together: so much of what each says counts.
_SHARE = 0.8


@dataclass(frozen=True, slots=True)
class Evidence:
    """What profiles weigh.

    Attributes:
        weights: of the profiles, in the order of `Sight.profiles`, 0 and up.
        none: the value of the outcome that no offset is right.
        scale, shift: the calibration: logit of what is said = scale * logit of what the softmax says + shift.
    """

    weights: tuple[float, ...]
    none: float
    scale: float
    shift: float

    def likely(self, sight: Sight) -> Floats:
        """Return the probability of each offset, -REACH to REACH, shape (2 * REACH + 1,); they sum to less than 1."""
        return softmax(np.asarray(self.weights) @ _finite(sight.profiles), sight.profiles, self.none)

    def blend(self, sight: Sight) -> int:
        """Return the likeliest offset."""
        return best(self.likely(sight))

    def probability(self, sight: Sight, offset: int) -> float:
        """Return how likely it is that an offset is right within one frame, 0 to 1."""
        share = float(self.likely(sight)[np.abs(_OFFSETS - offset) <= _NEAR].sum())
        return calibrated(share, self.scale, self.shift)


EVIDENCE = {
    "structure": Evidence(weights=(1.396, 3.676, 1.390, 1.659, 0.0, 1.733), none=4.123, scale=1.367, shift=0.531),
    "embedding": Evidence(weights=(2.556, 3.385, 1.996, 1.885, 0.633, 0.049), none=4.331, scale=1.228, shift=0.662),
}
"""Fitted on made pairs by ``vs-align train offset blend``, by measure."""


def evidence_for(similarity: str) -> Evidence:
    """Return what profiles weigh for a measure; those of "structure" for one that has none of its own."""
    return EVIDENCE.get(similarity, EVIDENCE["structure"])


@dataclass(frozen=True, slots=True)
class Vote:
    """What one passage says: an offset, and how likely it is right within one frame."""

    offset: int
    probability: float


def combined(votes: Sequence[Vote]) -> Vote:
    """Return what several passages say together.

    A passage gives its probability to its offset, a part of it to the two beside it, and the rest evenly to all others,
    so that one that knows nothing changes nothing. Logarithms are summed.

    Args:
        votes: one or more.
    """
    if len(votes) == 1:
        return votes[0]
    total = np.zeros(len(_OFFSETS))
    for vote in votes:
        sure = min(vote.probability, _MOST_SURE)
        off = np.abs(_OFFSETS - vote.offset)
        near = np.where(off == 0, 1.0, np.where(off <= _NEAR, _BESIDE, 0.0))
        even = (off > _NEAR) / (off > _NEAR).sum()
        total += _SHARE * np.log(sure * near / near.sum() + (1 - sure) * even + 1e-9)
    likely = np.exp(total - total.max())
    likely /= likely.sum()
    answer = best(likely)
    share = float(likely[np.abs(_OFFSETS - answer) <= _NEAR].sum())
    return Vote(answer, min(share, _SUREST))


def softmax(values: Floats, profiles: Floats, none: float) -> Floats:
    """Return the probability of each offset beside that of none; 0 where too few frames overlap."""
    values = np.where(np.isfinite(profiles).all(0), values, -np.inf)
    top = max(none, float(values.max()))
    shares = np.exp(values - top)
    return np.asarray(shares / (shares.sum() + np.exp(none - top)))


def calibrated(share: float, scale: float, shift: float) -> float:
    """Return a probability by Platt's line through logits."""
    share = min(max(share, 1e-6), 1 - 1e-6)
    value = scale * np.log(share / (1 - share)) + shift
    return float(min(1 / (1 + np.exp(-value)), _MOST_SURE))


def _finite(profiles: Floats) -> Floats:
    return np.where(np.isfinite(profiles), profiles, 0.0)
