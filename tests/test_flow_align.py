"""From two pictures to the flow between them, on pictures known at every point, so that the true flow is exact."""

import itertools
import threading
from functools import cache

import cv2
import numpy as np
import pytest
from helpers import Waves

from vs_align.flow.align import AlignOptions, align

WIDTH, HEIGHT = 480, 320
EACH_PRECISION = pytest.mark.parametrize("precision", [1, 2, 3, 4])


WORLD = Waves(1)


def pixels(height=HEIGHT, width=WIDTH):
    y, x = np.mgrid[:height, :width].astype(np.float64)
    return x, y


@cache
def still():
    return WORLD(*pixels())


def pair(flow):
    """(clip, ref): what ref shows at a pixel, clip shows where the flow says."""
    height, width = flow.shape[:2]
    x, y = pixels(height, width)
    clip = still() if (height, width) == (HEIGHT, WIDTH) else WORLD(x, y)
    return clip.copy(), WORLD(x + flow[..., 0], y + flow[..., 1])


# ---------------------------------------------------------------- flows


def shift(dx, dy, height=HEIGHT, width=WIDTH):
    return np.broadcast_to(np.array([dx, dy], np.float64), (height, width, 2))


def linear(matrix, dx=0.0, dy=0.0):
    """The flow of a 2x2 matrix about the middle of the picture, and a shift."""
    at = np.dstack(pixels()) - [(WIDTH - 1) / 2, (HEIGHT - 1) / 2]
    return at @ (np.array(matrix) - np.eye(2)).T + [dx, dy]


def turned(degrees, scale=1.0):
    cosine, sine = scale * np.cos(np.radians(degrees)), scale * np.sin(np.radians(degrees))
    return linear([[cosine, -sine], [sine, cosine]])


def elastic(peak):
    """Waves of 300 and 270 px, no displacement longer than ``peak``."""
    x, y = pixels()
    across = 0.7 * peak * np.sin(2 * np.pi * (0.8 * x + 0.6 * y) / 300 + 1)
    down = 0.7 * peak * np.cos(2 * np.pi * (0.5 * x - 0.86 * y) / 270)
    return np.dstack([across, down])


SMALL = {
    "shift 0.25": shift(0.25, -0.15),
    "shift 0.5": shift(-0.5, 0.5),
    "shift 1.3": shift(1.3, -0.37),
    "shift 3": shift(3, -2.6),
    "affine": linear([[1.02, 0.01], [-0.008, 0.985]], 1, 2),
    "rotation 1": turned(1),
    "elastic 2": elastic(2),
    "elastic 5": elastic(5),
    "elastic 10": elastic(10),
}
LARGE = {
    "shift 40": shift(40, -10.3),
    "shift 60": shift(-45.3, 40),
    "shift 80": shift(0.5, 80),
    "rotation 8": turned(8),
    "scale 1.12": turned(0, 1.12),
    "4:3 of 16:9": linear([[3 / 4, 0], [0, 1]]),
    "16:9 of 4:3": linear([[1, 0], [0, 4 / 3]]),
}
WIDE = {
    "rotation 30": turned(30),
    "rotation 45": turned(45),
    "rotation -45": turned(-45),
    "shear 0.5": linear([[1, 0.5], [0, 1]]),
}


def seen(flow):
    """Where clip shows what ref does, 8 px from the border."""
    height, width = flow.shape[:2]
    x, y = pixels(height, width)
    x, y = x + flow[..., 0], y + flow[..., 1]
    lies = (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)
    lies[:8], lies[-8:], lies[:, :8], lies[:, -8:] = (False,) * 4
    return lies


def error(found, flow, where=None):
    """Mean length of a flow's error in px, where clip shows what ref does."""
    off = flow if found.flow is None else found.flow - flow
    return float(np.hypot(off[..., 0], off[..., 1])[seen(flow) if where is None else where].mean())


