"""Passages of two clips as predictors of an offset see them."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import vapoursynth as vs
from numpy.typing import NDArray

from ..frames import plane
from ..matching.offsets import LIGHT_SHAPE, REACH, Sight
from ..similarity.measure import Delivered, Measure
from .reading import in_order

__all__ = ["LIGHT_SIZE", "Span", "read_passage", "windowed"]

type Floats = NDArray[np.float64]

_CELL = 8
LIGHT_SIZE = (LIGHT_SHAPE[1] * _CELL, LIGHT_SHAPE[0] * _CELL)
"""Width and height of the pictures that light is read from."""


class Span(NamedTuple):
    """Where a passage begins in ref and in clip, and how many frames it has."""

    ref: int
    clip: int
    length: int


def read_passage(
    measure: Measure,
    lights: tuple[vs.VideoNode, vs.VideoNode],
    span: Span,
    step: Callable[[], object] | None = None,
) -> Sight:
    """Compare all frames of a passage of clip with all of one of ref.

    Args:
        measure: of both clips.
        lights: clip and ref as GRAY8 of `LIGHT_SIZE`.
        span: the passage.
        step: is called after each row.
    """
    first, begin, length = span
    distances = np.empty((length, length))
    candidates = np.arange(begin, begin + length, dtype=np.int64)
    for row in range(length):
        distances[row] = _row(measure, first + row, candidates)
        if step is not None:
            step()
    clip, ref = lights
    return Sight(distances, _light(ref, first, length), _light(clip, begin, length))


def windowed(around: int, length: int, n: int) -> NDArray[np.int64]:
    """Return the clip frames that a ref frame may be, for measures that want to know (`Measure.told`).

    Args:
        around: the rough offset.
        length: of clip.
        n: ref's frame.
    """
    middle = min(max(0, n + around), length - 1)
    return np.arange(max(0, middle - REACH), min(length, middle + REACH + 1), dtype=np.int64)


def _row(measure: Measure, n: int, candidates: NDArray[np.int64]) -> Floats:
    """Return the distances of one ref frame; this is no callback, frames may be waited for."""
    steps = measure.scores(n, candidates, int(candidates[len(candidates) // 2]), Delivered(), True)
    try:
        wanted = next(steps)
        while True:
            futures = [request.clip.get_frame_async(request.frame) for request in wanted]
            wanted = steps.send([future.result() for future in futures])
    except StopIteration as done:
        values: Floats = done.value.values
        return values


def _light(clip: vs.VideoNode, first: int, length: int) -> Floats:
    """Return the mean luma of the cells of some frames, shape (length, rows, columns)."""
    rows, columns = LIGHT_SHAPE
    found = np.empty((length, rows, columns))
    for n, frame in in_order(clip, range(first, first + length)):
        picture = plane(frame, 0).astype(np.float64)
        found[n - first] = picture.reshape(rows, _CELL, columns, _CELL).mean((1, 3))
    return found
