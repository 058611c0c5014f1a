"""The pair that the demo makes: a first release, painted by code, and a second one whose truth is known.

The first release is three shots, 12 seconds. The second shows its frames with some dropped and some repeated, and each
of them differently: zoomed, turned and bent by a few pixels, in other colours, softer, with grain.

Of the second release two things are known. In time: `clip_source[k]` is the frame of the first release that frame k of
the second one shows, and the right frames of the second release for frame n of the first are those of the same shot
that show frame n or, where it was dropped, a frame as near to n as any that is left. In space: `true_flow` is where
each pixel of the first release lies in the second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction

import cv2
import numpy as np

Image = np.ndarray
Colour = tuple[int, int, int]  # blue, green, red
WIDTH, HEIGHT = 640, 360
FRAMES, FPS = 288, Fraction(24)
CUTS = (120, 192)  # the first frame of the second and of the third shot
SEED = 5
SECOND_SIZE = (624, 352)
ZOOM, DEGREES, SHIFT_PX, BEND_PX = 1.015, 0.4, (1.0, -0.5), 2.5  # how the second release lies on the first


# ---------------------------------------------------------------- the first release: three painted shots


def noise(rng: np.random.Generator, height: int, width: int, finest: int) -> Image:
    """Return a texture of values 0..1: noise of several sizes, halved in strength with each halving of the size."""
    total = np.zeros((height, width), np.float32)
    size, weight = 128, 1.0
    while size >= finest:
        grid = rng.random((height // size + 3, width // size + 3), np.float32)
        total += weight * cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
        size, weight = size // 2, weight / 2
    return cv2.normalize(total, None, 0, 1, cv2.NORM_MINMAX)


def gradient(top: Colour, bottom: Colour) -> Image:
    """Return a frame-sized sky that goes from one BGR colour to another."""
    ramp = np.linspace(0, 1, HEIGHT, dtype=np.float32)[:, None, None]
    rows = np.float32(top) * (1 - ramp) + np.float32(bottom) * ramp
    return np.ascontiguousarray(np.broadcast_to(rows, (HEIGHT, WIDTH, 3)).astype(np.uint8))


def hills(rng: np.random.Generator, width: int, skyline: int, rough: int, colour: Colour) -> Image:
    """Return a BGRA layer: textured hills whose skyline moves `rough` pixels about the row `skyline`."""
    grass = 0.55 + 0.75 * noise(rng, HEIGHT, width, 2)
    layer = np.zeros((HEIGHT, width, 4), np.uint8)
    layer[..., :3] = np.clip(grass[..., None] * np.float32(colour), 0, 255)
    edge = skyline + rough * 2 * (noise(rng, 1, width, 16)[0] - 0.5)
    layer[..., 3] = 255 * np.clip(np.arange(HEIGHT)[:, None] - edge[None] + 0.5, 0, 1)
    return layer


def cloud_layer(rng: np.random.Generator, colour: Colour) -> Image:
    """Return a BGRA layer: clouds that thin out downwards."""
    layer = np.empty((HEIGHT, 900, 4), np.uint8)
    layer[..., :3] = colour
    fade = np.linspace(1, 0, HEIGHT, dtype=np.float32)[:, None] ** 1.5
    layer[..., 3] = 230 * fade * np.clip(noise(rng, HEIGHT, 900, 4) * 2.6 - 1.2, 0, 1)
    return layer


def town(rng: np.random.Generator, width: int, ground: int) -> Image:
    """Return a BGRA layer: houses of a town at night, some windows lit."""
    layer = np.zeros((HEIGHT, width, 4), np.uint8)
    x = 0
    while x < width:
        wide, high = int(rng.integers(28, 70)), int(rng.integers(40, 150))
        shade = int(rng.integers(26, 58))
        layer[ground - high : ground, x : x + wide] = (shade + 22, shade + 6, shade, 255)
        for wy in range(ground - high + 8, ground - 8, 13):
            for wx in range(x + 6, min(x + wide, width) - 8, 11):
                if rng.random() < 0.45:
                    glow = int(rng.integers(120, 255))
                    layer[wy : wy + 6, wx : wx + 5, :3] = (glow // 3, glow * 4 // 5, glow)
        x += wide + int(rng.integers(0, 12))
    return layer


def seen_from(layer: Image, x: float) -> Image:
    """Return the frame-sized part of a wide layer that begins at x, which may lie between pixels."""
    return cv2.warpAffine(layer, np.float32([[1, 0, -x], [0, 1, 0]]), (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR)


def lay(frame: Image, layer: Image, x: float) -> None:
    """Lay a BGRA layer over the frame as seen from the camera position x."""
    view = seen_from(layer, x)
    alpha = view[..., 3:].astype(np.uint16)
    frame[:] = (view[..., :3] * alpha + frame * (255 - alpha) + 127) // 255


def shape(frame: Image, points: Iterable[tuple[float, float]], colour: Colour) -> None:
    """Fill a polygon whose corners lie between pixels."""
    corners = np.round(np.float32(list(points)) * 16).astype(np.int32)
    cv2.fillPoly(frame, [corners], colour, cv2.LINE_AA, 4)


def disc(frame: Image, x: float, y: float, radius: float, colour: Colour) -> None:
    """Fill a disc whose centre lies between pixels."""
    cv2.circle(frame, (round(x * 16), round(y * 16)), round(radius * 16), colour, -1, cv2.LINE_AA, 4)


def spoke(x: float, y: float, angle: float, near: float, far: float, half: float) -> list[tuple[float, float]]:
    """Return the corners of a bar that points away from (x, y) at an angle in degrees."""
    c, s = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    return [(x + c * r - s * w, y + s * r + c * w) for r, w in ((near, half), (far, half), (far, -half), (near, -half))]


def windmill(frame: Image, x: float, y: float, angle: float) -> None:
    """Draw a windmill with its hub at (x, y), one of its sails red."""
    shape(frame, [(x - 13, y), (x + 13, y), (x + 24, y + 120), (x - 24, y + 120)], (196, 214, 226))
    shape(frame, [(x - 17, y + 2), (x, y - 20), (x + 17, y + 2)], (52, 66, 120))
    for k in range(4):
        colour = (48, 48, 205) if k == 0 else (236, 240, 244)
        shape(frame, spoke(x, y, angle + 90 * k, 14, 82, 9), colour)
        shape(frame, spoke(x, y, angle + 90 * k, 0, 84, 1.6), (40, 52, 70))
    disc(frame, x, y, 5, (40, 52, 70))


def balloon(frame: Image, x: float, y: float, colour: Colour) -> None:
    """Draw a hot-air balloon."""
    disc(frame, x, y, 34, colour)
    shape(frame, [(x - 29, y + 17), (x + 29, y + 17), (x + 8, y + 50), (x - 8, y + 50)], colour)
    stripe = [(x + side * dx, y + dy) for side in (1, -1) for dx, dy in ((9, -32), (12, 18), (4, 50))[::side]]
    shape(frame, stripe, (235, 240, 245))
    shape(frame, [(x - 8, y + 57), (x + 8, y + 57), (x + 6, y + 68), (x - 6, y + 68)], (40, 70, 110))


def birds(frame: Image, x: float, y: float, t: int, colour: Colour) -> None:
    """Draw a flock of birds that beat their wings."""
    for k in range(5):
        bx, by = x - 26 * k + 6 * np.sin(0.11 * t + k), y + 11 * abs(k - 2) + 5 * np.cos(0.17 * t + 2 * k)
        wing = 9 * np.sin(0.55 * t + 1.3 * k)
        for side in (-1, 1):
            tip, bend = (bx + side * 17, by - wing / 3), (bx + side * 8, by - wing - 2)
            shape(frame, [(bx, by), bend, tip, (bx, by + 3)], colour)


def train(frame: Image, x: float, y: float, t: int) -> None:
    """Draw a steam train that goes to the left, its first wheel at (x, y)."""
    for car in range(5):
        left = x + car * 104
        colour = ((40, 40, 165), (150, 98, 40), (60, 120, 52), (40, 120, 190), (120, 50, 110))[car]
        shape(frame, [(left, y - 44), (left + 96, y - 44), (left + 96, y - 4), (left, y - 4)], colour)
        for window in range(4 if car else 1):
            wx = left + 9 + 22 * window + (58 if car == 0 else 0)
            shape(frame, [(wx, y - 37), (wx + 14, y - 37), (wx + 14, y - 21), (wx, y - 21)], (170, 232, 250))
        for wheel in (16, 48, 80):
            disc(frame, left + wheel, y, 10, (30, 30, 34))
            shape(frame, spoke(left + wheel, y, -26 * t, -9, 9, 1.5), (190, 190, 200))
    shape(frame, [(x + 12, y - 66), (x + 28, y - 66), (x + 25, y - 42), (x + 15, y - 42)], (30, 30, 34))
    for puff in range(9):
        age = puff * 4 + t % 4
        disc(frame, x + 20 + 7.5 * age, y - 72 - 1.6 * age, 5 + 0.55 * age, (210 - 2 * age,) * 3)


def valley(rng: np.random.Generator) -> Callable[[int], Image]:
    """Return the first shot's painter: a pan over hills with a windmill, balloons and birds."""
    sky = gradient((232, 178, 112), (238, 226, 206))
    clouds = cloud_layer(rng, (250, 250, 250))
    far, middle, near = (
        hills(rng, 1200, 214, 50, (168, 150, 122)),
        hills(rng, 1200, 256, 34, (84, 142, 110)),
        hills(rng, 1400, 318, 26, (44, 116, 92)),
    )

    def paint(t: int) -> Image:
        frame = sky.copy()
        lay(frame, clouds, 0.7 * t)
        lay(frame, far, 1.1 * t)
        balloon(frame, 470 - 0.9 * t, 92 + 12 * np.sin(0.07 * t), (60, 90, 225))
        balloon(frame, 250 + 1.2 * t, 140 - 0.55 * t, (190, 120, 50))
        lay(frame, middle, 2.2 * t)
        windmill(frame, 545 - 3.1 * t, 182, 7 * t)
        lay(frame, near, 4.2 * t)
        birds(frame, 60 + 3.4 * t, 66, t, (58, 48, 44))
        return frame

    return paint


