"""Sequence contrastive loss: what frames of one view should say of those of the other.

Chen et al., "Frame-wise Action Representations for Long Videos via Sequence Contrastive Learning", CVPR 2022.
"""

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["sequence_loss", "targets"]


def targets(
    numbers: Tensor, other: Tensor, lengths: Tensor, other_lengths: Tensor, valid: Tensor, variance: float = 10.0
) -> Tensor:
    """Return for each frame of a view which frames of the other view it should be like, as shares.

    q_ij = exp(-d_ij^2 / (2 * variance)), rows normalised, where d_ij = abs(s_i * L_j / L_i - s_j).

    Args:
        numbers: the frames' numbers in their video, (B, T).
        other: those of the other view, (B, U).
        lengths: frames of the videos, (B,).
        other_lengths: those of the other view's, (B,).
        valid: (B, U), false where the other view is padding, which no frame should be like.
        variance: how far around the same moment frames should be alike, frames squared.

    Returns:
        (B, T, U); rows add up to 1.
    """
    scaled = numbers * (other_lengths / lengths)[:, None]
    distance = scaled[:, :, None] - other[:, None]
    # Softmax is the same as dividing by the sum, also where all of a row would vanish.
    logits = (distance**2 / (-2 * variance)).masked_fill(~valid[:, None], -torch.inf)
    return logits.softmax(2)


def sequence_loss(
    views: tuple[Tensor, Tensor],
    numbers: tuple[Tensor, Tensor],
    lengths: tuple[Tensor, Tensor],
    valid: tuple[Tensor, Tensor],
    *,
    variance: float = 10.0,
    temperature: float = 0.1,
    averaged: Callable[[Tensor], Tensor] = lambda count: count,
) -> Tensor:
    """Return the loss, a scalar: the mean over the valid frames of both views of KL(target || prediction).

    The prediction is the softmax over the other view of z_i . z_j / temperature.

    Args:
        views: z, of unit length, (B, T, D) and (B, U, D).
        numbers, lengths, valid: of both views, as for `targets`.
        variance: as for `targets`.
        temperature: what products are divided by.
        averaged: the mean of a number over all processes that train together.
    """
    one, other = views
    logits = one @ other.transpose(1, 2) / temperature
    total = one.new_zeros(())
    for near, far, product in ((0, 1, logits), (1, 0, logits.transpose(1, 2))):
        wanted = targets(numbers[near], numbers[far], lengths[near], lengths[far], valid[far], variance)
        said = product.masked_fill(~valid[far][:, None], -torch.inf).log_softmax(2)
        # 0 * log 0 is 0.
        said = said.masked_fill(~valid[far][:, None], 0)
        rows = (torch.special.xlogy(wanted, wanted) - wanted * said).sum(2)
        total = total + rows[valid[near]].sum()
    count = (valid[0].sum() + valid[1].sum()).to(total.dtype)
    return total / averaged(count).clamp(min=1e-3)
