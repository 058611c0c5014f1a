"""From the clip frame that was chosen to the frame that is shown: picking, properties, the debug page."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import vapoursynth as vs

from ..matching.rates import RateMap
from ..matching.window import Match, Window, confidence
from ..similarity.measure import Scores
from ..similarity.shifted import NOT_OF_THE_PICK, Shifted
from . import overlay

__all__ = ["Found", "Picker", "Plan", "match_at"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one call was asked for, checked.

    Attributes:
        clip_length: frames in clip.
        fallback, thresh: shown where the distance is not below it.
        tr: candidates on each side of the centre; None: all.
        rates: the map from ref's frames to clip's.
        debug: whether to draw the debug page.
        fps: ref's frame rate.
    """

    clip_length: int
    fallback: vs.VideoNode | None
    thresh: float
    tr: int | None
    rates: RateMap
    debug: bool
    fps: tuple[int, int]

    @property
    def candidates(self) -> int:
        """The most candidates that a ref frame can have."""
        return self.clip_length if self.tr is None else min(2 * self.tr + 1, self.clip_length)

    def clip_frames(self, ref_frames: int) -> int:
        """Return how many clip frames pass during some ref frames, rounded up."""
        return -int(-Fraction(ref_frames) * self.rates.ratio // 1)


@dataclass(frozen=True, slots=True)
class Found:
    """The answer for one ref frame and what the debug page shows of how it was found."""

    match: Match
    window: Window
    scores: Scores | None
    duration: dict[str, Any]


def match_at(window: Window, scores: Scores, frame: int) -> Match:
    """Return a choice that something else than the window made, with what the window says of it.

    Args:
        window: the candidates.
        scores: their distances.
        frame: the clip frame.
    """
    k = frame - window.first
    score = float(scores.values[k]) if 0 <= k < len(window) else np.inf
    clear = confidence(scores.contrast, k, scores.floor) if np.isfinite(score) else 0.0
    return Match(frame, frame - window.centre, score, clear)


class Picker:
    """Returns the chosen frame, or fallback's, with the properties that say what was found.

    Args:
        plan: what was asked for.
        label: what the debug page calls the method.
        picked: the clip that the output frames are copied from.
    """

    def __init__(self, plan: Plan, label: str, picked: vs.VideoNode) -> None:
        self._plan = plan
        self._label = label
        self._picked = Shifted(picked)
        self._fallback = None if plan.fallback is None else plan.fallback.std.RemoveFrameProps(NOT_OF_THE_PICK)

    def deliver(self, n: int, found: Found) -> vs.VideoNode:
        """Return a node whose frame ``n`` is the answer."""
        match, plan = found.match, self._plan
        falls_back = self._fallback is not None and not match.score < plan.thresh
        node = self._fallback if falls_back and self._fallback is not None else self._picked.at(n, match.frame)
        node = node.std.SetFrameProps(
            AlignFrame=match.frame,
            AlignOffset=match.offset,
            AlignScore=match.score,
            AlignConfidence=match.confidence,
            AlignFallback=int(falls_back),
            **found.duration,
        )
        if not plan.debug:
            return node
        page = overlay.Page(self._label, match, found.window, found.scores, falls_back)
        return node.std.ModifyFrame(node, page.drawn)
