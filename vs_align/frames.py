"""VideoFrame to array and tensor and back: the one place that touches planes."""

import math
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import vapoursynth as vs
from numpy.typing import NDArray

__all__ = [
    "cache_budget",
    "frame_bytes",
    "ignored",
    "is_full_range",
    "keep_cached",
    "light",
    "paint",
    "peak",
    "plane",
    "planes",
    "same_samples",
    "to_rgb",
    "to_tensor",
    "widened",
]

_BT709 = (0.2126, 0.7152, 0.0722)


def plane(frame: vs.VideoFrame, index: int) -> NDArray[Any]:
    """Return one plane without copying it, shape (height, width), rows possibly padded."""
    return np.asarray(frame[index])


def planes(frame: vs.VideoFrame) -> list[NDArray[Any]]:
    """Return all planes as `plane` does."""
    return [plane(frame, index) for index in range(frame.format.num_planes)]


def peak(fmt: vs.VideoFormat) -> int | None:
    """Return the largest sample of an integer format; None for float."""
    return (1 << fmt.bits_per_sample) - 1 if fmt.sample_type == vs.INTEGER else None


def same_samples(a: vs.VideoFrame, b: vs.VideoFrame) -> bool:
    """Tell whether two frames have one format and size and, bit for bit, the same samples."""
    if (a.format.id, a.width, a.height) != (b.format.id, b.width, b.height):
        return False
    # As integers, so that a sample that is NaN equals itself.
    bits = f"u{a.format.bytes_per_sample}"
    pairs = [(plane(a, p).view(bits), plane(b, p).view(bits)) for p in range(a.format.num_planes)]
    return all(np.array_equal(x[:8], y[:8]) for x, y in pairs) and all(np.array_equal(x, y) for x, y in pairs)


def light(samples: Sequence[NDArray[Any]], fmt: vs.VideoFormat) -> NDArray[np.float32]:
    """Return the luma of an RGB picture by BT.709 weights, 0 black to 255 white.

    Args:
        samples: its three planes, shape (height, width), all samples finite.
        fmt: their format. What is beyond 1 in a float format is compressed, v to 1 + ln v, so that a picture of high
            dynamic range keeps its detail; what is below -1 is -1.

    Returns:
        Shape (height, width).
    """
    import cv2

    top = peak(fmt)
    if top is None:
        samples = [_compressed(part) for part in samples]
    elif top > 0xFFFF:
        # OpenCV does not add up integers of 32 bits.
        samples = [part.astype(np.float32) for part in samples]
    red, green, blue = (255 / (top or 1) * weight for weight in _BT709)
    grey = cv2.addWeighted(samples[0], red, samples[1], green, 0, dtype=cv2.CV_32F)
    return cast(NDArray[np.float32], cv2.addWeighted(grey, 1, samples[2], blue, 0, dst=grey, dtype=cv2.CV_32F))


def _compressed(samples: NDArray[Any]) -> NDArray[np.float32]:
    part = samples.astype(np.float32) if samples.dtype != np.float32 else samples
    if part.max() > 1:
        part = np.where(part > 1, 1 + np.log(np.maximum(part, 1)), part)
    return np.maximum(part, np.float32(-1)) if part.min() < -1 else part


