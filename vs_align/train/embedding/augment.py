"""How a view of a clip looks: the same for all of its frames."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..configs import number

__all__ = ["Augmentation", "Look", "augmented", "plain"]

type Frames = NDArray[np.uint8]
"""RGB, (T, H, W, 3)."""

_GREY = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """How far views may differ in look.

    Attributes:
        crop: the least share of the picture's area that is kept.
        flip: how often it is mirrored, 0 to 1, as are the next ones.
        jitter: how often colours are changed.
        brightness, contrast, saturation: by factors from 1 less this to 1 more this.
        hue: turned by up to this share of the circle either way.
        blur: how often it is blurred.
        grey: how often it loses its colours.
    """

    crop: float = number(0.8, least=0.05, most=1)
    flip: float = number(0.5, least=0, most=1)
    jitter: float = number(0.8, least=0, most=1)
    brightness: float = number(0.8, least=0, most=1)
    contrast: float = number(0.8, least=0, most=1)
    saturation: float = number(0.8, least=0, most=1)
    hue: float = number(0.2, least=0, most=0.5)
    blur: float = number(0.5, least=0, most=1)
    grey: float = number(0.2, least=0, most=1)


@dataclass(frozen=True, slots=True)
class Look:
    """What was drawn for one view. Shares are of the picture's sides."""

    left: float
    top: float
    width: float
    height: float
    flip: bool
    brightness: float
    contrast: float
    saturation: float
    hue_degrees: float
    blur_sigma: float
    grey: bool

    @classmethod
    def drawn(cls, limits: Augmentation, size: int, rng: np.random.Generator) -> "Look":
        """Draw a look for frames of a size in pixels."""
        area, shape = rng.uniform(limits.crop, 1), np.exp(rng.uniform(-1, 1) * np.log(4 / 3))
        # Of another shape only as far as the picture has room for it.
        shape = float(np.clip(shape, area, 1 / area))
        width, height = np.sqrt(area * shape), np.sqrt(area / shape)
        left, top = rng.uniform(0, 1 - width), rng.uniform(0, 1 - height)
        flip = bool(rng.random() < limits.flip)
        jitter = float(rng.random() < limits.jitter)
        brightness, contrast, saturation = (
            1 + jitter * rng.uniform(-most, most) for most in (limits.brightness, limits.contrast, limits.saturation)
        )
        hue = 360 * jitter * rng.uniform(-limits.hue, limits.hue)
        # The sigmas of 224 px.
        sigma = float(rng.random() < limits.blur) * rng.uniform(0.1, 2) * size / 224
        grey = bool(rng.random() < limits.grey)
        return cls(left, top, width, height, flip, brightness, contrast, saturation, hue, sigma, grey)


def augmented(frames: Frames, size: int, look: Look) -> Frames:
    """Return frames as a view shows them.

    Args:
        frames: (T, H, W, 3).
        size: side of the view in pixels.
        look: the view's.

    Returns:
        (T, size, size, 3).
    """
    height, width = frames.shape[1:3]
    left, top = round(look.left * width), round(look.top * height)
    right, bottom = max(left + 1, round((look.left + look.width) * width)), round((look.top + look.height) * height)
    cropped = frames[:, top : max(top + 1, bottom), left:right]
    seen = np.stack([_resized(frame, size) for frame in cropped])
    if look.flip:
        seen = seen[:, :, ::-1]
    return _coloured(seen, look)


def plain(frames: Frames, size: int) -> Frames:
    """Return frames as they are, (T, size, size, 3)."""
    return np.stack([_resized(frame, size) for frame in frames])


def _resized(frame: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    how = cv2.INTER_AREA if min(frame.shape[:2]) > size else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(frame, (size, size), interpolation=how), np.uint8)


def _coloured(seen: Frames, look: Look) -> Frames:
    """Change light, contrast, colours and sharpness, in this order."""
    light: Any = seen.astype(np.float32) * look.brightness
    light = look.contrast * light + (1 - look.contrast) * float(light.mean())
    np.clip(light, 0, 255, out=light)
    saturation = 0.0 if look.grey else look.saturation
    light = saturation * light + (1 - saturation) * (light @ _GREY)[..., None]
    np.clip(light, 0, 255, out=light)
    if look.hue_degrees and not look.grey:
        flat = np.ascontiguousarray(light).reshape(-1, light.shape[2], 3)
        hsv = cv2.cvtColor(flat, cv2.COLOR_RGB2HSV)
        hsv[..., 0] = (hsv[..., 0] + look.hue_degrees) % 360
        light = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB).reshape(light.shape)
    if look.blur_sigma > 0.2:
        light = np.stack([cv2.GaussianBlur(frame, (0, 0), look.blur_sigma) for frame in light])
    return np.ascontiguousarray(np.rint(np.clip(light, 0, 255)), np.uint8)
