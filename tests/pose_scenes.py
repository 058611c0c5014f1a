"""Made people: skeletons that move, with known time warps, another body, noise, missing joints and a passer-by."""

from dataclasses import dataclass

import numpy as np

# Limb lengths in body heights: trunk, shoulder and hip half widths, upper and lower arm, thigh, shank, neck.
BODY = {"trunk": 0.30, "shoulder": 0.11, "hip": 0.07, "arm": 0.17, "hand": 0.15, "thigh": 0.24, "shank": 0.24}
RATE = 25.0


def smooth(rng: np.random.Generator, times: np.ndarray, size: float) -> np.ndarray:
    """A movement that does not repeat: sines of 0.15 to 0.9 Hz that share no period."""
    rates = rng.uniform(0.15, 0.9, 5)
    phases, heights = rng.uniform(0, 2 * np.pi, 5), rng.uniform(0.4, 1, 5)
    return size * (heights * np.sin(2 * np.pi * rates * times[:, None] + phases)).sum(1) / np.sqrt((heights**2).sum())


def turned(length: float, angle: np.ndarray) -> np.ndarray:
    """A limb that hangs straight down at angle 0."""
    return length * np.stack([np.sin(angle), np.cos(angle)], -1)


def performance(seed: int, times: np.ndarray, body: dict[str, float] = BODY, height: float = 400.0) -> np.ndarray:
    """The keypoints of a person at some times in s, shape (T, 17, 3), all sure; the movement depends on the seed."""
    rng = np.random.default_rng(seed)
    lean = smooth(rng, times, 0.15)
    points = np.zeros((len(times), 17, 3))
    hips = np.stack([300 / height + smooth(rng, times, 0.1), 1.2 + smooth(rng, times, 0.05)], -1)
    neck = hips - turned(body["trunk"], lean)
    points[:, 0, :2] = neck - turned(0.12, lean)
    for k, across in ((1, 0.02), (2, -0.02), (3, 0.04), (4, -0.04)):
        points[:, k, :2] = points[:, 0, :2] + [across, -0.02]
    for side, sign in ((0, 1), (1, -1)):
        width = np.stack([np.cos(lean), np.sin(lean)], -1) * sign
        points[:, 5 + side, :2] = neck + body["shoulder"] * width
        points[:, 11 + side, :2] = hips + body["hip"] * width
        upper = sign * 0.6 + smooth(rng, times, 0.8)
        points[:, 7 + side, :2] = points[:, 5 + side, :2] + turned(body["arm"], upper)
        points[:, 9 + side, :2] = points[:, 7 + side, :2] + turned(body["hand"], upper + smooth(rng, times, 0.9))
        thigh = sign * 0.2 + smooth(rng, times, 0.45)
        points[:, 13 + side, :2] = points[:, 11 + side, :2] + turned(body["thigh"], thigh)
        points[:, 15 + side, :2] = points[:, 13 + side, :2] + turned(body["shank"], thigh - smooth(rng, times, 0.4))
    points[..., :2] *= height
    points[..., 2] = 1.0
    return points


def other_body(rng: np.random.Generator) -> dict[str, float]:
    """The lengths of somebody else's limbs: each up to a fifth longer or shorter."""
    return {limb: length * rng.uniform(0.8, 1.2) for limb, length in BODY.items()}


def spoiled(points: np.ndarray, rng: np.random.Generator, noise: float = 0.03, missing: float = 0.1) -> np.ndarray:
    """The same with noise, in body heights, and without some joints."""
    tall = np.ptp(points[..., 1], axis=1).mean()
    out = points.copy()
    out[..., :2] += noise * tall * rng.standard_normal(out[..., :2].shape)
    out[..., 2] = rng.uniform(0.5, 1.0, out.shape[:2])
    lost = rng.random(out.shape[:2]) < missing
    out[lost] = [0.0, 0.0, 0.0]
    return out


def warp(rng: np.random.Generator, length: int) -> np.ndarray:
    """The time in frames of the other performance at each frame: speeds of 0.6 to 1.6, and two rests."""
    speed = np.interp(np.arange(length), np.linspace(0, length, 7), rng.uniform(0.6, 1.6, 7))
    for at in (0.3, 0.7):
        first = int(length * (at + rng.uniform(-0.08, 0.08)))
        speed[first : first + int(rng.integers(8, 20))] = 0.0
    return np.cumsum(speed) - speed[0]


@dataclass(frozen=True)
class Pair:
    """Two performances of one movement: ref's frame n shows the moment of clip's frame ``truth[n]``."""

    clip: np.ndarray
    ref: np.ndarray
    truth: np.ndarray


