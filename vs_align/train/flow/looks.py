"""The looks of a release: what happens to a picture between the camera and two different discs."""

import io
import string
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from ..x264 import REPEATABLE

__all__ = ["LOOKS", "dressed"]

type Picture = NDArray[np.float32]
"""RGB, 0 to 255, shape (H, W, 3)."""
type Look = Callable[[Picture, np.random.Generator], Picture]

_BT709 = np.array([0.2126, 0.7152, 0.0722], np.float32)


def dressed(picture: Picture, rng: np.random.Generator, kinds: tuple[str, ...], plain: float) -> Picture:
    """Return a picture with up to five looks, in the order in which they happen; shape and range stay.

    Args:
        picture: the picture.
        rng: what is drawn from.
        kinds: which of `LOOKS` there may be.
        plain: share of pictures that stay as they are.
    """
    if rng.random() < plain or not kinds:
        return picture
    most = min(len(kinds), int(rng.choice([1, 2, 3, 4, 5], p=[0.35, 0.25, 0.2, 0.1, 0.1])))
    weights = np.array([LOOKS[kind][1] for kind in kinds])
    chosen = set(rng.choice(len(kinds), most, replace=False, p=weights / weights.sum()).tolist())
    for place, kind in enumerate(kinds):
        if place in chosen:
            picture = LOOKS[kind][0](picture, rng).clip(0, 255).astype(np.float32)
    return np.rint(picture).astype(np.float32)


def ghost(picture: Picture, rng: np.random.Generator) -> Picture:
    """A weaker copy beside the picture, as an aerial gives it."""
    far = rng.uniform(2, 12) * np.array([rng.choice([-1, 1]), rng.normal(0, 0.15)])
    share = np.float32(rng.uniform(0.1, 0.42))
    moved = cv2.warpAffine(
        picture,
        np.array([[1, 0, far[0]], [0, 1, far[1]]]),
        picture.shape[1::-1],
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    return (1 - share) * picture + share * moved


def resampled(picture: Picture, rng: np.random.Generator) -> Picture:
    """Down to a fraction of the size and up again, by any of the usual kernels."""
    height, width = picture.shape[:2]
    scale = rng.uniform(0.35, 0.9)
    small = (max(8, round(width * scale)), max(8, round(height * scale)))
    down, up = int(rng.choice([cv2.INTER_AREA, cv2.INTER_LINEAR])), int(rng.choice([1, 2, 4]))
    reduced = cv2.resize(picture, small, interpolation=down)
    return np.asarray(cv2.resize(reduced, (width, height), interpolation=up), np.float32)


def blur(picture: Picture, rng: np.random.Generator) -> Picture:
    """Gaussian, not always the same along both axes."""
    sigma = rng.uniform(0.4, 2.0)
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma, sigmaY=sigma * rng.uniform(0.7, 1.4)), np.float32)


def halos(picture: Picture, rng: np.random.Generator) -> Picture:
    """Sharpening beyond what is natural."""
    amount = rng.uniform(0.3, 2.0)
    return np.asarray(
        picture + amount * (picture - cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.7, 2.5))), np.float32
    )


def gamma(picture: Picture, rng: np.random.Generator) -> Picture:
    """Another curve, the same for all channels or one for each."""
    power = np.exp(rng.normal(0, 0.3) + rng.normal(0, 0.1, 3) * (rng.random() < 0.4)).astype(np.float32)
    return np.asarray(255 * (picture / 255) ** power, np.float32)


def matrix(picture: Picture, rng: np.random.Generator) -> Picture:
    """Channels mixed, saturation changed, an offset."""
    mix = np.eye(3) + rng.normal(0, 0.08, (3, 3))
    mixed = picture @ mix.T.astype(np.float32)
    grey = (mixed @ _BT709)[..., None]
    saturated = grey + np.float32(rng.uniform(0.3, 1.6)) * (mixed - grey)
    return np.asarray(saturated + np.float32(rng.normal(0, 8)), np.float32)


def recoloured(picture: Picture, rng: np.random.Generator) -> Picture:
    """Curves that need not rise: what was brighter may be darker."""
    knots = np.linspace(0, 255, 6)
    table = np.arange(256.0)
    out = np.empty_like(picture)
    for channel in range(3):
        curve = np.interp(table, knots, rng.uniform(0, 255, 6)).astype(np.float32)
        curve = cv2.GaussianBlur(curve.reshape(1, -1), (0, 0), 12).reshape(-1)
        share = rng.uniform(0.3, 1)
        out[..., channel] = share * np.interp(picture[..., channel], table, curve) + (1 - share) * picture[..., channel]
    return out


def crushed(picture: Picture, rng: np.random.Generator) -> Picture:
    """Blacks and whites cut off."""
    black, white = rng.uniform(0, 70), rng.uniform(170, 255)
    return (picture - black) * np.float32(255 / (white - black))


