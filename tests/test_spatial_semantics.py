"""What `vs_align.spatial` does with pictures, masks and frame properties, whatever estimates the displacement."""

import math

import cv2
import numpy as np
import pytest
import vapoursynth as vs
from helpers import EACH_RGB_FORMAT, RGB_FORMATS, drawn, held, moving, planes, props, retime, same_picture

import vs_align
from vs_align.flow.align import Alignment
from vs_align.flow.warp import coverage, warp_planes

WIDTH, HEIGHT = 70, 50
WEIGHTS = np.array([0.2126, 0.7152, 0.0722])


class Engine:
    """Stands in for the estimate: gives a flow that the test chooses and keeps what it was asked."""

    def __init__(self) -> None:
        self.flow: object = None
        self.residual = 0.25
        self.asked: list = []

    def __call__(self, clip, ref, mask, options):
        self.asked.append((clip.copy(), ref.copy(), None if mask is None else mask.copy(), options))
        flow = self.flow(clip, ref) if callable(self.flow) else self.flow
        if isinstance(flow, tuple):
            flow = np.broadcast_to(np.float32(flow), (*ref.shape, 2)).copy()
        return Alignment(flow, self.residual)


@pytest.fixture
def engine(monkeypatch):
    engine = Engine()
    monkeypatch.setattr("vs_align.filters.warping.align", engine)
    return engine


def scene(seed=1, format=vs.RGB24, length=4, width=WIDTH, height=HEIGHT, **options):
    return held(drawn(moving(width, height, seed=seed), length, format, **options))


def samples(parts, format, fill=0.0, width=None, height=None):
    """A clip of one frame with the given planes."""
    shape = parts[0].shape
    blank = vs.core.std.BlankClip(None, width or shape[1], height or shape[0], format, 1, keep=True)

    def put(n, f):
        frame = f.copy()
        for index, part in enumerate(parts):
            np.copyto(np.asarray(frame[index]), part, casting="unsafe")
        return frame

    return held(blank.std.ModifyFrame(blank, put))


def moved(plane, dx, dy):
    """The plane with each pixel taken from (x + dx, y + dy), the border replicated."""
    y, x = np.mgrid[: plane.shape[0], : plane.shape[1]]
    return plane[np.clip(y + dy, 0, plane.shape[0] - 1), np.clip(x + dx, 0, plane.shape[1] - 1)]


def wavy(height=HEIGHT, width=WIDTH):
    y, x = np.mgrid[:height, :width]
    return np.dstack([2 * np.sin(y / 9) + 0.37, 3 * np.cos(x / 11) - 0.21]).astype(np.float32)


# ---------------------------------------------------------------- what comes out


@EACH_RGB_FORMAT
@pytest.mark.parametrize("ref_format", [vs.RGB24, vs.RGBS])
def test_the_output_has_refs_size_length_and_rate_and_clips_format(engine, format, ref_format):
    engine.flow = (0.3, 0.2)
    clip = scene(1, format, 3, fps=(30, 1))
    ref = scene(2, ref_format, 6, 96, 36, fps=(24000, 1001))
    aligned = vs_align.spatial(clip, ref)
    assert aligned.format.id == format
    assert (aligned.width, aligned.height, aligned.num_frames) == (96, 36, 6)
    assert aligned.fps == ref.fps
    assert aligned.get_frame(5).format.id == format


@EACH_RGB_FORMAT
def test_identical_frames_come_out_bit_for_bit_and_nothing_is_estimated(engine, format):
    engine.flow = (5, 5)
    clip, ref = scene(format=format), scene(format=format)
    aligned = vs_align.spatial(clip, ref)
    for n in range(4):
        assert same_picture(aligned, n, clip, n)
        frame = aligned.get_frame(n).props
        assert (frame["AlignMeanShift"], frame["AlignMaxShift"], frame["AlignResidual"]) == (0, 0, 0)
    assert not engine.asked


@pytest.mark.parametrize("stabilize", [0, 1])
def test_identical_frames_stay_among_others_that_move(engine, stabilize):
    engine.flow = (2, 0)
    clip, other = scene(1, length=6), scene(2, length=6)
    ref = other[:3] + clip[3:4] + other[4:]
    aligned = vs_align.spatial(clip, ref, stabilize=stabilize)
    assert same_picture(aligned, 3, clip, 3)
    assert not same_picture(aligned, 2, clip, 2)


