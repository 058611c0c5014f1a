"""A clip of scores: the distance of each frame of ref to each of its candidates, as pixels."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import vapoursynth as vs
from numpy.typing import NDArray

from ..frames import keep_cached, plane
from ..matching.paths import Band
from ..matching.rates import RateMap
from ..matching.window import Window
from ..similarity.measure import Delivered, Measure, Scores
from ..similarity.requests import Steps
from .evaluate import follow, run

__all__ = ["Candidates", "ScoreRow", "duration_of", "read_scores", "score_clip", "with_window"]

_CACHE_BYTES = 1 << 28
_CONTRAST, _FLOOR = "AlignContrast", "AlignFloor"
_DURATION = ("_DurationNum", "_DurationDen")


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """Which clip frames each ref frame is compared with, and where they lie in a row of scores.

    Attributes:
        rates: the map from ref's frames to clip's.
        tr: frames on each side of the centre; None: every frame of clip.
        clip_length: frames in clip.
    """

    rates: RateMap
    tr: int | None
    clip_length: int

    @property
    def width(self) -> int:
        """Pixels in a row."""
        return self.clip_length if self.tr is None else 2 * self.tr + 1

    def start(self, n: int) -> int:
        """Return the clip frame of the first pixel of row ``n``; it may lie before clip's first frame."""
        return 0 if self.tr is None else self.rates.centre(n) - self.tr

    def window(self, n: int) -> Window:
        """Return the candidates of ref's frame ``n``: those of the row that clip has."""
        if self.tr is None:
            return Window(self.rates.centre(n), 0, self.clip_length - 1)
        return Window.around(n, self.rates, self.tr, self.clip_length)

    def cells(self, n: int) -> slice:
        """Return where the candidates lie in row ``n``; the pixels on both sides stand for no frame."""
        window, start = self.window(n), self.start(n)
        return slice(window.first - start, window.first - start + len(window))

    def band(self, first: int, stop: int) -> Band:
        """Return the rows of ref frames ``first`` to ``stop - 1`` as `matching.dtw` wants to know of them."""
        start = np.array([self.start(n) for n in range(first, stop)], np.int64)
        return Band(start, self.width, self.clip_length)


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """One row of a clip of scores.

    Attributes:
        values: the distances, shape (width,); infinite where there is no candidate, or no finite distance.
        contrast: the distances by which the confidence is judged, shape (width,).
        floor: a difference in ``contrast`` that says nothing.
        duration: ``_DurationNum`` and ``_DurationDen`` of ref's frame, where it has them.
    """

    values: NDArray[np.float64]
    contrast: NDArray[np.float64]
    floor: float
    duration: dict[str, Any]

    def scores(self, cells: slice) -> Scores:
        """Return what it says of the candidates alone."""
        return Scores(self.values[cells], self.contrast[cells], self.floor)


def score_clip(measure: Measure, candidates: Candidates, cached: int) -> vs.VideoNode:
    """Return a GRAYS clip as long as ref, one row high, with a pixel for each place of a row.

    Pixel k of frame n is the distance between ref's frame n and clip's frame ``candidates.start(n) + k``, exact but
    for the rounding to single precision, and infinite where clip has no such frame. Nothing is pruned. `read_scores`
    reads a frame with the properties that say the rest.

    Args:
        measure: compares; its stores must hold the candidates of one ref frame.
        candidates: which frames are compared.
        cached: rows that are kept.
    """
    ref = measure.ref
    base = ref.std.BlankClip(candidates.width, 1, vs.GRAYS, ref.num_frames, keep=True)

    def start(n: int, delivered: Delivered) -> vs.VideoNode:
        duration = {} if delivered.ref is None else duration_of(delivered.ref)
        return run(n, _row(measure, candidates, n, delivered, duration), deliver, base)

    def deliver(n: int, row: ScoreRow) -> vs.VideoNode:
        return base.std.ModifyFrame(base, lambda n, f: _written(f, row))

    rows = with_window(base, measure, candidates, start)
    keep_cached(rows, cached, _CACHE_BYTES)
    return rows


def read_scores(frame: vs.VideoFrame) -> ScoreRow:
    """Read a frame of a clip of scores."""
    props: dict[str, Any] = dict(frame.props)
    values = plane(frame, 0)[0].astype(np.float64)
    contrast = np.frombuffer(props[_CONTRAST], np.float64) if _CONTRAST in props else values
    return ScoreRow(values, contrast, float(props[_FLOOR]), duration_of(frame))


def with_window(
    base: vs.VideoNode,
    measure: Measure,
    candidates: Candidates,
    start: Callable[[int, Delivered], vs.VideoNode],
) -> vs.VideoNode:
    """Return a clip whose frame n is made from ref's frame n and the candidates.

    Args:
        base: a clip of its format, size, length and frame rate.
        measure: its clips are read.
        candidates: the candidates; in order, only those that are new to them are read.
        start: returns the node whose frame n is the answer, from n and what is at hand.
    """
    tr, rates, length = candidates.tr, candidates.rates, candidates.clip_length
    if tr is None:
        return base.std.FrameEval(lambda n, f: start(n, Delivered(f)), prop_src=measure.ref)
    # In order, these are the only clip frames that a window does not share with the one before it.
    reach, ahead = tr + measure.reach, measure.ahead
    fresh = [
        follow(measure.clip, rates, reach - back, base.num_frames, ahead)
        for back in range(min(rates.most_new_frames, tr + 1))
    ]
    later = ahead + measure.reach
    coming = [follow(measure.ref, RateMap(), later, base.num_frames)] if later else []

    def evaluate(n: int, f: list[vs.VideoFrame]) -> vs.VideoNode:
        newest = rates.centre(n + ahead) + reach
        clip = {newest - back: f[1 + back] for back in range(len(fresh)) if newest - back < length}
        refs = {n + later: f[-1]} if coming and n + later < measure.ref.num_frames else {}
        return start(n, Delivered(f[0], clip, refs))

    return base.std.FrameEval(evaluate, prop_src=[measure.ref, *fresh, *coming])


def duration_of(frame: vs.VideoFrame) -> dict[str, Any]:
    """Return the properties of a frame that say how long it is shown."""
    return {name: frame.props[name] for name in _DURATION if name in frame.props}


def _row(
    measure: Measure, candidates: Candidates, n: int, delivered: Delivered, duration: dict[str, Any]
) -> Steps[ScoreRow]:
    window, cells = candidates.window(n), candidates.cells(n)
    values = np.full(candidates.width, np.inf)
    if not len(window):
        return ScoreRow(values, values, 0.0, duration)
    scores = yield from measure.scores(n, window.candidates, window.centre, delivered, True)
    values[cells] = scores.values
    contrast = values
    if scores.contrast is not scores.values:
        contrast = np.full(candidates.width, np.inf)
        contrast[cells] = scores.contrast
    return ScoreRow(values, contrast, scores.floor, duration)


def _written(frame: vs.VideoFrame, row: ScoreRow) -> vs.VideoFrame:
    written = frame.copy()
    with np.errstate(over="ignore"):
        np.copyto(np.asarray(written[0])[0], row.values, casting="same_kind")
    written.props[_FLOOR] = row.floor
    if row.contrast is not row.values:
        written.props[_CONTRAST] = row.contrast.tobytes()
    for name in _DURATION:
        written.props.pop(name, None)
    written.props.update(row.duration)
    return written
