"""The modes of `vs_align.temporal` that look at the whole clip or at nothing, and what is refused of all modes."""

import gc
import itertools
import logging
import math
import random
from concurrent.futures import wait
from fractions import Fraction

import helpers
import numpy as np
import pytest
import vapoursynth as vs
from helpers import Requests, drawn, footage, held, moving, needs_footage, noise, props, retime, values

import vs_align
from vs_align.filters import whole_modes
from vs_align.filters.whole_modes import FittedMap, WholePath
from vs_align.similarity.planestats import PlaneStats

MEASURES = pytest.mark.parametrize("similarity", ["planestats", "structure"])
WHOLE = [{"mode": "offset"}, {"mode": "linear"}, {"mode": "dtw", "tr": None}]


@pytest.fixture(scope="module")
def film() -> vs.VideoNode:
    return held(drawn(moving(48, 36), 200))


def with_noise(film: vs.VideoNode, wrong: list[int]) -> vs.VideoNode:
    """The film with frames in some places that are like none of it."""
    other = held(drawn(noise(48, 36, 5), film.num_frames))
    shown = [n + film.num_frames if n in wrong else n for n in range(film.num_frames)]
    return retime(film + other, shown)


# ---------------------------------------------------------------- offset


@MEASURES
@pytest.mark.parametrize("shift", [-15, 0, 7])
@pytest.mark.parametrize("tr", [20, None])
def test_one_offset_for_all_frames_whatever_single_matches_say(film, similarity, shift, tr):
    ref = with_noise(film[max(0, shift) : 150 + shift], random.Random(1).sample(range(130), 40))
    clip = film if shift >= 0 else film.std.BlankClip(length=-shift) + film
    expected = shift if shift >= 0 else -2 * shift - -shift
    synced = vs_align.temporal(clip, ref, tr=tr, similarity=similarity, mode="offset")
    assert values(synced, "AlignOffset") == [expected] * ref.num_frames


def test_beyond_clips_ends_the_nearest_frame_stands_in(film):
    assert values(vs_align.temporal(film[9:], film, mode="offset")) == [max(0, n - 9) for n in range(200)]
    assert values(vs_align.temporal(film[:150], film[5:], mode="offset")) == [min(149, n + 5) for n in range(195)]


