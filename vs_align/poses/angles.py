"""The angles at a person's joints, and how far apart two poses are."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .skeleton import ANGLES, MIRRORED_ANGLES

__all__ = ["circular_difference", "joint_angles", "mean_of", "mirrored_angles", "pose_distance", "weighted"]

type Floats = NDArray[np.float64]


def joint_angles(points: ArrayLike, pixel_shape: float = 1.0) -> tuple[Floats, Floats]:
    """Return the angle at each joint, and how sure it is.

    Convention: the angle at b is that by which the direction from b to a must be turned to become that from b to c, on
    screen clockwise, since y points down. It does not depend on where the person stands, how large or how tilted.

    Args:
        points: x, y and confidence of the keypoints, shape (..., 17, 3); x and y in pixels.
        pixel_shape: width of a pixel over its height, as it is meant to be seen.

    Returns:
        Degrees in [0, 360), and the lowest confidence of the three keypoints, both of shape (..., 10), in the order of
        `skeleton.ANGLES`. Where two of the keypoints are one, there is no angle: 0, with confidence 0.

    Source: PoseSync (arXiv 2308.12600), which has the difference of two ``atan2`` in the place of one.
    """
    every = np.asarray(points, np.float64)
    a, b, c = (every[..., list(part), :] for part in zip(*ANGLES, strict=True))
    (ux, uy), (vx, vy) = (((end - b)[..., 0] * pixel_shape, (end - b)[..., 1]) for end in (a, c))
    cross, dot = ux * vy - uy * vx, ux * vx + uy * vy
    degrees = np.degrees(np.arctan2(cross, dot)) % 360.0
    # What is a hair below 0 has become 360.
    degrees[degrees >= 360.0] = 0.0
    sure = np.minimum(np.minimum(a[..., 2], b[..., 2]), c[..., 2])
    none = ((ux == 0) & (uy == 0)) | ((vx == 0) & (vy == 0))
    return np.where(none, 0.0, degrees), np.where(none, 0.0, sure)


def mirrored_angles(degrees: Floats, sure: Floats) -> tuple[Floats, Floats]:
    """Return what `joint_angles` says of the same person in a mirror: sides swapped, turned the other way."""
    other = list(MIRRORED_ANGLES)
    turned = -degrees[..., other] % 360.0
    turned[turned >= 360.0] = 0.0
    return turned, sure[..., other]


def circular_difference(first: ArrayLike, second: ArrayLike) -> Floats:
    """Return the smaller way round from one angle to another, 0 to 180 degrees: 359 and 1 are 2 apart."""
    apart = np.abs(np.subtract(first, second, dtype=np.float64)) % 360.0
    return np.minimum(apart, 360.0 - apart)


def pose_distance(
    first: tuple[ArrayLike, ArrayLike], second: tuple[ArrayLike, ArrayLike], least: float = 0.0
) -> Floats:
    """Return how far apart two poses are: the weighted mean of their angles' circular differences.

    An angle counts as much as the less sure of the two says; one that either pose does not show does not count.

    Args:
        first, second: degrees and confidences as from `joint_angles`, shapes (..., 10) that go together.
        least: confidences below are none.

    Returns:
        0 to 180 degrees, shape (...,); infinite where no angle counts.
    """
    total, weight = weighted(first, second, least)
    return mean_of(total, weight)


def weighted(
    first: tuple[ArrayLike, ArrayLike], second: tuple[ArrayLike, ArrayLike], least: float = 0.0
) -> tuple[Floats, Floats]:
    """Return the weighted sum of which `pose_distance` is the mean, and its weight."""
    weight = np.minimum(np.asarray(first[1], np.float64), np.asarray(second[1], np.float64))
    weight = np.where(weight < least, 0.0, weight)
    return (weight * circular_difference(first[0], second[0])).sum(-1), weight.sum(-1)


def mean_of(total: Floats, weight: Floats) -> Floats:
    """Return sums over their weights, infinite where there is no weight."""
    shape = np.broadcast_shapes(np.shape(total), np.shape(weight))
    means: Floats = np.divide(total, weight, out=np.full(shape, np.inf), where=np.asarray(weight) > 0)
    return means
