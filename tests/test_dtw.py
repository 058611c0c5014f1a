"""Textbook dynamic time warping: totals from the definition and from other libraries, paths that cost what they say."""

import math

import numpy as np
import pytest
from dtw_reference import accumulated, every_path, matrices, penalty
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from vs_align.matching import unit_steps
from vs_align.matching.dtw import dtw, dtw_features
from vs_align.matching.paths import Band, Penalties, Steps

UNIT_STEPS = {(1, 1), (1, 0), (0, 1)}
SHAPES = pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (2, 3), (130, 90), (70, 300), (300, 64)])


def check(path, cost, open_begin=False, open_end=False):
    """The path is one, and costs what it says."""
    rows, columns = cost.shape
    assert (path.ref[0], path.ref[-1]) == (0, rows - 1)
    assert open_begin or path.clip[0] == 0
    assert open_end or path.clip[-1] == columns - 1
    assert set(zip(np.diff(path.ref).tolist(), np.diff(path.clip).tolist(), strict=True)) <= UNIT_STEPS
    assert np.array_equal(path.costs, cost[path.ref, path.clip])
    assert (path.costs + path.penalties).sum() == pytest.approx(path.total, rel=1e-12, abs=1e-12)


@given(cost=matrices(gaps=True), hold=penalty(), skip=penalty(), begin=st.booleans(), end=st.booleans())
@settings(deadline=None)
def test_total_is_the_cheapest_of_all_paths(cost, hold, skip, begin, end):
    wanted = every_path(cost, hold, skip, begin, end)
    arguments = {"penalties": Penalties(hold=hold, skip=skip), "open_begin": begin, "open_end": end}
    if not math.isfinite(wanted):
        with pytest.raises(ValueError, match=r"^dtw: every path meets an infinite cost"):
            dtw(cost, **arguments)
        return
    path = dtw(cost, **arguments)
    assert path.total == pytest.approx(wanted, abs=1e-12)
    check(path, cost, begin, end)


@SHAPES
@pytest.mark.parametrize("kept", [0, 1 << 26])
@pytest.mark.parametrize("both_open", [False, True])
def test_long_sequences_follow_the_recurrence(shape, kept, both_open, monkeypatch):
    monkeypatch.setattr(unit_steps, "_KEPT", kept)
    cost = np.random.default_rng(sum(shape)).random(shape)
    last = accumulated(cost, 0.1, 0.2, both_open)[-1]
    path = dtw(cost, penalties=Penalties(hold=0.1, skip=0.2), open_begin=both_open, open_end=both_open)
    assert path.total == pytest.approx(last.min() if both_open else last[-1], rel=1e-13)
    check(path, cost, both_open, both_open)


@given(cost=matrices(40), hold=penalty())
@settings(max_examples=40, deadline=None)
def test_corners_computed_again_give_the_same_path(cost, hold):
    paths = []
    for kept in (0, 1 << 26):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(unit_steps, "_KEPT", kept)
            patch.setattr(unit_steps, "_LEAST_BLOCK", 3)
            paths.append(dtw(cost, penalties=Penalties(hold=hold)))
    assert np.array_equal(paths[0].ref, paths[1].ref)
    assert np.array_equal(paths[0].clip, paths[1].clip)


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (6, 6), (5, 200)])
def test_a_plateau_costs_its_longer_side(shape):
    path = dtw(np.full(shape, 3.0))
    assert path.total == 3.0 * max(shape)
    assert len(path) == max(shape)


def test_equal_sequences_lie_on_the_diagonal():
    n = np.arange(500)
    path = dtw(np.abs(n[:, None] - n))
    assert path.total == 0
    assert np.array_equal(path.ref, n)
    assert np.array_equal(path.clip, n)


def test_open_ends_find_a_passage_where_it_is():
    features = np.random.default_rng(0).random(600)
    path = dtw_features(features[220:320], features, open_begin=True, open_end=True)
    assert path.total == 0
    assert np.array_equal(path.clip, np.arange(220, 320))


@pytest.mark.parametrize("skip", [0.4, 0.6])
def test_a_penalty_decides_at_its_break_even(skip):
    # Around the dear cell in the middle are two cells of 0.5 more in all: hold and skip, or straight on.
    cost = np.array([[0, 9, 9], [0.25, 1, 9], [9, 0.25, 0]], float)
    path = dtw(cost, penalties=Penalties(hold=0.0, skip=skip))
    assert path.total == pytest.approx(min(1.0, 0.25 + 0.25 + skip))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.uint8, bool])
@pytest.mark.parametrize("order", ["C", "F"])
def test_any_real_type_and_order_of_memory(dtype, order):
    cost = np.random.default_rng(3).integers(0, 2, (80, 100)).astype(dtype, order=order)
    assert dtw(cost).total == dtw(cost.astype(np.float64)).total
    assert dtw(cost[::2, ::-3]).total == dtw(cost[::2, ::-3].copy()).total


