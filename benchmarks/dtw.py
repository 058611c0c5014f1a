"""Time and total of the dynamic time warping kernels beside librosa, dtaidistance and tslearn, in one run.

    OMP_NUM_THREADS=1 NUMBA_NUM_THREADS=1 python benchmarks/dtw.py [--size 10000] [--rows 100000] [--tr 20] [--runs 3]

Needs none of the three; those that are installed (pip install librosa dtaidistance tslearn) are in the table. Each
answers with the path, and has run once on a small example before it is timed. Costs are uniform random numbers in
double precision; features are random walks. What a library lacks is not in its rows: dtaidistance takes no cost matrix,
and the other two hold the full matrix whatever the band. Totals show that the same problem was solved; those of
squares are the root of the sum of squared differences.
"""

import argparse
import importlib
import math
import statistics
import time
from collections.abc import Callable, Iterator
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from vs_align.matching.dtw import dtw, dtw_features, fixed_lag
from vs_align.matching.paths import Band, Penalties, Steps

type Floats = NDArray[np.float64]
type Work = Callable[[], float]


def library(name: str) -> ModuleType | None:
    """Import a module, or say that it is not there."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def from_matrix(cost: Floats) -> Iterator[tuple[str, Work]]:
    """Textbook steps, closed ends, through a full cost matrix."""
    yield "vs_align", lambda: dtw(cost).total
    if librosa := library("librosa"):
        yield f"librosa {librosa.__version__}", lambda: librosa.sequence.dtw(C=cost)[0][-1, -1]
    if tslearn := library("tslearn"):
        metrics = importlib.import_module("tslearn.metrics")
        yield (
            f"tslearn {tslearn.__version__}",
            lambda: metrics.dtw_path_from_metric(cost, metric="precomputed")[1],
        )


def from_features(ref: Floats, clip: Floats) -> Iterator[tuple[str, Work]]:
    """The same from one number a frame, absolute differences; the last two sum squares and take the root."""
    yield "vs_align", lambda: dtw_features(ref, clip).total
    if librosa := library("librosa"):
        yield f"librosa {librosa.__version__}", lambda: librosa.sequence.dtw(ref[None], clip[None])[0][-1, -1]
    if tslearn := library("tslearn"):
        metrics = importlib.import_module("tslearn.metrics")
        yield f"tslearn {tslearn.__version__}, squares", lambda: metrics.dtw_path(ref, clip)[1]
    if taidtw := library("dtaidistance.dtw"):
        version = importlib.import_module("dtaidistance").__version__
        yield f"dtaidistance {version} (C), squares", lambda: taidtw.warping_path_fast(ref, clip, True)[1]


def in_band(ref: Floats, clip: Floats, tr: int) -> Iterator[tuple[str, Work]]:
    """From one number a frame, within ``tr`` frames of the straight line."""
    band = Band.around(len(ref), len(clip), tr)
    yield "vs_align", lambda: dtw_features(ref, clip, band=band, metric="l1").total
    squares = windows(ref, clip, band) ** 2
    yield "vs_align, squares", lambda: math.sqrt(dtw(squares, band=band).total)
    if taidtw := library("dtaidistance.dtw"):
        version = importlib.import_module("dtaidistance").__version__
        yield (
            f"dtaidistance {version} (C), squares",
            lambda: taidtw.warping_path_fast(ref, clip, True, window=tr + 1)[1],
        )


def windows(ref: Floats, clip: Floats, band: Band) -> Floats:
    """Return absolute differences in the windows of a band."""
    at = band.start[:, None] + np.arange(band.width)
    return np.abs(ref[:, None] - clip[np.clip(at, 0, len(clip) - 1)])


def rows_of_scores(rows: Floats, band: Band) -> Iterator[tuple[str, Work]]:
    """From rows of costs, as `mode="dtw"` has them."""
    some = Penalties(hold=0.1, skip=0.1)
    open_ends = {"band": band, "open_begin": True, "open_end": True}
    yield "vs_align, textbook", lambda: dtw(rows, **open_ends).total
    yield "vs_align, textbook, penalties", lambda: dtw(rows, penalties=some, **open_ends).total
    yield "vs_align, frames", lambda: dtw(rows, steps=Steps.FRAMES, **open_ends).total
    yield "vs_align, frames, penalties", lambda: dtw(rows, steps=Steps.FRAMES, penalties=some, **open_ends).total


def one_frame_at_a_time(rows: Floats, band: Band, lag: int) -> Iterator[tuple[str, Work]]:
    """A fixed lag, a thousand frames one after the other."""
    some = Penalties(hold=0.1, skip=0.1)
    frames = range(min(1000, len(rows)))
    yield "vs_align", lambda: float(sum(fixed_lag(rows, band, n, lag, penalties=some) for n in frames))


def timed(name: str, work: Iterator[tuple[str, Work]], small: Iterator[tuple[str, Work]], runs: int) -> None:
    """Run each library and print the median of its times, with the fastest and the slowest."""
    for _, once in small:
        once()
    ways = list(work)
    seconds: dict[str, list[float]] = {label: [] for label, _ in ways}
    totals: dict[str, float] = {}
    # In turn, so that a busy moment does not fall on one of them alone.
    for _ in range(runs):
        for label, once in ways:
            began = time.perf_counter()
            totals[label] = once()
            seconds[label].append(time.perf_counter() - began)
    for label, times in seconds.items():
        median = statistics.median(times)
        print(f"| {name} | {label} | {median:.3f} | {min(times):.3f} to {max(times):.3f} | {totals[label]:.9g} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=10_000, help="rows and columns of the full matrix")
    parser.add_argument("--rows", type=int, default=100_000, help="rows of the band")
    parser.add_argument("--tr", type=int, default=20, help="the band is 2 * tr + 1 wide")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    rng = np.random.default_rng(0)

    def walk(count: int) -> Floats:
        return rng.normal(size=count).cumsum()

    size, count, width = options.size, options.rows, 2 * options.tr + 1
    print("| problem | library | seconds, median | range | total |\n|---|---|---|---|---|")
    timed(
        f"{size} x {size} costs", from_matrix(rng.random((size, size))), from_matrix(rng.random((9, 9))), options.runs
    )
    timed(
        f"{size} and {size} numbers",
        from_features(walk(size), walk(size)),
        from_features(walk(9), walk(9)),
        options.runs,
    )
    long = walk(count), walk(count)
    timed(f"{count} numbers, tr {options.tr}", in_band(*long, options.tr), in_band(walk(9), walk(9), 3), options.runs)
    rows, band = rng.random((count, width)), Band(np.arange(count) - options.tr, width, count)
    few = rows[:9], Band(np.arange(9), width, count)
    timed(f"{count} x {width} costs", rows_of_scores(rows, band), rows_of_scores(*few), options.runs)
    lagged, few_lagged = one_frame_at_a_time(rows, band, options.tr), one_frame_at_a_time(*few, options.tr)
    timed(f"1000 frames, lag {options.tr}", lagged, few_lagged, options.runs)


if __name__ == "__main__":
    main()
