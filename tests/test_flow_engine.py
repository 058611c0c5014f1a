"""The parts of the engine: the thin plate, Lucas-Kanade, the projective map, and what makes pictures comparable."""

import cv2
import numpy as np
import pytest
from helpers import FOOTAGE, Waves

from vs_align.flow.homography import homography, homography_grid
from vs_align.flow.looks import agreement, matching_blur, noise, normalised, smoothed
from vs_align.flow.lucas_kanade import Evidence, evidence, gradients
from vs_align.flow.thin_plate import learned_curvature, settled

SHAPES = pytest.mark.parametrize("shape", [(1, 1), (1, 2), (1, 9), (8, 1), (2, 2), (2, 3), (3, 2), (7, 5), (12, 15)])


def pixels(height=240, width=320):
    y, x = np.mgrid[:height, :width].astype(np.float64)
    return x, y


# ---------------------------------------------------------------- the thin plate


def second_differences(height, width):
    """The matrix whose square is the bending energy of a field (h, w): dxx, dyy, and dxy twice."""
    index = np.arange(height * width).reshape(height, width)
    rows = []

    def add(*terms):
        row = np.zeros(height * width)
        for where, weight in terms:
            row[where] += weight
        rows.append(row)

    for i in range(height):
        for j in range(width):
            if 0 < j < width - 1:
                add((index[i, j - 1], 1), (index[i, j], -2), (index[i, j + 1], 1))
            if 0 < i < height - 1:
                add((index[i - 1, j], 1), (index[i, j], -2), (index[i + 1, j], 1))
            if i and j:
                root = np.sqrt(2)
                add(
                    *((index[i, j], root), (index[i, j - 1], -root)),
                    *((index[i - 1, j], -root), (index[i - 1, j - 1], root)),
                )
    return np.array(rows).reshape(-1, height * width)


def solved(found, grid, stiffness):
    """What `settled` is defined to be, by the normal equations of all cells at once."""
    height, width = grid.shape[:2]
    differences = second_differences(height, width)
    bend = stiffness * differences.T @ differences
    xx, xy, yy, xd, yd = (
        np.asarray(part, np.float64).ravel() for part in (found.xx, found.xy, found.yy, found.xd, found.yd)
    )
    system = np.block([[np.diag(xx) + bend, np.diag(xy)], [np.diag(xy), np.diag(yy) + bend]])
    before = grid.astype(np.float64).reshape(-1, 2).T
    wanted = np.concatenate([xd - bend @ before[0], yd - bend @ before[1]])
    return grid + np.linalg.solve(system, wanted).reshape(2, height, width).transpose(1, 2, 0)


def made_evidence(shape, seed=0, strength=1.0):
    """Evidence of gradients and differences drawn at random, nowhere less than ``strength``."""
    rng = np.random.default_rng(seed)
    x, y, d = rng.normal(0, 1, (3, *shape, 6))
    xx, xy, yy, xd, yd = (strength * (a * b).mean(-1) for a, b in ((x, x), (x, y), (y, y), (x, d), (y, d)))
    parts = (xx + strength, xy, yy + strength, 4 * xd, 4 * yd)
    return Evidence(*(np.asarray(part, np.float32) for part in parts), noise=0.005)


def towards(field, strength):
    """Evidence that the flow, zero so far, should be ``field``; strength per cell."""
    strength = np.broadcast_to(np.float32(strength), field.shape[:2])
    return Evidence(strength, 0 * strength, strength, strength * field[..., 0], strength * field[..., 1], 0.005)


def straight(shape):
    y, x = np.mgrid[: shape[0], : shape[1]]
    return np.dstack([0.5 + 0.1 * x - 0.07 * y, -1 + 0.03 * x + 0.05 * y]).astype(np.float32)


@SHAPES
@pytest.mark.parametrize("stiffness", [0.1, 1.0, 10.0])
def test_settled_is_the_solution_of_the_normal_equations(shape, stiffness):
    found = made_evidence(shape)
    rough = np.random.default_rng(1).normal(0, 0.5, (*shape, 2)).astype(np.float32)
    for grid in (np.zeros_like(rough), straight(shape), rough):
        exact = solved(found, grid, stiffness)
        # The bed, for places without evidence, moves it by less than this.
        assert np.abs(settled(found, grid, stiffness, 150) - exact).max() < 0.004