def test_one_sample_of_difference_is_a_difference(engine):
    for plane in range(3):
        parts = planes(scene(), 0)
        clip = samples(parts, vs.RGB24)
        parts[plane][HEIGHT - 1, WIDTH - 1] ^= 1
        engine.asked.clear()
        vs_align.spatial(clip, samples(parts, vs.RGB24)).get_frame(0).close()
        assert len(engine.asked) == 1


def test_identical_float_frames_with_bad_samples_come_out_bit_for_bit(engine):
    engine.flow = (5, 5)
    parts = planes(scene(format=vs.RGBS), 0)
    parts[0][3, 4], parts[2][9, 9] = np.nan, -np.inf
    clip = samples(parts, vs.RGBS)
    result = planes(vs_align.spatial(clip, samples(parts, vs.RGBS)), 0)
    assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(parts, result, strict=True))
    assert not engine.asked


@EACH_RGB_FORMAT
def test_where_there_is_nothing_to_move_clip_comes_out(engine, format):
    engine.flow, engine.residual = None, 0.9
    clip = scene(1, format)
    aligned = vs_align.spatial(clip, scene(2))
    for n in range(4):
        assert same_picture(aligned, n, clip, n)
        frame = aligned.get_frame(n).props
        assert (frame["AlignMeanShift"], frame["AlignMaxShift"]) == (0, 0)
        assert frame["AlignResidual"] == pytest.approx(0.9)


@EACH_RGB_FORMAT
def test_a_whole_displacement_copies_samples(engine, format):
    engine.flow = (3, -2)
    clip = scene(1, format)
    aligned = vs_align.spatial(clip, scene(2))
    for part, result in zip(planes(clip, 2), planes(aligned, 2), strict=True):
        assert np.array_equal(result, moved(part, 3, -2))
    frame = aligned.get_frame(2).props
    assert frame["AlignMeanShift"] == pytest.approx(math.hypot(3, 2))
    assert frame["AlignMaxShift"] == pytest.approx(math.hypot(3, 2))


@EACH_RGB_FORMAT
@pytest.mark.parametrize("size", [(WIDTH, HEIGHT), (35, 25), (101, 80)])
def test_the_planes_are_sampled_where_the_flow_says(engine, format, size):
    clip, ref = scene(1, format, 1), scene(2, length=1, width=size[0], height=size[1])
    fmt = clip.format
    top = (1 << fmt.bits_per_sample) - 1 if fmt.sample_type == vs.INTEGER else None
    for flow in (None, wavy(size[1], size[0])):
        engine.flow = flow
        if flow is None and size == (WIDTH, HEIGHT):
            continue
        for result, expected in zip(
            planes(vs_align.spatial(clip, ref), 0), warp_planes(planes(clip, 0), flow, size, peak=top), strict=True
        ):
            assert np.array_equal(result, expected)