def aligned(clip, ref, mask=None, **options):
    return align(clip, ref, mask, AlignOptions(**options))


def grain(sigma, seed=0, height=HEIGHT, width=WIDTH):
    return np.random.default_rng(seed).normal(0, sigma, (height, width)).astype(np.float32)


# ---------------------------------------------------------------- where things are


@EACH_PRECISION
@pytest.mark.parametrize("name", SMALL)
def test_small_displacements_are_found(name, precision):
    found = aligned(*pair(SMALL[name]), precision=precision)
    assert found.flow is not None
    assert found.flow.dtype == np.float32
    assert found.flow.shape == (HEIGHT, WIDTH, 2)
    assert found.residual < 0.05
    # The most bent is the hardest.
    assert error(found, SMALL[name]) < (0.09 if name == "elastic 10" else 0.05 if precision == 1 else 0.04)


@pytest.mark.parametrize("wide_search", [False, True])
@pytest.mark.parametrize("name", LARGE)
def test_large_displacements_are_found_with_and_without_wide_search(name, wide_search):
    found = aligned(*pair(LARGE[name]), wide_search=wide_search)
    assert found.residual < 0.1
    assert error(found, LARGE[name]) < 0.05


@pytest.mark.parametrize("name", WIDE)
def test_rotation_and_shear_are_found_by_wide_search(name):
    found = aligned(*pair(WIDE[name]), wide_search=True)
    assert found.residual < 0.1
    assert error(found, WIDE[name]) < 0.1


@pytest.mark.parametrize("name", ["elastic 5", "affine"])
def test_the_border_is_as_good_as_what_lies_at_it(name):
    flow = SMALL[name]
    found = aligned(*pair(flow))
    x, y = pixels()
    at = np.dstack([x, y]) + flow
    lies = (at >= 0).all(-1) & (at <= [WIDTH - 1, HEIGHT - 1]).all(-1)
    assert error(found, flow, lies & ~seen(flow)) < 0.4


def mean_error(cases, **options):
    return np.mean([error(aligned(*pair(flow), **options), flow) for flow in cases])


def test_more_precision_is_no_worse():
    cases = [SMALL["shift 3"], SMALL["affine"], SMALL["elastic 5"], SMALL["elastic 10"], LARGE["shift 40"]]
    errors = [mean_error(cases, precision=precision) for precision in (1, 2, 3, 4)]
    for coarser, finer in itertools.combinations(errors, 2):
        assert finer < 1.05 * coarser + 0.002


def test_more_precision_is_better_on_other_looks():
    clip, ref = pair(SMALL["elastic 5"])
    clips = [LOOKS[name](clip).astype(np.float32) for name in ("grain", "blur", "all")]
    coarse, fine = (
        np.mean([error(aligned(look, ref, precision=precision), SMALL["elastic 5"]) for look in clips])
        for precision in (1, 3)
    )
    assert fine < coarse


def test_another_iteration_is_no_worse():
    cases = [SMALL["elastic 10"], LARGE["shift 40"], LARGE["scale 1.12"]]
    once, twice = (mean_error(cases, iterations=iterations) for iterations in (1, 2))
    assert twice < 1.05 * once + 0.002


# ---------------------------------------------------------------- other looks

LOOKS = {
    "gain": lambda picture: 0.6 * picture + 50,
    "gamma": lambda picture: 255 * (picture / 255) ** 0.6,
    "gamma the other way": lambda picture: 255 * (picture / 255) ** 1.7,
    "grain": lambda picture: picture + grain(8, 7),
    "blur": lambda picture: cv2.GaussianBlur(picture, (0, 0), 1.2),
    "crushed": lambda picture: np.clip((picture - 56) * 1.9, 0, 255),
    "halos": lambda picture: np.clip(picture + 1.5 * (picture - cv2.GaussianBlur(picture, (0, 0), 2)), 0, 255),
    "eight bits": np.rint,
    "all": lambda picture: 220 * (cv2.GaussianBlur(picture, (0, 0), 1) / 255) ** 0.7 + 20 + grain(6, 8),
}


