"""What makes two pictures of the same thing comparable: noise measured, light and contrast taken out, blur matched."""

import cv2
import numpy as np

from .geometry import Array, reduced

__all__ = ["agreement", "matching_blur", "noise", "normalised", "smoothed"]

# Immerkaer, "Fast noise variance estimation", 1996: blind to planes and to straight edges along the axes.
_IMMERKAER = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32) / 6
_BLOCK = 16
# Local means are taken at this fraction of the size.
_STEP = 4
_QUIET = 0.25
_BLURS = (0.5, 0.7, 0.9, 1.05, 1.2, 1.4, 1.7, 2.1)
# Correlation that a blur has to gain.
_GAIN = 0.003
# Correlation that it has to reach: below, the pictures differ by more than blur, such as noise or a ghost.
_ALIKE = 0.96


def noise(image: Array) -> float:
    """Return the standard deviation of the noise in an image, in its own unit, from its quieter blocks."""
    response = np.abs(cv2.filter2D(image, cv2.CV_32F, _IMMERKAER))
    height, width = (side // _BLOCK * _BLOCK for side in image.shape)
    if not height or not width:
        return 0.0
    blocks = reduced(response[:height, :width], _BLOCK)
    return float(np.sqrt(np.pi / 2) * np.quantile(blocks, _QUIET))


def smoothed(image: Array, sigma: float) -> Array:
    """Return a Gaussian-smoothed image; sigma in pixels, 0 leaves it as it is."""
    return cv2.GaussianBlur(image, (0, 0), sigma) if sigma > 0 else image


def normalised(image: Array, sigma: float, floor: float) -> Array:
    """Subtract the local mean and divide by the local deviation.

    Args:
        image: float32, shape (H, W), sides multiples of 4.
        sigma: size of the neighbourhood in pixels, a Gaussian's.
        floor: deviation in the image's unit below which a place counts as flat.
    """
    mean, square = (smoothed(reduced(part, _STEP), sigma / _STEP) for part in (image, image * image))
    gain = 1 / np.sqrt(np.maximum(square - mean * mean, 0) + np.float32(floor * floor))
    return (image - _linear(mean, _STEP)) * _linear(gain, _STEP)


def _linear(small: Array, factor: int) -> Array:
    height, width = small.shape
    large: Array = cv2.resize(small, (width * factor, height * factor), interpolation=cv2.INTER_LINEAR)
    return large


def agreement(ref: Array, clip: Array, keep: Array) -> float:
    """Return the correlation of two locally normalised pictures where ``keep`` says, -1 to 1."""
    return _correlation(ref * keep, clip * keep)


def matching_blur(ref: Array, clip: Array, keep: Array) -> float:
    """Return by how much the sharper of two aligned pictures has to be blurred to be like the other.

    What is compared is the detail in the middle of the picture: the correlation of what lies above a Gaussian of 2 px.

    Returns:
        A Gaussian's sigma in pixels: positive to blur clip, negative to blur ref, 0 where that gains nothing.
    """
    rows, columns = (slice(side // 4, side - side // 4) for side in ref.shape)
    weight = keep[rows, columns]
    detail = [(part[rows, columns] - smoothed(part[rows, columns], 2.0)) * weight for part in (ref, clip)]
    plain = _correlation(detail[0], detail[1])
    best, most = 0.0, max(plain + _GAIN, _ALIKE)
    for sigma in _BLURS:
        for side, sign in ((1, 1), (0, -1)):
            tried = list(detail)
            tried[side] = smoothed(tried[side], sigma)
            found = _correlation(tried[0], tried[1])
            if found > most:
                best, most = sign * sigma, found
    return best


def _correlation(a: Array, b: Array) -> float:
    return float(np.vdot(a, b) / np.sqrt(max(float(np.vdot(a, a)) * float(np.vdot(b, b)), 1e-12)))
