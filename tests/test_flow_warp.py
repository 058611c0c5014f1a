"""The final warp, against the cubic convolution written out in double precision and against closed forms."""

import cv2
import numpy as np
import pytest

from vs_align.flow import warp
from vs_align.flow.warp import coverage, finite, shift_statistics, warp_planes

TYPES = pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float16, np.float32])
PEAK = {np.uint8: 255, np.uint16: 65535, np.float16: 1, np.float32: 1}


def picture(height=61, width=83, seed=0, blur=1.2):
    rough = np.random.default_rng(seed).random((height, width))
    soft = cv2.GaussianBlur(rough, (0, 0), blur)
    return (soft - soft.min()) / (soft.max() - soft.min())


def as_type(samples, dtype):
    scaled = samples * PEAK[dtype]
    return (np.rint(scaled) if np.issubdtype(dtype, np.integer) else scaled).astype(dtype)


def wavy(height=61, width=83, amount=3.0):
    y, x = np.mgrid[:height, :width]
    return np.dstack([amount * np.sin(y / 9) + 0.37, amount * np.cos(x / 11) - 0.21]).astype(np.float32)


def keys(t, a):
    """The cubic convolution kernel of Keys, 1981."""
    t = np.abs(t)
    near, far = (a + 2) * t**3 - (a + 3) * t**2 + 1, a * (t**3 - 5 * t**2 + 8 * t - 4)
    return np.where(t < 1, near, np.where(t < 2, far, 0))


def sampled(plane, x, y, a=-0.75):
    """Cubic convolution at the positions (x, y), in double precision, the border replicated."""
    plane = plane.astype(np.float64)
    height, width = plane.shape
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    total = np.zeros(x.shape)
    for j in range(-1, 3):
        for i in range(-1, 3):
            weight = keys(x - left - i, a) * keys(y - top - j, a)
            total += weight * plane[np.clip(top + j, 0, height - 1), np.clip(left + i, 0, width - 1)]
    return total


def corrected(position):
    """A position less 0.4 d (1/2 - 2 d^2), where d is its distance from the nearest whole number."""
    d = position - np.rint(position)
    return position - 0.4 * d * (0.5 - 2 * d * d)


def expected(plane, flow, size):
    """What the warp is defined to be, before rounding and clipping."""
    height, width = plane.shape
    y, x = np.mgrid[: size[1], : size[0]]
    flow = flow.astype(np.float64)
    at_x = (x + flow[..., 0] + 0.5) * width / size[0] - 0.5
    at_y = (y + flow[..., 1] + 0.5) * height / size[1] - 0.5
    return sampled(plane, corrected(at_x), corrected(at_y))


# ---------------------------------------------------------------- what is sampled


@TYPES
def test_a_warp_is_the_cubic_convolution_at_the_corrected_positions(dtype):
    planes = [as_type(picture(seed=seed), dtype) for seed in range(3)]
    flow = wavy()
    for plane, result in zip(planes, warp_planes(planes, flow, (83, 61)), strict=True):
        exact = expected(plane, flow, (83, 61))
        assert result.dtype == dtype
        error = np.abs(result.astype(np.float64) - np.clip(exact, 0, PEAK[dtype]))
        if np.issubdtype(dtype, np.integer):
            # Half a step of rounding; and single precision where the exact value is between two.
            assert error.max() <= (0.51 if dtype == np.uint8 else 0.75)
        else:
            error = np.abs(result.astype(np.float64) - exact)
            assert error.max() < (2e-5 if dtype == np.float32 else 1e-3)


@pytest.mark.parametrize("size", [(83, 61), (166, 122), (120, 61), (83, 99), (250, 200)])
def test_a_smaller_clip_is_sampled_on_refs_grid(size):
    plane = picture().astype(np.float32)
    flow = wavy(size[1], size[0], 2.0)
    (result,) = warp_planes([plane], flow, size)
    assert result.shape == (size[1], size[0])
    assert np.abs(result - expected(plane, flow, size)).max() < 5e-5


def test_a_ramp_of_another_size_stays_a_ramp():
    ramp = np.tile(np.arange(400, dtype=np.float32), (300, 1))
    for width, height in ((100, 75), (160, 90), (401, 300), (1000, 700)):
        (result,) = warp_planes([ramp], None, (width, height))
        position = (np.arange(width) + 0.5) * 400 / width - 0.5
        inside = (position > 12) & (position < 387)
        # What the kernel's displacement is left at after the correction, in pixels of the clip.
        assert np.abs(result[:, inside] - position[inside]).max() < 0.031


