"""Paths with one clip frame for every ref frame, over the whole clip and with a fixed lag."""

import math

import numpy as np
import pytest
from dtw_reference import every_sequence, matrices, penalty, step_penalty
from hypothesis import given, settings
from hypothesis import strategies as st

from vs_align.matching import frame_steps
from vs_align.matching.dtw import dtw, fixed_lag
from vs_align.matching.paths import Band, Penalties, Steps

FREE = st.sampled_from([(1, 1), (0, 1), (1, 2), (2, 2), (0, 0), (0, 3)])


def frames(cost, penalties=None, **ends):
    return dtw(cost, steps=Steps.FRAMES, penalties=penalties, **({"open_begin": True, "open_end": True} | ends))


@given(matrices(6, gaps=True), penalty(), penalty(), penalty(), FREE, st.booleans(), st.booleans())
@settings(max_examples=200, deadline=None)
def test_total_is_the_cheapest_of_all_sequences(cost, hold, skip, skipped, free, begin, end):
    penalties = Penalties(hold=hold, skip=skip, skipped=skipped, free=free)
    wanted = every_sequence(cost, penalties, begin, end)
    if not math.isfinite(wanted):
        with pytest.raises(ValueError, match=r"^dtw: every path meets an infinite cost"):
            frames(cost, penalties, open_begin=begin, open_end=end)
        return
    path = frames(cost, penalties, open_begin=begin, open_end=end)
    assert path.total == pytest.approx(wanted, abs=1e-12)
    assert np.array_equal(path.ref, np.arange(len(cost)))
    assert (np.diff(path.clip) >= 0).all()
    paid = [0.0, *(step_penalty(advance, penalties) for advance in np.diff(path.clip).tolist())]
    assert path.penalties.tolist() == pytest.approx(paid)
    assert (cost[path.ref, path.clip] + paid).sum() == pytest.approx(path.total, abs=1e-12)


@given(matrices(20), penalty(), penalty(), st.integers(1, 200))
@settings(max_examples=60, deadline=None)
def test_rows_computed_in_blocks_give_the_same_path(cost, hold, skip, held):
    penalties = Penalties(hold=hold, skip=skip, skipped=0.125)
    whole = frames(cost, penalties)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frame_steps, "_HELD", held)
        blocks = frames(cost, penalties)
    assert blocks.total == whole.total
    assert np.array_equal(blocks.clip, whole.clip)


@pytest.mark.parametrize("rate", [1, 2])
def test_dropped_and_repeated_frames_are_found(rate):
    rng = np.random.default_rng(4)
    source = rng.random((400 * rate, 8))
    # Ref repeats a frame, leaves out 3, and repeats one twice.
    shown = np.concatenate([np.arange(0, 100), [99], np.arange(103, 200), [199, 199], np.arange(200, 300)]) * rate
    distance = np.abs(source[shown][:, None] - source).sum(-1)
    path = frames(distance, Penalties(hold=0.05, skip=0.05, free=(rate, rate)))
    assert np.array_equal(path.clip, shown)
    assert path.total == pytest.approx(3 * 0.05 + 0.05)


def test_a_penalty_keeps_a_wrong_frame_from_the_path():
    # One candidate beside the diagonal is better by 0.3: a hold before it and a skip after it cost more, or less.
    cost = np.where(np.eye(9, dtype=bool), 0.3, 5.0)
    cost[4, 3] = 0.0
    assert np.array_equal(frames(cost, Penalties(hold=0.2, skip=0.2)).clip, np.arange(9))
    assert frames(cost, Penalties(hold=0.1, skip=0.1)).clip.tolist() == [0, 1, 2, 3, 3, 5, 6, 7, 8]


@pytest.mark.parametrize("tr", [1, 5, 20])
def test_a_static_scene_stays_in_the_middle_of_the_window(tr):
    band = Band(np.arange(60) - tr, 2 * tr + 1, 60 + tr)
    path = dtw(np.zeros((60, 2 * tr + 1)), band=band, steps=Steps.FRAMES, open_begin=True, open_end=True)
    assert np.array_equal(path.clip, np.arange(60))


def test_of_equal_skips_the_shortest_is_taken():
    cost = np.array([[0, 0, 0, 9, 9, 9, 9], [9, 9, 9, 9, 9, 9, 0]], float)
    assert frames(cost, Penalties(skip=0.1)).clip.tolist() == [2, 6]


def test_without_a_band_a_static_scene_keeps_frame_numbers():
    assert np.array_equal(frames(np.zeros((30, 50))).clip, np.arange(30))


@st.composite
def windows(draw):
    """Rows of a band, as a temporal radius makes it, and penalties."""
    count, tr = draw(st.integers(1, 25)), draw(st.integers(0, 4))
    numerator = draw(st.sampled_from([1, 2, 3]))
    start = np.arange(count) * numerator // 2 - tr
    length = max(1, int(start[-1]) + 1 + draw(st.integers(0, tr + 3)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    rows = rng.integers(0, 4, (count, 2 * tr + 1)) / 2 if draw(st.booleans()) else rng.random((count, 2 * tr + 1))
    free = (numerator // 2, -(-numerator // 2))
    return rows, Band(start, 2 * tr + 1, length), Penalties(hold=0.25, skip=draw(penalty()), free=free)


@given(windows(), st.integers(0, 3))
@settings(max_examples=100, deadline=None)
def test_a_lag_as_long_as_the_clip_gives_the_whole_path(window, more):
    rows, band, penalties = window
    whole = dtw(rows, band=band, steps="frames", penalties=penalties, open_begin=True, open_end=True)
    found = [fixed_lag(rows, band, n, len(rows) + more, penalties=penalties) for n in range(len(rows))]
    assert found == whole.clip.tolist()


@given(windows(), st.integers(0, 6), st.data())
@settings(max_examples=100, deadline=None)
def test_an_answer_depends_on_the_rows_within_the_lag_alone(window, lag, data):
    rows, band, penalties = window
    n = data.draw(st.integers(0, len(rows) - 1))
    first, stop = max(0, n - lag), n + lag + 1
    part = dtw(
        rows[first:stop],
        band=band.part(first, stop),
        steps=Steps.FRAMES,
        penalties=penalties,
        open_begin=True,
        open_end=True,
    )
    elsewhere = np.full(rows.shape, np.nan)
    elsewhere[first:stop] = rows[first:stop]
    assert fixed_lag(elsewhere, band, n, lag, penalties=penalties) == part.clip[n - first]


def test_no_lag_is_the_best_of_the_row():
    rng = np.random.default_rng(1)
    rows, band = rng.random((40, 7)), Band(np.arange(40), 7, 60)
    assert [fixed_lag(rows, band, n, 0) for n in range(40)] == (rows.argmin(1) + np.arange(40)).tolist()


def test_the_row_at_fault_is_named_as_the_caller_counts():
    rows, band = np.ones((40, 7)), Band(np.arange(40), 7, 60)
    rows[17, 2] = np.nan
    with pytest.raises(ValueError, match=r"^fixed_lag: row 17 of cost holds NaN"):
        fixed_lag(rows, band, 20, 5)
    assert fixed_lag(rows, band, 30, 5) == 33
    with pytest.raises(ValueError, match=r"^fixed_lag: n must be 0 to 39 and lag not negative, not 40 and 5"):
        fixed_lag(rows, band, 40, 5)
    with pytest.raises(ValueError, match=r"^fixed_lag: rows must have shape"):
        fixed_lag(rows[:, :5], band, 20, 5)