def light(picture: Picture, rng: np.random.Generator) -> Picture:
    """Brightness that changes over the picture."""
    height, width = picture.shape[:2]
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    slope = rng.normal(0, 0.25, 3)
    factor = (1 + slope[0] * x + slope[1] * y + slope[2] * (x * x + y * y)).astype(np.float32)
    return np.asarray(picture * factor[..., None], np.float32)


def overlay(picture: Picture, rng: np.random.Generator) -> Picture:
    """A subtitle, a logo or a box of a player's controls."""
    height, width = picture.shape[:2]
    out = picture.clip(0, 255).astype(np.uint8)
    colour = tuple(int(v) for v in rng.choice([0, 30, 200, 235, 255], 3)) if rng.random() < 0.4 else (235,) * 3
    if rng.random() < 0.6:
        words = "".join(rng.choice(list(string.ascii_letters + "   "), int(rng.integers(6, 24))))
        tall = float(rng.uniform(0.5, 1.3))
        place = (int(rng.integers(0, width // 2)), int(height * rng.uniform(0.5, 0.97)))
        font = int(rng.choice([0, 2, 3, 4]))
        thick = max(1, round(2 * tall))
        cv2.putText(out, words, place, font, tall, (0, 0, 0), thick + 3, cv2.LINE_AA)
        cv2.putText(out, words, place, font, tall, colour, thick, cv2.LINE_AA)
        return out.astype(np.float32)
    x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
    drawn = out.copy()
    if rng.random() < 0.5:
        cv2.circle(drawn, (x, y), int(rng.integers(8, 36)), colour, int(rng.choice([-1, 4])), cv2.LINE_AA)
    else:
        cv2.rectangle(drawn, (x, y), (x + int(rng.integers(10, 80)), y + int(rng.integers(8, 50))), colour, -1)
    share = np.float32(rng.uniform(0.4, 1))
    return share * drawn + (1 - share) * out


def grain(picture: Picture, rng: np.random.Generator) -> Picture:
    """Noise: of film or of a sensor, fine or coarse, in brightness or in each channel."""
    channels = 1 if rng.random() < 0.7 else 3
    noise = rng.normal(0, 1, (*picture.shape[:2], channels)).astype(np.float32)
    if rng.random() < 0.5:
        noise = np.asarray(cv2.GaussianBlur(noise, (0, 0), rng.uniform(0.4, 1.2)), np.float32).reshape(noise.shape)
        noise /= max(float(noise.std()), 1e-3)
    return picture + np.float32(np.exp(rng.uniform(np.log(2), np.log(28)))) * noise


def banding(picture: Picture, rng: np.random.Generator) -> Picture:
    """Too few levels."""
    step = np.float32(rng.uniform(4, 24))
    return np.rint(picture / step) * step


def jpeg(picture: Picture, rng: np.random.Generator) -> Picture:
    """A JPEG round trip."""
    options = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(8, 70))]
    _, coded = cv2.imencode(".jpg", picture.clip(0, 255).astype(np.uint8), options)
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.float32)


def x264(picture: Picture, rng: np.random.Generator) -> Picture:
    """A frame of a film encoded by x264: a slow pan, up to the frame that is taken and one beyond."""
    import av

    speed = rng.normal(0, 2, 2)
    count = int(rng.integers(2, 7))
    height, width = picture.shape[:2]
    options = {"crf": str(int(rng.integers(22, 41))), "preset": "veryfast", **REPEATABLE}
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as sink:
        stream = sink.add_stream("libx264", rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for n in range(count + 1):
            shift = np.rint(speed * (n - count + 1))
            there = np.array([[1, 0, shift[0]], [0, 1, shift[1]]])
            moved = cv2.warpAffine(
                picture, there, (width, height), flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT_101
            )
            sink.mux(stream.encode(av.VideoFrame.from_ndarray(moved.clip(0, 255).astype(np.uint8), "rgb24")))
        sink.mux(stream.encode(None))
    buffer.seek(0)
    with av.open(buffer, "r") as source:
        decoded = [frame.to_ndarray(format="rgb24") for frame in source.decode(video=0)]
    return decoded[count - 1].astype(np.float32)


LOOKS: dict[str, tuple[Look, float]] = {
    "resampled": (resampled, 1.0),
    "ghost": (ghost, 1.2),
    "blur": (blur, 1.0),
    "halos": (halos, 0.8),
    "gamma": (gamma, 1.0),
    "matrix": (matrix, 1.0),
    "recoloured": (recoloured, 0.7),
    "crushed": (crushed, 0.8),
    "light": (light, 0.6),
    "overlay": (overlay, 1.0),
    "grain": (grain, 1.2),
    "banding": (banding, 0.4),
    "jpeg": (jpeg, 0.7),
    "x264": (x264, 1.2),
}
"""Each look and how often it is drawn, in the order in which they happen to a picture."""
