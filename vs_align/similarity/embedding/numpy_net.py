"""The frame network, evaluated with NumPy alone. `frame_net.py` is its twin in torch, which is trained.

Four convolutions and a linear layer, ReLU between them:

    (72, 96, 1) - 8x8/4 - (18, 24, a) - 3x3 - (18, 24, b) - 3x3/2 - (9, 12, c) - 3x3/2 - (5, 6, d) - linear - embedding
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from .framing import INPUT

__all__ = ["CONVOLUTIONS", "FrameSizes", "NumpyNet", "shapes"]

CONVOLUTIONS = ((8, 4, 2), (3, 1, 1), (3, 2, 1), (3, 2, 1))
"""Side, stride and padding of each."""

type Array = NDArray[np.float32]


class FrameSizes(NamedTuple):
    """Channels of the four convolutions, and length of the embedding."""

    first: int = 32
    second: int = 64
    third: int = 96
    fourth: int = 128
    embedding: int = 256


def shapes(sizes: FrameSizes) -> dict[str, tuple[int, ...]]:
    """Return the shape of each of the network's tensors as torch has them, by name."""
    width, height, given = *INPUT, 1
    found: dict[str, tuple[int, ...]] = {}
    for layer, ((side, stride, padding), made) in enumerate(zip(CONVOLUTIONS, sizes[:4], strict=True)):
        found[f"convolutions.{layer}.weight"] = (made, given, side, side)
        found[f"convolutions.{layer}.bias"] = (made,)
        width, height = ((edge + 2 * padding - side) // stride + 1 for edge in (width, height))
        given = made
    found["linear.weight"] = (sizes.embedding, given * height * width)
    found["linear.bias"] = (sizes.embedding,)
    return found


class NumpyNet:
    """The network.

    Args:
        tensors: of the shapes that `shapes` gives for its sizes.
    """

    def __init__(self, tensors: Mapping[str, NDArray[Any]]) -> None:
        self._layers = []
        for layer, form in enumerate(CONVOLUTIONS):
            weight, bias = (tensors[f"convolutions.{layer}.{part}"].astype(np.float32) for part in ("weight", "bias"))
            # Torch has (made, given, y, x); pictures here have their channels last.
            matrix = np.ascontiguousarray(weight.transpose(2, 3, 1, 0).reshape(-1, len(weight)))
            self._layers.append((matrix, bias, form))
        weight, self._bias = (tensors[f"linear.{part}"].astype(np.float32) for part in ("weight", "bias"))
        self.length = len(weight)
        self._linear = np.ascontiguousarray(self._channels_last(weight))

    def _channels_last(self, weight: Array) -> Array:
        channels = len(self._layers[-1][1])
        across = weight.reshape(self.length, channels, -1).transpose(2, 1, 0)
        return across.reshape(-1, self.length)

    def __call__(self, pictures: Array) -> Array:
        """Return the embeddings of pictures (N, 72, 96), shape (N, embedding), of unit length."""
        maps = pictures[..., None]
        for layer in self._layers:
            maps = _convolved(maps, *layer)
        made = maps.reshape(len(maps), -1) @ self._linear
        made += self._bias
        # As torch does it: what has no length stays 0.
        made /= np.maximum(np.sqrt((made * made).sum(1, keepdims=True)), np.float32(1e-12))
        return np.asarray(made, np.float32)


def _convolved(maps: Array, matrix: Array, bias: Array, form: tuple[int, int, int]) -> Array:
    """Return ReLU of a convolution, channels last: (N, H, W, C) -> (N, H', W', C')."""
    side, stride, padding = form
    count, height, width, channels = maps.shape
    padded = np.zeros((count, height + 2 * padding, width + 2 * padding, channels), np.float32)
    padded[:, padding : padding + height, padding : padding + width] = maps
    parts = sliding_window_view(padded, (side, side), (1, 2))[:, ::stride, ::stride].transpose(0, 1, 2, 4, 5, 3)
    rows, columns = parts.shape[1:3]
    made = parts.reshape(count * rows * columns, -1) @ matrix
    made += bias
    return np.maximum(made, 0, out=made).reshape(count, rows, columns, -1)