def test_a_larger_clip_does_not_alias():
    y, x = np.mgrid[:240, :320]
    board = ((x + y) % 2 * 255).astype(np.uint8)
    stripes = np.where(x % 3 == 0, 255, 0).astype(np.uint8)
    # At these sizes bare sampling turns the patterns into coarse ones of full contrast.
    for width, height in ((110, 80), (130, 97), (200, 150)):
        (result,) = warp_planes([board], None, (width, height))
        assert np.ptp(result[8:-8, 8:-8].astype(int)) <= 40
    (result,) = warp_planes([stripes], None, (110, 80))
    assert np.ptp(result[8:-8, 8:-8].astype(int)) <= 60
    assert abs(result.mean() - 85) < 2


def phase_error(shift, frequency, a, correct):
    """How far the kernel displaces a wave, in pixels: the phase of its response against that of the shift."""
    taps = np.arange(-2, 4)
    at = corrected(shift) if correct else shift
    response = (keys(at - taps, a) * np.exp(1j * frequency * taps)).sum()
    return (np.angle(response) - frequency * shift) / frequency


def test_the_correction_takes_away_most_of_the_kernels_displacement():
    shifts = np.linspace(-0.45, 0.45, 19)
    for frequency in (0.2, 0.6, 1.0, 1.4):
        wave = np.cos(frequency * np.arange(400))[None].repeat(8, 0).astype(np.float32)
        found = []
        for shift in shifts:
            flow = np.zeros((8, 400, 2), np.float32)
            flow[..., 0] = shift
            (result,) = warp_planes([wave], flow, (400, 8))
            x = np.arange(20, 380)
            basis = np.stack([np.cos(frequency * x), np.sin(frequency * x)])
            cosine, sine = np.linalg.lstsq(basis.T, result[4, 20:380], rcond=None)[0]
            found.append(np.arctan2(-sine, cosine) / frequency - shift)
        told = [phase_error(shift, frequency, -0.75, True) for shift in shifts]
        assert np.abs(np.subtract(found, told)).max() < 1e-4
        assert np.abs(found).max() < 0.035
    assert max(abs(phase_error(shift, 0.2, -0.75, False)) for shift in shifts) > 0.045


def test_on_real_spectra_the_displacement_is_less_than_that_of_catmull_rom_and_the_sharpness_more():
    # Amplitudes that fall with the frequency, as in photographs; gradients weighted as a measurement sees them.
    frequencies = np.linspace(0.1, 2.4, 47)
    seen = np.exp(-(frequencies**2) * 0.49)
    error, gain = {}, {}
    for name, a, correct in (("ours", -0.75, True), ("bare", -0.75, False), ("catmull", -0.5, False)):
        mean, power = [], []
        for shift in np.linspace(0.02, 0.48, 24):
            offs = np.array([phase_error(shift, w, a, correct) for w in frequencies])
            mean.append(abs((offs * seen).sum() / seen.sum()))
            at, taps = corrected(shift) if correct else shift, np.arange(-2, 4)
            power.append(np.mean([abs((keys(at - taps, a) * np.exp(1j * w * taps)).sum()) for w in frequencies]))
        error[name], gain[name] = np.mean(mean), np.mean(power)
    assert error["ours"] < 0.5 * error["bare"]
    assert error["ours"] < error["catmull"]
    assert gain["ours"] > gain["catmull"]


# ---------------------------------------------------------------- whole displacements


@TYPES
@pytest.mark.parametrize("noise", [0.0, 0.015])
def test_whole_displacements_copy_samples(dtype, noise):
    planes = [as_type(picture(seed=seed), dtype) for seed in range(3)]
    rng = np.random.default_rng(3)
    whole = np.rint(wavy())
    flow = (whole + rng.uniform(-noise, noise, whole.shape)).astype(np.float32)
    y, x = np.mgrid[:61, :83]
    rows = np.clip(y + whole[..., 1].astype(int), 0, 60)
    columns = np.clip(x + whole[..., 0].astype(int), 0, 82)
    for plane, result in zip(planes, warp_planes(planes, flow, (83, 61)), strict=True):
        assert np.array_equal(result, plane[rows, columns])


