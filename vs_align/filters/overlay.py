"""What ``debug=True`` draws on a frame."""

from dataclasses import dataclass

import cv2
import numpy as np
import vapoursynth as vs
from numpy.typing import NDArray

from ..frames import paint
from ..matching.window import Match, Window
from ..similarity.measure import Scores

__all__ = ["Page"]

type Canvas = NDArray[np.uint8]

_FONT = cv2.FONT_HERSHEY_DUPLEX
_MOST_LISTED = 7
_BARS_HIGH = 90
_SHADE = 170


@dataclass(frozen=True, slots=True)
class Page:
    """The debug page of one frame.

    Attributes:
        label: the measure.
        match: the chosen frame.
        window: the frames it was chosen from.
        scores: their scores; None where the window is empty, or the mode compares nothing.
        falls_back: whether the frame shown comes from ``fallback``.
    """

    label: str
    match: Match
    window: Window
    scores: Scores | None
    falls_back: bool

    def drawn(self, n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        """Return a copy of frame ``n`` with the page on it: text on top, the window's scores as bars at the bottom."""
        light = np.zeros((f.height, f.width), np.uint8)
        cover = np.zeros_like(light)
        unit = max(0.25, min(f.height / 360, f.width / 480))
        used = self._text(light, cover, self._lines(n), unit)
        if self.scores is not None and f.height - used >= round(_BARS_HIGH * unit):
            self._bars(light, cover, self.scores.values, unit)
        return paint(f, light, np.maximum(cover, light))

    def _lines(self, n: int) -> list[str]:
        match = self.match
        lines = [
            f"{self.label}: ref frame {n} <- {'fallback' if self.falls_back else f'clip frame {match.frame}'}",
            f"best {match.frame} ({match.offset:+d})  score {match.score:.6g}  confidence {match.confidence:.2f}",
        ]
        if self.scores is None:
            empty = f"clip has no frame within the window of {self.window.centre}"
            return lines if len(self.window) else [*lines, empty]
        values, candidates = self.scores.values, self.window.candidates
        ranked = np.argsort(values, kind="stable")[:_MOST_LISTED]
        return lines + [
            f"{candidates[k] - self.window.centre:+d}  frame {candidates[k]}  {values[k]:.6g}"
            for k in ranked
            if np.isfinite(values[k])
        ]

    def _text(self, light: Canvas, cover: Canvas, lines: list[str], unit: float) -> int:
        step, scale, thick = round(15 * unit), 0.42 * unit, max(1, round(unit))
        width = max(cv2.getTextSize(line, _FONT, scale, thick)[0][0] for line in lines)
        scale *= min(1.0, (light.shape[1] - 12 * unit) / max(1, width))
        for row, line in enumerate(lines):
            at = (round(6 * unit), round(unit) + step * (row + 1))
            cv2.putText(light, line, at, _FONT, scale, 255, thick, cv2.LINE_AA)
        bottom = step * len(lines) + round(8 * unit)
        cover[:bottom] = _SHADE
        return bottom

    def _bars(self, light: Canvas, cover: Canvas, values: NDArray[np.float64], unit: float) -> None:
        """Draw a bar a candidate; the match is white, with a white foot, one without a score (not compared) dark."""
        height, width = light.shape
        pad = round(6 * unit)
        base = height - round(20 * unit)
        tall = base - (height - round(_BARS_HIGH * unit)) - pad
        cover[height - round(_BARS_HIGH * unit) :] = _SHADE
        finite = np.isfinite(values)
        peak = max(float(values[finite].max(initial=0.0)), 1e-12)
        edges = np.rint(np.linspace(pad, width - pad, len(values) + 1)).astype(int)
        gap = round(unit) if edges[1] - edges[0] > 3 * unit else 0
        for k, value in enumerate(values):
            top = base - max(1, round(tall * (float(value) / peak if finite[k] else 0.3)))
            right = max(edges[k] + 1, edges[k + 1] - gap)
            chosen = k == self.match.frame - self.window.first
            light[top:base, edges[k] : right] = 255 if chosen else 130 if finite[k] else 50
            if chosen:
                foot = slice(edges[k], max(right, edges[k] + round(3 * unit)))
                light[base + round(unit) : base + round(4 * unit), foot] = 255
        self._axis(light, edges, unit)

    def _axis(self, light: Canvas, edges: NDArray[np.int64], unit: float) -> None:
        """Number the ends and the centre of the window, as offsets from the centre."""
        window, scale, thick = self.window, 0.38 * unit, max(1, round(0.8 * unit))
        for position in {0, window.centre - window.first, len(window) - 1}:
            if not 0 <= position < len(window):
                continue
            offset = window.first + position - window.centre
            text = f"{offset:+d}" if offset else "0"
            wide = cv2.getTextSize(text, _FONT, scale, thick)[0][0]
            middle = int(edges[position] + edges[position + 1] - wide) // 2
            left = max(0, min(middle, light.shape[1] - wide - round(2 * unit)))
            cv2.putText(light, text, (left, light.shape[0] - round(6 * unit)), _FONT, scale, 220, thick, cv2.LINE_AA)