def harbour(rng: np.random.Generator) -> Callable[[int], Image]:
    """Return the second shot's painter, a slow one: a town by the water at night, a boat, the beam of a lighthouse."""
    sky = gradient((74, 38, 16), (128, 84, 66))
    sky[rng.integers(0, 200, 160), rng.integers(0, WIDTH, 160)] = rng.integers(90, 255, (160, 1))
    disc(sky, 128, 74, 30, (206, 232, 240))
    disc(sky, 118, 67, 6, (178, 206, 218))
    disc(sky, 138, 84, 8, (182, 210, 220))
    houses = town(rng, 1000, 262)
    ripples = noise(rng, HEIGHT, 1000, 4)

    def paint(t: int) -> Image:
        frame = sky.copy()
        lay(frame, houses, 30 + 0.8 * t)
        glow = frame[162:262][::-1]
        water = seen_from(ripples, 200 - 1.5 * t)[260:360, :, None]
        frame[260:360] = np.clip(glow * (0.25 + 0.55 * water) + np.float32((52, 30, 14)), 0, 255)
        shape(frame, [(560, 196), (576, 196), (582, 270), (554, 270)], (190, 196, 204))
        beam = frame.copy()
        shape(beam, spoke(568, 190, 150 + 0.9 * t, 0, 700, 34), (150, 220, 236))
        cv2.addWeighted(beam, 0.3, frame, 0.7, 0, frame)
        disc(frame, 568, 190, 10, (200, 244, 255))
        x, y = 170 + 1.6 * t, 300 + 2.5 * np.sin(0.2 * t)
        shape(frame, [(x - 44, y), (x + 44, y), (x + 30, y + 20), (x - 34, y + 20)], (60, 60, 150))
        shape(frame, [(x + 2, y - 88), (x + 2, y - 6), (x + 42, y - 6)], (214, 220, 226))
        shape(frame, [(x - 3, y - 80), (x - 3, y - 6), (x - 34, y - 6)], (176, 186, 196))
        return frame

    return paint


