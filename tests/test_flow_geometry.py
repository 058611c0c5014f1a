"""Flow fields and grids, against closed forms: where cells lie, what lies between them, what a flow samples."""

import numpy as np
import pytest

from vs_align.flow.geometry import (
    Bands,
    averaged,
    coordinates,
    enlarged,
    inside,
    reduced,
    resampled,
    sample,
    taken_at,
)

GRIDS = pytest.mark.parametrize("shape", [(1, 1), (1, 6), (5, 1), (2, 3), (7, 5), (40, 60)])
FACTORS = pytest.mark.parametrize("factor", [2, 4, 8, 32])
SLOPES = np.array([[0.14, -0.07], [0.05, 0.11]])


def affine(shape, factor):
    """An affine flow at the centres of cells of ``factor`` px; no slope along a side of one cell."""
    y, x = ((np.arange(count) + 0.5) * factor - 0.5 if count > 1 else np.zeros(1) for count in shape)
    at = np.stack(np.broadcast_arrays(x, y[:, None]), -1)
    return (at @ SLOPES + [1.25, -3.5]).astype(np.float32)


def affine_everywhere(shape, factor):
    """The same flow at each pixel."""
    y, x = (np.arange(count * factor) if count > 1 else np.zeros(factor) for count in shape)
    at = np.stack(np.broadcast_arrays(x, y[:, None]), -1)
    return at @ SLOPES + [1.25, -3.5]


def picture(height=24, width=31, seed=0):
    return np.random.default_rng(seed).random((height, width), np.float32)


def constant(dx, dy, height=24, width=31):
    return np.broadcast_to(np.float32([dx, dy]), (height, width, 2)).copy()


# ---------------------------------------------------------------- grids


@GRIDS
@FACTORS
def test_an_affine_grid_is_enlarged_exactly_up_to_the_border(shape, factor):
    whole = enlarged(affine(shape, factor), factor)
    assert whole.shape == (shape[0] * factor, shape[1] * factor, 2)
    assert whole.dtype == np.float32
    # Single precision at values of up to 300.
    assert np.abs(whole - affine_everywhere(shape, factor)).max() < 2e-3


@FACTORS
def test_a_grid_of_one_channel_is_enlarged_likewise(factor):
    grid = affine((7, 5), factor)
    whole = enlarged(grid, factor)
    assert np.abs(enlarged(grid[..., 0].copy(), factor) - whole[..., 0]).max() < 2e-3


def test_a_constant_grid_stays_constant_and_in_pixels():
    assert np.allclose(enlarged(constant(2.5, -7, 3, 4), 8), [2.5, -7], atol=1e-5)


def test_a_bent_grid_is_enlarged_at_least_as_well_as_by_straight_lines():
    # Between the centres of two cells a straight line is off by an eighth of the second difference, at most.
    factor, bend = 8, 0.01
    at = (np.arange(12) + 0.5) * factor - 0.5
    grid = np.dstack([np.broadcast_to(bend * at**2 / 2, (12, 12))] * 2).astype(np.float32)
    exact = bend * np.arange(96.0) ** 2 / 2
    off = np.abs(enlarged(grid, factor)[:, 12:-12, 0] - exact[12:-12])
    assert off.max() < bend * factor**2 / 8 + 1e-3


def test_enlarged_does_not_touch_what_it_is_given():
    grid = affine((4, 5), 8)
    before = grid.copy()
    enlarged(grid, 8)
    assert np.array_equal(grid, before)


@pytest.mark.parametrize("factor", [1, 2, 4, 8])
def test_reduced_is_the_mean_of_blocks(factor):
    image = np.random.default_rng(1).random((24, 40, 2), np.float32)
    means = image.reshape(24 // factor, factor, 40 // factor, factor, 2).mean((1, 3), dtype=np.float64)
    assert np.abs(reduced(image, factor) - means).max() < 1e-6


@FACTORS
@pytest.mark.parametrize("shape", [(2, 3), (7, 5)])
def test_reducing_undoes_enlarging(shape, factor):
    grid = affine(shape, factor)
    assert np.abs(reduced(enlarged(grid, factor), factor) - grid).max() < 2e-3
    rough = np.random.default_rng(2).normal(0, 1, (*shape, 2)).astype(np.float32)
    back = reduced(enlarged(rough, factor), factor)
    # Not exactly for any grid; but cell by cell it is the same flow.
    assert np.corrcoef(back.ravel(), rough.ravel())[0, 1] > 0.95


@pytest.mark.parametrize("rows", [3, 6, 12, 48])
def test_resampled_goes_both_ways(rows):
    factor = 96 // rows
    there = resampled(affine((6, 8), 16), rows)
    assert there.shape == (rows, rows * 8 // 6, 2)
    y, x = ((np.arange(count) + 0.5) * factor - 0.5 for count in there.shape[:2])
    at = np.stack(np.broadcast_arrays(x, y[:, None]), -1)
    assert np.abs(there - (at @ SLOPES + [1.25, -3.5])).max() < 2e-3


@GRIDS
@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.0])
def test_averaging_leaves_straight_fields_as_they_are(shape, sigma):
    grid = affine(shape, 8)
    assert np.abs(averaged(grid, sigma) - grid).max() < 2e-3


