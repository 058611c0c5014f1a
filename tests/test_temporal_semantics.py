"""What `vs_align.temporal` returns: window, rates, ties, fallback, properties, and the calls that old scripts make."""

import itertools
import random
from fractions import Fraction
from functools import cache

import numpy as np
import pytest
import vapoursynth as vs
from helpers import (
    centres,
    drawn,
    held,
    moving,
    noise,
    plane_differences,
    planes,
    props,
    retime,
    same_picture,
    values,
)

import vs_align

OURS = ("AlignFrame", "AlignOffset", "AlignScore", "AlignConfidence", "AlignFallback")
RATES = {
    "23.976": (24000, 1001),
    "24": (24, 1),
    "25": (25, 1),
    "29.97": (30000, 1001),
    "30": (30, 1),
    "50": (50, 1),
    "59.94": (60000, 1001),
    "60": (60, 1),
}
NAMES = ("clip_num", "clip_den", "ref_num", "ref_den")
MEASURES = pytest.mark.parametrize("similarity", ["planestats", "structure"])
FORMATS = pytest.mark.parametrize(
    "format",
    [
        vs.GRAY8, vs.GRAY10, vs.GRAY16, vs.GRAYH, vs.GRAYS, vs.YUV420P8, vs.YUV420P10, vs.YUV444PH, vs.YUV444PS,
        vs.RGB24, vs.RGB48, vs.RGBH, vs.RGBS,
    ],
    ids=lambda number: vs.core.get_video_format(number).name,
)  # fmt: skip


@cache
def scene(length: int = 80, format: int = vs.GRAY8, width: int = 64, height: int = 48, seed: int = 0) -> vs.VideoNode:
    return held(drawn(moving(width, height, seed), length, format))


def as_rates(clip: str, ref: str) -> dict[str, int]:
    return dict(zip(NAMES, RATES[clip] + RATES[ref], strict=True))


# ---------------------------------------------------------------- the output clip


def test_length_and_rate_are_the_refs():
    clip = scene(80).std.AssumeFPS(fpsnum=25)
    for length in (1, 30, 80):
        ref = scene(80)[:length].std.AssumeFPS(fpsnum=24000, fpsden=1001)
        synced = vs_align.temporal(clip, ref)
        assert synced.num_frames == length
        assert synced.fps == Fraction(24000, 1001)


def test_the_rates_given_move_the_window_and_not_the_output():
    ref = scene(40).std.AssumeFPS(fpsnum=24)
    synced = vs_align.temporal(scene(80), ref, **as_rates("60", "30"))
    assert synced.fps == 24
    assert synced.num_frames == 40


def test_a_variable_frame_rate_ref_gives_a_variable_frame_rate():
    ref = vs.core.std.Splice([scene()[:20].std.AssumeFPS(fpsnum=24), scene()[20:40].std.AssumeFPS(fpsnum=30)])
    assert ref.fps == 0
    synced = vs_align.temporal(scene(), ref)
    assert synced.fps == 0
    assert values(synced, "_DurationDen") == [24] * 20 + [30] * 20


@FORMATS
def test_format_and_size_are_the_clips(format):
    clip = scene(6, format)
    synced = vs_align.temporal(clip, clip)
    assert (synced.format.id, synced.width, synced.height) == (format, 64, 48)
    assert all(same_picture(synced, n, clip, n) for n in range(6))


@FORMATS
def test_out_gives_format_size_and_pictures(format):
    clip, out = scene(12), scene(12, format, 70, 90, 5)
    order = [3, 0, 7, 7, 11, 2, 8]
    synced = vs_align.temporal(clip, retime(clip, order), out)
    assert (synced.format.id, synced.width, synced.height) == (format, 70, 90)
    assert all(same_picture(synced, n, out, m) for n, m in enumerate(order))


def test_a_32_bit_integer_out_is_copied_like_any_other():
    clip = scene(6)
    out = vs.core.std.BlankClip(format=vs.GRAY32, width=8, height=8, length=6, color=1 << 31)
    synced = vs_align.temporal(clip, clip, out)
    assert synced.format.id == vs.GRAY32
    assert planes(synced, 3)[0].max() == 1 << 31


def test_the_picture_is_the_chosen_frame_of_out_on_every_frame():
    clip, ref = scene(80), scene(80, seed=0)[10:70]
    for n, m in enumerate(values(synced := vs_align.temporal(clip, ref, tr=4))):
        assert same_picture(synced, n, clip, m)


# ---------------------------------------------------------------- the window