def railway(rng: np.random.Generator) -> Callable[[int], Image]:
    """Return the third shot's painter: a fast pan at dusk with a train that overtakes the camera."""
    sky = gradient((146, 70, 74), (96, 158, 246))
    disc(sky, 430, 196, 40, (170, 226, 255))
    clouds = cloud_layer(rng, (150, 136, 232))
    far, middle, near = (
        hills(rng, 1200, 216, 54, (122, 76, 92)),
        hills(rng, 1400, 262, 30, (66, 58, 84)),
        hills(rng, 1700, 322, 12, (44, 62, 72)),
    )

    def paint(t: int) -> Image:
        frame = sky.copy()
        lay(frame, clouds, 2.2 * t)
        lay(frame, far, 1.5 * t)
        birds(frame, 600 - 2.6 * t, 90, t, (40, 26, 30))
        lay(frame, middle, 3.0 * t)
        train(frame, 560 - 8.5 * t, 306, t)
        lay(frame, near, 6.0 * t)
        return frame

    return paint


def paint_first() -> Iterator[Image]:
    """Yield the frames of the first release, BGR."""
    rng = np.random.default_rng(SEED)
    shots = (valley(rng), harbour(rng), railway(rng))
    starts = (0, *CUTS)
    for n in range(FRAMES):
        shot = shot_of(n)
        yield shots[shot](n - starts[shot])


