"""Networks that need no file: people painted as dots of 17 shades, found by looking for them.

A dot is red by its shade and green by what is left of white; where dots are blurred into what is around them, the two
do not add up. In grey pictures that cannot be told.
"""

import numpy as np
import vapoursynth as vs

from vs_align.analysis.pose_reading import Nets

# Shades of the joints, far enough apart to survive a change of size in the middle of a dot.
SHADES = 60 + 11 * np.arange(17)
BODY = 30


class Detector:
    """Says that a person is each group of columns with something in it."""

    side = 416

    def people(self, picture: np.ndarray) -> np.ndarray:
        there = picture[..., 0] > BODY // 2
        columns = np.flatnonzero(there.any(0))
        found = []
        for group in np.split(columns, np.flatnonzero(np.diff(columns) > 4) + 1):
            if len(group) >= 4:
                rows = np.flatnonzero(there[:, group].any(1))
                found.append([group[0], rows[0], group[-1] + 1, rows[-1] + 1, 0.9])
        return np.array(found, float).reshape(-1, 5)


class Joints:
    """Says that a joint is the middle of what has its shade; it is sure where that is several pixels."""

    side = 192

    def joints(self, picture: np.ndarray) -> np.ndarray:
        out = np.zeros((17, 3))
        red, green = picture[..., 0].astype(int), picture[..., 1].astype(int)
        pure = (np.abs(red + green - 255) <= 6) | (red == green)
        for k, shade in enumerate(SHADES):
            rows, columns = np.nonzero(pure & (np.abs(red - shade) <= 3))
            if len(rows) >= 3:
                out[k] = (np.median(columns) + 0.5) / self.side, (np.median(rows) + 0.5) / self.side, 0.9
        return out


def nets() -> Nets:
    return Nets(Detector(), (Joints(), Joints()), "made")


def painted(points: np.ndarray, size: tuple[int, int], others: np.ndarray | None = None) -> vs.VideoNode:
    """A clip of people as dots on what joins them to one body; points of shape (T, 17, 3), nobody where all are 0."""
    import cv2

    blank = vs.core.std.BlankClip(None, *size, vs.RGB24, len(points), 25, 1, keep=True)

    def fill(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        canvas = np.zeros((size[1], size[0], 3), np.uint8)
        for people in [points] if others is None else [others, points]:
            there = people[n][people[n, :, 2] > 0]
            if len(there):
                low, high = there[:, :2].min(0).astype(int) - 4, there[:, :2].max(0).astype(int) + 4
                cv2.rectangle(canvas, low.tolist(), high.tolist(), [BODY] * 3, -1)
            for k, (x, y, sure) in enumerate(people[n]):
                if sure and k >= 5:
                    shade = int(SHADES[k])
                    cv2.circle(canvas, (int(x), int(y)), 5, [shade, 255 - shade, shade], -1)
        frame = f.copy()
        for p in range(3):
            np.asarray(frame[p])[:] = canvas[..., p]
        return frame

    return blank.std.ModifyFrame(blank, fill)
