"""Flows of neighbouring frames, made to agree where they differ by chance."""

from collections.abc import Sequence

import cv2
import numpy as np

from .geometry import Array, coordinates

__all__ = ["steadied"]

_CELL = 8
# Standard deviation of the weights along time, as a share of the radius.
_SPREAD = 0.6
# Flows that differ from the centre's by more than about this, in pixels, hardly count.
_ALIKE_PX = 0.5
# Affine parts that differ by more than this, in the mean over the frame, are other movements.
_JITTER_PX = 0.2


def steadied(flows: Sequence[Array], centre: int) -> Array:
    """Return one frame's flow, steadied by those of the frames around it.

    Each flow is an affine map, what the whole frame does together, and a local rest. Both are averaged along time; the
    weights fall with the distance in time and with the difference from the frame's own. For the affine part they fall
    steeply beyond the jitter of an estimate, so that gate weave and camera shake, which do differ from frame to frame,
    stay the frame's own.

    Args:
        flows: of consecutive frames of one shot, each float32 of shape (H, W, 2), in pixels.
        centre: the index of the frame that is wanted.

    Returns:
        The flow, same shape; with one flow alone, that flow.
    """
    if len(flows) == 1:
        return flows[0]
    parts = [_parts(flow) for flow in flows]
    spread = _SPREAD * max(centre, len(flows) - 1 - centre)
    total = np.zeros_like(parts[centre][0])
    straight = np.zeros_like(total)
    local_weights = np.zeros((*total.shape[:2], 1), np.float32)
    straight_weights = 0.0
    for index, (affine, local) in enumerate(parts):
        near = float(np.exp(-0.5 * ((index - centre) / spread) ** 2))
        away = local - parts[centre][1]
        weight = np.float32(near) / (1 + (away * away).sum(axis=-1, keepdims=True) / np.float32(_ALIKE_PX**2))
        total += weight * away
        local_weights += weight
        shifted = affine - parts[centre][0]
        share = near / (1 + (float((shifted * shifted).sum(axis=-1).mean()) / _JITTER_PX**2) ** 2)
        straight += np.float32(share) * shifted
        straight_weights += share
    height, width = flows[centre].shape[:2]
    change = total / local_weights + straight / np.float32(straight_weights)
    return flows[centre] + cv2.resize(change, (width, height), interpolation=cv2.INTER_LINEAR)


def _parts(flow: Array) -> tuple[Array, Array]:
    """Return the affine map nearest to a flow and what is left of the flow, one value each for each cell."""
    height, width = flow.shape[:2]
    size = (max(1, width // _CELL), max(1, height // _CELL))
    small = np.asarray(cv2.resize(flow, size, interpolation=cv2.INTER_AREA), np.float32)
    at = coordinates(*small.shape[:2]).reshape(-1, 2)
    terms = np.column_stack([np.ones(len(at), np.float32), at])
    coefficients, *_ = np.linalg.lstsq(terms, small.reshape(-1, 2), rcond=None)
    affine: Array = (terms @ coefficients).reshape(small.shape).astype(np.float32)
    return affine, small - affine