def test_few_iterations_are_near():
    found = made_evidence((20, 30), strength=3.0)
    grid = np.zeros((20, 30, 2), np.float32)
    exact = solved(found, grid, 5.0)
    assert np.abs(settled(found, grid, 5.0, 15) - exact).max() < 0.01 * np.abs(exact).max()


@pytest.mark.parametrize("stiffness", [1.0, 100.0, 10000.0])
def test_straight_fields_cost_nothing(stiffness):
    field = straight((11, 14))
    assert np.abs(settled(towards(field, 1000.0), np.zeros_like(field), stiffness, 60) - field).max() < 0.005


def test_bent_fields_cost_the_more_the_stiffer():
    x = np.arange(24.0)
    field = np.broadcast_to(np.sin(x)[:, None], (18, 24, 2)).astype(np.float32)
    kept = [
        np.abs(settled(towards(field, 1.0), np.zeros_like(field), stiffness, 60)).mean()
        for stiffness in (0.01, 1.0, 100.0)
    ]
    assert kept[0] > 0.9 * np.abs(field).mean()
    assert kept[0] > kept[1] > kept[2]
    assert kept[2] < 0.1 * np.abs(field).mean()


@pytest.mark.parametrize("bend", ["x^2 + y^2", "x^2 - y^2", "x^3"])
def test_a_hole_is_filled_as_a_thin_plate_would(bend):
    y, x = np.mgrid[:24, :26] - np.array([11.5, 12.5])[:, None, None]
    # Biharmonic, so what a plate does that is held all around; harmonic filling misses the first and the last.
    surface = {"x^2 + y^2": 0.05 * (x * x + y * y), "x^2 - y^2": 0.05 * (x * x - y * y), "x^3": 0.01 * x**3}[bend]
    field = np.dstack([surface, -surface]).astype(np.float32)
    hole = (np.abs(x) < 4.6) & (np.abs(y) < 4.6)
    stiffness = 0.01
    filled = settled(towards(field, np.where(hole, 0, 100)), np.zeros_like(field), stiffness, 200)
    assert np.abs(filled - field)[hole].max() < 0.03 * np.ptp(surface[hole])


def test_a_hole_in_a_straight_field_is_filled_straight():
    field = straight((20, 22))
    strength = np.full((20, 22), 50.0)
    strength[6:15, 5:18] = 0
    filled = settled(towards(field, strength), np.zeros_like(field), 1.0, 100)
    assert np.abs(filled - field).max() < 0.02


def test_nothing_at_all_leaves_a_finite_field():
    nothing = Evidence(*np.zeros((5, 6, 7), np.float32), noise=0.005)
    assert not settled(nothing, np.zeros((6, 7, 2), np.float32), 1.0, 20).any()
    assert np.isfinite(settled(nothing, straight((6, 7)), 1.0, 20)).all()


@pytest.mark.parametrize("begin", [straight, lambda shape: np.full((*shape, 2), -3, np.float32)])
def test_where_it_begins_does_not_matter(begin):
    shape = (7, 5)
    found = made_evidence(shape)
    exact = solved(found, straight(shape), 1.0)
    assert np.abs(settled(found, straight(shape), 1.0, 150, begin(shape)) - exact).max() < 0.004


@SHAPES
@pytest.mark.parametrize("by_chance", [0.0, 0.5])
def test_what_bends_more_is_expected_to(shape, by_chance):
    found = made_evidence(shape, strength=1e4)
    y, x = np.mgrid[: shape[0], : shape[1]]
    bent = np.dstack([np.sin(x + y), np.cos(x - y)]).astype(np.float32)
    little, much = (learned_curvature(found, grid, 1.0, 64.0, by_chance) for grid in (straight(shape), bent))
    assert 0 < little < 0.05
    if min(shape) < 3:
        # There is nothing to learn from.
        assert little == much
    else:
        assert much > 1.5 * little


# ---------------------------------------------------------------- Lucas-Kanade

CELL = 8


def pair(dx, dy, seed=0):
    """(ref, clip), each of deviation 1: what ref shows at (x, y), clip shows at (x + dx, y + dy)."""
    x, y = pixels()
    world = Waves(seed, shortest=8)
    return (world(x + dx, y + dy) - 128) / 45, (world(x, y) - 128) / 45


