"""The torch twins of the flow's steps against the NumPy ones, which are tested by definitions and closed forms."""

import dataclasses
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
from helpers import Waves  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from vs_align.flow import align as numpy_align  # noqa: E402
from vs_align.flow import dis, stages  # noqa: E402
from vs_align.flow import geometry as numpy_geometry  # noqa: E402
from vs_align.flow import looks as numpy_looks  # noqa: E402
from vs_align.flow import lucas_kanade as numpy_lucas_kanade  # noqa: E402
from vs_align.flow import thin_plate as numpy_thin_plate  # noqa: E402
from vs_align.flow import warp as numpy_warp  # noqa: E402
from vs_align.flow.network import engine, geometry, looks, lucas_kanade, thin_plate, warp  # noqa: E402
from vs_align.flow.network.align import align  # noqa: E402
from vs_align.flow.options import AlignOptions  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.usefixtures("one_torch_thread")]

CPU = torch.device("cpu")
EACH_PRECISION = pytest.mark.parametrize("precision", [1, 2, 3, 4])
GRIDS = pytest.mark.parametrize("shape", [(1, 1), (1, 6), (5, 1), (2, 3), (7, 5), (40, 60)])
WORLD = Waves(1)


# ---------------------------------------------------------------- pictures, flows, and the way to torch and back


def picture(height=96, width=128, seed=0, blur=1.5):
    rough = np.random.default_rng(seed).normal(0, 1, (height, width))
    soft = cv2.GaussianBlur(rough, (0, 0), blur)
    return (128 + 45 * soft / soft.std()).astype(np.float32)


def rough_grid(height, width, amount=1.0, seed=0):
    return np.random.default_rng(seed).normal(0, amount, (height, width, 2)).astype(np.float32)


def tensor(array):
    """(H, W) or (H, W, C) as (1, C, H, W)."""
    channels = np.atleast_3d(array)
    return torch.from_numpy(np.array(channels.transpose(2, 0, 1)))[None]


def array(found):
    """The way back; one channel goes."""
    channels = found[0].numpy().transpose(1, 2, 0)
    return channels[..., 0] if channels.shape[2] == 1 else channels


def away(found, told):
    return float(np.abs(np.asarray(array(found), np.float64) - told).max())


def elastic(height, width, peak):
    """Waves of 300 and 270 px, no displacement longer than ``peak``."""
    y, x = np.mgrid[:height, :width]
    across = 0.7 * peak * np.sin(2 * np.pi * (0.8 * x + 0.6 * y) / 300 + 1)
    return np.dstack([across, 0.7 * peak * np.cos(2 * np.pi * (0.5 * x - 0.86 * y) / 270)])


def shift(height, width, dx, dy):
    return np.broadcast_to(np.array([dx, dy], np.float64), (height, width, 2))


def pair(flow, grain=0.0, gain=0.85, offset=8.0):
    """(clip, ref): ref shows what clip does where the flow points to, in another light, both with grain."""
    y, x = np.mgrid[: flow.shape[0], : flow.shape[1]].astype(np.float64)
    rng = np.random.default_rng(5)
    clip, ref = WORLD(x, y), offset + gain * WORLD(x + flow[..., 0], y + flow[..., 1])
    return tuple((part + rng.normal(0, grain, part.shape)).astype(np.float32) for part in (clip, ref))


