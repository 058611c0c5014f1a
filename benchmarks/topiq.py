"""Time and memory of TOPIQ per output frame: the features of one new frame of each clip, then the whole window.

    python benchmarks/topiq.py --device cuda --half
    python benchmarks/topiq.py --device cpu --batch-sizes 1 4

The weights are random unless --weights names a file: speed and memory do not depend on them.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

import torch

from vs_align.similarity.topiq import Topiq, _build


def timed(device: torch.device, repeats: int, work: Callable[[], object]) -> float:
    """Return the seconds of the fastest of some runs, after one to warm up."""
    best = float("inf")
    for run in range(repeats + 1):
        _wait(device)
        start = time.perf_counter()
        work()
        _wait(device)
        if run:
            best = min(best, time.perf_counter() - start)
    return best


def peak_mb(device: torch.device) -> float:
    """Return the peak memory: of the GPU since the last reset, of the process since its start on the CPU."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device)) / 1e6
    try:
        import resource
    except ImportError:  # Windows
        return float("nan")
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def main() -> None:
    options = _options()
    device = torch.device(options.device)
    topiq = Topiq(options.device, weights=options.weights or _build().state_dict(), half=options.half)
    window = 2 * options.tr + 1
    print(
        f"{options.width}x{options.height}, tr={options.tr} ({window} candidates), {options.device}, {topiq.dtype}, "
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, "
        f"{'weights from a file' if options.weights else 'random weights (speed does not depend on them)'}"
    )

    frame = torch.rand(3, options.height, options.width)
    per_frame = timed(device, options.repeats, lambda: topiq.features(frame))
    candidates = [topiq.features(torch.rand(3, options.height, options.width)) for _ in range(window)]
    ref = topiq.features(frame)
    print(
        f"features: {per_frame:.4f} s and {ref.nbytes / 1e6:.1f} MB per frame, {window * ref.nbytes / 1e6:.0f} MB held"
    )

    memory = "GPU peak MB" if device.type == "cuda" else "process peak MB"
    print(f"{'batch':>6} {'head s':>8} {'ms/pair':>8} {'total s':>8} {'fps':>7} {memory:>16}")
    for batch_size in sorted(options.batch_sizes):  # ascending: the peak of a process never goes down
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        size = batch_size or None
        head = timed(device, options.repeats, lambda size=size: topiq.distances(ref, candidates, size))
        total = head + 2 * per_frame
        print(
            f"{size or 'None':>6} {head:8.3f} {1000 * head / window:8.2f} {total:8.3f} {1 / total:7.2f} "
            f"{peak_mb(device):16.0f}"
        )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time and memory of TOPIQ per output frame.")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--half", action="store_true", help="half precision (CUDA)")
    parser.add_argument("--width", type=int, default=480)
    parser.add_argument("--height", type=int, default=360)
    parser.add_argument("--tr", type=int, default=20)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[0, 1, 4, 16], help="0: batch_size=None")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--weights", help="a weights file; without it the weights are random")
    return parser.parse_args()


if __name__ == "__main__":
    main()