def compared(ref, clip, grid=None, keep=None):
    grid = np.zeros((240 // CELL, 320 // CELL, 2), np.float32) if grid is None else grid
    keep = np.ones_like(ref) if keep is None else keep
    return evidence(ref, clip, grid, CELL, keep, gradients(ref))


def one_step(found, where=np.s_[2:-2, 2:-2]):
    """The step that all cells together ask for."""
    xx, xy, yy, xd, yd = (part[where].sum() for part in (found.xx, found.xy, found.yy, found.xd, found.yd))
    return np.linalg.solve([[xx, xy], [xy, yy]], [xd, yd])


@pytest.mark.parametrize("shift", [(0.25, 0), (0, -0.25), (0.3, -0.2), (-0.5, 0.4)])
def test_evidence_of_a_small_shift_points_to_it(shift):
    step = one_step(compared(*pair(*shift)))
    assert np.abs(step - shift).max() < 0.08 * np.hypot(*shift)


def test_each_cell_with_texture_points_to_the_shift():
    found = compared(*pair(0.3, -0.2))
    certain = found.xx * found.yy - found.xy**2
    good = certain > np.median(certain)
    x = (found.yy * found.xd - found.xy * found.yd)[good] / certain[good]
    y = (found.xx * found.yd - found.xy * found.xd)[good] / certain[good]
    assert np.abs(np.median(x) - 0.3) < 0.02
    assert np.abs(np.median(y) + 0.2) < 0.02
    assert np.mean(np.hypot(x - 0.3, y + 0.2) < 0.15) > 0.9


def test_at_the_true_flow_there_is_nothing_left_to_do():
    grid = np.zeros((30, 40, 2), np.float32) + np.float32([3.25, -2.5])
    step = one_step(compared(*pair(3.25, -2.5), grid))
    assert np.abs(step).max() < 0.01


def test_what_lies_outside_clip_says_nothing():
    grid = np.zeros((30, 40, 2), np.float32) + np.float32([40, 0])
    found = compared(*pair(40, 0), grid)
    assert not found.xx[:, -5:].any()
    assert not found.xd[:, -5:].any()
    assert (found.xx[:, :34] > 0).all()


def test_masked_pixels_do_not_count():
    ref, clip = pair(0.3, -0.2)
    keep = np.ones_like(ref)
    keep[64:144, 80:200] = 0
    first = compared(ref, clip, keep=keep)
    # Gradients reach one pixel beyond where they are taken.
    for value in (0.0, 2.5):
        changed = ref.copy()
        changed[65:143, 81:199] = value
        second = compared(changed, clip, keep=keep)
        for name in ("xx", "xy", "yy", "xd", "yd"):
            a, b = getattr(first, name), getattr(second, name)
            assert not a[8:18, 10:25].any()
            # All that a masked pixel may say is how large differences usually are.
            assert np.abs(a - b).max() < 0.1 * np.abs(a).max(), name
        assert np.abs(one_step(first) - one_step(second)).max() < 0.005


def test_an_edge_says_nothing_of_the_way_along_it():
    x, y = pixels()
    stripes = [np.sin((x + dx + 0.0 * y) / 3).astype(np.float32) for dx in (0.3, 0)]
    found = compared(*stripes)
    middle = np.s_[3:-3, 3:-3]
    assert found.yy[middle].max() < 1e-3 * found.xx[middle].min()
    assert np.median((found.xd / found.xx)[middle]) == pytest.approx(0.3, abs=0.02)


def test_gradients_are_per_pixel():
    x, y = pixels(20, 30)
    across, down = gradients((3 * x - 2 * y).astype(np.float32))
    assert np.allclose(across[1:-1, 1:-1], 3, atol=1e-4)
    assert np.allclose(down[1:-1, 1:-1], -2, atol=1e-4)


# ---------------------------------------------------------------- the projective map


def about_the_middle(matrix, height=240, width=320):
    there = np.array([[1, 0, (width - 1) / 2], [0, 1, (height - 1) / 2], [0, 0, 1]])
    return there @ np.array(matrix, np.float64) @ np.linalg.inv(there)


def turned(degrees, scale=1.0):
    cosine, sine = scale * np.cos(np.radians(degrees)), scale * np.sin(np.radians(degrees))
    return [[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]]


MATRICES = {
    "shift 30": [[1, 0, 30], [0, 1, -12.5], [0, 0, 1]],
    "rotation 30": turned(30),
    "rotation -45": turned(-45),
    "scale 1.3": turned(0, 1.3),
    "scale 1/1.3": turned(0, 1 / 1.3),
    "shear": [[1, 0.3, 0], [0, 1, 0], [0, 0, 1]],
    "crop": [[4 / 3, 0, 0], [0, 1, 0], [0, 0, 1]],
    "perspective": [[1, 0.02, 3], [-0.03, 1.05, 2], [4e-4, -3e-4, 1]],
}


def mapped(matrix, x, y):
    w = matrix[2, 0] * x + matrix[2, 1] * y + matrix[2, 2]
    return (
        (matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2]) / w,
        (matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2]) / w,
    )


