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


def steadied(flows: Sequence[Array], centre: int) -> Array:
    """Return one frame's flow, steadied by those of the frames around it.

    What the whole frame does together, an affine map, is the frame's own, for gate weave and camera shake differ from
    frame to frame and are estimated well. What is left, the local part, is averaged along time: weights fall with the
    distance in time and with the difference from the frame's own.

    Args:
        flows: of consecutive frames of one shot, each float32 of shape (H, W, 2), in pixels.
        centre: the index of the frame that is wanted.

    Returns:
        The flow, same shape; with one flow alone, that flow.
    """
    if len(flows) == 1:
        return flows[0]
    local = [_local(flow) for flow in flows]
    own = local[centre]
    spread = _SPREAD * max(centre, len(flows) - 1 - centre)
    total = np.zeros_like(own)
    weights = np.zeros((*own.shape[:2], 1), np.float32)
    for index, part in enumerate(local):
        away = part - own
        differs = (away * away).sum(axis=-1, keepdims=True)
        weight = np.float32(np.exp(-0.5 * ((index - centre) / spread) ** 2)) / (1 + differs / np.float32(_ALIKE_PX**2))
        total += weight * away
        weights += weight
    height, width = flows[centre].shape[:2]
    change = cv2.resize(total / weights, (width, height), interpolation=cv2.INTER_LINEAR)
    return flows[centre] + change


def _local(flow: Array) -> Array:
    """Return a flow less the affine map nearest to it, one value for each cell."""
    height, width = flow.shape[:2]
    size = (max(1, width // _CELL), max(1, height // _CELL))
    small = np.asarray(cv2.resize(flow, size, interpolation=cv2.INTER_AREA), np.float32)
    at = coordinates(*small.shape[:2]).reshape(-1, 2)
    terms = np.column_stack([np.ones(len(at), np.float32), at])
    affine, *_ = np.linalg.lstsq(terms, small.reshape(-1, 2), rcond=None)
    local: Array = small - (terms @ affine).reshape(small.shape)
    return local
