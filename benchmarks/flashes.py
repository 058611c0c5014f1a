"""Camera clocks from flashes, on made recordings: how many seeds are right, and whether wrong answers are told.

    python benchmarks/flashes.py --seeds 100
    python benchmarks/flashes.py --seeds 20 --films
    python benchmarks/flashes.py --seeds 100 --whole-ms
    python benchmarks/flashes.py --seeds 100 --global-shutter
    python benchmarks/flashes.py --seeds 100 --start-ms 3600000

A recording (flash_recordings.py) is right where all its cameras have the shift within 0.3 ms at the middle of the
recording, the drift within 2 ppm, the time per row within 1 % (2 % where the readout is shorter than 12 ms), and every
flash that two cameras or more saw is within 0.5 ms. With --whole-ms three times as much is allowed. Any other answer
without a warning is a silent wrong one. A camera with a global shutter is reported beside the others.

Without --films, rows are made directly; with it, pictures go through x264 into files and are decoded again.
"""

import argparse
import logging
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import flash_films
import numpy as np
from flash_recordings import DURATION_MS, HEIGHT, Recording, Wishes, quick_rows, recording, stamped

from vs_align.flashes import FlashError, FlashFit, RowFeatures, find_events, fit_clocks

SHIFT_MS, DRIFT, ROW, SHORT_ROW, FLASH_MS = 0.3, 2e-6, 0.01, 0.02, 0.5
SHORT_READOUT_MS = 12
# A mean of 32 columns has no finer steps.
_STEPS = 32


@dataclass
class Errors:
    """How far an answer is off; row_of_limit as shares of what is allowed, beside the shifts of global shutters."""

    shift: list[float]
    drift: list[float]
    row: list[float]
    row_of_limit: list[float]
    flash: list[float]
    exposure: list[float]
    beside: list[float]

    def right(self, allowed: float) -> bool:
        """Return whether all are within the limits, times allowed."""
        largest = (
            max(self.shift, default=0) / SHIFT_MS,
            max(self.drift, default=0) / DRIFT,
            max(self.row_of_limit, default=0),
            max(self.flash, default=0) / FLASH_MS,
        )
        return max(largest) <= allowed


def measured(made: Recording, fit: FlashFit) -> Errors:
    """Compare a fit with the truth."""
    errors = Errors([], [], [], [], [], [], [])
    base = made.cameras[fit.base]
    for name, truth in made.cameras.items():
        clock = fit.clocks[name]
        drift, shift = made.clock(name, fit.base)
        middle = (DURATION_MS / 2 - truth.shift) / truth.drift
        off = abs((clock.drift - drift) * middle + clock.shift - shift)
        if truth.time_per_row == 0:
            errors.beside.append(off)
            continue
        errors.exposure.append(abs(clock.exposure - truth.exposure))
        row = abs(clock.time_per_row * base.drift / truth.time_per_row - 1)
        short = abs(truth.time_per_row) * HEIGHT < SHORT_READOUT_MS
        errors.row.append(row)
        errors.row_of_limit.append(row / (SHORT_ROW if short else ROW))
        if name != fit.base:
            errors.shift.append(off)
            errors.drift.append(abs(clock.drift - drift))
    times = np.array([flash.time for flash in made.flashes])
    for flash in fit.flashes:
        if len(flash.sightings) > 1:
            errors.flash.append(float(np.abs(base.drift * flash.time_ms + base.shift - times).min()))
    return errors


def features(
    made: Recording, seed: int, wishes: Wishes, films: bool, keep: Path | None = None
) -> Iterator[tuple[str, RowFeatures]]:
    """Return the rows of each camera."""
    for k, (name, truth) in enumerate(made.cameras.items()):
        if not films:
            yield name, stamped(quick_rows(truth, 10 * seed + k), wishes.whole_ms)
            continue
        kind = f"{seed}_{k}_{wishes.whole_ms:d}{wishes.global_shutter:d}_{wishes.start_ms:.0f}_{len(made.cameras)}"
        kept = keep / f"{kind}.npz" if keep else None
        if kept is not None and kept.exists():
            with np.load(kept) as saved:
                yield name, RowFeatures(saved["rows"].astype(np.float32) / _STEPS, saved["times"], HEIGHT)
            continue
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / ("film.mkv" if wishes.whole_ms else "film.mp4")
            flash_films.write(truth, 10 * seed + k, path)
            found = flash_films.read(path)
        if kept is not None:
            np.savez(kept, rows=np.round(found.rows * _STEPS).astype(np.uint16), times=found.times_ms)
        yield name, found