# ---------------------------------------------------------------- the second release, and the truth


def shot_of(n: int) -> int:
    """Return the number of the shot that frame n of the first release belongs to."""
    return sum(n >= cut for cut in CUTS)


def make_clip_source() -> list[int]:
    """Return, for each frame of the second release, the frame of the first that it shows.

    At 24 places it drops one to three frames, or shows one frame up to three times more.
    """
    rng = np.random.default_rng(SEED)
    times = dict.fromkeys(range(FRAMES), 1)
    for place in np.sort(rng.choice(np.arange(2, FRAMES // 8 - 1), 24, replace=False)) * 8:
        if rng.random() < 0.5:
            times.update(dict.fromkeys(range(place, place + int(rng.integers(1, 4))), 0))
        else:
            times[int(place)] += int(rng.integers(1, 4))
    return [n for n, count in times.items() for _ in range(count)]


def right_frames(clip_source: list[int], n: int) -> set[int]:
    """Return the frames of the second release that are right for frame n of the first."""
    distance = {k: abs(source - n) for k, source in enumerate(clip_source) if shot_of(source) == shot_of(n)}
    nearest = min(distance.values())
    return {k for k, d in distance.items() if d == nearest}


def into_first(x: Image, y: Image) -> tuple[Image, Image]:
    """Return where the second release looks at the first, both in pixels of the first; the whole pair has one warp."""
    dx, dy = x - (WIDTH - 1) / 2, y - (HEIGHT - 1) / 2
    c, s = np.cos(np.deg2rad(DEGREES)) / ZOOM, np.sin(np.deg2rad(DEGREES)) / ZOOM
    bend_x = BEND_PX * np.sin(2 * np.pi * (y / 330 + x / 900))
    bend_y = BEND_PX * np.sin(2 * np.pi * (x / 400 - y / 700) + 1)
    return x + (c - 1) * dx - s * dy + SHIFT_PX[0] + bend_x, y + s * dx + (c - 1) * dy + SHIFT_PX[1] + bend_y


def true_flow() -> Image:
    """Return the displacement (dx, dy) at which the second release shows each pixel of the first.

    Returns:
        Shape (HEIGHT, WIDTH, 2), in pixels of the first release, the second brought to its size.
    """
    x, y = np.meshgrid(np.arange(WIDTH, dtype=np.float64), np.arange(HEIGHT, dtype=np.float64))
    at_x, at_y = x, y
    # The inverse of `into_first`, which moves things little: each round leaves a twentieth of the error.
    for _ in range(10):
        to_x, to_y = into_first(at_x, at_y)
        at_x, at_y = at_x + x - to_x, at_y + y - to_y
    return np.dstack([at_x - x, at_y - y])


def displaced(frame: Image) -> Image:
    """Return a frame of the first release as it lies in the second, in the second's size."""
    width, height = SECOND_SIZE
    x, y = np.meshgrid(
        (np.arange(width) + 0.5) * WIDTH / width - 0.5, (np.arange(height) + 0.5) * HEIGHT / height - 0.5
    )
    at_x, at_y = (part.astype(np.float32) for part in into_first(x, y))
    return cv2.remap(frame, at_x, at_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def second_look(frame: Image, rng: np.random.Generator) -> Image:
    """Return a frame as the second release shows it: displaced, softer, warmer, paler, darker in the middle, grainy."""
    look = cv2.GaussianBlur(displaced(frame), (0, 0), 0.6).astype(np.float32) / 255
    grey = look.mean(axis=2, keepdims=True)
    look = (grey + 0.7 * (look - grey)) ** 1.25 * np.float32((0.78, 0.9, 0.98)) + 0.03
    grain = cv2.GaussianBlur(rng.standard_normal(look.shape[:2], np.float32), (0, 0), 0.7)
    return np.clip(look * 255 + 6 * grain[..., None], 0, 255).astype(np.uint8)
