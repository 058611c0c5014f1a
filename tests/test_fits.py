"""Offsets, rates and segments out of frame maps whose truth is known because they were made from it."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from vs_align.matching.baselines import pad, stretch
from vs_align.matching.fits import linear_fit, offset_fit
from vs_align.matching.known_rates import explain
from vs_align.matching.segments import Break, breaks, segments

NTSC_FILM, FILM, PAL = Fraction(24000, 1001), Fraction(24), Fraction(25)


def rounded(count, rate, phase=0.0):
    """Frame numbers on a line, in exact arithmetic where the rate is a fraction."""
    if isinstance(rate, Fraction):
        phase = Fraction(phase).limit_denominator(1000)
        return np.array([int(n * rate + phase) for n in range(count)])
    return np.floor(np.arange(count) * rate + phase).astype(np.int64)


def spoiled(frames, share, seed=0, reach=40):
    """The same with a share of the frames wrong."""
    rng = np.random.default_rng(seed)
    wrong = rng.random(len(frames)) < share
    off = rng.integers(1, reach, len(frames)) * rng.choice([-1, 1], len(frames))
    return np.maximum(np.where(wrong, frames + off, frames), 0), wrong


@given(st.integers(-50, 50), st.floats(0, 0.45), st.integers(0, 2**32))
@settings(deadline=None)
def test_offset_with_nearly_half_of_the_frames_wrong(offset, share, seed):
    true = np.arange(100, 500) + offset
    frames, wrong = spoiled(np.concatenate([np.full(100, -1), true]), share, seed)
    frames[:100] = -1
    fit = offset_fit(frames)
    assert fit.offset == offset
    assert fit.share == pytest.approx(1 - wrong[100:].mean())
    assert fit.near >= fit.share


def test_offset_goes_by_weight():
    frames, weights = np.array([5, 6, 7, 13, 14]), np.array([1, 1, 1, 4, 4])
    fit = offset_fit(frames, weights)
    assert (fit.offset, fit.share) == (10, 8 / 11)
    assert offset_fit(frames).offset == 5


def test_offset_from_the_rates_frame():
    frames = rounded(400, PAL / FILM) + 7
    assert offset_fit(frames, rate=PAL / FILM).offset == 7
    assert offset_fit(frames, rate=PAL / FILM).share == 1


@pytest.mark.parametrize("wrong", [0.0, 0.3])
@pytest.mark.parametrize("phase", [0.0, 0.37, 11.5])
@pytest.mark.parametrize(
    ("rate", "name"),
    [
        (FILM / NTSC_FILM, "24 / 23.976"),
        (NTSC_FILM / FILM, "23.976 / 24"),
        (PAL / NTSC_FILM, "25 / 23.976 (PAL speed-up)"),
        (PAL / FILM, "25 / 24 (PAL speed-up)"),
        (FILM / PAL, "24 / 25 (PAL slow-down)"),
        (Fraction(1), "same rate"),
        (Fraction(2), "50 / 25"),
        (Fraction(5, 4), "29.97 / 23.976 (3:2 pulldown)"),
    ],
)
def test_usual_rates_are_named_and_exact(rate, name, phase, wrong):
    frames, _ = spoiled(rounded(6000, rate, phase), wrong)
    fit = linear_fit(frames)
    assert fit.known is not None
    assert fit.known.name.startswith(name)
    assert fit.known.ratio == rate
    assert abs(fit.rate / float(rate) - 1) < 1e-6
    assert fit.share == pytest.approx(1 - wrong, abs=0.05)
    # Frame numbers are rounded down, so that on average they lie half a frame below.
    assert fit.offset == pytest.approx(phase - 0.5, abs=0.51)


@given(st.floats(0.5, 2.0), st.floats(0, 30), st.integers(50, 3000), st.booleans())
@settings(max_examples=60, deadline=None)
def test_any_rate_lies_within_its_error(rate, phase, count, spoil):
    frames, _ = spoiled(rounded(count, rate, phase), 0.2 if spoil and count > 500 else 0.0)
    fit = linear_fit(frames)
    if spoil:
        assert fit.rate == pytest.approx(rate, abs=2 / count)
    else:
        assert fit.exact
        # Beside the range lie values that round differently by less than a hundred-thousandth.
        assert fit.rate == pytest.approx(rate, abs=fit.rate_error + 1e-4 / count)


def test_a_short_map_of_the_same_rate_is_named_as_such():
    # A rate of 1.001 would also give these frames.
    fit = linear_fit(np.arange(300) + 4)
    assert fit.known is not None
    assert (fit.rate, fit.known.name) == (1.0, "same rate")
    assert fit.rate_error > 0.001


@pytest.mark.parametrize("count", [3, 10, 60])
def test_a_short_map_does_not_name_what_it_cannot_tell(count):
    # 50 / 29.97 and 50 / 30 are 0.1 % apart.
    assert linear_fit(rounded(count, PAL / 15)).known is None


def test_an_odd_rate_has_no_name_and_a_near_one_says_how_far_it_is():
    assert linear_fit(rounded(20_000, 1.0003)).known is None
    fit = linear_fit(rounded(20_000, 1.001 * (1 + 5e-6)))
    assert fit.known is not None
    assert fit.known.ratio == FILM / NTSC_FILM
    assert fit.known.ppm == pytest.approx(5, abs=0.5)


def test_matches_that_scatter_have_the_error_that_they_show():
    true, rng = 1.0123, np.random.default_rng(3)
    misses = []
    for _ in range(60):
        frames = np.round(np.arange(2000) * true + 100 + rng.normal(0, 0.5, 2000)).astype(np.int64)
        fit = linear_fit(frames)
        assert not fit.exact
        misses.append((fit.rate - true) / fit.rate_error)
    # Standard scores: of 60, within a wide margin.
    assert 0.6 < np.std(misses) < 1.8


def test_a_line_is_found_among_two_thirds_of_noise():
    frames, rng = rounded(3000, PAL / FILM), np.random.default_rng(2)
    wrong = rng.random(3000) < 0.65
    frames[wrong] = rng.integers(0, 3100, wrong.sum())
    fit = linear_fit(frames)
    assert fit.known is not None
    assert fit.known.ratio == PAL / FILM
    assert fit.share == pytest.approx(0.35, abs=0.03)


def test_the_longer_part_of_a_cut_film_wins():
    frames = np.concatenate([np.arange(1000), np.arange(1300, 2500)])
    fit = linear_fit(frames)
    assert fit.rate == 1
    assert fit.offset == pytest.approx(300, abs=0.51)
    assert fit.share == pytest.approx(1200 / 2200)


def test_speed_tells_a_speed_up_from_a_conversion():
    # PAL speed-up keeps every frame; its seconds are shorter.
    fit = linear_fit(np.arange(2000))
    assert fit.speed(ref_rate=NTSC_FILM, clip_rate=PAL) == pytest.approx(float(NTSC_FILM / PAL))
    known = explain(1 / fit.speed(NTSC_FILM, PAL), fit.rate_error, sure=True)
    assert known is not None
    assert known.name == "25 / 23.976 (PAL speed-up)"


def test_an_error_too_large_to_tell_names_nothing():
    assert explain(1.0005, 0.0004) is None
    assert explain(1.001, 0.0004) is None
    assert explain(1.001, 0.00001) is not None
    assert explain(1.3, 1e-6) is None


def test_two_matches_make_a_line_and_one_does_not():
    assert linear_fit([4, 6]).rate == pytest.approx(2)
    with pytest.raises(ValueError, match=r"^linear_fit: a line needs two matches"):
        linear_fit([4, -1, -1])


def film(missing=30, inserted=50, shown=None):
    """A frame map of a film of which clip lacks frames from 1000 on and has others inserted 1000 frames later."""
    held = np.full(missing, 999 if shown is None else shown)
    after = np.arange(1000, 2000)
    return np.concatenate([np.arange(1000), held, after, np.arange(2000 + inserted, 3000)])


@pytest.mark.parametrize("wrong", [0.0, 0.25])
def test_cut_and_insertion_are_found_to_the_frame(wrong):
    frames, rng = film(), np.random.default_rng(5)
    spoil = rng.random(len(frames)) < wrong
    # The frames at the edges tell where they are.
    spoil[[0, 999, 1030, 2029, 2030, len(frames) - 1]] = False
    frames = np.where(spoil, frames + rng.integers(1, 9, len(frames)), frames)
    found = segments(frames)
    assert [(s.first, s.last, s.offset) for s in found] == [(0, 999, 0), (1030, 2029, -30), (2030, 2979, 20)]
    assert [(s.clip_first, s.clip_last) for s in found] == [(0, 999), (1000, 1999), (2050, 2999)]
    assert breaks(found) == [Break(1000, 1000, 30, 0), Break(2030, 2000, 0, 50)]
    assert [s.share for s in found] == pytest.approx([1 - wrong] * 3, abs=0.06)


def test_the_end_of_more_weight_keeps_a_held_frame():
    frames = film(shown=1000)
    weights = np.ones(len(frames))
    weights[1000:1030] = 0.01
    assert breaks(segments(frames, weights))[0] == Break(1000, 1000, 30, 0)


@pytest.mark.parametrize("size", [1, 2, 7])
def test_small_changes_are_found_and_short_runs_are_not(size):
    change = np.concatenate([np.arange(100), np.arange(100 + size, 300)])
    assert [(s.first, s.last, s.offset) for s in segments(change)] == [(0, 99, 0), (100, len(change) - 1, size)]
    run = np.arange(300)
    run[100:109] += size
    assert [(s.first, s.last, s.share) for s in segments(run)] == [(0, 299, pytest.approx(291 / 300))]
    run[100:112] = np.arange(100, 112) + size
    assert len(segments(run)) == 3


def test_passages_at_another_rate():
    rate = FILM / NTSC_FILM
    frames = rounded(4000, rate, 0.3)
    frames[1700:] += 40
    for given_rate in (rate, float(rate)):
        found = segments(frames, rate=given_rate)
        assert [(s.first, s.last) for s in found] == [(0, 1699), (1700, 3999)]
        assert found[1].offset - found[0].offset == pytest.approx(40, abs=0.5)


def test_clip_that_goes_back_is_two_segments():
    frames = np.concatenate([np.arange(500, 1000), np.arange(500)])
    assert breaks(segments(frames)) == [Break(500, 1000, 0, -1000)]


def test_frames_without_a_match_are_in_no_segment_at_its_ends():
    frames = np.arange(100)
    frames[:10], frames[95:] = -1, -1
    assert [(s.first, s.last, s.share) for s in segments(frames)] == [(10, 94, 1.0)]


@st.composite
def passages(draw):
    """Lengths and offsets of passages that differ from their neighbours."""
    count = draw(st.integers(1, 5))
    lengths = [draw(st.integers(12, 60)) for _ in range(count)]
    offsets = [draw(st.integers(0, 30)) for _ in range(count)]
    assume(all(a != b for a, b in pairwise(offsets)))
    return lengths, offsets


@given(passages())
@settings(deadline=None)
def test_passages_without_noise_come_back_as_they_were(given_passages):
    lengths, offsets = given_passages
    edges = np.cumsum([0, *lengths])
    frames = np.arange(edges[-1]) + np.repeat(offsets, lengths)
    found = segments(frames)
    assert [s.offset for s in found] == offsets
    # An offset that falls by 1 shows a frame twice in a row; which of the two is the extra one, nobody can tell.
    for segment, first, stop, before in zip(found, edges, edges[1:], [None, *offsets], strict=False):
        assert segment.last == stop - 1
        assert segment.first - first == (before is not None and before - segment.offset == 1)


@pytest.mark.parametrize("fit", [offset_fit, linear_fit, segments])
def test_bad_maps_and_weights_are_refused(fit):
    name = fit.__name__
    with pytest.raises(ValueError, match=rf"^{name}: frame_map must hold a whole number"):
        fit([0.5, 1.0])
    with pytest.raises(ValueError, match=rf"^{name}: frame_map must hold a whole number"):
        fit([])
    with pytest.raises(ValueError, match=rf"^{name}: weights must have shape \(3,\), not \(2,\)"):
        fit([1, 2, 3], [1, 1])
    for bad in (-1, np.nan, np.inf):
        with pytest.raises(ValueError, match=rf"^{name}: the weight of ref frame 1 must be"):
            fit([1, 2, 3], [1, bad, 1])
    with pytest.raises(ValueError, match=rf"^{name}: no match has any weight"):
        fit([-1, -1])


def test_pad_plays_and_then_holds():
    assert pad(6, 4).tolist() == [0, 1, 2, 3, 3, 3]
    assert pad(3, 9).tolist() == [0, 1, 2]
    assert pad(6, 4, Fraction(1, 2)).tolist() == [0, 0, 1, 1, 2, 2]


def test_stretch_joins_both_ends():
    # Nearest to n * 9 / 4 and to n * 4 / 9, halves up, by hand.
    assert stretch(5, 10).tolist() == [0, 2, 5, 7, 9]
    assert stretch(10, 5).tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert stretch(1, 7).tolist() == [0]
    assert stretch(4, 1).tolist() == [0, 0, 0, 0]


@given(st.integers(1, 400), st.integers(1, 400))
@settings(deadline=None)
def test_baselines_never_go_back_nor_beyond_clip(ref_length, clip_length):
    for frames in (pad(ref_length, clip_length), stretch(ref_length, clip_length)):
        assert len(frames) == ref_length
        assert frames[0] == 0
        assert (np.diff(frames) >= 0).all()
        assert frames[-1] < clip_length
    assert ref_length == 1 or stretch(ref_length, clip_length)[-1] == clip_length - 1


@pytest.mark.parametrize("function", [pad, stretch])
def test_empty_clips_are_refused(function):
    with pytest.raises(ValueError, match=rf"^{function.__name__}: ref and clip need a frame each"):
        function(3, 0)


def test_a_frame_too_many_at_the_start_is_no_other_rate():
    """Eleven frames that clip lacks, one that is shown twice, then in step: same rate, not 24 against 23.976."""
    frame = np.concatenate([[-1] * 11, [0, 0], np.arange(1, 289)])
    fit = linear_fit(frame)
    assert (fit.rate, fit.offset, fit.known.name) == (1.0, -12.0, "same rate")


def test_frames_that_clip_lacks_do_not_tip_the_rate():
    """960 frames of clip for 1,001 of ref; one ref frame in 24 has none of its own and shows a neighbour."""
    clip = np.arange(4000)
    shown = clip * 1001 // 960
    frame = np.searchsorted(shown, np.arange(shown[-1]), "right") - 1
    # Now and then the later neighbour instead.
    late = np.flatnonzero(~np.isin(np.arange(shown[-1]), shown))[40::7]
    frame[late] += 1
    fit = linear_fit(frame)
    assert fit.known.name == "23.976 / 25 (PAL slow-down)"
    assert fit.rate == pytest.approx(960 / 1001, rel=1e-9)
