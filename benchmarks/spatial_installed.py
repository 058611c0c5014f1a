"""`vs_align.spatial` as it is installed, through VapourSynth, on the pairs of spatial_pairs.py: for comparing packages.

    PYTHONPATH=. python benchmarks/spatial_installed.py --groups clean_elastic look_all --precisions 2 3 --first 3

Ours and vs_align 3.3.1 have the same import name and the same arguments. Run it with each, in an environment of its
own: residual displacement in px and frames per second come out in one table for each.
"""

import argparse
import importlib.metadata
import statistics
import time

import numpy as np
import vapoursynth as vs
from spatial_pairs import GROUPS, Pair, Picture, pairs
from spatial_ruler import residual

import vs_align


def as_clip(picture: Picture) -> vs.VideoNode:
    """Return a clip of one frame."""
    height, width = picture.shape[:2]

    def filled(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        frame = f.copy()
        for plane in range(3):
            np.copyto(np.asarray(frame[plane]), picture[..., plane])
        return frame

    blank = vs.core.std.BlankClip(width=width, height=height, format=vs.RGB24, length=1)
    return blank.std.ModifyFrame(blank, filled)


def aligned(pair: Pair, precision: int) -> tuple[Picture, float]:
    """Return the filter's frame and the seconds that it took, filter set-up left out."""
    clip, ref = as_clip(pair.clip), as_clip(pair.ref)
    wide = {"wide_search": True} if pair.group.startswith(("large", "wide")) else {}
    node = vs_align.spatial(clip, ref, precision=precision, backend="cpu", **wide)
    begin = time.perf_counter()
    with node.get_frame(0) as frame:
        taken = time.perf_counter() - begin
        return np.dstack([np.asarray(frame[plane]) for plane in range(3)]), taken


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--groups", nargs="*", default=list(GROUPS), choices=GROUPS)
    parser.add_argument("--precisions", nargs="*", type=int, default=[1, 2, 3, 4])
    parser.add_argument("--first", type=int, default=3, help="so many pairs of each group")
    options = parser.parse_args()
    version = getattr(vs_align, "__version__", None) or importlib.metadata.version("vs_align")
    print(f"vs_align {version}")
    print("| group | precision | residual px | frames per second |\n|---|---|---|---|")
    for group in options.groups:
        material = list(pairs(group))[: options.first]
        for precision in options.precisions:
            found = [aligned(pair, precision) for pair in material]
            left = statistics.mean(
                residual(out, pair.target, pair.valid) for (out, _), pair in zip(found, material, strict=True)
            )
            rate = 1 / statistics.median(taken for _, taken in found)
            print(f"| {group} | {precision} | {left:.3f} | {rate:.2f} |", flush=True)


if __name__ == "__main__":
    main()