@TYPES
def test_no_displacement_copies_the_planes(dtype):
    planes = [as_type(picture(seed=seed), dtype) for seed in range(3)]
    for flow in (None, np.zeros((61, 83, 2), np.float32)):
        for plane, result in zip(planes, warp_planes(planes, flow, (83, 61)), strict=True):
            assert np.array_equal(result, plane)


def test_one_pixel_that_is_not_whole_has_all_sampled():
    plane = picture().astype(np.float32)
    flow = np.full((61, 83, 2), 1.01, np.float32)
    assert np.array_equal(warp_planes([plane], flow, (83, 61))[0][:-1, :-1], plane[1:, 1:])
    flow[37, 41] = 1.2
    assert not np.array_equal(warp_planes([plane], flow, (83, 61))[0][:-1, :-1], plane[1:, 1:])


# ---------------------------------------------------------------- range, and samples that are not finite


def edges():
    return np.tile(np.repeat([0.0, 1.0, 0.0, 1.0], 12), (20, 1))


def half_a_pixel(height=20, width=48):
    return np.full((height, width, 2), 0.4, np.float32)


def test_overshoot_is_clipped_to_the_integers_range_alone():
    exact = expected(edges(), half_a_pixel(), (48, 20))
    assert exact.min() < -0.03
    assert exact.max() > 1.03
    for dtype, peak in ((np.uint8, None), (np.uint16, None), (np.uint16, 1023), (np.uint16, 511)):
        top = peak or PEAK[dtype]
        (result,) = warp_planes([(edges() * top).astype(dtype)], half_a_pixel(), (48, 20), peak=peak)
        assert (result.min(), result.max()) == (0, top)
        assert np.abs(result - np.clip(exact, 0, 1) * top).max() < 0.75
    (result,) = warp_planes([edges().astype(np.float32)], half_a_pixel(), (48, 20))
    assert np.abs(result - exact).max() < 1e-5


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_high_dynamic_range_is_kept(dtype):
    plane = (edges() * 900 - 100).astype(dtype)
    (result,) = warp_planes([plane], half_a_pixel(), (48, 20))
    assert np.abs(result - (expected(edges(), half_a_pixel(), (48, 20)) * 900 - 100)).max() < 1


def test_half_does_not_overshoot_into_infinity():
    (result,) = warp_planes([(edges() * 65504).astype(np.float16)], half_a_pixel(), (48, 20))
    assert np.isfinite(result).all()


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("shift", [0.0, 0.3, -0.3, 2.4])
def test_one_bad_sample_stays_one_bad_sample(dtype, value, shift):
    planes = [as_type(picture(seed=seed), dtype) for seed in range(3)]
    clean = [plane.copy() for plane in planes]
    planes[1][30, 40] = value
    flow = np.full((61, 83, 2), shift, np.float32)
    red, green, blue = warp_planes(planes, flow, (83, 61))
    bad = ~np.isfinite(green)
    at = (30 - round(shift), 40 - round(shift))
    assert [tuple(map(int, where)) for where in np.argwhere(bad)] == [at]
    assert np.array_equal(green[bad], [value], equal_nan=True)
    whole = warp_planes(clean, flow, (83, 61))
    assert np.array_equal(red, whole[0])
    assert np.array_equal(blue, whole[2])
    near = np.zeros_like(bad)
    near[at[0] - 3 : at[0] + 4, at[1] - 3 : at[1] + 4] = True
    assert np.array_equal(green[~near], whole[1][~near])
    assert np.abs(green - whole[1].astype(np.float64))[near & ~bad].max() < 0.3


def test_bad_samples_of_a_clip_of_another_size():
    plane = picture().astype(np.float32)
    plane[30, 40] = np.nan
    (larger,) = warp_planes([plane], None, (166, 122))
    assert np.isnan(larger).sum() == 4
    (smaller,) = warp_planes([plane], None, (40, 30))
    assert np.isnan(smaller).sum() <= 1


def test_what_is_not_finite_is_filled_from_around():
    plane = np.full((40, 50), 7.0, np.float32)
    plane[3:20, 5:30] = np.nan
    plane[39, 49] = np.inf
    assert np.allclose(finite(plane), 7, atol=1e-5)
    plane[:, 25:] = -3
    filled = finite(plane)
    assert np.isfinite(filled).all()
    assert filled.min() >= -3.001
    assert filled.max() <= 7.001
    assert not finite(np.full((5, 6), np.nan, np.float32)).any()
    whole = picture().astype(np.float32)
    assert finite(whole) is whole
    eight = np.zeros((3, 3), np.uint8)
    assert finite(eight) is eight


