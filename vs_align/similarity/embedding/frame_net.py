"""The frame network in torch, for training. `numpy_net.py` is its twin, which needs no torch and agrees with it."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from .numpy_net import CONVOLUTIONS, FrameSizes, shapes

__all__ = ["FrameNet"]


class FrameNet(nn.Module):
    """Embeddings of single pictures, of unit length.

    Args:
        sizes: of its layers.

    Attributes:
        sizes: likewise.
    """

    def __init__(self, sizes: FrameSizes | None = None) -> None:
        super().__init__()
        self.sizes = sizes = sizes or FrameSizes()
        channels = pairwise((1, *sizes[:4]))
        self.convolutions = nn.ModuleList(
            nn.Conv2d(given, made, *form) for (given, made), form in zip(channels, CONVOLUTIONS, strict=True)
        )
        self.linear = nn.Linear(shapes(sizes)["linear.weight"][1], sizes.embedding)
        for layer in self.convolutions:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
        nn.init.kaiming_normal_(self.linear.weight, nonlinearity="linear")
        nn.init.zeros_(self.linear.bias)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the embeddings of pictures (N, 72, 96), shape (N, embedding)."""
        maps = pictures[:, None]
        for layer in self.convolutions:
            maps = torch.relu(layer(maps))
        return nn.functional.normalize(self.linear(maps.flatten(1)), dim=1)