def test_frames_at_the_edge_of_the_window_are_found_and_those_beyond_are_not():
    clip, tr = scene(80), 6
    behind = [max(0, n - tr) for n in range(60)]
    assert values(vs_align.temporal(clip, retime(clip, behind), tr=tr)) == behind
    near, far = [n + tr for n in range(60)], [n + tr + 1 for n in range(60)]
    assert values(vs_align.temporal(clip, retime(clip, near), tr=tr)) == near
    chosen = values(vs_align.temporal(clip, retime(clip, far), tr=tr))
    assert not set(enumerate(chosen)) & set(enumerate(far))
    assert all(abs(m - n) <= tr for n, m in enumerate(chosen))


@MEASURES
def test_only_frames_that_clip_has_are_chosen_where_ref_is_longer(similarity):
    # Ref turns black where clip ends: black put in place of missing frames would be the perfect match.
    clip = scene(20)
    ref = scene(20) + drawn(lambda n: np.zeros((3, 48, 64)), 15)
    tr = 4
    synced = vs_align.temporal(clip, ref, tr=tr, similarity=similarity)
    found = props(synced)
    for n, frame in enumerate(found):
        assert min(19, max(0, n - tr)) <= frame["AlignFrame"] < 20
        assert frame["AlignOffset"] == frame["AlignFrame"] - n
        assert same_picture(synced, n, clip, frame["AlignFrame"])
        assert planes(synced, n)[0].mean() > 50
    # The window of frame 24 is 20..28: empty. The nearest frame stands in.
    assert [frame["AlignFrame"] for frame in found[24:]] == [19] * 11
    assert all(frame["AlignScore"] == float("inf") for frame in found[24:])
    assert all(frame["AlignConfidence"] == 0 for frame in found[24:])
    assert all(np.isfinite(frame["AlignScore"]) for frame in found[:24])


def test_an_empty_window_gives_fallback_where_there_is_one():
    clip, ref, fallback = scene(20), scene(40), scene(40, seed=9)
    for thresh in (100.0, float("inf")):
        synced = vs_align.temporal(clip, ref, tr=4, fallback=fallback, thresh=thresh)
        assert values(synced, "AlignFallback") == [0] * 24 + [1] * 16
        assert all(same_picture(synced, n, fallback, n) for n in range(24, 40))
        assert all(same_picture(synced, n, clip, min(n, 19)) for n in range(20))


def test_clip_longer_than_ref():
    clip = scene(80)
    assert values(vs_align.temporal(clip, clip[:10], tr=20)) == list(range(10))
    assert values(vs_align.temporal(clip, retime(clip, [15, 20, 9, 22]), tr=20)) == [15, 20, 9, 22]


@pytest.mark.parametrize("tr", [0, 5, 1000])
def test_a_clip_of_one_frame(tr):
    one = scene()[3]
    assert values(vs_align.temporal(one, one, tr=tr)) == [0]
    assert values(vs_align.temporal(one, scene(), tr=tr)) == [0] * 80
    assert values(vs_align.temporal(scene(), one, tr=tr)) == [min(3, tr)]


@MEASURES
@pytest.mark.parametrize("size", [(1, 1), (2, 1), (1, 3), (3, 2)])
def test_a_few_pixels(size, similarity):
    clip = scene(12, vs.GRAY8, *size)
    chosen = values(vs_align.temporal(clip, clip, tr=3, similarity=similarity))
    assert all(abs(m - n) <= 3 and 0 <= m < 12 for n, m in enumerate(chosen))


# ---------------------------------------------------------------- ties


@MEASURES
def test_among_equals_the_nearest_wins_and_then_the_later(similarity):
    clip = retime(scene(), [0, 1, 2, 2, 2, 5, 6, 2, 8, 9, 10, 2, 12])
    ref = retime(scene(), [2] * 13)
    #                 n: 0  1  2  3  4  5  6  7  8  9  10  11  12
    # twins at 2 3 4 7 11: 5 is nearest to 4, 9 lies between 7 and 11.
    assert values(vs_align.temporal(clip, ref, similarity=similarity)) == [2, 2, 2, 3, 4, 4, 7, 7, 7, 11, 11, 11, 11]


@MEASURES
def test_a_static_clip_stays_in_place(similarity):
    still = scene()[7] * 50
    synced = vs_align.temporal(still, still, similarity=similarity)
    assert values(synced) == list(range(50))
    assert values(synced, "AlignOffset") == [0] * 50


# ---------------------------------------------------------------- frame rates


