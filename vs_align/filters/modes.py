"""From a mode's name to the clip that it gives."""

from dataclasses import dataclass

import numpy as np
import vapoursynth as vs
from numpy.typing import NDArray

from ..enums import Mode
from ..matching.baselines import pad, stretch
from ..matching.window import Match, Window, choose, confidence
from ..similarity.measure import Delivered, Measure
from ..similarity.requests import Steps
from .evaluate import run
from .found import Found, Picker, Plan
from .row_modes import Chooser, LagPath, row_mode
from .scores import Candidates, duration_of, score_clip, with_window
from .walk import Walk
from .whole_modes import FittedMap, Keep, WholeMap, WholePath

__all__ = ["WHOLE", "WITHOUT_SCORES", "ModeOptions", "known", "mapped", "searched"]

WITHOUT_SCORES = (Mode.PAD, Mode.STRETCH)
"""Modes that compare nothing."""

WHOLE = (Mode.DTW, Mode.OFFSET, Mode.LINEAR)
"""Modes that can do without a window."""

type Frames = NDArray[np.int64]
type Floats = NDArray[np.float64]

# Rows of scores that stay cached for frames asked for together.
_ROWS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeOptions:
    """Which mode, and how it is run; see `vs_align.temporal`. ``lag`` is 0 where a mode has none.

    ``penalty`` is None where the rows say how much it is. ``keep`` is given the path of the whole clip, where that is
    what is looked for.
    """

    mode: Mode
    lag: int
    penalty: float | None
    keep: Keep | None = None


def searched(
    base: vs.VideoNode, measure: Measure, options: ModeOptions, plan: Plan, picked: vs.VideoNode
) -> vs.VideoNode:
    """Return the output clip of a mode that compares frames.

    Args:
        base: a clip of its format, size, length and frame rate.
        measure: compares.
        options: the mode.
        plan: what was asked for.
        picked: the clip that the output frames are copied from.
    """
    candidates = Candidates(rates=plan.rates, tr=plan.tr, clip_length=plan.clip_length)
    measure.told(lambda n: candidates.window(n).candidates)
    if options.mode is Mode.MATCH:
        return _matched(base, measure, candidates, plan, Picker(plan, measure.label, picked))
    rows = score_clip(measure, candidates, _ROWS)
    picker = Picker(plan, f"{measure.label}, {options.mode.value}", picked)
    return row_mode(base, rows, candidates, _chooser(rows, candidates, options), picker)


def _chooser(rows: vs.VideoNode, candidates: Candidates, options: ModeOptions) -> Chooser:
    mode, length, walk = options.mode, rows.num_frames, Walk(candidates=candidates, penalty=options.penalty)
    if mode is Mode.DTW and candidates.tr is not None:
        return LagPath(rows, walk, options.lag)
    what = f"vs_align.temporal, mode={mode.value!r}"
    if mode is Mode.DTW:
        return WholeMap(rows, lambda: WholePath(walk, length, options.keep), what)
    return WholeMap(rows, lambda: FittedMap(candidates, length, mode), what)


def _matched(base: vs.VideoNode, measure: Measure, candidates: Candidates, plan: Plan, picker: Picker) -> vs.VideoNode:
    """Return the clip of ``mode="match"``: one callback a frame, and candidates that cannot win are left out."""

    def start(n: int, delivered: Delivered) -> vs.VideoNode:
        return run(n, steps(n, delivered), picker.deliver, base)

    def steps(n: int, delivered: Delivered) -> Steps[Found]:
        window = candidates.window(n)
        duration = {} if delivered.ref is None else duration_of(delivered.ref)
        if not len(window):
            return Found(Match.stand_in(window, plan.clip_length), window, None, duration)
        numbers = window.candidates
        scores = yield from measure.scores(n, numbers, window.centre, delivered, plan.debug)
        best = choose(numbers, scores.values, window.centre)
        if best is None:
            return Found(Match.stand_in(window, plan.clip_length), window, scores, duration)
        frame, score = int(numbers[best]), float(scores.values[best])
        clear = confidence(scores.contrast, best, scores.floor)
        return Found(Match(frame, frame - window.centre, score, clear), window, scores, duration)

    return with_window(base, measure, candidates, start)


def mapped(base: vs.VideoNode, ref: vs.VideoNode, mode: Mode, plan: Plan, picked: vs.VideoNode) -> vs.VideoNode:
    """Return the output clip of a mode that compares nothing.

    Args:
        base: a clip of its format, size, length and frame rate.
        ref: the clip that is followed.
        mode: ``Mode.PAD`` or ``Mode.STRETCH``.
        plan: what was asked for.
        picked: the clip that the output frames are copied from.
    """
    length, rates = plan.clip_length, plan.rates
    frames = pad(ref.num_frames, length, rates.ratio) if mode is Mode.PAD else stretch(ref.num_frames, length)
    unknown = np.full(ref.num_frames, np.inf)
    return known(base, ref, (frames, unknown, np.zeros_like(unknown)), plan, Picker(plan, mode.value, picked))


def known(
    base: vs.VideoNode, ref: vs.VideoNode, found: tuple[Frames, Floats, Floats], plan: Plan, picker: Picker
) -> vs.VideoNode:
    """Return the output clip where the frame map is known already.

    Args:
        base: a clip of its format, size, length and frame rate.
        ref: the clip that is followed.
        found: clip frame, score and confidence of each ref frame.
        plan: what was asked for.
        picker: makes of frame numbers frames.
    """
    frames, score, sure = found
    length, rates = plan.clip_length, plan.rates

    def evaluate(n: int, f: vs.VideoFrame) -> vs.VideoNode:
        frame, centre = int(frames[n]), rates.centre(n)
        match = Match(frame, frame - centre, float(score[n]), float(sure[n]))
        return picker.deliver(n, Found(match, Window(centre, 0, length - 1), None, duration_of(f)))

    return base.std.FrameEval(evaluate, prop_src=ref)
