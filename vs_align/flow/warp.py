"""The one final warp: source planes sampled once, bicubic, where a flow says. NumPy and OpenCV.

Convention: planes are (H, W); a flow is (H, W, 2) in ref pixels, (dx, dy) for each ref pixel, in the direction ref to
clip; pixel centres are whole numbers, so that the clip position of ref pixel (x, y) is

    ((x + dx + 0.5) * clip_width / width - 0.5, ((y + dy + 0.5) * clip_height / height - 0.5)

Outside the clip its border is replicated.
"""

from collections.abc import Iterator, Sequence
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["MOST_SIDE", "coverage", "finite", "shift_statistics", "warp_planes"]

MOST_SIDE = 32766
"""The longest side that OpenCV's remap takes, in pixels."""

type Plane = NDArray[Any]
type Flow = NDArray[np.float32]

# What is worked on at once fits the processor's cache; more than 2**16, so that OpenCV shares it among its threads.
_STRIP_PIXELS = 1 << 17
# Displacements this near whole pixels are taken for whole, in pixels.
_WHOLE = 1 / 64
_MOST_HALF = float(np.finfo(np.float16).max)
# Allows for the rounding of positions, in pixels.
_ROUNDING = 1e-3


def warp_planes(
    planes: Sequence[Plane],
    flow: Flow | None,
    size: tuple[int, int],
    *,
    peak: int | None = None,
    out: Sequence[Plane] | None = None,
) -> list[Plane]:
    """Sample the planes of a picture where a flow says.

    The kernel is the cubic convolution of OpenCV, of four samples each way (a = -0.75; Keys, "Cubic Convolution
    Interpolation for Digital Image Processing", 1981). By itself it displaces what it interpolates by up to 0.05 px;
    the positions are corrected for that (`_meet_kernel`), which makes it truer than Catmull-Rom, and sharper. Where
    every displacement is whole, the samples come out as they are.

    Args:
        planes: up to four planes of one shape (Hc, Wc); uint8, uint16, float16 or float32.
        flow: shape (H, W, 2); None: no displacement, the planes are only brought to ``size``.
        size: the result's (W, H). Where the planes are larger they are blurred first, against aliasing.
        peak: the largest value of an integer format that does not fill its type, such as 1023.
        out: arrays that receive the result; None: new ones.

    Returns:
        The planes, shape (H, W), in the given type. Integers are clipped to their range, floats are not. A sample that
        is not finite is found again at the nearest positions and nowhere else.
    """
    width, height = size
    kept = [finite(plane) for plane in planes]
    holes = [None if plane is filled else ~np.isfinite(plane) for plane, filled in zip(planes, kept, strict=True)]
    half = planes[0].dtype == np.float16
    work = [plane.astype(np.float32) for plane in kept] if half else kept
    source = _low_passed(work[0] if len(work) == 1 else cv2.merge(work), size)
    results = list(out) if out is not None else [np.empty((height, width), plane.dtype) for plane in planes]
    exact = source.shape[:2] == (height, width) and _is_whole(flow)
    for rows, positions in _positions(flow, size, (source.shape[1], source.shape[0])):
        _sample(source, positions, [result[rows] for result in results], exact, peak)
        for result, plane, hole in zip(results, planes, holes, strict=True):
            if hole is not None:
                _restore(result[rows], plane, hole, positions)
    return results


