"""Video files that the tests of the command line make, by PyAV alone, and what they read of those it wrote."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import cv2
import numpy as np
import vapoursynth as vs
from helpers import moving

from vs_align.cli import main

SIZE = (96, 72)


@cache
def scene(size: tuple[int, int] = SIZE, seed: int = 0) -> Callable[[int], np.ndarray]:
    """Frames of a made scene, RGB, shape (H, W, 3), the same picture in any size."""
    paint = moving(*SIZE, seed=seed)

    def frame(n: int) -> np.ndarray:
        picture = np.ascontiguousarray(np.moveaxis(paint(n), 0, 2))
        return np.rint(255 * cv2.resize(picture, size, interpolation=cv2.INTER_AREA)).astype(np.uint8)

    return frame


def write(
    path: Path,
    pictures: Sequence[np.ndarray],
    *,
    rate: Fraction | int = 24,
    codec: str = "ffv1",
    pix_fmt: str = "yuv420p",
    times: Sequence[int] | None = None,
    sample_aspect_ratio: Fraction | None = None,
    colours: tuple[int, int, int, int] | None = None,
    click_at: float | None = None,
) -> Path:
    """Encode RGB pictures; ``times`` in ms where they do not last equally long; silence with a click, if asked for.

    ``colours`` are matrix, primaries, transfer as in H.273, and range, 1 limited and 2 full.
    """
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=rate)
        context = stream.codec_context
        context.height, context.width = pictures[0].shape[:2]
        context.pix_fmt = pix_fmt
        context.time_base = Fraction(1, 1000) if times else 1 / Fraction(rate)
        if sample_aspect_ratio:
            context.sample_aspect_ratio = sample_aspect_ratio
        if colours:
            context.colorspace, context.color_primaries, context.color_trc, context.color_range = colours
        sound = None if click_at is None else file.add_stream("pcm_s16le", rate=8000, layout="mono")
        for n, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=pix_fmt)
            frame.pts, frame.time_base = times[n] if times else n, context.time_base
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
        if sound is not None:
            samples = np.zeros((1, 8000 * len(pictures) // int(rate)), np.int16)
            samples[0, round(8000 * click_at) :][:8] = 20_000
            for first in range(0, samples.shape[1], 400):
                part = av.AudioFrame.from_ndarray(samples[:, first : first + 400], format="s16", layout="mono")
                part.sample_rate, part.pts, part.time_base = 8000, first, Fraction(1, 8000)
                file.mux(sound.encode(part))
            file.mux(sound.encode(None))
    return path


def read(path: Path) -> list[np.ndarray]:
    """The samples of all pictures of a file as decoded, all planes in a row."""
    with av.open(str(path)) as file:
        return [np.concatenate([_samples(part, frame) for part in frame.planes]) for frame in file.decode(video=0)]


def _samples(part: av.video.plane.VideoPlane, frame: av.VideoFrame) -> np.ndarray:
    kind = np.uint16 if frame.format.components[0].bits > 8 else np.uint8
    rows = np.frombuffer(part, np.uint8).reshape(-1, part.line_size).view(kind)
    return rows[: part.height, : part.width].ravel()


def read_rgb(path: Path, matrix: str) -> list[np.ndarray]:
    """All pictures of a YUV file as RGB, shape (H, W, 3); ``matrix`` is "itu709" or "itu601"."""
    with av.open(str(path)) as file:
        frames = file.decode(video=0)
        return [frame.reformat(format="rgb24", src_colorspace=matrix).to_ndarray() for frame in frames]


def click(path: Path) -> float:
    """When the click of a file is heard, in s."""
    with av.open(str(path)) as file:
        for frame in file.decode(audio=0):
            loud = np.flatnonzero(np.abs(frame.to_ndarray().ravel().astype(int)) > 10_000)
            if len(loud):
                return frame.time + loud[0] / frame.sample_rate
    raise AssertionError("no click")


def times_ms(path: Path) -> list[float]:
    """When each picture of a file is shown."""
    with av.open(str(path)) as file:
        return [1000 * frame.time for frame in file.decode(video=0)]


def luma(frame: vs.VideoFrame) -> np.ndarray:
    return np.asarray(frame[0]).astype(float)


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])
