"""The modes that read rows of scores, and the one of them that needs only those around: a path with a fixed lag."""

from collections.abc import Iterable
from typing import NamedTuple, Protocol

import numpy as np
import vapoursynth as vs
from numpy.typing import NDArray

from ..matching.rates import RateMap
from ..similarity.requests import Steps, batches, requests
from ..similarity.store import FeatureStore
from .evaluate import follow, run
from .found import Found, Picker, match_at
from .scores import Candidates, ScoreRow, read_scores
from .walk import Costs, Walk, costs_of

__all__ = ["Chooser", "LagPath", "row_mode"]

type Floats = NDArray[np.float64]

# Rows beyond those of one answer that stay in the store, for threads that are a little ahead or behind.
_SPARE = 16


class Chooser(Protocol):
    """How a mode comes to the clip frame of a ref frame."""

    ahead: int
    """By how many ref frames the row that is new to an answer is ahead of it."""

    def frame(self, n: int, arrived: int, row: ScoreRow) -> Steps[tuple[int, ScoreRow]]:
        """Return the clip frame of ref's frame ``n`` and its row of scores, while row ``arrived`` is at hand."""
        ...


def row_mode(
    base: vs.VideoNode, rows: vs.VideoNode, candidates: Candidates, chooser: Chooser, picker: Picker
) -> vs.VideoNode:
    """Return the output clip.

    Args:
        base: a clip of its format, size, length and frame rate.
        rows: the clip of scores.
        candidates: where its pixels are.
        chooser: makes of rows frame numbers.
        picker: makes of frame numbers frames.
    """

    def evaluate(n: int, f: vs.VideoFrame) -> vs.VideoNode:
        return run(n, answer(n, min(n + chooser.ahead, rows.num_frames - 1), read_scores(f)), picker.deliver, base)

    def answer(n: int, arrived: int, row: ScoreRow) -> Steps[Found]:
        frame, own = yield from chooser.frame(n, arrived, row)
        window, scores = candidates.window(n), own.scores(candidates.cells(n))
        return Found(match_at(window, scores, frame), window, scores if len(window) else None, own.duration)

    return base.std.FrameEval(evaluate, prop_src=follow(rows, RateMap(), chooser.ahead, base.num_frames))


class LagPath:
    """The best path over the rows within a lag of each ref frame.

    Two answers come from two paths. Where rows say little these may part, and the later one lie behind the earlier;
    then the earlier holds. Windows bound how far back that can reach, so that it is looked up, not remembered.

    Args:
        rows: the clip of scores.
        walk: how a path goes through them.
        lag: rows on each side that decide.
    """

    def __init__(self, rows: vs.VideoNode, walk: Walk, lag: int) -> None:
        self._rows, self._walk, self._lag = rows, walk, lag
        self._length = rows.num_frames
        self.ahead = min(lag, self._length - 1)
        reach = min(self._length, int(2 * (walk.candidates.tr or 0) / walk.candidates.rates.ratio) + 1)
        self._held: FeatureStore[_Held] = FeatureStore(2 * lag + 1 + reach + _SPARE)
        self._found: FeatureStore[int] = FeatureStore(reach + _SPARE)
        self._latest: tuple[tuple[int, int], list[int]] = (0, 0), []

    def frame(self, n: int, arrived: int, row: ScoreRow) -> Steps[tuple[int, ScoreRow]]:
        """See `Chooser.frame`."""
        self._held.keep(arrived, _Held(row, costs_of(row.values)))
        own = yield from self._gathered([n])
        chosen = (yield from self._on_paths([n]))[0]
        earlier = yield from self._on_paths(list(self._may_be_later(n, chosen)))
        return max([chosen, *earlier]), own[n].row

    def _may_be_later(self, n: int, chosen: int) -> range:
        """Return the ref frames before ``n`` whose windows reach beyond the chosen frame."""
        candidates, first = self._walk.candidates, n
        while first > 0 and candidates.window(first - 1).last > chosen:
            first -= 1
        return range(first, n)

    def _on_paths(self, wanted: list[int]) -> Steps[list[int]]:
        """Return for consecutive ref frames the clip frame on the path around each."""
        known = self._found.held(wanted)
        missing = [n for n in wanted if n not in known]
        if missing:
            first, stop = max(0, missing[0] - self._lag), min(self._length, missing[-1] + self._lag + 1)
            held = yield from self._gathered(range(first, stop))
            rows = np.stack([held[n].costs.row for n in range(first, stop)])
            lowest = np.array([held[n].costs.lowest for n in range(first, stop)])
            for n in missing:
                around = slice(max(0, n - self._lag) - first, min(self._length, n + self._lag + 1) - first)
                path = self._path(first + around.start, rows[around], lowest[around])
                known[n] = path[n - first - around.start]
                self._found.keep(n, known[n])
        return [known[n] for n in wanted]

    def _path(self, first: int, rows: Floats, lowest: Floats) -> list[int]:
        # Near the ends of a short clip many answers come from the same rows.
        ends, path = self._latest
        if ends != (first, first + len(rows)):
            path = self._walk.path(first, rows, lowest).tolist()
            self._latest = (first, first + len(rows)), path
        return path

    def _gathered(self, wanted: Iterable[int]) -> Steps[dict[int, "_Held"]]:
        wanted = list(wanted)
        held = self._held.held(wanted)
        for frames in batches(n for n in wanted if n not in held):
            arrived = yield requests(self._rows, frames)
            for n, frame in zip(frames, arrived, strict=True):
                row = read_scores(frame)
                held[n] = _Held(row, costs_of(row.values))
                self._held.keep(n, held[n])
        return held


class _Held(NamedTuple):
    """A row of scores and what a path pays for it."""

    row: ScoreRow
    costs: Costs
