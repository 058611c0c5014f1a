"""Frames per second of similarity="embedding" beside "planestats" and "structure", from clips in memory.

    python benchmarks/embedding_speed.py [--footage ../shared/footage] [--trs 20 100 500] [--threads 2] [--runs 3]

Clip is a degraded copy (2 % zoom, other colours, crf 30, grain) of ref, 8 bit grey. Frames are asked for in order with
some in flight; the first frames, which fill the window, are not counted. Prints the median of the runs, and the
processor's time for a frame, which other programs disturb less.
"""

import argparse
import statistics
import time
from pathlib import Path

import vapoursynth as vs
from temporal_speed import in_memory, luma, read, zoom_colour_grain

import vs_align

LENGTH = 240


def rate(clip: vs.VideoNode, ref: vs.VideoNode, tr: int, measure: str, counted: int) -> tuple[float, float]:
    """Return frames per second in order, from a place where the window is full, and the processor's ms a frame."""
    synced = vs_align.temporal(clip, ref, tr=tr, similarity=measure)
    first = min(tr + 32, clip.num_frames - counted - 1)
    for _ in synced[first - 32 : first].frames(close=True):
        pass
    begin, used = time.perf_counter(), time.process_time()
    for _ in synced[first : first + counted].frames(close=True):
        pass
    return counted / (time.perf_counter() - begin), 1000 * (time.process_time() - used) / counted


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--footage", type=Path, default=Path(__file__).parents[2] / "shared" / "footage")
    parser.add_argument("--film", default="real/sam2_05_default_juggle.mp4")
    parser.add_argument("--sizes", nargs="*", default=["480x360"])
    parser.add_argument("--measures", nargs="*", default=["planestats", "structure", "embedding"])
    parser.add_argument("--trs", nargs="*", type=int, default=[20, 100, 500])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--frames", type=int, default=240, help="frames that are counted")
    options = parser.parse_args()
    vs.core.num_threads = options.threads
    vs.core.max_cache_size = 8000
    print(f"threads {options.threads}\n{'size':>10} {'tr':>5} {'measure':>12} {'fps':>7} {'CPU ms':>7}")
    for width, height in (map(int, size.split("x")) for size in options.sizes):
        film = read(options.footage / options.film, width, height, LENGTH)
        moving, still = luma(zoom_colour_grain(film)), luma(film)
        for tr in options.trs:
            length = 2 * tr + options.frames + 80
            clip, ref = (in_memory([p[k % LENGTH] for k in range(length)], vs.GRAY8) for p in (moving, still))
            for measure in options.measures:
                rates = [rate(clip, ref, tr, measure, options.frames) for _ in range(options.runs)]
                fps, cpu = (statistics.median(values) for values in zip(*rates, strict=True))
                print(f"{width}x{height:<6} {tr:>5} {measure:>12} {fps:7.0f} {cpu:7.2f}", flush=True)


if __name__ == "__main__":
    main()
