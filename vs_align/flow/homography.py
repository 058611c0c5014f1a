"""One projective map for the whole picture, from matched features: for crops, rotations and shears."""

from typing import Any, NamedTuple, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from .geometry import Array

__all__ = ["Features", "features", "homography", "homography_grid", "matched_homography"]

_MOST_FEATURES = 1200
_LONG_SIDE = 640
_RATIO = 0.85
_FEWEST = 12
_REACH = 3.0


def homography(ref: Array, clip: Array, keep: NDArray[np.bool_] | None) -> NDArray[np.float64] | None:
    """Return the 3x3 matrix that maps ref's pixels to clip's, or None where too few matches hold.

    Args:
        ref, clip: float32, 0 to 255, shape (H, W), of any two sizes.
        keep: non-zero where ref counts, ref's shape; None: everywhere.

    Source:
        SIFT: Lowe, 2004. MAGSAC++: Barath et al., 2020, as in OpenCV.
    """
    return matched_homography(features(ref, keep), features(clip, None))


class Features(NamedTuple):
    """What is distinct in a picture.

    Attributes:
        at: positions in the picture's pixels, shape (n, 2).
        what: RootSIFT descriptors, shape (n, 128).
        step: how much the picture was reduced.
        shape: the picture's.
    """

    at: Array
    what: Array
    step: float
    shape: tuple[int, ...]


def matched_homography(ref: Features, clip: Features) -> NDArray[np.float64] | None:
    """Return what `homography` does, from features that are known."""
    if len(ref.at) < _FEWEST or len(clip.at) < _FEWEST:
        return None
    pairs = _matches(ref.what, clip.what)
    if len(pairs) < _FEWEST:
        return None
    source, target = ref.at[pairs[:, 0]], clip.at[pairs[:, 1]]
    reach = _REACH * max(ref.step, clip.step)
    matrix, held = cv2.findHomography(source, target, cv2.USAC_MAGSAC, reach, maxIters=2000, confidence=0.999)
    if matrix is None or int(held.sum()) < _FEWEST:
        return None
    found = np.asarray(matrix, np.float64)
    return found if _sound(found, ref.shape, clip.shape) else None


def features(image: Array, keep: NDArray[np.bool_] | None) -> Features:
    """Find the features of a picture: float32, 0 to 255, shape (H, W); ``keep`` as for `homography`."""
    height, width = image.shape
    reduction = max(1.0, max(height, width) / _LONG_SIDE)
    size = (max(1, round(width / reduction)), max(1, round(height / reduction)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if reduction > 1 else image
    small8 = small.clip(0, 255).astype(np.uint8)
    small_keep = None if keep is None else cv2.resize(keep.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    points, found = _sift().detectAndCompute(small8, small_keep)
    if found is None or not points:
        return Features(np.empty((0, 2), np.float32), np.empty((0, 128), np.float32), reduction, image.shape)
    scale = np.array([width / size[0], height / size[1]], np.float32)
    where = (np.array([point.pt for point in points], np.float32) + 0.5) * scale - 0.5
    rooted = np.sqrt(found / np.maximum(found.sum(axis=1, keepdims=True), 1e-6))
    return Features(where.astype(np.float32), rooted, reduction, image.shape)


def _sift() -> Any:
    # OpenCV's stubs do not know it.
    return cast(Any, cv2).SIFT_create(nfeatures=_MOST_FEATURES, contrastThreshold=0.01)


def _matches(ref: Array, clip: Array) -> NDArray[np.intp]:
    """Return index pairs (n, 2) that are each other's nearest and clearly nearer than the second nearest."""
    alike = ref @ clip.T
    best = alike.argmax(axis=1)
    mutual = alike.argmax(axis=0)[best] == np.arange(len(ref))
    rows = np.arange(len(ref))
    first = alike[rows, best]
    alike[rows, best] = -1
    second = alike.max(axis=1)
    # RootSIFT descriptors have length 1, so their squared distance is 2 - 2 * product.
    clear = (1 - first) < _RATIO * _RATIO * (1 - second)
    good = np.flatnonzero(mutual & clear)
    return np.column_stack([good, best[good]])


def _sound(matrix: NDArray[np.float64], ref: tuple[int, ...], clip: tuple[int, ...]) -> bool:
    """Tell whether ref's corners land in order, none at infinity, on an area that is neither tiny nor huge."""
    height, width = ref[:2]
    corners = np.array([[0, 0, 1], [width, 0, 1], [width, height, 1], [0, height, 1]], np.float64) @ matrix.T
    if not (corners[:, 2] > 1e-3 * abs(corners[:, 2]).max()).all():
        return False
    quad = (corners[:, :2] / corners[:, 2:]).astype(np.float32)
    area = cv2.contourArea(quad) / (clip[0] * clip[1])
    return bool(cv2.isContourConvex(quad)) and 0.02 < area < 50


def homography_grid(matrix: NDArray[np.float64], shape: tuple[int, ...], cell: int) -> Array:
    """Return a homography's flow at the centres of cells of ``cell`` px, shape (H / cell, W / cell, 2)."""
    rows, columns = shape[0] // cell, shape[1] // cell
    x, y = ((np.arange(count) + 0.5) * cell - 0.5 for count in (columns, rows))
    at = np.dstack(np.meshgrid(x, y))
    to = cv2.perspectiveTransform(at.reshape(-1, 1, 2), matrix).reshape(at.shape)
    flow: Array = (to - at).astype(np.float32)
    return flow