def test_a_sum_that_overflows_does_not_make_samples_bad():
    plane = np.full((8, 8), 60000, np.float16)
    assert finite(plane) is plane


# ---------------------------------------------------------------- coverage and statistics


@pytest.mark.parametrize("shift", [(0, 0), (2.0, 0), (-2.4, 1.6), (0.4, -0.4), (0.6, 0), (100, 0)])
def test_coverage_is_where_the_position_is_on_a_pixel_of_the_clip(shift):
    flow = np.broadcast_to(np.float32(shift), (12, 20, 2)).copy()
    y, x = np.mgrid[:12, :20]
    inside = (x + shift[0] >= -0.5) & (x + shift[0] <= 19.5) & (y + shift[1] >= -0.5) & (y + shift[1] <= 11.5)
    assert np.array_equal(coverage(flow, (12, 20), (20, 12)), inside)


def test_coverage_of_another_size():
    for clip_shape in ((7, 9), (100, 31), (12, 20), (1, 1)):
        assert coverage(None, clip_shape, (20, 12)).all()
    # Half of ref's width beyond the right border, whatever clip's size.
    flow = np.zeros((12, 20, 2), np.float32)
    flow[..., 0] = 10
    for clip_shape in ((6, 10), (120, 200)):
        assert np.array_equal(coverage(flow, clip_shape, (20, 12)), np.tile(np.arange(20) < 10, (12, 1)))


def test_shift_statistics():
    flow = np.zeros((300, 700, 2), np.float32)
    assert shift_statistics(flow) == (0, 0)
    flow[:150] = (3, -4)
    flow[299, 699] = (-8, 15)
    mean, most = shift_statistics(flow)
    assert most == pytest.approx(17)
    assert mean == pytest.approx(2.5 + 17 / 210000)


# ---------------------------------------------------------------- shapes and memory


@TYPES
@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (1, 9), (9, 1), (3, 5)])
def test_tiny_pictures(dtype, shape):
    flat = np.full(shape, 1, dtype)
    for size in ((1, 1), (2, 2), (1, 7), (7, 1), (shape[1], shape[0])):
        flow = np.full((size[1], size[0], 2), 0.3, np.float32)
        for result in warp_planes([flat] * 3, flow, size):
            assert result.shape == (size[1], size[0])
            assert np.allclose(result.astype(np.float64), 1, atol=1e-3)


@TYPES
def test_rows_of_any_pitch_are_read_and_written(dtype):
    padded = np.zeros((3, 61, 128), dtype)
    target = np.zeros((3, 61, 128), dtype)
    planes = [as_type(picture(seed=seed), dtype) for seed in range(3)]
    for index, plane in enumerate(planes):
        padded[index, :, :83] = plane
    results = warp_planes([part[:, :83] for part in padded], wavy(), (83, 61), out=[part[:, :83] for part in target])
    for result, part, other in zip(results, target, warp_planes(planes, wavy(), (83, 61)), strict=True):
        assert np.shares_memory(result, part)
        assert np.array_equal(part[:, :83], other)
        assert not part[:, 83:].any()


def test_the_result_does_not_depend_on_the_strips(monkeypatch):
    planes, flow = [as_type(picture(seed=seed), np.uint8) for seed in range(3)], wavy()
    found = []
    for pixels in (1, 83 * 7, 1 << 30):
        monkeypatch.setattr(warp, "_STRIP_PIXELS", pixels)
        found.append((*warp_planes(planes, flow, (83, 61)), coverage(flow, (61, 83), (83, 61))))
    for other in found[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_the_planes_and_the_flow_are_left_as_they_were():
    planes, flow = [picture(seed=seed).astype(np.float32) for seed in range(3)], wavy()
    planes[0][5, 5] = np.nan
    before = [plane.copy() for plane in planes], flow.copy()
    warp_planes(planes, flow, (83, 61))
    warp_planes(planes, wavy(30, 40), (40, 30))
    coverage(flow, (61, 83), (83, 61))
    assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(planes, before[0], strict=True))
    assert np.array_equal(flow, before[1])