def one(seed: int, wishes: Wishes, films: bool, keep: Path | None) -> tuple[Errors | None, tuple[str, ...], float]:
    """Run a seed; return the errors or None, what was said, and the seconds of finding and fitting."""
    made = recording(seed, wishes)
    still = [name for name, truth in made.cameras.items() if truth.time_per_row == 0]
    seconds = 0.0
    events = {}
    try:
        for name, rows in features(made, seed, wishes, films, keep):
            begin = time.perf_counter()
            events[name] = find_events(rows)
            seconds += time.perf_counter() - begin
        begin = time.perf_counter()
        fit = fit_clocks(events, "camera0", global_shutter=still)
        seconds += time.perf_counter() - begin
    except FlashError as error:
        return None, (str(error),), seconds
    told = tuple(line for line in fit.warnings if not any(f"{name!r} has a global" in line for name in still))
    return measured(made, fit), told, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--cameras", type=int)
    parser.add_argument("--films", action="store_true")
    parser.add_argument("--keep", type=Path, help="a folder for the rows of films, which later runs read again")
    parser.add_argument("--whole-ms", action="store_true")
    parser.add_argument("--global-shutter", action="store_true")
    parser.add_argument("--start-ms", type=float, default=0.0)
    parser.add_argument("--each", action="store_true", help="a line for each seed")
    args = parser.parse_args()
    logging.getLogger("vs_align").setLevel(logging.ERROR)
    # A global shutter needs two other cameras beside it.
    cameras = args.cameras or (4 if args.global_shutter else None)
    wishes = Wishes(args.whole_ms, args.global_shutter, args.start_ms, cameras)
    results = []
    for seed in range(args.first, args.first + args.seeds):
        errors, told, seconds = one(seed, wishes, args.films, args.keep)
        results.append((errors, told, seconds))
        if args.each:
            print(line(seed, errors, told, 3.0 if args.whole_ms else 1.0), flush=True)
    summary(results, 3.0 if args.whole_ms else 1.0)


def line(seed: int, errors: Errors | None, told: tuple[str, ...], allowed: float) -> str:
    if errors is None:
        return f"{seed:4d} error    {told[0]}"
    verdict = "right" if errors.right(allowed) else "WRONG"
    worst = (
        f"shift {max(errors.shift, default=0):.3f} ms, drift {1e6 * max(errors.drift, default=0):.2f} ppm, "
        f"row {100 * max(errors.row):.2f} %, flash {max(errors.flash, default=0):.3f} ms"
    )
    return f"{seed:4d} {verdict} {'warned' if told else 'sure  '} {worst}"


def summary(results: list[tuple[Errors | None, tuple[str, ...], float]], allowed: float) -> None:
    found = [(errors, told) for errors, told, _ in results if errors is not None]
    right = [errors.right(allowed) for errors, _ in found]
    print(f"seeds                       {len(results)}")
    print(f"right                       {sum(right)}")
    print(f"  of these with a warning   {sum(r and bool(told) for r, (_, told) in zip(right, found, strict=True))}")
    print(f"refused with an error       {len(results) - len(found)}")
    print(f"wrong, with a warning       {sum(not r and bool(told) for r, (_, told) in zip(right, found, strict=True))}")
    print(f"wrong, silently             {sum(not r and not told for r, (_, told) in zip(right, found, strict=True))}")
    for name, scale, unit in (
        ("shift", 1, "ms"),
        ("drift", 1e6, "ppm"),
        ("row", 100, "%"),
        ("flash", 1, "ms"),
        ("exposure", 1, "ms"),
        ("beside", 1, "ms"),
    ):
        values = scale * np.array([value for errors, _ in found for value in getattr(errors, name)])
        if len(values):
            print(
                f"{name:<10} median {np.median(values):.3f} {unit}, 95 % below {np.quantile(values, 0.95):.3f}, "
                f"largest {values.max():.3f}"
            )
    print(f"finding and fitting: median {np.median([seconds for *_, seconds in results]):.2f} s a recording")


if __name__ == "__main__":
    main()
