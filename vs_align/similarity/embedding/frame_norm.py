"""Batch normalisation over the frames that count, of all processes that train together."""

from typing import Any

import torch
from torch import Tensor, distributed, nn

__all__ = ["FrameNorm"]


class FrameNorm(nn.Module):
    """Batch norm of (N, C) whose statistics are those of all processes' frames, also on CPUs (torch's is not).

    Args:
        width: C.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("variance", torch.ones(width))

    def forward(self, frames: Tensor) -> Tensor:
        """Return (N, C) of (N, C): by the batch in training, by what was seen in training else."""
        kept = frames.float()
        mean, variance = self._of_batch(kept) if self.training else (self.mean, self.variance)
        return (kept - mean) * (variance + 1e-5).rsqrt() * self.weight + self.bias

    def _of_batch(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        count = _total(frames.new_tensor(float(len(frames)))).clamp(min=1)
        mean = _total(frames.sum(0)) / count
        variance = _total(((frames - mean) ** 2).sum(0)) / count
        with torch.no_grad():
            self.mean.lerp_(mean, 0.1)
            # Of the population, as torch's batch norm has it.
            self.variance.lerp_(variance * (count / (count - 1).clamp(min=1)), 0.1)
        return mean, variance


def _total(value: Tensor) -> Tensor:
    """Return the sum over all processes, with its gradient."""
    if not distributed.is_available() or not distributed.is_initialized():
        return value
    total: Tensor = _Total.apply(value)
    return total


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        """Sum."""
        total = value.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """Sum: each process's loss hangs on each process's values."""
        total = gradient.clone()
        distributed.all_reduce(total)
        return total