def corner_error(found, matrix, height, width):
    x, y = np.array([0.0, width - 1, width - 1, 0]), np.array([0.0, 0, height - 1, height - 1])
    return np.hypot(*(a - b for a, b in zip(mapped(found, x, y), mapped(matrix, x, y), strict=True))).max()


@pytest.mark.parametrize("name", MATRICES)
def test_a_known_projective_map_is_found(name):
    matrix = about_the_middle(MATRICES[name])
    x, y = pixels()
    world = Waves(3)
    found = homography(world(*mapped(matrix, x, y)), world(x, y), None)
    assert found is not None
    assert corner_error(found, matrix, 240, 320) < 0.5


def test_a_projective_map_between_pictures_of_two_sizes():
    x, y = pixels()
    fine_x, fine_y = pixels(360, 480)
    world = Waves(3, shortest=6)
    # At pixel centres: 1.5 times as large, and 12 px to the right.
    matrix = np.array([[1.5, 0, 12.25], [0, 1.5, 0.25], [0, 0, 1]])
    clip = world((fine_x - 12.25) / 1.5, (fine_y - 0.25) / 1.5)
    found = homography(world(x, y), clip, None)
    assert found is not None
    assert corner_error(found, matrix, 240, 320) < 0.5


def test_features_under_the_mask_do_not_vote():
    x, y = pixels()
    world, other = Waves(3), Waves(4)
    ref, clip = world(x + 9, y - 4), world(x, y)
    # Two thirds of both pictures show something else that stands still.
    for part in (ref, clip):
        part[:160] = other(x, y)[:160]
    keep = np.zeros(ref.shape, np.bool_)
    keep[176:] = True
    found = homography(ref, clip, keep)
    assert found is not None
    assert corner_error(found, np.array([[1, 0, 9], [0, 1, -4], [0, 0, 1.0]]), 240, 320) < 0.5 * 3


def test_there_is_no_projective_map_between_unrelated_or_empty_pictures():
    x, y = pixels()
    pictures = [Waves(seed)(x, y) for seed in range(4)]
    for a, b in ((0, 1), (1, 2), (2, 3), (3, 0)):
        assert homography(pictures[a], pictures[b], None) is None
    flat = np.full((240, 320), 90, np.float32)
    assert homography(flat, pictures[0], None) is None
    assert homography(pictures[0], flat, None) is None
    assert homography(flat, flat, None) is None
    assert homography(pictures[0], pictures[0], np.zeros((240, 320), np.bool_)) is None


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (7, 5), (17, 40)])
def test_no_projective_map_is_looked_for_in_vain_on_tiny_pictures(size):
    x, y = pixels(*size)
    found = homography(Waves(1)(x, y), Waves(1)(x, y), None)
    assert found is None or np.isfinite(found).all()


def test_graf():
    folder = FOOTAGE / "homography"
    if not (folder / "graf_img1.png").is_file():
        pytest.skip("no footage: graf")
    one, two = (cv2.imread(str(folder / f"graf_img{k}.png"), cv2.IMREAD_GRAYSCALE).astype(np.float32) for k in (1, 2))
    truth = np.loadtxt(folder / "graf_H1to2p.txt")
    found = homography(one, two, None)
    assert found is not None
    # The published matrix itself is good to about a pixel.
    assert corner_error(found, truth, *one.shape) < 3


