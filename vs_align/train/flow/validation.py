"""How good a network is on pairs that no training sees."""

from collections.abc import Callable

import torch
from torch import Tensor

from .data import Pairs, Sample
from .loss import cell_errors

__all__ = ["SEED", "Validation"]

SEED = 977
"""Of the pairs: the same in every run, so that runs can be compared."""


class Validation:
    """A number of pairs, made on first use and kept.

    Args:
        pairs: where they come from.
        count: how many there are, from the first one on.
    """

    def __init__(self, pairs: Pairs, count: int) -> None:
        self._pairs, self._count = pairs, count
        self._made: list[Sample] = []

    def errors(self, estimate: Callable[[Tensor, Tensor], Tensor], device: torch.device) -> dict[str, float]:
        """Return how far a flow is off on cells of 8 px, in pixels of a pair.

        Args:
            estimate: from ref and clip (B, 1, S, S) to the flow (B, 2, S / 8, S / 8).
            device: where that is done.

        Returns:
            mean_px: mean over the pairs of the mean of each. pair_px: the median over the pairs of these. median_px:
            the median over all cells. Not a number where no cell counts.
        """
        self._made = self._made or [self._pairs[n] for n in range(self._count)]
        with torch.no_grad():
            errors = [self._pair_errors(estimate, sample, device) for sample in self._made]
        means = torch.stack([part.mean() for part in errors if len(part)] or [torch.tensor(torch.nan)])
        every = torch.cat(errors)
        return {"mean_px": float(means.mean()), "median_px": float(every.median()), "pair_px": float(means.median())}

    @staticmethod
    def _pair_errors(estimate: Callable[[Tensor, Tensor], Tensor], sample: Sample, device: torch.device) -> Tensor:
        whole = {name: part[None].to(device) for name, part in sample.items()}
        return cell_errors(estimate(whole["ref"], whole["clip"]), whole["flow"], whole["seen"]).cpu()
