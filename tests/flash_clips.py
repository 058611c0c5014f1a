"""Recordings of `flash_scenes` as clips and as files."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import vapoursynth as vs
from flash_scenes import HEIGHT, Camera, rows_of
from numpy.typing import NDArray

WIDTH = 160
TICKS = 90_000
FLASHES = [2000.0, 3710.0, 5230.0, 7100.0, 8460.0, 10990.0, 12300.0, 14750.0, 16020.0, 17650.0]
LEFT = Camera(seconds=19.0)
RIGHT = Camera(fps=50.0, drift=1.00002, shift=-310.0, time_per_row=0.12, exposure=3.0, seconds=19.5)
LAST = Camera(fps=25.0, shift=420.0, time_per_row=0.25, exposure=9.0, seconds=18.0, lost=(200, 201, 202))


def pictures(camera: Camera, flashes: Sequence[float] = FLASHES, **options: float) -> NDArray[np.uint8]:
    """What a camera sees, all columns alike, shape (F, H, W)."""
    rows = np.rint(rows_of(camera, flashes, **options).rows).astype(np.uint8)  # type: ignore[arg-type]
    return np.repeat(rows[:, :, None], WIDTH, axis=2)


def clip_of(camera: Camera, flashes: Sequence[float] = FLASHES, *, say: str = "absolute") -> vs.VideoNode:
    """A GRAY8 clip whose frames say when they are: "absolute", "durations" or "rate"."""
    shown = pictures(camera, flashes)
    stamps = camera.stamps
    ticks = np.diff(np.rint(stamps * TICKS / 1000)).astype(int).tolist()
    blank = vs.core.std.BlankClip(
        None, WIDTH, HEIGHT, vs.GRAY8, len(shown), fpsnum=round(camera.fps), fpsden=1, keep=True
    ).std.RemoveFrameProps(["_DurationNum", "_DurationDen"])

    def paint(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        frame = f.copy()
        np.asarray(frame[0])[:] = shown[n]
        if say == "absolute":
            frame.props["_AbsoluteTime"] = stamps[n] / 1000
        elif say == "durations":
            frame.props["_DurationNum"], frame.props["_DurationDen"] = [*ticks, ticks[-1]][n], TICKS
        return frame

    return blank.std.ModifyFrame(blank, paint)


def film(path: Path, camera: Camera, flashes: Sequence[float] = FLASHES, **options: float) -> Path:
    """Encode a camera's recording by x264, with the times of its frames."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=30, options={"preset": "ultrafast", "crf": "4", "threads": "1"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "gray"
        stream.codec_context.time_base = stream.time_base = Fraction(1, TICKS)
        for picture, stamp in zip(pictures(camera, flashes, **options), camera.stamps, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="gray")
            frame.pts, frame.time_base = round(stamp * TICKS / 1000), Fraction(1, TICKS)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path
