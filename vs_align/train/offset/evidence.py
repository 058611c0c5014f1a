"""What profiles weigh, and how sure that makes: a conditional logit, and Platt's line through what it says."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...matching.offset_evidence import Evidence
from ...matching.offsets import REACH
from .scenes import Pair

__all__ = ["fit_evidence"]

type Floats = NDArray[np.float64]

_SHRINK = 1e-3
_NEAR = 1


def fit_evidence(training: Sequence[Pair], held: Sequence[Pair]) -> Evidence:
    """Fit the weights on some pairs and the calibration on others.

    Args:
        training, held: pairs, strangers among them.

    Source:
        McFadden, "Conditional logit analysis of qualitative choice behavior", 1974; Platt, "Probabilistic outputs for
        support vector machines", 1999.
    """
    from scipy.optimize import minimize

    profiles, truth = _table(training)
    start = np.append(np.ones(profiles.shape[1]), 0.0)
    # What is alike cannot speak against an offset.
    bounds = [(0.0, None)] * profiles.shape[1] + [(None, None)]
    found = minimize(_choice_loss, start, (profiles, truth), jac=True, method="L-BFGS-B", bounds=bounds)
    weights, none = tuple(float(w) for w in found.x[:-1]), float(found.x[-1])
    raw = Evidence(weights, none, 1.0, 0.0)
    share, right = _answers(raw, held)
    logits = np.log(share / (1 - share))
    line = minimize(_platt_loss, np.array([1.0, 0.0]), (logits, right), jac=True, method="L-BFGS-B").x
    return Evidence(weights, none, float(line[0]), float(line[1]))


def _table(pairs: Sequence[Pair]) -> tuple[Floats, NDArray[np.int64]]:
    """Return profiles, shape (P, C, 61), and which offset is right; 61 where none is."""
    profiles = np.array([pair.sight.profiles for pair in pairs])
    truth = np.array([2 * REACH + 1 if pair.offset is None else pair.offset + REACH for pair in pairs])
    return np.where(np.isfinite(profiles), profiles, -20.0), truth


def _choice_loss(parameters: Floats, profiles: Floats, truth: NDArray[np.int64]) -> tuple[float, Floats]:
    """Return the mean negative log-likelihood of the right outcomes, and its gradient."""
    weights, none = parameters[:-1], parameters[-1]
    values = np.einsum("c,pco->po", weights, profiles)
    values = np.column_stack([values, np.full(len(values), none)])
    values -= values.max(1, keepdims=True)
    likely = np.exp(values)
    likely /= likely.sum(1, keepdims=True)
    every = np.arange(len(truth))
    loss = -np.log(np.maximum(likely[every, truth], 1e-300)).mean() + _SHRINK * (weights**2).sum()
    likely[every, truth] -= 1
    slope = np.einsum("po,pco->c", likely[:, :-1], profiles) / len(truth) + 2 * _SHRINK * weights
    return float(loss), np.append(slope, likely[:, -1].mean())


def _answers(evidence: Evidence, pairs: Sequence[Pair]) -> tuple[Floats, Floats]:
    """Return what the softmax says of each answer, and whether it is right within one frame."""
    said, right = [], []
    for pair in pairs:
        answer = evidence.blend(pair.sight)
        share = float(evidence.likely(pair.sight)[max(0, answer + REACH - _NEAR) : answer + REACH + _NEAR + 1].sum())
        said.append(min(max(share, 1e-6), 1 - 1e-6))
        right.append(pair.offset is not None and abs(answer - pair.offset) <= _NEAR)
    return np.array(said), np.array(right, np.float64)


def _platt_loss(line: Floats, logits: Floats, right: Floats) -> tuple[float, Any]:
    count = right.sum()
    # Platt's targets: nothing is ever quite sure.
    wanted = np.where(right > 0, (count + 1) / (count + 2), 1 / (len(right) - count + 2))
    values = line[0] * logits + line[1]
    loss = (np.logaddexp(0, values) - wanted * values).mean()
    off = 1 / (1 + np.exp(-values)) - wanted
    return float(loss), np.array([(off * logits).mean(), off.mean()])