def on_cells(flow, off=0.0):
    """A flow on cells of 8 px, filled up to whole blocks, and off by some pixels."""
    height, width = flow.shape[:2]
    full = np.pad(flow, ((0, -height % 32), (0, -width % 32), (0, 0)), mode="edge")
    cells = full.reshape(full.shape[0] // 8, 8, full.shape[1] // 8, 8, 2).mean((1, 3))
    return (cells + cv2.GaussianBlur(rough_grid(*cells.shape[:2], seed=3), (0, 0), 1.5) * off).astype(np.float32)


def net(grid, spread=0.0):
    """A network that has the same to say whatever it is shown."""
    flow = tensor(grid)
    return lambda ref, clip, start=None: SimpleNamespace(flow=flow, spread=torch.full_like(flow[:, :1], spread))


# ---------------------------------------------------------------- geometry


@GRIDS
@pytest.mark.parametrize("factor", [2, 4, 8, 32])
def test_grids_are_enlarged_alike(shape, factor):
    grid = rough_grid(*shape)
    assert away(geometry.enlarged(tensor(grid), factor), numpy_geometry.enlarged(grid, factor)) < 2e-5


@GRIDS
@pytest.mark.parametrize("factor", [2, 8])
def test_grids_are_resampled_alike(shape, factor):
    grid = rough_grid(shape[0] * 8, shape[1] * 8)
    for rows in (grid.shape[0] // factor, grid.shape[0], grid.shape[0] * factor):
        assert away(geometry.resampled(tensor(grid), rows), numpy_geometry.resampled(grid, rows)) < 2e-5


@GRIDS
@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.0])
def test_grids_are_averaged_alike(shape, sigma):
    grid = rough_grid(*shape)
    assert away(geometry.averaged(tensor(grid), sigma), numpy_geometry.averaged(grid, sigma)) < 3e-5


@pytest.mark.parametrize("amount", [0.0, 0.4, 7.0, 90.0])
def test_images_are_sampled_alike_also_out_of_the_frame(amount):
    image, flow = picture(48, 65), amount * rough_grid(48, 65)
    assert away(geometry.sample(tensor(image), tensor(flow)), numpy_geometry.sample(image, flow)) < 0.005
    at = flow[:30, :40] + numpy_geometry.coordinates(30, 40)
    assert away(geometry.taken_at(tensor(image), tensor(at)), numpy_geometry.taken_at(image, at)) < 0.005
    lies = geometry.inside(tensor(flow), 48, 65)
    assert np.array_equal(array(lies), numpy_geometry.inside(flow, 48, 65))