def pair(seed: int, length: int = 200) -> Pair:
    """A made pair: rests, speed-ups, another body size, noise of 3 % of the body's height, 10 % of joints missing."""
    rng = np.random.default_rng(1000 + seed)
    truth = warp(rng, length)
    count = int(np.ceil(truth[-1])) + 1
    clip = performance(seed, np.arange(count) / RATE)
    ref = performance(seed, truth / RATE, other_body(rng), height=400 * rng.uniform(0.4, 2.0))
    return Pair(spoiled(clip, rng), spoiled(ref, rng), truth)


def turn(axis: str, angle: np.ndarray) -> np.ndarray:
    """Rotations about an axis, "x" across, "y" down or "z" away, shape (T, 3, 3)."""
    first, second = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    out = np.tile(np.eye(3), (len(angle), 1, 1))
    out[:, first, first] = out[:, second, second] = np.cos(angle)
    out[:, second, first] = np.sin(angle)
    out[:, first, second] = -out[:, second, first]
    return out


def whole_body(seed: int, times: np.ndarray, body: dict[str, float]) -> np.ndarray:
    """Where a person's joints are in space at some times in s, in body heights, shape (T, 17, 3)."""
    rng = np.random.default_rng(seed)

    def sway(size: float) -> np.ndarray:
        return smooth(rng, times, size)

    trunk = turn("z", sway(0.15)) @ turn("x", sway(0.2)) @ turn("y", sway(0.3))
    points = np.zeros((len(times), 17, 3))
    hips = np.stack([sway(0.1), sway(0.05), sway(0.1)], -1)
    neck = hips - body["trunk"] * trunk[..., 1]
    points[:, :5] = (neck - 0.12 * trunk[..., 1])[:, None]
    for side, sign in ((0, 1), (1, -1)):
        points[:, 5 + side] = neck + sign * body["shoulder"] * trunk[..., 0]
        points[:, 11 + side] = hips + sign * body["hip"] * trunk[..., 0]
        upper = trunk @ turn("z", -sign * (0.5 + np.abs(sway(0.7)))) @ turn("x", sway(0.6))
        lower = upper @ turn("x", -0.1 - np.abs(sway(1.0))) @ turn("y", sway(0.4))
        thigh = turn("z", -sign * (0.12 + np.abs(sway(0.25)))) @ turn("x", -np.abs(sway(0.5)))
        shank = thigh @ turn("x", np.abs(sway(0.6)))
        for first, limb, way in ((5, "arm", upper), (7, "hand", lower), (11, "thigh", thigh), (13, "shank", shank)):
            points[:, first + 2 + side] = points[:, first + side] + body[limb] * way[..., 1]
    return points


def filmed(places: np.ndarray, degrees: float) -> np.ndarray:
    """The keypoints that a camera four body heights away sees, turned about the person by some degrees."""
    seen = places @ turn("y", np.radians([degrees]))[0].T
    pixels = 400 * 4 * seen[..., :2] / (4 + seen[..., 2:]) + 500
    return np.concatenate([pixels, np.ones((*seen.shape[:2], 1))], -1)


def sides(seed: int, degrees: float, length: int = 200) -> Pair:
    """A pair as `pair` makes it, but in space, and seen from so many degrees apart; noise of 1.5 %."""
    rng = np.random.default_rng(5000 + seed)
    truth = warp(rng, length)
    clip = whole_body(seed, np.arange(int(np.ceil(truth[-1])) + 1) / RATE, BODY)
    ref = whole_body(seed, truth / RATE, other_body(rng))
    first = rng.uniform(-20, 20)
    clip, ref = filmed(clip, first), filmed(ref, first + degrees)
    return Pair(spoiled(clip, rng, 0.015), spoiled(ref, rng, 0.015), truth)


def passed_by(points: np.ndarray, seed: int) -> list[dict]:
    """COCO results of the same with a second, larger person who walks through, listed first where both are there."""
    rng = np.random.default_rng(2000 + seed)
    tall = np.ptp(points[..., 1], axis=1).max()
    length = len(points)
    walker = performance(seed + 500, np.arange(length) / RATE, height=1.3 * tall / 0.9)
    walker[..., 0] += np.linspace(-3 * tall, 4 * tall, length)[:, None] - walker[..., 0].mean()
    walker = spoiled(walker, rng)
    centre = points[..., 0][points[..., 2] > 0].mean()
    there = np.abs(walker[..., 0].mean(1) - centre) < 1.5 * tall
    rows = []
    for n in range(length):
        people = [walker[n], points[n]] if there[n] else [points[n]]
        rows += [{"image_id": n, "category_id": 1, "keypoints": each.ravel().tolist(), "score": 0.9} for each in people]
    return rows
