"""The measure "embedding": a network says what a frame shows, and vectors are compared."""

import threading
from collections.abc import Callable, Sequence

import numpy as np
import vapoursynth as vs
from numpy.typing import NDArray

from ..measure import Delivered, Measure, Scores
from ..requests import Steps
from ..store import FeatureStore
from .blas import one_blas_thread
from .engine import Cut, Embedded, Pictures, half_squares
from .framing import IDENTITY, ROUGH, STEPS, Framing, neighbours
from .networks import Network

__all__ = ["Embedding"]

type Frames = NDArray[np.int64]

# A difference of distances that says nothing.
_FLOOR = 0.01
# Ref frames in a block, those of them that are asked which framing fits, and the blocks on each side that have a say.
_BLOCK, _ASKED, _SIDE = 16, (5, 10), 2
_AHEAD = _BLOCK * (1 + _SIDE) - 1 - (_BLOCK - 1 - _ASKED[-1])
_SPAN = _BLOCK * (1 + 2 * _SIDE)
# What a framing must be by: less than so much of the cost of the one before it, and of that of none at all.
_BETTER, _WORTH = 0.99, 0.9
# Ref frames and blocks of which costs and framings are kept.
_KNOWN = 512
# Of a window, so many frames at most are embedded once more for a ref frame of which less is seen.
_ANEW = 64
# Frames beyond those needed that stay in the stores, for threads that are a little ahead or behind.
_SPARE = 32


