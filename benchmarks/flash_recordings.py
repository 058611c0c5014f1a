"""Made recordings of flashes: several cameras with known clocks, from a seed.

All cameras watch 300 seconds of flashes. Each begins up to 44 s before them, runs by its own clock (drift up to 50
ppm), reads its rows one after the other (one of two readout times; one camera reads them from the bottom), exposes each
for 1 ms up to nearly the time of a frame, misses a third of the flashes and sees as many that the others do not.
Besides: hand-held motion, exposure changes, passages of other brightness, lost frames, and one camera whose frame times
jitter.

A row whose exposure begins at s takes in what of the flash from t to t + length lies between s and s + exposure.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vs_align.flashes import RowFeatures

type Floats = NDArray[np.float64]

DURATION_MS = 300_000.0
HEIGHT = 240
_RATES = (24.0, 25.0, 30000 / 1001, 50.0, 60000 / 1001)


@dataclass(frozen=True)
class Light:
    """A flash: when it begins and how long it lasts, in ms of true time."""

    time: float
    length: float


@dataclass(frozen=True)
class CameraTruth:
    """What is true of a camera. True time is drift * stamp + shift + row * time_per_row, ms, where a row begins."""

    drift: float
    shift: float
    time_per_row: float
    exposure: float
    stamps: Floats
    lights: tuple[Light, ...]
    levels: Floats

    def row_times(self, frames: NDArray[np.int64] | slice, height: int = HEIGHT) -> Floats:
        """Return when each row of some frames begins, true ms, shape (frames, height)."""
        start = self.drift * self.stamps[frames] + self.shift
        return np.asarray(start[:, None] + np.arange(height) * self.time_per_row)


@dataclass(frozen=True)
class Recording:
    """Cameras, and the flashes that are no camera's own."""

    cameras: dict[str, CameraTruth]
    flashes: tuple[Light, ...]

    def clock(self, name: str, base: str) -> tuple[float, float]:
        """Return drift and shift from a camera's time to the base camera's."""
        one, ref = self.cameras[name], self.cameras[base]
        return one.drift / ref.drift, (one.shift - ref.shift) / ref.drift


@dataclass(frozen=True)
class Wishes:
    """What a recording is to have besides: whole-millisecond stamps, a global shutter, a start that is not 0."""

    whole_ms: bool = False
    global_shutter: bool = False
    start_ms: float = 0.0
    cameras: int | None = None


def recording(seed: int, wishes: Wishes = Wishes()) -> Recording:
    """Draw a recording."""
    rng = np.random.default_rng(seed)
    count = wishes.cameras or int(rng.integers(2, 7))
    length = float(np.exp(rng.uniform(np.log(0.3), np.log(2.0))))
    flashes = tuple(
        Light(float(t), length * float(rng.uniform(0.85, 1.15)))
        for t in _apart(rng, int(rng.integers(18, 29)), 0, DURATION_MS)
    )
    readouts = rng.uniform(18, 32), rng.uniform(10, 16)
    jittery, upside_down = rng.permutation(count)[:2]
    cameras = {}
    for k in range(count):
        truth = _camera(rng, readouts[k % 2], flashes, jitter=k == jittery, start_ms=wishes.start_ms)
        if k == upside_down:
            readout = truth.time_per_row * (HEIGHT - 1)
            truth = replace(truth, shift=truth.shift + readout, time_per_row=-truth.time_per_row)
        cameras[f"camera{k}"] = truth
    if wishes.global_shutter:
        last = f"camera{count - 1}"
        cameras[last] = _global(rng, cameras[last], flashes)
    return Recording(cameras, flashes)


def _apart(rng: np.random.Generator, count: int, start: float, stop: float) -> Floats:
    """Draw times at least 400 ms apart."""
    free = np.sort(rng.uniform(0, stop - start - 400 * count, count))
    return np.asarray(start + free + 400 * np.arange(count))


def _camera(
    rng: np.random.Generator, readout: float, flashes: tuple[Light, ...], *, jitter: bool, start_ms: float
) -> CameraTruth:
    """Draw a camera of the highest usual rate at which there is time to read a frame."""
    interval = 1000 / max(rate for rate in _RATES if readout <= 970 / rate)
    exposure = float(np.exp(rng.uniform(0, np.log(0.96 * interval))))
    drift = 1 + float(rng.uniform(-50e-6, 50e-6))
    begin = -float(rng.uniform(0, 44_000))
    stamps = _stamps(rng, interval, int((DURATION_MS + 2000 - begin) / interval), jitter=jitter) + start_ms
    truth = CameraTruth(drift, begin - drift * start_ms, readout / HEIGHT, exposure, stamps, (), np.empty(0))
    lights = _seen(rng, truth, flashes)
    return replace(truth, lights=lights, levels=rng.uniform(40, 140, len(lights)))


def _global(rng: np.random.Generator, truth: CameraTruth, flashes: tuple[Light, ...]) -> CameraTruth:
    """Make a global shutter of a camera, one that is open most of the time: else it hardly sees a flash."""
    exposure = float(rng.uniform(0.6, 0.96) * np.median(np.diff(truth.stamps)))
    truth = replace(truth, time_per_row=0.0, exposure=exposure)
    lights = _seen(rng, truth, flashes)
    return replace(truth, lights=lights, levels=rng.uniform(40, 140, len(lights)))