def test_averaging_takes_noise_away():
    rough = np.random.default_rng(4).normal(0, 1, (60, 80, 2)).astype(np.float32)
    # Of independent noise a Gaussian leaves 1 / (2 sigma sqrt(pi)).
    assert averaged(rough, 2.0)[8:-8, 8:-8].std() == pytest.approx(1 / (4 * np.sqrt(np.pi)), rel=0.1)


def test_coordinates_are_x_and_y_and_cannot_be_spoilt():
    at = coordinates(3, 5)
    assert at.shape == (3, 5, 2)
    assert np.array_equal(at[2, 4], [4, 2])
    with pytest.raises(ValueError, match="read-only"):
        at[0, 0] = 1


# ---------------------------------------------------------------- sampling


@pytest.mark.parametrize("shift", [(0, 0), (3, -2), (-5, 7), (40, 0)])
def test_whole_shifts_are_sampled_exactly(shift):
    image = picture()
    y, x = np.mgrid[:24, :31]
    there = image[np.clip(y + shift[1], 0, 23), np.clip(x + shift[0], 0, 30)]
    assert np.array_equal(sample(image, constant(*shift)), there)


def test_a_flow_can_be_sampled_like_a_picture():
    flow = np.dstack([picture(seed=1), picture(seed=2)])
    assert np.array_equal(sample(flow, constant(2, 1))[:-1, :-2], flow[1:, 2:])


def test_between_pixels_a_ramp_is_sampled_exactly():
    y, x = np.mgrid[:24, :31].astype(np.float32)
    # 1/32 px is the step to which OpenCV rounds positions.
    for dx, dy in ((0.5, 0.25), (-1.25, 0.75), (0.28125, -0.46875)):
        there = sample(3 * x - 2 * y, constant(dx, dy))[4:-4, 4:-4]
        assert np.abs(there - (3 * (x + dx) - 2 * (y + dy))[4:-4, 4:-4]).max() < 1e-3


def test_each_pixel_follows_its_own_displacement():
    rng = np.random.default_rng(3)
    flow = rng.integers(-4, 5, (24, 31, 2)).astype(np.float32)
    y, x = np.mgrid[:24, :31]
    at = np.clip(y + flow[..., 1], 0, 23).astype(int), np.clip(x + flow[..., 0], 0, 30).astype(int)
    image = picture()
    assert np.array_equal(sample(image, flow), image[at])


def test_inside_is_where_a_pixel_of_the_other_picture_lies():
    assert inside(constant(0, 0), 24, 31).all()
    lies = inside(constant(3, -2), 24, 31)
    y, x = np.mgrid[:24, :31]
    assert np.array_equal(lies, (x + 3 < 31) & (y - 2 >= 0))
    # A pixel reaches half a pixel around its centre.
    assert inside(constant(0.4, -0.4), 24, 31).all()
    assert not inside(constant(0.6, 0), 24, 31)[:, -1].any()
    assert not inside(constant(0, -0.6), 24, 31)[0].any()
    # The other picture may have another size.
    assert np.array_equal(inside(constant(0, 0), 10, 20), (x < 20) & (y < 10))


def test_a_picture_is_taken_at_positions():
    image = picture()
    at = np.float32([[[3, 4], [30, 23]], [[-5, 2], [10.5, 7]]])
    taken = taken_at(image, at)
    assert taken.shape == (2, 2)
    expected = [[image[4, 3], image[23, 30]], [image[2, 0], (image[7, 10] + image[7, 11]) / 2]]
    assert np.allclose(taken, expected, atol=1e-6)


@pytest.mark.parametrize("factor", [2, 4, 8])
@pytest.mark.parametrize("rows", [2, 8, 16, 48])
def test_bands_make_up_the_whole(factor, rows):
    cells = (48 // factor, 64 // factor)
    grid = np.random.default_rng(5).normal(0, 2, (*cells, 2)).astype(np.float32)
    image = picture(48, 64)
    whole = sample(image, enlarged(grid, factor))
    bands = Bands(grid, factor)
    for first in range(0, 48, rows):
        last = min(first + rows, 48)
        part = bands.sampled(image, first, last)
        assert part.shape == (last - first + 2, 64)
        # Positions are rounded to 1/32 px: a hair decides to which side.
        low, high = max(first - 1, 0), min(last + 1, 48)
        assert np.abs(part[low - first + 1 : high - first + 1] - whole[low:high]).max() < 0.05
