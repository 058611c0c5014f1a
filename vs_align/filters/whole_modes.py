"""The modes that look at all of clip and ref before the first frame: an offset, a line, a path without a band."""

import logging
import math
import time
from collections.abc import Callable
from typing import Protocol

import numpy as np
import vapoursynth as vs
from numpy.typing import NDArray

from ..enums import Mode
from ..matching.fits import OffsetFit, linear_fit, offset_fit
from ..matching.window import choose, confidence
from ..similarity.requests import Request, Steps, requests
from .evaluate import run
from .scores import Candidates, ScoreRow, read_scores
from .walk import Walk, costs_of

__all__ = ["Collector", "FittedMap", "Keep", "WholeMap", "WholePath"]

type Frames = NDArray[np.int64]
type Floats = NDArray[np.float64]

type Keep = Callable[[Frames, Floats, Floats], None]
"""Is given frame, score and confidence of each ref frame."""

# Rows asked for at once: enough to keep the threads busy, few enough to bound what is held.
_BATCH = 32
# A match in a static scene says little of an offset, which is better than nothing.
_LEAST_WEIGHT = 1e-6
_NOTE_EACH_S = 5.0

_log = logging.getLogger("vs_align")


class Collector(Protocol):
    """What makes a frame map of all rows of scores."""

    def take(self, n: int, row: ScoreRow) -> None:
        """Take in the row of ref's frame ``n``; rows come in order."""
        ...

    def frames(self) -> Frames:
        """Return the clip frame of each ref frame, shape (N,)."""
        ...


class WholeMap:
    """A frame map of the whole clip, made when its first frame is asked for, and kept.

    Args:
        rows: the clip of scores.
        collector: makes an empty collector.
        what: names the work in notes.
    """

    ahead = 0

    def __init__(self, rows: vs.VideoNode, collector: Callable[[], Collector], what: str) -> None:
        self._result = _Result()
        # A clip of one frame, so that the frame server does the work once, whoever waits for it.
        self._work = _work(rows, collector, self._result, what)

    def frame(self, n: int, arrived: int, row: ScoreRow) -> Steps[tuple[int, ScoreRow]]:
        """See `Chooser.frame`."""
        if self._result.frames is None:
            yield [Request(self._work, 0)]
        assert self._result.frames is not None
        return int(self._result.frames[n]), row


class _Result:
    """The frame map, None until it is made. On its own, because a node and what holds it would keep each other."""

    frames: Frames | None = None


def _work(rows: vs.VideoNode, collector: Callable[[], Collector], result: _Result, what: str) -> vs.VideoNode:
    one = rows.std.BlankClip(width=1, height=1, length=1, keep=True)

    def collected() -> Steps[Frames]:
        collecting, note = collector(), _Progress(what, rows.num_frames)
        for first in range(0, rows.num_frames, _BATCH):
            wanted = range(first, min(first + _BATCH, rows.num_frames))
            arrived = yield requests(rows, wanted)
            for n, frame in zip(wanted, arrived, strict=True):
                collecting.take(n, read_scores(frame))
            note.reached(wanted.stop)
        return collecting.frames()

    def deliver(_: int, frames: Frames) -> vs.VideoNode:
        result.frames = frames
        return one

    return one.std.FrameEval(lambda n: run(n, collected(), deliver, one))


class _Progress:
    """Notes in the log, where the work takes long.

    Args:
        what: what is being done.
        frames: how many there are.
    """

    def __init__(self, what: str, frames: int) -> None:
        self._what, self._frames = what, frames
        self._began = self._noted = time.monotonic()

    def reached(self, frames: int) -> None:
        """Say how far it is, now and then."""
        now = time.monotonic()
        if now - self._noted < _NOTE_EACH_S:
            return
        self._noted = now
        left = (now - self._began) / frames * (self._frames - frames)
        share = 100 * frames // self._frames
        _log.warning("%s: %d of %d frames of ref (%d %%), %.0f s left", self._what, frames, self._frames, share, left)


class FittedMap:
    """One offset, or one line, that most matches of the windows agree on.

    Args:
        candidates: where the pixels of a row are.
        ref_length: frames in ref.
        mode: ``Mode.OFFSET`` or ``Mode.LINEAR``.
    """

    def __init__(self, candidates: Candidates, ref_length: int, mode: Mode) -> None:
        self._candidates, self._mode = candidates, mode
        self._matches = np.full(ref_length, -1, np.int64)
        self._weights = np.zeros(ref_length)

    def take(self, n: int, row: ScoreRow) -> None:
        """See `Collector.take`."""
        window, scores = self._candidates.window(n), row.scores(self._candidates.cells(n))
        best = choose(window.candidates, scores.values, window.centre) if len(window) else None
        if best is not None:
            self._matches[n] = window.first + best
            self._weights[n] = _LEAST_WEIGHT + confidence(scores.contrast, best, scores.floor)

    def frames(self) -> Frames:
        """See `Collector.frames`; where nothing can be compared, clip is taken to be in step."""
        rates, n = self._candidates.rates, np.arange(len(self._matches))
        matched = int((self._matches >= 0).sum())
        if self._mode is Mode.LINEAR and matched > 1:
            line = linear_fit(self._matches, self._weights)
            found = np.floor(line.rate * n + line.offset + 0.5).astype(np.int64)
            _log.info("linear: rate %g, offset %+.2f clip frames, %.0f %%", line.rate, line.offset, 100 * line.share)
        else:
            fit = offset_fit(self._matches, self._weights, rate=rates.ratio) if matched else OffsetFit(0, 0.0, 0.0)
            found = n * rates.ratio.numerator // rates.ratio.denominator + fit.offset
            _log.info("offset: %+d clip frames, %.0f %%", fit.offset, 100 * fit.share)
        return np.clip(found, 0, self._candidates.clip_length - 1)


class WholePath:
    """The best path through all rows at once.

    Args:
        walk: how a path goes through rows.
        ref_length: frames in ref.
        keep: is given what was found. None: nobody needs scores.
    """

    def __init__(self, walk: Walk, ref_length: int, keep: Keep | None = None) -> None:
        self._walk, self._keep = walk, keep
        shape = ref_length, walk.candidates.width
        self._rows = np.empty(shape, np.float32)
        self._lowest = np.full(ref_length, math.inf)
        # As they were compared, and what confidence is judged by.
        self._values, self._contrast = (np.empty(shape if keep else (0, 0), np.float32) for _ in range(2))
        self._floor = 0.0

    def take(self, n: int, row: ScoreRow) -> None:
        """See `Collector.take`."""
        costs = costs_of(row.values)
        self._rows[n], self._lowest[n] = costs.row, costs.lowest
        if self._keep is not None:
            self._values[n], self._contrast[n], self._floor = row.values, row.contrast, row.floor

    def frames(self) -> Frames:
        """See `Collector.frames`."""
        found = self._walk.path(0, self._rows, self._lowest)
        if self._keep is not None:
            score = self._values[np.arange(len(found)), found].astype(np.float64)
            sure = [
                confidence(row.astype(np.float64), int(best), self._floor) if np.isfinite(s) else 0.0
                for row, best, s in zip(self._contrast, found, score, strict=True)
            ]
            self._keep(found, score, np.array(sure))
        return found
