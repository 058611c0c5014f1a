"""VideoFrame to array and tensor and back: the one place that touches planes."""

from typing import Any, cast

import numpy as np
import vapoursynth as vs
from numpy.typing import NDArray

__all__ = ["frame_bytes", "is_full_range", "paint", "plane", "to_rgb", "to_tensor", "widened"]


def plane(frame: vs.VideoFrame, index: int) -> NDArray[Any]:
    """Return one plane without copying it, shape (height, width), rows possibly padded."""
    return np.asarray(frame[index])


def frame_bytes(clip: vs.VideoNode) -> int:
    """Return the size of one frame's samples in bytes, all planes together."""
    fmt = clip.format
    chroma = (clip.width >> fmt.subsampling_w) * (clip.height >> fmt.subsampling_h)
    samples: int = clip.width * clip.height + (fmt.num_planes - 1) * chroma
    return samples * int(fmt.bytes_per_sample)


def widened(clip: vs.VideoNode) -> vs.VideoNode:
    """Return plane 0 of a half float clip as float, exactly; any other clip as it is."""
    if clip.format.sample_type != vs.FLOAT or clip.format.bits_per_sample != 16:
        return clip
    first = clip if clip.format.num_planes == 1 else vs.core.std.ShufflePlanes(clip, 0, vs.GRAY)
    # Not resize, which would read _FieldBased and refuse odd heights.
    return first.std.Expr("x", vs.GRAYS)


def to_rgb(clip: vs.VideoNode, format_id: int) -> vs.VideoNode:
    """Convert a clip to an RGB format by each frame's own ``_Matrix``, ``_Range`` and ``_Transfer``.

    Frames of a YUV clip that do not say their matrix are read as BT.709 from 720 lines up and as BT.601 below, the
    convention that players follow.
    """
    if clip.format.id == format_id:
        return clip
    told = clip.resize.Bicubic(format=format_id)
    if clip.format.color_family != vs.YUV:
        return told
    guessed = clip.resize.Bicubic(format=format_id, matrix_in=1 if clip.height >= 720 else 6)

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