def test_many_single_precision_costs_do_not_lose_digits():
    cost = np.full((1, 300_000), 0.1, np.float32)
    assert dtw(cost).total == pytest.approx(300_000 * float(np.float32(0.1)), rel=1e-9)


@given(cost=matrices(30))
@settings(max_examples=60, deadline=None)
def test_totals_equal_those_of_other_libraries(cost):
    for total in others(cost):
        assert dtw(cost).total == pytest.approx(total, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (30, 1), (200, 150)])
def test_totals_of_features_equal_those_of_other_libraries(shape):
    rng = np.random.default_rng(7)
    ref, clip = rng.random((shape[0], 5)), rng.random((shape[1], 5))
    compared = 0
    for name in ("librosa.sequence", "tslearn.metrics", "dtaidistance.dtw_ndim"):
        compared += other_features(name, ref, clip) is not None
        wanted = other_features(name, ref, clip)
        if wanted is not None:
            steps, total = wanted
            assert steps(dtw_features(ref, clip)) == pytest.approx(total, rel=1e-9)
    if not compared:
        pytest.skip("needs librosa, tslearn or dtaidistance")


@given(cost=matrices(20))
@settings(max_examples=40, deadline=None)
def test_open_ends_are_subsequence_matching_of_another_library(cost):
    librosa = _imported("librosa.sequence")
    if librosa is None:
        pytest.skip("needs librosa")
    # It looks for the shorter sequence in the longer.
    assume(cost.shape[0] <= cost.shape[1])
    wanted = librosa.dtw(C=cost, subseq=True)[0][-1].min()
    assert dtw(cost, open_begin=True, open_end=True).total == pytest.approx(wanted, rel=1e-9, abs=1e-9)


def others(cost):
    """Totals of the libraries that take a matrix, where they are installed."""
    librosa = _imported("librosa.sequence")
    if librosa:
        yield librosa.dtw(C=cost)[0][-1, -1]
    tslearn = _imported("tslearn.metrics")
    if tslearn:
        yield tslearn.dtw_path_from_metric(cost, metric="precomputed")[1]
    if not librosa and not tslearn:
        pytest.skip("needs librosa or tslearn")


def other_features(name, ref, clip):
    """How a library's total follows from our path, and its total; None where it is not installed."""
    library = _imported(name)
    if library is None:
        return None
    if name == "librosa.sequence":
        return lambda path: path.total, library.dtw(ref.T, clip.T)[0][-1, -1]
    # The other two sum squared distances and take the root.
    squared = ((ref[:, None] - clip) ** 2).sum(-1)
    total = library.dtw(ref, clip) if name == "tslearn.metrics" else library.distance(ref, clip)
    return lambda _: math.sqrt(dtw(squared).total), total


def _imported(name):
    try:
        return pytest.importorskip(name, exc_type=ImportError)
    except pytest.skip.Exception:
        return None


@pytest.mark.parametrize("steps", list(Steps))
@pytest.mark.parametrize(
    ("value", "fault"), [(np.nan, "NaN"), (-np.inf, "minus infinity"), (np.inf, "no finite value")]
)
def test_a_row_that_no_path_may_pass_is_named(steps, value, fault):
    cost = np.ones((30, 20))
    cost[17] = value
    with pytest.raises(ValueError, match=rf"^dtw: row 17 of cost holds {fault}\.$"):
        dtw(cost, steps=steps)
    band = Band(np.zeros(30, int), 20, 20)
    with pytest.raises(ValueError, match=rf"^dtw: row 17 of cost holds {fault}\.$"):
        dtw(cost, steps=steps, band=band)


def test_one_nan_is_enough_and_one_infinite_cell_is_allowed():
    cost = np.ones((30, 20))
    cost[3, 5] = np.inf
    assert dtw(cost).total == 30
    cost[4, 6] = np.nan
    with pytest.raises(ValueError, match="row 4 of cost holds NaN"):
        dtw(cost)


@pytest.mark.parametrize("cost", [np.zeros((0, 3)), np.zeros((3, 0)), np.zeros(3), np.zeros((2, 2, 2)), 1.0])
def test_costs_of_another_shape_are_refused(cost):
    with pytest.raises(ValueError, match=r"^dtw: cost must have two dimensions and at least one value"):
        dtw(cost)


@pytest.mark.parametrize("cost", [[["a"]], np.ones((2, 2)) * 1j])
def test_costs_that_are_not_real_numbers_are_refused(cost):
    with pytest.raises(ValueError, match=r"^dtw: cost must hold real numbers"):
        dtw(cost)


def test_options_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match="sideways"):
        dtw(np.ones((2, 2)), steps="sideways")
    with pytest.raises(ValueError, match=r"^Penalties: hold must be 0 or a positive number"):
        Penalties(hold=-1)
    with pytest.raises(ValueError, match=r"^Penalties: free must be two advances"):
        Penalties(free=(2, 1))