@pytest.mark.parametrize("side", ["clip", "ref"])
@pytest.mark.parametrize("name", LOOKS)
def test_other_looks_on_either_side_do_not_matter(name, side):
    for flow in (SMALL["shift 1.3"], SMALL["elastic 5"]):
        clip, ref = pair(flow)
        if side == "clip":
            clip = LOOKS[name](clip)
        else:
            ref = LOOKS[name](ref)
        found = aligned(clip.astype(np.float32), ref.astype(np.float32))
        assert error(found, flow) < 0.14
        assert found.residual < 0.4


def test_lq_input_goes_by_general_shapes_and_still_finds_them():
    flow = SMALL["elastic 5"]
    clip, ref = pair(flow)
    found = aligned(clip + grain(12, 1), ref + grain(12, 2), lq_input=True)
    assert error(found, flow) < 0.3


# ---------------------------------------------------------------- nothing to move


def test_identical_pictures_are_not_moved():
    for options in ({}, {"wide_search": True}, {"lq_input": True}, {"iterations": 3}, {"precision": 1}):
        found = aligned(still().copy(), still().copy(), **options)
        assert found.flow is None
        assert found.residual == 0


@EACH_PRECISION
@pytest.mark.parametrize("sigma", [1, 4, 12])
def test_grain_moves_nothing(sigma, precision):
    for clip, ref in ((still() + grain(sigma), still()), (still(), still() + grain(sigma))):
        found = aligned(clip, ref, precision=precision)
        assert error(found, shift(0, 0)) < 0.03


@pytest.mark.parametrize("name", ["gain", "gamma", "gamma the other way"])
def test_other_light_moves_nothing(name):
    found = aligned(LOOKS[name](still()).astype(np.float32), still())
    assert error(found, shift(0, 0)) < 0.03


def flat(value):
    return np.full((HEIGHT, WIDTH), value, np.float32)


def unrelated():
    others = [flat(0), flat(255), flat(128), Waves(2)(*pixels()), 128 + grain(20, 3)]
    return [*others, cv2.GaussianBlur(128 + grain(300, 4), (0, 0), 4)]


@pytest.mark.parametrize("options", [{}, {"wide_search": True, "iterations": 2}, {"precision": 1}])
def test_unrelated_pictures_are_not_moved(options):
    for other in unrelated()[0 if not options else 3 :]:
        for clip, ref in ((still(), other), (other, still())):
            found = aligned(clip, ref, **options)
            assert found.flow is None
            assert 0.5 < found.residual <= 1


def test_noise_on_flat_pictures_is_not_followed():
    for level in (0, 100):
        found = aligned(np.clip(level + grain(2, 1), 0, 255), np.clip(level + grain(2, 2), 0, 255))
        assert found.flow is None


def test_flat_pictures_are_as_alike_as_they_are_bright():
    assert aligned(flat(16), flat(16)).residual == 0
    assert aligned(flat(16), flat(16.4)).residual == 0
    found = aligned(flat(16), flat(200))
    assert found.flow is None
    assert found.residual > 0.5


def test_the_residual_says_what_is_left():
    flow = SMALL["elastic 5"]
    clip, ref = pair(flow)
    other = Waves(9)(*pixels())
    # More and more of something else in ref.
    residuals = [aligned(clip, ref + share * (other - ref)).residual for share in (0, 0.2, 0.4, 1)]
    assert residuals == sorted(residuals)
    assert residuals[0] < 0.05
    assert residuals[-1] > 0.6


# ---------------------------------------------------------------- sizes


