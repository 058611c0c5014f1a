"""A network for tests of what is around it: it finds no displacement, so that what follows has to find it."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

__all__ = ["StillNet"]


class Answer(NamedTuple):
    flow: Tensor
    spread: Tensor


class StillNet(nn.Module):
    """Answers the flow that it is given to begin with, or none, moved by ``offset`` pixels along x, and is sure."""

    def __init__(self, cell: int = 8) -> None:
        super().__init__()
        self.config = {"cell": cell}
        self.cell = cell
        self.offset = nn.Parameter(torch.zeros(1))

    def forward(self, ref: Tensor, clip: Tensor, start: Tensor | None = None) -> Answer:
        batch, _, height, width = ref.shape
        flow = ref.new_zeros(batch, 2, height // self.cell, width // self.cell) if start is None else start
        return Answer(torch.cat([flow[:, :1] + self.offset, flow[:, 1:]], 1), torch.full_like(flow[:, :1], 0.5))
