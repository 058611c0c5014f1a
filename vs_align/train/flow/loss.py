"""What the network is trained to make small."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

__all__ = ["cell_errors", "judge_loss", "loss"]

_LEAST_CELLS, _LEAST_PX = 0.01, 0.005
# Later updates count more: each as 1 / this much of the one after.
_DECAY = 0.8
_SPREAD_SHARE = 0.05


def loss(
    steps: Sequence[tuple[Tensor, Tensor]],
    flow: Tensor,
    seen: Tensor,
    averaged: Callable[[Tensor], Tensor] = lambda count: count,
) -> Tensor:
    """Return the training loss, a scalar.

    Over all updates, the mean of the square root of the error in cells, so that all scales, which share the weights,
    ask the same of them (a robust norm as in Sun et al., "PWC-Net", 2018: small errors count for more than large ones),
    and, with a small weight, how badly the spread foretells the error: the negative log likelihood of a Laplace
    distribution.

    Args:
        steps: flow (B, 2, h, w) and spread (B, 1, h, w), pixels, after each update.
        flow: the true one, (B, 2, H, W).
        seen: 1 where it counts, (B, 1, H, W).
        averaged: the mean of a number over all processes that train together. By the number of cells that count in
            all of them, the mean of their losses is the loss of the whole batch.
    """
    known: dict[int, Tensor] = {}
    total = flow.new_zeros(())
    weights = 0.0
    for place, (found, spread) in enumerate(steps):
        error, counts = _errors(found, flow, seen)
        fit = (error * (found.shape[3] / flow.shape[3]) + _LEAST_CELLS).sqrt()
        surprise = error.detach() / spread + spread.log()
        weight = _DECAY ** (len(steps) - 1 - place)
        if counts.shape[3] not in known:
            # Where nothing counts, nothing is divided: a mean over processes may be less than one.
            known[counts.shape[3]] = averaged(counts.sum()).clamp(min=1e-3)
        total = total + weight * ((fit + _SPREAD_SHARE * surprise) * counts).sum() / known[counts.shape[3]]
        weights += weight
    return total / weights


def judge_loss(
    found: Tensor, flow: Tensor, seen: Tensor, averaged: Callable[[Tensor], Tensor] = lambda count: count
) -> Tensor:
    """Return the judge's loss, a scalar: over all cells that count, the mean of the square root of the error in pixels.

    Args:
        found: the flow it decided on, (B, 2, h, w).
        flow, seen, averaged: as for `loss`.
    """
    error, counts = _errors(found, flow, seen)
    return ((error + _LEAST_PX).sqrt() * counts).sum() / averaged(counts.sum()).clamp(min=1e-3)


def cell_errors(found: Tensor, flow: Tensor, seen: Tensor) -> Tensor:
    """Return the errors in pixels of all cells that count, shape (n,)."""
    error, counts = _errors(found, flow, seen)
    return error[counts > 0]


def _errors(found: Tensor, flow: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """Return the length of the error of each cell, shape (B, 1, h, w), and 1 where all of the cell counts."""
    cell = flow.shape[3] // found.shape[3]
    true, counts = F.avg_pool2d(flow, cell), (F.avg_pool2d(seen, cell) > 0.999).float()
    # The gradient of a square root is not finite at nothing.
    return torch.sqrt(((found - true) ** 2).sum(1, keepdim=True) + 1e-6), counts