@pytest.mark.parametrize("factor", [2, 8])
@pytest.mark.parametrize("amount", [0.0, 3.0, 60.0])
def test_what_gradients_need_is_sampled_alike(factor, amount):
    image, grid = picture(64, 96), amount * rough_grid(64 // factor, 96 // factor)
    told = numpy_geometry.Bands(grid, factor).sampled(image, 0, 64)
    found = array(geometry.sampled_around(tensor(image), tensor(grid), factor))
    assert found.shape == (66, 98)
    assert np.abs(found[:, 1:-1] - told).max() < 0.005
    # The columns are mirrored, as OpenCV does for gradients.
    assert np.array_equal(found[:, 0], found[:, 2])
    assert np.array_equal(found[:, -1], found[:, -3])


@pytest.mark.parametrize("shape", [(1, 1), (2, 1), (3, 5), (20, 30)])
@pytest.mark.parametrize("reach", [(0, 3), (1, 1), (6, 9)])
def test_borders_are_mirrored_alike(shape, reach):
    image = picture(*shape, blur=0.1) if shape != (1, 1) else np.ones((1, 1), np.float32)
    told = cv2.copyMakeBorder(image, reach[0], reach[0], reach[1], reach[1], cv2.BORDER_REFLECT_101)
    assert away(geometry.mirrored(tensor(image), *reach), told) == 0


@pytest.mark.parametrize("convolved", [geometry.convolved, geometry._filtered, geometry._shifted])
def test_each_channel_has_a_kernel_of_its_own(convolved):
    images = np.dstack([picture(seed=seed) for seed in range(3)])
    taps = np.random.default_rng(0).normal(0, 1, (2, 3, 5, 3)).astype(np.float32)
    told = [[cv2.filter2D(images[..., c], -1, taps[b, c])[2:-2, 1:-1] for c in range(3)] for b in range(2)]
    both = convolved(tensor(images).expand(2, -1, -1, -1), torch.from_numpy(taps))
    assert np.abs(both.numpy() - np.array(told)).max() < 1e-2
    same = convolved(tensor(images), torch.from_numpy(taps[0]))
    assert np.abs(same.numpy()[0] - np.array(told[0])).max() < 1e-2
    for one in (taps[0, :1], taps[:1, :1]):
        found = convolved(tensor(images[..., 0]), torch.from_numpy(one))
        assert np.abs(found.numpy()[0] - np.array(told[0][:1])).max() < 1e-2


@pytest.mark.parametrize("count", [1, 2, 5, 400, 4096])
@pytest.mark.parametrize("share", [0.25, 0.5])
def test_quantiles_are_numpys(count, share):
    values = np.random.default_rng(0).normal(0, 1, (3, count)).astype(np.float32)
    found = geometry.quantile(torch.from_numpy(values), share).numpy()
    assert np.abs(found - np.quantile(values, share, axis=1)).max() < 1e-6


def test_quantiles_of_very_many_are_near():
    values = np.random.default_rng(0).normal(0, 1, (1, 100_000)).astype(np.float32)
    assert abs(float(geometry.quantile(torch.from_numpy(values), 0.5))) < 0.1


def test_tables_are_kept_until_they_are_forgotten():
    tables = geometry.Constant(np.ones)
    first = tables(CPU, 3)
    assert tables(CPU, 3) is first
    assert any(held is first for held in geometry.Constant.held())
    geometry.Constant.forget()
    assert not geometry.Constant.held()
    assert tables(CPU, 3) is not first


# ---------------------------------------------------------------- looks


@pytest.mark.parametrize("grain", [0.0, 2.0, 15.0])
def test_noise_is_measured_alike(grain):
    image = picture(blur=3) + np.random.default_rng(1).normal(0, grain, (96, 128)).astype(np.float32)
    assert float(looks.noise(tensor(image))) == pytest.approx(numpy_looks.noise(image), rel=1e-4)


@pytest.mark.parametrize("shape", [(32, 32), (96, 128), (6, 9)])
@pytest.mark.parametrize("sigma", [0.0, 0.8, 2.5])
def test_images_are_smoothed_alike(shape, sigma):
    image = picture(*shape)
    assert away(looks.smoothed(tensor(image), sigma), numpy_looks.smoothed(image, sigma)) < 2e-4


@pytest.mark.parametrize("shape", [(32, 64), (96, 128), (8, 16)])
@pytest.mark.parametrize("sigma", [5.0, 7.7, 12.0])
def test_light_and_contrast_are_taken_out_alike(shape, sigma):
    image = picture(*shape)
    told = numpy_looks.normalised(image, sigma, 4.0)
    around = looks.neighbourhood(torch.tensor([[sigma]]), 12.0)
    assert away(looks.normalised(tensor(image), around, 4.0), told) < 1e-3


def test_each_picture_has_a_neighbourhood_of_its_own():
    images = [picture(seed=seed) for seed in range(2)]
    around = looks.neighbourhood(torch.tensor([[5.0], [12.0]]), 12.0)
    both = looks.normalised(torch.cat([tensor(image) for image in images]), around, 4.0)
    for found, image, sigma in zip(both, images, (5.0, 12.0), strict=True):
        assert away(found[None], numpy_looks.normalised(image, sigma, 4.0)) < 1e-3


def test_agreement_is_the_same():
    ref, clip = picture(), picture(seed=1) + 0.5 * picture()
    keep = (picture(seed=2) > 100).astype(np.float32)
    told = numpy_looks.agreement(ref, clip, keep)
    assert float(looks.agreement(tensor(ref), tensor(clip), tensor(keep))) == pytest.approx(told, abs=1e-5)


BLURRED = {"none": (0, 0), "clip sharper": (1.1, 0), "ref sharper": (0, 1.5), "much": (2.3, 0), "alike": (1, 1)}


@pytest.mark.parametrize("name", BLURRED)
@pytest.mark.parametrize("shape", [(32, 32), (96, 160)])
def test_blur_is_matched_alike(name, shape):
    ref, clip = (numpy_looks.smoothed(picture(*shape, blur=0.8), sigma) for sigma in BLURRED[name])
    keep = np.ones(shape, np.float32)
    sigma = numpy_looks.matching_blur(ref, clip, keep)
    taps = looks.matching_blur(*(tensor(part) for part in (ref, clip, keep)))
    found = looks.blurred(tensor(np.dstack([ref, clip])), taps)
    told = np.dstack([numpy_looks.smoothed(ref, max(-sigma, 0)), numpy_looks.smoothed(clip, max(sigma, 0))])
    assert away(found, told) < 2e-3
    if shape == (96, 160):
        assert np.sign(sigma) == {"clip sharper": 1, "ref sharper": -1}.get(name, 0)


# ---------------------------------------------------------------- Lucas-Kanade


def normalised_pair(height, width, flow):
    return [numpy_looks.normalised(part, 5.0, 4.0) for part in pair(flow, 2.0)][::-1]


def assert_evidence(found, told):
    # How much a cell says differs from cell to cell by orders of magnitude.
    scale = np.quantile(told.xx + told.yy, 0.9)
    for ours, theirs in ((found.xx, told.xx), (found.xy, told.xy), (found.yy, told.yy)):
        assert away(ours, theirs) < 2e-3 * scale
    for axis, theirs in enumerate((told.xd, told.yd)):
        assert away(found.pull[:, axis : axis + 1], theirs) < 2e-3 * max(scale, np.abs(theirs).max())
    assert float(found.noise) == pytest.approx(told.noise, rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("cell", [2, 4, 8])
@pytest.mark.parametrize("amount", [0.0, 0.6, 5.0, 70.0])
def test_evidence_is_the_same(cell, amount):
    height, width = 96, 160
    ref, clip = normalised_pair(height, width, elastic(height, width, 2.0))
    grid = cv2.GaussianBlur(rough_grid(height // cell, width // cell, amount), (0, 0), 1.5)
    keep = np.ones((height, width), np.float32)
    keep[20:50, 60:120] = 0
    told = numpy_lucas_kanade.evidence(ref, clip, grid, cell, keep, numpy_lucas_kanade.gradients(ref))
    seen = lucas_kanade.gradients(tensor(ref))
    assert_evidence(lucas_kanade.evidence(seen, tensor(clip), tensor(grid), cell, tensor(keep)), told)


def test_gradients_are_the_same():
    image = picture()
    told = np.dstack([*numpy_lucas_kanade.gradients(image), image])
    assert away(lucas_kanade.gradients(tensor(image)), told) < 1e-4


def test_what_lies_out_of_the_frame_says_nothing():
    height, width = 64, 96
    ref, clip = normalised_pair(height, width, shift(height, width, 0.5, 0.5))
    grid = np.zeros((8, 12, 2), np.float32)
    grid[:, 6:, 0] = 60
    keep = np.ones((height, width), np.float32)
    found = lucas_kanade.evidence(lucas_kanade.gradients(tensor(ref)), tensor(clip), tensor(grid), 8, tensor(keep))
    assert not found.tensor[..., 7:].any()
    assert found.tensor[..., :5].any()


# ---------------------------------------------------------------- the thin plate


def both_evidence(shape, strength=1.0, seed=0):
    """The same for NumPy and for torch: of gradients and differences drawn at random, none in some places."""
    rng = np.random.default_rng(seed)
    x, y, d = rng.normal(0, 1, (3, *shape, 6))
    there = strength * (rng.random(shape) > 0.3)
    xx, xy, yy, xd, yd = (np.float32(there * (a * b).mean(-1)) for a, b in ((x, x), (x, y), (y, y), (x, d), (y, d)))
    told = numpy_lucas_kanade.Evidence(xx, xy, yy, xd, yd, noise=0.005)
    structure = torch.from_numpy(np.array([[xx, xy], [xy, yy]]))[None]
    pull = torch.from_numpy(np.array([xd, yd]))[None]
    return told, lucas_kanade.Evidence(structure, pull, torch.full((1, 1, 1, 1), 0.005))


@GRIDS
@pytest.mark.parametrize("stiffness", [0.1, 1.0, 30.0])
def test_grids_settle_alike(shape, stiffness):
    told, found = both_evidence(shape)
    grid, begin = rough_grid(*shape, 0.3), rough_grid(*shape, 0.3, seed=1)
    for iterations in (1, 4, 12):
        exact = numpy_thin_plate.settled(told, grid, stiffness, iterations)
        assert away(thin_plate.settled(found, tensor(grid), stiffness, iterations), exact) < 5e-3
        exact = numpy_thin_plate.settled(told, grid, stiffness, iterations, begin)
        ours = thin_plate.settled(found, tensor(grid), stiffness, iterations, begin=tensor(begin))
        assert away(ours, exact) < 5e-3


@GRIDS
def test_straight_fields_and_curvatures_are_the_same(shape):
    told, found = both_evidence(shape)
    grid = rough_grid(*shape, 0.3) + np.float32([3, -2])
    straight = numpy_thin_plate._straightened(grid, told)
    assert away(thin_plate.straightened(tensor(grid), found), straight) < 1e-3
    for by_chance in (0.2, 0.6):
        for amount in (1e-4, 0.02, 1.0):
            bent = amount * grid
            expected = numpy_thin_plate.learned_curvature(told, bent, 2.0, 64.0, by_chance)
            learned = thin_plate.learned_curvature(found, tensor(bent), 2.0, 64.0, by_chance)
            assert float(learned) == pytest.approx(expected, rel=1e-4)


def test_nothing_at_all_leaves_a_finite_field():
    nothing = lucas_kanade.Evidence(torch.zeros(1, 2, 2, 6, 7), torch.zeros(1, 2, 6, 7), torch.zeros(1, 1, 1, 1))
    assert not thin_plate.settled(nothing, torch.zeros(1, 2, 6, 7), 1.0, 20).any()
    assert thin_plate.settled(nothing, tensor(rough_grid(6, 7)), 1.0, 20).isfinite().all()


# ---------------------------------------------------------------- the engine


@pytest.fixture
def to_the_end(monkeypatch):
    """Neither engine stops before all steps are made."""
    monkeypatch.setattr(dis, "ENOUGH", 0.0)
    monkeypatch.setattr(engine, "_ITERATIONS", 99)
    for precision, both in stages.FINE.items():
        patient = tuple(dataclasses.replace(stage, settled=0.0) for stage in both)
        monkeypatch.setitem(stages.FINE, precision, patient)


SCENES = {
    "small": (elastic(192, 256, 2.0), 0.0),
    "bent": (elastic(160, 288, 7.0), 0.0),
    "noisy": (elastic(192, 256, 4.0), 12.0),
    "large": (elastic(192, 256, 3.0) + np.array([70.0, -30.0]), 1.0),
    "tiny": (shift(32, 64, 0.8, -0.4), 1.0),
    "soft": (elastic(192, 256, 3.0), 0.0),
}


def estimates(name, precision, box=None, **options):
    """Grids of NumPy's engine and of torch's, from one start, and the truth."""
    flow, grain = SCENES[name]
    clip, ref = pair(flow, grain)
    if name == "soft":
        clip = cv2.GaussianBlur(clip, (0, 0), 1.3)
    keep = np.ones_like(ref)
    if box is not None:
        keep[box] = 0
        ref[box] = 235
    start = on_cells(flow, 0.4)
    chosen = AlignOptions(precision=precision, **options)
    told = dis.estimate(ref, clip, keep, box is not None, chosen, start)
    found = engine.estimate(net(start), tensor(ref), tensor(clip), tensor(keep), box is not None, chosen)
    return found, told, on_cells(flow)


@EACH_PRECISION
@pytest.mark.parametrize("name", SCENES)
@pytest.mark.usefixtures("to_the_end")
def test_estimates_are_the_same(name, precision):
    found, told, _ = estimates(name, precision)
    assert away(found.grid, told.grid) < 0.005
    assert float(found.agreement) == pytest.approx(told.agreement, abs=2e-4)
    assert float(found.unmoved) == pytest.approx(told.unmoved, abs=2e-4)
    assert bool(found.still) == told.still


@EACH_PRECISION
@pytest.mark.parametrize("name", ["bent", "noisy", "soft"])
@pytest.mark.usefixtures("to_the_end")
def test_estimates_under_a_mask_are_the_same(name, precision):
    found, told, _ = estimates(name, precision, (slice(100, 130), slice(50, 190)))
    # Brightness under the mask goes by all pixels here, by some there.
    assert away(found.grid, told.grid) < 0.01
    assert float(found.agreement) == pytest.approx(told.agreement, abs=1e-3)


@pytest.mark.usefixtures("to_the_end")
def test_estimates_by_general_shapes_are_the_same():
    found, told, _ = estimates("bent", 3, lq_input=True)
    assert away(found.grid, told.grid) < 0.005


@EACH_PRECISION
@pytest.mark.parametrize("name", ["small", "bent", "noisy"])
def test_what_stops_earlier_is_as_near_to_the_truth(name, precision):
    found, told, true = estimates(name, precision)
    assert np.abs(array(found.grid) - told.grid).mean() < 0.01
    assert np.abs(array(found.grid) - true).mean() < 1.05 * np.abs(told.grid - true).mean() + 1e-3


@EACH_PRECISION
def test_pairs_of_a_batch_do_not_see_each_other(precision):
    scenes = [(elastic(96, 160, 3.0), 0.0), (shift(96, 160, 2, -1), 15.0), (elastic(96, 160, 1.0) + 5, 3.0)]
    pairs = [pair(flow, grain) for flow, grain in scenes]
    clips, refs = (torch.cat([tensor(each[side]) for each in pairs]) for side in (0, 1))
    starts = torch.cat([tensor(on_cells(flow, 0.3)) for flow, _ in scenes])
    keep = torch.ones_like(refs)
    keep[1, :, 30:60, 40:90] = 0
    spread = starts.abs()[:, :1]
    options = AlignOptions(precision=precision)

    def answered(rows):
        answer = SimpleNamespace(flow=starts[rows], spread=spread[rows])
        return engine.estimate(lambda *_: answer, refs[rows], clips[rows], keep[rows], True, options)

    together = answered(slice(0, 3))
    for row in range(3):
        alone = answered(slice(row, row + 1))
        for name in ("grid", "agreement", "unmoved", "still", "spread"):
            ours, theirs = (getattr(found, name).float() for found in (alone, together))
            assert (ours - theirs[row : row + 1]).abs().max() < 2e-3


def test_the_network_is_shown_what_was_given_and_a_start():
    flow = shift(64, 96, 12.0, 0.0)
    clip, ref = pair(flow, gain=1, offset=0)
    keep, start = np.ones_like(ref), on_cells(flow)
    keep[20:40, 20:50] = 0
    hidden = ref.copy()
    hidden[20:40, 20:50] = 255
    shown = []

    def asked(*given):
        shown.append(given)
        return SimpleNamespace(flow=tensor(start), spread=tensor(start[..., :1]))

    pictures = (tensor(hidden), tensor(clip), tensor(keep))
    engine.estimate(asked, *pictures, True, AlignOptions(precision=1), tensor(start))
    engine.estimate(asked, *pictures, False, AlignOptions(precision=1))
    # Under the mask, what clip has there once the start has brought it; its own light is ref's.
    assert away(shown[0][0], ref) < 3
    assert torch.equal(shown[0][2], tensor(start))
    assert torch.equal(shown[1][0], tensor(hidden))
    # Nobody gave a start: it is the shift, 12 px, to a whole cell.
    assert shown[1][2][:, 0].unique().tolist() in ([8.0], [16.0])
    assert not shown[1][2][:, 1].any()
    for given in shown:
        assert torch.equal(given[1], tensor(clip))


# ---------------------------------------------------------------- from two pictures to the flow


def aligned(flow_told, clip, ref, mask=None, **options):
    shown = None if mask is None else tensor(mask)
    return align(net(on_cells(flow_told)), tensor(clip), tensor(ref), shown, AlignOptions(**options))


@pytest.mark.parametrize("size", [(128, 192), (131, 187), (97, 64), (33, 250), (16, 16), (17, 40)])
@pytest.mark.parametrize("masked", [False, True])
def test_flows_of_any_size_are_near_numpys(size, masked):
    flow = shift(*size, 0.7, -0.4)
    clip, ref = pair(flow, 0.5)
    mask = None
    if masked:
        mask = np.zeros(size, np.uint8)
        mask[2:10, 3:13] = 255
        ref[mask != 0] = 0
    told = numpy_align.align(clip, ref, mask, AlignOptions())
    found = aligned(flow, clip, ref, mask)
    assert found.flow.shape == (1, 2, *size)
    assert bool(found.moved)
    assert told.flow is not None
    assert np.abs(array(found.flow) - told.flow).mean() < 0.03
    assert float(found.residual) == pytest.approx(told.residual, abs=0.03)


def test_repeating_begins_with_what_was_found():
    flow = elastic(96, 128, 3.0)
    clip, ref = pair(flow)
    given = []

    def asked(_, __, start):
        given.append(start)
        return SimpleNamespace(flow=tensor(on_cells(flow, 0.5)), spread=tensor(0 * on_cells(flow)[..., :1]))

    align(asked, tensor(clip), tensor(ref), None, AlignOptions(iterations=3), tensor(on_cells(flow)))
    assert [begin.shape for begin in given] == [(1, 2, 12, 16)] * 3
    assert torch.equal(given[0], tensor(on_cells(flow)))
    assert away(given[1], on_cells(flow)) > 1e-4


NOTHING_MOVES = {
    "identical": lambda clip: clip.copy(),
    "unrelated": lambda clip: picture(*clip.shape, seed=9, blur=2),
    "flat": lambda clip: np.full_like(clip, 90),
    "grain": lambda clip: clip + np.random.default_rng(8).normal(0, 6, clip.shape).astype(np.float32),
}


@pytest.mark.parametrize("name", NOTHING_MOVES)
@pytest.mark.parametrize("size", [(128, 192), (99, 131)])
def test_nothing_is_moved_where_numpy_moves_nothing(name, size):
    clip = pair(shift(*size, 0, 0), 1.0)[0]
    ref = NOTHING_MOVES[name](clip)
    told = numpy_align.align(clip, ref, None, AlignOptions())
    found = aligned(shift(*size, 0.02, 0.01), clip, ref)
    assert told.flow is None
    assert not bool(found.moved)
    assert not found.flow.any()
    assert float(found.residual) == pytest.approx(told.residual, abs=0.02)


@pytest.mark.parametrize("seen", ["black", "masked", "small"])
def test_what_cannot_be_compared_is_left(seen):
    size = (12, 40) if seen == "small" else (64, 96)
    clip, ref = (np.zeros((2, *size), np.float32) if seen == "black" else pair(shift(*size, 2, 1), 1.0)) + np.float32(1)
    mask = np.full(size, 255, np.uint8) if seen == "masked" else None
    ref = ref + np.float32(0.5) if seen == "black" else ref
    told = numpy_align.align(clip, ref, mask, AlignOptions())
    found = aligned(shift(*size, 2, 1), clip, ref, mask)
    assert not bool(found.moved)
    assert not found.flow.any()
    assert float(found.residual) == told.residual


class NoValues(TorchDispatchMode):
    """Fails where a value is brought from the device, or to it, or a shape depends on one."""

    FORBIDDEN = (
        "_local_scalar_dense",
        "item",
        "is_nonzero",
        "nonzero",
        "masked_select",
        "unique",
        "equal",
        "scalar_tensor",
    )

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        assert func.overloadpacket.__name__ not in self.FORBIDDEN, func
        indices = args[1] if func.overloadpacket.__name__ in {"index", "index_put_"} else ()
        assert all(index is None or index.dtype != torch.bool for index in indices), func
        return func(*args, **(kwargs or {}))


@EACH_PRECISION
@pytest.mark.parametrize("masked", [False, True])
def test_nothing_depends_on_values_so_that_a_graph_can_hold_it(precision, masked):
    flow = elastic(72, 100, 2.0)
    clip, ref = pair(flow)
    mask = np.zeros((72, 100), np.uint8) if masked else None
    planes = tensor(np.dstack([clip, ref, clip]))[0]

    def frame():
        found = aligned(flow, clip, ref, mask, precision=precision, iterations=2, lq_input=masked)
        size = (100, 72)
        return warp.warp_planes(planes, found.flow, size), *warp.shift_statistics(found.flow), found.residual

    # Tables are made before.
    first = frame()
    with NoValues():
        again = frame()
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_values_would_be_noticed():
    with NoValues(), pytest.raises(AssertionError):
        bool(torch.ones(3).sum() > 1)
    with NoValues(), pytest.raises(AssertionError):
        torch.ones(3)[torch.tensor([True, False, True])]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
@EACH_PRECISION
def test_cuda_gives_what_the_cpu_gives(precision):
    flow = elastic(272, 480, 5.0)
    clip, ref = pair(flow, 2.0)
    answer = SimpleNamespace(flow=tensor(on_cells(flow, 0.3)), spread=tensor(0 * on_cells(flow)[..., :1]))
    found = []
    for device in ("cpu", "cuda"):
        there = SimpleNamespace(flow=answer.flow.to(device), spread=answer.spread.to(device))
        parts = (tensor(part).to(device) for part in (clip, ref))
        found.append(align(lambda *_, a=there: a, *parts, None, AlignOptions(precision=precision)).flow.cpu())
    assert (found[0] - found[1]).abs().max() < 0.01


# ---------------------------------------------------------------- the final warp


def wavy(height, width, amount=3.0):
    y, x = np.mgrid[:height, :width]
    return np.dstack([amount * np.sin(y / 9) + 0.37, amount * np.cos(x / 11) - 0.21]).astype(np.float32)


@pytest.mark.parametrize("size", [(83, 61), (166, 122), (120, 61), (83, 99), (50, 40), (30, 61)])
@pytest.mark.parametrize("amount", [0.0, 0.3, 3.0, 80.0])
@pytest.mark.parametrize("channels", [1, 3])
def test_planes_are_warped_alike(size, amount, channels):
    planes = [picture(61, 83, seed) / 255 for seed in range(channels)]
    flow = wavy(size[1], size[0], amount)
    told = numpy_warp.warp_planes(planes, flow, size)
    found = warp.warp_planes(torch.from_numpy(np.stack(planes)), tensor(flow), size)
    assert found.shape == (channels, size[1], size[0])
    assert np.abs(found.numpy() - np.stack(told)).max() < 1e-4


@pytest.mark.parametrize("size", [(83, 61), (100, 61), (40, 50)])
def test_without_a_flow_planes_are_brought_to_a_size_alike(size):
    plane = picture(61, 83) / 255
    (told,) = numpy_warp.warp_planes([plane], None, size)
    assert np.abs(warp.warp_planes(torch.from_numpy(plane)[None], None, size).numpy()[0] - told).max() < 1e-4
    none = torch.zeros(1, 2, size[1], size[0])
    assert np.abs(warp.warp_planes(torch.from_numpy(plane)[None], none, size).numpy()[0] - told).max() < 1e-4


def test_whole_displacements_take_the_samples_as_they_are():
    planes = torch.rand(3, 61, 83)
    flow = torch.zeros(1, 2, 61, 83)
    assert torch.equal(warp.warp_planes(planes, flow, (83, 61)), planes)
    flow[:, 0], flow[:, 1] = 5.004, -3
    moved = warp.warp_planes(planes, flow, (83, 61))
    assert torch.equal(moved[:, 3:, :-5], planes[:, :-3, 5:])
    flow[:, 0, 30, 40] = 0.5
    assert not torch.equal(warp.warp_planes(planes, flow, (83, 61))[:, 3:, :-5], planes[:, :-3, 5:])


@pytest.mark.parametrize("clip_shape", [(61, 83), (122, 166), (40, 90)])
@pytest.mark.parametrize("amount", [0.0, 3.0, 80.0])
def test_coverage_and_statistics_are_the_same(clip_shape, amount):
    flow = wavy(61, 83, amount)
    flow[0, 0] = -0.5
    told = numpy_warp.coverage(flow, clip_shape, (83, 61))
    assert np.array_equal(warp.coverage(tensor(flow), clip_shape, (83, 61)).numpy(), told)
    mean, most = warp.shift_statistics(tensor(flow))
    assert (float(mean), float(most)) == pytest.approx(numpy_warp.shift_statistics(flow), rel=1e-5)