class Embedding(Measure):
    """Half the squared distance of embeddings, 0 to 2, of ref's frame in the framing that suits clip.

    Which framing that is, is settled for blocks of ref's frames. A few frames of each block are tried in many framings
    against their windows; the one in which they come nearest is the block's proposal. Of the proposals of the block and
    those around it, their median, and no framing at all, that one is taken in which the frames of all these blocks
    come nearest in sum. So it depends on the frame alone, whatever was asked for before.

    At ref's ends less is seen of what is around a frame, and the mean of that, which is taken off, is another. There
    the likeliest of clip's frames are embedded once more, each with as much around it as ref's frame has; not where
    the nearest has no more itself, as when both clips end at the same moment.

    Args:
        clip, ref: clips of one format and size.
        network: embeds frames.
        capacity: clip frames that one window has, and a few to spare.
    """

    def __init__(self, clip: vs.VideoNode, ref: vs.VideoNode, network: Network, capacity: int) -> None:
        self.label = network.label
        self.clip, self.ref = network.prepared(clip), network.prepared(ref)
        self.reach, self.ahead = network.reach, _AHEAD if network.framed else 0
        self._network, self._capacity = network, capacity
        self._window: Callable[[int], Frames] | None = None
        self._blocks = -(-ref.num_frames // _BLOCK)
        around = 2 * network.reach + 1 + _SPARE
        self._of_clip = Embedded(self.clip, network, around, capacity)
        self._of_ref = Embedded(self.ref, network, around + self.ahead, 1)
        self._costs: FeatureStore[dict[Framing, float]] = FeatureStore(_KNOWN)
        self._chosen: FeatureStore[Framing] = FeatureStore(_KNOWN)
        self._trying = [threading.Lock() for _ in _ASKED]

    def told(self, window: Callable[[int], Frames]) -> None:
        """See `Measure.told`."""
        self._window = window
        if not self._network.framed:
            return
        first = max(0, self.ref.num_frames // 2 - _SPAN // 2)
        last = min(self.ref.num_frames - 1, first + _SPAN)
        begin, end = window(first), window(last)
        span = int(end[-1] - begin[0]) + 1 if len(begin) and len(end) else 0
        capacity = max(self._capacity, min(span + _SPARE, self.clip.num_frames))
        self._of_clip = Embedded(self.clip, self._network, 2 * self.reach + 1 + _SPARE, capacity)

    def scores(self, n: int, candidates: Frames, centre: int, delivered: Delivered, every: bool) -> Steps[Scores]:
        """See `Measure.scores`; every candidate is compared."""
        self._of_clip.take(delivered.clip)
        self._of_ref.take({**delivered.later, **({} if delivered.ref is None else {n: delivered.ref})})
        # From here on in a node of its own, so that other frames go on beside it.
        yield []
        for frame in delivered.clip:
            self._of_clip.prepare(frame - self.reach)
        framing = yield from self._framing(n)
        pictures = yield from self._of_ref.pictures([n])
        target = self._of_ref.vectors(n, pictures, [framing])
        rows = yield from self._of_clip.rows(candidates)
        if target is None:
            values = np.full(len(candidates), np.inf)
        else:
            values = self._apart(rows, target)
            cut = self._of_ref.cut(n)
            if self._differs(cut, candidates, values):
                near = _nearest_frames(candidates, values)
                seen = yield from self._of_clip.rows_within(candidates[near], cut)
                anew = self._apart(seen, target)
                # Those that were not likely are none.
                values = np.maximum(values, anew[np.isfinite(anew)].max(initial=0.0))
                values[near] = anew
        return Scores(values, values, _FLOOR)

    def clear(self) -> None:
        """Give back what is held."""
        self._of_clip.clear()
        self._of_ref.clear()
        self._costs.clear()
        self._chosen.clear()

    def _differs(self, cut: Cut, candidates: Frames, values: NDArray[np.float64]) -> bool:
        """Say whether the nearest frame is seen with another number of frames around it than ref's frame."""
        if min(cut) == self.reach or not np.isfinite(values).any():
            return False
        return self._of_clip.cut(int(candidates[values.argmin()])) != cut

    @staticmethod
    def _apart(rows: NDArray[np.float32], target: NDArray[np.float32]) -> NDArray[np.float64]:
        with one_blas_thread():
            return np.asarray(half_squares(rows, target)[0])

    def _framing(self, n: int) -> Steps[Framing]:
        """Return the framing in which ref's frame ``n`` is compared."""
        if not self._network.framed or self._window is None:
            return IDENTITY
        block = n // _BLOCK
        known = self._chosen.held([block])
        if block in known:
            return known[block]
        blocks = range(max(0, block - _SIDE), min(self._blocks, block + _SIDE + 1))
        proposed = [IDENTITY]
        for one in blocks:
            proposed.append((yield from self._proposed(one)))
        # Between those of blocks that each are a little off.
        proposed.append(Framing(*np.median(np.array(proposed[1:]), 0).tolist()))
        costs = np.zeros(len(proposed))
        for one in blocks:
            for k, framing in enumerate(proposed):
                costs[k] += (yield from self._tried(one, [framing]))[0]
        best = int(costs.argmin())
        chosen = proposed[best] if costs[best] < _WORTH * costs[0] else IDENTITY
        self._chosen.keep(block, chosen)
        return chosen

    def _proposed(self, block: int) -> Steps[Framing]:
        """Return the framing that suits one block best: a rough one, then ever finer steps from it."""
        costs = yield from self._tried(block, ROUGH)
        best = int(np.argmin(costs))
        framing, cost = ROUGH[best], costs[best]
        for step in STEPS:
            near = neighbours(framing, step)
            costs = yield from self._tried(block, near)
            best = int(np.argmin(costs))
            if costs[best] < _BETTER * cost:
                framing, cost = near[best], costs[best]
        return framing

    def _tried(self, block: int, framings: Sequence[Framing]) -> Steps[list[float]]:
        """Return how far those of a block that are asked are from the nearest of their windows, in each framing.

        In products of other shapes the last bit of the same sum may differ. So what is tried together is what hangs on
        the block alone, always in the same turn, and a framing keeps the cost that it got first.
        """
        assert self._window is not None
        first = block * _BLOCK
        asked = [first + k for k in _ASKED if first + k < self.ref.num_frames]
        costs = self._costs.held(asked)
        if not all(framing in costs.get(n, ()) for n in asked for framing in framings):
            pictures = yield from self._of_ref.pictures(asked)
            rows = []
            for n in asked:
                rows.append((yield from self._rows_for(n)))
            costs = {}
            # Two threads do a frame each; one that comes later waits and finds it done.
            for wait in (False, True):
                for n, candidates, lock in zip(asked, rows, self._trying, strict=False):
                    if n not in costs and lock.acquire(blocking=wait):
                        try:
                            costs[n] = self._costs_of(n, pictures, candidates, framings)
                        finally:
                            lock.release()
        sums = np.zeros(len(framings))
        for n in asked:
            sums += [costs[n][framing] for framing in framings]
        return [float(cost) for cost in sums]

    def _rows_for(self, n: int) -> Steps[NDArray[np.float32]]:
        """Return the embeddings among which ref's frame ``n``, which is asked for a framing, looks for itself."""
        assert self._window is not None
        window = self._window(n)
        if self.ref.num_frames > 2 * self.reach or not len(window):
            return (yield from self._of_clip.rows(window))
        # A few frames alone: none of them has all around it that clip's have.
        middle = len(window) // 2
        near = window[max(0, middle - _ANEW // 2) : middle + _ANEW // 2]
        return (yield from self._of_clip.rows_within(near, self._of_ref.cut(n)))

    def _costs_of(
        self, n: int, pictures: Pictures, rows: NDArray[np.float32], framings: Sequence[Framing]
    ) -> dict[Framing, float]:
        """Return what is known of ref's frame ``n``, with some framings added. Call with the frame's lock held."""
        costs = self._costs.held([n]).get(n, {})
        if not all(framing in costs for framing in framings):
            costs = dict(zip(framings, self._nearest(n, pictures, rows, framings), strict=True)) | costs
            self._costs.keep(n, costs)
        return costs

    def _nearest(
        self, n: int, pictures: Pictures, rows: NDArray[np.float32], framings: Sequence[Framing]
    ) -> list[float]:
        """Return how far ref's frame ``n`` is from the nearest of some embeddings, in each framing."""
        vectors = self._of_ref.vectors(n, pictures, framings) if framings and len(rows) else None
        if vectors is None:
            return [0.0] * len(framings)
        with one_blas_thread():
            nearest = half_squares(rows, vectors).min(1)
        return [float(cost) if np.isfinite(cost) else 0.0 for cost in nearest]


def _nearest_frames(candidates: Frames, values: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return which candidates are the nearest, all of a small window, in order."""
    if len(candidates) <= _ANEW:
        return np.arange(len(candidates))
    return np.sort(np.argsort(values, kind="stable")[:_ANEW])
