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


@dataclass(frozen=True, slots=True)
class Page:
    """The debug page of one frame.

    Attributes:
        label: the measure.
        match: the chosen frame.
        window: the frames it was chosen from.
        scores: their scores; None where the window is empty.
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
        if self.scores is not None and f.height - used > 40 * unit:
            self._bars(light, cover, unit)
        return paint(f, light, cover)

    def _lines(self, n: int) -> list[str]:
        match = self.match
        source = "fallback" if self.falls_back else f"clip frame {match.frame}"
        lines = [
            f"{self.label}   ref frame {n}   {source}",
            f"best match: {match.frame} ({match.offset:+d})   score {match.score:.6g}   confidence {match.confidence:.2f}",
        ]
        if self.scores is None:
            return [*lines, f"no clip frame within the window of {self.window.centre}"]
        values, candidates = self.scores.values, self.window.candidates
        ranked = np.argsort(values, kind="stable")[:_MOST_LISTED]
        return lines + [
            f"{'>' if candidates[k] == match.frame else ' '} {candidates[k] - self.window.centre:+5d}  "
            f"frame {candidates[k]:<7d} {values[k]:.6g}"
            for k in ranked
        ]

    def _text(self, light: Canvas, cover: Canvas, lines: list[str], unit: float) -> int:
        step, scale, thick = round(15 * unit), 0.42 * unit, max(1, round(unit))
        top = round(4 * unit)
        width = max(cv2.getTextSize(line, _FONT, scale, thick)[0][0] for line in lines)
        scale *= min(1.0, (light.shape[1] - 12 * unit) / max(1, width))
        bottom = top + step * len(lines) + round(6 * unit)
        cover[:bottom] = 150
        for row, line in enumerate(lines):
            at = (round(6 * unit), top + step * (row + 1) - round(3 * unit))
            cv2.putText(light, line, at, _FONT, scale, 255, thick, cv2.LINE_AA)
        cover[:bottom] = np.maximum(cover[:bottom], light[:bottom])
        return bottom

    def _bars(self, light: Canvas, cover: Canvas, unit: float) -> None:
        assert self.scores is not None
        height, width = light.shape
        tall, pad, foot = round(60 * unit), round(6 * unit), round(14 * unit)
        top = height - tall - foot - 2 * pad
        if top < 0:
            return
        cover[top:] = 150
        values = self.scores.values
        finite = np.isfinite(values)
        peak = float(values[finite].max()) if finite.any() else 0.0
        edges = np.linspace(pad, width - pad, len(values) + 1)
        base = height - foot - pad
        for k, candidate in enumerate(self.window.candidates):
            share = float(values[k]) / peak if finite[k] and peak > 0 else 0.0 if finite[k] else 1.0
            chosen = candidate == self.match.frame
            left, right = round(edges[k]), max(round(edges[k]) + 1, round(edges[k + 1]) - (1 if len(values) < width / 4 else 0))
            light[base - max(1, round(share * tall)) : base + 1, left:right] = 255 if chosen else 120 if finite[k] else 40
        self._axis(light, base, edges, unit)
        cover[top:] = np.maximum(cover[top:], light[top:])

    def _axis(self, light: Canvas, base: int, edges: NDArray[np.float64], unit: float) -> None:
        window, scale, thick = self.window, 0.35 * unit, max(1, round(unit * 0.8))
        marks = {
            f"{window.first - window.centre:+d}": edges[0],
            f"{window.last - window.centre:+d}": edges[-1] - 30 * unit,
        }
        if window.first < window.centre < window.last:
            marks["0"] = edges[window.centre - window.first]
        y = base + round(13 * unit)
        for text, x in marks.items():
            cv2.putText(light, text, (round(x), y), _FONT, scale, 220, thick, cv2.LINE_AA)
