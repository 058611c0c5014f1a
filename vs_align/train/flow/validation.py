"""How good a network is on pairs that no training sees."""

import torch
from torch import Tensor, nn

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

    def errors(self, net: nn.Module, device: torch.device) -> dict[str, float]:
        """Return how far a network's flow is off on cells of 8 px, in pixels of a pair.

        Returns:
            mean_px: mean over the pairs of the mean of each. pair_px: the median over the pairs of these. median_px:
            the median over all cells. Not a number where no cell counts.
        """
        self._made = self._made or [self._pairs[n] for n in range(self._count)]
        with torch.no_grad():
            errors = [self._pair_errors(net, sample, device) for sample in self._made]
        means = torch.stack([part.mean() for part in errors if len(part)] or [torch.tensor(torch.nan)])
        every = torch.cat(errors)
        return {"mean_px": float(means.mean()), "median_px": float(every.median()), "pair_px": float(means.median())}

    @staticmethod
    def _pair_errors(net: nn.Module, sample: Sample, device: torch.device) -> Tensor:
        whole = {name: part[None].to(device) for name, part in sample.items()}
        found = net(whole["ref"], whole["clip"])
        return cell_errors(found.flow, whole["flow"], whole["seen"]).cpu()
