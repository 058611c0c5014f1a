"""Reading clips from their first frame to their last, with notes on the progress."""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future

import vapoursynth as vs

__all__ = ["Progress", "Report", "in_order"]

type Report = Callable[[str, int, int], object]
"""Is told what is being done, how many steps are, and how many there are in all."""

_LOG = logging.getLogger("vs_align")
_SECONDS_BETWEEN_NOTES = 5.0
_AHEAD = 16


class Progress:
    """Says how far a long work is.

    Args:
        what: what is being done.
        total: how many steps that takes.
        report: is told of each step. None: notes to the logger "vs_align", none in the first seconds.
    """

    def __init__(self, what: str, total: int, report: Report | None = None) -> None:
        self._what, self._total, self._done = what, total, 0
        self._report = report
        self._last = time.monotonic()

    def step(self) -> None:
        """Take note of one more step."""
        self._done += 1
        if self._report is not None:
            self._report(self._what, self._done, self._total)
            return
        now = time.monotonic()
        if now - self._last >= _SECONDS_BETWEEN_NOTES:
            self._last = now
            _LOG.info("%s: %d of %d (%.0f %%)", self._what, self._done, self._total, 100 * self._done / self._total)


def in_order(clip: vs.VideoNode, frames: Iterable[int], ahead: int = _AHEAD) -> Iterator[tuple[int, vs.VideoFrame]]:
    """Deliver frames in the order given; the next ones are being made meanwhile.

    Args:
        clip: the clip.
        frames: frame numbers.
        ahead: how many are under way at once.
    """
    waiting: deque[tuple[int, Future[vs.VideoFrame]]] = deque()
    numbers = iter(frames)
    try:
        while True:
            while len(waiting) < ahead and (n := next(numbers, None)) is not None:
                waiting.append((n, clip.get_frame_async(n)))
            if not waiting:
                return
            n, future = waiting.popleft()
            yield n, future.result()
    finally:
        # Frames under way are waited for, so that none is left behind when the reader is interrupted.
        for _, future in waiting:
            future.exception()
