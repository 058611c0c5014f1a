"""Running the work on one frame inside the frame server."""

from collections.abc import Callable
from typing import cast

import vapoursynth as vs

from ..matching.rates import RateMap
from ..similarity.requests import Request, Steps
from ..similarity.shifted import Shifted

__all__ = ["follow", "run"]


def run[T](
    n: int,
    steps: Steps[T],
    deliver: Callable[[int, T], vs.VideoNode],
    base: vs.VideoNode,
    arrived: list[vs.VideoFrame] | None = None,
) -> vs.VideoNode:
    """Advance the work on frame ``n`` until it needs frames or is done.

    Called from a `FrameEval` callback. Where frames are needed it returns a temporary node that asks for exactly those
    and goes on when they are there; that node has a lock of its own, so other frames are not held up.

    Args:
        n: the frame being made.
        steps: the work; it yields requests and returns its result.
        deliver: makes the node whose frame ``n`` is the answer, from ``n`` and the result.
        base: a clip of the format, size and length of the output.
        arrived: the frames last asked for; None to begin.
    """
    try:
        wanted = next(steps) if arrived is None else steps.send(arrived)
    except StopIteration as done:
        return deliver(n, cast(T, done.value))

    def resume(n: int, f: vs.VideoFrame | list[vs.VideoFrame] | None = None) -> vs.VideoNode:
        frames = f if isinstance(f, list) else [] if f is None else [f]
        return run(n, steps, deliver, base, frames)

    return base.std.FrameEval(resume, prop_src=[_single(request) for request in wanted] or None)


def _single(request: Request) -> vs.VideoNode:
    # A clip of one frame answers a request for any later frame with that one.
    return request.clip.std.Trim(first=request.frame, length=1)


def follow(clip: vs.VideoNode, rates: RateMap, ahead: int, length: int, later: int = 0) -> vs.VideoNode:
    """Return a clip whose frame n is clip's frame ``rates.centre(n + later) + ahead``, the last where that is past it.

    Args:
        clip: the clip to read.
        rates: the map from n to the clip's frames.
        ahead: frames ahead of the centre.
        length: frames in the result.
        later: which centre: that of so many frames after n.
    """
    last = clip.num_frames - 1
    if rates.ratio == 1:
        return clip[min(later + ahead, last) :]
    shifted = Shifted(clip)
    base = clip.std.BlankClip(length=length, keep=True)

    def at_centre(n: int) -> vs.VideoNode:
        return shifted.at(n, min(rates.centre(n + later) + ahead, last))

    return base.std.FrameEval(at_centre, clip_src=clip)