@pytest.mark.parametrize("ref_rate", RATES)
@pytest.mark.parametrize("clip_rate", RATES)
def test_the_centre_is_the_clip_frame_on_screen_at_the_time_of_the_ref_frame(clip_rate, ref_rate):
    clip = scene(170, vs.GRAY8, 16, 12)
    expected = centres(60, Fraction(*RATES[clip_rate]), Fraction(*RATES[ref_rate]))
    rates = as_rates(clip_rate, ref_rate)
    synced = vs_align.temporal(clip, retime(clip, expected), tr=3, **rates)
    assert values(synced) == expected
    assert values(synced, "AlignOffset") == [0] * 60
    assert values(synced, "AlignScore") == [0] * 60
    off = retime(clip, [min(169, c + n % 5) for n, c in enumerate(expected)])
    other = vs_align.temporal(clip, off, tr=3, **rates)
    assert [p["AlignFrame"] - p["AlignOffset"] for p in props(other)] == expected


def test_rates_are_exact_after_hours():
    # Where a float of 24000/1001 over 30000/1001 or an accumulated time would slip: 5 n / 4 on the dot.
    length = 1_000_000
    small = vs.core.std.BlankClip(format=vs.GRAY8, width=8, height=8, length=length, keep=True)
    synced = vs_align.temporal(small, small, tr=0, **as_rates("29.97", "23.976"))
    frames = [0, 4, 3, 799_996, 799_999, 400_003]
    assert [p["AlignFrame"] for p in props(synced, frames)] == [5 * n // 4 for n in frames]
    # 3003 * 1250 / 1001 is 3750; in floats it comes out a hair below.
    synced = vs_align.temporal(small, small, tr=0, clip_num=30000, clip_den=1001, ref_num=24, ref_den=1)
    frames = [3002, 3003, 5005, 6006, 10_010]
    assert [p["AlignFrame"] for p in props(synced, frames)] == [n * 1250 // 1001 for n in frames]
    synced = vs_align.temporal(small, small, tr=0, clip_num=24000, clip_den=1001, ref_num=25, ref_den=1)
    frames = [1, 25, 26, 25025, 26_066, 999_999]
    assert [p["AlignFrame"] for p in props(synced, frames)] == [n * 24000 // 25025 for n in frames]


def test_large_numerators_are_exact():
    # A hair more and a hair less than one clip frame per ref frame, which rounding takes for one.
    clip, most = scene(40, vs.GRAY8, 16, 12), 2**31 - 1
    synced = vs_align.temporal(clip, clip, tr=0, clip_num=most, clip_den=most - 1, ref_num=1, ref_den=1)
    assert values(synced) == list(range(40))
    synced = vs_align.temporal(clip, clip, tr=0, clip_num=most - 1, clip_den=most, ref_num=1, ref_den=1)
    assert values(synced) == [max(0, n - 1) for n in range(40)]
    synced = vs_align.temporal(clip, clip, tr=0, clip_num=most - 1, clip_den=most, ref_num=most - 1, ref_den=most)
    assert values(synced) == list(range(40))


@pytest.mark.parametrize(("clip_rate", "ref_rate"), [("60", "24"), ("24", "60"), ("29.97", "23.976"), ("25", "24")])
def test_the_window_holds_tr_distinct_frames_on_each_side(clip_rate, ref_rate):
    clip, tr = scene(170, vs.GRAY8, 16, 12), 6
    at = centres(60, Fraction(*RATES[clip_rate]), Fraction(*RATES[ref_rate]))
    for shift in (-tr, tr):
        wanted = [min(169, max(0, c + shift)) for c in at]
        assert values(vs_align.temporal(clip, retime(clip, wanted), tr=tr, **as_rates(clip_rate, ref_rate))) == wanted
    beyond = [c + tr + 1 for c in at if c + tr + 1 < 170]
    chosen = values(vs_align.temporal(clip, retime(clip, beyond), tr=tr, **as_rates(clip_rate, ref_rate)))
    assert all(m <= c + tr for m, c in zip(chosen, at, strict=False))


def test_without_rates_the_centre_is_n_whatever_the_clips_say():
    clip = scene(60).std.AssumeFPS(fpsnum=25)
    ref = scene(60).std.AssumeFPS(fpsnum=24000, fpsden=1001)
    synced = vs_align.temporal(clip, ref, tr=0)
    assert values(synced) == list(range(60))
    assert values(vs_align.temporal(clip, retime(ref, list(range(3, 60))), tr=5), "AlignOffset") == [3] * 57


def test_a_ref_that_runs_on_at_another_rate_gets_the_nearest_frame():
    clip = scene(20)
    synced = vs_align.temporal(clip, scene(30), tr=2, **as_rates("60", "30"))
    assert values(synced)[11:] == [19] * 19
    assert values(synced, "AlignOffset")[11:] == [19 - 2 * n for n in range(11, 30)]


# ---------------------------------------------------------------- fallback and thresh


def test_fallback_is_used_where_the_best_score_is_not_below_thresh():
    clip, ref, fallback = scene(30), scene(30, seed=4), scene(35, seed=9)
    scores = values(vs_align.temporal(clip, ref, tr=3), "AlignScore")
    for thresh in (sorted(scores)[10], min(scores), max(scores), max(scores) * 2):
        synced = vs_align.temporal(clip, ref, tr=3, fallback=fallback, thresh=thresh)
        found = props(synced)
        assert [p["AlignFallback"] for p in found] == [int(score >= thresh) for score in scores]
        assert [p["AlignScore"] for p in found] == scores
        for n, p in enumerate(found):
            shown, m = (fallback, n) if p["AlignFallback"] else (clip, p["AlignFrame"])
            assert same_picture(synced, n, shown, m)


@pytest.mark.parametrize(("thresh", "used"), [(0, 1), (0.0, 1), (-1, 1), (1e-9, 0), (float("inf"), 0), (100, 0)])
def test_a_perfect_match_is_below_every_thresh_but_0(thresh, used):
    clip = scene(10)
    synced = vs_align.temporal(clip, clip, fallback=scene(10, seed=9), thresh=thresh)
    assert values(synced, "AlignFallback") == [used] * 10


@pytest.mark.parametrize("thresh", [0, -5, 1e-3, float("inf"), float("-inf")])
def test_without_fallback_thresh_does_nothing(thresh):
    clip, ref = scene(20), scene(20, seed=4)
    synced = vs_align.temporal(clip, ref, thresh=thresh)
    plain = vs_align.temporal(clip, ref)
    assert [{name: p[name] for name in OURS} for p in props(synced)] == [
        {name: p[name] for name in OURS} for p in props(plain)
    ]
    assert values(synced, "AlignFallback") == [0] * 20


def test_fallback_follows_out_in_format_and_size():
    clip, out = scene(12), scene(12, vs.RGB24, 32, 20)
    fallback = scene(12, vs.RGB24, 32, 20, 9)
    synced = vs_align.temporal(clip, clip, out, fallback=fallback, thresh=0)
    assert all(same_picture(synced, n, fallback, n) for n in range(12))


def test_thresh_takes_numpy_numbers():
    clip = scene(4)
    synced = vs_align.temporal(clip, clip, tr=np.int64(2), fallback=scene(4, seed=9), thresh=np.float32(0))
    assert values(synced, "AlignFallback") == [1] * 4


# ---------------------------------------------------------------- frame properties


@MEASURES
@FORMATS
def test_debug_leaves_the_properties_as_they_are(format, similarity):
    clip, ref = scene(14, format, 96, 64), scene(14, format, 96, 64, 4)
    kwargs = {"tr": 3, "similarity": similarity, "fallback": scene(14, format, 96, 64, 9), "thresh": 0.1}
    plain = props(vs_align.temporal(clip, ref, **kwargs))
    debug = props(vs_align.temporal(clip, ref, debug=True, **kwargs))
    assert all(set(OURS) <= set(frame) for frame in plain)
    for one, other in zip(plain, debug, strict=True):
        assert one == other


@FORMATS
def test_the_score_is_plane_stats_difference(format):
    clip, ref = scene(20, format), scene(20, format, seed=4)
    table = plane_differences(clip, ref, 4, range(20))
    exact = vs.core.get_video_format(format).sample_type == vs.INTEGER
    for n, p in enumerate(props(vs_align.temporal(clip, ref, tr=4))):
        assert p["AlignScore"] == pytest.approx(table[n][p["AlignFrame"]], rel=1e-12 if exact else 1e-5)
        assert p["AlignOffset"] == p["AlignFrame"] - n


def grainy(clip: vs.VideoNode, seed: int, strength: float = 3.0) -> vs.VideoNode:
    """Independent grain in every frame of a GRAY8 clip."""

    def add(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        frame = f.copy()
        luma = np.asarray(frame[0])
        grain = np.random.default_rng((seed, n)).normal(0, strength, luma.shape)
        luma[:] = np.clip(np.rint(luma + grain), 0, 255)
        return frame

    return held(clip.std.ModifyFrame(clip, add))


@MEASURES
def test_confidence_is_low_where_nothing_moves_and_high_where_something_does(similarity):
    still, motion = scene(80, vs.GRAY8, 160, 120)[7] * 40, scene(80, vs.GRAY8, 160, 120)
    kwargs = {"tr": 10, "similarity": similarity}
    assert max(values(vs_align.temporal(still, still, **kwargs), "AlignConfidence")) == 0
    grain = values(vs_align.temporal(grainy(still, 1), grainy(still, 2), **kwargs), "AlignConfidence")
    assert max(grain) < 0.2
    assert min(values(vs_align.temporal(motion, motion, **kwargs), "AlignConfidence")) > 0.8
    grain = values(vs_align.temporal(grainy(motion, 1), grainy(motion, 2), **kwargs), "AlignConfidence")
    assert min(grain) > 0.4


@MEASURES
def test_a_twin_next_to_the_best_does_not_lower_the_confidence(similarity):
    twice = retime(scene(80, vs.GRAY8, 160, 120), [n // 2 for n in range(80)])
    assert min(values(vs_align.temporal(twice, twice, tr=10, similarity=similarity), "AlignConfidence")) > 0.8
    # The twin of each frame is two frames on: nothing tells which of them is meant.
    apart = retime(scene(80, vs.GRAY8, 160, 120), [n - 2 if n % 4 > 1 else n for n in range(80)])
    assert max(values(vs_align.temporal(apart, apart, tr=10, similarity=similarity), "AlignConfidence")) == 0


@MEASURES
def test_confidence_lies_in_0_to_1(similarity):
    for clip, ref in itertools.product(
        (scene(30), held(drawn(noise(64, 48), 30)), scene()[3] * 30), (scene(30, seed=4), scene()[3] * 30)
    ):
        for tr in (0, 1, 2, 20):
            found = values(vs_align.temporal(clip, ref, tr=tr, similarity=similarity), "AlignConfidence")
            assert all(0 <= c <= 1 for c in found)
            if tr == 0:
                assert found == [0] * 30  # one candidate: nothing to beat


def numbered(clip: vs.VideoNode, name: str, make) -> vs.VideoNode:
    """The clip with a frame property that differs from frame to frame."""

    def write(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        frame = f.copy()
        frame.props[name] = make(n)
        return frame

    return clip.std.ModifyFrame(clip, write)


@pytest.mark.parametrize("with_out", [False, True])
@pytest.mark.parametrize("with_fallback", [False, True])
def test_durations_come_from_ref_and_times_and_cuts_of_the_pick_are_dropped(with_out, with_fallback):
    def marked(clip: vs.VideoNode, duration: int) -> vs.VideoNode:
        clip = numbered(clip, "_DurationNum", lambda n: duration + n)
        clip = numbered(clip, "_DurationDen", lambda n: 10 * duration + n)
        clip = numbered(clip, "Note", lambda n: duration * 1000 + n)
        return clip.std.SetFrameProps(_AbsoluteTime=4.5, _SceneChangePrev=1, _SceneChangeNext=1)

    order = [4, 2, 9, 9, 0]
    clip, ref = marked(scene(12), 100), marked(retime(scene(12), order), 200)
    out = marked(scene(12, seed=3), 300) if with_out else None
    fallback = marked(scene(12, seed=9), 400) if with_fallback else None
    for n, p in enumerate(props(vs_align.temporal(clip, ref, out, fallback=fallback, thresh=0))):
        assert (p["_DurationNum"], p["_DurationDen"]) == (200 + n, 2000 + n)
        assert not {"_AbsoluteTime", "_SceneChangePrev", "_SceneChangeNext"} & set(p)
        shown = 400_000 + n if with_fallback else (300_000 if with_out else 100_000) + order[n]
        assert p["Note"] == shown


def test_a_ref_without_durations_leaves_none_of_the_clips():
    clip = scene(10)
    ref = clip.std.RemoveFrameProps(["_DurationNum", "_DurationDen"])
    assert not any({"_DurationNum", "_DurationDen"} & set(p) for p in props(vs_align.temporal(clip, ref)))


def test_properties_of_an_earlier_alignment_are_replaced():
    clip = scene(10).std.SetFrameProps(AlignFrame=999, AlignFallback=1, AlignScore=7.0, AlignOffset=99)
    assert values(vs_align.temporal(clip, clip)) == list(range(10))
    assert values(vs_align.temporal(clip, clip), "AlignFallback") == [0] * 10


# ---------------------------------------------------------------- pixels that are not finite


def spoiled(clip: vs.VideoNode, at: int, value: float, where: str) -> vs.VideoNode:
    """A float clip of which one frame has a pixel, a row or everything replaced by NaN or infinity."""
    part = {"pixel": np.s_[20, 30], "corner": np.s_[-1, -1], "row": np.s_[10], "all": np.s_[:]}[where]

    def spoil(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        if n != at:
            return f
        frame = f.copy()
        np.asarray(frame[0])[part] = value
        return frame

    return clip.std.ModifyFrame(clip, spoil)


not_finite = pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")], ids=str)
quiet = pytest.mark.filterwarnings("error::RuntimeWarning")
places = pytest.mark.parametrize("where", ["pixel", "corner", "row", "all"])


@MEASURES
@not_finite
@places
@quiet
@pytest.mark.parametrize("format", [vs.GRAYH, vs.GRAYS, vs.YUV444PS, vs.RGBS])
def test_a_clip_frame_that_is_not_finite_is_never_best_and_the_rest_is_unaffected(format, where, value, similarity):
    # 67x51 leaves pixels outside of the blocks of 8 that the search looks at first.
    clip = scene(24, format, 67, 51)
    bad = spoiled(clip, 12, value, where)
    kwargs = {"tr": 5, "similarity": similarity}
    for debug in (False, True):
        before = props(vs_align.temporal(clip, clip, **kwargs))
        after = props(vs_align.temporal(bad, clip, debug=debug, **kwargs))
        for n in set(range(24)) - {12}:
            assert [after[n][name] for name in OURS[:3]] == [before[n][name] for name in OURS[:3]]
        assert after[12]["AlignFrame"] in (11, 13)
        assert 0 < after[12]["AlignScore"] < 1e6
        assert all(0 <= p["AlignConfidence"] <= 1 for p in after)


@MEASURES
@not_finite
@quiet
def test_one_pixel_of_a_large_picture_is_enough_to_rule_a_frame_out(value, similarity):
    clip = scene(12, vs.GRAYS, 400, 300)
    bad = spoiled(clip, 6, value, "corner")
    assert values(vs_align.temporal(bad, clip, tr=3, similarity=similarity))[6] in (5, 7)


@MEASURES
@not_finite
@places
@quiet
@pytest.mark.parametrize("format", [vs.GRAYH, vs.GRAYS])
def test_a_ref_frame_that_is_not_finite_gets_a_frame_of_its_window_and_the_rest_is_unaffected(
    format, where, value, similarity
):
    clip = scene(24, format, 67, 51)
    found = props(vs_align.temporal(clip, spoiled(clip, 12, value, where), tr=5, similarity=similarity))
    assert [p["AlignFrame"] for n, p in enumerate(found) if n != 12] == [n for n in range(24) if n != 12]
    assert abs(found[12]["AlignFrame"] - 12) <= 5
    assert not np.isnan(found[12]["AlignScore"])
    fallback = scene(24, format, 67, 51, 9)
    if similarity == "planestats":
        synced = vs_align.temporal(clip, spoiled(clip, 12, value, where), tr=5, fallback=fallback)
        assert values(synced, "AlignFallback") == [int(n == 12) for n in range(24)]


# ---------------------------------------------------------------- debug


def changed_rows(plain: vs.VideoNode, debug: vs.VideoNode, n: int) -> np.ndarray:
    before, after = planes(plain, n)[0].astype(np.float64), planes(debug, n)[0].astype(np.float64)
    return (before != after).mean(axis=1) > 0.2


@MEASURES
@FORMATS
def test_debug_draws_on_a_360p_frame_in_every_format(format, similarity):
    clip, out = scene(14), scene(14, format, 640, 360)
    plain = vs_align.temporal(clip, clip, out, similarity=similarity)
    debug = vs_align.temporal(clip, clip, out, similarity=similarity, debug=True)
    rows = changed_rows(plain, debug, 7)
    assert rows[:40].mean() > 0.8
    assert rows[-40:].mean() > 0.8
    assert not rows[170:220].any()
    assert all(np.isfinite(plane.astype(np.float64)).all() for plane in planes(debug, 7))


@pytest.mark.parametrize("format", [vs.GRAY8, vs.YUV420P10, vs.RGBS, vs.GRAYH])
def test_debug_takes_the_same_share_of_a_2160p_frame(format):
    clip = scene(14)
    small = vs.core.std.BlankClip(None, 640, 360, format, 14, keep=True)
    large = vs.core.std.BlankClip(None, 3840, 2160, format, 14, keep=True)
    shares = []
    for out in (small, large):
        plain, debug = (vs_align.temporal(clip, clip, out, debug=debug) for debug in (False, True))
        shares.append(changed_rows(plain, debug, 7).mean())
    assert shares[0] > 0.1
    assert shares[1] == pytest.approx(shares[0], abs=0.03)


@FORMATS
def test_debug_on_small_frames(format):
    sizes = [(8, 8), (32, 16), (96, 64)]
    fmt = vs.core.get_video_format(format)
    if not fmt.subsampling_w:
        sizes += [(1, 1), (1, 9), (7, 5), (300, 2)]
    for width, height in sizes:
        clip = scene(9, format, width, height)
        found = props(vs_align.temporal(clip, clip, tr=3, debug=True))
        assert [p["AlignFrame"] for p in found] == values(vs_align.temporal(clip, clip, tr=3))


def test_debug_with_an_empty_window_and_with_one_candidate():
    clip = scene(6, vs.GRAY8, 320, 240)
    for options in ({"tr": 0}, {"tr": 2}, {"tr": 2, "fallback": scene(20, vs.GRAY8, 320, 240, 9)}):
        debug = vs_align.temporal(clip, scene(20, vs.GRAY8, 320, 240), debug=True, **options)
        plain = vs_align.temporal(clip, scene(20, vs.GRAY8, 320, 240), **options)
        assert all(changed_rows(plain, debug, n).any() for n in (0, 5, 15, 19))


def test_debug_does_not_draw_on_the_clips_own_frames():
    clip = scene(6, vs.GRAY8, 320, 240)
    before = planes(clip, 3)[0]
    vs_align.temporal(clip, clip, debug=True).get_frame(3)
    assert np.array_equal(planes(clip, 3)[0], before)


# ---------------------------------------------------------------- known maps


def drops(length: int) -> list[int]:
    rng = random.Random(1)
    return [n for n in range(length) if rng.random() > 0.15]


def repeats(length: int) -> list[int]:
    rng = random.Random(2)
    return [n for n in range(length) for _ in range(1 + (rng.random() < 0.15))]


def ramp(length: int) -> list[int]:
    return [min(length - 1, round(n + 9 * np.sin(n / 14))) for n in range(length) if n + 9 * np.sin(n / 14) >= 0]


MAPS = {"drops": drops, "repeats": repeats, "ramp": ramp, "backwards": lambda length: list(range(length))[::-1]}


@MEASURES
@FORMATS
@pytest.mark.parametrize("kind", ["drops", "repeats", "ramp"])
def test_every_frame_is_put_back_on_clean_material(kind, format, similarity):
    clip = scene(80, format)
    order = MAPS[kind](80)
    assert values(vs_align.temporal(clip, retime(clip, order), similarity=similarity)) == order


@MEASURES
def test_a_clip_that_dropped_and_repeated_frames_gives_the_ref_back(similarity):
    ref = scene(80)
    clip = retime(ref, repeats(80))
    synced = vs_align.temporal(clip, ref, similarity=similarity)
    assert all(same_picture(synced, n, ref, n) for n in range(80))


@MEASURES
def test_backwards(similarity):
    clip = scene(40)
    order = list(range(40))[::-1]
    assert values(vs_align.temporal(clip, retime(clip, order), tr=40, similarity=similarity)) == order


# ---------------------------------------------------------------- structure

GRADES = {
    "gamma 0.5": "x 255 / 0.5 pow 255 *",
    "gamma 0.8": "x 255 / 0.8 pow 255 *",
    "gamma 2": "x 255 / 2 pow 255 *",
    "darker": "x 60 - 0 max",
    "half the contrast": "x 0.5 * 40 +",
    "more contrast": "x 128 - 1.3 * 128 +",
    "a third of the light": "x 0.33 *",
    "crushed blacks": "x 30 - 1.14 * 0 max",
}


@pytest.mark.parametrize("grade", GRADES)
def test_structure_chooses_the_same_frame_after_grading(grade):
    clip = scene(80, vs.GRAY8, 160, 120)
    order = ramp(80)
    graded = clip.std.Expr(GRADES[grade])
    assert values(vs_align.temporal(graded, retime(clip, order), similarity="structure")) == order
    assert values(vs_align.temporal(clip, retime(graded, order), similarity="structure")) == order


@pytest.mark.parametrize("gains", [(1, 0.7, 0.5), (0.6, 1, 0.8), (0.5, 0.6, 1)], ids=["warm", "green", "cold"])
@pytest.mark.parametrize("format", [vs.RGB24, vs.RGBS])
def test_structure_chooses_the_same_frame_after_tinting(format, gains):
    # A grey picture and its tint: what is where stays as it was.
    grey = scene(80, format, 160, 120)
    grey = vs.core.std.ShufflePlanes([grey] * 3, [1, 1, 1], vs.RGB)
    order = ramp(80)
    tinted = grey.std.Expr([f"x {gain} *" for gain in gains])
    assert values(vs_align.temporal(tinted, retime(grey, order), similarity="structure")) == order


def test_structure_does_not_look_at_chroma():
    clip = scene(40, vs.YUV420P8)
    grey = clip.std.Expr(["", "128"])
    order = drops(40)
    assert values(vs_align.temporal(grey, retime(clip, order), similarity="structure")) == order


def test_structure_gives_identical_frames_0_and_others_more():
    clip = scene(20)
    assert values(vs_align.temporal(clip, clip, similarity="structure"), "AlignScore") == [0] * 20
    assert min(values(vs_align.temporal(clip[5:], clip[:15], tr=0, similarity="structure"), "AlignScore")) > 0.05


# ---------------------------------------------------------------- calls as scripts write them


def test_the_call_of_the_readme():
    clip, ref = scene(40), retime(scene(40), drops(40))
    synced = vs_align.temporal(
        clip, ref, out=None, tr=20, precision=1, fallback=None, thresh=100.0, clip_num=None, clip_den=None,
        ref_num=None, ref_den=None, device="cpu", debug=False,
    )  # fmt: skip
    assert values(synced) == drops(40)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"backend": "cpu"},
        {"backend": vs_align.Backend.CPU},
        {"device": vs_align.Backend.CPU},
        {"device": None, "backend": None},
        {"device": "cpu", "backend": "cpu"},
        {"precision": 1, "device": "cpu"},
        {"precision": vs_align.TemporalPrecision.PLANESTATS},
        {"precision": vs_align.TemporalPrecision.PLANESTATS, "tr": 20, "backend": vs_align.Backend.CPU},
        {"similarity": "planestats"},
        {"similarity": vs_align.Similarity.PLANESTATS},
        {"batch_size": None},
        {"batch_size": 3},
        {"mode": "match"},
        {"mode": vs_align.Mode.MATCH},
    ],
    ids=str,
)
def test_ways_to_ask_for_precision_1(options):
    clip = scene(40)
    synced = vs_align.temporal(clip, retime(clip, drops(40)), **options)
    assert values(synced) == drops(40)
    assert values(synced, "AlignScore") == [0] * len(drops(40))


def test_positional_arguments_in_the_order_of_the_readme():
    clip, out = scene(40), scene(40, seed=5)
    ref = retime(clip, [n + 3 for n in range(37)])
    synced = vs_align.temporal(clip, ref, out, 3, 1)
    assert values(synced) == [n + 3 for n in range(37)]
    assert same_picture(synced, 0, out, 3)
    assert max(values(vs_align.temporal(clip, ref, out, 2, 1), "AlignOffset")) <= 2
    fallback = scene(40, seed=9)
    synced = vs_align.temporal(clip, ref, out, 3, 1, fallback, 0.0)
    assert same_picture(synced, 0, fallback, 0)
    synced = vs_align.temporal(clip, ref, None, 20, 1, None, 100.0, 50, 1, 25, 1, None, "cpu", True)
    assert [p["AlignFrame"] - p["AlignOffset"] for p in props(synced)] == [2 * n for n in range(37)]


def test_positional_arguments_in_the_order_of_3_3_1_are_known_by_the_enumeration():
    clip = scene(40)
    ref = retime(clip, [n + 3 for n in range(37)])
    precision = vs_align.TemporalPrecision.PLANESTATS
    assert values(vs_align.temporal(clip, ref, None, precision, 3)) == [n + 3 for n in range(37)]
    assert max(values(vs_align.temporal(clip, ref, None, precision, 2), "AlignOffset")) <= 2


def test_the_enumerations_of_3_3_1():
    precisions = [(e.name, e.value) for e in vs_align.TemporalPrecision]
    assert precisions == [("PLANESTATS", 1), ("BUTTERAUGLI", 2), ("TOPIQ", 3)]
    assert [(e.name, e.value) for e in vs_align.Backend] == [("CPU", "cpu"), ("CUDA", "cuda")]
