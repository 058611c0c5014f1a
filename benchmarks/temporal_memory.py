"""Memory of a long run: 200,000 frames of BlankClip through `vs_align.temporal`, and a window of large frames.

    python benchmarks/temporal_memory.py

Prints the resident memory before, during and after, in MB. Linux only (/proc).
"""

from pathlib import Path

import vapoursynth as vs

import vs_align

core = vs.core


def resident_mb() -> float:
    """Return the resident memory of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096 / 1e6


def main() -> None:
    """Print the figures."""
    blank = core.std.BlankClip(format=vs.YUV420P8, width=64, height=48, length=200_000, keep=True)
    for similarity in ("planestats", "structure"):
        synced = vs_align.temporal(blank, blank, tr=20, similarity=similarity)
        for n in range(2000):
            synced.get_frame(n).close()
        before = resident_mb()
        for n in range(2000, 200_000):
            synced.get_frame(n).close()
        print(f"{similarity}: 200,000 frames, tr=20: {before:.0f} MB after 2,000, {resident_mb():.0f} MB at the end")
    large = core.std.BlankClip(format=vs.YUV420P8, width=1440, height=1080, length=3000)
    for tr in (20, 100, 500):
        synced = vs_align.temporal(large, large, tr=tr)
        before = resident_mb()
        for n in range(1000, 1100):
            synced.get_frame(n).close()
        print(f"planestats: 1440x1080, tr={tr}: {resident_mb() - before:+.0f} MB for frames 1000 to 1099")
        del synced
        core.clear_cache()


if __name__ == "__main__":
    main()