@pytest.mark.parametrize(
    "size", [(1, 1), (1, 40), (2, 2), (17, 1), (3, 5), (15, 90), (16, 16), (16, 40), (17, 40), (31, 33)]
)
@pytest.mark.parametrize("options", [{}, {"precision": 1}, {"precision": 4, "wide_search": True, "iterations": 2}])
def test_however_small_the_pictures(size, options):
    clip, ref = pair(shift(1, 0, *size))
    for mask in (None, np.zeros(size, np.uint8), np.full(size, 255, np.uint8), (clip > 128).astype(np.uint8)):
        found = aligned(clip, ref, mask, **options)
        assert 0 <= found.residual <= 1
        if found.flow is not None:
            assert found.flow.shape == (*size, 2)
            assert np.isfinite(found.flow).all()


@pytest.mark.parametrize("size", [(64, 64), (65, 95), (97, 129), (101, 480), (321, 33), (319, 479)])
def test_odd_sizes(size):
    flow = shift(1.3, -0.7, *size)
    found = aligned(*pair(flow))
    assert found.flow.shape == (*size, 2)
    assert error(found, flow) < (0.06 if min(size) > 33 else 0.15)


# ---------------------------------------------------------------- masks


def block():
    where = np.zeros((HEIGHT, WIDTH), np.bool_)
    where[110:190, 150:310] = True
    return where


@pytest.mark.parametrize("name", ["shift 1.3", "shift 3", "affine", "rotation 1"])
def test_under_a_mask_the_flow_is_that_of_around(name):
    flow = SMALL[name]
    clip, ref = pair(flow)
    ref[block()] = Waves(9)(*pixels())[block()]
    found = aligned(clip, ref, np.where(block(), 255, 0).astype(np.uint8))
    off = np.hypot(*np.moveaxis(found.flow - flow, -1, 0))
    assert off[block()].max() < 0.12
    assert found.residual < 0.05


def test_a_bent_flow_goes_on_under_a_mask():
    flow = SMALL["elastic 5"]
    clip, ref = pair(flow)
    ref[block()] = 255
    found = aligned(clip, ref, np.where(block(), 255, 0).astype(np.uint8))
    off = np.hypot(*np.moveaxis(found.flow - flow, -1, 0))
    # The flow itself changes by 4 px across the block.
    assert off[block()].mean() < 0.3


def test_what_is_under_the_mask_does_not_matter():
    flow = SMALL["elastic 5"]
    clip, ref = pair(flow)
    mask = np.where(block(), 255, 0).astype(np.uint8)
    flows = []
    for fill in (0, 255, Waves(9)(*pixels())[block()], grain(60)[block()]):
        ref[block()] = fill
        flows.append(aligned(clip, ref, mask).flow)
    for other in flows[1:]:
        away = np.hypot(*np.moveaxis(other - flows[0], -1, 0))
        # The smoothing before all else reaches a few pixels beyond the mask.
        assert away.max() < 0.1
        assert away.mean() < 0.005


def test_any_value_but_zero_masks_and_an_empty_mask_is_none():
    clip, ref = pair(SMALL["shift 3"])
    ref[block()] = 255
    one, full = (aligned(clip, ref, np.where(block(), value, 0).astype(np.uint8)).flow for value in (1, 255))
    assert np.array_equal(one, full)
    assert np.array_equal(aligned(clip, ref, np.zeros(ref.shape, np.uint8)).flow, aligned(clip, ref).flow)


def test_all_masked_is_nothing_to_go_by():
    clip, ref = pair(SMALL["shift 3"])
    assert aligned(clip, ref, np.full(ref.shape, 255, np.uint8)).flow is None


def logo(picture, x, y):
    cv2.circle(picture, (x, y), 26, 250.0, -1)
    cv2.circle(picture, (x, y), 18, 20.0, 5)
    cv2.line(picture, (x - 14, y), (x + 14, y), 20.0, 4)
    return picture


