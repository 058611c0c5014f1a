"""Bands and features: the same answer as the full matrix gives, out of less memory."""

import tracemalloc

import numpy as np
import pytest
from dtw_reference import made, matrices, penalty
from hypothesis import given, settings
from hypothesis import strategies as st

from vs_align.matching.dtw import dtw, dtw_features
from vs_align.matching.paths import Band, Penalties, Steps


@st.composite
def banded(draw):
    """A matrix and a band that may reach beyond its ends and leave frames out."""
    cost = draw(matrices(12))
    rows, columns = cost.shape
    start = np.array(draw(st.lists(st.integers(-3, columns - 1), min_size=rows, max_size=rows)))
    width = draw(st.integers(1, columns + 3))
    return cost, Band(np.maximum.accumulate(np.maximum(start, 1 - width)), width, columns)


def outside_infinite(cost, band):
    m = np.arange(cost.shape[1])
    inside = (m >= band.start[:, None]) & (m < band.start[:, None] + band.width)
    return np.where(inside, cost, np.inf)


def total_or_none(*args, **kwargs):
    try:
        return dtw(*args, **kwargs).total
    except ValueError as error:
        assert "every path meets" in str(error)
        return None


@given(banded(), st.sampled_from(Steps), penalty(), penalty(), st.booleans(), st.booleans())
@settings(max_examples=300, deadline=None)
def test_a_band_is_the_matrix_with_infinite_costs_outside(given_band, steps, hold, skip, begin, end):
    cost, band = given_band
    free = (0, 2) if hold == 1 else (1, 1)
    arguments = {
        "steps": steps,
        "penalties": Penalties(hold=hold, skip=skip, skipped=skip / 4, free=free),
        "open_begin": begin,
        "open_end": end,
    }
    wanted = total_or_none(outside_infinite(cost, band), **arguments)
    found = total_or_none(band.cut(cost), band=band, **arguments)
    assert (wanted is None) == (found is None)
    assert wanted is None or found == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("steps", list(Steps))
@pytest.mark.parametrize("seed", range(5))
def test_a_band_that_holds_the_best_path_gives_that_path(steps, seed):
    # Ties decide nothing here.
    cost = made((90, 110), "real", False, seed) + np.abs(np.arange(90)[:, None] * 110 / 90 - np.arange(110)) / 5
    full = dtw(cost, steps=steps)
    line = Band.around(90, 110, 0).start
    band = Band.around(90, 110, int(np.abs(full.clip - line[full.ref]).max()))
    found = dtw(band.cut(cost), band=band, steps=steps)
    assert found.total == pytest.approx(full.total, rel=1e-13)
    assert np.array_equal(found.ref, full.ref)
    assert np.array_equal(found.clip, full.clip)
    assert np.array_equal(found.costs, cost[found.ref, found.clip])


def test_what_lies_beyond_clip_is_no_candidate_whatever_it_costs():
    band = Band(np.arange(10) - 3, 7, 10)
    rows = np.where(band.inside(), 1.0, -1000.0)
    rows[0, 0] = np.nan
    path = dtw(rows, band=band, steps=Steps.FRAMES, open_begin=True, open_end=True)
    assert path.total == 10
    assert ((path.clip >= 0) & (path.clip < 10)).all()


@pytest.mark.parametrize("steps", list(Steps))
def test_a_window_may_jump_and_textbook_steps_cannot_follow(steps):
    band = Band(np.array([0, 0, 10, 10]), 4, 14)
    if steps is Steps.TEXTBOOK:
        with pytest.raises(ValueError, match="every path meets an infinite cost"):
            dtw(np.ones((4, 4)), band=band, steps=steps)
    else:
        penalties = Penalties(skip=0.5, skipped=0.01)
        path = dtw(np.ones((4, 4)), band=band, steps=steps, penalties=penalties)
        # From frame 1 to 12 ten frames are left out; every other step is free.
        assert path.clip.tolist() == [0, 1, 12, 13]
        assert path.total == pytest.approx(4 + 0.5 + 10 * 0.01)


def test_rows_of_the_line_from_end_to_end():
    # The nearest frame to n * 9 / 4, halves up, by hand.
    assert Band.around(5, 10, 0).start.tolist() == [0, 2, 5, 7, 9]
    assert Band.around(1, 10, 2).start.tolist() == [-2]


@pytest.mark.parametrize("metric", ["euclidean", "l1"])
@pytest.mark.parametrize("steps", list(Steps))
def test_features_give_what_their_distances_give(metric, steps):
    rng = np.random.default_rng(2)
    ref, clip = rng.normal(0, 3, (70, 6)), rng.normal(1, 3, (160, 6))
    difference = ref[:, None] - clip
    cost = np.abs(difference).sum(-1) if metric == "l1" else np.sqrt((difference**2).sum(-1))
    band = Band.around(70, 160, 20)
    for found, wanted in (
        (dtw_features(ref, clip, metric=metric, steps=steps), dtw(cost, steps=steps)),
        (
            dtw_features(ref, clip, metric=metric, steps=steps, band=band),
            dtw(band.cut(cost), steps=steps, band=band),
        ),
    ):
        assert found.total == pytest.approx(wanted.total, rel=1e-12)
        assert np.array_equal(found.clip, wanted.clip)


def test_equal_features_cost_nothing_however_large():
    features = np.random.default_rng(5).random((100, 8)) + 1e7
    path = dtw_features(features, features)
    assert path.total == 0
    assert np.array_equal(path.clip, np.arange(100))


@pytest.mark.parametrize("steps", list(Steps))
def test_memory_of_a_band_is_its_own_size(steps):
    count, width = 20_000, 21
    features = np.random.default_rng(0).random((count, 3))
    band = Band(np.arange(count) - 10, width, count)
    tracemalloc.start()
    path = dtw_features(features, features, band=band, steps=steps)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert path.total == 0
    # The full matrix has 3.2 GB.
    assert peak < 20 * count * width * 8


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0, 2, 1], 3, 9), "Band: start goes back at ref frame 2"),
        (([0.5], 3, 9), "Band: start must hold one whole number"),
        (([], 3, 9), "Band: start must hold one whole number"),
        (([0], 0, 9), "Band: width and length must be positive"),
        (([0], 3, 0), "Band: width and length must be positive"),
    ],
)
def test_bands_that_are_none_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Band(np.array(arguments[0]), *arguments[1:])


def test_shapes_that_do_not_fit_are_refused():
    band = Band(np.zeros(4, int), 3, 9)
    with pytest.raises(ValueError, match=r"^dtw: cost must have shape \(4, 3\).*not \(4, 9\)"):
        dtw(np.ones((4, 9)), band=band)
    with pytest.raises(ValueError, match=r"^Band.cut: cost must have shape \(4, 9\), not \(4, 3\)"):
        band.cut(np.ones((4, 3)))
    with pytest.raises(ValueError, match=r"^dtw_features: features of ref have 2 values, those of clip 3"):
        dtw_features(np.ones((4, 2)), np.ones((4, 3)))
    with pytest.raises(ValueError, match=r"^dtw_features: the band is for 4 and 9 frames, ref and clip have 5 and 9"):
        dtw_features(np.ones((5, 2)), np.ones((9, 2)), band=band)


@pytest.mark.parametrize("name", ["ref", "clip"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_features_that_are_not_finite_are_named(name, value):
    features = {"ref": np.ones((30, 2)), "clip": np.ones((30, 2))}
    features[name][17, 1] = value
    with pytest.raises(ValueError, match=rf"^dtw_features: row 17 of {name} holds a value that is not finite"):
        dtw_features(**features)