def test_the_offset_is_counted_from_the_frame_that_the_rates_give(film):
    rates = {"clip_num": 30, "clip_den": 1, "ref_num": 24, "ref_den": 1}
    shown = [n * 5 // 4 for n in range(150)]
    ref = retime(film, shown)
    synced = vs_align.temporal(film[4:], ref, mode="offset", **rates)
    assert values(synced) == [max(0, frame - 4) for frame in shown]
    assert set(values(synced, "AlignOffset")[10:]) == {-4}


def test_still_and_incomparable_clips_are_taken_to_be_in_step(film):
    grey = film.std.BlankClip(length=30, keep=True)
    nan = drawn(moving(32, 24), 30, vs.GRAYS).std.Expr("0 0 /")
    for clip, mode in itertools.product((grey, nan), ("offset", "linear")):
        assert values(vs_align.temporal(clip, clip, mode=mode)) == list(range(30))
    single = held(drawn(moving(32, 24), 1))
    assert values(vs_align.temporal(single, single, mode="linear")) == [0]


# ---------------------------------------------------------------- linear


@MEASURES
@pytest.mark.parametrize(("rate", "offset"), [(Fraction(25, 24), 3), (Fraction(24, 25), 2), (Fraction(1), -4)])
def test_a_rate_and_an_offset(similarity, rate, offset):
    film = held(drawn(moving(48, 36), 200))
    shown = [max(0, math.floor(rate * n + offset + Fraction(1, 3))) for n in range(180)]
    ref = with_noise(retime(film, shown), random.Random(2).sample(range(180), 40))
    synced = vs_align.temporal(film, ref, similarity=similarity, mode="linear")
    assert values(synced) == shown


# ---------------------------------------------------------------- all that look at everything


@pytest.mark.parametrize("options", WHOLE)
@pytest.mark.parametrize("number", [1, 4])
def test_any_order_gives_the_same_frames(film, options, number):
    clip, ref = film[3:90], film[:80]
    expected = props(vs_align.temporal(clip, ref, **options))
    before, vs.core.num_threads = vs.core.num_threads, number
    try:
        for order in (list(range(80))[::-1], random.Random(4).sample(range(80), 80)):
            synced = vs_align.temporal(clip, ref, **options)
            assert {n: dict(synced.get_frame(n).props) for n in order} == dict(enumerate(expected))
            synced = vs_align.temporal(clip, ref, **options)
            futures = {n: synced.get_frame_async(n) for n in order}
            wait(futures.values())
            assert {n: dict(future.result().props) for n, future in futures.items()} == dict(enumerate(expected))
    finally:
        vs.core.num_threads = before


@pytest.mark.parametrize("options", WHOLE)
def test_everything_is_looked_at_once(options, monkeypatch):
    clip, ref = (Requests(drawn(moving(32, 24), 300)) for _ in range(2))
    collectors = []
    kind = WholePath if options["mode"] == "dtw" else FittedMap
    begin = kind.__init__

    def counted(self, *arguments: object) -> None:
        collectors.append(self)
        begin(self, *arguments)

    monkeypatch.setattr(kind, "__init__", counted)
    synced = vs_align.temporal(clip.clip, ref.clip, **options)
    assert not collectors
    assert not (clip.taken() | ref.taken())
    futures = [synced.get_frame_async(n) for n in (7, 8, 9, 200)]
    wait(futures)
    assert [future.result().props["AlignFrame"] for future in futures] == [7, 8, 9, 200]
    assert len(collectors) == 1
    assert set(ref.count) == set(clip.count) == set(range(300))
    for n in (20, 21, 22):
        synced.get_frame(n)
    assert len(collectors) == 1


@pytest.mark.parametrize("options", WHOLE)
def test_a_frame_that_fails_is_told_and_may_succeed_later(film, options):
    broken = [True]

    def fail(n: int, f: vs.VideoFrame) -> vs.VideoFrame:
        if n == 60 and broken[0]:
            raise RuntimeError("the disk is gone")
        return f

    ref = film[:100].std.ModifyFrame(film[:100], fail)
    synced = vs_align.temporal(film[2:], ref, **options)
    for _ in range(2):
        with pytest.raises(vs.Error, match="the disk is gone"):
            synced.get_frame(10)
    broken[0] = False
    assert synced.get_frame(10).props["AlignFrame"] == 8


def test_work_that_takes_long_says_how_far_it_is(film, monkeypatch, caplog):
    with caplog.at_level(logging.INFO, "vs_align"):
        vs_align.temporal(film[3:], film[:100], mode="offset").get_frame(0)
    assert len(caplog.records) == 1
    assert caplog.records[0].getMessage().startswith("offset: -3 clip frames, ")
    caplog.clear()
    monkeypatch.setattr(whole_modes, "_NOTE_EACH_S", 0.0)
    vs_align.temporal(film, film[:100], mode="offset").get_frame(0)
    notes = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert notes[0].startswith("vs_align.temporal, mode='offset': 32 of 100 frames of ref (32 %), ")
    assert len(notes) == 4


@pytest.mark.slow
def test_many_frames_are_looked_at_in_bounded_depth():
    clip = vs.core.std.BlankClip(format=vs.GRAY8, width=16, height=8, length=20_000, keep=True)
    synced = vs_align.temporal(clip, clip, tr=2, mode="offset", similarity="structure")
    assert synced.get_frame(19_000).props["AlignFrame"] == 19_000


@pytest.mark.parametrize("options", [*WHOLE, {"mode": "dtw"}])
def test_what_a_clip_held_goes_with_it(film, options):
    synced = vs_align.temporal(film, film, **options)
    synced.get_frame(30).close()
    kept = [kind for kind in gc.get_objects() if isinstance(kind, PlaneStats)]
    assert kept
    del synced, kept
    gc.collect()
    assert not any(isinstance(kind, PlaneStats) for kind in gc.get_objects())


def test_fallback_score_and_debug_go_by_the_frame_that_is_shown(film):
    ref = with_noise(film[:100], [50, 51])
    found = props(vs_align.temporal(film[4:], ref, mode="offset", thresh=0.01, fallback=film.std.Invert()))
    assert [n for n, frame in enumerate(found) if frame["AlignFallback"]] == [0, 1, 2, 3, 50, 51]
    assert {frame["AlignScore"] for n, frame in enumerate(found) if n > 3 and n not in (50, 51)} == {0.0}
    page = vs_align.temporal(film[4:], ref, mode="offset", debug=True).get_frame(20)
    assert (np.asarray(page[0]) != np.asarray(film.get_frame(20)[0])).mean() > 0.05


# ---------------------------------------------------------------- those that look at nothing


def test_pad_plays_clip_at_its_own_speed_and_holds_its_end(film):
    found = props(vs_align.temporal(film[:50], film[:80], mode="pad"))
    assert [frame["AlignFrame"] for frame in found] == [min(n, 49) for n in range(80)]
    assert {frame["AlignScore"] for frame in found} == {float("inf")}
    rates = {"clip_num": 30, "clip_den": 1, "ref_num": 24, "ref_den": 1}
    slower = vs_align.temporal(film[:50], film[:80], mode="pad", **rates)
    assert values(slower) == [min(n * 5 // 4, 49) for n in range(80)]


@pytest.mark.parametrize(("length", "ref_length"), [(50, 80), (80, 50), (1, 9), (9, 1), (50, 50)])
def test_stretch_plays_all_of_clip_in_refs_time(film, length, ref_length):
    frames = values(vs_align.temporal(film[:length], film[:ref_length], mode="stretch"))
    assert len(frames) == ref_length
    for n, frame in enumerate(frames):
        assert abs(frame - Fraction(n * (length - 1), max(1, ref_length - 1))) <= Fraction(1, 2)


@pytest.mark.parametrize("mode", ["pad", "stretch"])
def test_nothing_is_compared(film, mode):
    clip, out = Requests(film[:60]), Requests(film[60:120])
    ref = film[:90].std.SetFrameProps(_DurationNum=3, _DurationDen=7)
    synced = vs_align.temporal(clip.clip, ref, out.clip, mode=mode, debug=True)
    frame = synced.get_frame(30)
    assert not clip.taken()
    assert out.taken() == {frame.props["AlignFrame"]}
    assert (frame.props["_DurationNum"], frame.props["_DurationDen"]) == (3, 7)
    assert frame.props["AlignOffset"] == frame.props["AlignFrame"] - 30
    assert len(synced) == 90


# ---------------------------------------------------------------- bad input


def blank(length: int = 9) -> vs.VideoNode:
    return vs.core.std.BlankClip(None, 32, 24, vs.GRAY8, length, keep=True)


BAD = {
    "unknown mode": (
        {"mode": "dwt"},
        ValueError,
        r"mode .*'match', 'dtw', 'offset', 'linear', 'pad', 'stretch'.*'dwt'",
    ),
    "mode a number": ({"mode": 1.5}, TypeError, r"mode .*'dtw'"),
    "lag negative": ({"mode": "dtw", "lag": -1}, ValueError, r"lag .*at least 0.*-1"),
    "lag a float": ({"mode": "dtw", "lag": 2.0}, TypeError, r"lag .*integer"),
    "lag True": ({"mode": "dtw", "lag": True}, TypeError, r"lag .*integer"),
    "lag in mode match": ({"lag": 5}, ValueError, r"lag is for dtw.*'match'"),
    "lag without a window": ({"mode": "dtw", "tr": None, "lag": 5}, ValueError, r"lag .*tr=None"),
    "penalty negative": ({"mode": "dtw", "penalty": -0.1}, ValueError, r"penalty .*-0\.1"),
    "penalty NaN": ({"mode": "dtw", "penalty": float("nan")}, ValueError, r"penalty .*NaN"),
    "penalty infinite": ({"mode": "dtw", "penalty": float("inf")}, ValueError, r"penalty .*inf"),
    "penalty a string": ({"mode": "dtw", "penalty": "0.1"}, TypeError, r"penalty .*number"),
    "penalty in mode offset": ({"mode": "offset", "penalty": 0.1}, ValueError, r"penalty is for dtw.*'offset'"),
    "tr negative": ({"mode": "dtw", "tr": -1}, ValueError, r"tr .*at least 0"),
    "tr None in mode match": ({"tr": None}, TypeError, r"tr=None is for the modes dtw, offset, linear"),
    "tr None in mode pad": ({"mode": "pad", "tr": None}, TypeError, r"tr=None is for the modes dtw, offset, linear"),
    "fallback in mode pad": ({"mode": "pad", "fallback": blank}, ValueError, r"'pad' .*fallback"),
    "too much for no window": (
        {"mode": "dtw", "tr": None, "clip": lambda: blank(40_000), "ref": lambda: blank(40_000)},
        ValueError,
        r"tr=None .*40000 frames.*40000.*6 GiB.*2",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_call_gives_one_line(case):
    arguments, kind, says = BAD[case]
    made = {
        name: value() if callable(value) else value
        for name, value in ({"clip": blank, "ref": blank} | arguments).items()
    }
    with pytest.raises(kind) as error:
        vs_align.temporal(**made)
    helpers.one_line("vs_align.temporal", error, says)


# ---------------------------------------------------------------- real footage


@needs_footage
def test_two_encodings_of_one_film_have_one_offset():
    clip = footage("releases/webrtc_chrome.webm", 320, 180, frames=slice(0, 100))
    ref = footage("releases/webrtc_chrome.mp4", 320, 180, frames=slice(6, 90))
    assert set(values(vs_align.temporal(clip, ref, mode="offset", similarity="structure"), "AlignOffset")) == {6}