def ignored(frame: vs.VideoFrame, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return where a mask is white, which is half of white or more, brought to another size.

    Args:
        frame: the mask, of any format; of YUV the luma counts, of RGB its luma. Read in full or limited range as the
            frame says.
        size: the result's (width, height). A pixel that is white in part is white, so thin strokes are kept.

    Returns:
        1 where it is white, else 0, shape (height, width).
    """
    import cv2

    white = _is_white(frame)
    height, width = white.shape
    if (width, height) == size:
        return white
    smaller = (min(size[0], width), min(size[1], height))
    share = cv2.resize(white * np.uint8(255), smaller, interpolation=cv2.INTER_AREA)
    touched = (share > 0).view(np.uint8)
    return cast(NDArray[np.uint8], cv2.resize(touched, size, interpolation=cv2.INTER_NEAREST_EXACT))


def _is_white(frame: vs.VideoFrame) -> NDArray[np.uint8]:
    """Return 1 where a frame is half of white or more, else 0."""
    fmt = frame.format
    if fmt.color_family != vs.RGB:
        half = sum(_ink_range(frame)) / 2
        # A whole number, so that integers need not be converted.
        least = half if fmt.sample_type == vs.FLOAT else math.ceil(half)
        return cast(NDArray[np.uint8], np.greater_equal(plane(frame, 0), least).view(np.uint8))
    # The weights add up to one, and the samples to half of white, but for rounding.
    return np.greater_equal(light(planes(frame), fmt), 127.5 * (1 - 1e-6)).view(np.uint8)


def frame_bytes(clip: vs.VideoNode) -> int:
    """Return the size of one frame's samples in bytes, all planes together."""
    fmt = clip.format
    chroma = (clip.width >> fmt.subsampling_w) * (clip.height >> fmt.subsampling_h)
    samples: int = clip.width * clip.height + (fmt.num_planes - 1) * chroma
    return samples * int(fmt.bytes_per_sample)


def cache_budget(most: int) -> int:
    """Return how many bytes of frames a filter may hold: ``most``, or a quarter of the core's cache if that is less."""
    return min(most, int(vs.core.max_cache_size) * (1 << 20) // 4)


def keep_cached(clip: vs.VideoNode, frames: int, budget: int) -> None:
    """Give a node a cache of so many frames, of as many as fit ``budget`` bytes."""
    clip.std.SetVideoCache(mode=1, fixedsize=True, maxsize=max(1, min(frames, budget // frame_bytes(clip))))


def widened(clip: vs.VideoNode) -> vs.VideoNode:
    """Return plane 0 of a half float clip as float, exactly; any other clip as it is."""
    if clip.format.sample_type != vs.FLOAT or clip.format.bits_per_sample != 16:
        return clip
    first = clip if clip.format.num_planes == 1 else vs.core.std.ShufflePlanes(clip, 0, vs.GRAY)
    # Not resize, which would read _FieldBased and refuse odd heights.
    return first.std.Expr("x", vs.GRAYS)


def to_rgb(clip: vs.VideoNode, format_id: int, size: tuple[int, int] | None = None) -> vs.VideoNode:
    """Convert a clip to an RGB format by each frame's own ``_Matrix``, ``_Range`` and ``_Transfer``.

    Frames of a YUV clip that do not say their matrix are read as BT.709 from 720 lines up and as BT.601 below, the
    convention that players follow. With ``size``, width and height, it is resized in the same step.
    """
    width, height = size or (clip.width, clip.height)
    if clip.format.id == format_id and (width, height) == (clip.width, clip.height):
        return clip
    told = clip.resize.Bicubic(width, height, format=format_id)
    if clip.format.color_family != vs.YUV:
        return told
    guessed = clip.resize.Bicubic(width, height, format=format_id, matrix_in=1 if clip.height >= 720 else 6)

    def by_matrix(n: int, f: vs.VideoFrame) -> vs.VideoNode:
        return guessed if int(cast(int, f.props.get("_Matrix", 2))) == 2 else told

    return guessed.std.FrameEval(by_matrix, prop_src=clip)


def to_tensor(frame: vs.VideoFrame, device: str) -> Any:
    """Return a frame's planes as a float32 torch tensor, shape (planes, height, width), on ``device``."""
    import torch

    planes = np.stack([np.asarray(frame[p], dtype=np.float32) for p in range(frame.format.num_planes)])
    return torch.from_numpy(planes).to(device)


def paint(frame: vs.VideoFrame, light: NDArray[np.uint8], cover: NDArray[np.uint8]) -> vs.VideoFrame:
    """Draw a grey picture over a frame.

    Args:
        frame: the frame; it is not changed.
        light: what to draw, 0 black to 255 white, shape (height, width).
        cover: how opaque it is, 0 to 255, same shape.

    Returns:
        A copy of the frame with the picture on it, chroma drained under it; samples are written in full or limited
        range as the frame says.
    """
    painted = frame.copy()
    fmt = frame.format
    yuv = fmt.color_family == vs.YUV
    for p in range(fmt.num_planes):
        target = np.asarray(painted[p])
        shape = (target.shape[1], target.shape[0])
        alpha = _scaled(cover, shape)
        if yuv and p > 0:
            ink = np.full(target.shape, _neutral(fmt), np.float32)
        else:
            low, high = _ink_range(frame)
            ink = low + (high - low) * _scaled(light, shape)
        mixed = target.astype(np.float32) * (1 - alpha) + ink * alpha
        shown = alpha > 0
        target[shown] = (np.rint(mixed) if fmt.sample_type == vs.INTEGER else mixed)[shown].astype(target.dtype)
    return painted


def _scaled(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.float32]:
    import cv2

    scaled = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return scaled.astype(np.float32) * np.float32(1 / 255)


def _neutral(fmt: vs.VideoFormat) -> float:
    return float(1 << (fmt.bits_per_sample - 1)) if fmt.sample_type == vs.INTEGER else 0.0


def _ink_range(frame: vs.VideoFrame) -> tuple[float, float]:
    fmt = frame.format
    if fmt.sample_type == vs.FLOAT:
        return 0.0, 1.0
    peak = float((1 << fmt.bits_per_sample) - 1)
    if fmt.color_family == vs.RGB or is_full_range(frame):
        return 0.0, peak
    unit = float(1 << (fmt.bits_per_sample - 8))
    return 16 * unit, 235 * unit


def is_full_range(frame: vs.VideoFrame) -> bool:
    """Read a frame's range from ``_Range`` (R74 and later, 1 is full) or the older ``_ColorRange`` (0 is full)."""
    if "_Range" in frame.props:
        return int(cast(int, frame.props["_Range"])) == 1
    return int(cast(int, frame.props.get("_ColorRange", 1))) == 0
