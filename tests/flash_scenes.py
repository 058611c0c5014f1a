"""Rows of cameras that see flashes, from the definition: a row takes in what light there is while it is exposed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from vs_align.flashes import Events, RowFeatures, find_events, row_brightness

HEIGHT = 120
DARK = 60.0
LENGTH = 0.8


@dataclass(frozen=True)
class Camera:
    """True time = drift * stamp + shift + row * time_per_row."""

    fps: float = 30.0
    drift: float = 1.0
    shift: float = 0.0
    time_per_row: float = 0.22
    exposure: float = 6.0
    seconds: float = 70.0
    start: float = 0.0
    lost: tuple[int, ...] = ()

    @property
    def stamps(self) -> NDArray[np.float64]:
        stamps = self.start + np.arange(int(self.seconds * self.fps)) * 1000 / self.fps
        return np.delete(stamps, list(self.lost))


def upside_down(camera: Camera) -> Camera:
    """Return the same camera with its picture turned over: the row that was last is row 0."""
    readout = camera.time_per_row * (HEIGHT - 1)
    return replace(camera, shift=camera.shift + readout, time_per_row=-camera.time_per_row)


def rows_of(
    camera: Camera,
    flashes: Sequence[float],
    *,
    level: float = 80.0,
    length: float = LENGTH,
    noise: float = 0.0,
    seed: int = 0,
    fading: bool = False,
) -> RowFeatures:
    """Return what the camera sees of flashes that begin at true times, in ms; fading ones fall to 1/e in length."""
    stamps = camera.stamps
    begin = camera.drift * stamps[:, None] + camera.shift + np.arange(HEIGHT) * camera.time_per_row
    rows = np.full(begin.shape, DARK)
    for time in flashes:
        inside = np.minimum(begin + camera.exposure, time + length) - np.maximum(begin, time)
        if fading:
            after, until = (1 - np.exp(-np.maximum(0, t - time) / length) for t in (begin, begin + camera.exposure))
            rows += level * (until - after)
        else:
            rows += level * np.clip(inside / min(camera.exposure, length), 0, 1)
    rows += np.random.default_rng(seed).normal(0, noise, rows.shape) if noise else 0
    return RowFeatures(np.clip(rows, 0, 255).astype(np.float32), stamps, HEIGHT)


def through_x264(features: RowFeatures, path: Path, width: int = 64) -> RowFeatures:
    """Return what is left of rows as grainy pictures in a film; its stamps are exact in .mp4, whole ms in .mkv."""
    av = pytest.importorskip("av")
    rng = np.random.default_rng(0)
    grain = rng.normal(0, 2, (8, HEIGHT, width))
    ticks = Fraction(1, 90_000)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=30, options={"preset": "veryfast", "crf": "23"})
        stream.width, stream.height, stream.pix_fmt = width, HEIGHT, "gray"
        stream.codec_context.time_base = stream.time_base = ticks
        for n, (row, stamp) in enumerate(zip(features.rows, features.times_ms, strict=True)):
            picture = np.clip(row[:, None] + grain[n % 8], 0, 255).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="gray")
            frame.pts, frame.time_base = round(stamp * 90), ticks
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    rows, times = [], []
    with av.open(str(path)) as file:
        for decoded in file.decode(video=0):
            rows.append(row_brightness(decoded.to_ndarray(format="gray")))
            times.append(float(decoded.pts * decoded.time_base * 1000))
    return RowFeatures(np.stack(rows), np.array(times), HEIGHT)


def events_of(camera: Camera, flashes: Sequence[float], **options: float) -> Events:
    return find_events(rows_of(camera, flashes, **options))  # type: ignore[arg-type]


def lead_row(camera: Camera, frame: int, time: float) -> float:
    """Return where a flash's leading edge is: the row whose exposure ends when the flash begins."""
    begin = camera.drift * camera.stamps[frame] + camera.shift
    return float((time - camera.exposure - begin) / camera.time_per_row)


def trail_row(camera: Camera, frame: int, time: float) -> float:
    """Return where its trailing edge is: the row whose exposure begins when the flash ends."""
    begin = camera.drift * camera.stamps[frame] + camera.shift
    return float((time + LENGTH - begin) / camera.time_per_row)
