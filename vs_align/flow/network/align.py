"""Torch twin of `vs_align.flow.align`: from two pictures to the flow between them."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812  (its usual name)
from torch import Tensor

from ..options import AlignOptions
from ..stages import BLOCK, SMALLEST_SIDE, UNRELATED
from .engine import Network, estimate
from .geometry import enlarged

__all__ = ["Alignment", "align"]


@dataclass(frozen=True, slots=True)
class Alignment:
    """What was found out about a pair, on its device.

    Attributes:
        flow: where to sample clip for each pixel of ref, displacement (dx, dy) in ref's pixels, float32, shape
            (1, 2, H, W); zeros where nothing is to be moved, or the pictures have nothing in common.
        residual: what disagreement is left, 0 none, 1 nothing in common; no dimensions.
        moved: whether there is something to be moved; no dimensions.
    """

    flow: Tensor
    residual: Tensor
    moved: Tensor


def align(
    net: Network,
    clip: Tensor,
    ref: Tensor,
    mask: Tensor | None,
    options: AlignOptions,
    start: Tensor | None = None,
) -> Alignment:
    """Find the flow from ref to clip.

    Args:
        net: see `estimate`.
        clip, ref: luma, float32, finite, about 0 to 255, both of shape (1, 1, H, W).
        mask: non-zero where ref is to be ignored, same shape; None: nowhere.
        options: how.
        start: a flow to begin with, such as a homography's, in pixels on cells of 8 px, shape
            (1, 2, ceil(H / 32) * 4, ceil(W / 32) * 4); None: the network finds one.
    """
    height, width = ref.shape[-2:]
    away = (clip - ref).abs().amax()
    plain = (away >= 1).float()
    if min(height, width) < SMALLEST_SIDE:
        return Alignment(ref.new_zeros(1, 2, height, width), plain, torch.zeros_like(away, dtype=torch.bool))
    counts = torch.ones_like(ref) if mask is None else (mask == 0).float()
    room = (0, -width % BLOCK, 0, -height % BLOCK)
    whole = (F.pad(ref, room, mode="replicate"), F.pad(clip, room, mode="replicate"), F.pad(counts, room))
    masked = mask is not None
    found = estimate(net, *whole, masked, options, start)
    for _ in range(1, options.iterations):
        found = estimate(net, *whole, masked, options, found.grid)
    comparable = _varied(clip) & _varied(ref) & (counts.amax() > 0)
    to_move = (found.agreement[0] >= UNRELATED) & ~found.still[0]
    moved = comparable & to_move & (away > 0)
    flow = enlarged(found.grid, whole[0].shape[-2] // found.grid.shape[-2])[..., :height, :width]
    residual = 1 - torch.where(to_move, found.agreement[0], found.unmoved[0])
    residual = torch.where(comparable, residual.clamp(0, 1), plain)
    return Alignment(flow.masked_fill(~moved, 0), residual.masked_fill(away == 0, 0), moved)


def _varied(image: Tensor) -> Tensor:
    return image.amax() - image.amin() > 1
