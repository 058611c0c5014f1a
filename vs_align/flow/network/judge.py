"""Whom to believe, cell by cell: the network's own flow, or what the grey values made of it.

Grey values are precise and can all be wrong together: in a picture with a ghost beside it they fit the mean of both.
The network is rough, but has seen ghosts. The judge sees how far the two are apart, what difference each leaves, how
much texture there is, and what the network remembers of the cell; the mean over the picture stands beside each cell.
"""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

__all__ = ["FACTS", "Judge", "facts"]

FACTS = 7
"""Channels of `facts` beside the network's memory."""

_MOST_APART_PX = 4.0
# Shares below this are none at all: where the grey values are right they stay as they are.
_NOTHING = 0.05
_SILENT, _ASKED = -4.0, -1.0


class Judge(nn.Module):
    """Says what share of the network's own flow there is to be in the answer.

    Args:
        memory: channels of the network's memory.
        width: channels inside.
    """

    def __init__(self, memory: int, width: int = 48) -> None:
        super().__init__()
        self.first = nn.Conv2d(FACTS + memory, width, 3, padding=1)
        self.second = nn.Conv2d(2 * width, width, 3, padding=1)
        self.out = nn.Conv2d(width, 1, 3, padding=1)
        nn.init.zeros_(self.out.weight)
        # Until it is trained it leaves everything as it is.
        nn.init.constant_(self.out.bias, _SILENT)

    def begin(self) -> None:
        """Let an untrained judge speak, so that it can learn."""
        nn.init.constant_(self.out.bias, _ASKED)

    def forward(self, seen: Tensor) -> Tensor:
        """Return the share of the network's flow, 0 to 1, shape (B, 1, h, w), from facts and memory."""
        x = F.leaky_relu(self.first(seen), 0.1)
        x = torch.cat([x, x.mean((2, 3), keepdim=True).expand_as(x)], 1)
        share = torch.sigmoid(self.out(F.leaky_relu(self.second(x), 0.1)))
        # In training nothing is cut off, since what is cut off learns nothing.
        return share if self.training else ((share - _NOTHING) / (1 - _NOTHING)).clamp(min=0)


def facts(own: Tensor, refined: Tensor, spread: Tensor, left: Tensor, texture: Tensor) -> Tensor:
    """Return what the judge goes by, shape (B, `FACTS`, h, w).

    Args:
        own, refined: the network's flow and that of the grey values, pixels, shape (B, 2, h, w).
        spread: the error that the network expects of its own, pixels, shape (B, 1, h, w).
        left: the mean squared difference that refined and own leave, normalised pictures, shape (B, 2, h, w).
        texture: the mean squared gradient, shape (B, 1, h, w).
    """
    apart = own - refined
    length = torch.linalg.vector_norm(apart, dim=1, keepdim=True)
    numbers = [length + 0.01, spread, left + 0.01, texture + 0.001]
    return torch.cat([apart.clamp(-_MOST_APART_PX, _MOST_APART_PX), *(number.log() for number in numbers)], 1)
