"""The recordings of flash_recordings.py as films: pictures through x264 into a file, and rows out of it again."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from flash_recordings import HEIGHT, CameraTruth, brightness, glow, motion
from numpy.typing import NDArray

from vs_align.flashes import RowFeatures, row_brightness

type Floats = NDArray[np.float64]

WIDTH = 160
_TICKS = 90_000
_GAMMA = 2.2
_GREY = 70.0


def blurred(rng: np.random.Generator, shape: tuple[int, int], width: int) -> Floats:
    """Return noise of mean 0 and deviation 1, soft over some pixels."""
    kernel = np.hanning(width + 2)
    picture = rng.normal(0, 1, shape)
    for axis in (0, 1):
        picture = np.apply_along_axis(np.convolve, axis, picture, kernel, "same")
    return np.asarray((picture - picture.mean()) / picture.std())


def write(truth: CameraTruth, seed: int, path: Path) -> None:
    """Paint the film of a camera and encode it; an .mkv file has whole-millisecond stamps, an .mp4 exact ones."""
    rng = np.random.default_rng(seed)
    scene = np.clip(75 + 30 * blurred(rng, (HEIGHT + 200, WIDTH), 15), 16, 200).astype(np.float32)
    shiny = np.clip(1 + 0.3 * blurred(rng, (HEIGHT, WIDTH), 15), 0.3, 2)
    grain = rng.normal(0, 2.5, (24, HEIGHT, WIDTH)).astype(np.float32)
    up = np.clip(np.round(100 + motion(rng, len(truth.stamps))), 0, 199).astype(int)
    gain, lights = brightness(rng, truth).astype(np.float32), glow(truth)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=30, options={"preset": "veryfast", "crf": "23", "threads": "1"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "gray"
        stream.codec_context.time_base = stream.time_base = Fraction(1, _TICKS)
        for n, stamp in enumerate(truth.stamps):
            picture = scene[up[n] : up[n] + HEIGHT] * gain[n]
            if n in lights:
                picture = lit(picture, lights[n][:, None] * shiny)
            picture = np.clip(picture + grain[rng.integers(24)], 0, 255).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="gray")
            frame.pts, frame.time_base = round(stamp * _TICKS / 1000), Fraction(1, _TICKS)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())


def lit(picture: NDArray[np.float32], light: Floats) -> Floats:
    """Add the light of a flash to a picture, as light adds: before gamma. Middle grey rises by the value of light."""
    linear = (np.clip(picture, 0, 255) / 255) ** _GAMMA
    more = ((_GREY + light) / 255) ** _GAMMA - (_GREY / 255) ** _GAMMA
    return np.asarray(255 * np.minimum(1, linear + more) ** (1 / _GAMMA))


def read(path: Path) -> RowFeatures:
    """Decode a film into rows and times."""
    rows, times = [], []
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        for frame in file.decode(stream):
            plane = frame.planes[0]
            luma = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
            rows.append(row_brightness(luma))
            times.append(float(frame.pts * frame.time_base * 1000))
    return RowFeatures(np.stack(rows), np.array(times), HEIGHT)