def test_the_flow_of_a_matrix_is_taken_at_the_centres_of_cells():
    matrix = about_the_middle(MATRICES["perspective"])
    grid = homography_grid(matrix, (240, 320), 16)
    assert grid.shape == (15, 20, 2)
    assert grid.dtype == np.float32
    y, x = np.meshgrid((np.arange(15) + 0.5) * 16 - 0.5, (np.arange(20) + 0.5) * 16 - 0.5, indexing="ij")
    there = mapped(matrix, x, y)
    assert np.abs(grid - np.dstack([there[0] - x, there[1] - y])).max() < 1e-3
    assert np.abs(homography_grid(np.eye(3), (240, 320), 16)).max() < 1e-5


# ---------------------------------------------------------------- looks


def soft():
    x, y = pixels()
    return Waves(5, shortest=25)(x, y).astype(np.float32)


def grain(sigma, seed=0):
    return np.random.default_rng(seed).normal(0, sigma, (240, 320)).astype(np.float32)


@pytest.mark.parametrize("sigma", [2, 4, 8, 16, 25])
def test_noise_is_measured_within_20_percent(sigma):
    for seed in range(3):
        assert noise(soft() + grain(sigma, seed)) == pytest.approx(sigma, rel=0.2)


def test_a_smooth_picture_has_no_noise_and_texture_in_a_part_of_it_is_none():
    assert noise(soft()) < 0.7
    x, y = pixels()
    assert noise((2 * x + y).astype(np.float32)) < 1e-3
    busy = soft()
    busy[:160] += 60 * np.sign(np.sin(x[:160] / 2) * np.sin(y[:160] / 2)).astype(np.float32)
    assert noise(busy + grain(4)) == pytest.approx(4, rel=0.25)


@pytest.mark.parametrize("size", [(1, 1), (8, 40), (15, 15)])
def test_noise_of_tiny_pictures_is_none(size):
    assert noise(np.ones(size, np.float32)) == 0


@pytest.mark.parametrize("sigma", [6.0, 12.0])
@pytest.mark.parametrize(("gain", "offset"), [(0.5, 60), (2.0, -40), (1.0, 30)])
def test_gain_and_offset_are_taken_out(gain, offset, sigma):
    x, y = pixels()
    picture = Waves(6)(x, y).astype(np.float32)
    plain, other = (normalised(part, sigma, 4.0) for part in (picture, gain * picture + offset))
    assert 0.5 < plain.std() < 1.1
    # Where the deviation is small the floor counts.
    assert np.abs(plain - other).mean() < 0.06
    keep = np.ones_like(picture)
    assert agreement(plain, other, keep) > 0.999
    assert agreement(plain, -other, keep) < -0.999


def test_flat_parts_stay_flat():
    assert not normalised(np.full((64, 96), 77, np.float32), 6.0, 4.0).any()
    assert np.abs(normalised(100 + grain(0.5), 6.0, 4.0)).std() < 0.2


def test_agreement_is_a_correlation():
    a, b = grain(1, 1), grain(1, 2)
    keep = np.ones_like(a)
    assert agreement(a, a, keep) == pytest.approx(1)
    assert abs(agreement(a, b, keep)) < 0.02
    assert agreement(a, (a + b) / 2, keep) == pytest.approx(np.sqrt(0.5), abs=0.01)
    keep[:, 160:] = 0
    b[:, :160] = a[:, :160]
    assert agreement(a, b, keep) == pytest.approx(1)
    assert agreement(0 * a, a, keep) == 0


@pytest.mark.parametrize("sigma", [0.6, 0.9, 1.2, 1.6, 2.0])
@pytest.mark.parametrize("side", ["clip", "ref"])
def test_a_known_blur_is_found(sigma, side):
    x, y = pixels()
    picture = smoothed(128 + 6 * grain(10) + Waves(7)(x, y).astype(np.float32), 0.8)
    blurred, keep = smoothed(picture, sigma), np.ones_like(picture)
    # Positive: clip is the sharper one.
    found = matching_blur(blurred, picture, keep) if side == "clip" else -matching_blur(picture, blurred, keep)
    assert found == pytest.approx(sigma, abs=0.3)


def test_pictures_that_are_as_sharp_need_no_blur():
    picture = smoothed(grain(60), 0.8)
    keep = np.ones_like(picture)
    assert matching_blur(picture, picture, keep) == 0
    assert matching_blur(0.7 * picture + 20, picture, keep) == 0
    assert matching_blur(np.zeros_like(picture), picture, keep) == 0


def test_smoothing_by_nothing_is_nothing():
    picture = grain(5)
    assert np.array_equal(smoothed(picture, 0), picture)