def _stamps(rng: np.random.Generator, interval: float, count: int, *, jitter: bool) -> Floats:
    """Draw when frames are taken, from 0 on, some of them lost."""
    steps = np.full(count, interval)
    if jitter:
        off = rng.random(count) < 0.16
        # A frame cannot begin before the one before it is read.
        steps[off] += rng.uniform(0.2, 8, int(off.sum()))
    lost = rng.random(count) < 0.003
    hole = int(rng.integers(1000, count - 1000))
    lost[hole : hole + int(rng.integers(3, 20))] = True
    return np.asarray((np.cumsum(steps) - steps[0])[~lost])


def _seen(rng: np.random.Generator, truth: CameraTruth, flashes: tuple[Light, ...]) -> tuple[Light, ...]:
    """Leave out a third of the flashes, those first that fall between two frames, and add as many false ones."""
    every = replace(truth, lights=flashes, levels=np.ones(len(flashes)))
    blind = [k for k in range(len(flashes)) if not glow(replace(every, lights=(flashes[k],)))]
    third = len(flashes) // 3
    others = rng.permutation([k for k in range(len(flashes)) if k not in blind])
    missing = {*blind, *others[: max(0, third - len(blind))].tolist()}
    own = [Light(float(t), flashes[0].length) for t in rng.uniform(0, DURATION_MS, third)]
    kept = [light for k, light in enumerate(flashes) if k not in missing]
    return tuple(sorted(kept + own, key=lambda light: light.time))


def glow(truth: CameraTruth, height: int = HEIGHT) -> dict[int, Floats]:
    """Return the light of flashes in each row, 0..255, shape (height,), of the frames that have any."""
    lit: dict[int, Floats] = {}
    begins = truth.row_times(slice(None), 1)[:, 0]
    reach = abs(truth.time_per_row) * height + truth.exposure + 10
    for light, level in zip(truth.lights, truth.levels[: len(truth.lights)], strict=True):
        frames = np.flatnonzero(np.abs(begins - light.time) < reach)
        for frame in frames:
            start = truth.row_times(np.array([frame]), height)[0]
            end = np.minimum(start + truth.exposure, light.time + light.length)
            inside = np.maximum(0, end - np.maximum(start, light.time)) / min(truth.exposure, light.length)
            if inside.any():
                lit[int(frame)] = lit.get(int(frame), np.zeros(height)) + level * inside
    return lit


def motion(rng: np.random.Generator, count: int) -> Floats:
    """Return a hand-held camera's path in pixels, shape (count,): slow, up to a few pixels, never still."""
    steps = rng.normal(0, 0.35, count)
    path, value, speed = np.empty(count), 0.0, 0.0
    for n in range(count):
        speed = 0.9 * speed + steps[n] - 0.01 * value
        value += speed
        path[n] = value
    return path


def brightness(rng: np.random.Generator, truth: CameraTruth) -> Floats:
    """Return each frame's gain: slow exposure changes, and passages that are brighter or darker from cut to cut."""
    count = len(truth.stamps)
    slow = 1 + 0.15 * np.interp(np.arange(count), np.linspace(0, count, 40), rng.uniform(-1, 1, 40))
    gain = np.ones(count)
    for _ in range(8):
        start = int(rng.integers(0, count - 200))
        gain[start : start + int(rng.integers(8, 150))] *= rng.choice([0.6, 1.5, 1.8])
    return np.asarray(slow * gain)


def quick_rows(truth: CameraTruth, seed: int) -> RowFeatures:
    """Return row features without pictures: noise, and errors as coding leaves them."""
    rng = np.random.default_rng(seed)
    count = len(truth.stamps)
    table = 70 + np.convolve(rng.normal(0, 90, HEIGHT + 200), np.hanning(25) / 12, "same")
    at = np.clip(100 + motion(rng, count), 0, 199)
    whole = at.astype(int)
    index = whole[:, None] + np.arange(HEIGHT)
    part = (at - whole)[:, None]
    scene = np.clip((1 - part) * table[index] + part * table[index + 1], 16, 200).astype(np.float32)
    rows = scene * brightness(rng, truth).astype(np.float32)[:, None]
    shiny = np.clip(np.convolve(rng.normal(1, 0.8, HEIGHT), np.hanning(31) / 15, "same"), 0.7, 1.3)
    for frame, light in glow(truth).items():
        # Coding errs most where most changes, by whole blocks.
        blocks = np.repeat(rng.normal(0, 0.02, HEIGHT // 8), 8)
        rows[frame] += light * shiny * (1 + blocks)
    rows += rng.normal(0, 0.4, rows.shape).astype(np.float32)
    rows += np.repeat(rng.normal(0, 0.5, (count, HEIGHT // 8)), 8, axis=1).astype(np.float32)
    return RowFeatures(np.clip(rows, 0, 255), truth.stamps, HEIGHT)


def stamped(features: RowFeatures, whole_ms: bool) -> RowFeatures:
    """Return the features with stamps rounded as Matroska rounds them."""
    return replace(features, times_ms=np.round(features.times_ms)) if whole_ms else features
