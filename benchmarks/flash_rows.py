"""Row features beside bare decoding, and how robust they are: which statistic of a row's columns to take.

    python benchmarks/flash_rows.py FILM

FILM is decoded as it is, without and with each statistic, in turn; the medians of the frames per second are printed.
Robustness is on made rows: how far a bright object over a part of the row moves the statistic, and how noisy it is.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from vs_align.flashes import row_brightness

type Plane = NDArray[np.uint8]

STATISTICS: dict[str, Callable[[Plane], NDArray[np.floating]]] = {
    "median of all columns": lambda luma: np.median(luma, axis=1),
    "median of every 16th": lambda luma: np.median(luma[:, ::16], axis=1),
    "mean of all columns": lambda luma: luma.mean(axis=1, dtype=np.float32),
    "row_brightness": row_brightness,
}


def decode(path: Path, statistic: Callable[[Plane], NDArray[np.floating]] | None, most: int) -> float:
    """Return frames per second."""
    count, begin = 0, time.perf_counter()
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        stream.thread_type = "AUTO"
        for frame in file.decode(stream):
            if statistic is not None:
                plane = frame.planes[0]
                statistic(np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width])
            count += 1
            if count == most:
                break
    return count / (time.perf_counter() - begin)


def robustness(statistic: Callable[[Plane], NDArray[np.floating]], part: float) -> float:
    """Return the median shift by an object over a part of the row, grey values; with part 0 the noise."""
    rng = np.random.default_rng(0)
    scene = np.clip(80 + 15 * np.sin(np.arange(1920) / 90) + rng.normal(0, 4, (400, 1920)), 0, 255)
    before = statistic(scene.astype(np.uint8))
    if not part:
        return float(before.std())
    width = int(1920 * part)
    for row in scene:
        left = rng.integers(0, 1920 - width)
        row[left : left + width] += 100
    return float(np.abs(statistic(np.clip(scene, 0, 255).astype(np.uint8)) - before).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("film", type=Path)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    speeds: dict[str | None, list[float]] = {name: [] for name in (None, *STATISTICS)}
    for _ in range(args.runs):
        for name, found in speeds.items():
            found.append(decode(args.film, None if name is None else STATISTICS[name], args.frames))
    bare = statistics.median(speeds[None])
    print(f"{'bare decoding':<24}{bare:8.1f} frames per second")
    print(f"{'with':<24}{'':8}{'share':>8}{'noise':>8}{'moved by an object over 10 %':>32}{'30 %':>8}")
    for name, statistic in STATISTICS.items():
        speed = statistics.median(speeds[name])
        off = [robustness(statistic, part) for part in (0, 0.1, 0.3)]
        print(f"{name:<24}{speed:8.1f}{speed / bare:8.2f}{off[0]:8.2f}{off[1]:32.2f}{off[2]:8.2f}")


if __name__ == "__main__":
    main()