def coverage(flow: Flow | None, clip_shape: tuple[int, int], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Tell which pixels of a warp come from inside the clip.

    Args:
        flow: shape (H, W, 2); None: no displacement.
        clip_shape: the clip's (Hc, Wc).
        size: the result's (W, H).

    Returns:
        True where the sampled position lies on one of the clip's pixels, shape (H, W).
    """
    height, width = clip_shape
    inside = np.empty((size[1], size[0]), np.bool_)
    # In OpenCV's bounds both ends count.
    low = (-0.5 - _ROUNDING, -0.5 - _ROUNDING, 0.0, 0.0)
    high = (width - 0.5 + _ROUNDING, height - 0.5 + _ROUNDING, 0.0, 0.0)
    for rows, positions in _positions(flow, size, (width, height)):
        np.not_equal(cv2.inRange(positions, low, high), 0, out=inside[rows])
    return inside


def shift_statistics(flow: Flow) -> tuple[float, float]:
    """Return the mean and the largest length of the displacements, in pixels of the flow."""
    total, most = 0.0, 0.0
    for rows in _strips(flow.shape[1], flow.shape[0]):
        # One complex number for each pixel: the absolute value is what NumPy computes fastest.
        lengths = np.abs(np.ascontiguousarray(flow[rows]).view(np.complex64))
        total += float(lengths.sum(dtype=np.float64))
        most = max(most, float(lengths.max()))
    return total / (flow.shape[0] * flow.shape[1]), most


def finite(plane: Plane) -> Plane:
    """Return a plane with each sample that is not finite replaced by the mean of those around it that are.

    Args:
        plane: shape (H, W). Where all of it is finite, it is itself the result.
    """
    # A sum that is finite has only finite terms.
    if plane.dtype.kind != "f" or np.isfinite(cv2.sumElems(_single(plane))[0]):
        return plane
    known = np.isfinite(plane)
    if known.all():
        return plane
    filled = np.where(known, plane, 0).astype(np.float32)
    weight = known.astype(np.float32)
    reach = 3
    while reach < 2 * max(plane.shape):
        total, count = (cv2.blur(part, (reach, reach), borderType=cv2.BORDER_CONSTANT) for part in (filled, weight))
        new = (count > 0.5 / (reach * reach)) & (weight == 0)
        filled[new] = total[new] / count[new]
        weight[new] = 1
        if weight.all():
            break
        reach = 2 * reach + 1
    return filled.astype(plane.dtype)


def _strips(width: int, height: int) -> Iterator[slice]:
    rows = max(1, _STRIP_PIXELS // width)
    return (slice(first, min(first + rows, height)) for first in range(0, height, rows))


def _positions(
    flow: Flow | None, size: tuple[int, int], clip_size: tuple[int, int]
) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Yield strips of rows and the clip positions that their pixels sample, shape (rows, W, 2); a buffer is reused."""
    width, height = size
    scale = np.array([clip_size[0] / width, clip_size[1] / height], np.float64)
    x = (np.arange(width) + 0.5) * scale[0] - 0.5
    y = (np.arange(height) + 0.5) * scale[1] - 0.5
    grid = positions = np.empty((0, width, 2), np.float32)
    for rows in _strips(width, height):
        count = rows.stop - rows.start
        if not len(grid):
            grid, positions = np.empty((2, count, width, 2), np.float32)
            grid[..., 0] = x
        grid[:count, :, 1] = y[rows, None]
        if flow is None:
            positions[:count] = grid[:count]
        elif scale[0] == scale[1] == 1:
            np.add(flow[rows], grid[:count], out=positions[:count])
        else:
            np.multiply(flow[rows], scale.astype(np.float32), out=positions[:count])
            positions[:count] += grid[:count]
        yield rows, positions[:count]


def _is_whole(flow: Flow | None) -> bool:
    if flow is None:
        return True
    parts = (flow[::16, ::16], *(flow[rows] for rows in _strips(flow.shape[1], flow.shape[0])))
    return all(np.abs(part - np.rint(part)).max() < _WHOLE for part in parts)


def _sample(
    source: Plane, positions: NDArray[np.float32], results: Sequence[Plane], exact: bool, peak: int | None
) -> None:
    """Fill the results' rows; ``positions`` is left as it was."""
    how = cv2.INTER_NEAREST if exact else cv2.INTER_CUBIC
    where = np.rint(positions) if exact else _meet_kernel(positions)
    taken = _remapped(source, where, how)
    if peak is not None:
        np.minimum(taken, peak, out=taken)
    for channel, result in enumerate(results):
        if result.dtype == np.float16:
            part = taken if taken.ndim == 2 else taken[..., channel]
            np.copyto(result, np.clip(part, -_MOST_HALF, _MOST_HALF), casting="same_kind")
        else:
            cv2.extractChannel(taken, channel, result)


def _remapped(source: Plane, positions: NDArray[np.float32], how: int) -> Plane:
    # One array with both coordinates takes the place of two, which the stubs of OpenCV do not know of.
    return cv2.remap(source, positions, cast(Any, None), how, borderMode=cv2.BORDER_REPLICATE)


def _meet_kernel(positions: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the positions at which the kernel gives what belongs at the given ones.

    Between two samples the kernel's centre of mass is off by d (1/2 - 2 d^2) px and less, where d is the signed
    distance from the nearest sample: all of it for a ramp, less for finer detail. Taking 0.4 of it from the position
    leaves the smallest displacement in real pictures, both sharp and soft: 0.006 px in the mean over all d, where the
    kernel alone leaves 0.036 and Catmull-Rom 0.009. Whole and half positions stay.
    """
    nearest = np.rint(positions)
    distance = np.subtract(positions, nearest)
    # d - 0.4 d (1/2 - 2 d^2)
    corrected = np.multiply(distance, distance)
    corrected *= np.float32(0.8)
    corrected += np.float32(0.8)
    corrected *= distance
    corrected += nearest
    return corrected


def _low_passed(source: Plane, size: tuple[int, int]) -> Plane:
    """Blur what will be sampled more coarsely than it is: by the Gaussian that takes the place of each pixel's area."""
    scales = (source.shape[1] / size[0], source.shape[0] / size[1])
    # Of a pixel of width 1 and one of width s, the difference of the variances.
    sigma_x, sigma_y = (0.5 * max(scale * scale - 1, 0.0) ** 0.5 for scale in scales)
    if sigma_x == sigma_y == 0:
        return source
    # OpenCV takes 0 for "as the other way".
    return cv2.GaussianBlur(
        source, (0, 0), sigmaX=max(sigma_x, 0.01), sigmaY=max(sigma_y, 0.01), borderType=cv2.BORDER_REPLICATE
    )


def _single(plane: Plane) -> Plane:
    return plane.astype(np.float32) if plane.dtype == np.float16 else plane


def _restore(result: Plane, plane: Plane, hole: NDArray[np.bool_], positions: NDArray[np.float32]) -> None:
    """Put the samples that are not finite back at the positions nearest to them."""
    nearest = np.rint(positions)
    here = _remapped(hole.view(np.uint8), nearest, cv2.INTER_NEAREST) != 0
    if here.any():
        values = _remapped(_single(plane), nearest, cv2.INTER_NEAREST)
        np.copyto(result, values, where=here, casting="same_kind")