def test_overshoot_stays_in_the_formats_range(engine):
    engine.flow = (0.5, 0.5)
    board = (np.add.outer(np.arange(HEIGHT) // 6, np.arange(WIDTH) // 6) % 2).astype(np.float64)
    for format, top in ((vs.RGB30, 1023), (vs.RGB36, 4095), (RGB_FORMATS["9"], 511)):
        result = planes(vs_align.spatial(samples([board * top] * 3, format), scene(2, length=1)), 0)
        assert (min(part.min() for part in result), max(part.max() for part in result)) == (0, top)
    (red, _, _) = planes(vs_align.spatial(samples([board] * 3, vs.RGBS), scene(2, length=1)), 0)
    assert red.max() > 1.02
    assert red.min() < -0.02


def test_frame_n_goes_with_frame_n_and_the_last_is_held(engine):
    engine.flow = (1, 1)
    clip, ref, mask = scene(1, length=3), scene(2, length=7), scene(3, length=5)
    aligned = vs_align.spatial(clip, ref, mask)
    for n in range(7):
        (red, _, _) = planes(aligned, n)
        assert np.array_equal(red, moved(planes(clip, min(n, 2))[0], 1, 1))
        given, wanted, ignored, _ = engine.asked[n]
        assert np.allclose(given, WEIGHTS @ np.moveaxis(planes(clip, min(n, 2)), 0, 1), atol=1e-3)
        assert np.allclose(wanted, WEIGHTS @ np.moveaxis(planes(ref, n), 0, 1), atol=1e-3)
        light = WEIGHTS @ np.moveaxis(planes(mask, min(n, 4)), 0, 1)
        assert np.array_equal(ignored != 0, light >= 127.5)


# ---------------------------------------------------------------- what the estimate is given


def test_the_estimate_sees_the_same_luma_at_every_depth(engine):
    for format in RGB_FORMATS.values():
        vs_align.spatial(scene(1, format, 1), scene(2, format, 1)).get_frame(0).close()
    first = engine.asked[-1]
    for clip, ref, mask, _ in engine.asked:
        assert clip.dtype == ref.dtype == np.float32
        assert clip.shape == ref.shape == (HEIGHT, WIDTH)
        assert mask is None
        # Half a step of 8 bits.
        assert np.abs(clip - first[0]).max() <= 0.51
        assert np.abs(ref - first[1]).max() <= 0.51


@pytest.mark.parametrize("size", [(140, 100), (35, 25), (70, 20), (10, 200)])
def test_clips_luma_is_brought_to_refs_size(engine, size):
    vs_align.spatial(scene(1, width=size[0], height=size[1], length=1), scene(2, length=1)).get_frame(0).close()
    clip, ref, _, _ = engine.asked[0]
    assert clip.shape == ref.shape == (HEIGHT, WIDTH)
    light = WEIGHTS @ np.moveaxis(planes(scene(1, width=size[0], height=size[1], length=1), 0), 0, 1)
    assert clip.mean() == pytest.approx(light.mean(), abs=1)


def test_light_beyond_white_is_compressed_and_keeps_its_detail(engine):
    levels = np.array([[-0.5, 0, 0.25, 1, math.e, math.e**2, 100, 1e30]])
    flat = scene(2, length=1, width=8, height=1)
    vs_align.spatial(samples([levels] * 3, vs.RGBS), flat).get_frame(0).close()
    expected = [-0.5, 0, 0.25, 1, 2, 3, 1 + math.log(100), 1 + math.log(1e30)]
    assert np.allclose(engine.asked[0][0], np.multiply(expected, 255), rtol=1e-4)


@pytest.mark.parametrize("format", [vs.RGBH, vs.RGBS])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_bad_sample_is_one_bad_sample_and_not_seen_by_the_estimate(engine, format, value):
    parts, ref_parts = planes(scene(1, format), 0), planes(scene(2, format), 0)
    engine.flow = (0.3, 0.3)
    clean = vs_align.spatial(samples(parts, format), samples(ref_parts, format))
    before = planes(clean, 0)
    parts[1][20, 30] = ref_parts[2][10, 10] = value
    after = planes(vs_align.spatial(samples(parts, format), samples(ref_parts, format)), 0)
    assert [np.count_nonzero(~np.isfinite(part)) for part in after] == [0, 1, 0]
    assert np.array_equal(after[1][20, 30], value, equal_nan=True)
    changed = [np.argwhere(~(a == b)) for a, b in zip(after, before, strict=True)]
    assert not len(changed[0])
    assert not len(changed[2])
    assert np.abs(changed[1] - (20, 30)).max() <= 3
    for old, new in zip(engine.asked[0][:2], engine.asked[1][:2], strict=True):
        assert np.isfinite(new).all()
        assert np.abs(new - old).max() < 60
        assert np.count_nonzero(new != old) <= 1


def test_a_frame_of_nothing_but_nan_passes(engine):
    nothing = samples([np.full((HEIGHT, WIDTH), np.nan)] * 3, vs.RGBS)
    result = planes(vs_align.spatial(nothing, scene(2, length=1)), 0)
    assert np.isnan(result).all()
    assert not engine.asked[0][0].any()


# ---------------------------------------------------------------- masks


def mask_formats():
    families = {"gray": vs.GRAY, "rgb": vs.RGB, "yuv": vs.YUV}
    for name, family in families.items():
        for bits in (8, 10, 16, 32):
            yield f"{name} {bits}", vs.core.query_video_format(family, vs.INTEGER, bits).id
        for bits in (16, 32):
            yield f"{name} float {bits}", vs.core.query_video_format(family, vs.FLOAT, bits).id
    yield "yuv 420", vs.YUV420P8


MASK_FORMATS = dict(mask_formats())


def mask_clip(picture, format, full=True):
    """A mask from a picture of 0..1, in full or limited range."""
    fmt = vs.core.get_video_format(format)
    parts = []
    for index in range(fmt.num_planes):
        part = picture
        if fmt.color_family == vs.YUV and index:
            part = np.full((picture.shape[0] >> fmt.subsampling_h, picture.shape[1] >> fmt.subsampling_w), 0.5)
        if fmt.sample_type == vs.INTEGER:
            top = (1 << fmt.bits_per_sample) - 1
            unit = 2.0 ** (fmt.bits_per_sample - 8)
            part = np.rint(part * top) if full or fmt.color_family == vs.RGB else np.rint((16 + 219 * part) * unit)
        parts.append(part)
    return samples(parts, format).std.SetFrameProps(_Range=int(full))


def seen(engine, mask, **options):
    engine.asked.clear()
    vs_align.spatial(scene(1, length=1), scene(2, length=1), mask, **options).get_frame(0).close()
    found = engine.asked[0][2]
    assert found.dtype == np.uint8
    assert found.shape == (HEIGHT, WIDTH)
    return found != 0


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("name", MASK_FORMATS)
def test_masks_of_every_format_and_range(engine, name, full):
    ramp = np.tile(np.linspace(0, 1, WIDTH), (HEIGHT, 1))
    found = seen(engine, mask_clip(ramp, MASK_FORMATS[name], full))
    sure = np.abs(ramp - 0.5) > 0.004
    assert np.array_equal(found[sure], (ramp >= 0.5)[sure])


@pytest.mark.parametrize("name", MASK_FORMATS)
def test_half_of_white_is_white(engine, name):
    fmt = vs.core.get_video_format(MASK_FORMATS[name])
    if fmt.sample_type == vs.FLOAT:
        levels = (0.499, 0.5)
    else:
        top = (1 << fmt.bits_per_sample) - 1
        levels = ((top // 2) / top, (top // 2 + 1) / top)
    # The weights of red, green and blue add up to one but for rounding, which 32 bits would show.
    apart = 1e-5 if fmt.bits_per_sample == 32 and fmt.sample_type == vs.INTEGER else 0
    for level, white in ((levels[0] - apart, False), (levels[1] + apart, True)):
        assert seen(engine, mask_clip(np.full((HEIGHT, WIDTH), level), MASK_FORMATS[name])).all() == white


def test_a_mask_that_says_no_range_is_read_in_limited_range_unless_it_is_rgb(engine):
    grey = np.full((HEIGHT, WIDTH), 126 / 255)
    assert seen(engine, mask_clip(grey, vs.GRAY8).std.RemoveFrameProps("_Range")).all()
    assert seen(engine, mask_clip(grey, vs.YUV444P8).std.RemoveFrameProps("_Range")).all()
    assert not seen(engine, mask_clip(grey, vs.RGB24).std.RemoveFrameProps("_Range")).any()
    assert not seen(engine, mask_clip(grey, vs.GRAY8)).any()


@pytest.mark.parametrize("size", [(WIDTH, HEIGHT), (700, 500), (333, 50), (70, 301), (7, 5), (141, 9), (1, 1)])
def test_masks_of_every_size(engine, size):
    width, height = size
    picture = np.zeros((height, width))
    picture[: (height + 1) // 2, : (width + 1) // 2] = 1
    found = seen(engine, mask_clip(picture, vs.GRAY8))
    expected = cv2.resize(picture, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA if width > WIDTH else cv2.INTER_LINEAR)
    reach_x, reach_y = (2 * max(1, WIDTH // width), 2 * max(1, HEIGHT // height))
    if min(size) > 1:
        assert found[: HEIGHT // 2 - reach_y, : WIDTH // 2 - reach_x].all()
        assert not found[HEIGHT // 2 + reach_y :].any()
        assert not found[:, WIDTH // 2 + reach_x :].any()
    else:
        assert found.all() == (expected > 0.5).all()


def test_thin_strokes_of_a_larger_mask_are_kept(engine):
    for width, height in ((700, 500), (1111, 333), (WIDTH + 1, HEIGHT + 1)):
        stroke = np.zeros((height, width))
        stroke[:, width // 3] = 1
        found = seen(engine, mask_clip(stroke, vs.GRAY8))
        assert found.any(axis=1).all()
        assert found.any(axis=0).sum() <= 2


def test_a_mask_that_is_not_finite_is_no_mask(engine):
    picture = np.full((HEIGHT, WIDTH), np.nan)
    picture[0, 0] = np.inf
    found = seen(engine, mask_clip(picture, vs.GRAYS))
    assert found.sum() == 1


# ---------------------------------------------------------------- frame properties


def test_properties_come_from_clip_and_timing_and_shape_from_ref(engine):
    engine.flow = (1, 0)
    colour = {"_Matrix": 0, "_Primaries": 9, "_Transfer": 16, "_Range": 0}
    clip = scene(1, fps=(30, 1)).std.SetFrameProps(
        **colour, _SARNum=8, _SARDen=9, _AbsoluteTime=1.5, Mine=7, Text="a", _FieldBased=1
    )
    of_ref = {"_Primaries": 1, "_Transfer": 1, "_Range": 1, "_SARNum": 4, "_SARDen": 3}
    dropped = {"_AbsoluteTime": 2.5, "Other": 8, "_FieldBased": 2}
    for options in ({}, {"stabilize": 1}):
        for size in ((WIDTH, HEIGHT), (36, 36)):
            ref = scene(2, width=size[0], height=size[1], fps=(25, 1)).std.SetFrameProps(**of_ref, **dropped)
            frame = props(vs_align.spatial(clip, ref, **options), [1])[0]
            assert {name: frame[name] for name in colour} == colour
            assert (frame["_DurationNum"], frame["_DurationDen"]) == (1, 25)
            assert (frame["_SARNum"], frame["_SARDen"]) == (4, 3)
            assert (frame["Mine"], frame["Text"]) == (7, "a")
            assert not {"_AbsoluteTime", "Other", "_FieldBased", "_Alpha"} & set(frame)


def test_what_ref_does_not_say_is_not_taken_from_clip(engine):
    clip = scene(1).std.SetFrameProps(_SARNum=8, _SARDen=9)
    ref = scene(2).std.RemoveFrameProps()
    for flow in (None, (1, 0)):
        engine.flow = flow
        for options in ({}, {"stabilize": 1}):
            frame = props(vs_align.spatial(clip, ref, **options), [1])[0]
            assert not {"_DurationNum", "_DurationDen", "_SARNum", "_SARDen"} & set(frame)


def test_an_unmoved_frame_keeps_its_fields(engine):
    engine.flow = None
    clip = scene(1).std.SetFrameProps(_FieldBased=2, _AbsoluteTime=1.0)
    for ref in (scene(2), clip):
        frame = props(vs_align.spatial(clip, ref), [1])[0]
        assert frame["_FieldBased"] == 2
        assert "_AbsoluteTime" not in frame


def test_the_numbers_of_a_varied_flow(engine):
    engine.flow = flow = wavy()
    engine.residual = 0.125
    frame = props(vs_align.spatial(scene(1), scene(2)), [1])[0]
    lengths = np.hypot(flow[..., 0].astype(np.float64), flow[..., 1])
    assert frame["AlignMeanShift"] == pytest.approx(lengths.mean(), rel=1e-5)
    assert frame["AlignMaxShift"] == pytest.approx(lengths.max(), rel=1e-5)
    assert frame["AlignResidual"] == 0.125
    assert {name: type(frame[name]) for name in frame if name.startswith("Align")} == {
        "AlignMeanShift": float,
        "AlignMaxShift": float,
        "AlignResidual": float,
    }


# ---------------------------------------------------------------- alpha


def alpha_of(clip, n=0):
    with clip.get_frame(n) as frame:
        alpha = frame.props["_Alpha"]
        return alpha.format, np.array(alpha[0])


@EACH_RGB_FORMAT
def test_alpha_is_white_where_the_output_comes_from_inside_clip(engine, format):
    engine.flow = (5, -3)
    clip = scene(1, format)
    fmt, alpha = alpha_of(vs_align.spatial(clip, scene(2), alpha=True))
    assert (fmt.color_family, fmt.bits_per_sample) == (vs.GRAY, clip.format.bits_per_sample)
    white = (1 << fmt.bits_per_sample) - 1 if fmt.sample_type == vs.INTEGER else 1
    expected = np.full((HEIGHT, WIDTH), white)
    expected[:, WIDTH - 5 :] = 0
    expected[:3] = 0
    assert np.array_equal(alpha, expected)


@pytest.mark.parametrize("stabilize", [0, 1])
def test_alpha_of_frames_that_are_not_moved_is_white(engine, stabilize):
    clip = scene(1)
    for ref in (scene(1), scene(2), scene(2, width=33, height=21)):
        aligned = vs_align.spatial(clip, ref, alpha=True, stabilize=stabilize)
        _, alpha = alpha_of(aligned)
        assert alpha.shape == (ref.height, ref.width)
        assert (alpha == 255).all()
        assert aligned.std.PropToClip("_Alpha").get_frame(0).format.id == vs.GRAY8


@pytest.mark.parametrize("size", [(WIDTH, HEIGHT), (140, 100), (35, 20)])
def test_alpha_with_a_varied_flow_and_another_size(engine, size):
    engine.flow = flow = wavy()
    clip = scene(1, width=size[0], height=size[1])
    _, alpha = alpha_of(vs_align.spatial(clip, scene(2), alpha=True))
    assert np.array_equal(alpha != 0, coverage(flow, size[::-1], (WIDTH, HEIGHT)))


def with_alpha(clip, value):
    matte = samples([value], vs.GRAY16)
    return clip.std.ClipToProp(matte * clip.num_frames)


def test_an_alpha_that_clip_has_goes_along(engine):
    matte = np.rint(np.random.default_rng(0).random((HEIGHT, WIDTH)) * 65535)
    clip = with_alpha(scene(1), matte)
    engine.flow = (5, -3)
    fmt, alpha = alpha_of(vs_align.spatial(clip, scene(2)))
    assert fmt.id == vs.GRAY16
    assert np.array_equal(alpha, moved(matte, 5, -3))
    _, alpha = alpha_of(vs_align.spatial(clip, scene(2), alpha=True))
    expected = moved(matte, 5, -3)
    expected[:, WIDTH - 5 :] = expected[:3] = 0
    assert np.array_equal(alpha, expected)
    engine.flow = None
    for options in ({}, {"alpha": True}):
        _, alpha = alpha_of(vs_align.spatial(clip, scene(2), **options))
        assert np.array_equal(alpha, matte)
    _, alpha = alpha_of(vs_align.spatial(clip, scene(2, width=33, height=21)))
    assert alpha.shape == (21, 33)


def test_an_alpha_of_another_size_than_its_frame_is_dropped(engine):
    clip = with_alpha(scene(1), np.zeros((7, 9)))
    for flow in (None, (1, 1)):
        engine.flow = flow
        assert "_Alpha" not in props(vs_align.spatial(clip, scene(2)), [0])[0]
        _, alpha = alpha_of(vs_align.spatial(clip, scene(2), alpha=True))
        assert alpha.shape == (HEIGHT, WIDTH)


# ---------------------------------------------------------------- stabilize


class Steadied:
    """Stands in for the smoothing: keeps what it was given and answers with the mean."""

    def __init__(self) -> None:
        self.given: list = []

    def __call__(self, flows, centre):
        self.given.append(([round(float(flow[0, 0, 0]), 3) for flow in flows], centre))
        assert all(flow.shape == (HEIGHT, WIDTH, 2) and flow.dtype == np.float32 for flow in flows)
        return np.mean(flows, axis=0, dtype=np.float32)


@pytest.fixture
def steadied(monkeypatch):
    steadied = Steadied()
    monkeypatch.setattr("vs_align.filters.warping.steadied", steadied)
    return steadied


def lit(levels):
    """A clip of flat frames, one for each grey level 0..255."""
    clips = [vs.core.std.BlankClip(None, WIDTH, HEIGHT, vs.RGB24, 1, color=[level] * 3) for level in levels]
    return vs.core.std.Splice(clips)


def by_level(clip, ref):
    """The displacement that the tests on flat frames use: a tenth of ref's level."""
    return (float(np.rint(ref.mean())) / 10, 0.0)


@pytest.mark.parametrize("radius", [1, 2, 100])
def test_the_flows_around_come_in_order_and_end_with_the_clip(engine, steadied, radius):
    engine.flow = by_level
    levels = [10, 12, 14, 16, 18]
    aligned = vs_align.spatial(lit([200] * 5), lit(levels), stabilize=radius)
    for n in range(5):
        steadied.given.clear()
        frame = aligned.get_frame(n).props
        first, last = max(0, n - radius), min(4, n + radius)
        expected = [level / 10 for level in levels[first : last + 1]]
        assert steadied.given == [(expected, n - first)]
        assert frame["AlignMaxShift"] == pytest.approx(np.mean(expected), abs=1e-3)


def test_the_flows_end_at_cuts(engine, steadied):
    engine.flow = by_level
    # Cuts before frames 3 and 5; within a shot the light changes by as much as in a fast fade.
    levels = [10, 25, 40, 100, 85, 200, 190, 180]
    aligned = vs_align.spatial(lit([250] * 8), lit(levels), stabilize=3)
    shots = [range(0, 3), range(3, 5), range(5, 8)]
    for n in range(8):
        steadied.given.clear()
        aligned.get_frame(n).close()
        shot = next(shot for shot in shots if n in shot)
        near = [m for m in shot if abs(m - n) <= 3]
        assert steadied.given == [([levels[m] / 10 for m in near], near.index(n))]


def test_a_shot_like_the_one_before_the_last_is_another_shot(engine, steadied):
    engine.flow = by_level
    levels = [10, 10, 200, 12, 12]
    aligned = vs_align.spatial(lit([250] * 5), lit(levels), stabilize=4)
    aligned.get_frame(0).close()
    assert steadied.given == [([1.0, 1.0], 0)]


def test_frames_without_a_flow_are_left_out_and_not_moved(engine, steadied):
    engine.flow = lambda clip, ref: None if round(float(ref.mean())) == 12 else by_level(clip, ref)
    clip = lit([200] * 5)
    aligned = vs_align.spatial(clip, lit([10, 12, 14, 16, 12]), stabilize=2)
    frame = aligned.get_frame(1).props
    assert not steadied.given
    assert (frame["AlignMaxShift"], frame["AlignResidual"]) == (0, 0.25)
    aligned.get_frame(2).close()
    assert steadied.given == [([1.0, 1.4, 1.6], 1)]


def test_a_steadied_flow_is_what_clip_is_sampled_with(engine):
    # The same flow in every frame is steady already, whatever the smoothing.
    engine.flow = (3, -2)
    clip = scene(1, length=6)
    aligned = vs_align.spatial(clip, retime(scene(2, length=1), [0] * 6), stabilize=2)
    for part, result in zip(planes(clip, 3), planes(aligned, 3), strict=True):
        assert np.array_equal(result, moved(part, 3, -2))


# ---------------------------------------------------------------- with the real estimate


def textured(dx=0.0, dy=0.0, seed=0, width=320, height=240):
    """A landscape seen displaced: its pixel (x, y) shows what is at (x - dx, y - dy)."""
    rough = np.random.default_rng(seed).standard_normal((3, height + 64, width + 64))
    land = [cv2.GaussianBlur(part, (0, 0), 2) + 2 * cv2.GaussianBlur(part, (0, 0), 6) for part in rough]
    move = np.float32([[1, 0, dx - 32], [0, 1, dy - 32]])
    seen = [cv2.warpAffine(part, move, (width, height), flags=cv2.INTER_LANCZOS4) for part in land]
    return samples([np.clip(128 + 45 * part / np.std(land), 0, 255) for part in seen], vs.RGB24)


@pytest.mark.parametrize("shift", [(3, -2), (1.5, 0.75)])
def test_a_shifted_picture_is_put_where_it_belongs(shift):
    clip, ref = textured(*shift), textured()
    aligned = vs_align.spatial(clip, ref)
    inside = np.s_[12:-12, 12:-12]
    wanted = np.array(planes(ref, 0), float)[:, *inside]
    before, after = (np.abs(np.array(planes(node, 0))[:, *inside] - wanted).mean() for node in (clip, aligned))
    assert after < 0.1 * before
    assert aligned.get_frame(0).props["AlignMeanShift"] == pytest.approx(math.hypot(*shift), abs=0.1)


def test_unrelated_pictures_are_left_alone():
    clip = textured(seed=1)
    for ref in (textured(seed=2), clip.std.BlankClip()):
        aligned = vs_align.spatial(clip, ref)
        assert same_picture(aligned, 0, clip, 0)
        assert aligned.get_frame(0).props["AlignResidual"] > 0.5