@pytest.mark.parametrize("where", ["on ref alone", "on both, elsewhere", "on both, standing still"])
@pytest.mark.parametrize("name", ["shift 1.3", "shift 3", "elastic 5"])
def test_a_logo_without_a_mask_does_not_bend_the_flow_far(name, where):
    flow = SMALL[name]
    clip, ref = pair(flow)
    ref = logo(ref, 360, 90)
    if where != "on ref alone":
        clip = logo(clip, *((352, 96) if where == "on both, elsewhere" else (360, 90)))
    found = aligned(clip, ref)
    off = np.hypot(*np.moveaxis(found.flow - flow, -1, 0))
    x, y = pixels()
    away = np.hypot(x - 360, y - 90) > 80
    if where == "on both, standing still":
        # Under it the flow may well stand still too; but it goes no farther than that around it.
        lengths = np.hypot(*np.moveaxis(found.flow, -1, 0))
        assert lengths[~away].max() < np.hypot(*np.moveaxis(flow, -1, 0))[~away].max() + 2
    else:
        assert off[seen(flow)].max() < 2
    assert off[away & seen(flow)].mean() < 0.07


# ---------------------------------------------------------------- the same every time

CASES = [
    ("elastic 5", {}),
    ("shift 3", {"precision": 4}),
    ("affine", {"wide_search": True, "iterations": 2}),
]


def both(name):
    return (SMALL | LARGE | WIDE)[name]


@pytest.mark.parametrize(("name", "options"), [*CASES, ("rotation 30", {"wide_search": True}), ("shift 60", {})])
def test_the_same_pictures_give_the_same_flow_whatever_the_threads(name, options):
    clip, ref = pair(both(name))
    mask = np.where(block(), 255, 0).astype(np.uint8)
    first = aligned(clip, ref, mask, **options)
    before = cv2.getNumThreads()
    try:
        for threads in (1, 2, before):
            cv2.setNumThreads(threads)
            again = aligned(clip, ref, mask, **options)
            assert np.array_equal(first.flow, again.flow)
            assert first.residual == again.residual
    finally:
        cv2.setNumThreads(before)


def test_at_once_from_four_threads():
    pairs = [(*pair(both(name)), options) for name, options in CASES]
    expected = [aligned(clip, ref, **options) for clip, ref, options in pairs]
    faults = []

    def work(turn):
        for k in range(len(pairs)):
            at = (k + turn) % len(pairs)
            clip, ref, options = pairs[at]
            found = aligned(clip, ref, **options)
            if not np.array_equal(found.flow, expected[at].flow) or found.residual != expected[at].residual:
                faults.append((turn, at))

    workers = [threading.Thread(target=work, args=(turn,)) for turn in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not faults


def test_what_came_before_does_not_matter():
    clip, ref = pair(SMALL["elastic 5"])
    first = aligned(clip, ref).flow
    aligned(*pair(shift(2, 1, 65, 95)))
    aligned(*pair(LARGE["shift 60"]), precision=1)
    assert np.array_equal(aligned(clip, ref).flow, first)


@pytest.mark.parametrize("options", [{}, {"wide_search": True, "lq_input": True, "iterations": 2, "precision": 4}])
def test_what_is_given_is_not_written_to(options):
    clip, ref = pair(SMALL["elastic 5"])
    mask = np.where(block(), 255, 0).astype(np.uint8)
    kept = [part.copy() for part in (clip, ref, mask)]
    for part in (clip, ref, mask):
        part.flags.writeable = False
    found = aligned(clip, ref, mask, **options)
    assert found.flow.flags.writeable
    assert all(np.array_equal(part, copy) for part, copy in zip((clip, ref, mask), kept, strict=True))


def test_pictures_that_are_parts_of_larger_ones():
    clip, ref = pair(SMALL["shift 3"])
    wide_clip, wide_ref = (np.asarray(np.pad(part, 9), np.float32)[9:-9, 9:-9] for part in (clip, ref))
    assert np.array_equal(aligned(wide_clip, wide_ref).flow, aligned(clip, ref).flow)
