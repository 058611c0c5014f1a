"""Flows of neighbouring frames made to agree, against made flows whose steady part is known."""

import itertools

import cv2
import numpy as np
import pytest

from vs_align.flow.steady import steadied

HEIGHT, WIDTH = 120, 168


def pixels():
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float64)
    return x, y


def affine(*terms):
    """The flow with dx = a + b x + c y and dy = d + e x + f y, about the middle of the picture."""
    x, y = pixels()
    x, y = x - (WIDTH - 1) / 2, y - (HEIGHT - 1) / 2
    a, b, c, d, e, f = terms
    return np.dstack([a + b * x + c * y, d + e * x + f * y]).astype(np.float32)


def bent(amount=2.0, seed=0):
    """A flow that no affine map makes."""
    x, y = pixels()
    turn = seed + 1
    return np.dstack([amount * np.sin(x / 20 + turn), amount * np.cos(y / 17 - turn)]).astype(np.float32)


def noise(amount, seed):
    """Smooth noise of that deviation, as flows have it that are found on a grid of cells."""
    rough = np.random.default_rng(seed).standard_normal((HEIGHT, WIDTH, 2)).astype(np.float32)
    smooth = cv2.GaussianBlur(rough, (0, 0), 14, borderType=cv2.BORDER_REFLECT)
    return amount * smooth / smooth.std()


def local(flow):
    """What is left of a flow without the affine map nearest to it."""
    x, y = pixels()
    terms = np.column_stack([np.ones(x.size), x.ravel(), y.ravel()])
    values = flow.reshape(-1, 2).astype(np.float64)
    found, *_ = np.linalg.lstsq(terms, values, rcond=None)
    return (values - terms @ found).reshape(flow.shape)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_flows_that_are_all_the_same_stay(count):
    flow = affine(1.25, 0.01, -0.02, -3, 0.005, 0.01) + bent()
    for centre in range(count):
        assert np.abs(steadied([flow] * count, centre) - flow).max() < 1e-4


def test_one_flow_alone_is_itself():
    flow = bent() + noise(0.3, 1)
    assert np.array_equal(steadied([flow], 0), flow)


def test_noise_is_averaged_down():
    steady = affine(2, 0.01, 0, -1, 0, 0.01) + bent()
    flows = [steady + noise(0.1, seed) for seed in range(7)]
    before = local(flows[3] - steady).std()
    after = local(steadied(flows, 3) - steady).std()
    assert after < before / 2
    # With fewer frames, and at the ends of a shot, less so; but it is.
    assert local(steadied(flows[2:5], 1) - steady).std() < 0.75 * before
    assert local(steadied(flows[3:], 0) - steady).std() < 0.75 * before


def test_what_differs_from_frame_to_frame_differs_less():
    steady = bent()
    flows = [steady + noise(0.15, seed) for seed in range(13)]
    found = [steadied(flows[n - 3 : n + 4], 3) for n in range(3, 10)]
    raw = np.mean([np.abs(b - a).mean() for a, b in itertools.pairwise(flows)])
    smooth = np.mean([np.abs(b - a).mean() for a, b in itertools.pairwise(found)])
    # Of noise alone; the affine part of it is taken for the frame's own.
    assert smooth < 0.7 * raw


def test_a_frames_own_affine_part_stays_its_own():
    rng = np.random.default_rng(5)
    weave = [affine(*rng.normal(0, 1, 6) * [3, 0.01, 0.01, 3, 0.01, 0.01]) for _ in range(7)]
    flows = [part + bent() for part in weave]
    for centre in (0, 3, 6):
        # Least squares over cells, not pixels: hence not exactly.
        assert np.abs(steadied(flows, centre) - flows[centre]).max() < 0.02
        assert np.abs(local(steadied(flows, centre)) - local(bent())).max() < 0.02


@pytest.mark.parametrize("outlier", [0, 2, 4, 6])
def test_a_neighbour_that_is_far_off_does_not_matter(outlier):
    steady = affine(1, 0, 0.01, 1, 0, 0) + bent()
    flows = [steady + noise(0.05, seed) for seed in range(7)]
    expected = steadied([flow for k, flow in enumerate(flows) if k != outlier], 3 - (outlier < 3))
    flows[outlier] = steady + bent(20, seed=2)
    assert np.abs(steadied(flows, 3) - expected).mean() < 0.03
    assert np.abs(steadied(flows, 3) - steady).max() < np.abs(noise(0.05, 3)).max() + 0.1


def test_what_moves_for_itself_in_a_part_of_the_picture_keeps_its_motion():
    x, y = pixels()
    blob = 6 * np.exp(-((x - 84) ** 2 + (y - 60) ** 2) / 300)[..., None] * np.float32([1, -1])
    still = np.zeros((HEIGHT, WIDTH, 2), np.float32)
    flows = [still, still, still, (still + blob).astype(np.float32), still, still, still]
    found = steadied(flows, 3)
    assert np.abs(found - flows[3]).max() < 0.5


def test_the_nearer_in_time_counts_the_more():
    flows = [np.zeros((HEIGHT, WIDTH, 2), np.float32) for _ in range(7)]
    small = bent(0.05)
    effects = []
    for changed in (4, 5, 6):
        around = [small if k == changed else flow for k, flow in enumerate(flows)]
        effects.append(np.abs(steadied(around, 3)).mean())
    assert effects[0] > effects[1] > effects[2] > 0


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (7, 5), (8, 8), (9, 200), (33, 47)])
def test_sizes_however_small(size):
    rng = np.random.default_rng(1)
    flows = [rng.normal(0, 0.2, (*size, 2)).astype(np.float32) for _ in range(3)]
    found = steadied(flows, 1)
    assert found.shape == (*size, 2)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert np.abs(found - flows[1]).max() < 2


def test_what_is_given_is_not_written_to():
    flows = [bent() + noise(0.1, seed) for seed in range(3)]
    kept = [flow.copy() for flow in flows]
    for flow in flows:
        flow.flags.writeable = False
    steadied(flows, 1)
    assert all(np.array_equal(flow, copy) for flow, copy in zip(flows, kept, strict=True))
